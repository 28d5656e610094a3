package cgroup

import (
	"time"

	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
)

// tally holds the counters of one process. wait4(2) adds those of a reaped child to
// its parent's.
type tally [numCounters]uint64

// The counters of a tally: those of /proc/PID/io, in the order of procfile.ParseIO,
// then those of /proc/PID/stat.
const (
	minorFaults = procfile.NumIO + iota
	majorFaults
	userTime // ns
	systemTime

	numCounters
)

func (t *tally) add(o *tally) { addEach(t[:], o[:]) }

func (t *tally) sub(o *tally) {
	for i := range t {
		t[i] -= min(t[i], o[i])
	}
}

// growth returns t - before; false if any counter decreased.
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

// holds reports whether every counter of t is at least that of o.
func (t *tally) holds(o *tally) bool { return holdsEach(t[:], o[:]) }

// rates returns the fastest growth of each counter, see bounds.
func rates() [numCounters]float64 {
	return [numCounters]float64{
		procfile.ReadChars: mostBytes, procfile.WriteChars: mostBytes, procfile.ReadBytes: mostBytes, procfile.WriteBytes: mostBytes,
		procfile.ReadCalls: mostCalls, procfile.WriteCalls: mostCalls, minorFaults: mostCalls, majorFaults: mostCalls,
		userTime: mostTime, systemTime: mostTime,
	}
}

// counters is a set of counters of a tally.
type counters uint16

func (s counters) has(i int) bool { return s&(1<<i) != 0 }

// allIO is the set of those of /proc/PID/io.
const allIO counters = 1<<procfile.NumIO - 1

// entry is one live process of a container.
type entry struct {
	identity
	parent  int
	began   time.Duration // start time, boot clock
	tally   tally
	unknown counters // counters that were never read
	arrived bool     // it is older, and its past does not count
	odd     *odd
}

// odd is the extra state of a process with implausible or late counters.
type odd struct {
	doubt  tally // last values that were rejected
	before tally // part of the values that does not count, see ledger.first
}

// ledger sums the tallies of a container's processes; the sum never decreases. The
// counters of an exited process are either in the parent that reaped it, or kept here
// if no process of the container did (its parent is the shim, or ignores SIGCHLD).
type ledger struct {
	live map[int]entry // by PID
	base tally         // of exited processes that no member reaped
	last tally         // last published sum

	first, at time.Duration // of the first and the last update, boot clock

	raw, top, atTop tally // of last, see counter

	// A process may temporarily appear to have left, for instance when its parent is
	// misread. Its tally is in base until it returns.
	left  map[identity]entry
	alive func(identity) bool // nil: processes do not return
}

// update takes the live processes and returns the sum since the first update.
func (l *ledger) update(now []entry, b bounds) tally {
	if l.live == nil {
		l.first = b.now
	}
	defer func() { l.at = b.now }()
	if l.same(now, b) {
		return l.last
	}
	current := make(map[int]entry, len(now))
	for i := range now {
		current[now[i].pid] = now[i]
		if was, ok := l.left[now[i].identity]; ok {
			l.base.sub(&was.tally)
			l.live[was.pid] = was
			delete(l.left, was.identity)
		}
	}
	for id := range l.left {
		if !l.alive(id) {
			delete(l.left, id)
		}
	}
	var ended tally
	for pid, was := range l.live {
		if current[pid].identity != was.identity {
			ended.add(&was.tally)
		}
	}
	var total tally
	most := l.most(&ended, b)
	for i := range now {
		l.believe(&now[i], &most, b)
		current[now[i].pid] = now[i]
		total.add(&now[i].tally)
	}
	// Exited processes by their nearest live ancestor. PID 0 means "outside the
	// container".
	heirs := map[int]*estate{}
	for pid, was := range l.live {
		if is, ok := current[pid]; ok && is.identity == was.identity {
			continue
		}
		heir := l.heir(was.parent, current)
		if heirs[heir] == nil {
			heirs[heir] = &estate{}
		}
		heirs[heir].add(&was)
		if l.alive != nil && l.alive(was.identity) {
			heirs[heir].alive = append(heirs[heir].alive, was)
		}
	}
	for heir, lost := range heirs {
		if heir != 0 {
			is, was := current[heir], l.live[heir]
			// If the heir reaped them, it grew by their final counters, which
			// are at least the last ones read.
			if grew, ok := is.tally.growth(&was.tally); ok && grew.holds(&lost.tally) {
				if lost.odd {
					current[heir] = is.without(&lost.before, &grew, &lost.tally, &total)
				}
				continue
			}
		}
		l.base.add(&lost.tally)
		for _, e := range lost.alive {
			if l.left == nil {
				l.left = map[identity]entry{}
			}
			l.left[e.identity] = e
		}
	}
	l.live = current
	total.add(&l.base)
	l.publish(&total)
	return l.last
}

