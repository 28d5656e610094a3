// Package prometheus checks Estiba's rules, routes and dashboards with the
// real programs: promtool, amtool and a Prometheus that answers.
package prometheus

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

// Query is one question that a dashboard asks Prometheus.
type Query struct {
	Dashboard, Panel string // Panel is "$name" for a variable, "annotation …" for marks
	Expr             string
	Range            bool     // asked over the time range, else at one moment
	Legend           []string // labels that the legend shows
	MayBeEmpty       string   // why a healthy system may have no data here

	Says map[float64]string // words of the panel for numbers that stand for them

	ID      int    // of the panel in its dashboard; 0 is none
	Type    string // of the panel
	NoValue string // what the panel says when it has nothing
}

// Queries returns every query of every dashboard: panels, variables and
// annotations, as the dashboards have them, variables not filled in.
func Queries() []Query {
	var all []Query
	for _, d := range grafana.All() {
		for _, v := range d.Templating.List {
			all = append(all, Query{Dashboard: d.UID, Panel: "$" + v.Name, Expr: inner(v.Query.Query)})
		}
		for _, a := range d.Annotations.List {
			all = append(all, Query{Dashboard: d.UID, Panel: "annotation " + a.Name, Expr: a.Expr,
				MayBeEmpty: "nothing may have been removed yet"})
		}
		for _, p := range d.Panels {
			for _, t := range p.Targets {
				why := t.MayBeEmpty
				if why == "" {
					why = p.MayBeEmpty
				}
				all = append(all, Query{Dashboard: d.UID, Panel: p.Title, Expr: t.Expr, Range: t.Range,
					Legend: legendLabels(t.LegendFormat), MayBeEmpty: why, Says: p.Says,
					ID: p.ID, Type: p.Type, NoValue: p.FieldConfig.Defaults.NoValue})
			}
		}
	}
	return all
}

// inner takes the expression out of query_result(…).
func inner(query string) string {
	return strings.TrimSuffix(strings.TrimPrefix(query, "query_result("), ")")
}

// legendLabels lists the labels in a legend such as "{{job}} {{instance}}".
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

// Answer is what came of one Query.
type Answer struct {
	Query
	Asked  string // with all variables filled in
	Series int
	Last   float64 // of the series, if it is one
	Err    error   // refused, not finite everywhere, or without a label of its legend
}

// Empty tells whether there was no data where there has to be some.
func (a Answer) Empty() bool { return a.Err == nil && a.Series == 0 && a.MayBeEmpty == "" }

// CheckAgainst asks the Prometheus at promURL ("http://127.0.0.1:9090") every
// query of every dashboard, with $id set to the busiest container, over the
// last five minutes. The error says that Prometheus could not be asked at all.
func CheckAgainst(ctx context.Context, promURL string) ([]Answer, error) {
	return CheckHost(ctx, promURL, ".*")
}

// CheckHost does so with a host chosen, or with the hosts that a pattern matches.
func CheckHost(ctx context.Context, promURL, host string) ([]Answer, error) {
	c := client{url: strings.TrimSuffix(promURL, "/")}
	containers, err := c.ask(ctx, fmt.Sprintf(`topk(1, max by (id) (estiba:container_cpu_usage:percent{host=~%q}))`, host), false)
	if err != nil {
		return nil, fmt.Errorf("look for a container to show: %w", err)
	}
	id := "none"
	if len(containers) > 0 {
		id = containers[0].Metric["id"]
	}
	return checkContainer(ctx, promURL, id, host)
}

// CheckContainer does so with a container chosen.
func CheckContainer(ctx context.Context, promURL, id string) ([]Answer, error) {
	return checkContainer(ctx, promURL, id, ".*")
}

func checkContainer(ctx context.Context, promURL, id, host string) ([]Answer, error) {
	c := client{url: strings.TrimSuffix(promURL, "/")}
	fill := strings.NewReplacer("$__rate_interval", "20s", "$__range", "5m", "$id", id, "$host", host)
	var answers []Answer
	for _, q := range Queries() {
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
		// That it is not known is no data.
		if a.Series == 1 && a.Last == grafana.NotKnown && q.Says[grafana.NotKnown] != "" {
			a.Series = 0
		}
		answers = append(answers, a)
	}
	return answers, ctx.Err()
}

// plausible wants the labels of the legend on each series, and a last value
// that is finite and not negative: nothing on the dashboards can be less than 0, but
// numbers that stand for words.
func plausible(all []series, q Query) error {
	for _, s := range all {
		for _, label := range q.Legend {
			if _, ok := s.Metric[label]; !ok && !mayBeUnset[label] {
				return fmt.Errorf("series %v has no label %s for its legend", s.Metric, label)
			}
		}
		v, err := s.last()
		if err != nil {
			return err
		}
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 && q.Says[v] == "" {
			return fmt.Errorf("series %v has the value %v", s.Metric, v)
		}
	}
	return nil
}

// mayBeUnset are labels whose empty value means something (no kind declared,
// name and image not known yet); Prometheus does not tell an empty label from none.
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
		return 0, fmt.Errorf("series %v has no sample", s.Metric)
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
		return nil, fmt.Errorf("ask %s: %w", expr, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", expr, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", expr, err)
	}
	var answer struct {
		Status, Error string
		Data          struct{ Result []series }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("ask %s: %s: %w", expr, resp.Status, err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("ask %s: %s", expr, answer.Error)
	}
	return answer.Data.Result, nil
}
