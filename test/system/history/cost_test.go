package history

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

var costMinutes = flag.Int("cost", 0, "how many minutes to measure what the history of 1,000 containers costs")

// TestCost measures what Prometheus spends on a host of 1,000 containers, with the
// shipped configuration, rules and all, at the shipped interval:
//
//	go test ./test/system/history -run TestCost -cost 10 -timeout 20m -v
//
// The figures of the containers are made up: a third idles, the rest works at a
// steady pace with some noise, as services do. It is a measurement: it fails only if
// it cannot be done.
func TestCost(t *testing.T) {
	if *costMinutes == 0 {
		t.Skip("a measurement, not a test: wants -cost")
	}
	const containers = 1000
	exporter := httptest.NewServer(fleet(t, containers))
	t.Cleanup(exporter.Close)
	h := &host{t: t, dir: t.TempDir(), Stack: stack.Stack{Patience: time.Minute, Addresses: stack.Addresses{
		Exporter: strings.TrimPrefix(exporter.URL, "http://"), Prometheus: testutil.FreeAddress(t),
		Alertmanager: testutil.FreeAddress(t), Manager: testutil.FreeAddress(t),
	}}}
	h.config = stack.PrometheusConfig(t, testutil.RepositoryRoot(t), filepath.Join(h.dir, "config"), h.Addresses)
	h.start("--web.enable-admin-api")
	of := func(series string) float64 { return stack.Scraped(t, h.Prometheus, series) }
	time.Sleep(time.Minute) // the beginning is dearer
	cpu, samples := of("process_cpu_seconds_total"), of(`prometheus_tsdb_head_samples_appended_total{type="float"}`)
	began := time.Now()
	time.Sleep(time.Duration(*costMinutes) * time.Minute)
	minutes := time.Since(began).Minutes()
	if series := of("prometheus_tsdb_head_series"); series < 20*containers {
		t.Fatalf("%.0f series: the containers are not among them", series)
	}
	perMinute := (of("process_cpu_seconds_total") - cpu) / minutes
	appended := (of(`prometheus_tsdb_head_samples_appended_total{type="float"}`) - samples) / minutes
	t.Logf("%d containers: %.0f series, %.0f samples a minute, %.2f CPU s a minute, RSS %.0f MiB",
		containers, of("prometheus_tsdb_head_series"), appended, perMinute, of("process_resident_memory_bytes")/(1<<20))
	wal := walBytes(t, filepath.Join(h.dir, "data", "wal"))
	t.Logf("write-ahead log: %.1f bytes a sample", wal/of(`prometheus_tsdb_head_samples_appended_total{type="float"}`))
	if err := h.blockBytes(); err != nil {
		t.Fatal(err)
	}
	h.prometheus.Kill()
	began = time.Now()
	h.start()
	t.Logf("after kill -9 it has read its log again and answers in %.1f s", time.Since(began).Seconds())
}

// blockBytes makes a block of what is in memory, by a snapshot, and returns its size a
// sample.
func (h *host) blockBytes() error {
	answer, err := http.Post("http://"+h.Prometheus+"/api/v1/admin/tsdb/snapshot", "", nil)
	if err != nil {
		return err
	}
	answer.Body.Close()
	metas, err := filepath.Glob(filepath.Join(h.dir, "data", "snapshots", "*", "*", "meta.json"))
	if err != nil {
		return err
	}
	if len(metas) == 0 {
		return errors.New("the snapshot has no block")
	}
	for _, meta := range metas {
		text, err := os.ReadFile(meta)
		if err != nil {
			return err
		}
		var chunks, index int64
		segments, _ := filepath.Glob(filepath.Join(filepath.Dir(meta), "chunks", "*"))
		for _, s := range segments {
			if info, err := os.Stat(s); err == nil {
				chunks += info.Size()
			}
		}
		if info, err := os.Stat(filepath.Join(filepath.Dir(meta), "index")); err == nil {
			index = info.Size()
		}
		_, rest, _ := strings.Cut(string(text), `"numSamples":`)
		number, _, _ := strings.Cut(strings.TrimSpace(rest), ",")
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil {
			return fmt.Errorf("%s: %w", meta, err)
		}
		h.t.Logf("block: %.0f samples, %.2f bytes each in chunks, index %d bytes", n, float64(chunks)/n, index)
	}
	return nil
}

func walBytes(t *testing.T, dir string) float64 {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, e := range list {
		if info, err := e.Info(); err == nil && !e.IsDir() {
			total += info.Size()
		}
	}
	return float64(total)
}

// line is a series of one container.
type line struct {
	before, after string // around the container's id and name
	value         float64
	counter       bool
	moves         bool
}

// fleet publishes the metrics of many containers, as the golden text of the exporter
// has them for one, and lets five seconds pass at each scrape.
func fleet(t *testing.T, containers int) http.Handler {
	t.Helper()
	golden, err := os.ReadFile(filepath.Join(testutil.RepositoryRoot(t), "exporter", "testdata", "golden", "kmod.prom"))
	if err != nil {
		t.Fatal(err)
	}
	var host strings.Builder
	var one []line
	first := ""
	// As of an exporter without --host.
	nameless := strings.NewReplacer(`,host="h1"`, "", `{host="h1"}`, "", `host="h1",`, "").Replace(string(golden))
	for text := range strings.Lines(nameless) {
		if !strings.HasPrefix(text, "estiba_container_") {
			// Not the names for cAdvisor's users, nor values that the golden text
			// leaves out.
			if strings.HasPrefix(text, "estiba_") && !strings.Contains(text, "…") {
				host.WriteString(text)
			}
			continue
		}
		series, value, _ := strings.Cut(strings.TrimSpace(text), " ")
		name, labels, _ := strings.Cut(series, "{")
		id := labels[strings.Index(labels, `id="`)+4:][:12]
		if first == "" {
			first = id
		}
		if id != first {
			continue
		}
		// id and name come first on samples; the info metric has more.
		rest := ""
		if i := strings.Index(labels, `name="`); i >= 0 {
			_, rest, _ = strings.Cut(labels[i+6:], `"`)
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		still := v == 0 || slices.ContainsFunc([]string{"_info", "start_time", "limit", "vsz"}, func(part string) bool { return strings.Contains(name, part) })
		one = append(one, line{before: name + "{", after: rest + " ", value: v, counter: strings.HasSuffix(name, "_total"), moves: !still})
	}
	if len(one) < 20 {
		t.Fatalf("%d series a container", len(one))
	}
	all := make([][]float64, containers)
	for i := range all {
		for _, l := range one {
			all[i] = append(all[i], l.value+float64(i))
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var text strings.Builder
		text.WriteString(host.String())
		for i, values := range all {
			for k, l := range one {
				switch noise := random.Float64(); {
				case !l.moves || i%3 == 0:
				case !l.counter && l.value < 1000:
					values[k] = math.Round(l.value*(50+noise*100)) / 100
				case !l.counter:
					values[k] = math.Round(l.value*(0.95+noise/10)/4096) * 4096
				case strings.Contains(l.before, "seconds"):
					values[k] += math.Round((0.1+noise/20)*1e6) / 1e6
				default:
					values[k] += math.Round(10000 * (0.5 + noise))
				}
				fmt.Fprintf(&text, "%sid=\"%012x\",name=\"container-%d\"%s%s\n", l.before, i, i, l.after, strconv.FormatFloat(values[k], 'f', -1, 64))
			}
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		io.WriteString(w, text.String())
	})
}
