package promql

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

var now = time.Unix(1_800_000_000, 0)

const noRules = `{"status":"success","data":{"groups":[]}}`

// fakePrometheus returns the responses of a test. answers maps a part of the query to
// the response.
type fakePrometheus struct {
	answers map[string]string
	rules   string
	queries chan string
	times   chan string // each query with its time
	late    bool        // it answers for 1800000000 whatever time is requested
}

func (l *fakePrometheus) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(r.URL.Path, "/rules") {
		if l.rules == "" {
			l.rules = noRules
		}
		fmt.Fprint(w, l.rules)
		return
	}
	query := r.FormValue("query")
	if l.times != nil {
		l.times <- query + " at " + r.FormValue("time")
	}
	if l.queries != nil {
		l.queries <- query
	}
	best, at := "", len(query)
	for part := range l.answers { // the part that is first in the query
		if i := strings.Index(query, part); i >= 0 && i < at {
			best, at = part, i
		}
	}
	if body, ok := l.answers[best]; ok {
		switch body {
		case "500":
			w.WriteHeader(http.StatusInternalServerError)
		case "hang":
			<-r.Context().Done()
		case "cut":
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"status":"succ`)
		default:
			if asked := r.FormValue("time"); asked != "" && !l.late {
				body = strings.ReplaceAll(body, `"value":[1800000000,`, `"value":[`+asked+`,`)
			}
			fmt.Fprint(w, body)
		}
		return
	}
	fmt.Fprint(w, vector())
}

func vector(samples ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(samples, ",") + `]}}`
}

func sample(value string, labels ...string) string {
	var pairs []string
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		pairs = append(pairs, fmt.Sprintf("%q:%q", k, v))
	}
	return fmt.Sprintf(`{"metric":{%s},"value":[1800000000,%q]}`, strings.Join(pairs, ","), value)
}

