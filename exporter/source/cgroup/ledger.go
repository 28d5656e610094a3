package cgroup

// tally are the counters that are kept per process and go to its parent when
// that reaps it (wait4(2) adds a child's sums to its parent's).
type tally [9]uint64

// The counters of a tally. The first six are those of /proc/PID/io
// (proc_pid_io(5)), the others of /proc/PID/stat.
const (
	readChars = iota
	writeChars
	readCalls
	writeCalls
	readBytes
	writeBytes
	minorFaults
	majorFaults
	cpuTicks
)

func (t *tally) add(o *tally) {
	for i := range t {
		t[i] += o[i]
	}
}

// growth is how much t grew since before; false if any part fell.
func (t *tally) growth(before *tally) (tally, bool) {
	var d tally
	for i := range t {
		if t[i] < before[i] {
			return tally{}, false
		}
		d[i] = t[i] - before[i]
	}
	return d, true
}

// holds tells whether every part of t is at least that of o.
func (t *tally) holds(o *tally) bool {
	for i := range t {
		if t[i] < o[i] {
			return false
		}
	}
	return true
}

// entry is one live process of a container in a ledger.
type entry struct {
	identity
	parent int
	tally  tally
}

// ledger sums the tallies of a container's processes so that the sum never
// falls: what an exited process had is kept, either by the kernel in the
// parent that reaped it, or here when no process of the container did (its
// parent is the shim, or ignores SIGCHLD).
type ledger struct {
	live map[int]entry // by PID
	base tally         // of those that nobody in the container inherited
	last tally         // what was told last
}

// update takes the live processes and returns the sum since the container began
// to be watched.
func (l *ledger) update(now []entry) tally {
	current := make(map[int]entry, len(now))
	var sum tally
	for i := range now {
		current[now[i].pid] = now[i]
		sum.add(&now[i].tally)
	}
	// What exited, collected at its nearest ancestor that still lives. PID 0
	// stands for "outside the container".
	heirs := map[int]*tally{}
	for pid, was := range l.live {
		if is, ok := current[pid]; ok && is.identity == was.identity {
			continue
		}
		heir := l.heir(was.parent, current)
		if heirs[heir] == nil {
			heirs[heir] = &tally{}
		}
		heirs[heir].add(&was.tally)
	}
	for heir, lost := range heirs {
		if heir != 0 {
			is, was := current[heir], l.live[heir]
			// If the heir reaped them, it grew by all they ever had, which
			// is at least what was last seen of them.
			if grew, ok := is.tally.growth(&was.tally); ok && grew.holds(lost) {
				continue
			}
		}
		l.base.add(lost)
	}
	l.live = current
	sum.add(&l.base)
	for i := range sum {
		l.last[i] = max(l.last[i], sum[i])
	}
	return l.last
}

// recall completes e, a process that did not run since the last update, with
// the I/O that it had done then. It is false for one that was not there.
func (l *ledger) recall(e *entry) bool {
	was, ok := l.live[e.pid]
	if !ok || was.identity != e.identity {
		return false
	}
	copy(e.tally[:minorFaults], was.tally[:minorFaults])
	return true
}

// heir climbs from pid to a process that was there before and still is.
func (l *ledger) heir(pid int, current map[int]entry) int {
	for range len(l.live) + 1 {
		was, ok := l.live[pid]
		if !ok {
			return 0
		}
		if is, ok := current[pid]; ok && is.identity == was.identity {
			return pid
		}
		pid = was.parent
	}
	return 0
}
