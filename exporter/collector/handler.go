package collector

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// maxRunning is how many expositions are made at a time; further scrapes wait.
const maxRunning = 4

// Handler answers scrapes. gatherers add what is not made from a snapshot: the
// process' own metrics.
func (c *Collector) Handler(more prometheus.Gatherer) http.Handler {
	return &handler{
		c: c, more: more, slots: make(chan struct{}, maxRunning),
		buffers: sync.Pool{New: func() any { return new([]byte) }},
		zippers: sync.Pool{New: func() any {
			z, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
			if err != nil { // the level is a constant that exists
				panic(err)
			}
			return z
		}},
	}
}

type handler struct {
	c       *Collector
	more    prometheus.Gatherer
	slots   chan struct{}
	buffers sync.Pool
	zippers sync.Pool
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.timeout(r))
	defer cancel()
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		http.Error(w, "too many scrapes at a time", http.StatusServiceUnavailable)
		return
	}
	pooled := h.buffers.Get().(*[]byte)
	body, format, err := h.render(ctx, (*pooled)[:0], expfmt.NegotiateIncludingOpenMetrics(r.Header))
	*pooled = body
	<-h.slots
	defer h.buffers.Put(pooled)
	if err != nil {
		level.Error(h.c.logger).Log("msg", "making an exposition", "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h.send(w, r, body, format)
}

func (h *handler) send(w http.ResponseWriter, r *http.Request, body []byte, format expfmt.Format) {
	w.Header().Set("Content-Type", string(format))
	w.Header().Set("Vary", "Accept, Accept-Encoding")
	if !acceptsGzip(r) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	z := h.zippers.Get().(*gzip.Writer)
	defer h.zippers.Put(z)
	z.Reset(w)
	// An error of either means that the client is gone.
	if _, err := z.Write(body); err == nil {
		z.Close()
	}
}

// timeout is the shorter of our own and what Prometheus says it waits.
func (h *handler) timeout(r *http.Request) time.Duration {
	if s, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64); err == nil && s > 0 {
		// A little less, so that the failure still arrives as samples.
		if theirs := time.Duration(s * 0.9 * float64(time.Second)); theirs < h.c.config.Timeout {
			return theirs
		}
	}
	return h.c.config.Timeout
}

// render makes an exposition behind b. Containers are written straight as
// text, the rest by client_golang; formats other than text go through a parse
// of that text.
func (h *handler) render(ctx context.Context, b []byte, format expfmt.Format) ([]byte, expfmt.Format, error) {
	openMetrics := format.FormatType() == expfmt.TypeOpenMetrics
	b, self := h.c.scrape(ctx, b, openMetrics)
	registry := prometheus.NewRegistry()
	if err := registry.Register(self); err != nil {
		return b, format, fmt.Errorf("registering a scrape: %w", err)
	}
	families, err := prometheus.Gatherers{registry, h.more}.Gather()
	if err != nil {
		return b, format, fmt.Errorf("gathering: %w", err)
	}
	out := bytes.NewBuffer(b)
	if openMetrics || format.FormatType() == expfmt.TypeTextPlain {
		enc := expfmt.NewEncoder(out, format)
		for _, f := range families {
			if err := enc.Encode(f); err != nil {
				return out.Bytes(), format, fmt.Errorf("encoding %s: %w", f.GetName(), err)
			}
		}
		if openMetrics {
			if _, err := expfmt.FinalizeOpenMetrics(out); err != nil {
				return out.Bytes(), format, fmt.Errorf("ending the exposition: %w", err)
			}
		}
		return out.Bytes(), format, nil
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(bytes.NewReader(b))
	if err != nil {
		return b, format, fmt.Errorf("reading the containers' samples again: %w", err)
	}
	for _, f := range parsed {
		families = append(families, f)
	}
	out = &bytes.Buffer{}
	enc := expfmt.NewEncoder(out, format)
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return b, format, fmt.Errorf("encoding %s: %w", f.GetName(), err)
		}
	}
	return out.Bytes(), format, nil
}

func acceptsGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.TrimSpace(name) == "gzip" {
			q, found := strings.CutPrefix(strings.TrimSpace(params), "q=")
			v, err := strconv.ParseFloat(q, 64)
			return !found || err != nil || v > 0
		}
	}
	return false
}
