package source

import (
	"context"
	"sync"
)

// Continued keeps counters from falling when the source behind it changes:
// when the kernel module is unloaded or loaded under a running exporter. The
// two sources count the same things, yet not to the same digit (ns here, µs or
// ticks there), and neither knows what the other remembered of processes that
// ended. To Prometheus a counter that falls by a nanosecond has started again
// at zero: its whole value would be taken for growth, and an idle container
// for a busy one.
type Continued struct {
	source Source

	mu         sync.Mutex
	last       *Snapshot
	host       [NumHostFields]uint64
	containers map[lifetime]*[NumFields]uint64 // only where something is added
}

// lifetime names a container between two starts: its shim is its own.
type lifetime struct {
	id   string
	shim uint64
}

// NewContinued wraps a source whose snapshots tell where they come from.
func NewContinued(s Source) *Continued { return &Continued{source: s} }

// Name is that of the wrapped source.
func (c *Continued) Name() string { return c.source.Name() }

// Snapshot collects one. A counter goes on from the value told last if the
// source has changed since and says less; what it counted up to then stays
// added until the source changes again or the container ends.
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

// compare finds what has to be added to s and its successors.
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

// add puts on s what compare has found, and forgets containers that ended.
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

// missing is by how much now lies below last, where both are known.
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

// counters are the numbers of a container that never fall.
func counters() []Field {
	return []Field{CPU, CPUUser, CPUSystem, CPUThrottled, OOMKills, PressureCPU, PressureMemory, PressureIO,
		DiskRead, DiskWrite, IOReadBytes, IOWriteBytes, IOReadCalls, IOWriteCalls, MinorFaults, MajorFaults,
		NetRxBytes, NetTxBytes, NetRxPackets, NetTxPackets}
}

// hostCounters are those of the host.
func hostCounters() []HostField {
	return []HostField{HostCPUUser, HostCPUNice, HostCPUSystem, HostCPUIdle, HostCPUIOWait, HostCPUIRQ, HostCPUSoftIRQ,
		HostCPUSteal, HostCPUGuest, HostCPUGuestNice, HostCPUBusy, EndedCPU, UnattributedCPU}
}
