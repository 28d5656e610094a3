package cgroup

import (
	"cmp"
	"slices"
	"syscall"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/cgroupfile"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
)

// tallyTries is the number of attempts to read the processes of a container while some
// of them exit.
const tallyTries = 3

// tally reads the counters of each process. complete is true if they include I/O,
// there is true if any process is left.
//
// A reaped process adds its counters to its parent's. Parents are read first, so that
// the values of a child are not in its parent's yet. If a process exits between the
// reads of its stat and its I/O, the parent's stat is from before and its I/O from
// after: then all are read again.
func (s *Source) tally(c *container, clock clock) (complete, there bool) {
	slices.SortFunc(c.members, oldest)
	for try := range tallyTries {
		var ended bool
		if complete, ended = s.tallyOnce(c, clock, try > 0); !ended {
			break
		}
	}
	if len(c.entries) == 0 {
		return false, false
	}
	if c.ledger.alive == nil {
		c.ledger.alive = s.processes.lives
	}
	c.ledger.update(c.entries, c.bounds)
	return complete, true
}

// arrived reports whether a process has moved into the container: its past is not the
// container's. That of a process below the same shim is: it was about to start.
func (c *container) arrived(p *process, sequence uint64) bool {
	return p.was != c && p.born < sequence && c.ledger.live != nil && (p.was != nil || c.shim == nil || p.wasUnder != c.shim.identity)
}

// tallyOnce is one attempt, with the last stat of each process or, with anew, a new
// one. ended is true if a process has exited since.
func (s *Source) tallyOnce(c *container, clock clock, anew bool) (complete, ended bool) {
	c.entries = c.entries[:0]
	refused, understood := false, false
	for _, p := range c.members {
		if anew && p.kernel == nil {
			if now, _ := s.processes.look(p.pid); now != p {
				continue
			}
		}
		if p.was != nil && p.was != c { // not one that seemed to have left
			delete(c.ledger.left, p.identity)
		}
		e := entry{
			identity: p.identity, arrived: c.arrived(p, s.processes.sequence), parent: p.Parent,
			began: clock.own(p.start * tickNS), unknown: unknownOf(p),
		}
		s.processes.complement(p)
		e.tally[minorFaults], e.tally[majorFaults] = p.Minor, p.Major
		e.tally[userTime], e.tally[systemTime] = p.times()
		switch io, err := s.processIO(p); {
		case err == nil:
			copy(e.tally[:], io[:])
			understood = true
		case gone(err) && gone(s.processes.check(p)): // the ledger keeps its values
			ended = true
			continue
		case gone(err): // a kernel without I/O accounting
			e.unknown |= allIO
			refused = true
		default:
			e.unknown |= allIO
			if s.faults.refused(MissingIO, err) {
				refused = true
			} else {
				s.faults.skip(source.ReasonLine, 1)
			}
		}
		c.entries = append(c.entries, e)
	}
	return understood && !refused, ended
}

// unknownOf returns the unknown counters of a stat.
func unknownOf(p *process) (c counters) {
	if p.Unknown == 0 {
		return 0
	}
	for i, which := range map[int]uint8{
		minorFaults: procfile.StatMinor, majorFaults: procfile.StatMajor, userTime: procfile.StatUser,
		systemTime: procfile.StatSystem,
	} {
		if p.Unknown&which != 0 {
			c |= 1 << i
		}
	}
	return c
}

// processIO reads /proc/PID/io, which includes exited threads and reaped children.
func (s *Source) processIO(p *process) ([procfile.NumIO]uint64, error) {
	if k := p.kernel; k != nil && !k.incomplete {
		if !s.processes.hasIO {
			return [procfile.NumIO]uint64{}, syscall.ENOENT
		}
		return k.io, nil
	}
	was := p.io.opened
	b, err := s.processes.again(p, &p.io, "io")
	if err != nil {
		return [procfile.NumIO]uint64{}, err
	}
	done, err := procfile.ParseIO(b)
	if err != nil || was > 0 && was == p.io.opened {
		return done, err
	}
	// It was just opened by path: the PID may have been reused.
	if err := s.processes.check(p); err != nil {
		s.reader.close(&p.io)
		return done, err
	}
	return done, nil
}

