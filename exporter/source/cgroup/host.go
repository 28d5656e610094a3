package cgroup

import (
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
)

const tickNS = procfile.TickNS

// hostState has the values of the host that containers need.
type hostState struct {
	procfile.Meminfo
	Boot     procfile.Number // seconds since 1970
	swapless bool            // without swap
}

// readHost reads memory and CPU time of the host. Values that are not readable or not
// parsable are unknown and do not affect containers.
func (s *Source) readHost(h *source.Host) hostState {
	var state hostState
	if b, ok := s.hostFile("meminfo"); ok {
		var bad int
		state.Meminfo, bad = procfile.ParseMeminfo(b)
		if bad == 0 && !state.Total.Known {
			bad++ // always present
		}
		s.faults.skip(source.ReasonLine, bad)
	}
	m := &state.Meminfo
	for _, each := range []struct {
		field source.HostField
		value procfile.Number
	}{
		{source.MemoryTotal, m.Total},
		{source.MemoryFree, m.Free},
		{source.MemoryAvailable, m.Available},
		{source.SwapFree, m.SwapFree},
		{source.MemoryUsed, procfile.Number{Value: m.Total.Value - min(m.Free.Value, m.Total.Value), Known: m.Total.Known && m.Free.Known}},
	} {
		if each.value.Known {
			h.Set(each.field, each.value.Value)
		}
	}
	state.swapless = m.SwapTotal.Known && m.SwapTotal.Value == 0

	b, ok := s.hostFile("stat")
	if !ok {
		return state
	}
	stat, bad := procfile.ParseHostStat(b)
	bad += s.implausible(&stat)
	if bad == 0 && !stat.Modes[procfile.User].Known {
		bad++
	}
	s.faults.skip(source.ReasonLine, bad)
	state.Boot = stat.Boot
	for mode, field := range [procfile.NumModes]source.HostField{
		procfile.User: source.HostCPUUser, procfile.Nice: source.HostCPUNice, procfile.System: source.HostCPUSystem,
		procfile.Idle: source.HostCPUIdle, procfile.IOWait: source.HostCPUIOWait, procfile.IRQ: source.HostCPUIRQ,
		procfile.SoftIRQ: source.HostCPUSoftIRQ, procfile.Steal: source.HostCPUSteal,
		procfile.Guest: source.HostCPUGuest, procfile.GuestNice: source.HostCPUGuestNice,
	} {
		if n := stat.Modes[mode]; n.Known {
			h.Set(field, n.Value*tickNS)
		}
	}
	// Old kernels have fewer columns. A bad column is unknown, not zero.
	var busy uint64
	known := stat.Modes[procfile.User].Known
	for _, mode := range [...]int{procfile.User, procfile.Nice, procfile.System, procfile.IRQ, procfile.SoftIRQ} {
		busy = sum(busy, stat.Modes[mode].Value*tickNS)
		known = known && (stat.Modes[mode].Known || bad == 0)
	}
	if known {
		h.Set(source.HostCPUBusy, busy)
	}
	if stat.CPUs > 0 {
		s.cpus = stat.CPUs
		h.Set(source.CPUs, uint64(stat.CPUs))
	}
	return state
}

// slack is the tolerated ratio of CPU time to CPUs × time since boot: some CPUs may be
// offline now.
const slack = 8

// implausible removes impossible values and returns their number: a boot time in the
// future, and CPU time above the time since boot or since the last snapshot. Held keeps
// the largest value, so such a value would stay.
func (s *Source) implausible(stat *procfile.HostStat) (n int) {
	up := s.config.Boottime()
	if stat.Boot.Known {
		since := s.config.Now().Sub(time.Unix(int64(stat.Boot.Value), 0))
		if since < -2*time.Second { // beyond rounding
			stat.Boot = procfile.Number{}
			n++
		}
		up = max(up, since)
	}
	if stat.CPUs == 0 || up <= 0 {
		return n
	}
	most := float64(stat.CPUs) * up.Seconds() * procfile.TicksPerSecond * slack
	l := limit{bounds: bounds{now: s.config.Boottime(), cpus: stat.CPUs}, rate: mostTicks}
	for mode := range stat.Modes {
		m, was := &stat.Modes[mode], &s.modes[mode]
		switch {
		case !m.Known:
		case float64(m.Value) > most, was.origin != "" && m.Value > was.raw && was.doubts(m.Value, was.raw, was.at, l):
			*m = procfile.Number{}
			n++
		default:
			*was = counter{origin: "stat", raw: m.Value, at: l.now}
		}
	}
	return n
}

// hostFile reads a file of the host. A read error is counted: with LXC these files are
// served by a program (lxcfs), which may have exited.
func (s *Source) hostFile(name string) ([]byte, bool) {
	b, err := s.reader.lines(s.config.ProcFS + "/" + name)
	if err != nil || len(b) == 0 {
		s.faults.skip(source.ReasonLine, 1)
		s.faults.missing(MissingHost)
		return nil, false
	}
	return b, true
}

// clock has the times of a snapshot.
type clock struct {
	now   time.Duration // own boot clock, for intervals between snapshots
	host  time.Duration // boot clock of the host of this /proc, for start times
	boot  uint64        // boot time of that host, ns since the Unix epoch
	known bool          // host and boot are known
}

// clocks reads the times. /proc/stat has the boot time in seconds; if its host is this
// one, the own clocks are exact. Without it the start times in /proc have no known
// reference.
func (s *Source) clocks(wall time.Time, btime procfile.Number) clock {
	now := s.config.Boottime()
	if !btime.Known {
		return clock{now: now}
	}
	boot := btime.Value * 1e9
	exact := uint64(wall.UnixNano()) - uint64(now)
	if diff := int64(exact - boot); diff > -2e9 && diff < 2e9 {
		return clock{now, now, exact, true}
	}
	return clock{now, time.Duration(uint64(wall.UnixNano()) - boot), boot, true}
}

// age returns the time since a process started, the maximum if unknown.
func (c clock) age(p *process) time.Duration {
	const ever = time.Duration(1<<63 - 1)
	if !c.known || p.start > uint64(ever)/tickNS {
		return ever
	}
	return c.host - time.Duration(p.start*tickNS)
}

// own converts ns of the host's boot clock to the own boot clock.
func (c clock) own(started uint64) time.Duration {
	if !c.known {
		return 0
	}
	return c.now - (c.host - time.Duration(started))
}
