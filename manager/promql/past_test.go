package promql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"pgregory.net/rapid"
)

func TestParseRange(t *testing.T) {
	m := Moments{Start: time.Unix(1_800_000_000, 500e6), Step: 10 * time.Second, N: 3}
	a, err := parseRange([]byte(`{"status":"success", "data":{"resultType":"matrix","result":[
		{"metric":{"id":"a\"]}","name":"x"},"values":[[1800000000.5,"1.5"],[1800000020.5,"NaN"]]},
		{"metric":{},"values":[[1800000010.5,"-Inf"]]}]},"infos":["a note"]}`), m)
	if err != nil || a.status != "success" || len(a.series) != 2 || len(a.notes) != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	p := Past{series: a.series}
	for i, want := range []string{`[{{id="a\"]}", name="x"} 1.5}]`, `[{{} -Inf}]`, `[{{id="a\"]}", name="x"} NaN}]`} {
		if rows, err := p.Rows(i); err != nil || fmt.Sprint(rows) != want {
			t.Errorf("at %d: %v, %v, want %s", i, rows, err, want)
		}
	}
	for _, bad := range []string{
		``, `{`, `{"status":"success","data":{"resultType":"vector","result":[]}}`,
		`{"data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"]]}]}}`,
		`{"data":{"resultType":"matrix","result":[{"metric":{},"values":[[1800000000.5,"x"]]}]}}`, `<html>`,
		`{"data":{"resultType":"matrix","result":[{"metric":{},"histograms":[]}]}}`, `{"data":{"resultType":"matrix","result":[{"metric":{},"values":[[1800000000.5,"1`,
	} {
		if a, err := parseRange([]byte(bad), m); err == nil {
			t.Errorf("%s was read as %+v", bad, a)
		}
	}
}

// The decoder agrees with encoding/json on any response.
func TestParseRangeAgrees(t *testing.T) {
	m := Moments{Start: time.Unix(1_800_000_000, 0), Step: 10 * time.Second, N: 5}
	rapid.Check(t, func(t *rapid.T) {
		type series struct {
			Metric map[string]string `json:"metric"`
			Values [][2]any          `json:"values"`
		}
		list := []series{}
		for range rapid.IntRange(0, 4).Draw(t, "series") {
			one := series{Metric: rapid.MapOf(rapid.StringMatching(`[a-z]{1,3}`), rapid.String()).Draw(t, "labels"), Values: [][2]any{}}
			for i := range m.N {
				if rapid.Bool().Draw(t, "has") {
					one.Values = append(one.Values, [2]any{m.At(i).Unix(), strconv.FormatFloat(rapid.Float64().Draw(t, "value"), 'g', -1, 64)})
				}
			}
			list = append(list, one)
		}
		body, err := json.Marshal(map[string]any{
			"status": "success", "warnings": []string{"]}\""},
			"data": map[string]any{"resultType": "matrix", "result": list},
		})
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseRange(body, m)
		if err != nil || len(a.series) != len(list) || len(a.notes) != 1 {
			t.Fatalf("%+v, %v in %s", a, err, body)
		}
		for i, s := range list {
			for k, v := range s.Metric {
				// encoding/json replaces invalid UTF-8 by U+FFFD.
				if got := a.series[i].labels[model.LabelName(k)]; string(got) != string([]rune(v)) {
					t.Errorf("label %s is %q, want %q", k, got, v)
				}
			}
			n := 0
			for j := range m.N {
				if a.series[i].has[j] {
					if want, _ := strconv.ParseFloat(s.Values[n][1].(string), 64); a.series[i].values[j] != want && !math.IsNaN(want) {
						t.Errorf("value %v, want %v", a.series[i].values[j], want)
					}
					n++
				}
			}
			if n != len(s.Values) {
				t.Errorf("%d samples, want %d", n, len(s.Values))
			}
		}
	})
}

// A query that fails at one time has a result at all others.
func TestRangeThatFailsSomewhere(t *testing.T) {
	m := Moments{Start: now, Step: 10 * time.Second, N: 100}
	bad, asked, down := m.At(37), 0, false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Content-Type", "application/json")
		from, _ := strconv.ParseFloat(r.FormValue("start"), 64)
		to, _ := strconv.ParseFloat(r.FormValue("end"), 64)
		switch at := float64(bad.Unix()); {
		case down:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"status":"error","errorType":"unavailable","error":"shutting down"}`)
		case from <= at && at <= to:
			w.WriteHeader(http.StatusUnprocessableEntity)
			fmt.Fprint(w, `{"status":"error","errorType":"execution","error":"many-to-many matching not allowed"}`)
		default:
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"id":"a"},"values":[[%v,"1"],[%v,"2"]]}]}}`, from, to)
		}
	}))
	defer server.Close()
	c, err := New(server.URL, "", "", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Range(context.Background(), parse(t, "usage", ""), m)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.N {
		if _, err := p.Rows(i); (i == 37) != errors.Is(err, ErrUnusable) {
			t.Errorf("at %d: %v", i, err)
		}
	}
	if rows, err := p.Rows(99); err != nil || len(rows) != 1 || rows[0].Value != 2 {
		t.Errorf("the last moment: %v, %v", rows, err)
	}
	if asked > 20 {
		t.Errorf("asked %d times", asked)
	}
	down = true
	if _, err := c.Range(context.Background(), parse(t, "usage", ""), m); err == nil || errors.Is(err, ErrUnusable) {
		t.Errorf("Prometheus is down, Range returned %v", err)
	}
}
