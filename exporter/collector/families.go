// Package collector turns one snapshot into one exposition.
package collector

import (
	"github.com/estiba/estiba/exporter/source"
)

// Type is the type of a metric, as it stands behind # TYPE.
type Type string

// The types in use.
const (
	Gauge   Type = "gauge"
	Counter Type = "counter"
)

// Desc describes one metric.
type Desc struct {
	Name   string
	Type   Type
	Help   string
	Labels []string // `host` comes on top where --host is given
}

// unit says how a sample's number is written.
type unit uint8

const (
	plain      unit = iota
	kilobytes       // ×1024
	nanos           // as seconds
	hundredths      // as a percentage with decimals
)

// family is a metric with one sample, or a few, a container.
type family struct {
	Desc
	points []point
}

// point is one sample of a container.
type point struct {
	extra  string // further labels, `,resource="cpu"`
	labels func(*row) []byte
	value  func(*row) (uint64, bool)
	unit   unit
}

func idLabels(r *row) []byte { return r.entry.labels }

// field is the value of a field, in the unit that it has in a snapshot.
func field(f source.Field) point {
	units := map[source.Unit]unit{source.Count: plain, source.Kilobytes: kilobytes, source.Nanos: nanos, source.Hundredths: hundredths}
	return point{labels: idLabels, unit: units[f.Info().Unit], value: func(r *row) (uint64, bool) { return r.container.Get(f) }}
}

func resource(name string, f source.Field) point {
	p := field(f)
	p.extra = `,resource="` + name + `"`
	return p
}

func idName(more ...string) []string { return append([]string{"id", "name"}, more...) }

// containerFamilies are the metrics of containers under Estiba's names.
func containerFamilies() []family {
	one := func(name string, t Type, help string, f source.Field) family {
		return family{Desc{name, t, help, idName()}, []point{field(f)}}
	}
	return []family{
		{Desc{"estiba_container_info", Gauge, "What a container is, always 1: its full id, its image, kind and estiba labels, the container runtime's namespace and the compose project, as Docker tells them; empty while Docker has not told. Labels of the allowlist follow as container_label_NAME.",
			idName("container_id", "image", "kind", "managed", "protected", "namespace", "compose_project", "compose_service")},
			[]point{{labels: func(r *row) []byte { return r.entry.info }, value: func(*row) (uint64, bool) { return 1, true }}}},
		{Desc{"estiba_container_start_time_seconds", Gauge, "When the container's first process started, in seconds since 1970.", idName()},
			[]point{{labels: idLabels, unit: nanos, value: func(r *row) (uint64, bool) { return r.started, r.started != 0 }}}},
		one("estiba_container_processes", Gauge, "Processes of the container: all live descendants of its shim, the shim not counted.", source.Processes),
		one("estiba_container_threads", Gauge, "Threads of the container's processes.", source.Threads),
		one("estiba_container_cpu_seconds_total", Counter, "CPU time the container used, in seconds, from its cgroup, else summed over its processes.", source.CPU),
		one("estiba_container_cpu_user_seconds_total", Counter, "Part of the container's CPU time spent in user code, in seconds.", source.CPUUser),
		one("estiba_container_cpu_system_seconds_total", Counter, "Part of the container's CPU time spent in the kernel, in seconds.", source.CPUSystem),
		one("estiba_container_cpu_usage_percent", Gauge, "CPU use over the last completed window of at least one second, in percent of one core: 100 is one core busy.", source.CPUPercent),
		one("estiba_container_memory_usage_percent", Gauge, "Resident memory of the container's processes in percent of the host's memory.", source.MemoryPercent),
		one("estiba_container_memory_rss_bytes", Gauge, "Resident memory of the container's processes, summed, in bytes: a page that two processes share counts twice.", source.RSS),
		one("estiba_container_memory_vsz_bytes", Gauge, "Virtual memory of the container's processes, summed, in bytes.", source.VSZ),
		one("estiba_container_memory_swap_bytes", Gauge, "Swapped-out memory of the container, in bytes.", source.Swap),
		one("estiba_container_memory_usage_bytes", Gauge, "Memory charged to the container's memory cgroup, page cache included, in bytes.", source.MemoryCgroup),
		one("estiba_container_memory_limit_bytes", Gauge, "Hard limit of the container's memory cgroup, in bytes. Absent when unlimited.", source.MemoryLimit),
		one("estiba_container_disk_read_bytes_total", Counter, "Bytes read from storage for the container. From the module and on cgroup v1: as its processes are charged, on cgroup v2: as the block layer moved them.", source.DiskRead),
		one("estiba_container_disk_written_bytes_total", Counter, "Bytes the container caused to be written to storage. From the module and on cgroup v1: as its processes are charged, when the page is dirtied, on cgroup v2: as the block layer moved them.", source.DiskWrite),
		{Desc{"estiba_container_disk_usage_bytes", Gauge, "Size of the container's writable layer in bytes, as Docker last measured it: estiba_disk_usage_timestamp_seconds says when.", idName()},
			[]point{{labels: idLabels, value: func(r *row) (uint64, bool) { return r.diskUsage, r.diskUsageKnown }}}},
		one("estiba_container_io_read_bytes_total", Counter, "Bytes the container's processes asked to read, from files, pipes, sockets and terminals, whether storage was touched or not.", source.IOReadBytes),
		one("estiba_container_io_written_bytes_total", Counter, "Bytes the container's processes asked to write, to files, pipes, sockets and terminals, whether storage was touched or not.", source.IOWriteBytes),
		one("estiba_container_io_reads_total", Counter, "Read system calls of the container's processes.", source.IOReadCalls),
		one("estiba_container_io_writes_total", Counter, "Write system calls of the container's processes.", source.IOWriteCalls),
		one("estiba_container_network_receive_bytes_total", Counter, "Bytes received by the interfaces of the container's own network namespace, loopback left out. Absent with the host's network.", source.NetRxBytes),
		one("estiba_container_network_transmit_bytes_total", Counter, "Bytes sent by the interfaces of the container's own network namespace, loopback left out. Absent with the host's network.", source.NetTxBytes),
		one("estiba_container_network_receive_packets_total", Counter, "Packets received by the interfaces of the container's own network namespace, loopback left out. Absent with the host's network.", source.NetRxPackets),
		one("estiba_container_network_transmit_packets_total", Counter, "Packets sent by the interfaces of the container's own network namespace, loopback left out. Absent with the host's network.", source.NetTxPackets),
		one("estiba_container_oom_kills_total", Counter, "Processes of the container's memory cgroup that the kernel killed for lack of memory.", source.OOMKills),
		one("estiba_container_cpu_throttled_seconds_total", Counter, "Time the container's CPU limit kept it from running, in seconds, from its cgroup, with both sources.", source.CPUThrottled),
		{Desc{"estiba_container_pressure_waiting_seconds_total", Counter, "Time in which some task of the container waited for the resource (cpu, memory, io), in seconds, from the pressure stall information of its cgroup.", idName("resource")},
			[]point{resource("cpu", source.PressureCPU), resource("memory", source.PressureMemory), resource("io", source.PressureIO)}},
	}
}

// labelErrors is written apart: a container can have any number of them.
func labelErrors() Desc {
	return Desc{"estiba_container_label_errors", Gauge, "An estiba label of the container that is unknown or has a value outside its vocabulary, always 1.", idName("label")}
}
