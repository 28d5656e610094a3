package collector

import (
	"github.com/estiba/estiba/exporter/names"
	"github.com/estiba/estiba/exporter/source"
)

// interfaceLabel stands where cAdvisor names a network interface: the numbers
// are sums over all of a container's interfaces.
const interfaceLabel = `,interface="all"`

func cadvisorLabels(r *row) []byte { return r.entry.cadvisor }

// cadvisorFamilies are the metrics of containers under cAdvisor's names, so
// that its dashboards and rules go on working.
func cadvisorFamilies() []family {
	desc := func(name string, t Type, help string, more ...string) Desc {
		return Desc{name, t, help, append([]string{"id", "name", "image"}, more...)}
	}
	one := func(name string, t Type, help string, f source.Field) family {
		p := field(f)
		p.labels = cadvisorLabels
		return family{desc(name, t, help), []point{p}}
	}
	network := func(name, help string, f source.Field) family {
		p := field(f)
		p.labels, p.extra = cadvisorLabels, interfaceLabel
		return family{desc(name, Counter, help+" Summed over the container's interfaces.", "interface"), []point{p}}
	}
	computed := func(name string, t Type, help string, u unit, value func(*row) (uint64, bool)) family {
		return family{desc(name, t, help), []point{{labels: cadvisorLabels, unit: u, value: value}}}
	}
	limit := field(source.MemoryLimit)
	cpu := field(source.CPU)
	cpu.labels, cpu.extra = cadvisorLabels, `,cpu="total"`
	return []family{
		{desc("container_cpu_usage_seconds_total", Counter, "CPU time the container used, in seconds.", "cpu"), []point{cpu}},
		one("container_cpu_user_seconds_total", Counter, "Part of the container's CPU time spent in user code, in seconds.", source.CPUUser),
		one("container_cpu_system_seconds_total", Counter, "Part of the container's CPU time spent in the kernel, in seconds.", source.CPUSystem),
		one("container_cpu_cfs_throttled_seconds_total", Counter, "Time the container's CPU limit kept it from running, in seconds.", source.CPUThrottled),
		one("container_memory_rss", Gauge, "Resident memory of the container's processes, summed, in bytes.", source.RSS),
		one("container_memory_usage_bytes", Gauge, "Memory charged to the container's memory cgroup, page cache included, in bytes.", source.MemoryCgroup),
		computed("container_memory_working_set_bytes", Gauge, "Memory charged to the container minus page cache not used lately, in bytes.", kilobytes, workingSet),
		computed("container_memory_cache", Gauge, "Memory charged to the container minus what its processes have resident, in bytes: about its page cache.", kilobytes, cache),
		one("container_memory_swap", Gauge, "Swapped-out memory of the container, in bytes.", source.Swap),
		computed("container_spec_memory_limit_bytes", Gauge, "Hard limit of the container's memory, in bytes; 0: none.", kilobytes, func(r *row) (uint64, bool) {
			v, _ := limit.value(r)
			return v, true
		}),
		one("container_fs_reads_bytes_total", Counter, "Bytes read from storage for the container.", source.DiskRead),
		one("container_fs_writes_bytes_total", Counter, "Bytes the container caused to be written to storage.", source.DiskWrite),
		network("container_network_receive_bytes_total", "Bytes received by the container.", source.NetRxBytes),
		network("container_network_transmit_bytes_total", "Bytes sent by the container.", source.NetTxBytes),
		network("container_network_receive_packets_total", "Packets received by the container.", source.NetRxPackets),
		network("container_network_transmit_packets_total", "Packets sent by the container.", source.NetTxPackets),
		one("container_processes", Gauge, "Processes of the container.", source.Processes),
		one("container_threads", Gauge, "Threads of the container's processes.", source.Threads),
		computed("container_start_time_seconds", Gauge, "When the container's first process started, in seconds since 1970.", nanos,
			func(r *row) (uint64, bool) { return r.started, r.started != 0 }),
		computed("container_last_seen", Gauge, "When the container was last seen, in seconds since 1970.", plain,
			func(r *row) (uint64, bool) { return r.seen, true }),
		one("container_oom_events_total", Counter, "Processes of the container that the kernel killed for lack of memory.", source.OOMKills),
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

// machineFamilies are cAdvisor's names of the host's metrics.
func machineFamilies() []hostFamily {
	return []hostFamily{
		{Desc{"machine_memory_bytes", Gauge, "Memory the kernel manages, in bytes.", nil}, []hostPoint{{field: source.MemoryTotal}}},
		{Desc{"machine_cpu_cores", Gauge, "CPUs online.", nil}, []hostPoint{{field: source.CPUs}}},
	}
}

// cadvisorEntry makes the label bytes that cAdvisor's metrics have: the id is
// the container's cgroup path.
func (c *Collector) cadvisorEntry(each *source.Container, info *names.Info) []byte {
	id := each.Cgroup
	if id == "" {
		id = "/docker/" + each.ID
	}
	if each.ID == "" {
		id = "/" + labelID(each)
	}
	b := appendLabel(nil, "id", id)
	b = appendLabel(b, "name", info.Name)
	b = appendLabel(b, "image", info.Image)
	return c.appendExtra(b, info)
}