func client(t *testing.T, l *fakePrometheus, host string) *Client {
	t.Helper()
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	c, err := New(server.URL, "", host, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parse(t *testing.T, query, host string) Expr {
	t.Helper()
	e, err := ParseExpr(query, host)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func queriesOf(queries ...Expr) []Queries {
	list := make([]Queries, len(queries))
	for i, q := range queries {
		list[i].Query = q
	}
	return list
}

// A relief value is exactly one finite number, or unknown.
func TestReliefValue(t *testing.T) {
	for name, c := range map[string]struct {
		query, body string
		known       bool
	}{
		"a number":        {"load", vector(sample("7.5")), true},
		"a scalar":        {"scalar(load)", vector(sample("7.5")), true},
		"nothing":         {"load", vector(), false},
		"two":             {"load", vector(sample("7.5", "a=1"), sample("7.5", "a=2")), false},
		"NaN":             {"load", vector(sample("NaN")), false},
		"Prometheus down": {"load", "500", false},
	} {
		t.Run(name, func(t *testing.T) {
			l := &fakePrometheus{answers: map[string]string{"load": c.body}, queries: make(chan string, 10)}
			p := client(t, l, "")
			e, err := p.ParseNumber(c.query)
			if err != nil {
				t.Fatal(err)
			}
			r := p.Evaluate(context.Background(), []Queries{{Query: parse(t, "usage", ""), Relief: &e}}, now, time.Minute)[0]
			if r.Err != nil || r.Answer.ReliefValueKnown != c.known || (r.ReliefErr == nil) != c.known {
				t.Errorf("%+v", r)
			}
			if c.known && r.Answer.ReliefValue != 7.5 {
				t.Errorf("relief value %v", r.Answer.ReliefValue)
			}
			if c.query != "load" && e.String() != "vector(scalar(load)\n)" {
				t.Errorf("asks %q", e)
			}
		})
	}
}

func TestUnusableResults(t *testing.T) {
	const id = "id=aaaaaaaaaaaa"
	starts := vector(sample("1799999000.5", id))
	cases := []struct {
		name, body string
		failed     bool
	}{
		{"scalar", `{"status":"success","data":{"resultType":"scalar","result":[1800000000,"1"]}}`, false},
		{"string", `{"status":"success","data":{"resultType":"string","result":[1800000000,"1"]}}`, false},
		{"matrix", `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"id":"aaaaaaaaaaaa"},"values":[[1800000000,"1"]]}]}}`, false},
		{"warning", strings.Replace(vector(sample("1", id)), `"data"`, `"warnings":["a store is missing"],"data"`, 1), false},
		{"note", strings.Replace(vector(sample("1", id)), `"data"`, `"infos":["might not be a counter"],"data"`, 1), false},
		{"missing id", vector(sample("1", id), sample("1", "name=x")), false},
		{"error", `{"status":"error","errorType":"execution","error":"many-to-many matching not allowed"}`, true},
		{"500", "500", true},
		{"hang", "hang", true},
		{"half an answer", "cut", true},
		{"no JSON", "<html>", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := client(t, &fakePrometheus{answers: map[string]string{"usage": c.body, "start_time": starts}}, "")
			r := p.Evaluate(context.Background(), queriesOf(parse(t, "usage", "")), now, time.Minute)[0]
			if !r.Answer.Unusable || r.Err == nil || len(r.Answer.Samples) != 0 {
				t.Fatalf("accepted: %+v", r)
			}
			if r.Failed != c.failed {
				t.Errorf("failed = %v, want %v: %v", r.Failed, c.failed, r.Err)
			}
		})
	}
	t.Run("the truth", func(t *testing.T) {
		p := client(t, &fakePrometheus{answers: map[string]string{"usage": vector(sample("3", id), sample("NaN", "id=bbbbbbbbbbbb")), "start_time": starts}},
			"")
		r := p.Evaluate(context.Background(), queriesOf(parse(t, "usage", "")), now, time.Minute)[0]
		if r.Err != nil || len(r.Answer.Samples) != 2 {
			t.Fatalf("%+v", r)
		}
		a := r.Answer.Samples[0]
		if a.ID != "aaaaaaaaaaaa" || a.Value != 3 || !a.WindowFilled || a.Start.UnixMilli() != 1799999000500 {
			t.Errorf("sample = %+v", a)
		}
		if b := r.Answer.Samples[1]; !b.Start.IsZero() {
			t.Errorf("a container without a start got one: %+v", b)
		}
	})
	t.Run("one rule fails, the other does not", func(t *testing.T) {
		p := client(t, &fakePrometheus{answers: map[string]string{"bad": "500", "usage": vector(sample("3", id)), "start_time": starts}}, "")
		r := p.Evaluate(context.Background(), queriesOf(parse(t, "bad", ""), parse(t, "usage", "")), now, time.Minute)
		if !r[0].Failed || r[1].Err != nil {
			t.Errorf("%+v", r)
		}
	})
	t.Run("starts are not known", func(t *testing.T) {
		p := client(t, &fakePrometheus{answers: map[string]string{"usage": vector(sample("3", id)), "start_time": "500"}}, "")
		if r := p.Evaluate(context.Background(), queriesOf(parse(t, "usage", "")), now, time.Minute)[0]; !r.Answer.Unusable {
			t.Errorf("%+v", r)
		}
	})
	t.Run("an answer without end", func(t *testing.T) {
		p := client(t, &fakePrometheus{answers: map[string]string{"usage": vector(sample("3", id)), "start_time": starts}}, "")
		p.longest = 20
		if r := p.Evaluate(context.Background(), queriesOf(parse(t, "usage", "")), now, time.Minute)[0]; !r.Answer.Unusable || !r.Failed {
			t.Errorf("%+v", r)
		}
	})
	t.Run("two starts of one id", func(t *testing.T) {
		p := client(t, &fakePrometheus{answers: map[string]string{
			"usage":      vector(sample("3", id)),
			"start_time": vector(sample("1", id, "name=a"), sample("2", id, "name=b")),
		}}, "")
		if r := p.Evaluate(context.Background(), queriesOf(parse(t, "usage", "")), now, time.Minute)[0]; !r.Answer.Samples[0].Start.IsZero() {
			t.Errorf("%+v", r)
		}
	})
}

func TestFresh(t *testing.T) {
	fresh := func(stamp, sequence, success string, more ...string) string {
		rows := more
		for name, v := range map[string]string{
			"estiba_snapshot_timestamp_seconds": stamp, "estiba_snapshot_sequence": sequence,
			"estiba_scrape_success": success,
		} {
			if v != "" {
				rows = append(rows, sample(v, "__name__="+name))
			}
		}
		return vector(rows...)
	}
	cases := []struct {
		name, body string
		fresh      bool
		err        bool
	}{
		{"good", fresh("1799999995.25", "42", "1"), true, false},
		{"empty", vector(), false, false},
		{"old", fresh("1799999979", "42", "1"), false, false},
		{"in the future", fresh("1800000010", "42", "1"), false, false},
		{"NaN", fresh("NaN", "42", "1"), false, false},
		{"failed scrape", fresh("1799999995", "42", "0"), false, false},
		{"no sequence", fresh("1799999995", "", "1"), false, false},
		{"no success", fresh("1799999995", "42", ""), false, false},
		{"two exporters", fresh("1799999995", "42", "1", sample("1799999990", "__name__=estiba_snapshot_timestamp_seconds", "instance=b")), false, false},
		{"warning", strings.Replace(fresh("1799999995", "42", "1"), `"data"`, `"warnings":["partial"],"data"`, 1), false, true},
		{"500", "500", false, true},
		{"hang", "hang", false, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := client(t, &fakePrometheus{answers: map[string]string{"snapshot_timestamp": c.body}}, "")
			f, err := p.Fresh(context.Background(), now, 20*time.Second)
			if f.Fresh != c.fresh || (err != nil) != c.err {
				t.Errorf("%+v, %v", f, err)
			}
			if !f.Fresh && err == nil && f.Why == "" {
				t.Error("no reason")
			}
			if c.fresh && (f.Sequence != "42" || f.Age != 4750*time.Millisecond) {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestHostIsPutIntoEverySelector(t *testing.T) {
	for query, want := range map[string]string{
		`a`:                                   `a{host="h\"1"}`,
		`a{x="y"} / on (id) sum(rate(b[5m]))`: `a{host="h\"1",x="y"} / on (id) sum(rate(b{host="h\"1"}[5m]))`,
		`{__name__=~"a|b"}`:                   `{__name__=~"a|b",host="h\"1"}`,
		`a{host="other"}`:                     `a{host="h\"1",host="other"}`,
		`max_over_time(a[5m:1m] offset 1m)`:   `max_over_time(a{host="h\"1"}[5m:1m] offset 1m)`,
		`label_replace(a, "host", "$1", "x", "(host=.*)")`: `label_replace(a{host="h\"1"}, "host", "$1", "x", "(host=.*)")`,
	} {
		if got := parse(t, query, `h"1`).String(); got != want {
			t.Errorf("%s became\n%s, want\n%s", query, got, want)
		}
	}
}

func TestRowsOfOtherHostsAreDropped(t *testing.T) {
	p := client(t, &fakePrometheus{answers: map[string]string{"usage": vector(sample("1", "id=aaaaaaaaaaaa", "host=a"),
		sample("1", "id=bbbbbbbbbbbb", "host=b"), sample("1", "id=cccccccccccc"))}}, "a")
	rows, err := p.Vector(context.Background(), parse(t, "usage", "a"), now)
	if err != nil || len(rows) != 2 {
		t.Errorf("rows %+v, %v", rows, err)
	}
}

func TestThreshold(t *testing.T) {
	for query, want := range map[string]string{
		`a > 90`:                   `a{host="h"} 90 false`,
		`(rate(a[1m]) / b >= 0.5)`: `rate(a{host="h"}[1m]) / b{host="h"} 0.5 false`,
		`a < 3`:                    `a{host="h"} 3 true`,
		`a`:                        ``,
		`a > bool 90`:              ``,
		`a > b`:                    ``,
		`a == 1`:                   ``,
		`topk(3, a > 90)`:          ``,
		`a > 90 and b`:             ``,
	} {
		got := ""
		if l := parse(t, query, "h").Threshold(); l != nil {
			got = fmt.Sprint(l.Left, " ", l.Value, " ", l.Below)
		}
		if got != want {
			t.Errorf("%s: line %q, want %q", query, got, want)
		}
	}
}

func TestReach(t *testing.T) {
	for query, want := range map[string]time.Duration{
		`a`: 0, `rate(a[30s])`: 30 * time.Second, `a offset 1m`: time.Minute,
		`rate(a[1m] offset 1m)`:              2 * time.Minute,
		`max_over_time(rate(a[30s])[5m:5s])`: 5*time.Minute + 30*time.Second,
		`a + rate(b[1m])`:                    time.Minute,
	} {
		if got := parse(t, query, "").reach; got != want {
			t.Errorf("%s looks back %s, want %s", query, got, want)
		}
	}
}

func TestPrometheusDown(t *testing.T) {
	c, err := New("http://127.0.0.1:1", "", "", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Fresh(context.Background(), now, time.Minute); err == nil || errors.Is(err, ErrUnusable) {
		t.Errorf("Fresh = %v", err)
	}
	if _, err := New("://", "", "", time.Second); err == nil {
		t.Error("New accepted an invalid URL")
	}
}

// A cache between the manager and Prometheus returns results of another time.
func TestAnswerOfAnotherTime(t *testing.T) {
	l := &fakePrometheus{answers: map[string]string{"up": vector(sample("1", "id=a"))}, late: true}
	c := client(t, l, "")
	asked := time.Unix(1800000000, 0)
	for off, fits := range map[time.Duration]bool{
		0: true, time.Second: true, -time.Second: true, 2 * time.Second: false, -2 * time.Second: false,
		5 * time.Minute: false,
	} {
		_, err := c.Vector(context.Background(), parse(t, "up", ""), asked.Add(off))
		if fits != (err == nil) || (err != nil && !errors.Is(err, ErrUnusable)) {
			t.Errorf("asked %s later: %v", off, err)
		}
	}
}
