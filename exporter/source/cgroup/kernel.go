package cgroup

import "github.com/estiba/estiba/exporter/source/cgroup/procfile"

// Kernel reads the processes and cgroups of this host in one pass, without the files of
// each.
type Kernel interface {
	// Ready returns the error of a Kernel that this host does not have, before anything else
	// is read.
	Ready() error
	// Read returns what the kernel has now. It is valid until the next call.
	Read() (*Pass, error)
}

// Pass is what a Kernel read at one time.
type Pass struct {
	Processes []KernelProcess // in the order of their PIDs
	Groups    []KernelGroup   // for each combination of cgroups that a process is in
	Devices   []KernelDevice

	// Threads has a live thread of each process whose main thread has exited: the memory and
	// the cgroups are its.
	Threads []KernelProcess

	HasIO       bool // KernelProcess.IO is counted
	HasPressure bool // pressure stall times are
}

// KernelProcess is one process.
type KernelProcess struct {
	PID, Parent int
	Name        [16]byte // ends with a NUL
	Start       uint64   // ns, boot clock
	Exit        uint32   // task_struct.exit_state; 0: its main thread lives
	Incomplete  bool     // the sums over its threads lack some: its files are to be read
	Set         uint64   // its combination of cgroups, see KernelGroup
	Network     uint32   // inode of its network namespace; 0: unknown
	Threads     uint64

	VSZ, RSS     uint64 // pages
	Minor, Major uint64 // faults, including reaped children

	// CPU time in ns. User and System are samples, Runtime is exact. None includes reaped
	// children, ChildrenUser and ChildrenSystem are theirs.
	User, System, Runtime, ChildrenUser, ChildrenSystem uint64

	IO [procfile.NumIO]uint64 // as in /proc/PID/io
}

// KernelGroup has the numbers of the cgroups of a combination. An id is the inode of the
// cgroup where the controller is enabled, 0 if unknown; Below is the number of cgroups
// below it, removed ones included that still have memory.
type KernelGroup struct {
	Set  uint64
	Hash uint64 // of the ids of its cgroups in all hierarchies

	Unified struct {
		ID, Below             uint64
		HasTimes              bool
		User, System, Runtime uint64 // ns, without the cgroups below
		HasPressure           bool
		Pressure              [3]uint64 // ns: I/O, memory, CPU
	}
	CPU struct {
		ID                        uint64
		Unified                   bool   // it is of the v2 hierarchy
		Period, Quota             uint64 // ns; NoQuota
		Periods, ThrottledPeriods uint64
		Throttled                 uint64 // ns
	}
	Memory struct {
		ID, Below        uint64
		Unified          bool
		Usage, Max, Swap uint64 // pages
		OOMKills         uint64
		InactiveFile     uint64 // pages, without the cgroups below
		HasInactive      bool
	}
	Cpuacct struct {
		ID                  uint64
		HasTimes            bool
		Usage, User, System uint64 // ns
	}
	IO struct {
		ID, Below  uint64
		Unified    bool
		HasDevices bool // Pass.Devices has its devices
	}
}

// NoQuota is the Quota of a cgroup without a CPU limit (RUNTIME_INF).
const NoQuota = ^uint64(0)

// KernelDevice has the bytes that a cgroup of the v2 hierarchy, without those below it,
// moved to and from a block device.
type KernelDevice struct {
	Group        uint64 // id, as in KernelGroup.IO
	Major, Minor uint32
	Read         uint64
	Written      uint64
	Cut          bool // there are more devices than those of the pass
}
