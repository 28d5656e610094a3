package cgroup

import (
	"slices"
	"strings"
	"time"

	"github.com/estiba/estiba/exporter/source"
	shared "github.com/estiba/estiba/internal/container"
)

// container is the state of one container between snapshots.
type container struct {
	key   key
	shim  *shim         // nil: none
	order int           // in snapshots, within a user
	since time.Duration // first snapshot, boot clock

	// In this snapshot.
	members []*process
	first   *process // init process; nil: unknown
	inside  *process // process in its network namespace; nil: none
	shared  bool     // another container claims its cgroup

	network   string        // network namespace, or hostNetwork; "": unknown
	networkOf identity      // process and time …
	networkAt time.Duration // … of the last read

	interfaces []source.Interface // of this snapshot, if enabled

	// Its cgroups, and the state for which they were located.
	place      place
	files      files
	inodes     [numControllers]uint64 // see number
	origins    [numControllers]string // of counters: the cgroups
	away, lost bool                   // see finding
	moved      bool                   // a process changed its cgroup
	retry      bool
	placed     []*process
	rootsWere  [numControllers]string
	privateWas bool

	// Its counters.
	bounds            bounds
	began             time.Duration // start time, own boot clock
	started           uint64        // ns, boot clock of its host
	ledger            ledger
	entries           []entry
	counters          [source.NumFields]counter
	cpu, user, system meter
	disk              [2]meter // read, written
	split             split
	window            window
	peakRSS           uint64 // kB
}

// closeFiles closes the files of its cgroups.
func (c *container) closeFiles(r *reader) {
	for which := range c.files {
		for i := range c.files[which] {
			r.close(&c.files[which][i])
		}
	}
}

// own reports whether the container's id is its shim's.
func (c *container) own() bool { return c.key.shim != identity{} }

func (c *container) owner() owner { return owner{user: c.key.user, id: c.key.id, shim: c.own()} }

// shimCgroups returns the cgroups of its shim, nil without one.
func (c *container) shimCgroups() membership {
	if c.shim == nil {
		return nil
	}
	return c.shim.membership
}

// firstProcess returns the init process: the oldest child of the shim, or with the id of
// none the oldest process with a parent outside. Later ones are from docker exec. While
// the start time of one is unknown, only a known init process is kept.
func (c *container) firstProcess(sequence uint64) *process {
	if c.first != nil && slices.Contains(c.members, c.first) {
		return c.first
	}
	if c.own() && c.shim.hides == sequence {
		return nil
	}
	var child, outer *process
	for _, p := range c.members {
		if c.own() && p.parent == c.shim.process && (child == nil || oldest(p, child) < 0) {
			child = p
		}
		if !c.holds(p.parent) && (outer == nil || oldest(p, outer) < 0) {
			outer = p
		}
	}
	if child != nil {
		return child
	}
	return outer
}

// holds reports whether a process is in the container, or may be.
func (c *container) holds(p *process) bool {
	switch {
	case p == nil:
		return false
	case !p.between:
		return p.row == c
	case p.home == nil:
		return c.own()
	}
	return p.home.ID == c.key.id
}

// representative returns the process that stands for the container: its shim, its
// monitor, or its init process.
func (c *container) representative() *process {
	switch {
	case c.shim != nil:
		return c.shim.process
	case c.first == nil:
		return slices.MinFunc(c.members, oldest)
	case c.first.parent != nil && monitors(c.first.parent.Comm):
		return c.first.parent
	}
	return c.first
}

// monitors reports whether a comm is that of a program that starts a container without a
// shim and waits for its end: of Podman and CRI-O, LXC, systemd-nspawn.
func monitors(comm string) bool {
	switch comm {
	case "conmon", "lxc-start", "systemd-nspawn":
		return true
	}
	return strings.HasPrefix(comm, "[lxc monitor]")
}

// kubernetes is containerd's namespace of pods.
const kubernetes = "k8s.io"

// describe fills in what identifies the container.
func (c *container) describe(out *source.Container) {
	of := c.representative()
	out.ID, out.ProcessName = c.key.id, of.Comm
	out.Set(source.PID, uint64(of.pid))
	if c.key.user != 0 {
		out.Set(source.User, uint64(c.key.user))
	}
	for _, p := range c.members {
		if h := p.home; h != nil && h.ID == c.key.id {
			if out.Runtime == "" || h.Runtime == shared.Kata {
				out.Runtime = h.Runtime
			}
			if out.Pod == "" {
				out.Pod = h.Pod
			}
		}
	}
	if c.shim == nil {
		return
	}
	out.Namespace = c.shim.namespace
	if out.Runtime == "" {
		out.Runtime = shared.Containerd
		if out.Namespace == engineNamespace {
			out.Runtime = shared.Docker
		}
	}
	if !c.own() || out.Namespace == kubernetes {
		out.Pod = c.shim.id
	}
	// Kata Containers run a whole pod in the cgroup of its sandbox.
	if c.own() && out.Namespace == kubernetes && out.Runtime != shared.Kata {
		out.Pause = source.Yes
	}
}

// engineNamespace is containerd's namespace of Docker Engine.
const engineNamespace = "moby"

