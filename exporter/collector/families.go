// Package collector turns one snapshot into one exposition.
package collector

import (
	"fmt"
	"strconv"
	"time"

	"github.com/estiba/estiba/exporter/source"
)

// Type is the type of a metric, as in # TYPE.
type Type string

// Types of metrics.
const (
	Gauge   Type = "gauge"
	Counter Type = "counter"
)

// Desc describes one metric.
type Desc struct {
	Name   string
	Type   Type
	Help   string
	Labels []string // plus `host` with --host
}

// family is a metric with one or a few samples per container.
type family struct {
	Desc
	points []point
	ended  bool // includes containers without a row, see Collector.ended
}

// point is one sample of a container.
type point struct {
	extra  string // additional labels, `,resource="cpu"`
	labels func(*row) []byte
	value  func(*row) (uint64, bool)
	unit   source.Unit
	signed bool // value is an int64
}

func idLabels(r *row) []byte { return r.entry.labels }

// field returns a point with the value of a field.
func field(f source.Field) point {
	return point{labels: idLabels, unit: f.Info().Unit, value: func(r *row) (uint64, bool) { return r.container.Get(f) }}
}

func resource(name string, f source.Field) point {
	p := field(f)
	p.extra = `,resource="` + name + `"`
	return p
}

func idName(more ...string) []string { return append([]string{"id", "name"}, more...) }

