package collector

import (
	"cmp"

	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/container"
)

// interfaceLabel replaces cAdvisor's interface name: the values are sums over all
// interfaces.
const interfaceLabel = `,interface="all"`

func cadvisorLabels(r *row) []byte { return r.entry.cadvisor }

// cadvisorFamilies returns the metrics of containers under cAdvisor's names, for its
// dashboards and rules.
func cadvisorFamilies() []family {
	desc := func(name string, t Type, help string, more ...string) Desc {
		return Desc{name, t, help, append([]string{"id", "name", "image"}, more...)}
	}
	one := func(name string, t Type, help string, f source.Field) family {
		p := field(f)
		p.labels = cadvisorLabels
		return family{Desc: desc(name, t, help), points: []point{p}}
	}
	network := func(name, help string, f source.Field) family {
		p := field(f)
		p.labels, p.extra = cadvisorLabels, interfaceLabel
		return family{Desc: desc(name, Counter, help+" Summed over the container's interfaces.", "interface"), points: []point{p}}
	}
	computed := func(name string, t Type, help string, u source.Unit, value func(*row) (uint64, bool)) family {
		return family{Desc: desc(name, t, help), points: []point{{labels: cadvisorLabels, unit: u, value: value}}}
	}
	limit := field(source.MemoryLimit)
	cpu := field(source.CPU)
	cpu.labels, cpu.extra = cadvisorLabels, `,cpu="total"`
	return []family{
		{Desc: desc("container_cpu_usage_seconds_total", Counter, "CPU time used by the container, in seconds.", "cpu"), points: []point{cpu}},
		one("container_cpu_user_seconds_total", Counter, "CPU time used by the container in user mode, in seconds.", source.CPUUser),
		one("container_cpu_system_seconds_total", Counter, "CPU time used by the container in kernel mode, in seconds.", source.CPUSystem),
		one("container_cpu_cfs_throttled_seconds_total", Counter, "Time the container was throttled by its CPU limit, in seconds.", source.CPUThrottled),
		computed("container_cpu_cfs_periods_total", Counter, "CPU limit periods in which the container ran.", source.Count, limited(source.CPUPeriods)),
		computed("container_cpu_cfs_throttled_periods_total", Counter, "CPU limit periods in which the container was throttled, out of container_cpu_cfs_periods_total.",
			source.Count, limited(source.CPUThrottledPeriods)),
		computed("container_spec_cpu_quota", Gauge, "CPU time the container may use in each container_spec_cpu_period, in microseconds. Absent if unlimited.",
			source.Count, micros(source.CPUQuota)),
		computed("container_spec_cpu_period", Gauge, "Period of the container's CPU limit, in microseconds.", source.Count, micros(source.CPUPeriod)),
		one("container_memory_rss", Gauge, "Resident memory of the container's processes, in bytes. Summed over processes.", source.RSS),
		one("container_memory_usage_bytes", Gauge, "Memory charged to the container's memory cgroup, including page cache, in bytes.", source.MemoryCgroup),
		computed("container_memory_working_set_bytes", Gauge, "Memory charged to the container minus inactive file cache, in bytes.",
			source.Kilobytes, workingSet),
		computed("container_memory_cache", Gauge, "Memory charged to the container minus resident memory of its processes, in bytes: an estimate of its page cache.", source.Kilobytes, cache),
		one("container_memory_swap", Gauge, "Swapped-out memory of the container, in bytes.", source.Swap),
		computed("container_spec_memory_limit_bytes", Gauge, "Hard limit of the container's memory, in bytes; 0 if unlimited.", source.Kilobytes,
			func(r *row) (uint64, bool) {
				v, _ := limit.value(r)
				return v, true
			}),
		computed("container_fs_usage_bytes", Gauge, "Size of the container's writable layer, in bytes, as last measured by its runtime.", source.Count, diskUsage),
		one("container_fs_reads_bytes_total", Counter, "Bytes read from storage for the container.", source.DiskRead),
		one("container_fs_writes_bytes_total", Counter, "Bytes written to storage for the container.", source.DiskWrite),
		network("container_network_receive_bytes_total", "Bytes received by the container.", source.NetRxBytes),
		network("container_network_transmit_bytes_total", "Bytes sent by the container.", source.NetTxBytes),
		network("container_network_receive_packets_total", "Packets received by the container.", source.NetRxPackets),
		network("container_network_transmit_packets_total", "Packets sent by the container.", source.NetTxPackets),
		one("container_processes", Gauge, "Number of processes in the container.", source.Processes),
		one("container_threads", Gauge, "Number of threads of the container's processes.", source.Threads),
		{
			Desc:   desc("container_health_state", Gauge, "Result of the container's health check: 1 healthy, 0 starting or unhealthy, -1 no health check. Absent while its runtime does not answer, and with the CRI, which has none."),
			points: []point{{labels: cadvisorLabels, signed: true, value: healthState}},
		},
		computed("container_start_time_seconds", Gauge, "Start time of the container's init process, in seconds since the Unix epoch.", source.Nanos,
			func(r *row) (uint64, bool) { return r.started, r.started != 0 }),
		computed("container_last_seen", Gauge, "Time of the last snapshot with the container, in seconds since the Unix epoch.", source.Count,
			func(r *row) (uint64, bool) { return r.seen, true }),
		{
			Desc:   desc("container_oom_events_total", Counter, "Out-of-memory events of the container: the larger of the events reported by its runtime and the processes killed by the kernel. Kept after the container exits, as estiba_container_oom_events_total is."),
			points: []point{{labels: cadvisorLabels, value: oomEventsOrKills}}, ended: true,
		},
	}
}