// memoryOrigin returns the origin of memory counters.
func (c *container) memoryOrigin() string {
	if len(c.place.dirs[memory]) > 0 {
		return c.origins[memory]
	}
	return c.origins[unified]
}

// settled sets the place.
func (c *container) settled(p place) {
	c.place, c.files = p, p.files()
	c.number()
	for k, dirs := range p.dirs {
		c.origins[k] = strings.Join(dirs, "\n")
	}
}

// count sets the field of a counter.
func (c *container) count(out *source.Container, f source.Field, origin string, v uint64) {
	if v, ok := c.counters[f].update(origin, v, c.limit(f)); ok {
		out.Set(f, v)
	}
}

// limit returns the plausible growth of a counter.
func (c *container) limit(f source.Field) limit { return limit{c.bounds, rateOf(f), c.began} }

// fill fills in a container from its processes and cgroups. It returns false if the
// container exited meanwhile: partial numbers would be wrong.
func (s *Source) fill(c *container, clock clock, host hostState, networks map[string]network) (out source.Container, ok bool) {
	c.describe(&out)
	if c.first != nil {
		out.Command = c.first.Comm
		out.Set(source.InitPID, uint64(c.first.pid))
	}
	if clock.known && c.started != 0 {
		out.Set(source.StartTime, c.started)
	}
	c.bounds, c.began = bounds{clock.now, s.cpus, &s.odd}, clock.own(c.started)
	complete, there := s.tally(c, clock)
	if !there {
		return out, false
	}
	s.fillProcesses(c, &out, host)
	if !c.shared {
		out.Cgroup = c.place.path
	}
	s.fillMemory(c, &out, host.swapless)
	s.fillPressure(c, &out)
	if _, ok := out.Get(source.Swap); !ok && host.swapless {
		out.Set(source.Swap, 0)
	}
	s.fillCPU(c, &out, clock)
	s.fillIO(c, &out, complete, clock)
	s.fillNetwork(c, networks, &out)
	if s.config.OpenFiles && !s.processes.hidden {
		s.processes.fillOpenFiles(c.members, &out)
	}
	for _, p := range c.members {
		p.member = true
	}
	return out, true
}

// fillProcesses fills in the sums over processes.
func (s *Source) fillProcesses(c *container, out *source.Container, host hostState) {
	var vsz, rss, threads uint64
	for _, p := range c.members {
		s.processes.memory(p)
		vsz = sum(vsz, p.VSZ/1024)
		rss = sum(rss, p.rssKB(s.processes.pageKB))
		threads = sum(threads, p.Threads)
	}
	out.Set(source.VSZ, vsz)
	out.Set(source.RSS, rss)
	out.Set(source.Threads, threads)
	out.Set(source.Processes, uint64(len(c.members)))
	c.peakRSS = max(c.peakRSS, rss)
	out.Set(source.PeakRSS, c.peakRSS)
	if host.Total.Known && host.Total.Value > 0 {
		out.Set(source.MemoryPercent, uint64(float64(rss)/float64(host.Total.Value)*10000+0.5))
	}
	out.Set(source.MinorFaults, c.ledger.last[minorFaults])
	out.Set(source.MajorFaults, c.ledger.last[majorFaults])
}

// fillCPU fills in CPU time: from its own cgroups, or else the sum over its
// processes.
func (s *Source) fillCPU(c *container, out *source.Container, clock clock) {
	user, system := c.ledger.last[userTime], c.ledger.last[systemTime]
	tasks := cpuTime{fromTasks, sum(user, system), user, system, true}
	read, ok := s.readCPU(c, out)
	if c.place.partial && read.total < tasks.total {
		ok = false
	}
	if out.CPUSource = "cgroup"; !ok {
		out.CPUSource, read = "tasks", tasks
	}
	limit := c.limit(source.CPU)
	total, ok := c.cpu.update(read.origin, read.total, tasks.total, limit)
	if !ok {
		out.CPUSource = ""
		return
	}
	out.Set(source.CPU, total)
	if read.parts {
		user, ok1 := c.user.update(read.origin, read.user, tasks.user, limit)
		system, ok2 := c.system.update(read.origin, read.system, tasks.system, limit)
		if ok1 && ok2 {
			user, system = c.split.update(total, user, system)
			out.Set(source.CPUUser, user)
			out.Set(source.CPUSystem, system)
		}
	}
	if percent, length, ok := c.window.sample(clock.now, c.cpu.value, clock.own(c.started)); ok {
		out.Set(source.CPUPercent, percent)
		out.Set(source.CPUWindow, uint64(length))
	}
}

// readCPU reads the CPU time of its own cgroups, and fills in their throttling and limit.
func (s *Source) readCPU(c *container, out *source.Container) (cpuTime, bool) {
	bandwidth := s.kernelBandwidth(c, out)
	if !bandwidth {
		s.fillCPULimit(c, out)
	}
	if t, ok := s.kernelCPU(c); ok {
		if !bandwidth {
			s.fillCPUStat(c, out)
		}
		return t, true
	}
	if t, ok := s.fillCPUStat(c, out); ok {
		return t, true
	}
	return s.cpuacctTime(c)
}

// ticks converts ticks to ns.
func ticks(n uint64) uint64 { return min(n, ^uint64(0)/tickNS) * tickNS }
