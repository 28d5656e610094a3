package top

import (
	"cmp"
	"strconv"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/container"
)

// Reading is a snapshot with what it lacks of the host.
type Reading struct {
	Snapshot *source.Snapshot
	Machine  Machine
	At       time.Time // with Go's monotonic clock
}

// Namer returns what a runtime reports about a container; false if it is unknown, or not
// known yet. It never waits.
type Namer func(c *source.Container) (Description, bool)

// Description is what a runtime reports about a container.
type Description struct{ Name, Image, Pod, Project, Service string }

const kilobyte = 1024

// elapsed is the time between two readings in ns by the boot clock of the snapshots, or
// by ours if they have none; false if there is no previous one or they are the same.
func elapsed(last, now *Reading) (float64, bool) {
	if last == nil {
		return 0, false
	}
	before, ok1 := last.Snapshot.Host.Get(source.Boottime)
	after, ok2 := now.Snapshot.Host.Get(source.Boottime)
	if ok1 && ok2 {
		return float64(after) - float64(before), after > before
	}
	d := now.At.Sub(last.At)
	return float64(d), d > 0
}

// NewFigures computes what to show of a reading. Rates are of the time since the last
// one, which is nil in the first refresh.
func NewFigures(last, now *Reading, describe Namer) Figures {
	s := now.Snapshot
	f := Figures{Time: now.At, Source: s.Source, Truncated: s.Truncated, Rows: make([]Row, 0, len(s.Containers))}
	if t, ok := s.Time(); ok {
		f.Time = t
	}
	ns, timed := elapsed(last, now)
	before := map[life]*source.Container{}
	if timed {
		f.Interval = Known(ns / 1e9)
		for i := range last.Snapshot.Containers {
			c := &last.Snapshot.Containers[i]
			before[lifeOf(c)] = c
		}
	}
	for i := range s.Containers {
		c := &s.Containers[i]
		r := row(s, before[lifeOf(c)], c, ns)
		if d, ok := describe(c); ok {
			r.Name, r.Image, r.Project, r.Service = d.Name, d.Image, d.Project, d.Service
			r.Pod = cmp.Or(d.Pod, r.Pod)
		}
		f.Sum.add(&r.Usage)
		f.Rows = append(f.Rows, r)
	}
	if len(f.Rows) == 0 { // nothing is known to use nothing
		f.Sum = Usage{CPU: Known(0), WorkingSet: Known(0), RSS: Known(0), Processes: Known(0), Threads: Known(0)}
	}
	var host *source.Host
	if timed {
		host = &last.Snapshot.Host
	}
	f.Unattributed = unattributed(host, &s.Host, ns)
	f.Host = newHost(last, now, ns, timed)
	return f
}

func row(s *source.Snapshot, last, c *source.Container, ns float64) Row {
	r := Row{ID: container.ShortID(c.ID), Pod: container.ShortID(c.Pod), Command: c.Command, Ended: c.State == source.Ended, key: lifeOf(c)}
	if r.ID == "" {
		r.ID = "pid-" + strconv.FormatUint(r.key.pid, 10)
	}
	get := func(f source.Field, unit float64) Value {
		v, ok := c.Get(f)
		if !ok {
			return Value{}
		}
		return Known(float64(v) * unit)
	}
	difference := func(f source.Field) Value {
		if last == nil {
			return Value{}
		}
		before, ok1 := last.Get(f)
		after, ok2 := c.Get(f)
		if !ok1 || !ok2 || after < before {
			return Value{}
		}
		return Known(float64(after - before))
	}
	perSecond := func(f source.Field) Value {
		d, ok := difference(f).Get()
		if !ok {
			return Value{}
		}
		return Known(d / (ns / 1e9))
	}
	ofTime := func(f source.Field) Value { return difference(f).percentOf(Known(ns)) }
	r.Usage = Usage{
		CPU:            ofTime(source.CPU),
		Throttled:      ofTime(source.CPUThrottled),
		WorkingSet:     workingSet(c),
		RSS:            get(source.RSS, kilobyte),
		Swap:           get(source.Swap, kilobyte),
		Limit:          get(source.MemoryLimit, kilobyte),
		PressureCPU:    ofTime(source.PressureCPU),
		PressureMemory: ofTime(source.PressureMemory),
		PressureIO:     ofTime(source.PressureIO),
		DiskRead:       perSecond(source.DiskRead),
		DiskWrite:      perSecond(source.DiskWrite),
		NetRx:          perSecond(source.NetRxBytes),
		NetTx:          perSecond(source.NetTxBytes),
		OOMKills:       get(source.OOMKills, 1),
		OOMKillsNew:    difference(source.OOMKills),
		Processes:      get(source.Processes, 1),
		Threads:        get(source.Threads, 1),
		Age:            age(s, c),
	}
	if !r.CPU.known {
		// The source has a window of its own; a seed document has no counter.
		r.CPU = get(source.CPUPercent, 0.01)
	}
	r.OfLimit = r.WorkingSet.percentOf(r.Limit)
	return r
}

