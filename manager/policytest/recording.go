package policytest

import (
	"context"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/manager/policytest/promtest"
	"github.com/estiba/estiba/manager/promql"
)

// recordingRules are the recording rules of rule files, in order.
type recordingRules []recordingRule

type recordingRule struct {
	Record string            `yaml:"record"`
	Expr   string            `yaml:"expr"`
	Labels map[string]string `yaml:"labels,omitempty"`
}

// loadRecordingRules reads Prometheus rule files; alerting rules are skipped.
func loadRecordingRules(files []string) (recordingRules, error) {
	var all recordingRules
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("rule file: %w", err)
		}
		var content struct {
			Groups []struct {
				Rules []recordingRule `yaml:"rules"`
			} `yaml:"groups"`
		}
		if err := yaml.Unmarshal(data, &content); err != nil {
			return nil, fmt.Errorf("rule file %s: %w", file, err)
		}
		for _, g := range content.Groups {
			for _, r := range g.Rules {
				if r.Record != "" {
					all = append(all, r)
				}
			}
		}
	}
	return all, nil
}

// file is a rule file with these rules, nil if there are none.
func (rules recordingRules) file() ([]byte, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	type group struct {
		Name  string         `yaml:"name"`
		Rules recordingRules `yaml:"rules"`
	}
	data, err := yaml.Marshal(map[string][]group{"groups": {{Name: "recorded", Rules: rules}}})
	if err != nil {
		return nil, fmt.Errorf("recording rules: %w", err)
	}
	return data, nil
}

// evaluate evaluates the rules as Prometheus does over time: each rule at each time, on
// the results of the earlier ones.
func (rules recordingRules) evaluate(ctx context.Context, client *promql.Client, server *promtest.Server, m promql.Moments) error {
	for _, r := range rules {
		query, err := client.Parse(r.Expr)
		if err != nil {
			return fmt.Errorf("recording rule %s: %w", r.Record, err)
		}
		list := map[string]*promtest.Series{}
		last := map[string]int{}
		for from := 0; from < m.N; from += stepsAtOnce {
			part := promql.Moments{Start: m.At(from), Step: m.Step, N: min(stepsAtOnce, m.N-from)}
			past, err := client.Range(ctx, query, part)
			if err != nil {
				return fmt.Errorf("recording rule %s: %w", r.Record, err)
			}
			for i := range part.N {
				rows, err := past.Rows(i)
				if err != nil {
					return fmt.Errorf("recording rule %s: %w", r.Record, err)
				}
				seen := map[string]bool{}
				for _, row := range rows {
					labels := r.labels(row)
					key := fmt.Sprint(labels) // maps are printed in key order
					if list[key] == nil {
						list[key] = &promtest.Series{Labels: labels}
					}
					list[key].Samples = append(list[key].Samples, promtest.Sample{At: part.At(i), Value: row.Value})
					seen[key], last[key] = true, from+i
				}
				for key, s := range list {
					if !seen[key] && last[key] == from+i-1 {
						s.Samples = append(s.Samples, promtest.Sample{At: part.At(i), Value: promtest.Stale()})
					}
				}
			}
		}
		var series []promtest.Series
		for _, s := range list {
			series = append(series, *s)
		}
		if err := server.Write(ctx, series); err != nil {
			return fmt.Errorf("recording rule %s: %w", r.Record, err)
		}
	}
	return nil
}

// labels are those of the recorded series.
func (r recordingRule) labels(row promql.Row) map[string]string {
	labels := map[string]string{}
	for k, v := range row.Labels {
		labels[string(k)] = string(v)
	}
	for k, v := range r.Labels {
		labels[k] = v
	}
	labels["__name__"] = r.Record
	return labels
}
