package cgroup

import (
	"time"

	"github.com/estiba/estiba/exporter/source"
)

// bounds limit how much a counter can have grown. A misread number would stay in a
// counter for good, so an implausible one is accepted only if the next snapshot
// confirms it.
type bounds struct {
	now  time.Duration // boot clock
	cpus int           // of the host; 0: unknown, no limit
	odd  *int          // number of rejected values; nil: not counted
}

// doubted counts a rejected value.
func (b bounds) doubted() {
	if b.odd != nil {
		*b.odd++
	}
}

// The fastest growth per second and CPU.
const (
	mostBytes float64 = 1e11 // memory bandwidth
	mostCalls float64 = 1e8  // system calls, faults, packets
	mostTime  float64 = 1e9 * slack
	mostTicks float64 = mostTime / float64(tickNS)
)

// readSkew is the largest time between two reads of one snapshot on a busy host.
const readSkew = 2 * time.Second

// most returns the largest plausible growth since a time.
func (b bounds) most(rate float64, since time.Duration) uint64 {
	const all = ^uint64(0)
	if b.cpus <= 0 {
		return all
	}
	v := rate * float64(b.cpus) * (max(b.now-since, 0) + readSkew).Seconds()
	if v >= 1<<63 {
		return all
	}
	return uint64(v)
}

// rateOf returns the fastest growth of a counter.
func rateOf(f source.Field) float64 {
	switch f {
	case source.DiskRead, source.DiskWrite, source.NetRxBytes, source.NetTxBytes:
		return mostBytes
	}
	if f.Info().Unit == source.Nanos {
		return mostTime
	}
	return mostCalls
}
