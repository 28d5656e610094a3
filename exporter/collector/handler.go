package collector

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/exporter/linezip"
)

// maxRunning is the number of expositions rendered concurrently, maxPending the number
// being rendered or sent; further scrapes wait.
const (
	maxRunning = 4
	maxPending = 8
)

// keptBuffer is the largest response buffer to reuse, in bytes: a compressed exposition
// of 10,000 containers.
const keptBuffer = 8 << 20

// Handler returns the handler of scrapes. more has the metrics that do not come from a
// snapshot: those of the process.
func (c *Collector) Handler(more prometheus.Gatherer) http.Handler {
	return &handler{
		c: c, more: more, running: make(chan struct{}, maxRunning), pending: make(chan struct{}, maxPending),
		codes: linezip.NewCodes(c.sample()), buffers: make(chan *bytes.Buffer, maxRunning), zippers: make(chan *linezip.Writer, maxRunning),
	}
}

type handler struct {
	c       *Collector
	more    prometheus.Gatherer
	running chan struct{}
	pending chan struct{}
	codes   *linezip.Codes

	// Not sync.Pool: the snapshot of a large host triggers a garbage collection in
	// almost every scrape, which empties a pool.
	buffers chan *bytes.Buffer
	zippers chan *linezip.Writer
	size    atomic.Int64 // of the last response above keptBuffer
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed, use GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	timeout := h.timeout(r)
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	if !acquire(ctx, h.pending) {
		http.Error(w, "too many concurrent scrapes", http.StatusServiceUnavailable)
		return
	}
	defer func() { <-h.pending }()
	if !acquire(ctx, h.running) {
		http.Error(w, "too many concurrent scrapes", http.StatusServiceUnavailable)
		return
	}
	body, packed := h.buffer(), acceptsGzip(r)
	h.reserve(body, packed)
	defer h.release(body)
	format, err := h.render(ctx, body, expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...), packed)
	<-h.running
	if err != nil {
		level.Error(h.c.logger).Log("msg", "exposition failed", "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", string(format))
	w.Header().Set("Vary", "Accept, Accept-Encoding")
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	if packed {
		w.Header().Set("Content-Encoding", "gzip")
	}
	// A client slower than the scrape timeout would block others. Not every
	// ResponseWriter has deadlines; the server's does.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout))
	w.Write(body.Bytes()) // an error means that the client is gone
}

// acquire takes a slot; false if ctx ends.
func acquire(ctx context.Context, slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (h *handler) buffer() *bytes.Buffer {
	select {
	case b := <-h.buffers:
		b.Reset()
		return b
	default:
		return &bytes.Buffer{}
	}
}

// reserve grows the buffer to the last large response, to avoid copies.
func (h *handler) reserve(b *bytes.Buffer, packed bool) {
	if last := h.size.Load(); !packed && int(last) > b.Cap() {
		b.Grow(int(last) + int(last)/16)
	}
}

func (h *handler) release(b *bytes.Buffer) {
	if b.Cap() > keptBuffer {
		h.size.Store(int64(b.Len()))
		return
	}
	select {
	case h.buffers <- b:
	default:
	}
}

// timeout returns the shorter of the configured timeout and that of Prometheus.
func (h *handler) timeout(r *http.Request) time.Duration {
	if s, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64); err == nil && s > 0 {
		// A little less, so that Prometheus still receives the failure as samples.
		if theirs := s * 0.9 * float64(time.Second); theirs < float64(h.c.config.Timeout) { // false for infinity
			return time.Duration(theirs)
		}
	}
	return h.c.config.Timeout
}

// render writes an exposition, compressed if packed.
func (h *handler) render(ctx context.Context, to *bytes.Buffer, format expfmt.Format, packed bool) (expfmt.Format, error) {
	if !packed {
		return h.text(ctx, to, format)
	}
	var z *linezip.Writer
	select {
	case z = <-h.zippers:
		z.Reset(to)
	default:
		z = linezip.NewWriter(to, h.codes)
	}
	format, err := h.text(ctx, z, format)
	if err == nil {
		err = z.Close()
	}
	select {
	case h.zippers <- z:
	default:
	}
	return format, err
}

// text writes an exposition: samples of the snapshot directly as text, metrics of the
// process with client_golang. For other formats the text is parsed and encoded again.
func (h *handler) text(ctx context.Context, to io.Writer, format expfmt.Format) (expfmt.Format, error) {
	page := h.c.scrape(ctx)
	families, err := h.more.Gather()
	if err != nil {
		return format, fmt.Errorf("gathering process metrics: %w", err)
	}
	openMetrics := format.FormatType() == expfmt.TypeOpenMetrics
	if openMetrics || format.FormatType() == expfmt.TypeTextPlain {
		if err := page.write(to, openMetrics); err != nil {
			return format, fmt.Errorf("writing samples: %w", err)
		}
		if err := encode(to, format, families); err != nil {
			return format, err
		}
		if openMetrics {
			if _, err := expfmt.FinalizeOpenMetrics(to); err != nil {
				return format, fmt.Errorf("finalizing the exposition: %w", err)
			}
		}
		return format, nil
	}
	var text bytes.Buffer
	if err := page.write(&text, false); err != nil {
		return format, fmt.Errorf("writing samples: %w", err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(&text)
	if err != nil {
		return format, fmt.Errorf("parsing own samples: %w", err)
	}
	for _, f := range parsed {
		families = append(families, f)
	}
	return format, encode(to, format, families)
}

func encode(to io.Writer, format expfmt.Format, families []*dto.MetricFamily) error {
	enc := expfmt.NewEncoder(to, format)
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return fmt.Errorf("encoding %s: %w", f.GetName(), err)
		}
	}
	return nil
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
