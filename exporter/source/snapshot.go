// Package source defines snapshots of a host's containers and selects their source.
package source

import (
	"context"
	"time"

	"github.com/estiba/estiba/internal/container"
)

// Source collects snapshots.
type Source interface {
	// Name is one of Names.
	Name() string
	// Snapshot collects a snapshot. Its error wraps one of the sentinels of this
	// package, see ReasonOf.
	Snapshot(ctx context.Context) (*Snapshot, error)
}

// The sources.
const (
	Kmod   = "kmod"
	BPF    = "bpf"
	Cgroup = "cgroup"
)

// Names lists all sources, as in the label `source`.
func Names() []string { return []string{Kmod, BPF, Cgroup} }

// Snapshot is everything that a source read at one time. It is immutable once returned.
type Snapshot struct {
	Source        string // one of Names
	Schema        string // "1"; empty for a seed document
	Module        string // program that wrote the document
	ModuleVersion string
	Truncated     bool // containers are missing because of a limit of the source
	Host          Host
	Containers    []Container

	// Interfaces has the interfaces of the containers' own networks by container key,
	// without loopback, if enabled. They are in no document.
	Interfaces map[string][]Interface

	// Skipped counts the items left out of all snapshots so far, by reason; nil:
	// unknown.
	Skipped map[Reason]uint64
}

// Time returns the wall clock of the collection; false if unknown.
func (s *Snapshot) Time() (time.Time, bool) {
	ns, ok := s.Host.Get(Realtime)
	return time.Unix(0, int64(ns)), ok
}

// Started converts the boot-clock time t to ns since the Unix epoch.
func (s *Snapshot) Started(t uint64) (uint64, bool) {
	wall, ok1 := s.Host.Get(Realtime)
	boot, ok2 := s.Host.Get(Boottime)
	return wall - boot + t, ok1 && ok2
}

// The states of containers. An ended one exited a few seconds ago: its counters keep
// their last values, its usage is zero or unknown.
const (
	Running = "running"
	Ended   = "ended"
)

// Yes is the value of texts that are "true" or absent.
const Yes = "true"

// Container is one container. An unknown number is not zero: see Get.
type Container struct {
	ID          string // 64 hex digits, or a name; empty when a seed document has none
	ProcessName string // comm of the process PID: the shim, the monitor, or init
	Namespace   string // of the shim's -namespace
	Runtime     string // one of package container's: "docker"; "" if unknown
	Pod         string // id of its pod's sandbox; "" for none, or unknown
	Pause       string // Yes for the container that only holds its pod's namespaces
	Command     string // comm of the init process
	Cgroup      string // path below the root of its hierarchy
	CPUSource   string // "cgroup" or "tasks"
	Network     string // "own", "host", or "shared": another container has the counters
	State       string // Running, Ended, or "" for running
	Machine     string // program of its shim, if that runs virtual machines; in no document

	// OpenFiles is the number of open file descriptors, if enabled and known. It is in
	// no document.
	OpenFiles    uint64
	HasOpenFiles bool

	known  uint64
	values [NumFields]uint64
}

// Interface is one network interface of a container.
type Interface struct {
	Name   string
	Counts [8]uint64 // received bytes, packets, errors, drops; then the same for sent
}

// Get returns a number in the unit of its field; false if unknown.
func (c *Container) Get(f Field) (uint64, bool) {
	return c.values[f], c.known&(1<<f) != 0
}

// Set stores a number. Only the source calls it.
func (c *Container) Set(f Field, v uint64) {
	c.values[f] = v
	c.known |= 1 << f
}

// Owner returns the user of a rootless container, 0 for root's.
func (c *Container) Owner() uint32 {
	user, _ := c.Get(User)
	return uint32(user)
}

// Key identifies the container on its host, see container.Key.
func (c *Container) Key() string { return container.Key(c.Owner(), c.ID) }

// Host has the numbers of the host as a whole.
type Host struct {
	known  uint64
	values [NumHostFields]uint64
}

// Get returns a number in the unit of its field; false if unknown.
func (h *Host) Get(f HostField) (uint64, bool) {
	return h.values[f], h.known&(1<<f) != 0
}

// Set stores a number. Only the source calls it.
func (h *Host) Set(f HostField, v uint64) {
	h.values[f] = v
	h.known |= 1 << f
}
