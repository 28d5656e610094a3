package run

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
)

// Timing of Prometheus in a simulated world.
const (
	simScrape   = 5 * time.Second
	simLookback = 5 * time.Minute
	// simDiscovery is how long Prometheus has no targets after its start, see
	// discovery.Manager's update interval.
	simDiscovery = 5 * time.Second
	simInstance  = "127.0.0.1:10120"
	simURL       = "http://prometheus.example:9090"
)

// simSeries is one container in one scrape.
type simSeries struct {
	load      float64
	start     time.Time
	known     bool // its labels
	keepLabel bool
	runtime   string
	pod       bool // of Kubernetes
}

// simSample is one scrape, or one evaluation of the recording rule over it.
type simSample struct {
	at       time.Time // by the wall clock
	taken    time.Time // of the snapshot, with its monotonic reading
	stored   time.Time // the same of the sample
	sequence int
	rows     map[string]simSeries // by full id
	up       []string             // hosts of the other scraped targets
}

// simPrometheus is a Prometheus and the exporter that it scrapes.
type simPrometheus struct {
	mu      sync.Mutex
	now     func() time.Time
	engine  *simEngine
	latency func() time.Duration

	down         bool // Prometheus
	exporterDown bool
	ruleFails    bool
	ruleHangs    bool
	outOfOrder   bool // accepts out-of-order samples
	ready        time.Time
	scraped      []string // hosts of targets other than the exporter
	// foreign are containers of other runtimes, by full id, in each scrape.
	foreign map[string]simSeries
	listed  func([]string) []string
	back    time.Time // when discovery finds them again

	sequence  int
	samples   []simSample
	recorded  []simSample
	evaluated time.Time // by the wall clock
	health    string
}

func newSimPrometheus(now func() time.Time, e *simEngine) *simPrometheus {
	return &simPrometheus{now: now, engine: e, latency: func() time.Duration { return 0 }, health: "unknown"}
}

// scrape takes a snapshot and stores it.
func (p *simPrometheus) scrape() {
	p.engine.mu.Lock()
	rows := map[string]simSeries{}
	for id, c := range p.engine.containers {
		if c.State == "running" || c.State == "paused" {
			rows[id] = simSeries{load: c.load, start: c.StartedAt, known: c.known, keepLabel: c.keepLabel, runtime: c.runtime}
		}
	}
	p.engine.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, c := range p.foreign {
		for other := range rows { // the label id is taken
			if other[:12] == id[:12] {
				delete(rows, other)
			}
		}
		rows[id] = c
	}
	if p.down {
		return
	}
	p.sequence++
	s := simSample{at: p.now().Round(0), taken: p.now(), stored: p.now(), sequence: p.sequence, rows: rows, up: p.others()}
	if p.exporterDown {
		s.rows = nil // stale markers
	}
	p.samples = p.store(p.samples, s)
}

func (p *simPrometheus) store(to []simSample, s simSample) []simSample {
	if n := len(to); n > 0 && !s.at.After(to[n-1].at) && !p.outOfOrder {
		return to // rejected
	}
	return append(to, s)
}

// evaluate evaluates the recording rule over the last scrape.
func (p *simPrometheus) evaluate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down || p.ruleHangs {
		return
	}
	at := p.now().Round(0)
	p.evaluated, p.health = at, "ok"
	if p.ruleFails {
		p.health = "err"
		return
	}
	from := latest(p.samples, at)
	if from == nil {
		from = &simSample{}
	}
	p.recorded = p.store(p.recorded, simSample{at: at, taken: from.taken, stored: p.now(), rows: from.rows})
}

// latest is the newest sample at a time, within the look-back.
func latest(list []simSample, at time.Time) *simSample {
	var found *simSample
	for i := range list {
		s := &list[i]
		if !s.at.After(at) && at.Sub(s.at) < simLookback && (found == nil || s.at.After(found.at)) {
			found = s
		}
	}
	return found
}

