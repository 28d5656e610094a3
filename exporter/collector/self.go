package collector

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

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

// single is what one scrape tells of the host and of the exporter itself.
type single struct {
	host     string
	families []hostFamily
	o        outcome
	l        last
	errors   *errorCounter
}

// line is one sample of it.
type line struct {
	desc   *Desc
	labels string
	value  float64
}

// write writes all of it, sorted by name and labels.
func (s *single) write(w *textWriter, openMetrics bool) {
	lines := s.lines()
	slices.SortFunc(lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.desc.Name, b.desc.Name), cmp.Compare(a.labels, b.labels))
	})
	for i, l := range lines {
		if i == 0 || l.desc.Name != lines[i-1].desc.Name {
			w.b = appendHeader(w.b, l.desc, openMetrics)
		}
		w.b = append(w.b, l.desc.Name...)
		if l.labels != "" {
			w.b = append(w.b, '{')
			w.b = append(w.b, l.labels...)
			w.b = append(w.b, '}')
		}
		w.b = append(w.b, ' ')
		w.b = strconv.AppendFloat(w.b, l.value, 'g', -1, 64)
		w.b = append(w.b, '\n')
	}
	w.full()
}

func (s *single) lines() []line {
	lines := make([]line, 0, 64)
	send := func(d *Desc, v float64, values ...string) {
		lines = append(lines, line{d, s.labels(d.Labels, values), v})
	}
	s.sendSelf(send)
	if s.o.snap == nil {
		return lines
	}
	for i := range s.families {
		f := &s.families[i]
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
				send(&f.Desc, x)
			} else {
				send(&f.Desc, x, p.value)
			}
		}
	}
	return lines
}

func (s *single) sendSelf(send func(d *Desc, v float64, values ...string)) {
	send(&descContainers, float64(s.o.shown))
	send(&descOmitted, float64(s.o.omitted))
	send(&descUnnamed, float64(s.o.unnamed))
	send(&descSuccess, truth(s.o.snap != nil))
	send(&descDuration, s.o.waited.Seconds())
	moduleVersion, schema, module := "", "", false
	for _, name := range source.Names() {
		active := s.o.snap != nil && s.o.snap.Source == name
		send(&descActive, truth(active), name)
		if active && name == source.Kmod {
			moduleVersion, schema, module = s.o.snap.ModuleVersion, s.o.snap.Schema, true
		}
	}
	s.errors.mu.Lock()
	for key, n := range s.errors.counts {
		send(&descErrors, float64(n), key[0], key[1])
	}
	s.errors.mu.Unlock()
	send(&descModule, truth(s.o.loaded))
	send(&descModuleInfo, truth(module), moduleVersion, schema)
	send(&descDockerUp, truth(s.o.dockerUp))
	send(&descDiskTimestamp, seconds(s.o.sizedAt))
	send(&descSequence, float64(s.l.sequence))
	send(&descTimestamp, seconds(s.l.at))
	send(&descCollect, s.l.collect.Seconds())
	send(&descBuild, 1, version.Version, version.GetRevision(), version.Branch, version.GoVersion, version.GoOS, version.GoArch, version.GetTags())
}

// labels are the labels of a sample, and the host's, sorted by name.
func (s *single) labels(names, values []string) string {
	if len(names) == 0 && s.host == "" {
		return ""
	}
	all := make([]string, 0, 8)
	for i, name := range names {
		all = append(all, string(appendLabel(nil, name, values[i])))
	}
	if s.host != "" {
		all = append(all, string(appendLabel(nil, "host", s.host)))
	}
	slices.Sort(all)
	return strings.Join(all, ",")
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
