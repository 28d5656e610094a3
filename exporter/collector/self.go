package collector

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/version"

	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
)

// hostFamily is a metric with one or a few samples per host.
type hostFamily struct {
	Desc
	points []hostPoint
}

type hostPoint struct {
	value string // of the family's only label
	field source.HostField
}

// hostFamilies returns the metrics of the host.
func hostFamilies() []hostFamily {
	one := func(name string, t Type, help string, f source.HostField) hostFamily {
		return hostFamily{Desc{name, t, help, nil}, []hostPoint{{field: f}}}
	}
	return []hostFamily{
		one("estiba_host_memory_total_bytes", Gauge, "Total memory of the host, in bytes (MemTotal).", source.MemoryTotal),
		one("estiba_host_memory_free_bytes", Gauge, "Unused memory, in bytes (MemFree).", source.MemoryFree),
		one("estiba_host_memory_available_bytes", Gauge, "Memory available to new programs without swapping, in bytes (MemAvailable).", source.MemoryAvailable),
		one("estiba_host_memory_used_bytes", Gauge, "Total minus free memory, in bytes, including page cache.", source.MemoryUsed),
		one("estiba_host_cpus", Gauge, "Number of online CPUs.", source.CPUs),
		{
			Desc{"estiba_host_cpu_seconds_total", Counter, "CPU time of all CPUs by mode since boot, in seconds (/proc/stat). Guest time is part of user and nice.", []string{"mode"}},
			[]hostPoint{
				{"user", source.HostCPUUser},
				{"nice", source.HostCPUNice},
				{"system", source.HostCPUSystem},
				{"idle", source.HostCPUIdle},
				{"iowait", source.HostCPUIOWait},
				{"irq", source.HostCPUIRQ},
				{"softirq", source.HostCPUSoftIRQ},
				{"steal", source.HostCPUSteal},
			},
		},
		one("estiba_unattributed_cpu_seconds_total", Counter, "CPU time of the host that belongs to no container, in seconds: busy time minus the CPU time of all running containers and of those that exited since the source started.", source.UnattributedCPU),
		one("estiba_unattributed_memory_rss_bytes", Gauge, "Resident memory of all processes that belong to no container, including shims, in bytes. Summed over processes.", source.UnattributedRSS),
		one("estiba_unattributed_processes", Gauge, "Number of processes that belong to no container: processes of the host, shims and kernel threads.", source.UnattributedProcesses),
	}
}

