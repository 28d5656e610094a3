//go:build browser

package browser

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
	"github.com/estiba/estiba/manager/status"
)

// Names that containers could choose for themselves if the Engine let them.
const (
	hostileName = `<img src=x onerror=alert(1)>"'&amp;`
	hostileRule = `up{a="</pre><script>alert(2)</script>"}`
	scriptName  = `<script>alert(3)</script>`
	rtlName     = "safe\u202egnp.exe"
)

// statusWorld is a manager's page without a manager: containers, history and kills that
// are made up.
type statusWorld struct {
	store  *status.Store
	n      int // containers
	begun  time.Time
	odd    bool // with everything that a page can show, in the first five containers
	lost   atomic.Bool
	killed int
}

func newStatusWorld(n int, odd bool) *statusWorld {
	return &statusWorld{store: status.NewStore(), n: n, begun: time.Now(), odd: odd}
}

// serve serves the page at an address of its own.
func (w *statusWorld) serve() *httptest.Server {
	return httptest.NewServer(w.control(status.Handler(status.Site{
		Store: w.store, Metrics: status.NewMetrics(""), Now: time.Now, Prometheus: w,
		Links: status.Links{
			Prometheus: "http://127.0.0.1:9090", Grafana: "http://127.0.0.1:3000",
			Probe: func(context.Context, string) bool { return true },
		},
	})))
}

func (w *statusWorld) container(i int) policy.Container {
	kind := []container.Kind{container.KindCPU, container.KindRAM, container.KindIO, container.KindDisk, container.KindNone}[i%5]
	name := fmt.Sprintf("%s-%s-%s", []string{"cpu", "ram", "io", "disk", "shop"}[i%5], []string{"high", "low"}[i/5%2], made(i))
	if i == 1 && w.odd {
		name = strings.Repeat("without-a-break", 14)[:200]
	}
	c := policy.Container{ID: fmt.Sprintf("%012x%052d", (i+1)*0x9e3779b97f&0xffffffffffff, i), Name: name, Image: "estiba/stress", Kind: kind, InScope: kind != container.KindNone}
	if !w.odd {
		return c
	}
	switch i {
	case 0:
		c.Name, c.Image = hostileName, `x"><b>image</b>`
	case 1:
		c.Image, c.Protected = strings.Repeat("i", 200), []policy.Protection{policy.ProtectedByLabel, policy.ProtectedByScrapeTarget}
	case 2:
		c.Name = "announced"
	case 3:
		c.Name, c.State = "dying", policy.BeingKilled
	case 4:
		c.Name = scriptName
	case 5:
		c.Name = rtlName
	}
	return c
}

// made is a short word, the same for the same number.
func made(i int) string {
	const letters = "bcdfghjkmnpqrstvwxz23456789"
	var b strings.Builder
	for x := uint32(i+7) * 2654435761; b.Len() < 6; x = x*1664525 + 1013904223 {
		b.WriteByte(letters[int(x>>16)%len(letters)])
	}
	return b.String()
}

// use is what a container used at a time, in percent: of a core, and of the memory.
func use(i int, at time.Time) (cpu, memory float64) {
	t := float64(at.Unix())
	base := 90 / math.Pow(float64(i+1), 0.9)
	wave := math.Sin(t/(40+float64(i*7%90))+float64(i)) + 0.4*math.Sin(t/(11+float64(i%5))+float64(2*i))
	return max(0.01, base*(1+0.25*wave)), max(0.01, 9/math.Pow(float64((i*3)%17+1), 0.8)*(1+0.08*wave))
}

func (w *statusWorld) tick() {
	now := time.Now()
	resumes := now.Add(time.Minute)
	rule := policy.Rule{Name: "surplus", Mode: policy.Live, Action: "remove"}
	t := status.Tick{
		Time: now, Duration: 20 * time.Millisecond, Result: gather.TickOK, DataKnown: true, DataAge: 1500 * time.Millisecond, Decided: true,
		Plan: policy.Plan{BudgetLeft: 20}, Usage: map[string]promql.Usage{},
		Rules: []status.RuleState{{
			Name: "surplus", Query: "time() - (\n  estiba_container_start_time_seconds\n    * on (id) group_left (kind)\n  estiba_container_info{managed=\"true\"}\n)",
			Mode: policy.Live, Action: "remove", Relief: status.ReliefState{By: "count"},
		}},
	}
	for i := range w.n {
		c := w.container(i)
		t.Containers = append(t.Containers, c)
		cpu, memory := use(i, now)
		u := promql.Usage{Name: c.Name, Class: []string{"high", "low"}[i/5%2], CPUPercent: &cpu, MemoryPercent: &memory}
		switch {
		case c.Kind == container.KindNone && i%10 == 4:
			u.Observed = "cpu"
		case i%13 == 7:
			u.Observed = "io"
		}
		t.Usage[container.ShortID(c.ID)] = u
		d := policy.Decision{Choice: policy.Spare, Reason: policy.NotSelected, Container: c}
		switch {
		case i < 5 && w.odd:
			d.Rule, d.Rank, d.Value = "surplus", i+1, float64(12-3*i)
			d.Choice = []policy.Choice{policy.Kill, policy.Spare, policy.Spare, policy.Spare, policy.Spare}[i]
			d.Reason = []policy.Reason{policy.Chosen, policy.Protected, policy.Announced, policy.Transitional, policy.LastOfKind}[i]
			if i == 1 {
				d.Value = 1e30
			}
			if i == 2 {
				d.Wait = 12 * time.Second
			}
		case i%20 == 6:
			d.Rule, d.Rank, d.Value, d.Reason = "surplus", i, float64(600-i), policy.LastOfKind
		}
		if d.Choice == policy.Kill {
			t.Plan.Victims = append(t.Plan.Victims, policy.Victim{Rule: rule, Container: c, Value: d.Value})
		}
		t.Plan.Decisions = append(t.Plan.Decisions, d)
	}
	if w.odd {
		t.Result, t.Error, t.Plan.BudgetLeft = gather.TickPrometheusError, `<i>rule</i> surplus: "timeout"`, 3
		t.Rules = []status.RuleState{
			{
				Name: "surplus", Query: hostileRule, Mode: policy.Live, Action: "remove", VetoError: "asking <b>Alertmanager</b>: refused",
				Relief: status.ReliefState{By: "count", Unrelieved: 5, StopAfter: 5, Stopped: true, ResumesAt: &resumes},
			},
			{
				Name: "broken", Query: strings.Repeat("x", 500), Mode: policy.DryRun, Action: "stop", Error: "no answer",
				Relief: status.ReliefState{By: "sum"},
			},
		}
	}
	w.store.Tick(t)
}

