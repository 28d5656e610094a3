package cgroup

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/estiba/estiba/exporter/source"
)

// Snapshot collects a snapshot.
func (s *Source) Snapshot(ctx context.Context) (*source.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.config.Kernel; k != nil {
		if err := k.Ready(); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	wall := s.config.Now()
	snap := &source.Snapshot{Source: s.Name(), Schema: "1", Module: "estiba-exporter"}

	host := s.readHost(&snap.Host)
	clock := s.clocks(wall, host.Boot)
	if err := s.renew(); err != nil {
		return nil, err
	}
	if s.processes.hidden {
		s.faults.skip(source.ReasonProcess, 1)
		s.faults.missing(MissingProcesses)
	}
	s.hierarchies.find()
	there := s.assign(clock)
	for _, c := range there {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("reading containers: %w", err)
		}
		s.enter(c)
	}
	s.hierarchies.observe(there)
	there = slices.DeleteFunc(there, func(c *container) bool { return !s.settle(c, clock) })
	separate(there)
	snap.Containers = make([]source.Container, 0, len(there))
	if s.config.Interfaces {
		snap.Interfaces = make(map[string][]source.Interface, len(there))
	}
	networks := s.networks(there, clock)
	for _, c := range there {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("reading containers: %w", err)
		}
		if out, ok := s.fill(c, clock, host, networks); ok {
			snap.Containers = append(snap.Containers, out)
			if id := out.Key(); snap.Interfaces != nil && c.interfaces != nil && snap.Interfaces[id] == nil { // the first of a duplicate id counts
				snap.Interfaces[id] = c.interfaces
			}
		}
	}
	s.unattributed.fill(snap, s, host)

	snap.Host.Set(source.Sequence, s.processes.sequence)
	snap.Host.Set(source.Realtime, uint64(wall.UnixNano()))
	if clock.known {
		snap.Host.Set(source.Boottime, uint64(wall.UnixNano())-clock.boot)
	}
	snap.Host.Set(source.ContainersFound, uint64(len(snap.Containers)))
	snap.Host.Set(source.CollectTime, uint64(time.Since(began)))
	s.skipLines(s.odd)
	s.odd = 0
	snap.Skipped = s.faults.counts()
	s.lastSnapshot = s.config.Boottime()
	return snap, nil
}

// enter notes whether the cgroups of the container's processes have changed. Those of its
// shim only serve to distinguish the runtime from the container, so they are read again only
// after a process moved, or as those of any process.
func (s *Source) enter(c *container) {
	for _, p := range c.members {
		c.moved = c.moved || p.changed
	}
	if c.shim == nil || !c.moved && !c.shim.changed && c.shim.at != "" {
		return
	}
	entered := s.processes.enter(c.shim.process)
	c.moved = entered || c.moved || c.shim.changed
	s.hierarchies.note(c.shim.membership)
	if entered {
		s.hierarchies.relocate(c.shim.process)
	}
}

// settle finds the container's own cgroups and its init process. It returns false
// while the runtime is still creating the container, when the processes below the shim
// are the runtime's.
func (s *Source) settle(c *container, clock clock) bool {
	c.leaveRuntime()
	if c.moved || c.retry || c.rootsWere != s.hierarchies.roots || c.privateWas != s.hierarchies.private || !slices.Equal(c.placed, c.members) {
		found := s.hierarchies.locate(c.owner(), c.members, c.shimCgroups(), clock.now)
		c.moved, c.retry = false, found.loose || found.lost
		c.rootsWere, c.privateWas = s.hierarchies.roots, s.hierarchies.private
		c.placed = append(c.placed[:0], c.members...)
		c.away, c.lost = found.away, found.lost
		if !found.place.same(&c.place) {
			c.closeFiles(&s.reader)
			c.settled(found.place)
			if c.place.stray {
				c.files[cpuStatV2], c.inodes[unified] = nil, 0
			}
		}
	}
	if c.lost {
		s.faults.skip(source.ReasonNamespace, 1)
		s.faults.missing(MissingCgroup)
	}
	c.first = c.firstProcess(s.processes.sequence)
	young := clock.now-c.since < creation
	if c.first != nil && clock.known {
		c.started = c.first.start * tickNS
		young = clock.age(c.first) < creation
	}
	return c.away || !c.own() || !young || c.first == nil
}

// separate handles cgroups claimed by two containers: the one whose id the cgroup carries
// keeps it; without such an id neither does.
func separate(there []*container) {
	claimed := map[string]*container{}
	for _, c := range there {
		c.shared = false
	}
	for _, c := range there {
		for _, dirs := range c.place.dirs {
			for _, dir := range dirs {
				other := claimed[dir]
				if other == nil || other == c {
					claimed[dir] = c
					continue
				}
				mine, others := carries(path.Base(dir), c.key.id), carries(path.Base(dir), other.key.id)
				c.shared = c.shared || !mine || others
				other.shared = other.shared || !others || mine
				if mine {
					claimed[dir] = c
				}
			}
		}
	}
}

// unattributed is the part of the host that belongs to no container.
type unattributed struct {
	ended uint64 // CPU time of exited containers, ns
	cpu   uint64 // unattributed CPU time of the last snapshot, ns
}

// fill fills in the unattributed fields and the process totals of the host: all of
// them or none.
func (u *unattributed) fill(snap *source.Snapshot, s *Source, host hostState) {
	h := &snap.Host
	if s.processes.hidden {
		h.Set(source.EndedCPU, u.ended)
		return
	}
	pageKB := s.processes.pageKB
	var all, other struct{ processes, threads, rss, vsz uint64 }
	for _, p := range s.processes.all {
		all.processes++
		all.threads += p.Threads
		all.rss = sum(all.rss, p.rssKB(pageKB))
		if p.member {
			continue
		}
		other.processes++
		other.threads += p.Threads
		other.rss = sum(other.rss, p.rssKB(pageKB))
		other.vsz = sum(other.vsz, p.VSZ/1024)
	}
	h.Set(source.HostProcesses, all.processes)
	h.Set(source.HostThreads, all.threads)
	h.Set(source.HostRSS, all.rss)
	h.Set(source.UnattributedProcesses, other.processes)
	h.Set(source.UnattributedThreads, other.threads)
	h.Set(source.UnattributedRSS, other.rss)
	h.Set(source.UnattributedVSZ, other.vsz)

	if free, ok := h.Get(source.SwapFree); host.swapless {
		h.Set(source.UnattributedSwap, 0)
	} else if ok && host.SwapTotal.Known {
		// Swap that is charged to no container.
		left := host.SwapTotal.Value - min(free, host.SwapTotal.Value)
		for i := range snap.Containers {
			swap, _ := snap.Containers[i].Get(source.Swap)
			left -= min(swap, left)
		}
		h.Set(source.UnattributedSwap, left)
	}

	used := u.ended
	for _, c := range s.containers {
		used = sum(used, c.cpu.value)
	}
	h.Set(source.EndedCPU, u.ended)
	if busy, ok := h.Get(source.HostCPUBusy); ok {
		u.cpu = max(u.cpu, busy-min(busy, used))
		h.Set(source.UnattributedCPU, u.cpu)
	}
}

// sum adds two numbers and saturates.
func sum(a, b uint64) uint64 {
	if a+b < a {
		return ^uint64(0)
	}
	return a + b
}

// oldest orders processes by start time.
func oldest(a, b *process) int {
	return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.pid, b.pid))
}
