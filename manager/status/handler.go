package status

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/estiba/estiba/manager/audit"
)

// Site is what the pages show and do.
type Site struct {
	Store   *Store
	Metrics *Metrics
	Now     func() time.Time
	Reload  func() error // reads the policy file again
}

// Handler serves the status page, the API, the metrics and the life signs.
func Handler(s Site) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.Metrics.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /api/v1/decisions", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.decisions()) })
	mux.HandleFunc("GET /api/v1/kills", func(w http.ResponseWriter, _ *http.Request) {
		_, _, kills := s.Store.last()
		writeJSON(w, struct {
			Kills []audit.Record `json:"kills"` // youngest first
		}{kills})
	})
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "alive\n") })
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if t, _, _ := s.Store.last(); t == nil {
			writeText(w, http.StatusServiceUnavailable, "no tick yet\n")
			return
		}
		writeText(w, http.StatusOK, "ready\n")
	})
	mux.HandleFunc("POST /-/reload", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Reload(); err != nil {
			writeText(w, http.StatusInternalServerError, "the policy was not reloaded: "+err.Error()+"\n")
			return
		}
		writeText(w, http.StatusOK, "reloaded\n")
	})
	mux.HandleFunc("GET /{$}", s.page)
	return mux
}

func (s Site) decisions() Decisions {
	t, number, _ := s.Store.last()
	if t == nil {
		return Decisions{DryRun: s.Store.DryRun(), Rules: []RuleState{}, Containers: []Row{}}
	}
	return Describe(*t, number, s.Store.DryRun())
}

func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		writeText(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(append(body, '\n'))
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	w.Write([]byte(text))
}
