package cgroup

import (
	"errors"
	"io/fs"
	"maps"

	"github.com/estiba/estiba/exporter/source"
)

// Missing is a kind of data that the source cannot read on this host, or without
// more privileges. The fields that depend on it are absent from snapshots.
type Missing string

// The kinds of missing data.
const (
	// MissingIO and MissingNetwork require CAP_SYS_PTRACE (ptrace(2), "Ptrace access mode
	// checking"), which root has.
	MissingIO      Missing = "io"
	MissingNetwork Missing = "network"
	// MissingFiles requires CAP_DAC_READ_SEARCH before Linux 6.2.
	MissingFiles Missing = "files"
	// MissingCgroup is a container's cgroup that is not below Config.CgroupFS.
	MissingCgroup Missing = "cgroup"
	// MissingRuntime is a container without an id: neither its shim nor its cgroup has one.
	MissingRuntime Missing = "runtime"
	// MissingProcesses are processes that /proc hides.
	MissingProcesses Missing = "processes"
	// MissingHost is /proc/meminfo or /proc/stat.
	MissingHost Missing = "host"
)

// Effect describes which data is missing and why.
func (m Missing) Effect() string {
	switch m {
	case MissingIO:
		return "no I/O activity of containers, and with cgroup v1 no disk traffic: /proc/PID/io of other users' processes requires root (CAP_SYS_PTRACE)"
	case MissingNetwork:
		return "no network traffic of containers: /proc/PID/ns/net of other users' processes requires root (CAP_SYS_PTRACE)"
	case MissingFiles:
		return "no open files of some containers: /proc/PID/fd of other users' processes requires root (CAP_DAC_READ_SEARCH) before Linux 6.2, or /proc hides them (mount option hidepid)"
	case MissingCgroup:
		return "no memory usage, memory limit, OOM kills and pressure of some containers, and CPU time from their processes only: their cgroups are outside the exporter's cgroup namespace: run the exporter in the host's (docker run --cgroupns=host) and mount the host's cgroup file systems"
	case MissingRuntime:
		return "some containers are missing: neither the arguments of their shim nor the names of their cgroups have an id"
	case MissingProcesses:
		return "some containers or processes are missing, and so are the process totals of the host: process 1 is not visible: /proc hides processes of other users (mount option hidepid) or belongs to a container: run as root in the host's PID namespace"
	case MissingHost:
		return "no memory or CPU time of the host: /proc/meminfo or /proc/stat is not readable"
	}
	return string(m)
}

// faults counts the items left out of snapshots and reports each kind of missing
// data once.
type faults struct {
	report   func(Missing)
	reported map[Missing]bool
	skipped  map[source.Reason]uint64
}

func newFaults(report func(Missing)) *faults {
	return &faults{report: report, reported: map[Missing]bool{}, skipped: map[source.Reason]uint64{}}
}

// skip counts n items that were left out.
func (f *faults) skip(r source.Reason, n int) {
	if n > 0 {
		f.skipped[r] += uint64(n)
	}
}

// missing reports m unless it was reported before.
func (f *faults) missing(m Missing) {
	if !f.reported[m] {
		f.reported[m] = true
		f.report(m)
	}
}

// refused reports m if err is a permission error.
func (f *faults) refused(m Missing, err error) bool {
	if !errors.Is(err, fs.ErrPermission) {
		return false
	}
	f.missing(m)
	return true
}

// counts returns a copy for a snapshot.
func (f *faults) counts() map[source.Reason]uint64 { return maps.Clone(f.skipped) }
