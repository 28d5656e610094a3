package status

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
)

var unknown = math.NaN()

// slowPrometheus answers after a time, and counts.
type slowPrometheus struct {
	takes time.Duration

	mu       sync.Mutex
	queries  int
	inFlight int
	most     int
	err      error
	lines    []promql.Line
}

func (p *slowPrometheus) Graph(_ context.Context, _ string, m promql.Moments) ([]promql.Line, error) {
	p.mu.Lock()
	p.queries++
	p.inFlight++
	p.most = max(p.most, p.inFlight)
	takes := p.takes
	p.mu.Unlock()
	time.Sleep(takes)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight--
	lines := make([]promql.Line, len(p.lines))
	for i, l := range p.lines {
		lines[i] = promql.Line{Labels: l.Labels, Values: make([]float64, m.N)}
		copy(lines[i].Values, l.Values)
	}
	return lines, p.err
}

// set changes it while it may be answering.
func (p *slowPrometheus) set(takes time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takes, p.err = takes, err
}

// counted is how many queries there were, and how many at once.
func (p *slowPrometheus) counted() (queries, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queries, p.most
}

func (*slowPrometheus) Peers(context.Context) (promql.Peers, error) { return promql.Peers{}, nil }

func named(name string, values ...float64) promql.Line {
	return promql.Line{Labels: model.Metric{"name": model.LabelValue(name), "id": "0123456789ab"}, Values: values}
}

// Any number of pages causes one query at a time, and one set of queries a step.
func TestHistoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &slowPrometheus{takes: 100 * time.Millisecond, lines: []promql.Line{named("a", 1)}}
		r := newRecorder(p, time.Now)
		var pages sync.WaitGroup
		for range 50 {
			pages.Go(func() {
				if h := r.get(t.Context()); !h.known() {
					t.Error("the first pages do not wait for the graphs")
				}
			})
		}
		pages.Wait()
		if queries, most := p.counted(); queries != 4 || most != 1 {
			t.Errorf("%d queries, %d at once; want 4, 1", queries, most)
		}
		before := time.Now()
		for range 100 {
			r.get(t.Context())
		}
		if queries, _ := p.counted(); queries != 4 || time.Since(before) > 0 {
			t.Errorf("%d queries in the same step, pages waited %s", queries, time.Since(before))
		}
		time.Sleep(historyStep)
		before = time.Now()
		if h := r.get(t.Context()); !h.known() || time.Since(before) > 0 {
			t.Errorf("a page waited %s for newer graphs", time.Since(before))
		}
		time.Sleep(time.Second)
		if queries, _ := p.counted(); queries != 8 {
			t.Errorf("%d queries after a step, want 8", queries)
		}
	})
}

// A Prometheus that hangs holds a page for a moment, one that fails leaves what is known.
func TestHistoryWithoutPrometheus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &slowPrometheus{takes: time.Hour}
		r := newRecorder(p, time.Now)
		before := time.Now()
		if h := r.get(t.Context()); h.known() || h.err != nil || time.Since(before) != historyWait {
			t.Errorf("%+v after %s", h, time.Since(before))
		}
		time.Sleep(5 * time.Hour)
		p.set(0, nil)
		known := r.get(t.Context())
		time.Sleep(historyStep)
		p.set(0, errors.New("connection refused"))
		r.get(t.Context())
		time.Sleep(time.Second)
		if failed := r.get(t.Context()); failed.err == nil || !failed.at().Equal(known.at()) || failed.version == known.version {
			t.Errorf("%+v", failed)
		}
		p.set(0, nil)
		time.Sleep(historyStep)
		r.get(t.Context())
		time.Sleep(time.Second)
		if h := r.get(t.Context()); h.err != nil {
			t.Errorf("still %v", h.err)
		}
	})
}

// A container keeps its colour while others come and go; no two have the same.
func TestColours(t *testing.T) {
	var lines []promql.Line
	for i := range slots {
		lines = append(lines, named(fmt.Sprint("container-", i), 1))
	}
	first := colours(nil, lines[:8], lines[4:12])
	again := colours(first, lines[2:14], lines[8:])
	used := map[int]string{}
	for name, slot := range again {
		if before, had := first[name]; had && before != slot {
			t.Errorf("%s had %d and has %d", name, before, slot)
		}
		if other, taken := used[slot]; taken || slot < 0 || slot >= slots {
			t.Errorf("%s and %s have slot %d", name, other, slot)
		}
		used[slot] = name
	}
	if after := colours(nil, lines[4:12], lines[:8]); fmt.Sprint(after) != fmt.Sprint(first) {
		t.Error("another order has other colours")
	}
}

