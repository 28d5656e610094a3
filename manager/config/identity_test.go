package config

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"pgregory.net/rapid"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/manager/policytest/promtest"
)

func whyNoID(t interface{ Fatalf(string, ...any) }, query string) string {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return neverHasID(e)
}

func TestQueriesThatNameNoContainer(t *testing.T) {
	for query, want := range map[string]string{
		`vector(1)`:                "vector() has no labels",
		`vector(time()) > 5`:       "vector() has no labels",
		`sum(x)`:                   "write sum by (id) (…)",
		`count by (name) (x)`:      "write count by (id, name) (…)",
		`sum without (id) (x)`:     "leave id out",
		`max by (id) (sum(x))`:     "write sum by (id) (…)",
		`topk(3, avg(x))`:          "write avg by (id) (…)",
		`topk by (id) (3, avg(x))`: "write avg by (id) (…)",
		`count_values("value", x)`: "write count_values by (id) (…)",
		`absent(x)`:                "names with =",
		`absent(x{id=~"a.*"})`:     "names with =",
		`absent_over_time(x[5m])`:  "names with =",
		`label_replace(sum(x), "b", "$1", "c", "(.*)")`:         "write sum by (id) (…)",
		`label_join(sum(x), "b", "-", "id")`:                    "write sum by (id) (…)",
		`a * on (name) b`:                                       "write on (id)",
		`a > on (name) b`:                                       "write on (id)",
		`a * ignoring (id) b`:                                   "ignoring (id) drops it",
		`a * on (name) group_left sum by (name) (b) and sum(b)`: "write sum by (id) (…)",
		`a * sum(b)`:                                            "write sum by (id) (…)",
		`sum(a) + on () group_left b`:                           "write sum by (id) (…)",
		`a * on (name) group_left (id) sum by (name) (b)`:       "write sum by (id, name) (…)",
		`a and sum(b)`:                                          "write sum by (id) (…)",
		`sum(a) and on () b`:                                    "write sum by (id) (…)",
		`sum(a) unless b`:                                       "write sum by (id) (…)",
		`sum(a) or vector(1)`:                                   "write sum by (id) (…)",
		`-(sum(rate(x[5m])) * 2)`:                               "write sum by (id) (…)",
		`2 * sum(x)`:                                            "write sum by (id) (…)",
		`scalar(x) * vector(1)`:                                 "vector() has no labels",
		`hour()`:                                                "hour() has no labels",
		`x{id=""}`:                                              `id="" selects`,
		`max_over_time(sum(x)[1h:1m])`:                          "write sum by (id) (…)",
		`histogram_quantile(0.9, sum by (le) (x))`:              "write sum by (id, le) (…)",
		`sum(x @ start())`:                                      "write sum by (id) (…)",

		`x`:                                               "",
		`x{id="a"}`:                                       "",
		`sum by (id) (x)`:                                 "",
		`sum by (name, id) (x)`:                           "",
		`sum without (name) (x)`:                          "",
		`topk(3, x)`:                                      "",
		`bottomk by (name) (3, x)`:                        "",
		`count_values("id", x)`:                           "",
		`count_values by (name) ("id", x)`:                "",
		`absent(x{id="a"})`:                               "",
		`absent_over_time(x{id="a"}[5m])`:                 "",
		`label_replace(sum(x), "id", "a", "", "")`:        "",
		`label_join(sum(x), "id", "", "name")`:            "",
		`label_replace(x, "b", "$1", "id", "(.*)")`:       "",
		`a * on (id) b`:                                   "",
		`a * on (name) group_left b`:                      "",
		`a * on (name) group_right b`:                     "",
		`sum by (name) (a) * on (name) group_left (id) b`: "",
		`a * ignoring (name) b`:                           "",
		`a and on () sum(b) > 5`:                          "",
		`a unless sum(b)`:                                 "",
		`sum(a) or b`:                                     "",
		`a or sum(b)`:                                     "",
		`a > 5`:                                           "",
		`5 < a`:                                           "",
		`a > bool 5`:                                      "",
		`a / scalar(sum(b))`:                              "",
		`time() - a`:                                      "",
		`hour(a)`:                                         "",
		`rate(x[5m])`:                                     "",
		`-x`:                                              "",
		`max_over_time(rate(x[5m])[1h:])`:                 "",

		`quantile_over_time(scalar(sum(a)), x[1h])`:   "",
		`a and on (id) b and on () (hour() >= 0 < 6)`: "",
	} {
		got := whyNoID(t, query)
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

// genQuery is an instant vector query over two metrics of three containers.
func genQuery(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		pick := func(list ...string) string { return rapid.SampledFrom(list).Draw(t, "of") }
		leaf := pick(`a`, `b`, `a`, `b`, `a{id="1"}`, `a{id=""}`, `h`, `vector(1)`, `absent(none)`, `absent(none{id="9"})`, `hour()`)
		if depth == 0 {
			return leaf
		}
		inner := func() string { return "(" + genQuery(depth-1).Draw(t, "inner") + ")" }
		labels := func() string { return pick("", "id", "name", "id, name", "job", "id, job", "name, job") }
		switch rapid.IntRange(0, 9).Draw(t, "shape") {
		case 0:
			return leaf
		case 1, 2:
			return pick("sum", "count", "group", "max") + pick(" by ", " without ") + "(" + labels() + ") " + inner()
		case 3:
			return pick("topk", "bottomk") + pick(" by ", " without ") + "(" + labels() + ") (2, " + inner() + ")"
		case 4:
			return `count_values` + pick(" by ", " without ") + "(" + labels() + `) ("` + pick("id", "v") + `", ` + inner() + ")"
		case 5:
			return "label_replace(" + inner() + `, "` + pick("id", "name", "x") + `", "` + pick("$1", "k", "") + `", "` + pick("id", "name") + `", "(.*)")`
		case 6:
			return pick("abs", "hour", "sort", "-", "1 -", "2 <", "absent") + inner()
		case 7:
			return inner() + pick(" and ", " or ", " unless ") + pick("on", "ignoring") + "(" + labels() + ") " + inner()
		case 8:
			return "last_over_time(" + inner() + "[1m:1s])"
		}
		on := pick("on", "ignoring")
		matching, include := labels(), pick("", "id", "x")
		group := pick("", " group_left ("+include+") ", " group_right ("+include+") ")
		if on == "on" && strings.Contains(matching, "id") && include == "id" {
			group = ""
		}
		return inner() + pick(" + ", " == ", " != bool ") + on + " (" + matching + ")" + group + inner()
	})
}

