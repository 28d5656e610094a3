package promql

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"pgregory.net/rapid"

	"github.com/estiba/estiba/manager/policy"
)

func TestReachAt(t *testing.T) {
	for query, want := range map[string]time.Duration{
		`a @ 1799996400`:                              time.Hour,
		`rate(a[5m] @ 1799996400)`:                    time.Hour + 5*time.Minute,
		`rate(a[5m] @ 1799996400 offset 1m)`:          time.Hour + 6*time.Minute,
		`a @ 1800003600`:                              0,
		`a @ start()`:                                 0,
		`rate(a[5m] @ end())`:                         5 * time.Minute,
		`max_over_time(a[10m:1m] @ 1799996400)`:       time.Hour + 10*time.Minute,
		`max_over_time((a @ 1799996400)[10m:1m])`:     time.Hour, // the same sample at each step
		`max_over_time((a offset 1m)[10m:1m])`:        11 * time.Minute,
		`max_over_time((a @ end())[10m:1m])`:          0,
		`rate(a[5m] offset -5m)`:                      0,
		`a @ 1799996400 + rate(b[2h])`:                2 * time.Hour,
		`last_over_time({__name__=~"a|b",x="y"}[1h])`: time.Hour,
	} {
		e := parse(t, query, "")
		if got := e.reachAt(now); got != want {
			t.Errorf("%s looks back %s, want %s", query, got, want)
		}
		if want := strings.Contains(query, "()"); e.edge != want {
			t.Errorf("%s: edge %v", query, e.edge)
		}
	}
}

// series are scrapes, in seconds before now.
func series(before ...float64) scrapes {
	points := make([]point, len(before))
	for i, s := range before {
		points[i] = point{float64(now.Unix()) - s, float64(now.Unix()) - s - 0.1}
	}
	return scrapesOf(points)
}

// steps is every step seconds between two times, without some.
func steps(from, to, step float64, without ...float64) []float64 {
	var list []float64
next:
	for s := from; s >= to; s -= step {
		for i := 0; i+1 < len(without); i += 2 {
			if s <= without[i] && s >= without[i+1] {
				continue next
			}
		}
		list = append(list, s)
	}
	return list
}

func TestWindowOfScrapes(t *testing.T) {
	const hour = 3600
	for name, c := range map[string]struct {
		scrapes []float64
		reach   time.Duration
		full    bool
	}{
		"all of it":              {steps(2*hour, 0, 5), 2 * time.Hour, true},
		"one scrape less":        {steps(2*hour-5, 0, 5), 2 * time.Hour, true},
		"two scrapes less":       {steps(2*hour-10, 0, 5), 2 * time.Hour, false},
		"three quarters":         {steps(1.5*hour, 0, 5), 2 * time.Hour, false},
		"between scrapes":        {steps(2*hour+3, 3, 5), 2 * time.Hour, true},
		"a hole of 100 minutes":  {steps(2*hour+600, 0, 5, 1.8*hour, 600), 2 * time.Hour, false},
		"most of it is a hole":   {append(steps(2*hour+295, 2*hour, 5), steps(60, 0, 5)...), 2 * time.Hour, false},
		"two scrapes missed":     {steps(2*hour, 0, 5, 1000, 995), 2 * time.Hour, true},
		"three scrapes missed":   {steps(2*hour, 0, 5, 1000, 990), 2 * time.Hour, false},
		"two missed before it":   {steps(2*hour+300, 0, 5, 2*hour, 2*hour-5), 2 * time.Hour, true},
		"a hole until it begins": {append(steps(2*hour+300, 2*hour+100, 5), steps(2*hour-5, 0, 5)...), 2 * time.Hour, true},
		"now and then one, over a day": {
			append(steps(24*hour, hour, 5, 50000, 50000, 40000, 40000, 30000, 30000, 20000, 20000), steps(hour-5, 0, 5)...),
			24 * time.Hour, true,
		},
		"each tenth":                      {steps(2*hour, 0, 5, tenths(2*hour)...), 2 * time.Hour, false},
		"no longer scraped":               {steps(2*hour, 20, 5), 2 * time.Hour, false},
		"half a minute":                   {steps(330, 0, 5), 30 * time.Second, true},
		"half a minute, just begun":       {steps(20, 0, 5), 30 * time.Second, false},
		"shorter than a scrape interval":  {steps(600, 10, 60), 30 * time.Second, true}, // no sample in it, one shortly before
		"one sample":                      {[]float64{1}, 30 * time.Second, false},
		"none":                            {nil, 30 * time.Second, false},
		"each minute":                     {steps(2*hour, 0, 60), 2 * time.Hour, true},
		"beyond what is looked at":        {steps(2*hour, 0, 5), maxReach + 1, false},
		"scraped every 15 s until lately": {append(steps(2*hour, 615, 15), steps(600, 0, 5)...), 2 * time.Hour, true},
	} {
		if h := historyOf(series(c.scrapes...), nil, c.reach, now); h.full != c.full {
			t.Errorf("%s: %v, want %v (interval %s)", name, h.full, c.full, h.interval)
		}
	}
	// An exporter that repeats its snapshot measures nothing.
	var points []point
	for i := range 100 {
		points = append(points, point{float64(now.Unix()) - 500 + 5*float64(i), float64(now.Unix()) - 500 + 5*float64(i-i%20)})
	}
	if h := historyOf(scrapesOf(points), nil, 5*time.Minute, now); h.full && h.interval < time.Minute {
		t.Errorf("repeated snapshots fill a window: %s", h.interval)
	}
}

