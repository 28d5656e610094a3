package cgroup

import (
	"bytes"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/cgroupfile"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
)

// maxCPUs is above the limit of Linux.
const maxCPUs = 1 << 20

// Bandwidths reads the CPU limits and throttling counters of containers in the snapshots
// of another source: cpu.max and cpu.stat of the container's cgroup, readable by all users
// (Documentation/admin-guide/cgroup-v2.rst, scheduler/sched-bwc.rst). It keeps cpu.stat
// open.
type Bandwidths struct {
	config      Config
	reader      reader
	hierarchies *hierarchies
}

// Bandwidth is the CPU limit and the throttling of one container in one cgroup.
type Bandwidth struct {
	stat     file       // cpu.stat; no path: not found yet
	counters [3]counter // periods, throttled periods, throttled time
	known    bool       // counters are known
	limit    cgroupfile.CPULimit
	hasLimit bool // limit is known
	limitAt  time.Duration
}

// Reading is a container whose Bandwidth is to be read.
type Reading struct {
	*Bandwidth
	Container *source.Container

	shim, first membership // if the document has no cgroup
}

// NewBandwidths uses Config.ProcFS and Config.CgroupFS.
func NewBandwidths(c Config) *Bandwidths {
	return &Bandwidths{config: c, reader: newReader(maxKept), hierarchies: newHierarchies(c.CgroupFS)}
}

// Read reads the files of some containers of snap. What cannot be read is unknown, or
// stays as it was.
func (b *Bandwidths) Read(snap *source.Snapshot, all []*Reading) {
	boot, _ := snap.Host.Get(source.Boottime)
	now := time.Duration(boot)
	cpus, _ := snap.Host.Get(source.CPUs)
	if now == 0 { // a document without a time
		cpus = 0
	}
	at := bounds{now: now, cpus: int(min(cpus, maxCPUs))}
	b.find(all, now)
	for _, r := range all {
		start, _ := r.Container.Get(source.StartTime)
		b.read(r.Bandwidth, at, time.Duration(min(start, uint64(now))))
	}
}

// Close closes the file that Read keeps open.
func (b *Bandwidths) Close(w *Bandwidth) { b.reader.close(&w.stat) }

// Fill fills in what is known.
func (w *Bandwidth) Fill(c *source.Container) {
	if w.known {
		for i, f := range bandwidthFields() {
			c.Set(f, w.counters[i].value)
		}
	}
	if w.hasLimit {
		setCPULimit(c, w.limit)
	}
}

// Limited reports whether a limit is, or was, in force.
func (w *Bandwidth) Limited() bool { return w.counters[0].value > 0 }

// bandwidthFields returns the fields of Bandwidth.counters.
func bandwidthFields() [3]source.Field {
	return [3]source.Field{source.CPUPeriods, source.CPUThrottledPeriods, source.CPUThrottled}
}

// read reads cpu.stat, and the limit if it was not read recently or may have changed.
func (b *Bandwidths) read(w *Bandwidth, at bounds, began time.Duration) {
	if w.stat.path == "" {
		return
	}
	text, err := b.reader.again(&w.stat)
	if err != nil {
		return
	}
	limited := w.Limited()
	if is, ok := cgroupfile.CPUBandwidth(text); ok {
		known := true
		for i, f := range bandwidthFields() {
			_, ok := w.counters[i].update(w.stat.path, [...]uint64{is.Periods, is.ThrottledPeriods, is.Throttled}[i], limit{at, rateOf(f), began})
			known = known && ok
		}
		w.known = known
	}
	if w.limitAt == 0 || at.now-w.limitAt >= recheck || w.Limited() != limited {
		w.limit, w.hasLimit = b.limit(filepath.Dir(w.stat.path))
		w.limitAt = at.now
	}
}

// limit reads the CPU limit of a v1 or v2 cgroup.
func (b *Bandwidths) limit(dir string) (cgroupfile.CPULimit, bool) {
	if text, err := b.reader.read(filepath.Join(dir, "cpu.max")); err == nil {
		return cgroupfile.CPUMax(text)
	}
	quota, err := b.reader.read(filepath.Join(dir, "cpu.cfs_quota_us"))
	if err != nil {
		return cgroupfile.CPULimit{}, false
	}
	quota = bytes.Clone(quota) // the next read reuses the buffer
	period, err := b.reader.read(filepath.Join(dir, "cpu.cfs_period_us"))
	if err != nil {
		return cgroupfile.CPULimit{}, false
	}
	return cgroupfile.CFS(quota, period)
}

// find sets the path of cpu.stat in the hierarchy of the cpu controller, "" if the
// container has no cgroup of its own there. The document has the path of the v2 cgroup,
// which is the same in all hierarchies. Without a v2 hierarchy it follows from the
// membership of the init process.
func (b *Bandwidths) find(all []*Reading, now time.Duration) {
	all = slices.DeleteFunc(slices.Clone(all), func(r *Reading) bool { return r.stat.path != "" })
	if len(all) == 0 {
		return
	}
	h := b.hierarchies
	h.find()
	var climbing [][]*process
	for _, r := range all {
		if r.Container.Cgroup != "" {
			continue
		}
		r.shim, r.first = b.membership(r.Container, source.PID), b.membership(r.Container, source.InitPID)
		if r.Container.Namespace != "" { // otherwise there is no shim
			h.note(r.shim)
		}
		if r.first.climbs() {
			climbing = append(climbing, []*process{{membership: r.first}})
		}
	}
	h.believe(climbing)
	for _, r := range all {
		r.stat.path = b.path(r, now)
	}
}

func (b *Bandwidths) path(r *Reading, now time.Duration) string {
	h, c := b.hierarchies, r.Container
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
	found := h.locate(o, []*process{{membership: r.first}}, r.shim, now)
	if dirs := found.dirs[cpu]; len(dirs) == 1 {
		if cut, _ := o.cut(strings.TrimPrefix(dirs[0], h.roots[cpu])); cut == "" {
			return ""
		}
		return filepath.Join(dirs[0], "cpu.stat")
	}
	return ""
}

func (b *Bandwidths) membership(c *source.Container, which source.Field) membership {
	pid, ok := c.Get(which)
	if !ok {
		return nil
	}
	text, err := b.reader.read(filepath.Join(b.config.ProcFS, strconv.FormatUint(pid, 10), "cgroup"))
	if err != nil {
		return nil
	}
	return procfile.ParseMembership(text)
}
