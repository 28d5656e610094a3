//go:build estiba_vm

package guest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
)

func fetch(url string) ([]byte, error) {
	client := &http.Client{Timeout: patience}
	resp, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %s", url, resp.Status, body)
	}
	return body, nil
}

// answers tells whether there is somebody at url.
func answers(url string) func() bool {
	return func() bool {
		_, err := fetch(url)
		return err == nil
	}
}

// sample is one point in Prometheus.
type sample struct{ at, value float64 }

// series is what Prometheus has under one set of labels.
type series struct {
	labels  map[string]string
	samples []sample
}

// ask asks Prometheus: an instant vector gives one sample a series, a range
// vector such as metric[1m] the raw samples.
func ask(t *testing.T, promql string) []series {
	t.Helper()
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
	body, err := fetch(prometheusURL + "/api/v1/query?" + url.Values{"query": {promql}}.Encode())
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil || answer.Status != "success" {
		t.Logf("query %s: %v %s", promql, err, answer.Error)
		return nil
	}
	var found []series
	for _, r := range answer.Data.Result {
		s := series{labels: r.Metric}
		if r.Value != nil {
			r.Values = [][2]any{*r.Value}
		}
		for _, v := range r.Values {
			value, err := strconv.ParseFloat(fmt.Sprint(v[1]), 64)
			at, ok := v[0].(float64)
			if err != nil || !ok {
				t.Fatalf("query %s: sample %v", promql, v)
			}
			s.samples = append(s.samples, sample{at, value})
		}
		found = append(found, s)
	}
	return found
}

// byName asks for an instant vector and gives its values by container.
func byName(t *testing.T, promql string) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for _, s := range ask(t, promql) {
		values[s.labels["name"]] = s.samples[0].value
	}
	return values
}

// scraped reads one series off a metrics page; -1 when it is not there.
func scraped(t *testing.T, url, name string) float64 {
	t.Helper()
	body, err := fetch(url + "/metrics")
	if err != nil {
		t.Logf("%v", err)
		return -1
	}
	for _, line := range strings.Split(string(body), "\n") {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			if v, err := strconv.ParseFloat(text, 64); err == nil {
				return v
			}
		}
	}
	return -1
}

// auditLine is what the test looks at of a line of the manager's record.
type auditLine struct {
	KillID  string `json:"kill_id"`
	Phase   string `json:"phase"`
	ID      string `json:"container"`
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
}

func audit(t *testing.T) []auditLine {
	t.Helper()
	data, err := os.ReadFile(auditFile)
	if err != nil {
		t.Fatal(err)
	}
	var lines []auditLine
	for _, text := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		if text == "" {
			continue
		}
		var l auditLine
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("record line %q: %v", text, err)
		}
		lines = append(lines, l)
	}
	return lines
}
