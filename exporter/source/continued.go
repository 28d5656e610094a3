package source

import (
	"context"
	"sync"
)

// Continued keeps counters from decreasing when the source changes because the kernel
// module is loaded or unloaded. The sources differ in precision (ns, µs, ticks) and in
// their knowledge of exited processes. Prometheus takes any decrease for a counter reset
// and the whole value for growth: an idle container would appear busy.
type Continued struct {
	source Source

	mu         sync.Mutex
	last       *Snapshot
	host       [NumHostFields]uint64
	containers map[lifetime]*[NumFields]uint64 // only non-zero offsets
}

// lifetime identifies one life of a container: each has its own shim.
type lifetime struct {
	id   string
	shim uint64
}

// NewContinued wraps a source that can change.
func NewContinued(s Source) *Continued { return &Continued{source: s} }

// Name returns the name of the wrapped source.
func (c *Continued) Name() string { return c.source.Name() }

// Snapshot collects a snapshot. If the source has changed and a counter is smaller, it
// continues from its last value; the difference stays added until the source changes
// again or the container exits.
func (c *Continued) Snapshot(ctx context.Context) (*Snapshot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.source.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if c.last != nil && c.last.Source != s.Source {
		c.compare(s)
	}
	c.add(s)
	c.last = s
	return s, nil
}

// compare computes the offsets for s and its successors.
func (c *Continued) compare(s *Snapshot) {
	for _, f := range hostCounters() {
		last, ok1 := c.last.Host.Get(f)
		now, ok2 := s.Host.Get(f)
		c.host[f] = missing(last, now, ok1 && ok2)
	}
	before := make(map[lifetime]*Container, len(c.last.Containers))
	for i := range c.last.Containers {
		before[lifetimeOf(&c.last.Containers[i])] = &c.last.Containers[i]
	}
	c.containers = map[lifetime]*[NumFields]uint64{}
	for i := range s.Containers {
		one := &s.Containers[i]
		was := before[lifetimeOf(one)]
		if was == nil {
			continue
		}
		for _, f := range counters() {
			last, ok1 := was.Get(f)
			now, ok2 := one.Get(f)
			more := missing(last, now, ok1 && ok2)
			if more == 0 {
				continue
			}
			key := lifetimeOf(one)
			if c.containers[key] == nil {
				c.containers[key] = new([NumFields]uint64)
			}
			c.containers[key][f] = more
		}
	}
}

// add applies the offsets to s and drops those of exited containers.
func (c *Continued) add(s *Snapshot) {
	for f, more := range c.host {
		if v, ok := s.Host.Get(HostField(f)); ok && more > 0 {
			s.Host.Set(HostField(f), v+more)
		}
	}
	if len(c.containers) == 0 {
		return
	}
	left := make(map[lifetime]*[NumFields]uint64, len(c.containers))
	for i := range s.Containers {
		one := &s.Containers[i]
		more := c.containers[lifetimeOf(one)]
		if more == nil {
			continue
		}
		left[lifetimeOf(one)] = more
		for _, f := range counters() {
			if v, ok := one.Get(f); ok && more[f] > 0 {
				one.Set(f, v+more[f])
			}
		}
	}
	c.containers = left
}

// missing returns last - now if that is positive and both are known.
func missing(last, now uint64, known bool) uint64 {
	if !known || now >= last {
		return 0
	}
	return last - now
}

func lifetimeOf(c *Container) lifetime {
	shim, _ := c.Get(PID)
	return lifetime{c.ID, shim}
}

// counters returns the fields of a container that never decrease.
func counters() []Field {
	return []Field{
		CPU, CPUUser, CPUSystem, CPUThrottled, CPUPeriods, CPUThrottledPeriods, OOMKills, PressureCPU, PressureMemory, PressureIO,
		DiskRead, DiskWrite, IOReadBytes, IOWriteBytes, IOReadCalls, IOWriteCalls, MinorFaults, MajorFaults,
		NetRxBytes, NetTxBytes, NetRxPackets, NetTxPackets,
	}
}

// hostCounters returns those of the host.
func hostCounters() []HostField {
	return []HostField{
		HostCPUUser, HostCPUNice, HostCPUSystem, HostCPUIdle, HostCPUIOWait, HostCPUIRQ, HostCPUSoftIRQ,
		HostCPUSteal, HostCPUGuest, HostCPUGuestNice, HostCPUBusy, EndedCPU, UnattributedCPU,
	}
}
