package config

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/manager/policytest/promtest"
)

// canHaveID lists queries with and without the label id. a and b have the labels id and
// name, h has neither.
var canHaveID = map[string]bool{
	`a`: true, `(a)`: true, `-a`: true, `a > 1`: true, `1 < a`: true, `a offset 5s`: true, `a @ 1704067200`: true,
	`a{id="1"}`: true, `a{id!=""}`: true, `a{id=~".+"}`: true, `{id="1"}`: true, `a{id=""}`: false, `a{id=~""}`: false,

	`sum(a)`: false, `count by (name) (a)`: false, `sum by (id) (a)`: true, `max by (name, id) (a)`: true,
	`sum without (name) (a)`: true, `sum without (id) (a)`: false, `sum without () (a)`: true, `group(a)`: false,
	`quantile(0.5, a)`: false, `quantile by (id) (0.5, a)`: true, `sum by (id) (sum(a))`: false, `sum(sum by (id) (a))`: false,
	`topk(1, a)`: true, `bottomk by (name) (1, a)`: true, `topk(1, sum(a))`: false, `topk(1, count by (name) (a))`: false,
	`count_values("id", a)`: true, `count_values("v", a)`: false, `count_values by (id) ("v", a)`: true,

	`vector(1)`: false, `vector(scalar(a))`: false, `a > scalar(h) - 1`: true, `scalar(h) - 1 < a`: true, `a * 0 + time()`: true, `-vector(1)`: false,
	`vector(1) + 1`: false, `1 + vector(1)`: false, `hour()`: false, `hour(a)`: true, `day_of_week(vector(1))`: false, `timestamp(a)`: true,
	`timestamp(sum(a))`: false,
	`absent(none)`:      false, `absent(none{name="x"})`: false, `absent(none{id="1"})`: true, `absent((none{id="1"}))`: true, `absent(none{id=~"1"})`: false,
	`absent(sum(none))`:          false,
	`absent_over_time(none[1m])`: false, `absent_over_time(none{id="1"}[1m])`: true, `absent_over_time(sum(none)[1m:10s])`: false,
	`rate(a[1m])`: true, `max_over_time(a[1m])`: true, `max_over_time(sum(a)[1m:10s])`: false, `max_over_time((sum by (id) (a))[1m:10s])`: true,
	`quantile_over_time(0.5, a[1m])`: true, `clamp(a, 0, 1)`: true, `round(sum(a))`: false, `sort(a)`: true, `predict_linear(a[1m], 60)`: true,

	`label_replace(a, "n", "$1", "id", "(.*)")`: true, `label_replace(sum(a), "n", "$1", "id", "(.*)")`: false,
	`label_replace(sum by (name) (a), "id", "$1", "name", "(.*)")`: true, `label_replace(sum(a), "id", "x", "", "")`: true,
	`label_replace(a, "id", "", "name", "none")`:       true,
	`label_join(sum by (name) (a), "id", "-", "name")`: true, `label_join(sum(a), "n", "-", "id")`: false,

	`a + b`: true, `a * sum(b)`: false, `sum(a) * b`: false, `a * on () sum(b)`: false, `a * on () group_left sum(b)`: true,
	`sum(b) * on () group_right a`: true,
	`a * on (name) b`:              false, `a > on (name) b`: false, `a > bool on (name) b`: false, `a * on (id) b`: true, `a * on (id, name) b`: true,
	`a * ignoring (name) b`: true, `a * ignoring (id) b`: false,
	`a * on (name) group_left b`: true, `a * on (name) group_left (id) b`: true, `a * on (name) group_left (id) count by (name) (b)`: false,
	`a * on (name) group_right b`: true, `a * on (name) group_right count by (name) (b)`: false, `count by (name) (a) * on (name) group_left (id) b`: true,
	`count by (name) (a) * on (name) group_left b`: false, `count by (name) (a) * on (name) group_right b`: true,
	`a * on (id) count by (name) (b)`: false, `a * on (id) group_left count by (name) (b)`: false, `a * ignoring (name) group_left sum(b)`: false,
	`a * ignoring (id, name) group_left sum(b)`: true,
	`a and b`: true, `a and vector(1)`: false, `a and on () vector(1)`: true, `vector(1) and on () a`: false, `a and on (name) count by (name) (b)`: true,
	`a and on (id) count by (name) (b)`: false,
	`a and ignoring (id, name) sum(b)`:  true, `a and ignoring (id) count by (name) (b)`: true, `a and ignoring (name) sum(b)`: false,
	`a unless b > 100`: true, `a unless vector(1)`: true, `sum(a) unless on () b > 100`: false, `vector(1) unless a`: false,
	`a or b`: true, `vector(1) or a`: true, `a or vector(1)`: true, `vector(1) or sum(a)`: false,
	`a == on () group_left max(a)`: true, `a == max(a)`: false,
}

