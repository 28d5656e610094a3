// Package queries asks a running Prometheus, or a Grafana's data source, everything that
// the dashboards ask.
package queries

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/estiba/estiba/grafana"
)

// Query is one query of a dashboard.
type Query struct {
	Dashboard, Panel string // Panel is "$NAME" for a variable, "annotation NAME" for an annotation
	Expr             string
	Range            bool     // range query, else instant
	Legend           []string // labels in the legend
	MayBeEmpty       string   // why a healthy system may have no data here

	Says map[float64]string // texts that the panel shows in place of values

	ID      int    // of the panel; 0 if none
	Type    string // of the panel
	NoValue string // text of an empty panel
}

// All returns the queries of all dashboards: panels, variables and annotations, with
// variables not replaced.
func All() []Query {
	var all []Query
	for _, d := range grafana.All() {
		for _, v := range d.Templating.List {
			if v.Type != "query" {
				continue
			}
			all = append(all, Query{Dashboard: d.UID, Panel: "$" + v.Name, Expr: inner(v.Query.Query)})
		}
		for _, a := range d.Annotations.List {
			all = append(all, Query{
				Dashboard: d.UID, Panel: "annotation " + a.Name, Expr: a.Expr,
				MayBeEmpty: "the manager may have killed nothing yet",
			})
		}
		for _, p := range d.Panels {
			for _, t := range p.Targets {
				why := t.MayBeEmpty
				if why == "" {
					why = p.MayBeEmpty
				}
				all = append(all, Query{
					Dashboard: d.UID, Panel: p.Title, Expr: t.Expr, Range: t.Range,
					Legend: legendLabels(t.LegendFormat), MayBeEmpty: why, Says: p.Says,
					ID: p.ID, Type: p.Type, NoValue: p.FieldConfig.Defaults.NoValue,
				})
			}
		}
	}
	return all
}

// inner returns the expression in query_result(…).
func inner(query string) string {
	return strings.TrimSuffix(strings.TrimPrefix(query, "query_result("), ")")
}

// legendLabels returns the labels in a legend such as "{{job}} {{instance}}".
func legendLabels(format string) []string {
	var names []string
	for {
		_, rest, found := strings.Cut(format, "{{")
		if !found {
			return names
		}
		name, after, _ := strings.Cut(rest, "}}")
		names, format = append(names, strings.TrimSpace(name)), after
	}
}

// Answer is the result of one Query.
type Answer struct {
	Query
	Asked  string // with variables replaced
	Series int
	Last   float64 // value, if there is one series
	Err    error   // query failed, value not finite, or label of the legend missing
}

// Empty reports whether required data is missing.
func (a Answer) Empty() bool { return a.Err == nil && a.Series == 0 && a.MayBeEmpty == "" }

// CheckAgainst runs all queries at the Prometheus at promURL ("http://127.0.0.1:9090"),
// with $id set to the busiest container, over the last five minutes. It returns an error
// if Prometheus cannot be queried at all.
func CheckAgainst(ctx context.Context, promURL string) ([]Answer, error) {
	return CheckHost(ctx, promURL, ".*")
}

// CheckHost is like CheckAgainst for the hosts that match a pattern.
func CheckHost(ctx context.Context, promURL, host string) ([]Answer, error) {
	c := client{url: strings.TrimSuffix(promURL, "/")}
	containers, err := c.ask(ctx, fmt.Sprintf(`topk(1, max by (id) (estiba:container_cpu_usage:percent{host=~%q}))`, host), false)
	if err != nil {
		return nil, fmt.Errorf("selecting a container: %w", err)
	}
	id := "none"
	if len(containers) > 0 {
		id = containers[0].Metric["id"]
	}
	return checkContainer(ctx, promURL, id, host)
}

// CheckContainer is like CheckAgainst for one container.
func CheckContainer(ctx context.Context, promURL, id string) ([]Answer, error) {
	return checkContainer(ctx, promURL, id, ".*")
}

func checkContainer(ctx context.Context, promURL, id, host string) ([]Answer, error) {
	c := client{url: strings.TrimSuffix(promURL, "/")}
	fill := Fill("20s", "5m", id, host)
	var answers []Answer
	for _, q := range All() {
		a := Answer{Query: q, Asked: fill.Replace(q.Expr)}
		var series []series
		series, a.Err = c.ask(ctx, a.Asked, q.Range)
		a.Series = len(series)
		if len(series) == 1 && a.Err == nil {
			a.Last, a.Err = series[0].last()
		}
		if a.Err == nil {
			a.Err = plausible(series, q)
		}
		if a.Series == 1 && a.Last == grafana.NotKnown && q.Says[grafana.NotKnown] != "" {
			a.Series = 0
		}
		answers = append(answers, a)
	}
	return answers, ctx.Err()
}

// Fill replaces the variables in an expression, with all jobs and instances.
func Fill(rateInterval, timeRange, id, host string) *strings.Replacer {
	return strings.NewReplacer("$__rate_interval", rateInterval, "$__range", timeRange,
		"$id", id, "$host", host, "$job", ".+", "$instance", ".+")
}

// plausible checks that each series has the labels of the legend and a finite last value.
// Only values with a text may be negative.
func plausible(all []series, q Query) error {
	for _, s := range all {
		for _, label := range q.Legend {
			if _, ok := s.Metric[label]; !ok && !mayBeUnset[label] {
				return fmt.Errorf("series %v: label %s of the legend is missing", s.Metric, label)
			}
		}
		v, err := s.last()
		if err != nil {
			return err
		}
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 && q.Says[v] == "" {
			return fmt.Errorf("series %v: unexpected value %v", s.Metric, v)
		}
	}
	return nil
}

// mayBeUnset are labels that may be empty: no declared kind, name or image unknown.
// Prometheus treats an empty label as absent.
var mayBeUnset = map[string]bool{"kind": true, "name": true, "image": true}

type series struct {
	Metric map[string]string
	Value  []any
	Values [][]any
}

func (s series) last() (float64, error) {
	sample := s.Value
	if len(s.Values) > 0 {
		sample = s.Values[len(s.Values)-1]
	}
	if len(sample) != 2 {
		return 0, fmt.Errorf("series %v: no sample", s.Metric)
	}
	text, _ := sample[1].(string)
	return strconv.ParseFloat(text, 64)
}

type client struct{ url string }

func (c client) ask(ctx context.Context, expr string, ranged bool) ([]series, error) {
	path, form := "/api/v1/query", url.Values{"query": {expr}}
	if ranged {
		now := time.Now()
		path = "/api/v1/query_range"
		form.Set("start", strconv.FormatInt(now.Add(-5*time.Minute).Unix(), 10))
		form.Set("end", strconv.FormatInt(now.Unix(), 10))
		form.Set("step", "5")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("querying %s: %w", expr, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("querying %s: %w", expr, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("querying %s: %w", expr, err)
	}
	var answer struct {
		Status, Error string
		Data          struct{ Result []series }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("querying %s: %s: %w", expr, resp.Status, err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("querying %s: %s", expr, answer.Error)
	}
	return answer.Data.Result, nil
}
