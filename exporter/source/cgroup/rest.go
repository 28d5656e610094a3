package cgroup

import (
	"time"

	"github.com/estiba/estiba/exporter/source"
)

// recheck is how old a value may get that is not read at each snapshot.
const recheck = 30 * time.Second

// stallTime is more than the kernel takes to bring the totals of pressure stall
// information up to date, which is two seconds (accounting/psi.rst).
const stallTime = 5 * time.Second

// rest is what is known of a container that uses no CPU time. A process that
// did not run has neither read nor written, nor was it throttled or killed: the
// files that count this need not be read again. Its memory is another matter,
// the kernel may take some away, and so are its network and what it waits for.
type rest struct {
	resting   bool // it used no CPU time since the snapshot before
	full      bool // everything is read, whatever may be supposed of it
	fullAt    time.Duration
	usage     uint64           // CPU time read last, ns
	last      source.Container // what was told last
	ioMissing bool             // some process' io could not be read
	lonely    bool             // there is no interface but loopback
	waitingAt time.Duration    // when a task was last seen to wait for memory or storage, or may have
	calm      bool             // that is long ago
}

// begin takes the CPU time, which is the first that is read of a container:
// whatever happens afterwards shows in that of the next snapshot.
func (r *rest) begin(c *source.Container, now time.Duration, young bool) {
	usage, ok := c.Get(source.CPU)
	r.full = !ok || young || r.fullAt == 0 || now-r.fullAt >= recheck
	if r.full {
		r.fullAt = now
	}
	if !ok { // no cgroup of its own
		r.fullAt = 0
	}
	r.resting = !r.full && usage == r.usage
	r.usage = usage
}

// same tells whether c says the same of f as was told last.
func (r *rest) same(c *source.Container, f source.Field) bool {
	now, ok1 := c.Get(f)
	last, ok2 := r.last.Get(f)
	return ok1 == ok2 && now == last
}

// tell gives values of the last snapshot once more, if they were known then and
// have not been read this time.
func (r *rest) tell(c *source.Container, fields ...source.Field) {
	for _, f := range fields {
		_, read := c.Get(f)
		if v, ok := r.last.Get(f); ok && !read {
			c.Set(f, v)
		}
	}
}
