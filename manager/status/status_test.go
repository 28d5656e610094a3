package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
)

var at = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func exampleTick() Tick {
	cpu, memory := 12.5, 0.2
	kill := policy.Container{ID: strings.Repeat("a", 64), Name: "old<b>", Image: "stress", Kind: container.KindCPU, InScope: true}
	safe := policy.Container{ID: strings.Repeat("b", 64), Name: "grafana", Protected: []policy.Protection{policy.ProtectedByMonitoring}}
	return Tick{
		Time: at, Duration: 20 * time.Millisecond, Result: gather.TickOK, DataKnown: true, DataAge: time.Second, Decided: true,
		Containers: []policy.Container{safe, kill},
		Plan: policy.Plan{
			BudgetLeft: 19,
			Pending:    []policy.Pending{{Container: safe, Rule: policy.Rule{Name: "surplus"}, NotBefore: at}},
			Victims:    []policy.Victim{{Container: kill, Rule: policy.Rule{Name: "surplus"}, Value: 60}},
			Measured:   []policy.Measurement{{Rule: "surplus", Ratio: 0.5, ByKind: map[container.Kind]float64{container.KindCPU: 0.25}}},
			Decisions: []policy.Decision{
				{Rule: "surplus", Choice: policy.Kill, Reason: policy.Chosen, Container: kill, Value: 60, Rank: 1},
				{Rule: "surplus", Choice: policy.Spare, Reason: policy.AlreadyGone, Container: policy.Container{ID: "cccccccccccc"}, Rank: 2},
				{Choice: policy.Spare, Reason: policy.NotSelected, Container: safe},
			},
		},
		Rules: []RuleState{{
			Name: "surplus", Query: `up{a="<x>"}`, Mode: policy.Live, Action: "remove",
			Relief: ReliefState{By: "count", Unrelieved: 5, StopAfter: 5, Stopped: true, ResumesAt: &at},
		}},
		Usage: map[string]promql.Usage{strings.Repeat("a", 12): {Class: "high", CPUPercent: &cpu, MemoryPercent: &memory}},
	}
}

func kill(n int) audit.Record {
	return audit.Record{
		KillID: fmt.Sprint(n), Rule: "surplus", Kind: "cpu", Container: strings.Repeat("d", 64), Name: "x",
		Mode: policy.Live, Action: "remove", Outcome: audit.OutcomeDone, Time: at, Duration: 0.2,
	}
}

// The published metrics match Descriptors, with labels and types.
func TestDescriptors(t *testing.T) {
	m := NewMetrics("")
	m.Rules([]string{"surplus"}, 20, false)
	m.Tick(exampleTick())
	m.Killed(kill(1))
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	published := map[string]string{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "estiba_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		published[f.GetName()] = strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ",")
	}
	for _, d := range Descriptors() {
		labels := slices.Sorted(slices.Values(d.Labels))
		if want := d.Type + " " + strings.Join(labels, ","); published[d.Name] != want {
			t.Errorf("%s is published as %q, described as %q", d.Name, published[d.Name], want)
		}
		delete(published, d.Name)
	}
	for name := range published {
		t.Errorf("%s is published and not described", name)
	}
	if problems, err := promlint.NewWithMetricFamilies(families).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// series counts the series of a metric.
func series(t *testing.T, m *Metrics, name string) int {
	t.Helper()
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return len(f.GetMetric())
		}
	}
	return 0
}

func TestEveryCounterStartsAtZero(t *testing.T) {
	m := NewMetrics("")
	m.Rules([]string{"a", "b"}, 20, true)
	if got, want := series(t, m, nameKills), 2*5*2*len(audit.Outcomes()); got != want {
		t.Errorf("%d series of kills, want %d", got, want)
	}
	if got, want := series(t, m, nameDecisions), 1+2*(1+len(policy.Guards())); got != want {
		t.Errorf("%d series of decisions, want %d", got, want)
	}
	// A tick with every kind of decision adds no series.
	m.Rules([]string{"surplus"}, 20, true)
	before := series(t, m, nameDecisions)
	m.Tick(exampleTick())
	if after := series(t, m, nameDecisions); after != before {
		t.Errorf("a tick made %d new series", after-before)
	}
}

func TestReliefIsPublished(t *testing.T) {
	m := NewMetrics("")
	m.Rules([]string{"surplus", "other"}, 20, false)
	m.Tick(exampleTick())
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			key := f.GetName()
			for _, l := range s.GetLabel() {
				key += " " + l.GetValue()
			}
			got[key] = s.GetGauge().GetValue()
		}
	}
	for key, want := range map[string]float64{
		nameRelief + " cpu surplus": 0.25, nameUnrelieved + " surplus": 5, nameStopped + " surplus": 1, nameStopped + " other": 0,
	} {
		if v, ok := got[key]; !ok || v != want {
			t.Errorf("%s = %v, %v, want %v", key, v, ok, want)
		}
	}
	m.Rules([]string{"other"}, 20, false)
	if series(t, m, nameStopped) != 1 {
		t.Error("a rule that is gone from the policy is still published as stopped")
	}
}

func TestDistanceFromThreshold(t *testing.T) {
	tick := exampleTick()
	short := strings.Repeat("b", 12)
	row := func() (wanted, other Row) {
		for _, r := range Describe(tick, 1, false).Containers {
			if r.Rule != "" {
				wanted = r
			} else if r.ShortID == short {
				other = r
			}
		}
		return wanted, other
	}
	if wanted, other := row(); wanted.Distance == nil || *wanted.Distance != 0 || other.Value != nil || other.Distance != nil {
		t.Errorf("by rank: %+v, %+v", wanted, other)
	}
	tick.Thresholds = map[string]Threshold{"surplus": {Value: 50, Values: map[string]float64{short: 20, strings.Repeat("a", 12): 60}}}
	if wanted, other := row(); *wanted.Distance != 10 || other.Value == nil || *other.Value != 20 || *other.Distance != -30 {
		t.Errorf("by threshold: %+v, %+v", wanted, other)
	}
}

