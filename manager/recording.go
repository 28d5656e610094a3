package main

import (
	"context"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/manager/promql"
	"github.com/estiba/estiba/manager/scratch"
)

// recordingRules are the recording rules of rule files, in their order.
type recordingRules []recordingRule

type recordingRule struct {
	Record string            `yaml:"record"`
	Expr   string            `yaml:"expr"`
	Labels map[string]string `yaml:"labels,omitempty"`
}

// loadRecordingRules reads Prometheus' rule files; alerts in them are passed
// over.
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

// file is a rule file of these rules alone, nil when there are none.
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

// evaluate does what Prometheus does with its recording rules as time goes by:
// each rule at each moment, on what the ones before it have recorded.
func (rules recordingRules) evaluate(ctx context.Context, client *promql.Client, server *scratch.Server, m promql.Moments) error {
	for _, r := range rules {
		query, err := client.Parse(r.Expr)
		if err != nil {
			return fmt.Errorf("recording rule %s: %w", r.Record, err)
		}
		past, err := client.Range(ctx, query, m)
		if err != nil {
			return fmt.Errorf("recording rule %s: %w", r.Record, err)
		}
		list := map[string]*scratch.Series{}
		last := map[string]int{}
		for i := range m.N {
			rows, err := past.Rows(i)
			if err != nil {
				return fmt.Errorf("recording rule %s: %w", r.Record, err)
			}
			seen := map[string]bool{}
			for _, row := range rows {
				labels := map[string]string{}
				for k, v := range row.Labels {
					labels[string(k)] = string(v)
				}
				for k, v := range r.Labels {
					labels[k] = v
				}
				labels["__name__"] = r.Record
				key := fmt.Sprint(labels) // maps print in the order of their keys
				if list[key] == nil {
					list[key] = &scratch.Series{Labels: labels}
				}
				list[key].Samples = append(list[key].Samples, scratch.Sample{At: m.At(i), Value: row.Value})
				seen[key], last[key] = true, i
			}
			for key, s := range list {
				if !seen[key] && last[key] == i-1 {
					s.Samples = append(s.Samples, scratch.Sample{At: m.At(i), Value: scratch.Stale()})
				}
			}
		}
		var series []scratch.Series
		for _, s := range list {
			series = append(series, *s)
		}
		if err := server.Write(ctx, series); err != nil {
			return fmt.Errorf("recording rule %s: %w", r.Record, err)
		}
	}
	return nil
}