func labelsOf(pairs ...string) model.Metric {
	m := model.Metric{}
	for i := 0; i < len(pairs); i += 2 {
		m[model.LabelName(pairs[i])] = model.LabelValue(pairs[i+1])
	}
	return m
}

func tenths(from float64) []float64 {
	var list []float64
	for s := from - 20; s > 0; s -= 50 {
		list = append(list, s, s)
	}
	return list
}

func TestLifeFillsItsWindow(t *testing.T) {
	counts := []Row{
		{Value: 1440},
		{Labels: labelsOf("id", "whole"), Value: 1440},
		{Labels: labelsOf("id", "two less"), Value: 1438},
		{Labels: labelsOf("id", "half"), Value: 720},
		{Labels: labelsOf("id", "renamed", "name", "a"), Value: 1000},
		{Labels: labelsOf("id", "renamed", "name", "b"), Value: 440},
	}
	h := historyOf(series(steps(7200, 0, 5)...), counts, 2*time.Hour, now)
	before := now.Add(-3 * time.Hour)
	for _, c := range []struct {
		id    string
		start time.Time
		want  bool
	}{
		{"whole", before, true},
		{"two less", before, true},
		{"half", before, false},
		{"renamed", before, true},
		{"unseen", before, false},
		{"whole", now.Add(-10 * time.Minute), false}, // restarted: the same series, another life
		{"whole", now.Add(-2*time.Hour + 5*time.Second), true},
		{"whole", now.Add(-2*time.Hour + 6*time.Second), false},
		{"whole", time.Time{}, false},
	} {
		if got := h.filled(c.id, c.start); got != c.want {
			t.Errorf("%s, since %s: %v", c.id, c.start, got)
		}
	}
	if !(history{}).filled("x", time.Time{}) {
		t.Error("a query without a range is not filled")
	}
}

