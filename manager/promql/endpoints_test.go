package promql

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// pages is a Prometheus with given responses; "" is a missing endpoint.
type pages map[string]string

func (p pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/api/v1/query" && p["query"] == "" {
		fmt.Fprint(w, vector())
		return
	}
	body, has := p[strings.TrimPrefix(r.URL.Path, "/api/v1/")]
	if !has {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintf(w, `{"status":"success","data":%s}`, body)
}

func (p pages) client(t *testing.T) *Client {
	t.Helper()
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	c, err := New(s.URL, "", "", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func target(url, job, instance string) string {
	return fmt.Sprintf(`{"scrapeUrl":%q,"labels":{"job":%q,"instance":%q},"discoveredLabels":{},"health":"up"}`, url, job, instance)
}

func activeTargets(list ...string) string {
	return `{"activeTargets":[` + strings.Join(list, ",") + `],"droppedTargets":[]}`
}

// A list of targets is complete if it has the target of the data.
func TestCompleteTargets(t *testing.T) {
	own, db := target("http://exporter:10120/metrics", "estiba", "exporter:10120"), target("http://db:9100/metrics", "db", "db:9100")
	exporter := Target{Known: true, Job: "estiba", Instance: "exporter:10120"}
	for name, c := range map[string]struct {
		list     string
		exporter Target
		known    bool
	}{
		"complete":                   {activeTargets(own, db), exporter, true},
		"empty":                      {activeTargets(), exporter, false},
		"null":                       {`{"activeTargets":null}`, exporter, false},
		"without the exporter":       {activeTargets(db), exporter, false},
		"another instance of it":     {activeTargets(target("http://exporter:1/metrics", "estiba", "exporter:1")), exporter, false},
		"another job's":              {activeTargets(target("http://exporter:10120/metrics", "other", "exporter:10120")), exporter, false},
		"no snapshot":                {activeTargets(own, db), Target{}, false},
		"samples without labels":     {activeTargets(db), Target{Known: true}, true},
		"empty, and without labels":  {activeTargets(), Target{Known: true}, false},
		"the job alone is not known": {activeTargets(own), Target{Known: true, Job: "estiba"}, false},
	} {
		p := pages{"targets": c.list, "alertmanagers": `{"activeAlertmanagers":[{"url":"http://alertmanager:9093/api/v2/alerts"}]}`}
		e, err := p.client(t).Endpoints(context.Background(), now, c.exporter)
		if (err == nil) != c.known {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(e.Notified, []string{"alertmanager"}) {
			t.Errorf("%s: notified %v; an incomplete list still protects its hosts", name, e.Notified)
		}
	}
}

// An empty list of Alertmanagers is complete unless Prometheus may not have discovered
// them yet.
func TestCompleteAlertmanagers(t *testing.T) {
	some, none := `{"yaml":"alerting:\n  alertmanagers:\n  - static_configs: [{targets: [a]}]\n"}`, `{"yaml":"global: {}\n"}`
	info := func(started, loaded time.Duration) string {
		return fmt.Sprintf(`{"startTime":%q,"lastConfigTime":%q}`, now.Add(-started).Format(time.RFC3339), now.Add(-loaded).Format(time.RFC3339))
	}
	for name, c := range map[string]struct {
		pages pages
		known bool
	}{
		"old":                                 {pages{"status/runtimeinfo": info(time.Hour, time.Hour), "status/config": some}, true},
		"just started":                        {pages{"status/runtimeinfo": info(4*time.Second, 3*time.Second), "status/config": some}, false},
		"just started, without Alertmanagers": {pages{"status/runtimeinfo": info(4*time.Second, 3*time.Second), "status/config": none}, true},
		"a long replay of the WAL":            {pages{"status/runtimeinfo": info(10*time.Minute, 4*time.Second), "status/config": some}, false},
		"the future":                          {pages{"status/runtimeinfo": info(-time.Hour, -time.Hour), "status/config": some}, false},
		"page not found":                      {pages{}, true},
		"a page that cannot be read":          {pages{"status/runtimeinfo": `"x"`}, false},
		"a configuration that cannot be had":  {pages{"status/runtimeinfo": info(0, 0)}, false},
	} {
		c.pages["targets"], c.pages["alertmanagers"] = activeTargets(target("http://a/", "a", "a")), `{"activeAlertmanagers":[]}`
		if _, err := c.pages.client(t).Endpoints(context.Background(), now, Target{true, "a", "a"}); (err == nil) != c.known {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHostsOfTargets(t *testing.T) {
	p := pages{"alertmanagers": `{"activeAlertmanagers":[{"url":"//x"},{"url":"%"}]}`, "targets": activeTargets(
		target("http://user:secret@Db.:9100/metrics", "a", "1"), target("http://[fe80::1%25eth0]:9100/", "a", "2"), target("%zz", "odd", "3"),
		target("http://blackbox:9115/probe?module=http&target=https%3A%2F%2Fshop%3A443%2Fx", "probe", "4"), target("http://snmp:9116/snmp?target=10.0.0.7",
			"probe", "5"),
		`{"scrapeUrl":"http://172.17.0.2/","discoveredLabels":{"__meta_docker_container_id":"0123456789abcdef"}}`,
	)}
	e, err := p.client(t).Endpoints(context.Background(), now, Target{Known: true})
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%q", Endpoints{
		Scraped:  []string{"Db.", "fe80::1%eth0", "a target of job odd has an address without a host", "blackbox", "snmp", "172.17.0.2"},
		Probed:   []string{"shop", "10.0.0.7", "0123456789ab"},
		Notified: []string{"x", "the URL of an Alertmanager has an address without a host"},
	})
	if got := fmt.Sprintf("%q", e); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// Responses that only look like successes.
func TestOddResponses(t *testing.T) {
	const list = `{"activeTargets":[],"droppedTargets":[]}`
	for name, c := range map[string]struct {
		code int
		body string
		good bool
	}{
		"good":                {200, `{"status":"success","data":` + list + "}\n", true},
		"status 206":          {206, `{"status":"success","data":` + list + `}`, false},
		"status 503":          {503, `{"status":"success","data":` + list + `}`, false},
		"bytes after the end": {200, `{"status":"success","data":` + list + `}}]garbage`, false},
		"a second status":     {200, `{"status":"success","data":` + list + `,"status":"error","error":"x"}`, false},
		"two answers":         {200, `{"status":"success","data":` + list + `,"data":` + list + `}`, false},
		"an error beside it":  {200, `{"status":"success","data":` + list + `,"errorType":"timeout","error":"x"}`, false},
		"no data":             {200, `{"status":"success"}`, false},
		"a list":              {200, `[]`, false},
		"too long":            {200, `{"status":"success","data":` + strings.Repeat(" ", 1000) + list + `}`, false},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.code)
			fmt.Fprint(w, c.body)
		}))
		p, err := New(s.URL, "", "", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		p.longest = 500
		var to struct {
			Active []any `json:"activeTargets"`
		}
		if err := p.page(context.Background(), "/api/v1/targets", nil, &to); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
	}
	if err := (pages{}).client(t).page(context.Background(), "/api/v1/x", nil, nil); !errors.Is(err, errNoPage) {
		t.Error(err)
	}
}
