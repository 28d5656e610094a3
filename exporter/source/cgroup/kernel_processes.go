package cgroup

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
)

// kernelProcess is what a Kernel knows of a process, beyond its Stat.
type kernelProcess struct {
	set                          uint64 // see KernelProcess.Set
	network                      string // its network namespace, as /proc/PID/ns/net; "": unknown
	networkID                    uint32
	io                           [procfile.NumIO]uint64
	runtime                      uint64 // ns
	split                        split  // of runtime
	childrenUser, childrenSystem uint64 // ns
	incomplete                   bool   // its files are read instead
}

// renew reads all processes, and with a Kernel their cgroups.
func (s *Source) renew() error {
	t := s.processes
	if s.config.Kernel == nil {
		return t.renew()
	}
	t.sequence++
	t.groups, t.verify, t.now, t.renames = &s.groups, s.verify, s.config.Boottime(), s.hierarchies.renames()
	first := false
	for try := range tallyTries {
		pass, err := s.config.Kernel.Read()
		if err != nil {
			return err
		}
		s.groups.take(pass)
		first = t.take(pass)
		if try == tallyTries-1 || !t.reaped() {
			break
		}
	}
	return t.complete(first)
}

// take updates all processes from a pass. It returns false if PID 1 is not visible.
func (t *processes) take(pass *Pass) (first bool) {
	t.hasIO = pass.HasIO
	if len(t.sets) > 2*len(pass.Groups) {
		t.prune()
	}
	for _, p := range t.all { // of an earlier try
		p.seen = 0
	}
	t.all = t.all[:0]
	clear(t.between)
	for i := range pass.Processes {
		k := &pass.Processes[i]
		first = first || k.PID == 1
		id := identity{k.PID, k.Start / tickNS}
		p := t.byPID[k.PID]
		if p == nil || p.identity != id || p.kernel == nil {
			if p != nil { // the PID was reused
				p.close(t.reader)
			}
			p = &process{identity: id, born: t.sequence, kernel: &kernelProcess{}}
			t.byPID[k.PID] = p
		}
		p.seen = t.sequence
		p.take(k, t.pageKB)
		t.all = append(t.all, p)
	}
	if !first { // a security module can hide it from programs
		if p := t.byPID[1]; p != nil {
			p.kernel, p.stat.path = nil, t.path(1, "stat")
		}
		if p, err := t.look(1); p != nil {
			t.all = slices.Insert(t.all, 0, p)
			first = true
		} else {
			first = !errors.Is(err, fs.ErrPermission)
		}
	}
	for i := len(pass.Threads) - 1; i >= 0; i-- { // the first of a process counts
		k := &pass.Threads[i]
		if p := t.byPID[k.PID]; p != nil && p.kernel != nil && p.seen == t.sequence && p.headless() {
			p.VSZ, p.RSS, p.kernel.set = k.VSZ*t.pageKB*1024, k.RSS, k.Set
			p.kernel.enterNetwork(k.Network)
		}
	}
	return first
}

// The exit states of a main thread (include/linux/sched.h).
const (
	exitDead   = 0x10
	exitZombie = 0x20
)

// take updates a process. Its counters do not decrease: what a thread that is just
// exiting had can be missing from a pass.
func (p *process) take(is *KernelProcess, pageKB uint64) {
	name, _, _ := bytes.Cut(is.Name[:], []byte{0})
	if string(name) != p.Comm {
		p.Comm = string(name)
	}
	p.PID, p.Parent, p.Threads = is.PID, is.Parent, is.Threads
	switch {
	case is.Exit == 0:
		p.State = 'R'
	case is.Exit&exitDead != 0:
		p.State = 'X'
	default:
		p.State = 'Z'
	}
	p.Start, p.VSZ, p.RSS = is.Start/tickNS, is.VSZ*pageKB*1024, is.RSS
	k := p.kernel
	k.set, k.incomplete = is.Set, is.Incomplete
	k.enterNetwork(is.Network)
	if k.incomplete {
		return
	}
	p.Minor, p.Major = max(p.Minor, is.Minor), max(p.Major, is.Major)
	k.runtime = max(k.runtime, is.Runtime)
	k.split.update(k.runtime, is.User, is.System)
	k.childrenUser, k.childrenSystem = max(k.childrenUser, is.ChildrenUser), max(k.childrenSystem, is.ChildrenSystem)
	for i, v := range is.IO {
		k.io[i] = max(k.io[i], v)
	}
}