// fillIO fills in I/O activity, and storage I/O from the block layer's counters of the
// cgroup. cgroup v1 lacks delayed writeback there, so the larger of these and the sum
// over processes counts.
func (s *Source) fillIO(c *container, out *source.Container, complete bool, clock clock) {
	done := &c.ledger.last
	if complete {
		out.Set(source.IOReadBytes, done[procfile.ReadChars])
		out.Set(source.IOWriteBytes, done[procfile.WriteChars])
		out.Set(source.IOReadCalls, done[procfile.ReadCalls])
		out.Set(source.IOWriteCalls, done[procfile.WriteCalls])
	}
	tasks := [2]uint64{done[procfile.ReadBytes], done[procfile.WriteBytes]}
	moved, origin, ok, odd := s.kernelStorage(c, clock.now)
	if !ok {
		moved, origin, ok, odd = s.storage(c, clock.now)
	}
	switch {
	case odd: // keep the last value
		if c.disk[0].origin != "" {
			out.Set(source.DiskRead, c.disk[0].value)
			out.Set(source.DiskWrite, c.disk[1].value)
		}
		return
	case !ok && !complete:
		return
	case !ok:
		moved, origin = tasks, fromTasks
	case complete && len(c.files[ioStat]) == 0:
		moved = [2]uint64{max(moved[0], tasks[0]), max(moved[1], tasks[1])}
	}
	for i, f := range [...]source.Field{source.DiskRead, source.DiskWrite} {
		if v, ok := c.disk[i].update(origin, moved[i], tasks[i], c.limit(f)); ok {
			out.Set(f, v)
		}
	}
}

// deviceOf is a device in one of the container's files.
type deviceOf struct {
	file int
	cgroupfile.Device
}

// storage reads the bytes that reached storage. odd is true if a file exists and
// nothing in it is parsable.
func (s *Source) storage(c *container, now time.Duration) (moved [2]uint64, origin string, ok, odd bool) {
	for _, source := range [...]struct {
		which int
		parse func([]byte) ([]cgroupfile.Moved, int)
	}{{blkioRecursive, cgroupfile.Blkio}, {blkioOwn, cgroupfile.Blkio}, {ioStat, cgroupfile.IOStat}} {
		origin = c.origins[statFiles[source.which].controller]
		var files [][]cgroupfile.Moved
		bad := 0
		ok = s.each(c, source.which, func(b []byte) bool {
			devices, n := source.parse(b)
			if n == 0 && !cgroupfile.Devices(b) {
				n = 1
			}
			s.skipLines(n)
			odd = odd || n > 0 && len(devices) == 0
			bad += n
			files = append(files, devices)
			return true
		})
		if odd {
			return moved, origin, false, true
		}
		if !ok {
			continue
		}
		moved, ok = s.reached(&c.disk[0].devices, files, statFiles[source.which].name+"\n"+origin, bad > 0, now)
		return moved, origin, ok, !ok
	}
	return moved, "", false, false
}

// reached sums the bytes that reached storage, separately for each file.
func (s *Source) reached(known *kept[deviceOf], files [][]cgroupfile.Moved, origin string, odd bool, now time.Duration) (moved [2]uint64, ok bool) {
	known.begin(origin)
	for i, devices := range files {
		for _, d := range devices {
			known.says(deviceOf{i, d.Device}, [4]uint64{d.Read, d.Written}, odd)
		}
	}
	gone := known.end(odd)
	all := make([][]cgroupfile.Moved, len(files))
	for which, p := range known.parts {
		if p.there() {
			p.counted = false
			all[which.file] = append(all[which.file], cgroupfile.Moved{Device: which.Device, Read: p.values[0], Written: p.values[1]})
		}
	}
	moved = [2]uint64{gone[0], gone[1]}
	for i, devices := range all {
		slices.SortFunc(devices, func(a, b cgroupfile.Moved) int {
			return cmp.Or(cmp.Compare(a.Major, b.Major), cmp.Compare(a.Minor, b.Minor))
		})
		counted := s.devices.physical(devices, now)
		for _, d := range counted {
			known.parts[deviceOf{i, d.Device}].counted = true
		}
		read, written, ok := cgroupfile.Sum(counted)
		if !ok {
			return moved, false
		}
		moved[0], moved[1] = sum(moved[0], read), sum(moved[1], written)
	}
	return moved, true
}
