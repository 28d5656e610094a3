package cgroup

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/cgroupfile"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
)

// Throttling adds the CPU limit and the throttling counters of containers to the
// kernel module's snapshots. The kernel does not export them to modules; they are in
// cpu.max and cpu.stat of the container's cgroup, readable by all users
// (Documentation/admin-guide/cgroup-v2.rst, scheduler/sched-bwc.rst). If they are not
// readable the fields are unknown.
//
// Only a container that ran and has a limit can have been throttled. Without a limit,
// cpu.stat is read every 30 s in case one was set, and never for an idle container. The
// limit itself is read every 30 s in which the container ran.
type Throttling struct {
	module source.Source
	config Config

	mu          sync.Mutex
	reader      reader
	hierarchies *hierarchies
	round       uint64
	quotas      map[run]*quota
}

// maxCPUs is above the limit of Linux.
const maxCPUs = 1 << 20

// recheck is how long values are cached that rarely change: the absence of a CPU limit,
// the cgroups of a shim.
const recheck = 30 * time.Second

// run identifies one life of a container.
type run struct {
	id          string
	shim, start uint64
}

// quota is the state of a container between snapshots.
type quota struct {
	group    group
	stat     file // cpu.stat; no path: not found yet
	round    uint64
	cpu      uint64 // CPU time at the last read, ns
	since    time.Duration
	looked   time.Duration
	counters [3]counter // periods, throttled periods, throttled time
	known    bool       // counters are known
	limit    cgroupfile.CPULimit
	hasLimit bool // limit is known
	limitAt  time.Duration
}

// group is the v2 cgroup of a container in the document: its path, and the source of
// its CPU time, which is the cgroup unless another container claims it.
type group struct{ path, counts string }

// NewThrottling wraps the module. It uses Config.ProcFS and Config.CgroupFS.
func NewThrottling(module source.Source, c Config) *Throttling {
	return &Throttling{module: module, config: c, reader: newReader(maxKept), hierarchies: newHierarchies(c.CgroupFS), quotas: map[run]*quota{}}
}

// Name returns the name of the module.
func (t *Throttling) Name() string { return t.module.Name() }

// Snapshot returns the module's snapshot with CPU limits and throttling. After an error
// no file stays open.
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
	here := 0
	var read []*look
	for i := range snap.Containers {
		c := &snap.Containers[i]
		cpu, ok := c.Get(source.CPU)
		if _, known := c.Get(source.CPUThrottled); known || !ok || c.ID == "" {
			continue // a document of another program
		}
		q := t.quotaOf(c, now)
		here++
		if c.State != source.Ended && q.due(cpu, now) {
			read = append(read, &look{container: c, quota: q})
			q.cpu, q.looked = cpu, now
		} else {
			q.fill(c)
		}
	}
	t.find(read, now)
	cpus, _ := snap.Host.Get(source.CPUs)
	if now == 0 { // a document without a time
		cpus = 0
	}
	for _, l := range read {
		start, _ := l.container.Get(source.StartTime)
		t.read(l.quota, bounds{now: now, cpus: int(min(cpus, maxCPUs))}, time.Duration(min(start, uint64(now))))
		l.fill(l.container)
	}
	if len(t.quotas) > here {
		t.forget()
	}
	return snap, nil
}

// quotaOf returns the state of a container, reset if its cgroup has changed.
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

// due reports whether cpu.stat must be read. A new container is read for 30 s, because
// its first period may start after its first snapshot.
func (q *quota) due(cpu uint64, now time.Duration) bool {
	switch {
	case q.looked == 0:
		return true
	case cpu == q.cpu:
		return false
	}
	return q.limited() || now-q.since < recheck || now-q.looked >= recheck
}

// fill fills in the CPU limit and the throttling counters.
func (q *quota) fill(c *source.Container) {
	if q.known {
		for i, f := range bandwidthFields() {
			c.Set(f, q.counters[i].value)
		}
	}
	if q.hasLimit {
		setCPULimit(c, q.limit)
	}
}

// bandwidthFields returns the fields of quota.counters.
func bandwidthFields() [3]source.Field {
	return [3]source.Field{source.CPUPeriods, source.CPUThrottledPeriods, source.CPUThrottled}
}

// limited reports whether a limit is, or was, in force.
func (q *quota) limited() bool { return q.counters[0].value > 0 }

