package policytest

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/policytest/promtest"
	"github.com/estiba/estiba/manager/promql"
)

// series is the history of one case: the exporter's series of its containers, the
// series of a manager of that time, and the case's input series.
func (t testCase) series(c *config.Config) ([]promtest.Series, error) {
	ids, own := map[string]string{}, map[string]bool{}
	for _, c := range t.Containers {
		ids[c.Name] = container.HashID(c.Name)
	}
	var input []inputSeries
	for _, s := range t.Series {
		one, err := parseSeries(s.Series, s.Values, ids)
		if err != nil {
			return nil, fmt.Errorf("series %s: %w", s.Series, err)
		}
		own[one.labels["__name__"]] = true
		input = append(input, one)
	}
	var list []promtest.Series
	add := func(name string, labels map[string]string, value func(i int, at time.Time) (float64, bool)) {
		if s := t.sampled(name, labels, value); len(s.Samples) > 0 {
			list = append(list, s)
		}
	}
	for name, value := range map[string]func(i int, at time.Time) float64{
		"estiba_snapshot_timestamp_seconds": func(_ int, at time.Time) float64 { return float64(at.Unix()) },
		"estiba_snapshot_sequence":          func(i int, _ time.Time) float64 { return float64(i + 1) },
		"estiba_scrape_success":             func(int, time.Time) float64 { return 1 },
	} {
		if !own[name] { // else the case has the series itself
			add(name, nil, func(i int, at time.Time) (float64, bool) { return value(i, at), true })
		}
	}
	for _, one := range t.Containers {
		runs := func(value float64) func(int, time.Time) (float64, bool) {
			return func(i int, _ time.Time) (float64, bool) {
				at := time.Duration(i) * t.scrape
				return value, at >= one.Start && (one.End == 0 || at < one.End)
			}
		}
		series, err := described(one, c.Protect)
		if err != nil {
			return nil, fmt.Errorf("container %s: %w", one.Name, err)
		}
		for _, s := range series {
			name := s["__name__"]
			delete(s, "__name__")
			value := 1.0
			if name == "estiba_container_start_time_seconds" {
				value = float64(t.from.Add(one.Start-one.Age).UnixMilli()) / 1e3
			}
			add(name, s, runs(value))
		}
	}
	for _, s := range input {
		one := promtest.Series{Labels: s.labels}
		for i, v := range s.values {
			if !v.Omitted {
				one.Samples = append(one.Samples, promtest.Sample{At: t.from.Add(time.Duration(i) * t.scrape), Value: v.Value})
			}
		}
		list = append(list, one)
	}
	return list, nil
}

// sampled is a series with a sample at each scrape that has a value, and a stale marker
// at its end.
func (t testCase) sampled(name string, labels map[string]string, value func(i int, at time.Time) (float64, bool)) promtest.Series {
	s := promtest.Series{Labels: map[string]string{"__name__": name}}
	maps.Copy(s.Labels, labels)
	was := false
	for i := range int(t.Duration/t.scrape) + 1 {
		at := t.from.Add(time.Duration(i) * t.scrape)
		v, is := value(i, at)
		if is {
			s.Samples = append(s.Samples, promtest.Sample{At: at, Value: v})
		} else if was {
			s.Samples = append(s.Samples, promtest.Sample{At: at, Value: promtest.Stale()})
		}
		was = is
	}
	return s
}

// described are the series that describe a container. The history has no Docker labels,
// so protection by label is in estiba_manager_protected, as from a live manager.
func described(c config.TestContainer, protect config.Protect) ([]map[string]string, error) {
	id := container.HashID(c.Name)
	series := func(name string, more map[string]string) map[string]string {
		s := map[string]string{"__name__": name, "id": container.ShortID(id)}
		if c.LabelsKnown {
			s["name"] = c.Name
		}
		maps.Copy(s, more)
		return s
	}
	info := map[string]string{"container_id": id, "runtime": c.Runtime}
	l := container.ParseLabels(c.Labels)
	if c.LabelsKnown {
		for docker, value := range c.Labels {
			name := promql.LabelName(docker)
			if _, twice := info[name]; twice {
				return nil, fmt.Errorf("two labels become %s in metrics", name)
			}
			info[name] = value
		}
		maps.Copy(info, map[string]string{
			"image": c.Image, "kind": string(l.Kind), "managed": strconv.FormatBool(l.Managed), "protected": strconv.FormatBool(l.Protected),
			"compose_project": l.ComposeProject, "compose_service": l.ComposeService,
		})
	}
	list := []map[string]string{series("estiba_container_info", info), series("estiba_container_start_time_seconds", nil)}
	if c.LabelsKnown {
		for _, label := range l.Errors {
			list = append(list, series("estiba_container_label_errors", map[string]string{"label": label}))
		}
	}
	protections := gather.LabelProtection(l)
	if gather.MatchesLabels(protect.Labels, c.Labels) {
		protections = append(protections, policy.ProtectedByPolicyLabel)
	}
	for _, why := range protections {
		list = append(list, series("estiba_manager_protected", map[string]string{"name": c.Name, "why": string(why)}))
	}
	return list, nil
}

type inputSeries struct {
	labels map[string]string
	values []parser.SequenceValue
}

// parseSeries parses a series in promtool's notation. A series with the name of a
// container of the case gets its id.
func parseSeries(series, values string, ids map[string]string) (inputSeries, error) {
	ls, list, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(series + " " + values)
	if err != nil {
		return inputSeries{}, err
	}
	s := inputSeries{labels: map[string]string{}}
	ls.Range(func(l labels.Label) { s.labels[l.Name] = l.Value })
	for _, v := range list {
		if v.Histogram != nil {
			return inputSeries{}, errors.New("expected floats, found a histogram")
		}
		s.values = append(s.values, v)
	}
	name := s.labels["name"]
	if _, has := s.labels["id"]; !has && name != "" {
		id, known := ids[name]
		if !known {
			return inputSeries{}, fmt.Errorf("no container named %s in this case, and no label id", name)
		}
		s.labels["id"] = container.ShortID(id)
	}
	return s, nil
}
