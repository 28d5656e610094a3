package cgroup

import (
	"strings"
	"time"
)

// counter continues when it is read from another cgroup, since processes of a container
// can be moved. It never decreases.
//
// The raw value can decrease: it was misread, now or before, or was reset. From then on
// the counter adds its growth. When the raw value reaches its old maximum again it was
// misread in between, and the growth does not count twice.
type counter struct {
	origin string // cgroup of raw; "": never read
	raw    uint64
	value  uint64
	at     time.Duration // time of raw, boot clock

	top, atTop uint64 // largest raw value, and value at that time
	doubt      uint64 // last rejected raw value

	interfaces kept[string] // its addends, if it sums interfaces
}

// limit is the plausible growth of a counter.
type limit struct {
	bounds
	rate  float64       // see bounds
	began time.Duration // start of counting, boot clock
}

// update takes the raw value of origin and returns the value to publish; false if
// there is none yet. Growth between the last read of one cgroup and the first of another
// is lost.
func (c *counter) update(origin string, raw uint64, l limit) (uint64, bool) {
	return c.advance(origin, raw, 0, l)
}

// advance is update with a fallback: if raw does not show the growth, it is otherwise.
func (c *counter) advance(origin string, raw, otherwise uint64, l limit) (uint64, bool) {
	switch {
	case c.origin == "":
		if c.doubts(raw, 0, l.began, l) {
			return 0, false
		}
		c.value = raw
	case !c.follows(origin):
		c.value += otherwise
		c.top = 0
	case raw < c.raw:
		c.value += otherwise
	default:
		from := c.raw
		if raw >= c.top {
			from = c.top
		}
		if c.doubts(raw, from, c.at, l) {
			return c.value, true
		}
		if raw < c.top {
			c.value += raw - c.raw
		} else {
			c.value = max(c.value, c.atTop+(raw-c.top))
		}
	}
	c.origin, c.raw, c.at, c.doubt = origin, raw, l.now, 0
	if raw >= c.top {
		c.top, c.atTop = raw, c.value
	}
	return c.value, true
}

// doubts reports whether a number grew implausibly since a time and was not confirmed
// by a second read.
func (c *counter) doubts(raw, from uint64, since time.Duration, l limit) bool {
	if raw-from <= l.most(l.rate, since) || c.doubt > 0 && raw >= c.doubt {
		return false
	}
	c.doubt = raw
	l.doubted()
	return true
}

// follows reports whether origin includes the previous cgroup: it is the same or an
// ancestor.
func (c *counter) follows(origin string) bool {
	return origin == c.origin || strings.HasPrefix(c.origin, origin+"/")
}

// meter is a counter that the processes have as well, less precisely. Their sum shows
// the growth when the cgroup changes.
type meter struct {
	counter
	tasks uint64 // last sum over the processes

	devices kept[deviceOf] // its addends, if it sums devices
}

// fromTasks is the origin of sums over processes.
const fromTasks = "tasks"

// update takes the raw value of origin (or fromTasks) and the sum over the processes,
// which never decreases.
func (m *meter) update(origin string, raw, tasks uint64, l limit) (uint64, bool) {
	grown := tasks - min(tasks, m.tasks)
	m.tasks = tasks
	return m.advance(origin, raw, grown, l)
}

// Limits for parts of a sum that are gone.
const (
	missingLong = 3   // consecutive snapshots until a part is gone
	maxGone     = 256 // gone parts that are remembered
)

// kept has the last values of each part of a sum (a device, an interface). A part that
// is missing or not parsable keeps its values for a while: otherwise the sum would
// decrease, and count the part again on its return.
type kept[K comparable] struct {
	origin string
	parts  map[K]*part
	gone   int
	folded [4]uint64 // sum of forgotten parts
}

type part struct {
	values  [4]uint64
	missing int
	fresh   bool // new in this snapshot
	counted bool // is part of the sum
}

// begin starts a snapshot; it forgets all parts of another origin.
func (k *kept[K]) begin(origin string) {
	if k.parts == nil || k.origin != origin {
		*k = kept[K]{origin: origin, parts: map[K]*part{}}
	}
	for _, p := range k.parts {
		p.missing++
		p.fresh = false
	}
}

// says takes the values of a part. With odd, when some lines were not parsable, a
// smaller value is rejected.
func (k *kept[K]) says(which K, values [4]uint64, odd bool) {
	p := k.parts[which]
	if p == nil {
		p = &part{counted: true, fresh: true}
		k.parts[which] = p
	}
	if p.missing > missingLong {
		k.gone--
	}
	p.missing = 0
	for i, v := range values {
		if !odd || v > p.values[i] {
			p.values[i] = v
		}
	}
}

// renamed merges a new part with one that has just disappeared and counted no more: a
// renamed interface counts once.
func (k *kept[K]) renamed() {
	for _, now := range k.parts {
		if !now.fresh {
			continue
		}
		var was *part
		var of K
		for which, p := range k.parts {
			if p.missing == 1 && p.values != [4]uint64{} && holdsEach(now.values[:], p.values[:]) && (was == nil || holdsEach(p.values[:], was.values[:])) {
				was, of = p, which
			}
		}
		if was != nil {
			delete(k.parts, of)
		}
	}
}

// holdsEach reports whether no value of b exceeds that of a.
func holdsEach(a, b []uint64) bool {
	for i := range a {
		if a[i] < b[i] {
			return false
		}
	}
	return true
}

// end returns the contribution of the gone parts. With odd no part counts as missing:
// it may be in a line that was not parsable.
func (k *kept[K]) end(odd bool) (gone [4]uint64) {
	for which, p := range k.parts {
		if odd && p.missing > 0 && p.missing <= missingLong {
			p.missing--
		}
		if p.missing == missingLong+1 {
			k.gone++
		}
		if p.there() {
			continue
		}
		if !p.counted {
			delete(k.parts, which)
			k.gone--
			continue
		}
		if k.gone > maxGone {
			k.folded = add(k.folded, p.values)
			delete(k.parts, which)
			k.gone--
			continue
		}
		gone = add(gone, p.values)
	}
	return add(gone, k.folded)
}

// there reports whether a part exists, or did until recently.
func (p *part) there() bool { return p.missing <= missingLong }

func add(a, b [4]uint64) [4]uint64 {
	addEach(a[:], b[:])
	return a
}

// addEach adds the values of b to those of a.
func addEach(a, b []uint64) {
	for i := range a {
		a[i] = sum(a[i], b[i])
	}
}
