package source

// Unit is the unit of a Field.
type Unit uint8

// The units of fields.
const (
	Count      Unit = iota // a plain number
	Kilobytes              // 1024 bytes
	Nanos                  // nanoseconds
	Hundredths             // of a percent: 17 means 0.17 %
)

// Field is one number of a container.
type Field uint8

// The numbers of a container, in the order of document version 1, see
// kmod/schema/v1.json.
const (
	PID Field = iota
	VSZ
	RSS
	MemoryPercent
	CPUPercent
	CPUWindow
	User // owner of a rootless container; unknown for root's
	InitPID
	StartTime // boot clock
	CPU
	CPUUser
	CPUSystem
	CPUThrottled
	CPUPeriods          // in which it ran under a limit
	CPUThrottledPeriods // those in which it was throttled
	CPUQuota            // CPU time per period; unknown without a limit
	CPUPeriod
	Processes
	Threads
	Swap
	PeakRSS
	MemoryCgroup
	MemoryInactiveFile
	MemoryLimit
	OOMKills
	PressureCPU
	PressureMemory
	PressureIO
	DiskRead
	DiskWrite
	IOReadBytes
	IOWriteBytes
	IOReadCalls
	IOWriteCalls
	MinorFaults
	MajorFaults
	NetRxBytes
	NetTxBytes
	NetRxPackets
	NetTxPackets
	EndedAt // boot clock; only if the state is Ended

	NumFields = int(iota)
)

// FieldInfo describes a Field or a HostField.
type FieldInfo struct {
	Key  string // of document version 1
	Unit Unit
}

var fieldInfos = [NumFields]FieldInfo{
	PID:                 {"pid", Count},
	VSZ:                 {"vsz_kb", Kilobytes},
	RSS:                 {"rss_kb", Kilobytes},
	MemoryPercent:       {"memory_usage_percent", Hundredths},
	CPUPercent:          {"cpu_usage_percent", Hundredths},
	CPUWindow:           {"cpu_window_ns", Nanos},
	User:                {"user_id", Count},
	InitPID:             {"init_pid", Count},
	StartTime:           {"start_time_ns", Nanos},
	CPU:                 {"cpu_ns", Nanos},
	CPUUser:             {"cpu_user_ns", Nanos},
	CPUSystem:           {"cpu_system_ns", Nanos},
	CPUThrottled:        {"cpu_throttled_ns", Nanos},
	CPUPeriods:          {"cpu_periods", Count},
	CPUThrottledPeriods: {"cpu_throttled_periods", Count},
	CPUQuota:            {"cpu_quota_ns", Nanos},
	CPUPeriod:           {"cpu_period_ns", Nanos},
	Processes:           {"processes_count", Count},
	Threads:             {"threads", Count},
	Swap:                {"swap_kb", Kilobytes},
	PeakRSS:             {"peak_rss_kb", Kilobytes},
	MemoryCgroup:        {"memory_cgroup_kb", Kilobytes},
	MemoryInactiveFile:  {"memory_inactive_file_kb", Kilobytes},
	MemoryLimit:         {"memory_limit_kb", Kilobytes},
	OOMKills:            {"oom_kills", Count},
	PressureCPU:         {"pressure_cpu_ns", Nanos},
	PressureMemory:      {"pressure_memory_ns", Nanos},
	PressureIO:          {"pressure_io_ns", Nanos},
	DiskRead:            {"disk_read_bytes", Count},
	DiskWrite:           {"disk_write_bytes", Count},
	IOReadBytes:         {"io_read_bytes", Count},
	IOWriteBytes:        {"io_write_bytes", Count},
	IOReadCalls:         {"io_read_calls", Count},
	IOWriteCalls:        {"io_write_calls", Count},
	MinorFaults:         {"minor_faults", Count},
	MajorFaults:         {"major_faults", Count},
	NetRxBytes:          {"net_rx_bytes", Count},
	NetTxBytes:          {"net_tx_bytes", Count},
	NetRxPackets:        {"net_rx_packets", Count},
	NetTxPackets:        {"net_tx_packets", Count},
	EndedAt:             {"ended_time_ns", Nanos},
}

// Info describes f.
func (f Field) Info() FieldInfo { return fieldInfos[f] }

// HostField is one number of the host, of the snapshot, or of unattributed
// processes.
type HostField uint8

// The numbers of the host, in the order of document version 1.
const (
	Sequence HostField = iota
	Boottime           // boot clock at the start of the snapshot
	Realtime           // wall clock at the same time
	CollectTime
	CPUs
	MemoryTotal
	MemoryFree
	MemoryAvailable
	MemoryUsed
	SwapFree
	HostCPUUser
	HostCPUNice
	HostCPUSystem
	HostCPUIdle
	HostCPUIOWait
	HostCPUIRQ
	HostCPUSoftIRQ
	HostCPUSteal
	HostCPUGuest
	HostCPUGuestNice
	HostCPUBusy
	HostProcesses
	HostThreads
	HostRSS
	EndedCPU
	ContainersFound // above the number in the snapshot only if truncated

	// In the document's object "unattributed".
	UnattributedProcesses
	UnattributedThreads
	UnattributedRSS
	UnattributedVSZ
	UnattributedSwap
	UnattributedCPU

	NumHostFields = int(iota)
)

// FirstUnattributed is the first field of "unattributed"; they extend to the end.
const FirstUnattributed = UnattributedProcesses

var hostFieldInfos = [NumHostFields]FieldInfo{
	Sequence:              {"sequence", Count},
	Boottime:              {"boottime_ns", Nanos},
	Realtime:              {"realtime_ns", Nanos},
	CollectTime:           {"collect_ns", Nanos},
	CPUs:                  {"cpus", Count},
	MemoryTotal:           {"total_memory_kb", Kilobytes},
	MemoryFree:            {"free_memory_kb", Kilobytes},
	MemoryAvailable:       {"available_memory_kb", Kilobytes},
	MemoryUsed:            {"used_memory_kb", Kilobytes},
	SwapFree:              {"free_swap_kb", Kilobytes},
	HostCPUUser:           {"host_cpu_user_ns", Nanos},
	HostCPUNice:           {"host_cpu_nice_ns", Nanos},
	HostCPUSystem:         {"host_cpu_system_ns", Nanos},
	HostCPUIdle:           {"host_cpu_idle_ns", Nanos},
	HostCPUIOWait:         {"host_cpu_iowait_ns", Nanos},
	HostCPUIRQ:            {"host_cpu_irq_ns", Nanos},
	HostCPUSoftIRQ:        {"host_cpu_softirq_ns", Nanos},
	HostCPUSteal:          {"host_cpu_steal_ns", Nanos},
	HostCPUGuest:          {"host_cpu_guest_ns", Nanos},
	HostCPUGuestNice:      {"host_cpu_guest_nice_ns", Nanos},
	HostCPUBusy:           {"host_cpu_busy_ns", Nanos},
	HostProcesses:         {"host_processes", Count},
	HostThreads:           {"host_threads", Count},
	HostRSS:               {"host_rss_kb", Kilobytes},
	EndedCPU:              {"ended_cpu_ns", Nanos},
	ContainersFound:       {"containers", Count},
	UnattributedProcesses: {"processes_count", Count},
	UnattributedThreads:   {"threads", Count},
	UnattributedRSS:       {"rss_kb", Kilobytes},
	UnattributedVSZ:       {"vsz_kb", Kilobytes},
	UnattributedSwap:      {"swap_kb", Kilobytes},
	UnattributedCPU:       {"cpu_ns", Nanos},
}

// Info describes f.
func (f HostField) Info() FieldInfo { return hostFieldInfos[f] }
