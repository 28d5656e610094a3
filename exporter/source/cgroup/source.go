// Package cgroup collects snapshots from /proc and the cgroup file systems, for hosts
// without the kernel module: the same containers and fields, with cgroup v1, v2 or
// both.
//
// Packages procfile and cgroupfile parse the files; type container assigns their
// numbers to a container.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
)

// idleSample is the time without a scrape after which the source takes a snapshot of
// its own, see window.
const idleSample = 6 * time.Second

// creation is the longest time between the start of a container and the creation of
// its cgroups.
const creation = 10 * time.Second

// recheck is how long values are cached that rarely change: a CPU limit, the cgroups of a
// shim.
const recheck = 30 * time.Second

// Config has the paths and clocks of a source. A nil clock means the system clock.
type Config struct {
	ProcFS   string // "/proc"
	SysFS    string // "/sys", for block devices
	CgroupFS string // "/sys/fs/cgroup"

	// Owner is a user whose shims are trusted besides root's: the exporter's own
	// user, for rootless Docker.
	Owner int
	// OpenFiles enables the number of open file descriptors.
	OpenFiles bool
	// Interfaces enables the counters of each network interface.
	Interfaces bool
	// OnMissing is called once for each kind of missing data.
	OnMissing func(Missing)

	// Kernel replaces the files of processes, and of cgroups as far as possible; nil: all
	// are files.
	Kernel Kernel

	Now      func() time.Time     // wall clock
	Boottime func() time.Duration // boot clock
}

// Source reads /proc and the cgroup file systems.
type Source struct {
	config Config

	mu           sync.Mutex // of what follows
	reader       reader
	faults       *faults
	processes    *processes
	groups       groups // empty without a Kernel
	hierarchies  *hierarchies
	devices      *devices
	lastSnapshot time.Duration // boot clock

	shims        map[identity]*shim
	containers   map[key]*container
	unattributed unattributed
	cpus         int // of the host; 0: unknown
	modes        [procfile.NumModes]counter
	odd          int // rejected values of this snapshot
}

// New returns a source. It fails if Config.ProcFS is not a directory.
func New(c Config) (*Source, error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("cgroup source: requires Linux")
	}
	if info, err := os.Stat(c.ProcFS); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("cgroup source: %s is not a proc file system: %w", c.ProcFS, err)
	}
	return newSource(c), nil
}

func newSource(c Config) *Source {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Boottime == nil {
		c.Boottime = boottime
	}
	if c.OnMissing == nil {
		c.OnMissing = func(Missing) {}
	}
	s := &Source{
		config: c, reader: newReader(maxKept), faults: newFaults(c.OnMissing), hierarchies: newHierarchies(c.CgroupFS),
		devices: newDevices(c.SysFS, c.ProcFS), shims: map[identity]*shim{}, containers: map[key]*container{},
	}
	s.processes = newProcesses(c.ProcFS, &s.reader, s.faults)
	s.processes.real = c.OpenFiles && onProc(c.ProcFS)
	return s
}

// Name is source.Cgroup, or source.BPF with a Kernel.
func (s *Source) Name() string {
	if s.config.Kernel != nil {
		return source.BPF
	}
	return source.Cgroup
}

// Run keeps windows short between scrapes: while the source is in use it takes a
// snapshot if the last one is older than idleSample. While it is not in use, no file
// stays open. It returns when ctx ends.
func (s *Source) Run(ctx context.Context, inUse func() bool) {
	timer := time.NewTimer(idleSample)
	defer timer.Stop()
	defer s.Release()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		s.mu.Lock()
		left := idleSample - (s.config.Boottime() - s.lastSnapshot)
		s.mu.Unlock()
		switch {
		case left > 0:
		case inUse():
			// The next scrape reports the error.
			_, _ = s.Snapshot(ctx)
		default:
			s.Release()
		}
		if left <= 0 {
			left = idleSample
		}
		timer.Reset(min(left, idleSample))
	}
}

// Release closes all files. The next snapshot opens them again.
func (s *Source) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes.release()
	for _, c := range s.containers {
		c.closeFiles(&s.reader)
	}
}

// boottime reads CLOCK_BOOTTIME (clock_gettime(2)).
func boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