// enterNetwork updates the network namespace.
func (k *kernelProcess) enterNetwork(id uint32) {
	if k.networkID == id {
		return
	}
	if k.network, k.networkID = "", id; id != 0 {
		k.network = "net:[" + strconv.FormatUint(uint64(id), 10) + "]"
	}
}

// complement reads the counters of a process from its files, if a pass has not summed its
// threads.
func (t *processes) complement(p *process) {
	if p.kernel == nil || !p.kernel.incomplete {
		return
	}
	is, err := t.stat(p)
	if err != nil {
		return // it keeps its last ones
	}
	p.User, p.System, p.Minor, p.Major = max(p.User, is.User), max(p.System, is.System), max(p.Minor, is.Minor), max(p.Major, is.Major)
}

// reparent reads the parent of a process again: the former one has exited during the pass.
func (t *processes) reparent(p *process) {
	if is, err := t.stat(p); err == nil {
		p.Parent = is.Parent
	}
}

// reaped reports whether a process may be counted twice. A pass is in the order of PIDs: a
// parent with a larger PID is read after its child, and includes it if it has reaped it in
// between.
func (t *processes) reaped() bool {
	for _, p := range t.all {
		if up := t.byPID[p.Parent]; p.Parent > p.pid && up != nil && up.seen == t.sequence && errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH) {
			return true
		}
	}
	return false
}

// set is a combination of cgroups that was read from the file of a process in it.
type set struct {
	hash, unified uint64 // see KernelGroup
	at            string
	membership    membership
	read          time.Duration // time of the file, boot clock
}

// enterSet is enter by the combination of cgroups of the process. Each is read from a file
// once, if the file names the cgroups of the pass: a process may move, or begin to exit,
// between the two.
func (t *processes) enterSet(p *process) (changed bool) {
	if t.knows(p) {
		known := t.sets[p.kernel.set]
		if p.at == known.at {
			return false
		}
		p.at, p.membership = known.at, known.membership
		return true
	}
	g := t.groups.bySet[p.kernel.set]
	was, at := p.membership, p.at
	p.at = "" // the file is parsed whatever it says
	t.enterFile(p)
	t.reader.close(&p.cgroup)
	if g != nil && p.at != "" && t.verify(p.membership, g) {
		t.sets[p.kernel.set] = set{g.Hash, g.Unified.ID, p.at, p.membership, t.now}
	} else if p.at == "" || t.exits(p) {
		p.at, p.membership = at, was
		return false
	}
	if p.at == at {
		p.membership = was
		return false
	}
	return true
}

// knows reports whether the combination of cgroups of a process is known without a file.
func (t *processes) knows(p *process) bool {
	if p.kernel == nil {
		return false
	}
	known, ok := t.sets[p.kernel.set]
	g := t.groups.bySet[p.kernel.set]
	return ok && g != nil && known.hash == g.Hash && known.unified == g.Unified.ID && (!t.renames || t.now-known.read < recheck)
}

// exits reports whether a process has begun to exit: its file then says "/" for v1
// hierarchies.
func (t *processes) exits(p *process) bool {
	is, err := t.stat(p)
	return gone(err) || err == nil && is.Exiting && !p.headless()
}

// prune forgets the combinations of cgroups that no process is in.
func (t *processes) prune() {
	maps.DeleteFunc(t.sets, func(number uint64, _ set) bool { return t.groups.bySet[number] == nil })
}

// verify reports whether a process with this membership is in the cgroups of a combination.
func (s *Source) verify(m membership, g *KernelGroup) bool {
	for k, id := range [numControllers]uint64{unified: g.Unified.ID, cpuacct: g.Cpuacct.ID, cpu: g.CPU.ID, memory: g.Memory.ID, blkio: g.IO.ID} {
		root := s.hierarchies.roots[k]
		if root == "" || id == 0 {
			continue
		}
		at, ok := m[controllers()[k]]
		if s.hierarchies.private { // paths are relative to the own container
			ok = ok && s.hierarchies.located(controllers()[k])
			at = path.Join(s.hierarchies.self.path, at)
		}
		if !ok || inodeOf(path.Join(root, at)) != id {
			return false
		}
	}
	return true
}
