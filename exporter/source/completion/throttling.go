// Package completion adds to the snapshots of the kernel module what the kernel does not
// export to modules, from /proc and the cgroup file systems.
package completion

import (
	"context"
	"sync"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup"
)

// Throttling adds the CPU limit and the throttling counters of containers. If they are
// not readable the fields are unknown.
//
// Only a container that ran and has a limit can have been throttled. Without a limit,
// cpu.stat is read every 30 s in case one was set, and never for an idle container. The
// limit itself is read every 30 s in which the container ran.
type Throttling struct {
	module source.Source

	mu         sync.Mutex
	bandwidths *cgroup.Bandwidths
	round      uint64
	lives      map[life]*throttled
}

// recheck is how often a container without a limit is read.
const recheck = 30 * time.Second

// life identifies one life of a container.
type life struct {
	id          string
	shim, start uint64
}

// throttled is the state of a container between snapshots.
type throttled struct {
	cgroup.Bandwidth
	group  group
	round  uint64
	cpu    uint64 // CPU time at the last read, ns
	since  time.Duration
	looked time.Duration
}

// group is the v2 cgroup of a container in the document: its path, and the source of
// its CPU time, which is the cgroup unless another container claims it.
type group struct{ path, counts string }

// NewThrottling wraps the module. It uses Config.ProcFS and Config.CgroupFS.
func NewThrottling(module source.Source, c cgroup.Config) *Throttling {
	return &Throttling{module: module, bandwidths: cgroup.NewBandwidths(c), lives: map[life]*throttled{}}
}

// Name returns the name of the module.
func (t *Throttling) Name() string { return t.module.Name() }

// Snapshot returns the module's snapshot with CPU limits and throttling. After an error
// no file stays open.
func (t *Throttling) Snapshot(ctx context.Context) (*source.Snapshot, error) {
	snap, err := t.module.Snapshot(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.round++
	if err != nil {
		t.forget()
		return nil, err
	}
	boot, _ := snap.Host.Get(source.Boottime)
	now := time.Duration(boot)
	here := 0
	var due []*cgroup.Reading
	for i := range snap.Containers {
		c := &snap.Containers[i]
		cpu, ok := c.Get(source.CPU)
		if _, known := c.Get(source.CPUThrottled); known || !ok || c.ID == "" {
			continue // a document of another program
		}
		w := t.of(c, now)
		here++
		if c.State != source.Ended && w.due(cpu, now) {
			due = append(due, &cgroup.Reading{Container: c, Bandwidth: &w.Bandwidth})
			w.cpu, w.looked = cpu, now
		} else {
			w.Fill(c)
		}
	}
	t.bandwidths.Read(snap, due)
	for _, r := range due {
		r.Fill(r.Container)
	}
	if len(t.lives) > here {
		t.forget()
	}
	return snap, nil
}

// of returns the state of a container, reset if its cgroup has changed.
func (t *Throttling) of(c *source.Container, now time.Duration) *throttled {
	shim, _ := c.Get(source.PID)
	start, _ := c.Get(source.StartTime)
	key, g := life{c.ID, shim, start}, group{c.Cgroup, c.CPUSource}
	w := t.lives[key]
	switch {
	case w == nil:
		w = &throttled{since: now, group: g}
		t.lives[key] = w
	case c.State != source.Ended && w.group != g:
		t.bandwidths.Close(&w.Bandwidth)
		*w = throttled{since: w.since, group: g}
	}
	w.round = t.round
	return w
}

// due reports whether cpu.stat must be read. A new container is read for 30 s, because
// its first period may start after its first snapshot.
func (w *throttled) due(cpu uint64, now time.Duration) bool {
	switch {
	case w.looked == 0:
		return true
	case cpu == w.cpu:
		return false
	}
	return w.Limited() || now-w.since < recheck || now-w.looked >= recheck
}

// forget drops the containers that are not in this round.
func (t *Throttling) forget() {
	for key, w := range t.lives {
		if w.round != t.round {
			t.bandwidths.Close(&w.Bandwidth)
			delete(t.lives, key)
		}
	}
}
