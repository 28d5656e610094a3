package status

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/estiba/estiba/manager/audit"
)

// Site is the data and the actions of the pages.
type Site struct {
	Store   *Store
	Metrics *Metrics
	Now     func() time.Time
	Reload  func() error // reloads the policy
	Healthy func() error // an error if the tick loop hangs; may be nil
	// Prometheus is where graphs come from; nil: there are none.
	Prometheus Prometheus
	Links      Links
}

// Handler serves the status page, the documentation, the API, the metrics and the health
// endpoints.
func Handler(s Site) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.Metrics.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /api/v1/decisions", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.decisions()) })
	mux.HandleFunc("GET /api/v1/kills", func(w http.ResponseWriter, _ *http.Request) {
		_, _, kills := s.Store.last()
		writeJSON(w, struct {
			Kills []audit.Record `json:"kills"` // newest first
		}{kills})
	})
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		if s.Healthy != nil {
			if err := s.Healthy(); err != nil {
				writeText(w, http.StatusServiceUnavailable, err.Error()+"\n")
				return
			}
		}
		writeText(w, http.StatusOK, "healthy\n")
	})
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if t, _, _ := s.Store.last(); t == nil {
			writeText(w, http.StatusServiceUnavailable, "no tick yet\n")
			return
		}
		writeText(w, http.StatusOK, "ready\n")
	})
	mux.HandleFunc("POST /-/reload", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Reload(); err != nil {
			writeText(w, http.StatusInternalServerError, "reloading the policy failed: "+err.Error()+"\n")
			return
		}
		writeText(w, http.StatusOK, "reloaded\n")
	})
	p := newPages(s)
	// With 500 containers a page is 600 kB, compressed a sixth.
	mux.Handle("GET /{$}", gzhttp.GzipHandler(http.HandlerFunc(p.page)))
	mux.Handle("GET /live", gzhttp.GzipHandler(http.HandlerFunc(p.live)))
	handleDocuments(mux)
	return sameOrigin(mux)
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