// estate is the sum of processes that exited, or appear to have.
type estate struct {
	tally, before tally // before: the part that did not count
	odd           bool  // before is not zero
	alive         []entry
}

func (s *estate) add(e *entry) {
	s.tally.add(&e.tally)
	if e.odd != nil {
		s.odd = true
		s.before.add(&e.odd.before)
	}
}

// without removes from an heir, and from the total, the part that did not count of the
// reaped processes: the heir grew by it.
func (e entry) without(before, grew, lost, total *tally) entry {
	next := odd{}
	if e.odd != nil {
		next = *e.odd
	}
	for i := range before {
		more := min(before[i], grew[i]-lost[i])
		next.before[i] = sum(next.before[i], more)
		e.tally[i] -= more
		total[i] -= min(more, total[i])
	}
	e.odd = &next
	return e
}

// same updates the ledger if the live processes are those of the last update.
func (l *ledger) same(now []entry, b bounds) bool {
	if len(now) != len(l.live) || l.live == nil {
		return false
	}
	for i := range now {
		if _, ok := l.of(now[i].identity); !ok {
			return false
		}
	}
	total := l.base
	most := l.most(&tally{}, b)
	for i := range now {
		l.believe(&now[i], &most, b)
		l.live[now[i].pid] = now[i]
		total.add(&now[i].tally)
	}
	l.publish(&total)
	return true
}

// most returns the largest plausible growth of a process since the last update,
// including the tallies of processes that it may have reaped.
func (l *ledger) most(ended *tally, b bounds) (most tally) {
	for i, rate := range rates() {
		most[i] = sum(b.most(rate, l.at), ended[i])
	}
	return most
}

// believe reduces an entry to its plausible values. An unknown counter keeps its last
// value. Implausible growth is left out until it is confirmed. A counter that is read
// for the first time from a process older than the ledger counts from now on: its past
// would appear as growth since the last snapshot, and so does one that has arrived from
// elsewhere. A younger process did all of it since then.
func (l *ledger) believe(e *entry, most *tally, b bounds) {
	was, there := l.of(e.identity)
	if there && e.unknown|was.unknown == 0 && was.odd == nil && e.tally.within(&was.tally, most) {
		return
	}
	var next odd
	if there && was.odd != nil {
		next.before = was.odd.before
	}
	all := rates()
	for i := range e.tally {
		known := there && !was.unknown.has(i)
		from, limit := was.tally[i], most[i]
		if !known {
			from, limit = 0, b.most(all[i], e.began)
		}
		if e.unknown.has(i) {
			if e.tally[i] = from; known {
				e.unknown &^= 1 << i
			}
			continue
		}
		v := e.tally[i] - min(e.tally[i], next.before[i])
		confirmed := there && was.odd != nil && was.odd.doubt[i] > 0 && v >= was.odd.doubt[i]
		switch {
		case v > from && v-from > limit && !confirmed:
			next.doubt[i], e.tally[i] = v, from
			b.doubted()
			if !known {
				e.unknown |= 1 << i
			}
		case there && !known && e.began < l.first, !there && e.arrived:
			next.before[i], e.tally[i] = v, 0
		default:
			e.tally[i] = v
		}
	}
	if next != (odd{}) {
		e.odd = &next
	}
}

// within reports whether no counter of t exceeds before by more than most.
func (t *tally) within(before, most *tally) bool {
	for i := range t {
		if t[i] > before[i] && t[i]-before[i] > most[i] {
			return false
		}
	}
	return true
}

// publish raises the published sum; it never decreases, as for a counter.
func (l *ledger) publish(total *tally) {
	for i, v := range total {
		switch {
		case v >= l.top[i]:
			l.last[i] = max(l.last[i], sum(l.atTop[i], v-l.top[i]))
			l.top[i], l.atTop[i] = v, l.last[i]
		case v > l.raw[i]:
			l.last[i] = sum(l.last[i], v-l.raw[i])
		}
		l.raw[i] = v
	}
}

// of returns the entry of a process in the last update.
func (l *ledger) of(id identity) (entry, bool) {
	was, ok := l.live[id.pid]
	return was, ok && was.identity == id
}

// heir returns the nearest ancestor that was in the last update and still lives.
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
