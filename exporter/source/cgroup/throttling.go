package cgroup

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/estiba/estiba/exporter/source"
)

// Throttling adds to the kernel module's snapshots how long a container's CPU
// limit kept it from running. No kernel offers that to modules; it is in
// cpu.stat of the container's cgroup, which everybody may read
// (Documentation/admin-guide/cgroup-v2.rst, scheduler/sched-bwc.rst). Where it
// cannot be read the field stays unknown.
//
// Only a container that ran can have been throttled, and only one that has a
// limit: of the others cpu.stat is looked at each 30 s, to see whether they were
// given one, and of those that did nothing never.
type Throttling struct {
	module source.Source
	config Config

	mu     sync.Mutex
	reader reader
	round  uint64
	quotas map[run]*quota
}

// run names a container from one start to the next.
type run struct {
	id          string
	shim, start uint64
}

// quota is what is kept of a container between snapshots.
type quota struct {
	group     group
	stat      file // cpu.stat; without a path: not found yet
	round     uint64
	cpu       uint64 // CPU time when it was last read, ns
	periods   bool   // a limit is, or was, in force
	since     time.Duration
	looked    time.Duration
	throttled uint64 // ns
	known     bool
}

// group is what the module says of a container's v2 cgroup: its path, and whether
// its CPU time comes from there, which it does unless others claim it, too.
type group struct{ path, counts string }

// NewThrottling wraps the module. Of the configuration it uses the two paths.
func NewThrottling(module source.Source, c Config) *Throttling {
	return &Throttling{module: module, config: c, reader: newReader(maxKept), quotas: map[run]*quota{}}
}

// Name is that of the module.
func (t *Throttling) Name() string { return t.module.Name() }

// Snapshot is the module's, with source.CPUThrottled where it is known. While
// there is none no file stays open.
func (t *Throttling) Snapshot(ctx context.Context) (*source.Snapshot, error) {
	snap, err := t.module.Snapshot(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.round++
	if err != nil {
		t.forget()
		return nil, err
	}
	boot, _ := snap.Host.Get(source.Boottime)
	now := time.Duration(boot)
	found := sync.OnceValue(func() layout { return findLayout(t.config.CgroupFS) })
	here := 0
	for i := range snap.Containers {
		c := &snap.Containers[i]
		cpu, ok := c.Get(source.CPU)
		if _, told := c.Get(source.CPUThrottled); told || !ok || c.ID == "" {
			continue // a document of somebody else
		}
		q := t.quotaOf(c, now)
		here++
		if c.State != source.Ended && q.due(cpu, now) {
			if q.stat.path == "" {
				q.stat.path = t.find(found(), c)
			}
			t.read(q)
			q.cpu, q.looked = cpu, now
		}
		if q.known {
			c.Set(source.CPUThrottled, q.throttled)
		}
	}
	if len(t.quotas) > here {
		t.forget()
	}
	return snap, nil
}

// quotaOf gives what is kept of a container of this round. It begins anew when the
// module says something else of the cgroup.
func (t *Throttling) quotaOf(c *source.Container, now time.Duration) *quota {
	key, g := runOf(c), group{c.Cgroup, c.CPUSource}
	q := t.quotas[key]
	switch {
	case q == nil:
		q = &quota{since: now, group: g}
		t.quotas[key] = q
	case c.State != source.Ended && q.group != g:
		t.reader.close(&q.stat)
		*q = quota{since: q.since, group: g}
	}
	q.round = t.round
	return q
}

func runOf(c *source.Container) run {
	shim, _ := c.Get(source.PID)
	start, _ := c.Get(source.StartTime)
	return run{c.ID, shim, start}
}

// due tells whether cpu.stat has to be read. A container is new for 30 s, as its
// first period may not have begun when it is first seen.
func (q *quota) due(cpu uint64, now time.Duration) bool {
	switch {
	case q.looked == 0:
		return true
	case cpu == q.cpu:
		return false
	}
	return q.periods || now-q.since < recheck || now-q.looked >= recheck
}

// read takes what cpu.stat says. It never takes less than before: a cgroup that
// was made anew under the same name is another run's.
func (t *Throttling) read(q *quota) {
	if q.stat.path == "" {
		return
	}
	b, err := t.reader.again(&q.stat)
	if err != nil {
		return
	}
	periods, limited := value(b, "nr_periods")
	q.periods = limited && periods > 0
	if v, ok := throttledTime(b); ok {
		q.throttled, q.known = max(q.throttled, v), true
	}
}

// find gives the path of cpu.stat in the hierarchy that has the cpu controller,
// or "" where the container has no cgroup of its own there. The module tells the
// path of its v2 cgroup, which is the same in all hierarchies. On a host without
// a v2 hierarchy the membership of the first process tells it, as long as that is
// not a pod's: its containers have one shim, and the first process is one of them.
func (t *Throttling) find(l layout, c *source.Container) string {
	if c.Cgroup != "" {
		if c.CPUSource != "cgroup" {
			return "" // another container claims it, too
		}
		for _, root := range []string{l.v1["cpu"], l.v2} {
			if dir := filepath.Join(root, c.Cgroup); root != "" && exists(dir) {
				return filepath.Join(dir, "cpu.stat")
			}
		}
		return ""
	}
	if c.Namespace == kubernetes {
		return ""
	}
	p := l.locate(c.ID, t.membership(c, source.InitPID), t.membership(c, source.PID))
	if p.cpu == "" || !strings.Contains(p.cpu, c.ID) {
		return ""
	}
	return filepath.Join(p.cpu, "cpu.stat")
}

// kubernetes is containerd's namespace for pods.
const kubernetes = "k8s.io"

func (t *Throttling) membership(c *source.Container, which source.Field) membership {
	pid, ok := c.Get(which)
	if !ok {
		return nil
	}
	b, err := t.reader.read(t.config.procPath(int(pid), "cgroup"))
	if err != nil {
		return nil
	}
	return parseMembership(b)
}

// forget lets go of the containers that are not of this round.
func (t *Throttling) forget() {
	for key, q := range t.quotas {
		if q.round != t.round {
			t.reader.close(&q.stat)
			delete(t.quotas, key)
		}
	}
}
