package promtest

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
)

// Samples can be queried at any time; a series ends at its stale marker; rules are
// listed and not evaluated; nothing is left behind.
func TestWrittenPast(t *testing.T) {
	ctx := context.Background()
	s, err := Start(ctx, testutil.Tool(t, "prometheus"), []byte(`groups: [{name: g, rules: [{record: always, expr: vector(1)}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() }) // the second time after a pass
	at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	many := Series{Labels: map[string]string{"__name__": "many"}}
	for i := range maxBatch + 10 {
		many.Samples = append(many.Samples, Sample{At: at.Add(time.Duration(i) * time.Second / 10), Value: float64(i)})
	}
	ended := Series{
		Labels:  map[string]string{"__name__": "ended", "b": "ü\"", "a": "1"},
		Samples: []Sample{{at, 1.5}, {at.Add(5 * time.Second), Stale()}},
	}
	if err := s.Write(ctx, []Series{many, ended}); err != nil {
		t.Fatal(err)
	}
	ask := func(path, query string, when time.Time) string {
		resp, err := http.PostForm(s.URL+path, url.Values{"query": {query}, "time": {strconv.FormatInt(when.Unix(), 10)}})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	const query = "/api/v1/query"
	if got := ask(query, "ended", at.Add(4*time.Second)); !strings.Contains(got, `"1.5"`) || !strings.Contains(got, `"b":"ü\""`) {
		t.Errorf("before its end: %s", got)
	}
	if got := ask(query, "ended", at.Add(6*time.Second)); strings.Contains(got, "1.5") {
		t.Errorf("after its end: %s", got)
	}
	if got, want := ask(query, "count_over_time(many[3h])", at.Add(2*time.Hour)), strconv.Itoa(len(many.Samples)); !strings.Contains(got, `"`+want+`"`) {
		t.Errorf("%s samples, want %s", got, want)
	}
	if got := ask(query, "always", time.Now()); strings.Contains(got, `"1"`) {
		t.Errorf("the rule was evaluated: %s", got)
	}
	resp, err := http.Get(s.URL + "/api/v1/rules")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(string(rules), `"name":"always"`) {
		t.Errorf("rules %s, %v", rules, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
	if _, err := http.Get(s.URL + "/-/ready"); err == nil {
		t.Error("the Prometheus is left")
	}
}
