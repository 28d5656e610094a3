package promql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// rule is a recording rule as in /api/v1/rules, evaluated some time before now.
func rule(name, query, health string, ago time.Duration) string {
	return fmt.Sprintf(`{"name":%q,"query":%q,"type":"recording","health":%q,"lastError":"query timed out","evaluationTime":0,"lastEvaluation":%q}`,
		name, query, health, now.Add(-ago).Format(time.RFC3339Nano))
}

func groups(list ...string) string {
	return `{"status":"success","data":{"groups":[` + strings.Join(list, ",") + `]}}`
}

func group(interval int, rules ...string) string {
	return fmt.Sprintf(`{"name":"g","file":"f","interval":%d,"lastEvaluation":%q,"rules":[%s]}`, interval, now.Format(time.RFC3339Nano),
		strings.Join(rules, ","))
}

func TestFreshnessOfRecordings(t *testing.T) {
	const second = time.Second
	good := group(5, rule("x:cpu", "rate(cpu[30s])", "ok", 3*second), rule("x:class", "x:cpu > 1", "ok", 3*second),
		rule("plain", "rate(cpu[5m])", "ok", second))
	old := time.Duration(0)
	for name, c := range map[string]struct {
		query, rules string
		stale        string // part of the reason; "" is none
		unusable     bool
		reach, at    time.Duration // at: before now
	}{
		"reads none":               {"usage", good, "", false, 0, old},
		"one":                      {"x:cpu", good, "", false, 33 * second, 3 * second},
		"through another":          {"x:class", good, "", false, 33 * second, 3 * second},
		"a name without a colon":   {"plain", good, "", false, 301 * second, second},
		"a pattern":                {`{__name__=~"x:c.*"}`, good, "", false, 33 * second, 3 * second},
		"a pattern that is none's": {`{__name__=~"estiba_.*",__name__!~".*:.*"}`, good, "", false, 0, old},
		"no name at all":           {`{id="a"}`, good, "", false, 301 * second, 3 * second},
		"a range of it":            {`max_over_time(x:cpu[10m])`, good, "", false, 630 * second, 3 * second},
		"a subquery of it":         {`max_over_time(x:class[10m:1m] offset 1m)`, good, "", false, 690 * second, 3 * second},
		"another's rule fails":     {"x:cpu", group(5, rule("x:cpu", "cpu", "ok", second), rule("y:cpu", "cpu", "err", second)), "", false, second, second},
		"it fails":                 {"x:cpu", group(5, rule("x:cpu", "cpu", "err", second)), "query timed out", false, second, old},
		"one of two rules fails": {
			"x:cpu", group(5, rule("x:cpu", "cpu", "ok", second), rule("x:cpu", "cpu2", "err", second)), "query timed out", false,
			second, old,
		},
		"what it reads fails": {
			"x:class", group(5, rule("x:cpu", "cpu", "err", second), rule("x:class", "x:cpu > 1", "ok", second)), "x:cpu", false,
			second, old,
		},
		"what it reads is old": {
			"x:class", group(5, rule("x:cpu", "cpu", "ok", 61*second), rule("x:class", "x:cpu > 1", "ok", second)),
			"x:cpu: last evaluation 1m1s ago", false, 61 * second, old,
		},
		"not evaluated yet": {"x:cpu", group(5, strings.Replace(rule("x:cpu", "cpu", "unknown", 0), now.Format(time.RFC3339Nano),
			"0001-01-01T00:00:00Z", 1)), "not been evaluated", false, 0, old},
		"its group is behind": {"x:cpu", strings.Replace(group(5, rule("x:cpu", "cpu", "ok", second)), now.Format(time.RFC3339Nano), now.Add(-2*time.Minute).Format(time.RFC3339Nano), 1), "2m0s ago", false, 120 * second, old},
		"evaluated since":     {"x:cpu", strings.Replace(group(15, rule("x:cpu", "cpu", "ok", -second)), now.Format(time.RFC3339Nano), now.Add(time.Second).Format(time.RFC3339Nano), 1), "", false, 14 * second, 14 * second},
		"what it reads is younger": {"x:class", group(15, rule("x:cpu", "rate(cpu[30s])", "ok", second)) + "," + group(5,
			rule("x:class", "x:cpu > 1", "ok", 3*second)), "", false, 46 * second, 16 * second},
		"in a circle": {
			"x:a", group(5, rule("x:a", "rate(x:b[1m])", "ok", second), rule("x:b", "rate(x:a[1m])", "ok", second)), "", false, -1,
			-1,
		},
		"no such rule":              {"y:cpu", good, "", true, 0, old},
		"no such rule, deeper":      {"x:class", group(5, rule("x:class", "y:cpu > 1", "ok", second)), "", true, 0, old},
		"a rule that is not PromQL": {"x:cpu", group(5, rule("x:cpu", "cpu ~~ 1", "ok", second)), "", true, 0, old},
		"another's is not": {
			"x:cpu", group(5, rule("y:cpu", "cpu ~~ 1", "ok", second), rule("x:cpu", "cpu", "ok", second)), "", false, second,
			second,
		},
		"an alert's name": {"usage", group(5, `{"name":"usage","query":"up ~~","type":"alerting","health":"err","lastEvaluation":"2026-01-01T00:00:00Z"}`), "", false, 0, old},
	} {
		t.Run(name, func(t *testing.T) {
			l := &fakePrometheus{rules: groups(c.rules), answers: map[string]string{snapshotName: vector(sample("1799999990")), "count_over_time": vector()}}
			q := parse(t, c.query, "")
			r := client(t, l, "").Evaluate(context.Background(), queriesOf(q), now, time.Minute)[0]
			if c.unusable {
				if !r.Answer.Unusable || !errors.Is(r.Err, ErrUnusable) {
					t.Errorf("%+v", r)
				}
				return
			}
			if r.Err != nil || r.Answer.Stale != (c.stale != "") || r.Answer.Stale != (r.StaleErr != nil) || c.stale != "" &&
				!strings.Contains(r.StaleErr.Error(), c.stale) {
				t.Fatalf("%+v", r)
			}
			if c.reach >= 0 && r.Reach != c.reach {
				t.Errorf("looks back %s, want %s", r.Reach, c.reach)
			}
			if got := !r.Answer.At.IsZero(); c.at >= 0 && got != (c.at > 0) {
				t.Errorf("At %s", r.Answer.At)
			}
			rules, err := client(t, l, "").recordings(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if read := rules.read(q, now, time.Minute); c.at > 0 && now.Sub(read.at) != c.at {
				t.Errorf("evaluated %s ago, want %s", now.Sub(read.at), c.at)
			}
		})
	}
}

// The snapshot of recordings is that of their evaluation, and there must be one.
func TestSnapshotOfRecordings(t *testing.T) {
	l := &fakePrometheus{
		rules:   groups(group(5, rule("x:cpu", "cpu", "ok", 3*time.Second))),
		answers: map[string]string{snapshotName: vector(sample("1799999990.5"))},
	}
	r := client(t, l, "").Evaluate(context.Background(), queriesOf(parse(t, "x:cpu", ""), parse(t, "x:cpu > 1", "")), now, time.Minute)
	for i := range r {
		if r[i].Answer.Stale || r[i].Answer.At.UnixMilli() != 1799999990500 {
			t.Errorf("%+v", r[i])
		}
	}
	// An evaluation saw what was stored a little earlier; two rules with the same
	// evaluation need one query.
	l.times = make(chan string, 100)
	client(t, l, "").Evaluate(context.Background(), queriesOf(parse(t, "x:cpu", ""), parse(t, "x:cpu > 1", "")), now, time.Minute)
	close(l.times)
	asked := 0
	for q := range l.times {
		if strings.HasPrefix(q, snapshotName+" ") {
			asked++
			if want := snapshotName + " at 1799999996.000"; q != want {
				t.Errorf("asked for %s, want %s", q, want)
			}
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	l.times = nil
	for _, body := range []string{vector(), vector(sample("1", "a=1"), sample("2", "a=2")), "500"} {
		l.answers[snapshotName] = body
		if r := client(t, l, "").Evaluate(context.Background(), queriesOf(parse(t, "x:cpu", "")), now, time.Minute)[0]; !r.Answer.Stale || r.StaleErr == nil {
			t.Errorf("%s: %+v", body, r)
		}
	}
	l.rules = "<html>"
	if r := client(t, l, "").Evaluate(context.Background(), queriesOf(parse(t, "usage", "")), now, time.Minute)[0]; !r.Answer.Unusable || !r.Failed {
		t.Errorf("usable without the rules: %+v", r)
	}
}

// A recorded relief value must be fresh as well.
func TestReliefValueOfRecordings(t *testing.T) {
	for health, known := range map[string]bool{"ok": true, "err": false} {
		l := &fakePrometheus{rules: groups(group(5, rule("x:load", "load", health, time.Second))), answers: map[string]string{"x:load": vector(sample("7"))}}
		p := client(t, l, "")
		e, err := p.ParseNumber("x:load")
		if err != nil {
			t.Fatal(err)
		}
		if r := p.Evaluate(context.Background(), []Queries{{Query: parse(t, "usage", ""), Relief: &e}}, now,
			time.Minute)[0]; r.Answer.ReliefValueKnown != known || (r.ReliefErr == nil) != known {
			t.Errorf("%s: %+v", health, r)
		}
	}
}

// A thousand rules that may all read each other do not delay a decision.
func TestRulesThatReadEachOther(t *testing.T) {
	var list []string
	for i := range 1000 {
		list = append(list, rule(fmt.Sprintf("r%d", i), `rate({job="x"}[1m])`, "ok", time.Second))
	}
	l := &fakePrometheus{rules: groups(group(5, list...))}
	r := client(t, l, "")
	r.timeout = 10 * time.Second
	begun := time.Now()
	if a := r.Evaluate(context.Background(), queriesOf(parse(t, "r1", "")), now, time.Minute)[0]; !a.Answer.Unusable {
		t.Errorf("%+v", a)
	}
	t.Log(time.Since(begun))
}

// Of the past only the rules are known: their series are as old as their interval.
func TestRecordingsOfThePast(t *testing.T) {
	l := &fakePrometheus{rules: groups(group(5, rule("x:cpu", "rate(cpu[30s])", "err", time.Hour), rule("x:class", "x:cpu > 1", "ok", time.Hour)),
		group(360_000_000, rule("x:made_up", "rate(cpu[30s])", "unknown", time.Hour)))}
	rules, err := client(t, l, "").recordings(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	rules.past = true
	for query, want := range map[string][2]time.Duration{
		"x:cpu": {35 * time.Second, 5 * time.Second}, "x:class": {40 * time.Second, 10 * time.Second}, "x:made_up": {30 * time.Second, 0}, "y:unknown": {
			0,
			0,
		}, "usage": {0, 0},
	} {
		r := rules.read(parse(t, query, ""), now, 0)
		if behind := now.Sub(r.at); r.reach != want[0] || r.rules && behind != want[1] || r.stale != nil {
			t.Errorf("%s: %+v, %s behind", query, r, behind)
		}
	}
}
