// Package source holds the model of what Estiba knows about a host's
// containers at one moment, and the choice between the places it comes from.
package source

import (
	"context"
	"time"
)

// Source makes snapshots.
type Source interface {
	// Name is one of Names.
	Name() string
	// Snapshot collects one. Its error wraps one of the sentinels of this
	// package, see ReasonOf.
	Snapshot(ctx context.Context) (*Snapshot, error)
}

// The two places snapshots come from.
const (
	Kmod   = "kmod"
	Cgroup = "cgroup"
)

// Names lists all sources, as they stand in the label `source`.
func Names() []string { return []string{Kmod, Cgroup} }

// Snapshot is what was seen at one moment. Once handed out nobody changes it.
type Snapshot struct {
	Source        string // Kmod or Cgroup
	Schema        string // "1"; empty for a seed document
	Module        string // who made the document
	ModuleVersion string
	Truncated     bool // the source hit a limit: containers are missing
	Host          Host
	Containers    []Container
}

// Time is the wall clock when the data were collected; false if the source
// does not say.
func (s *Snapshot) Time() (time.Time, bool) {
	ns, ok := s.Host.Get(Realtime)
	return time.Unix(0, int64(ns)), ok
}

// Started is the wall clock, ns since 1970, of the boot-clock time t.
func (s *Snapshot) Started(t uint64) (uint64, bool) {
	wall, ok1 := s.Host.Get(Realtime)
	boot, ok2 := s.Host.Get(Boottime)
	return wall - boot + t, ok1 && ok2
}

// The states of containers. An ended one is gone since a few seconds: its
// counters stand at their last values, its use is zero or not known.
const (
	Running = "running"
	Ended   = "ended"
)

// Container is one container. A number that is not known is not zero: Get
// tells them apart.
type Container struct {
	ID          string // of the shim's -id; empty when a seed document has none
	ProcessName string // comm of the shim
	Namespace   string // of the shim's -namespace
	Command     string // comm of the container's first process
	Cgroup      string // path below the root of its hierarchy
	CPUSource   string // "cgroup" or "tasks"
	Network     string // "own" or "host"
	State       string // Running, Ended, or empty, which means running

	known  uint64
	values [NumFields]uint64
}

// Get returns a number in the unit of its field, and whether it is known.
func (c *Container) Get(f Field) (uint64, bool) {
	return c.values[f], c.known&(1<<f) != 0
}

// Set stores a number. Only the maker of a snapshot calls it.
func (c *Container) Set(f Field, v uint64) {
	c.values[f] = v
	c.known |= 1 << f
}

// Host is what a snapshot says of the host as a whole.
type Host struct {
	known  uint64
	values [NumHostFields]uint64
}

// Get returns a number in the unit of its field, and whether it is known.
func (h *Host) Get(f HostField) (uint64, bool) {
	return h.values[f], h.known&(1<<f) != 0
}

// Set stores a number. Only the maker of a snapshot calls it.
func (h *Host) Set(f HostField, v uint64) {
	h.values[f] = v
	h.known |= 1 << f
}
