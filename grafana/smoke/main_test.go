package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/estiba/estiba/grafana"
	"github.com/estiba/estiba/internal/testutil"
)

// TestLook checks against a server with the documented API of Grafana.
func TestLook(t *testing.T) {
	missing, refused := "", false
	mux := http.NewServeMux()
	say := func(path string, answer any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(answer) })
	}
	say("/api/health", map[string]string{"database": "ok"})
	mux.HandleFunc("/api/search", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "admin" || password != "secret" {
			http.Error(w, "invalid username or password", http.StatusUnauthorized)
			return
		}
		w.Write([]byte("[]"))
	})
	say("/api/datasources/uid/"+grafana.DataSourceUID+"/health", map[string]string{"status": "OK"})
	for _, d := range grafana.All() {
		mux.HandleFunc("/api/dashboards/uid/"+d.UID, func(w http.ResponseWriter, _ *http.Request) {
			if d.UID == missing {
				http.NotFound(w, nil)
				return
			}
			json.NewEncoder(w).Encode(map[string]any{"meta": map[string]any{"provisioned": true}, "dashboard": d})
		})
	}
	mux.HandleFunc("/api/datasources/proxy/uid/"+grafana.DataSourceUID+"/", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); refused || user != "admin" || password != "secret" {
			http.Error(w, `{"status":"error","error":"forbidden"}`, http.StatusForbidden)
			return
		}
		labels := map[string]string{}
		for _, l := range []string{
			"id", "name", "job", "instance", "rule", "reason", "mode", "outcome", "kind", "class", "result", "rule_group",
			"integration", "state", "status", "source", "alertstate", "resource", "le", "host", "reason", "quantile", "handler", "decision", "part", "why",
		} {
			labels[l] = "x"
		}
		one := []any{1, "1"}
		json.NewEncoder(w).Encode(map[string]any{
			"status": "success",
			"data":   map[string]any{"result": []any{map[string]any{"metric": labels, "value": one, "values": []any{one}}}},
		})
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	base.User = url.UserPassword("admin", "secret")
	if passed, faults := look(context.Background(), base, grafana.DataSourceUID); len(faults) > 0 || passed < 50 {
		t.Errorf("%d passed, faults %q", passed, faults)
	}
	missing = grafana.All()[1].UID
	if _, faults := look(context.Background(), base, grafana.DataSourceUID); len(faults) != 1 || !strings.Contains(faults[0], missing) {
		t.Errorf("missing dashboard: %q", faults)
	}
	base.User = url.UserPassword("admin", "guessed")
	if _, faults := look(context.Background(), base, grafana.DataSourceUID); len(faults) != 1 ||
		!strings.Contains(faults[0], `401 Unauthorized: invalid username or password`) || !strings.Contains(faults[0], `the user "admin"`) ||
		strings.Contains(faults[0], "guessed") {
		t.Errorf("wrong password: %q", faults)
	}
	base.User = url.UserPassword("admin", "secret")
	missing, refused = "", true
	if _, faults := look(context.Background(), base, grafana.DataSourceUID); len(faults) != 1 || !strings.Contains(faults[0], "forbidden") {
		t.Errorf("data source without permission: %q", faults)
	}

	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>Welcome</html>")) }))
	defer other.Close()
	for where, says := range map[string]string{other.URL: "not JSON", "http://" + testutil.FreeAddress(t): "refused"} {
		elsewhere, err := url.Parse(where)
		if err != nil {
			t.Fatal(err)
		}
		if _, faults := look(context.Background(), elsewhere, grafana.DataSourceUID); len(faults) != 1 || !strings.Contains(faults[0], says) ||
			!strings.Contains(faults[0], "GRAFANA_URL=") {
			t.Errorf("not a Grafana at %s: %q", where, faults)
		}
	}
}
