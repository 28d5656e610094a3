package promql

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// A graph is one request for this client's host, and knows where samples are missing.
func TestGraph(t *testing.T) {
	requests, query := 0, ""
	body := `{"status":"success","data":{"resultType":"matrix","result":[
		{"metric":{"id":"a"},"values":[[1800000000,"1"],[1800000020,"3"]]},{"metric":{"id":"b","host":"other"},"values":[[1800000000,"1"]]},{"metric":{"id":"c"}}]}}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		query = r.FormValue("query")
		fmt.Fprint(w, body)
	}))
	defer s.Close()
	c, err := New(s.URL, "", "here", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	m := Moments{Start: time.Unix(1_800_000_000, 0), Step: 10 * time.Second, N: 3}
	lines, err := c.Graph(context.Background(), "x", m)
	if err != nil || len(lines) != 2 || query != `x{host="here"}` {
		t.Fatalf("%v, %v, query %s", lines, err, query)
	}
	if a := lines[0].Values; a[0] != 1 || !math.IsNaN(a[1]) || a[2] != 3 {
		t.Errorf("values %v", a)
	}
	if c := lines[1].Values; len(c) != 3 || !math.IsNaN(c[0]) {
		t.Errorf("values of a series without samples: %v", c)
	}
	requests, body = 0, `{"status":"error","errorType":"execution","error":"too many samples"}`
	if _, err := c.Graph(context.Background(), "x", m); !errors.Is(err, ErrUnusable) || requests != 1 {
		t.Errorf("%v after %d requests", err, requests)
	}
}

func TestPeers(t *testing.T) {
	p := pages{
		"alertmanagers": `{"activeAlertmanagers":[{"url":"http://am:9093/api/v2/alerts"},{"url":"https://b.example/prefix/api/v2/alerts"}]}`,
		"status/flags":  `{"web.external-url":"http://mon.example/prometheus"}`,
	}
	found, err := p.client(t).Peers(context.Background())
	if err != nil || found.External != "http://mon.example/prometheus" || !slices.Equal(found.Alertmanagers, []string{"http://am:9093", "https://b.example/prefix"}) {
		t.Errorf("%+v, %v", found, err)
	}
	delete(p, "status/flags")
	if found, err := p.client(t).Peers(context.Background()); err != nil || found.External != "" {
		t.Errorf("without flags: %+v, %v", found, err)
	}
	delete(p, "alertmanagers")
	if _, err := p.client(t).Peers(context.Background()); err == nil {
		t.Error("without Alertmanagers: no error")
	}
}