// ask returns the label id of each sample, from a Prometheus with the series of the
// table.
func askIDs(t *testing.T, s *promtest.Server, query string, at time.Time) (ids []string, errText string) {
	t.Helper()
	resp, err := http.PostForm(s.URL+"/api/v1/query", url.Values{"query": {query}, "time": {fmt.Sprint(at.Unix())}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if answer.Error != "" {
		return nil, answer.Error
	}
	var rows []struct{ Metric map[string]string }
	if err := json.Unmarshal(answer.Data.Result, &rows); err != nil {
		t.Fatalf("%s: %v in %s", query, err, answer.Data.Result)
	}
	for _, r := range rows {
		ids = append(ids, r.Metric["id"])
	}
	return ids, ""
}

// world is a Prometheus with the series of the table, and the time of the queries.
func world(t *testing.T) (*promtest.Server, time.Time) {
	t.Helper()
	s, err := promtest.Start(context.Background(), testutil.Tool(t, "prometheus"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	from := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	var list []promtest.Series
	for _, l := range []map[string]string{
		{"__name__": "a", "id": "1", "name": "x"},
		{"__name__": "a", "id": "2", "name": "y"},
		{"__name__": "b", "id": "1", "name": "x"},
		{"__name__": "h"},
	} {
		one := promtest.Series{Labels: l}
		for i := range 13 {
			one.Samples = append(one.Samples, promtest.Sample{At: from.Add(time.Duration(i) * 5 * time.Second), Value: float64(2 + i)})
		}
		list = append(list, one)
	}
	if err := s.Write(context.Background(), list); err != nil {
		t.Fatal(err)
	}
	return s, from.Add(time.Minute)
}

func hasID(ids []string) bool {
	return slices.ContainsFunc(ids, func(id string) bool { return id != "" })
}

func parseQuery(t *testing.T, query string) parser.Expr {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return expr
}

// The table matches the analysis, and a Prometheus: a query that can return an id does
// so here.
func TestQueriesThatCanHaveAnID(t *testing.T) {
	s, at := world(t)
	for query, want := range canHaveID {
		why := neverHasID(parseQuery(t, query))
		if (why == "") != want {
			t.Errorf("%s: can have an id: %v (%q), want %v", query, why == "", why, want)
		}
		ids, errText := askIDs(t, s, query, at)
		// Many-to-many matching is an error of the data.
		if got := hasID(ids); got != want && errText == "" {
			t.Errorf("%s: Prometheus gives ids %q, want %v", query, ids, want)
		}
	}
}

// Each function of Prometheus keeps the id of its argument, or is known to the
// analysis: a new one cannot be mistaken for one that drops it.
func TestFunctionsThatKeepTheID(t *testing.T) {
	s, at := world(t)
	var names []string
	for name, f := range parser.Functions {
		if !f.Experimental {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	asked := 0
	for _, name := range names {
		var args []string
		for i, kind := range parser.Functions[name].ArgTypes {
			switch kind {
			case parser.ValueTypeVector:
				args = append(args, "a")
			case parser.ValueTypeMatrix:
				args = append(args, "a[1m]")
			case parser.ValueTypeScalar:
				args = append(args, "0.5")
			case parser.ValueTypeString:
				args = append(args, []string{1: `"id"`, 2: `"z"`, 3: `"name"`, 4: `".*"`}[i])
			}
		}
		query := fmt.Sprintf("%s(%s)", name, strings.Join(args, ", "))
		expr := parseQuery(t, query)
		if expr.Type() != parser.ValueTypeVector {
			continue
		}
		ids, errText := askIDs(t, s, query, at)
		if why := neverHasID(expr); why != "" && hasID(ids) {
			t.Errorf("%s gives ids %q, and is said not to: %s", query, ids, why)
		} else if len(ids) > 0 && hasID(ids) != (why == "") {
			t.Errorf("%s gives ids %q; %q", query, ids, why)
		}
		if errText == "" {
			asked++
		}
	}
	if asked < 50 {
		t.Errorf("only %d functions could be asked", asked)
	}
}
