package stack

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"testing"
)

// Sample is one point in Prometheus: seconds since 1970, and the value.
type Sample struct{ At, Value float64 }

// Series is what Prometheus has under one set of labels.
type Series struct {
	Labels  map[string]string
	Samples []Sample
}

// Query asks Prometheus: an instant vector gives one sample a series, a range
// vector such as metric[1m] the raw samples. An error gives nothing, and is in
// the test's log: who asks does so until the answer is right.
func (s *Stack) Query(t *testing.T, promql string) []Series {
	t.Helper()
	found, err := s.Ask(promql)
	if err != nil {
		t.Logf("%v", err)
	}
	return found
}

// Ask is Query for those who can do without an answer.
func (s *Stack) Ask(promql string) ([]Series, error) {
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  *[2]any
				Values [][2]any
			}
		}
	}
	body, err := Fetch("http://" + s.Prometheus + "/api/v1/query?" + url.Values{"query": {promql}}.Encode())
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", promql, err)
	}
	if answer.Status != "success" {
		return nil, fmt.Errorf("query %s: %s", promql, answer.Error)
	}
	var found []Series
	for _, r := range answer.Data.Result {
		one := Series{Labels: r.Metric}
		if r.Value != nil {
			r.Values = [][2]any{*r.Value}
		}
		for _, v := range r.Values {
			value, err := strconv.ParseFloat(fmt.Sprint(v[1]), 64)
			at, ok := v[0].(float64)
			if err != nil || !ok {
				return nil, fmt.Errorf("query %s: sample %v", promql, v)
			}
			one.Samples = append(one.Samples, Sample{at, value})
		}
		found = append(found, one)
	}
	return found, nil
}

// ByName asks for an instant vector and gives its values by container.
func (s *Stack) ByName(t *testing.T, promql string) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for _, one := range s.Query(t, promql) {
		values[one.Labels["name"]] = one.Samples[0].Value
	}
	return values
}