// A window is filled if and only if its scrapes are regular.
func TestWindowProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := rapid.SampledFrom([]float64{1, 5, 15, 60}).Draw(t, "step")
		n := rapid.IntRange(40, 400).Draw(t, "scrapes in the window") // enough to distinguish gaps from the interval
		reach := float64(n) * step
		phase := rapid.Float64Range(0, 0.99).Draw(t, "phase") * step
		begin := float64(rapid.IntRange(-20, n).Draw(t, "first")) // scrapes after the begin of the window
		missed := map[int]bool{}
		for range rapid.IntRange(0, 3).Draw(t, "holes") {
			at, size := rapid.IntRange(0, n).Draw(t, "at"), rapid.IntRange(1, 4).Draw(t, "size")
			for i := range size {
				missed[at+i] = true
			}
		}
		var list []float64
		gap, longest, lost, covered := 0, 0, 0, false
		for i := int(begin); ; i++ {
			age := reach - phase - float64(i)*step
			if age < 0 {
				break
			}
			if missed[i] {
				gap++
				if i >= 0 {
					lost++
				}
				continue
			}
			if gap > 0 && i-gap > int(begin) || i >= 0 && i-gap <= int(begin) && begin < 0 {
				longest = max(longest, gap)
			}
			gap = 0
			covered = covered || i <= 0
			list = append(list, age+rapid.Float64Range(-0.001, 0.001).Draw(t, "jitter"))
		}
		if got := historyOf(series(list...), nil, time.Duration(reach*float64(time.Second)), now).full; got {
			if longest >= 4 {
				t.Fatalf("filled with a hole of %d scrapes", longest)
			}
			if begin > 2 {
				t.Fatalf("filled though the first scrape came %v intervals after its begin", begin)
			}
			if lost > max(3, n/100+1) {
				t.Fatalf("filled though %d of %d are missing", lost, n)
			}
		} else if begin <= 0 && len(missed) == 0 {
			t.Fatalf("not filled though each scrape is there: %v", list)
		} else if begin <= 0 && len(missed) == 1 && covered {
			t.Fatal("not filled for one scrape that was missed")
		}
	})
}

// The history of each answer is queried, in units that Prometheus accepts.
func TestWindowFilled(t *testing.T) {
	stamps := func(from, to, step float64) string {
		var list []string
		for _, s := range steps(from, to, step) {
			list = append(list, fmt.Sprintf(`[%.3f,"%.3f"]`, float64(now.Unix())-s, float64(now.Unix())-s))
		}
		return `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[` + strings.Join(list, ",") + `]}]}}`
	}
	const full = "aaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	l := &fakePrometheus{answers: map[string]string{
		"rate(":                               vector(sample("1", "id="+full)),
		"estiba_container_start_time_seconds": vector(sample("1799990000", "id=aaaaaaaaaaaa")),
		"count_over_time":                     vector(sample("60"), sample("60", "id=aaaaaaaaaaaa")),
		"estiba_snapshot_timestamp_seconds[":  stamps(600, 0, 5),
		"group by (id, ":                      vector(sample("1", "id=aaaaaaaaaaaa", "managed=true")),
		"count by (id) (group by (id, ":       vector(),
	}}
	ask := func() Result {
		return client(t, l, "").Evaluate(context.Background(), queriesOf(parse(t, "rate(a[5m])", "")), now, time.Minute)[0]
	}
	r := ask()
	if r.Err != nil || len(r.Answer.Samples) != 1 {
		t.Fatalf("%+v", r)
	}
	if s := r.Answer.Samples[0]; s.ID != full || s.Start.Unix() != 1799990000 || !s.WindowFilled || !s.LabelsKnown {
		t.Errorf("a row with all digits of the id: %+v", s)
	}
	for body, known := range map[string]bool{
		vector(sample("2", "id=cccccccccccc")): true,
		vector(sample("2", "id=aaaaaaaaaaaa")): false,
	} {
		l.answers["count by (id) (group by (id, "] = body
		if s := ask().Answer.Samples[0]; s.Start.IsZero() == known {
			t.Errorf("two containers had the id of %s: %+v", body, s)
		}
	}
	l.answers["count by (id) (group by (id, "] = "500"
	if r := ask(); !r.Answer.Unusable {
		t.Errorf("usable without knowing whose values they are: %+v", r)
	}
	l.answers["count by (id) (group by (id, "] = vector()
	l.answers["group by (id, "] = vector(sample("1", "id=cccccccccccc", "managed=true"))
	l.answers["estiba_snapshot_timestamp_seconds["] = stamps(200, 0, 5)
	if s := ask().Answer.Samples[0]; s.WindowFilled || s.LabelsKnown {
		t.Errorf("a young Prometheus and labels that are not known: %+v", s)
	}
	for _, body := range []string{vector(), "500", strings.Replace(stamps(600, 0, 5), `"data"`, `"warnings":["partial"],"data"`, 1)} {
		l.answers["estiba_snapshot_timestamp_seconds["] = body
		if r := ask(); !r.Answer.Unusable {
			t.Errorf("usable without the history: %+v", r)
		}
	}
	l.answers["estiba_snapshot_timestamp_seconds["], l.answers["group by (id, "] = stamps(600, 0, 5), "500"
	if r := ask(); !r.Answer.Unusable {
		t.Errorf("usable without the labels: %+v", r)
	}
}