// Metrics of the exporter, present in every exposition.
var (
	descContainers    = Desc{"estiba_containers", Gauge, "Number of containers in this exposition.", nil}
	descOmitted       = Desc{"estiba_containers_omitted", Gauge, "Number of containers that were found and left out of this exposition: above --limit.containers, above a limit of the source, or with a duplicate id.", nil}
	descUnnamed       = Desc{"estiba_containers_unnamed", Gauge, "Number of containers in this exposition that their runtime has not reported (yet). Those of Docker count always, those of Podman and Kubernetes if estiba_runtime_up has the runtime; LXC, systemd-nspawn, and containerd without Kubernetes never.", nil}
	descUnseen        = Desc{"estiba_containers_unseen", Gauge, "Number of containers that a runtime has reported as running for more than 10 s without a visible process, including containers of unsupported runtimes. Not those whose usage is in the row of their pod's sandbox (Kata Containers, gVisor). From the last scrape with a snapshot; containers of a runtime that does not answer do not count.", nil}
	descSuccess       = Desc{"estiba_scrape_success", Gauge, "Whether the source returned a snapshot for this scrape.", nil}
	descDuration      = Desc{"estiba_scrape_duration_seconds", Gauge, "Time this scrape waited for its snapshot, in seconds.", nil}
	descActive        = Desc{"estiba_source_active", Gauge, "Whether the source provided the snapshot of this scrape.", []string{"source"}}
	descErrors        = Desc{"estiba_source_errors_total", Counter, "Errors of the source by reason: scrapes without a snapshot, and items left out of snapshots (process, line: not readable or not parsable; runtime: container of an unsupported runtime; cgroup_namespace: cgroup outside the exporter's namespace).", []string{"source", "reason"}}
	descModule        = Desc{"estiba_kernel_module_loaded", Gauge, "Whether the kernel module's document exists, readable or not.", nil}
	descModuleInfo    = Desc{"estiba_kernel_module_info", Gauge, "Version of the kernel module and of its document schema; 0 with empty labels while the module is not the source.", []string{"version", "schema"}}
	descDockerUp      = Desc{"estiba_docker_up", Gauge, "Whether the Docker Engine answers and its event stream is open.", nil}
	descRuntimeUp     = Desc{"estiba_runtime_up", Gauge, "Whether all endpoints of the runtime answer and are followed: docker, podman (root's and those of users with containers), cri (containerd or CRI-O with Kubernetes). Absent for a runtime that is neither configured nor found.", []string{"runtime"}}
	descDiskTimestamp = Desc{"estiba_disk_usage_timestamp_seconds", Gauge, "Time of the last measurement of writable layers, in seconds since the Unix epoch; 0 before the first.", nil}
	descSequence      = Desc{"estiba_snapshot_sequence", Gauge, "Sequence number of the last snapshot since its source started.", nil}
	descTimestamp     = Desc{"estiba_snapshot_timestamp_seconds", Gauge, "Collection time of the last snapshot, in seconds since the Unix epoch.", nil}
	descCollect       = Desc{"estiba_snapshot_collect_seconds", Gauge, "Duration of the collection of the last snapshot, in seconds.", nil}
	descBuild         = Desc{
		"estiba_exporter_build_info", Gauge, "Build information of the exporter, always 1.",
		[]string{"version", "revision", "branch", "goversion", "goos", "goarch", "tags"},
	}
)

func selfDescs() []Desc {
	return []Desc{
		descContainers, descOmitted, descUnnamed, descUnseen, descSuccess, descDuration, descActive, descErrors,
		descModule, descModuleInfo, descDockerUp, descRuntimeUp, descDiskTimestamp, descSequence, descTimestamp, descCollect, descBuild,
	}
}

// outcome is the result of one scrape.
type outcome struct {
	snap     *source.Snapshot // nil: none
	err      error
	waited   time.Duration
	shown    int
	omitted  int
	unnamed  int
	unseen   int
	loaded   bool // the module's document exists
	runtimes []runtimes.Status
	sizedAt  time.Time
}

// last has the values of the last snapshot.
type last struct {
	sequence uint64
	at       time.Time
	collect  time.Duration
}

// errorCounter counts failed scrapes and items left out of snapshots. Every combination
// of labels starts at 0.
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

// skipped takes the counts of items left out.
func (c *errorCounter) skipped(snap *source.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for reason, n := range snap.Skipped {
		key := [2]string{snap.Source, string(reason)}
		c.counts[key] = max(c.counts[key], n)
	}
}

// single has the metrics of the host and of the exporter in one scrape.
type single struct {
	host     string
	families []hostFamily
	o        outcome
	l        last
	errors   *errorCounter
}

// line is one sample of single.
type line struct {
	desc   *Desc
	labels string
	value  float64
}

// write writes the samples sorted by name and labels.
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
	send(&descUnseen, float64(s.o.unseen))
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
	docker := false
	for _, r := range s.o.runtimes {
		send(&descRuntimeUp, truth(r.Up), r.Kind)
		docker = docker || r.Kind == runtimes.Docker && r.Up
	}
	send(&descDockerUp, truth(docker))
	send(&descDiskTimestamp, seconds(s.o.sizedAt))
	send(&descSequence, float64(s.l.sequence))
	send(&descTimestamp, seconds(s.l.at))
	send(&descCollect, s.l.collect.Seconds())
	send(&descBuild, 1, version.Version, version.GetRevision(), version.Branch, version.GoVersion, version.GoOS, version.GoArch, version.GetTags())
}

// labels returns the labels of a sample, including host, sorted by name.
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