// workingSet is the memory of the cgroup without inactive file cache, in bytes.
func workingSet(c *source.Container) Value {
	usage, ok1 := c.Get(source.MemoryCgroup)
	inactive, ok2 := c.Get(source.MemoryInactiveFile)
	if !ok1 || !ok2 {
		return Value{}
	}
	return Known(kilobyte * float64(usage-min(inactive, usage)))
}

func age(s *source.Snapshot, c *source.Container) Value {
	start, ok1 := c.Get(source.StartTime)
	now, ok2 := s.Host.Get(source.Boottime)
	if !ok1 || !ok2 || now < start {
		return Value{}
	}
	return Known(float64(now-start) / 1e9)
}

// hostValue returns a number of the host in its unit.
func hostValue(h *source.Host, f source.HostField, unit float64) Value {
	v, ok := h.Get(f)
	if !ok {
		return Value{}
	}
	return Known(float64(v) * unit)
}

// hostDifference is the growth of a counter; unknown if last is nil.
func hostDifference(last, now *source.Host, f source.HostField) Value {
	if last == nil {
		return Value{}
	}
	before, ok1 := last.Get(f)
	after, ok2 := now.Get(f)
	if !ok1 || !ok2 || after < before {
		return Value{}
	}
	return Known(float64(after - before))
}

func unattributed(last, now *source.Host, ns float64) Usage {
	return Usage{
		CPU:       hostDifference(last, now, source.UnattributedCPU).percentOf(Known(ns)),
		RSS:       hostValue(now, source.UnattributedRSS, kilobyte),
		Swap:      hostValue(now, source.UnattributedSwap, kilobyte),
		Processes: hostValue(now, source.UnattributedProcesses, 1),
		Threads:   hostValue(now, source.UnattributedThreads, 1),
	}
}

func newHost(last, now *Reading, ns float64, timed bool) Host {
	s := now.Snapshot
	h := Host{
		Name:            now.Machine.Name,
		CPUs:            hostValue(&s.Host, source.CPUs, 1),
		MemoryTotal:     hostValue(&s.Host, source.MemoryTotal, kilobyte),
		MemoryUsed:      hostValue(&s.Host, source.MemoryUsed, kilobyte),
		Load:            now.Machine.Load,
		Processes:       hostValue(&s.Host, source.HostProcesses, 1),
		ContainersFound: hostValue(&s.Host, source.ContainersFound, 1),
	}
	if !h.ContainersFound.known && !s.Truncated {
		h.ContainersFound = Known(float64(len(s.Containers)))
	}
	if total, ok := h.MemoryTotal.Get(); ok {
		if available, ok := hostValue(&s.Host, source.MemoryAvailable, kilobyte).Get(); ok {
			h.MemoryUsed = Known(max(0, total-available))
		}
	}
	if !timed {
		return h
	}
	if cpus, ok := h.CPUs.Get(); ok {
		h.CPU = hostDifference(&last.Snapshot.Host, &s.Host, source.HostCPUBusy).percentOf(Known(ns * cpus))
		if v, ok := h.CPU.Get(); ok { // two clocks: the counters are read a moment later
			h.CPU = Known(min(v, 100))
		}
	}
	for i, to := range []*Value{&h.PressureCPU, &h.PressureMemory, &h.PressureIO} {
		before, ok1 := last.Machine.Pressure[i].Get()
		after, ok2 := now.Machine.Pressure[i].Get()
		if ok1 && ok2 && after >= before {
			*to = Known(after - before).percentOf(Known(ns))
		}
	}
	return h
}
