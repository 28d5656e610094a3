package collector

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/version"

	"github.com/estiba/estiba/exporter/source"
)

// hostFamily is a metric with one sample, or a few, a host.
type hostFamily struct {
	Desc
	points []hostPoint
}

type hostPoint struct {
	value string // of the family's one label
	field source.HostField
}

// hostFamilies are the metrics that a snapshot gives of the host.
func hostFamilies() []hostFamily {
	one := func(name string, t Type, help string, f source.HostField) hostFamily {
		return hostFamily{Desc{name, t, help, nil}, []hostPoint{{field: f}}}
	}
	return []hostFamily{
		one("estiba_host_memory_total_bytes", Gauge, "Memory the kernel manages, in bytes (MemTotal).", source.MemoryTotal),
		one("estiba_host_memory_free_bytes", Gauge, "Unused memory, in bytes (MemFree).", source.MemoryFree),
		one("estiba_host_memory_available_bytes", Gauge, "Memory a new program could have without swapping, in bytes (MemAvailable).", source.MemoryAvailable),
		one("estiba_host_memory_used_bytes", Gauge, "Total minus free memory, in bytes: page cache included.", source.MemoryUsed),
		one("estiba_host_cpus", Gauge, "CPUs online.", source.CPUs),
		{Desc{"estiba_host_cpu_seconds_total", Counter, "CPU time of all CPUs by mode, in seconds since boot (/proc/stat). Time running guests is part of user and nice.", []string{"mode"}},
			[]hostPoint{{"user", source.HostCPUUser}, {"nice", source.HostCPUNice}, {"system", source.HostCPUSystem}, {"idle", source.HostCPUIdle},
				{"iowait", source.HostCPUIOWait}, {"irq", source.HostCPUIRQ}, {"softirq", source.HostCPUSoftIRQ}, {"steal", source.HostCPUSteal}}},
		one("estiba_unattributed_cpu_seconds_total", Counter, "CPU time that belongs to no container, in seconds: the host's busy time minus that of all containers there are, and of those that ended since the source began to watch.", source.UnattributedCPU),
		one("estiba_unattributed_memory_rss_bytes", Gauge, "Resident memory of all processes that belong to no container, shims included, summed, in bytes.", source.UnattributedRSS),
		one("estiba_unattributed_processes", Gauge, "Processes that belong to no container: the host's own, shims and kernel threads.", source.UnattributedProcesses),
	}
}

// Self metrics that are there whatever happens.
var (
	descContainers    = Desc{"estiba_containers", Gauge, "Containers in this exposition.", nil}
	descOmitted       = Desc{"estiba_containers_omitted", Gauge, "Containers that were seen and are not in this exposition: above --limit.containers, beyond a limit of the source, or a second one with the same id.", nil}
	descUnnamed       = Desc{"estiba_containers_unnamed", Gauge, "Containers in this exposition that Docker has told nothing of (yet).", nil}
	descSuccess       = Desc{"estiba_scrape_success", Gauge, "Whether the source gave a snapshot for this scrape.", nil}
	descDuration      = Desc{"estiba_scrape_duration_seconds", Gauge, "Time this scrape waited for its snapshot, in seconds.", nil}
	descActive        = Desc{"estiba_source_active", Gauge, "Which source this scrape's snapshot came from.", []string{"source"}}
	descErrors        = Desc{"estiba_source_errors_total", Counter, "Scrapes that got no snapshot, by source and reason.", []string{"source", "reason"}}
	descModule        = Desc{"estiba_kernel_module_loaded", Gauge, "Whether the kernel module's document is there, readable or not.", nil}
	descModuleInfo    = Desc{"estiba_kernel_module_info", Gauge, "Version of the kernel module and of its document's schema; 0 with empty labels while it is not used.", []string{"version", "schema"}}
	descDockerUp      = Desc{"estiba_docker_up", Gauge, "Whether the Docker Engine answers and its events are followed.", nil}
	descDiskTimestamp = Desc{"estiba_disk_usage_timestamp_seconds", Gauge, "When the writable layers were last measured, in seconds since 1970; 0: never.", nil}
	descSequence      = Desc{"estiba_snapshot_sequence", Gauge, "Number of the last snapshot since its source started; grows with each new one.", nil}
	descTimestamp     = Desc{"estiba_snapshot_timestamp_seconds", Gauge, "When the data of the last snapshot were collected, in seconds since 1970.", nil}
	descCollect       = Desc{"estiba_snapshot_collect_seconds", Gauge, "Time it took to collect the last snapshot, in seconds.", nil}
	descBuild         = Desc{"estiba_exporter_build_info", Gauge, "What this exporter was built from, always 1.", []string{"version", "revision", "branch", "goversion", "goos", "goarch", "tags"}}
)