// read reads cpu.stat, and the limit if it was not read recently or may have changed.
func (t *Throttling) read(q *quota, at bounds, began time.Duration) {
	if q.stat.path == "" {
		return
	}
	b, err := t.reader.again(&q.stat)
	if err != nil {
		return
	}
	limited := q.limited()
	if w, ok := cgroupfile.CPUBandwidth(b); ok {
		known := true
		for i, f := range bandwidthFields() {
			_, ok := q.counters[i].update(q.stat.path, [...]uint64{w.Periods, w.ThrottledPeriods, w.Throttled}[i], limit{at, rateOf(f), began})
			known = known && ok
		}
		q.known = known
	}
	if q.limitAt == 0 || at.now-q.limitAt >= recheck || q.limited() != limited {
		q.limit, q.hasLimit = t.limit(filepath.Dir(q.stat.path))
		q.limitAt = at.now
	}
}

// limit reads the CPU limit of a v1 or v2 cgroup.
func (t *Throttling) limit(dir string) (cgroupfile.CPULimit, bool) {
	if b, err := t.reader.read(filepath.Join(dir, "cpu.max")); err == nil {
		return cgroupfile.CPUMax(b)
	}
	quota, err := t.reader.read(filepath.Join(dir, "cpu.cfs_quota_us"))
	if err != nil {
		return cgroupfile.CPULimit{}, false
	}
	quota = bytes.Clone(quota) // the next read reuses the buffer
	period, err := t.reader.read(filepath.Join(dir, "cpu.cfs_period_us"))
	if err != nil {
		return cgroupfile.CPULimit{}, false
	}
	return cgroupfile.CFS(quota, period)
}

// look is a container whose cpu.stat is due.
type look struct {
	*quota
	container *source.Container

	shim, first membership // if the document has no cgroup
}

// find sets the path of cpu.stat in the hierarchy of the cpu controller, "" if the
// container has no cgroup of its own there. The document has the path of the v2 cgroup,
// which is the same in all hierarchies. Without a v2 hierarchy it follows from the
// membership of the init process.
func (t *Throttling) find(all []*look, now time.Duration) {
	all = slices.DeleteFunc(slices.Clone(all), func(l *look) bool { return l.stat.path != "" })
	if len(all) == 0 {
		return
	}
	h := t.hierarchies
	h.find()
	var climbing [][]*process
	for _, l := range all {
		if l.container.Cgroup != "" {
			continue
		}
		l.shim, l.first = t.membership(l.container, source.PID), t.membership(l.container, source.InitPID)
		if l.container.Namespace != "" { // otherwise there is no shim
			h.note(l.shim)
		}
		if l.first.climbs() {
			climbing = append(climbing, []*process{{membership: l.first}})
		}
	}
	h.believe(climbing)
	for _, l := range all {
		l.stat.path = t.path(l, now)
	}
}

func (t *Throttling) path(l *look, now time.Duration) string {
	h, c := t.hierarchies, l.container
	if c.Cgroup != "" {
		if c.CPUSource != "cgroup" {
			return "" // another container claims it as well
		}
		for _, root := range []string{h.roots[cpu], h.roots[unified]} {
			if dir := filepath.Join(root, c.Cgroup); root != "" && exists(dir) {
				return filepath.Join(dir, "cpu.stat")
			}
		}
		return ""
	}
	user, _ := c.Get(source.User)
	o := owner{user: uint32(user), id: c.ID, shim: c.Namespace != ""}
	found := h.locate(o, []*process{{membership: l.first}}, l.shim, now)
	if dirs := found.dirs[cpu]; len(dirs) == 1 {
		if cut, _ := o.cut(strings.TrimPrefix(dirs[0], h.roots[cpu])); cut == "" {
			return ""
		}
		return filepath.Join(dirs[0], "cpu.stat")
	}
	return ""
}

func (t *Throttling) membership(c *source.Container, which source.Field) membership {
	pid, ok := c.Get(which)
	if !ok {
		return nil
	}
	b, err := t.reader.read(filepath.Join(t.config.ProcFS, strconv.FormatUint(pid, 10), "cgroup"))
	if err != nil {
		return nil
	}
	return procfile.ParseMembership(b)
}

// forget drops the containers that are not in this round.
func (t *Throttling) forget() {
	for key, q := range t.quotas {
		if q.round != t.round {
			t.reader.close(&q.stat)
			delete(t.quotas, key)
		}
	}
}