// RoundTrip implements http.RoundTripper: the network between manager and Prometheus.
func (p *simPrometheus) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	takes := p.latency()
	p.mu.Unlock()
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-time.After(takes):
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, fmt.Errorf("connection refused")
	}
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Type", "application/json")
	io.WriteString(rec, p.answer(r))
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}

func (p *simPrometheus) answer(r *http.Request) string {
	_, path, _ := strings.Cut(r.URL.Path, "/api/v1/")
	switch path {
	case "targets":
		return p.targets()
	case "alertmanagers":
		return `{"status":"success","data":{"activeAlertmanagers":[],"droppedAlertmanagers":[]}}`
	case "status/runtimeinfo":
		return fmt.Sprintf(`{"status":"success","data":{"startTime":%q,"lastConfigTime":%q}}`, p.ready.Format(time.RFC3339Nano),
			p.ready.Format(time.RFC3339Nano))
	case "rules":
		return fmt.Sprintf(`{"status":"success","data":{"groups":[{"name":"sim","file":"sim.yml","interval":5,"lastEvaluation":%[1]q,"evaluationTime":0.001,"rules":[
			{"name":"estiba:sim_load","query":"sim_load","type":"recording","health":%[2]q,"lastEvaluation":%[1]q,"evaluationTime":0.001}]}]}}`,
			p.evaluated.Format(time.RFC3339Nano), p.health)
	}
	var stamp float64
	fmt.Sscan(r.FormValue("time"), &stamp)
	return p.query(r.FormValue("query"), time.UnixMilli(int64(stamp*1e3+0.5)))
}

// others are the hosts of the targets, other than the exporter, that discovery has now.
func (p *simPrometheus) others() []string {
	if p.listed != nil {
		return p.listed(p.scraped)
	}
	return slices.Clone(p.scraped)
}

func (p *simPrometheus) targets() string {
	if p.now().Sub(p.ready) < simDiscovery {
		return `{"status":"success","data":{"activeTargets":[],"droppedTargets":[]}}`
	}
	hosts := p.others()
	list := []string{`{"scrapeUrl":"http://` + simInstance + `/metrics","labels":{"job":"estiba","instance":"` + simInstance +
		`"},"discoveredLabels":{},"health":"up","scrapeInterval":"5s"}`}
	for _, h := range hosts {
		list = append(list, fmt.Sprintf(`{"scrapeUrl":"http://%s:9100/metrics","labels":{"job":"others","instance":"%s:9100"},"discoveredLabels":{},"health":"up","scrapeInterval":"5s"}`, h, h))
	}
	return `{"status":"success","data":{"activeTargets":[` + strings.Join(list, ",") + `],"droppedTargets":[]}}`
}

// within are the samples in a query's range.
func (p *simPrometheus) within(q string, at time.Time) (list []simSample) {
	_, after, _ := strings.Cut(q, "[")
	text, _, _ := strings.Cut(after, "]")
	window, err := model.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	for _, s := range p.samples {
		if s.at.After(at.Add(-time.Duration(window))) && !s.at.After(at) {
			list = append(list, s)
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].at.Before(list[j].at) })
	return list
}

// snapshots are the exporter's own series over a range.
func (p *simPrometheus) snapshots(list []simSample) string {
	values := []string{}
	for _, s := range list {
		if s.rows != nil {
			values = append(values, fmt.Sprintf(`[%.3f,"%.6f"]`, float64(s.at.UnixMilli())/1e3, float64(s.taken.UnixMicro())/1e6))
		}
	}
	if len(values) == 0 {
		return `{"status":"success","data":{"resultType":"matrix","result":[]}}`
	}
	return `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"job":"estiba","instance":"` + simInstance + `"},"values":[` + strings.Join(values, ",") + `]}]}}`
}

type simRow struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
}

