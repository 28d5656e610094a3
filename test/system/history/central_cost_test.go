package history

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// TestCentralCost measures what a central Prometheus spends on hosts of 100 containers
// each that send to it by the shipped configuration:
//
//	go test ./test/system/history -run TestCentralCost -cost 10 -timeout 20m -v
//
// It is a measurement: it fails only if it cannot be done.
func TestCentralCost(t *testing.T) {
	if *costMinutes == 0 {
		t.Skip("a measurement, not a test: wants -cost")
	}
	const hosts, containers = 4, 100
	root := testutil.RepositoryRoot(t)
	central := &host{t: t, dir: t.TempDir(), Stack: stack.Stack{Patience: time.Minute, Addresses: stack.Addresses{Prometheus: testutil.FreeAddress(t)}}}
	if err := os.CopyFS(central.dir, os.DirFS(filepath.Join(root, "prometheus", "examples", "fleet"))); err != nil {
		t.Fatal(err)
	}
	central.config = filepath.Join(central.dir, "central.yml")
	stack.RewriteYAML(t, central.config, func(root map[string]any) { delete(root, "scrape_configs") })
	central.start("--web.enable-remote-write-receiver", "--web.enable-admin-api")

	resident := func() float64 {
		return stack.Scraped(t, central.Prometheus, "process_resident_memory_bytes") / (1 << 20)
	}
	empty := resident()
	store := &store{Stack: central.Stack}
	var all []*host
	for i := range hosts {
		exporter := httptest.NewServer(fleet(t, containers))
		t.Cleanup(exporter.Close)
		h := &host{t: t, dir: t.TempDir(), Stack: stack.Stack{Patience: time.Minute, Addresses: stack.Addresses{
			Exporter: strings.TrimPrefix(exporter.URL, "http://"), Prometheus: testutil.FreeAddress(t),
			Alertmanager: testutil.FreeAddress(t), Manager: testutil.FreeAddress(t),
		}}}
		h.config = stack.PrometheusConfig(t, root, filepath.Join(h.dir, "config"), h.Addresses)
		stack.AddYAML(t, h.config, filepath.Join(root, "prometheus", "examples", "remote-write.yml"))
		stack.RewriteYAML(t, h.config, store.to)
		stack.RewriteYAML(t, h.config, func(root map[string]any) {
			root["global"].(map[string]any)["external_labels"].(map[string]any)["host"] = fmt.Sprintf("box%d", i+1)
		})
		h.start("--storage.remote.flush-deadline=1s")
		all = append(all, h)
	}

	const overview = `estiba:.*|estiba_container_info|estiba_host_.*|estiba_manager_.*|estiba_scrape_success|estiba_snapshot_timestamp_seconds|estiba_containers|up|ALERTS`
	number := func(promql string) float64 {
		for _, one := range central.Query(t, promql) {
			return one.Samples[0].Value
		}
		return 0
	}
	testutil.Eventually(t, time.Minute, "the containers of all hosts are there", func() bool {
		return number(`count(estiba_container_info)`) == hosts*containers
	})
	const appended = `prometheus_tsdb_head_samples_appended_total{type="float"}`
	of := func(series string) float64 { return stack.Scraped(t, central.Prometheus, series) }
	sent := func() (bytes, samples float64) {
		for _, h := range all {
			for _, one := range h.Query(t, `sum(prometheus_remote_storage_bytes_total)`) {
				bytes += one.Samples[0].Value
			}
			for _, one := range h.Query(t, `sum(prometheus_remote_storage_samples_total)`) {
				samples += one.Samples[0].Value
			}
		}
		return
	}
	time.Sleep(90 * time.Second) // the beginning is dearer
	cpu, samples := of("process_cpu_seconds_total"), of(appended)
	sentBytes, sentSamples := sent()
	began := time.Now()
	time.Sleep(time.Duration(*costMinutes) * time.Minute)
	minutes := time.Since(began).Minutes()
	perMinute := (of("process_cpu_seconds_total") - cpu) / minutes
	rate := (of(appended) - samples) / minutes
	bytesNow, samplesNow := sent()
	t.Logf("%d hosts of %d containers: %.0f series, %.0f samples a minute; %.0f series and %.0f samples a second a host", hosts, containers,
		of("prometheus_tsdb_head_series"), rate, of("prometheus_tsdb_head_series")/hosts, rate/60/hosts)
	t.Logf("of %.0f series %.0f are those of an overview", number(`count({host!=""})`), number(`count({host!="", __name__=~"`+overview+`"})`))
	t.Logf("central store: %.2f CPU s a minute, %.2f CPU s a million samples, RSS %.0f MiB, %.0f MiB when it was empty", perMinute, perMinute/rate*1e6, resident(), empty)
	t.Logf("on the wire: %.2f bytes a sample", (bytesNow-sentBytes)/(samplesNow-sentSamples))
	t.Logf("write-ahead log: %.1f bytes a sample", walBytes(t, filepath.Join(central.dir, "data", "wal"))/of(appended))
	if err := central.blockBytes(); err != nil {
		t.Fatal(err)
	}
}
