package status

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/estiba/estiba/manager/promql"
)

type peers struct {
	found promql.Peers
	err   error
}

func (peers) Graph(context.Context, string, promql.Moments) ([]promql.Line, error) { return nil, nil }

func (p peers) Peers(context.Context) (promql.Peers, error) { return p.found, p.err }

// Only what answers has a link, and no link has a password.
func TestLinks(t *testing.T) {
	const none = "[] "
	for name, c := range map[string]struct {
		peers  peers
		links  Links
		silent bool
		want   string
	}{
		"all": {
			peers{found: promql.Peers{Alertmanagers: []string{"http://am:9093"}}},
			Links{Prometheus: "http://u:secret@p:9090/", Grafana: "http://g:3000/"},
			false, "[{Prometheus http://p:9090/} {Alertmanager http://am:9093/} {Grafana http://g:3000/}] http://g:3000",
		},
		"external URL": {peers{found: promql.Peers{External: "https://mon.example/p"}}, Links{Prometheus: "http://p:9090"}, false, "[{Prometheus https://mon.example/p/}] "},
		"nothing answers": {
			peers{promql.Peers{Alertmanagers: []string{"http://am:9093"}}, errors.New("refused")},
			Links{Prometheus: "http://p:9090", Grafana: "http://g:3000"},
			true, none,
		},
		"Grafana on the browser's loopback": {peers{err: errors.New("refused")}, Links{Grafana: "http://localhost:3000", Contained: true}, true, "[{Grafana http://localhost:3000/}] http://localhost:3000"},
		"Grafana elsewhere, silent":         {peers{err: errors.New("refused")}, Links{Grafana: "http://g:3000", Contained: true}, true, none},
		"no web address":                    {peers{found: promql.Peers{External: "javascript:alert(1)"}}, Links{Grafana: "javascript:alert(1)"}, false, none},
	} {
		t.Run(name, func(t *testing.T) {
			c.links.Probe = func(context.Context, string) bool { return !c.silent }
			found, grafana := (&finder{source: c.peers, links: c.links}).look(t.Context())
			if got := fmt.Sprint(found, " ", grafana); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	status := 200
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	probe := NewProbe()
	for code, want := range map[int]bool{200: true, 401: true, 403: false, 404: false, 502: false} {
		if status = code; probe(t.Context(), s.URL) != want {
			t.Errorf("status %d: %v", code, !want)
		}
	}
	s.Close()
	if probe(t.Context(), s.URL) {
		t.Error("a closed port answers")
	}
}

func TestOpens(t *testing.T) {
	for _, c := range []struct {
		address, viewer string
		want            bool
	}{
		{"http://localhost:9090", "localhost:10121", true},
		{"http://127.0.0.1:9090", "[::1]:10121", true},
		{"http://[::1]:9090", "127.0.0.1", true},
		{"http://localhost:9090", "mon.example:10121", false},
		{"http://localhost:9090", "10.0.0.1:10121", false},
		{"http://prometheus:9090", "localhost:10121", false},
		{"http://prometheus:9090", "10.0.0.1", false},
		{"http://mon:9090", "mon:10121", true},
		{"http://mon.example:9090", "localhost:10121", true},
		{"http://10.0.0.1:9090", "mon:10121", true},
	} {
		if got := opens(c.address, c.viewer); got != c.want {
			t.Errorf("%s from %s: %v", c.address, c.viewer, got)
		}
	}
}
