// Command cadvisor is cAdvisor as far as a Prometheus scrape goes: its own
// manager and its own collectors, put together as cmd/cadvisor.go and
// cmd/internal/http/handlers.go of version 0.57.0 do. That program is a module of
// its own which the Go proxy does not have, and from 0.60 on so is the manager; what
// is left out here are its web pages and its storage drivers, which cost nothing
// while they are not used.
package main

import (
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/google/cadvisor/cache/memory"
	"github.com/google/cadvisor/container"
	_ "github.com/google/cadvisor/container/containerd/install"
	_ "github.com/google/cadvisor/container/crio/install"
	_ "github.com/google/cadvisor/container/docker/install"
	_ "github.com/google/cadvisor/container/podman/install"
	_ "github.com/google/cadvisor/container/systemd/install"
	info "github.com/google/cadvisor/info/v2"
	"github.com/google/cadvisor/manager"
	"github.com/google/cadvisor/metrics"
	"github.com/google/cadvisor/utils/sysfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/utils/clock"
)

// kept is the default of -storage_duration.
const kept = 2 * time.Minute

func main() {
	// The default of -disable_metrics.
	disabled := container.MetricSet{
		container.MemoryNumaMetrics:              struct{}{},
		container.NetworkTcpUsageMetrics:         struct{}{},
		container.NetworkUdpUsageMetrics:         struct{}{},
		container.NetworkAdvancedTcpUsageMetrics: struct{}{},
		container.ProcessSchedulerMetrics:        struct{}{},
		container.ProcessMetrics:                 struct{}{},
		container.HugetlbUsageMetrics:            struct{}{},
		container.ReferencedMemoryMetrics:        struct{}{},
		container.CPUTopologyMetrics:             struct{}{},
		container.ResctrlMetrics:                 struct{}{},
		container.CPUSetMetrics:                  struct{}{},
	}
	listen := flag.String("listen", "127.0.0.1:8080", "Address to listen on.")
	labels := flag.Bool("store_container_labels", true, "Publish every label of a container.")
	flag.Var(&disabled, "disable_metrics", "Metrics not to collect, separated by commas.")
	flag.Parse()
	if err := run(*listen, *labels, container.AllMetrics.Difference(disabled)); err != nil {
		log.Fatal(err)
	}
}

func run(listen string, labels bool, included container.MetricSet) error {
	m, err := manager.New(memory.New(kept, nil), sysfs.NewRealSysFs(), manager.HousekeepingConfigFlags, included,
		http.DefaultClient, []string{""}, []string{""}, "", 0)
	if err != nil {
		return err
	}
	if err := m.Start(); err != nil {
		return err
	}
	label := metrics.DefaultContainerLabels
	if !labels {
		label = metrics.BaseContainerLabels(nil)
	}
	machine := metrics.NewPrometheusMachineCollector(m, included)
	goCollector := collectors.NewGoCollector()
	process := collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})
	http.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
		registry := prometheus.NewRegistry()
		options := info.RequestOptions{IdType: info.TypeName, Count: 1, Recursive: true}
		registry.MustRegister(metrics.NewPrometheusCollector(m, label, included, clock.RealClock{}, options), machine, goCollector, process)
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(w, r)
	})
	return http.ListenAndServe(listen, nil)
}