func TestTrace(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   string
	}{
		{[]float64{0, 5, 10}, "M0 100L50 50L100 0"},
		{[]float64{0, unknown, 10}, "M0 100h.3M100 0h.3"},
		{[]float64{unknown, 1, 2, unknown}, "M33.33 90L66.67 80"},
		{[]float64{-1, math.Inf(1), 20}, "M0 100h.3M100 0h.3"},
		{[]float64{unknown}, ""},
		{nil, ""},
	} {
		if got := trace(c.values, 100, 100, 10); got != c.want {
			t.Errorf("%v: %s, want %s", c.values, got, c.want)
		}
	}
	if got := area([]float64{10, 20, unknown, 30}, []float64{50, 50, 50, unknown}); got != "M0 15L0 12L1 9L1 15L0 15ZM3 30L3 21L3 30Z" {
		t.Errorf("area: %s", got)
	}
	if spark([]float64{unknown, unknown}) != "" || spark([]float64{0.01, 0.02}) != "M0 15.84L30 15.68" {
		t.Errorf("spark: %s", spark([]float64{0.01, 0.02}))
	}
}

func TestScale(t *testing.T) {
	for v, want := range map[float64]float64{0: 0.01, 0.3: 0.5, 1: 1, 1.01: 2, 2.4: 2.5, 7: 10, 30: 50, 99: 100, 101: 200, math.Inf(-1): 0.01} {
		if got := niceStep(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v: %v, want %v", v, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 0.0125: "0.0125", 7.5: "7.5", 1000: "1000", 15.63: "15.6", 200: "200"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

// Kills of one step share a mark; those that did not happen have none.
func TestKillMarks(t *testing.T) {
	m := promql.Moments{Start: at, Step: historyStep, N: historyPoints}
	kill := func(after time.Duration, name string, mode policy.Mode, o audit.Outcome) audit.Record {
		return audit.Record{Time: at.Add(after), Name: name, Mode: mode, Outcome: o, Container: strings.Repeat("d", 64)}
	}
	marks := killMarks([]audit.Record{
		kill(25*time.Second, "", policy.Live, audit.OutcomeDone), kill(21*time.Second, "b\u202e", policy.Live, audit.OutcomeDone),
		kill(5*time.Second, "a", policy.Live, audit.OutcomeDone), kill(time.Minute, "c", policy.Live, audit.OutcomeFailed),
		kill(time.Minute, "d", policy.DryRun, audit.OutcomeDone), kill(-time.Second, "e", policy.Live, audit.OutcomeDone), kill(time.Hour, "f", policy.Live, audit.OutcomeDone),
	}, m)
	if len(marks) != 2 || marks[0].X != 0.5 || marks[1].Title != `12:00:25 UTC, 2 kills: dddddddddddd, b\u202e` {
		t.Errorf("%+v", marks)
	}
}

// The page without scripts has graphs with all values, and says when Prometheus is gone.
func TestGraphsOnPage(t *testing.T) {
	s, p := NewStore(), &slowPrometheus{lines: []promql.Line{named(`<script>"x`, 1, 2, 3)}}
	s.Tick(exampleTick())
	now := at
	h := Handler(Site{Store: s, Metrics: NewMetrics(""), Now: func() time.Time { return now }, Prometheus: p})
	get := func(path string) string {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		return rec.Body.String()
	}
	page := get("/")
	for _, want := range []string{`<path class="line c`, "&lt;script&gt;&#34;x", "2.00 %", `data-values="1,2,3,`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Count(page, "<script") != 1 {
		t.Error("a name became a script")
	}
	p.set(0, errors.New("connection refused"))
	now = now.Add(2 * historyOld)
	if page = get("/"); !strings.Contains(page, "Prometheus does not answer; values until") || !strings.Contains(page, "connection refused") {
		t.Error("the page does not say that Prometheus is gone")
	}
}

// A browser that has the page gets 304 until something changes.
func TestLive(t *testing.T) {
	s := NewStore()
	s.Tick(exampleTick())
	h := Handler(Site{Store: s, Metrics: NewMetrics(""), Now: time.Now})
	get := func(tag string) (int, string) {
		r := httptest.NewRequest("GET", "/live", nil)
		r.Header.Set("If-None-Match", tag)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if rec.Code == 200 && strings.Contains(rec.Body.String(), "<script") {
			t.Error("the part that changes has the script")
		}
		return rec.Code, rec.Header().Get("ETag")
	}
	code, tag := get("")
	if code != 200 {
		t.Fatal(code)
	}
	for i, change := range []func(){func() { s.Tick(exampleTick()) }, func() { s.Killed(kill(1)) }, func() { s.SetDryRun(true) }} {
		if code, _ := get(tag); code != 304 {
			t.Errorf("before change %d: %d", i, code)
		}
		change()
		var changed string
		if code, changed = get(tag); code != 200 || changed == tag {
			t.Errorf("after change %d: %d, %s", i, code, changed)
		}
		tag = changed
	}
}