func TestRecentKillsAreBounded(t *testing.T) {
	m := NewMetrics("")
	for i := range 70 {
		m.Killed(kill(i))
	}
	refused := kill(71)
	refused.Outcome = audit.OutcomeRefused
	m.Killed(refused)
	n := series(t, m, nameRecentKill)
	if n != 50 {
		t.Errorf("%d series of recent kills, want 50", n)
	}
}

func TestPages(t *testing.T) {
	store, reload := NewStore(), error(nil)
	s := httptest.NewServer(Handler(Site{
		Store: store, Metrics: NewMetrics(""), Now: func() time.Time { return at.Add(time.Minute) },
		Reload: func() error { return reload },
	}))
	defer s.Close()
	fetch := func(method, path string) (int, string, http.Header) {
		req, _ := http.NewRequest(method, s.URL+path, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b strings.Builder
		buf := make([]byte, 1<<16)
		for {
			n, err := resp.Body.Read(buf)
			b.Write(buf[:n])
			if err != nil {
				break
			}
		}
		return resp.StatusCode, b.String(), resp.Header
	}
	if code, _, _ := fetch("GET", "/-/ready"); code != http.StatusServiceUnavailable {
		t.Errorf("ready before the first tick: %d", code)
	}
	if code, page, _ := fetch("GET", "/"); code != http.StatusOK || !strings.Contains(page, "No tick yet") {
		t.Errorf("page before the first tick: %d", code)
	}
	store.Tick(exampleTick())
	store.Killed(kill(1))
	code, page, header := fetch("GET", "/")
	for _, want := range []string{
		"kills nothing until a retry", "&#43;0 from the threshold", "until a retry at <time", ">12:00:00<", "old&lt;b&gt;", "chosen",
		"12.50 %", "protected by monitoring", "up{a=&#34;&lt;x&gt;&#34;}", "1 min ago", "kill 1",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("page (%d) lacks %q", code, want)
		}
	}
	for _, outside := range []string{"http://", "https://", "//cdn"} {
		if strings.Contains(page, outside) {
			t.Errorf("page refers to %s", outside)
		}
	}
	if csp := header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("policy of the page: %q", csp)
	}
	_, body, _ := fetch("GET", "/api/v1/decisions")
	var d Decisions
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	if d.Tick != 1 || d.KillsPlanned != 1 || d.NotContainers != 1 || d.Containers[0].Decision != policy.Kill ||
		d.Containers[1].Protected[0] != policy.ProtectedByMonitoring {
		t.Errorf("decisions = %+v", d)
	}
	if _, body, _ = fetch("GET", "/api/v1/kills"); !strings.Contains(body, `"kill_id": "1"`) {
		t.Errorf("kills = %s", body)
	}
	if code, _, _ := fetch("POST", "/-/reload"); code != http.StatusOK {
		t.Errorf("reload: %d", code)
	}
	if code, _, _ := fetch("GET", "/-/reload"); code != http.StatusMethodNotAllowed {
		t.Errorf("GET of reload: %d", code)
	}
	reload = errors.New("rules: holds no rule")
	if code, body, _ := fetch("POST", "/-/reload"); code != http.StatusInternalServerError || !strings.Contains(body, "holds no rule") {
		t.Errorf("reload of a bad file: %d %s", code, body)
	}
	for _, path := range []string{"/-/healthy", "/-/ready", "/metrics"} {
		if code, _, _ := fetch("GET", path); code != http.StatusOK {
			t.Errorf("%s: %d", path, code)
		}
	}
}

// Values that are not finite do not break the documents.
func TestNoNumbersInDocuments(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	tick := exampleTick()
	tick.Usage = map[string]promql.Usage{strings.Repeat("a", 12): {CPUPercent: &nan, MemoryPercent: &inf}}
	tick.Plan.Decisions[0].Value = nan
	s := NewStore()
	s.Tick(tick)
	for _, path := range []string{"/api/v1/decisions", "/"} {
		rec := httptest.NewRecorder()
		Handler(Site{Store: s, Metrics: NewMetrics(""), Now: time.Now}).ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if rec.Code != 200 {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
}

// A candidate that another runtime runs is shown with it, one that is gone is not.
func TestForeignCandidate(t *testing.T) {
	tick := exampleTick()
	foreign := policy.Container{ID: strings.Repeat("e", 64), Name: "web", Runtime: container.CRIO, Foreign: true}
	tick.Plan.Decisions = append(tick.Plan.Decisions,
		policy.Decision{Rule: "surplus", Choice: policy.Spare, Reason: policy.ForeignRuntime, Container: foreign, Value: 3, Rank: 3},
		policy.Decision{Rule: "second", Choice: policy.Spare, Reason: policy.ForeignRuntime, Container: foreign, Value: 4, Rank: 1})
	d := Describe(tick, 1, false)
	if d.NotContainers != 1 || len(d.Containers) != 3 || d.InScope != 1 {
		t.Fatalf("%+v", d)
	}
	for _, r := range d.Containers {
		if r.Name == "web" {
			if r.State != "foreign" || r.Runtime != container.CRIO || r.Reason != policy.ForeignRuntime || r.Rule != "surplus" || len(r.ByRule) != 2 {
				t.Errorf("%+v", r)
			}
			return
		}
	}
	t.Error("it is not shown")
}