// What the analysis considers certain is true on a real Prometheus: no sample of the
// result has the label id.
func TestNeverHasIDIsCertain(t *testing.T) {
	ctx := context.Background()
	server, err := promtest.Start(ctx, testutil.Tool(t, "prometheus"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	var list []promtest.Series
	for i, labels := range []map[string]string{
		{"__name__": "a", "id": "1", "name": "one", "job": "j"},
		{"__name__": "a", "id": "2", "name": "two", "job": "j"},
		{"__name__": "a", "name": "three", "job": "j"},
		{"__name__": "b", "id": "1", "name": "one"},
		{"__name__": "b", "id": "2", "name": "two"},
		{"__name__": "h"},
	} {
		list = append(list, promtest.Series{Labels: labels, Samples: []promtest.Sample{{At: at, Value: float64(i)}}})
	}
	if err := server.Write(ctx, list); err != nil {
		t.Fatal(err)
	}
	certain, rows := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		query := genQuery(3).Draw(t, "query")
		e, err := parser.NewParser(parser.Options{}).ParseExpr(query)
		if err != nil || e.Type() != parser.ValueTypeVector {
			t.Skip()
		}
		why := neverHasID(e)
		if why == "" {
			return
		}
		certain++
		found, ok := ask(t, server.URL, query, at)
		if !ok {
			return // such as many-to-many matching
		}
		rows += len(found)
		for _, labels := range found {
			if id, has := labels["id"]; has {
				t.Fatalf("%s has a row with id %s, the analysis excludes it: %s", query, id, why)
			}
		}
	})
	if certain == 0 || rows == 0 {
		t.Errorf("%d queries were certain, with %d rows: nothing was shown", certain, rows)
	}
	t.Logf("%d queries were certain, with %d rows", certain, rows)
}

// ask returns the labels of the samples; false without a result.
func ask(t *rapid.T, at, query string, when time.Time) ([]map[string]string, bool) {
	resp, err := http.PostForm(at+"/api/v1/query", url.Values{"query": {query}, "time": {strconv.FormatInt(when.Unix(), 10)}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body struct {
		Status, ErrorType, Error string
		Data                     struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", query, err))
	}
	if body.Status != "success" {
		if body.ErrorType != "execution" {
			t.Fatalf("%s: %s: %s", query, body.ErrorType, body.Error)
		}
		return nil, false
	}
	var list []map[string]string
	for _, r := range body.Data.Result {
		list = append(list, r.Metric)
	}
	return list, true
}