// kills are kills of the last minutes, one of them of the busiest container.
func (w *statusWorld) kills() {
	for i := range min(w.n, 12) {
		w.kill(w.begun.Add(-time.Duration(60*i+45)*time.Second), fmt.Sprintf("io-high-%s", made(900+i)), audit.OutcomeDone)
	}
	if w.odd {
		for i, outcome := range audit.Outcomes() {
			w.kill(w.begun.Add(time.Duration(i-60)*time.Minute), hostileName, outcome)
		}
	}
}

func (w *statusWorld) kill(at time.Time, name string, outcome audit.Outcome) {
	w.killed++
	r := audit.Record{
		Time: at, KillID: fmt.Sprintf("%016x", w.killed*0x123456789), Rule: "surplus", Kind: "cpu", Container: strings.Repeat("f6", 32),
		Name: name, Action: "remove", Mode: policy.Live, Outcome: outcome,
	}
	if outcome != audit.OutcomeDone {
		r.Error = "<u>error</u>"
	}
	w.store.Killed(r)
}

// Graph implements status.Prometheus.
func (w *statusWorld) Graph(_ context.Context, query string, m promql.Moments) ([]promql.Line, error) {
	if w.lost.Load() {
		return nil, errors.New("querying the history: connection refused")
	}
	if strings.Contains(query, "label_replace") {
		var containers [2]float64
		parts := map[string]func(i int) float64{
			"cpus": func(int) float64 { return 8 }, "memory_bytes": func(int) float64 { return 16 << 30 },
			"cpu_containers":   func(k int) float64 { return containers[0]/8 + 2*math.Sin(float64(k)/9) },
			"cpu_unattributed": func(k int) float64 { return 12 + 3*math.Sin(float64(k)/5) },
			"cpu_host": func(k int) float64 {
				return containers[0]/8 + 2*math.Sin(float64(k)/9) + 12.4 + 3*math.Sin(float64(k)/5)
			},
			"memory_containers":   func(k int) float64 { return containers[1] + math.Sin(float64(k)/20) },
			"memory_unattributed": func(int) float64 { return 17 },
			"memory_host":         func(k int) float64 { return containers[1] + 22 + math.Sin(float64(k)/20) },
		}
		for i := range min(w.n, 10) {
			cpu, memory := use(i, m.Start)
			containers[0] += cpu
			containers[1] += memory
		}
		var lines []promql.Line
		for part, value := range parts {
			l := promql.Line{Labels: model.Metric{"part": model.LabelValue(part)}}
			for k := range m.N {
				l.Values = append(l.Values, value(k))
			}
			lines = append(lines, l)
		}
		return lines, nil
	}
	most := 8
	if strings.Contains(query, "topk(500") {
		most = 500
	}
	var lines []promql.Line
	for i := range w.n {
		if len(lines) == most {
			break
		}
		c := w.container(i)
		l := promql.Line{Labels: model.Metric{"id": model.LabelValue(container.ShortID(c.ID)), "name": model.LabelValue(c.Name)}}
		for k := range m.N {
			cpu, memory := use(i, m.At(k))
			if strings.Contains(query, "memory") {
				cpu = memory
			}
			if i%4 == 3 && k < m.N/(2+i%3) || i == 6 && k > m.N*2/3 { // younger than the graph, and gone
				cpu = math.NaN()
			}
			l.Values = append(l.Values, cpu)
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// Peers implements status.Prometheus.
func (w *statusWorld) Peers(context.Context) (promql.Peers, error) {
	if w.lost.Load() {
		return promql.Peers{}, errors.New("connection refused")
	}
	return promql.Peers{Alertmanagers: []string{"http://127.0.0.1:9093"}}, nil
}

// control lets the browser change the world.
func (w *statusWorld) control(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/test/lose-prometheus":
			w.lost.Store(true)
		case "/test/find-prometheus":
			w.lost.Store(false)
		default:
			next.ServeHTTP(rw, r)
		}
	})
}
