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
	still     bool // it used no CPU time since the snapshot before
	resting   bool // the same, and not everything is read
	full      bool // everything is read, whatever may be supposed of it
	fullAt    time.Duration
	cpu       cpuReading       // of this snapshot
	usage     uint64           // CPU time of the last whole one, ns
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
	r.still = ok && !young && r.fullAt != 0 && usage == r.usage
	r.resting = r.still && !r.full
}

// end keeps what was told once all of it was read: a snapshot that is given up
// in the middle leaves what the container did since the last whole one to the
// next.
func (r *rest) end(c *source.Container, now time.Duration) {
	r.last = *c
	r.usage = r.cpu.values[0]
	switch {
	case !r.cpu.known[0]: // no cgroup of its own
		r.fullAt = 0
	case r.full:
		r.fullAt = now
	}
}

// cpuReading is what the cgroups of a container said of its CPU time.
type cpuReading struct {
	sequence uint64 // of the snapshot
	shared   bool   // they were not its own
	values   [len(cpuFields)]uint64
	known    [len(cpuFields)]bool
}

var cpuFields = [...]source.Field{source.CPU, source.CPUUser, source.CPUSystem, source.CPUThrottled}

func (r *cpuReading) take(c *source.Container, sequence uint64, shared bool) {
	r.sequence, r.shared = sequence, shared
	for i, f := range cpuFields {
		r.values[i], r.known[i] = c.Get(f)
	}
}

func (r *cpuReading) tell(c *source.Container) {
	for i, f := range cpuFields {
		if r.known[i] {
			c.Set(f, r.values[i])
			c.CPUSource = "cgroup"
		}
	}
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