func selfDescs() []Desc {
	return []Desc{descContainers, descOmitted, descUnnamed, descSuccess, descDuration, descActive, descErrors, descModule, descModuleInfo,
		descDockerUp, descDiskTimestamp, descSequence, descTimestamp, descCollect, descBuild}
}

// outcome is what one scrape found.
type outcome struct {
	snap     *source.Snapshot // nil: none
	err      error
	waited   time.Duration
	shown    int
	omitted  int
	unnamed  int
	loaded   bool // the module's file is there
	dockerUp bool
	sizedAt  time.Time
}

// last is what is told of the last snapshot when there is no new one.
type last struct {
	sequence uint64
	at       time.Time
	collect  time.Duration
}

// errorCounter counts failed scrapes, every combination from 0.
type errorCounter struct {
	mu     sync.Mutex
	counts map[[2]string]uint64
}

func newErrorCounter() *errorCounter {
	c := &errorCounter{counts: map[[2]string]uint64{}}
	for _, name := range source.Names() {
		for _, reason := range source.Reasons() {
			c.counts[[2]string{name, string(reason)}] = 0
		}
	}
	return c
}

func (c *errorCounter) add(name string, reason source.Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[[2]string{name, string(reason)}]++
}

// single is a prometheus.Collector of one scrape. It declares nothing in
// advance, and is gathered once.
type single struct {
	host     string
	families []hostFamily
	o        outcome
	l        last
	errors   *errorCounter
	metrics  chan<- prometheus.Metric
}

func (s single) Describe(chan<- *prometheus.Desc) {}

func (s single) Collect(ch chan<- prometheus.Metric) {
	s.metrics = ch
	s.collectSelf()
	if s.o.snap == nil {
		return
	}
	for _, f := range s.families {
		for _, p := range f.points {
			v, ok := s.o.snap.Host.Get(p.field)
			if !ok {
				continue
			}
			x := float64(v)
			switch p.field.Info().Unit {
			case source.Kilobytes:
				x *= 1024
			case source.Nanos:
				x /= 1e9
			}
			if f.Labels == nil {
				s.send(f.Desc, x)
			} else {
				s.send(f.Desc, x, p.value)
			}
		}
	}
}

func (s single) collectSelf() {
	s.send(descContainers, float64(s.o.shown))
	s.send(descOmitted, float64(s.o.omitted))
	s.send(descUnnamed, float64(s.o.unnamed))
	s.send(descSuccess, truth(s.o.snap != nil))
	s.send(descDuration, s.o.waited.Seconds())
	moduleVersion, schema, module := "", "", false
	for _, name := range source.Names() {
		active := s.o.snap != nil && s.o.snap.Source == name
		s.send(descActive, truth(active), name)
		if active && name == source.Kmod {
			moduleVersion, schema, module = s.o.snap.ModuleVersion, s.o.snap.Schema, true
		}
	}
	s.errors.mu.Lock()
	for key, n := range s.errors.counts {
		s.send(descErrors, float64(n), key[0], key[1])
	}
	s.errors.mu.Unlock()
	s.send(descModule, truth(s.o.loaded))
	s.send(descModuleInfo, truth(module), moduleVersion, schema)
	s.send(descDockerUp, truth(s.o.dockerUp))
	s.send(descDiskTimestamp, seconds(s.o.sizedAt))
	s.send(descSequence, float64(s.l.sequence))
	s.send(descTimestamp, seconds(s.l.at))
	s.send(descCollect, s.l.collect.Seconds())
	s.send(descBuild, 1, version.Version, version.GetRevision(), version.Branch, version.GoVersion, version.GoOS, version.GoArch, version.GetTags())
}

func (s single) send(d Desc, v float64, labels ...string) {
	names := d.Labels
	if s.host != "" {
		names = append(append([]string(nil), names...), "host")
		labels = append(labels, s.host)
	}
	t := prometheus.GaugeValue
	if d.Type == Counter {
		t = prometheus.CounterValue
	}
	m, err := prometheus.NewConstMetric(prometheus.NewDesc(d.Name, d.Help, names, nil), t, v, labels...)
	if err != nil {
		m = prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
	}
	s.metrics <- m
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}