// query evaluates the manager's queries, and those of the world's rules: sim_load and
// estiba:sim_load, compared with 50, unless labelled.
func (p *simPrometheus) query(q string, at time.Time) string {
	rows := []simRow{}
	add := func(v float64, kv ...string) {
		r := simRow{Metric: map[string]string{}, Value: [2]any{float64(at.UnixMilli()) / 1e3, fmt.Sprint(v)}}
		for i := 0; i+1 < len(kv); i += 2 {
			r.Metric[kv[i]] = kv[i+1]
		}
		rows = append(rows, r)
	}
	s := latest(p.samples, at)
	if s != nil && s.rows == nil {
		s = nil
	}
	own := func(v float64, name string) { add(v, "__name__", name, "job", "estiba", "instance", simInstance) }
	switch {
	case strings.Contains(q, "estiba_snapshot_sequence[1d]"):
		most := 0
		for _, s := range p.samples {
			if s.rows != nil && s.at.After(at.Add(5*time.Second)) {
				most = max(most, s.sequence)
			}
		}
		if most > 0 {
			add(float64(most))
		}
	case strings.Contains(q, "(up["):
		seen := map[string]bool{}
		for _, s := range p.within(q, at) {
			for _, host := range s.up {
				if !seen[host] {
					seen[host] = true
					add(1, "instance", host+":9100")
				}
			}
		}
	case strings.HasPrefix(q, "estiba_snapshot_timestamp_seconds["):
		return p.snapshots(p.within(q, at))
	case strings.HasPrefix(q, "count by (id) (group by (id, container_id)"):
		owners := map[string]map[string]bool{}
		for _, s := range p.within(q, at) {
			for id := range s.rows {
				if owners[id[:12]] == nil {
					owners[id[:12]] = map[string]bool{}
				}
				owners[id[:12]][id] = true
			}
		}
		for id, all := range owners {
			if len(all) > 1 {
				add(float64(len(all)), "id", id)
			}
		}
	case strings.HasPrefix(q, "count_over_time("):
		counts, all := map[string]int{}, 0
		for _, s := range p.within(q, at) {
			if all++; s.rows == nil {
				all--
			}
			for id := range s.rows {
				counts[id[:12]]++
			}
		}
		if all > 0 {
			add(float64(all), "job", "estiba", "instance", simInstance)
		}
		for id, n := range counts {
			add(float64(n), "id", id)
		}
	case strings.Contains(q, "sim_load"):
		from := s
		if strings.Contains(q, "estiba:sim_load") {
			from = latest(p.recorded, at)
		}
		if from == nil {
			break
		}
		for id, c := range from.rows {
			published := false // the label is in the current scrape
			if s != nil {
				published = s.rows[id].known && s.rows[id].keepLabel
			}
			if c.load > 50 && !published {
				add(c.load, "id", id[:12])
			}
		}
	case s == nil:
	case strings.Contains(q, "estiba_snapshot_sequence"):
		own(float64(s.taken.UnixMicro())/1e6, "estiba_snapshot_timestamp_seconds")
		own(float64(s.sequence), "estiba_snapshot_sequence")
		own(1, "estiba_scrape_success")
	case q == "estiba_snapshot_timestamp_seconds":
		own(float64(s.taken.UnixMicro())/1e6, "estiba_snapshot_timestamp_seconds")
	case strings.HasPrefix(q, "estiba_container_start_time_seconds"):
		for id, c := range s.rows {
			add(float64(c.start.UnixMicro())/1e6, "__name__", "estiba_container_start_time_seconds", "id", id[:12])
		}
	case strings.HasPrefix(q, "group by (id, container_id,"):
		for id, c := range s.rows {
			labels := []string{"id", id[:12], "container_id", id, "runtime", c.runtime}
			if c.known {
				labels = append(labels, "managed", "true")
			}
			if c.pod {
				labels = append(labels, "pod_namespace", "default", "pod_container", "web")
			}
			add(1, labels...)
		}
	}
	body, err := json.Marshal(rows)
	if err != nil {
		panic(err)
	}
	return `{"status":"success","data":{"resultType":"vector","result":` + string(body) + `}}`
}