// containerFamilies returns the metrics of containers under Estiba's names.
func containerFamilies() []family {
	one := func(name string, t Type, help string, f source.Field) family {
		return family{Desc: Desc{name, t, help, idName()}, points: []point{field(f)}}
	}
	return []family{
		{
			Desc: Desc{
				"estiba_container_info", Gauge, "Information about the container, always 1: full id, image as named at creation, kind and estiba labels, namespace of the shim, runtime (docker, containerd, cri-o, podman, kata, lxc, systemd-nspawn), compose project and service, and in a pod the pod's name and namespace and the container's name, POD for the one that only holds the namespaces. A label without a report from the runtime (yet) is empty; managed and protected are then neither true nor false. Allowed labels follow as container_label_NAME.",
				idName("container_id", "image", "kind", "managed", "protected", "namespace", "runtime",
					"compose_project", "compose_service", "pod", "pod_namespace", "pod_container"),
			},
			points: []point{{labels: func(r *row) []byte { return r.entry.info }, value: func(*row) (uint64, bool) { return 1, true }}},
		},
		{
			Desc: Desc{
				"estiba_container_start_time_seconds", Gauge, "Start time of the container's init process, in seconds since the Unix epoch.",
				idName(),
			},
			points: []point{{labels: idLabels, unit: source.Nanos, value: func(r *row) (uint64, bool) { return r.started, r.started != 0 }}},
		},
		one("estiba_container_processes", Gauge, "Number of processes in the container: all live descendants of its shim, without the shim.", source.Processes),
		one("estiba_container_threads", Gauge, "Number of threads of the container's processes.", source.Threads),
		one("estiba_container_cpu_seconds_total", Counter, "CPU time used by the container, in seconds: from its cgroup, or summed over its processes if the cgroup has no CPU time.", source.CPU),
		one("estiba_container_cpu_user_seconds_total", Counter, "CPU time used by the container in user mode, in seconds.", source.CPUUser),
		one("estiba_container_cpu_system_seconds_total", Counter, "CPU time used by the container in kernel mode, in seconds.", source.CPUSystem),
		one("estiba_container_cpu_usage_percent", Gauge, "CPU usage over the last complete window of at least one second, in percent of one core.", source.CPUPercent),
		one("estiba_container_memory_rss_percent", Gauge, "Resident memory of the container's processes, in percent of the host's memory.",
			source.MemoryPercent),
		one("estiba_container_memory_rss_bytes", Gauge, "Resident memory of the container's processes, in bytes. Summed over processes: a page shared by two processes counts twice.", source.RSS),
		one("estiba_container_memory_vsz_bytes", Gauge, "Virtual memory of the container's processes, in bytes. Summed over processes.", source.VSZ),
		one("estiba_container_memory_swap_bytes", Gauge, "Swapped-out memory of the container, in bytes.", source.Swap),
		one("estiba_container_memory_usage_bytes", Gauge, "Memory charged to the container's memory cgroup, including page cache, in bytes.", source.MemoryCgroup),
		{
			Desc:   Desc{"estiba_container_memory_working_set_bytes", Gauge, "Memory charged to the container's memory cgroup minus inactive file cache, in bytes: the part that the kernel cannot easily reclaim. Compare this with the limit.", idName()},
			points: []point{{labels: idLabels, unit: source.Kilobytes, value: workingSet}},
		},
		one("estiba_container_memory_limit_bytes", Gauge, "Hard limit of the container's memory cgroup, in bytes. Absent if unlimited.", source.MemoryLimit),
		one("estiba_container_disk_read_bytes_total", Counter, "Bytes read from storage for the container. Kernel module and cgroup v1: as charged to its processes. cgroup v2: as transferred by the block layer, counted once on whole devices and not again in the layers above them (LVM, LUKS, md, loop).", source.DiskRead),
		one("estiba_container_disk_written_bytes_total", Counter, "Bytes written to storage for the container. Kernel module and cgroup v1: as charged to its processes when a page is dirtied. cgroup v2: as transferred by the block layer, counted on whole devices (on each disk of a mirror) and not again in the layers above them (LVM, LUKS, md, loop).", source.DiskWrite),
		{
			Desc:   Desc{"estiba_container_disk_usage_bytes", Gauge, "Size of the container's writable layer, in bytes, as last measured by its runtime at estiba_disk_usage_timestamp_seconds or later.", idName()},
			points: []point{{labels: idLabels, value: diskUsage}},
		},
		one("estiba_container_io_read_bytes_total", Counter, "Bytes read by the container's processes through system calls, from files, pipes, sockets and terminals, with or without access to storage.", source.IOReadBytes),
		one("estiba_container_io_written_bytes_total", Counter, "Bytes written by the container's processes through system calls, to files, pipes, sockets and terminals, with or without access to storage.", source.IOWriteBytes),
		one("estiba_container_io_reads_total", Counter, "Read system calls of the container's processes.", source.IOReadCalls),
		one("estiba_container_io_writes_total", Counter, "Write system calls of the container's processes.", source.IOWriteCalls),
		one("estiba_container_network_receive_bytes_total", Counter, "Bytes received by the interfaces of the container's own network namespace, without loopback. Absent in the host's network and in the network of another container, which has the samples.", source.NetRxBytes),
		one("estiba_container_network_transmit_bytes_total", Counter, "Bytes sent by the interfaces of the container's own network namespace, without loopback. Absent in the host's network and in the network of another container, which has the samples.", source.NetTxBytes),
		one("estiba_container_network_receive_packets_total", Counter, "Packets received by the interfaces of the container's own network namespace, without loopback. Absent in the host's network and in the network of another container, which has the samples.", source.NetRxPackets),
		one("estiba_container_network_transmit_packets_total", Counter, "Packets sent by the interfaces of the container's own network namespace, without loopback. Absent in the host's network and in the network of another container, which has the samples.", source.NetTxPackets),
		one("estiba_container_oom_kills_total", Counter, "Processes in the container's memory cgroup killed by the kernel's OOM killer. The series ends with the container, so the kill of an init process is usually missing: see estiba_container_oom_events_total.", source.OOMKills),
		{
			Desc:   Desc{"estiba_container_oom_events_total", Counter, fmt.Sprintf("Out-of-memory events of the container, as reported by its runtime since the exporter started: its events, or with Podman and the CRI the exits for this reason. Absent until the runtime reports the container. Kept after the container exits: up to %s after the last event, for the last %d exited containers, and never longer than the runtime keeps the container.", words(endedFor), endedLimit), idName()},
			points: []point{{labels: idLabels, value: oomEvents}}, ended: true,
		},
		{
			Desc:   Desc{"estiba_container_state", Gauge, "State of the container as reported by its runtime (created, running, paused, restarting, removing, exited, dead), always 1. Includes the last " + strconv.Itoa(endedLimit) + " containers that stopped running, until the runtime removes them. Absent while the runtime does not answer.", idName("state")},
			points: []point{{labels: func(r *row) []byte { return r.entry.state }, value: stateKnown}}, ended: true,
		},
		{
			Desc:   Desc{"estiba_container_exit_code", Gauge, "Exit code of the container, also if it could not be started: 128 plus the signal number if a signal ended it, so 137 after SIGKILL. Absent while the container runs. Same containers as estiba_container_state.", idName()},
			points: []point{{labels: idLabels, value: exitCode, signed: true}}, ended: true,
		},
		{
			Desc:   Desc{"estiba_container_restarts_total", Counter, "Restarts of the container by its restart policy since it was last started by request; in Kubernetes, how many containers of this name its pod had before. Same containers as estiba_container_state.", idName()},
			points: []point{{labels: idLabels, value: restarts}}, ended: true,
		},
		{
			Desc:   Desc{"estiba_container_health", Gauge, "Result of the container's health check (starting, healthy, unhealthy), always 1. Absent without a health check, while the container does not run, and with the CRI, which has none.", idName("status")},
			points: []point{{labels: func(r *row) []byte { return r.entry.health }, value: healthKnown}}, ended: true,
		},
		{
			Desc:   Desc{"estiba_container_not_understood", Gauge, "Running container whose usage cannot be read, always 1: its runtime keeps the processes in a virtual machine (Kata Containers) or its shim does not identify the container (gVisor). In Kubernetes the usage may be in the row of the pod's sandbox. The label runtime is the runtime, or the program of the shim.", idName("runtime")},
			points: []point{{labels: func(r *row) []byte { return r.entry.machine }, value: unsupported}}, ended: true,
		},
		one("estiba_container_cpu_throttled_seconds_total", Counter, "Time the container was throttled by its CPU limit, in seconds, from its cgroup with either source.", source.CPUThrottled),
		{
			Desc:   Desc{"estiba_container_cpu_limit_cores", Gauge, "CPU limit of the container, in cores: quota divided by period of its cgroup. Absent if unlimited. A change shows after at most 30 s in which the container runs.", idName()},
			points: []point{{labels: idLabels, unit: source.Nanos, value: cpuLimit}},
		},
		{
			Desc:   Desc{"estiba_container_cpu_periods_total", Counter, "CPU limit periods in which the container ran. Absent if the container never had a CPU limit.", idName()},
			points: []point{{labels: idLabels, value: limited(source.CPUPeriods)}},
		},
		{
			Desc:   Desc{"estiba_container_cpu_throttled_periods_total", Counter, "CPU limit periods in which the container was throttled, out of estiba_container_cpu_periods_total.", idName()},
			points: []point{{labels: idLabels, value: limited(source.CPUThrottledPeriods)}},
		},
		{
			Desc:   Desc{"estiba_container_pressure_waiting_seconds_total", Counter, "Time in which at least one task of the container waited for the resource (cpu, memory, io), in seconds, from the pressure stall information (PSI) of its cgroup.", idName("resource")},
			points: []point{resource("cpu", source.PressureCPU), resource("memory", source.PressureMemory), resource("io", source.PressureIO)},
		},
	}
}