// What is known of the measured container comes from its info; of two, nothing.
func TestMeasured(t *testing.T) {
	const id = "aaaaaaaaaaaa"
	full, other := strings.Repeat("a", 64), id+strings.Repeat("b", 52)
	one := sample("1", "id="+id, "container_id="+full, "name=web", "image=app:1", "kind=cpu", "managed=false", "runtime=podman")
	for name, c := range map[string]struct {
		infos string
		known bool
		want  policy.Measured
	}{
		"one":  {vector(one), true, policy.Measured{ID: full, Name: "web", Image: "app:1", Kind: "cpu", Runtime: "podman"}},
		"none": {vector(), false, policy.Measured{}},
		"a user's with the same short id": {
			vector(one, sample("1", "id="+id+"@1000", "container_id="+full, "managed=true", "runtime=docker")), true,
			policy.Measured{ID: full, Name: "web", Image: "app:1", Kind: "cpu", Runtime: "podman"},
		},
		"unnamed": {vector(sample("1", "id="+id, "container_id="+full)), false, policy.Measured{ID: full}},
		"pod":     {vector(sample("1", "id="+id, "pod_namespace=default")), false, policy.Measured{Kubernetes: true}},
		"pause":   {vector(sample("1", "id="+id, "pod_container=POD")), false, policy.Measured{Kubernetes: true}},
		"Podman":  {vector(sample("1", "id="+id, "pod_container=web")), false, policy.Measured{}},
		"two":     {vector(sample("1", "id="+id, "container_id="+other, "managed=true", "pod_namespace=default"), one), false, policy.Measured{ID: full, Name: "web", Image: "app:1", Kind: "cpu", Runtime: "podman", Kubernetes: true}},
	} {
		l := &fakePrometheus{answers: map[string]string{"usage": vector(sample("1", "id="+id)), "estiba_container_info": c.infos}}
		r := client(t, l, "").Evaluate(context.Background(), queriesOf(parse(t, "usage", "")), now, time.Minute)[0]
		if r.Err != nil || len(r.Answer.Samples) != 1 {
			t.Fatalf("%s: %+v", name, r)
		}
		if s := r.Answer.Samples[0]; s.LabelsKnown != c.known || s.Measured != c.want {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// The label id of a rootless container begins like that of another one.
func TestMeasuredOfAUser(t *testing.T) {
	const short = "aaaaaaaaaaaa"
	l := &fakePrometheus{answers: map[string]string{
		"usage":                               vector(sample("1", "id="+short+"@1000")),
		"estiba_container_info":               vector(sample("1", "id="+short, "managed=true", "runtime=docker"), sample("1", "id="+short+"@1000", "runtime=podman")),
		"estiba_container_start_time_seconds": vector(sample("1799990000", "id="+short)),
	}}
	r := client(t, l, "").Evaluate(context.Background(), queriesOf(parse(t, "usage", "")), now, time.Minute)[0]
	if s := r.Answer.Samples[0]; s.Measured.Runtime != "podman" || s.LabelsKnown || !s.Start.IsZero() {
		t.Errorf("%+v", s)
	}
}