// micros converts a field from ns to µs.
func micros(f source.Field) func(*row) (uint64, bool) {
	return func(r *row) (uint64, bool) {
		v, ok := r.container.Get(f)
		return v / 1000, ok
	}
}

func workingSet(r *row) (uint64, bool) {
	usage, ok1 := r.container.Get(source.MemoryCgroup)
	inactive, ok2 := r.container.Get(source.MemoryInactiveFile)
	return usage - min(inactive, usage), ok1 && ok2
}

func cache(r *row) (uint64, bool) {
	usage, ok1 := r.container.Get(source.MemoryCgroup)
	rss, ok2 := r.container.Get(source.RSS)
	return usage - min(rss, usage), ok1 && ok2
}

// machineFamilies returns the metrics of the host under cAdvisor's names.
func machineFamilies() []hostFamily {
	return []hostFamily{
		{Desc{"machine_memory_bytes", Gauge, "Total memory of the host, in bytes.", nil}, []hostPoint{{field: source.MemoryTotal}}},
		{Desc{"machine_cpu_cores", Gauge, "Number of online CPUs.", nil}, []hostPoint{{field: source.CPUs}}},
	}
}

// cadvisorEntry returns the labels of cAdvisor's metrics; id is the cgroup path.
func (c *Collector) cadvisorEntry(each *source.Container, info *runtimes.Info) []byte {
	id := each.Cgroup
	if id == "" {
		id = "/" + cmp.Or(each.Runtime, info.Runtime, container.Docker) + "/" + each.Key()
	}
	if each.ID == "" {
		id = "/" + labelID(each)
	}
	b := appendLabel(nil, "id", id)
	b = appendLabel(b, "name", info.Name)
	b = appendLabel(b, "image", info.Image)
	return c.appendExtra(appendPod(b, info), info)
}

// appendPod appends the labels that cAdvisor in the kubelet has. They are absent from a
// container without a pod, as from cAdvisor's own program; to Prometheus an absent label
// is an empty one. The kubelet names a pause container POD, except that of containerd.
func appendPod(b []byte, info *runtimes.Info) []byte {
	one := info.PodContainer
	if one == runtimes.PodPause && info.Runtime == container.Containerd {
		one = ""
	}
	for _, l := range [][2]string{{"container", one}, {"namespace", info.PodNamespace}, {"pod", info.Pod}} {
		if info.Pod != "" && l[1] != "" {
			b = appendLabel(b, l[0], l[1])
		}
	}
	return b
}