func diskUsage(r *row) (uint64, bool) { return r.diskUsage, r.diskUsageKnown }

// cpuLimit returns the CPU limit in billionths of a core, rounded to millionths.
func cpuLimit(r *row) (uint64, bool) {
	quota, ok1 := r.container.Get(source.CPUQuota)
	period, ok2 := r.container.Get(source.CPUPeriod)
	if !ok1 || !ok2 || period == 0 {
		return 0, false
	}
	return uint64(float64(quota)/float64(period)*1e6+0.5) * 1000, true
}

// limited returns a field only for containers that have, or had, a CPU limit.
func limited(f source.Field) func(*row) (uint64, bool) {
	return func(r *row) (uint64, bool) {
		v, ok := r.container.Get(f)
		periods, _ := r.container.Get(source.CPUPeriods)
		_, now := r.container.Get(source.CPUQuota)
		return v, ok && (now || periods > 0)
	}
}

// words formats whole hours for help texts.
func words(d time.Duration) string { return fmt.Sprintf("%d h", d/time.Hour) }

// labelErrors is separate from the families: a container can have any number of errors.
func labelErrors() Desc {
	return Desc{"estiba_container_label_errors", Gauge, "Invalid estiba label of the container, always 1: an unknown label or a value that is not allowed.", idName("label")}
}
