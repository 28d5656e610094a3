// Package cgroup makes snapshots from /proc and the cgroup file systems, for
// hosts that take no kernel module: the same containers and fields, with
// cgroups of version 1, 2 or both.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/estiba/estiba/exporter/source"
)

// idleSample is how long the source goes without a reader before it takes a
// sample of its own, see window.
const idleSample = 6 * time.Second

// creation is how long a container may take to get its cgroups. One that has
// none of its own after that never gets them.
const creation = 10 * time.Second

// Config says where to look. The clocks are values so that tests can set them;
// nil stands for the real ones.
type Config struct {
	ProcFS   string // "/proc"
	CgroupFS string // "/sys/fs/cgroup"

	// Owner is the user whose shims are believed beside root's: the exporter's
	// own, when it runs for a rootless Docker.
	Owner int
	// Lacking is called once for each thing that may not be read.
	Lacking func(Lack)

	Now      func() time.Time     // wall clock
	Boottime func() time.Duration // boot clock
}

// Source reads /proc and the cgroup file systems.
type Source struct {
	config Config
	fs     procfs.FS

	mu           sync.Mutex
	reader       reader
	layout       layout
	lastSnapshot time.Duration // boot clock
	listed       listing
	known        map[int]*known // processes by PID
	all          []process      // this and the next three are reused by each snapshot
	byPID        map[int]int    // process, as an index into all
	places       map[string]*state
	entries      []entry
	lacks        map[Lack]bool // told already
	sequence     uint64
	swapless     bool   // the host has no swap at all
	swapTotal    uint64 // kB
	hostNetwork  string // network namespace of the host's first process
	pageKB       uint64

	shimsSeen  map[identity]shim
	containers map[identity]*state // by shim
	endedCPU   uint64              // ns of containers that ended
	restCPU    uint64              // what unattributed CPU was told last
}

// state is what is kept of one container between snapshots.
type state struct {
	children map[identity]membership // of the shim: where they are
	shim     membership              // where the shim itself is
	place    place
	shared   bool // another container claims the same cgroup
	files    [numFiles]file
	io       map[identity]*file // /proc/PID/io of its processes
	netOf    identity           // whose network is known
	network  string
	started  uint64 // ns, boot clock
	ledger   ledger
	window   window
	cpu      uint64 // ns told last
	split    split
	peakRSS  uint64 // kB
	disk     [2]uint64
	resolved bool
	rest     rest
}

// New makes a source. It fails if there is no /proc at the given path.
func New(c Config) (*Source, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Boottime == nil {
		c.Boottime = boottime
	}
	fs, err := newFS(c.ProcFS)
	if err != nil {
		return nil, fmt.Errorf("cgroup source: %w", err)
	}
	if c.Lacking == nil {
		c.Lacking = func(Lack) {}
	}
	return &Source{config: c, fs: fs, reader: newReader(maxKept), pageKB: uint64(os.Getpagesize() / 1024),
		known: map[int]*known{}, byPID: map[int]int{}, places: map[string]*state{}, lacks: map[Lack]bool{}, shimsSeen: map[identity]shim{}, containers: map[identity]*state{}}, nil
}

// Name is source.Cgroup.
func (s *Source) Name() string { return source.Cgroup }

// Run keeps windows short while nobody reads: it takes a snapshot whenever the
// last one is older than idleSample and the source is in use. While it is not,
// it keeps no file open. It returns when ctx ends.
func (s *Source) Run(ctx context.Context, inUse func() bool) {
	timer := time.NewTimer(idleSample)
	defer timer.Stop()
	defer s.Release()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		s.mu.Lock()
		left := idleSample - (s.config.Boottime() - s.lastSnapshot)
		s.mu.Unlock()
		switch {
		case left > 0:
		case inUse():
			// An error is the next reader's to see.
			_, _ = s.Snapshot(ctx)
		default:
			s.Release()
		}
		if left <= 0 {
			left = idleSample
		}
		timer.Reset(min(left, idleSample))
	}
}

// Release closes all files. The next snapshot opens what it needs.
func (s *Source) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.known {
		s.forget(k)
	}
	for _, st := range s.containers {
		s.closeFiles(st)
	}
}

// closeFiles closes what is open of a container.
func (s *Source) closeFiles(st *state) {
	for i := range st.files {
		s.reader.close(&st.files[i])
	}
	for _, f := range st.io {
		s.reader.close(f)
	}
}

// Snapshot collects one.
func (s *Source) Snapshot(ctx context.Context) (*source.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	wall := s.config.Now()
	snap := &source.Snapshot{Source: source.Cgroup, Schema: "1", Module: "estiba-exporter"}
	btime, err := s.host(&snap.Host)
	if err != nil {
		return nil, err
	}
	boot, now := s.clocks(wall, btime)
	s.sequence++
	for _, st := range s.containers {
		s.usage(st, now)
	}
	all, err := s.processes(now)
	if err != nil {
		return nil, err
	}
	byPID := s.byPID
	clear(byPID)
	for i := range all {
		byPID[all[i].pid] = i
	}
	s.layout = findLayout(s.config.CgroupFS)
	if s.hostNetwork, err = os.Readlink(s.config.procPath(1, "ns/net")); err != nil {
		s.hostNetwork = ""
	}
	shims := s.shims(all, byPID)
	owner := owners(all, byPID, shims)
	for _, pid := range s.listed.pids {
		s.known[pid].owner = nil
	}
	members := membersOf(owner, len(shims))
	s.forgetEnded()
	total, _ := snap.Host.Get(source.MemoryTotal)
	settled := make([]*state, len(shims))
	firsts := make([]int, len(shims))
	clear(s.places)
	for i := range shims {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("reading containers: %w", err)
		}
		if len(members[i]) == 0 {
			continue // created, not started yet, or ending
		}
		st, first := s.settle(&shims[i], all, members[i], now)
		settled[i], firsts[i] = st, first
		if st != nil {
			members[i] = s.withoutRuntime(st, all, members[i], owner)
			for _, j := range members[i] {
				s.known[all[j].pid].owner = st
			}
		}
		if st == nil || st.place == (place{}) {
			continue
		}
		// A cgroup that two claim is neither's own.
		other := s.places[st.place.key()]
		if st.shared = other != nil; st.shared {
			other.shared = true
		}
		s.places[st.place.key()] = st
	}
	snap.Containers = make([]source.Container, 0, len(shims))
	for i, st := range settled {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("reading containers: %w", err)
		}
		if st == nil {
			continue
		}
		snap.Containers = append(snap.Containers, source.Container{})
		c := &snap.Containers[len(snap.Containers)-1]
		shims[i].describe(c)
		if !s.container(c, st, all, firsts[i], members[i], now, total) {
			snap.Containers = snap.Containers[:len(snap.Containers)-1]
		}
	}
	s.remainder(snap, all, owner)
	snap.Host.Set(source.Sequence, s.sequence)
	snap.Host.Set(source.Realtime, uint64(wall.UnixNano()))
	snap.Host.Set(source.Boottime, uint64(wall.UnixNano())-boot)
	snap.Host.Set(source.ContainersFound, uint64(len(snap.Containers)))
	snap.Host.Set(source.CollectTime, uint64(time.Since(began)))
	s.lastSnapshot = s.config.Boottime()
	return snap, nil
}

// settle finds the state of a shim's container and its first process (an index
// into all, -1 for none). It gives nil while the runtime is still putting the
// container together: what runs under the shim then is the runtime.
func (s *Source) settle(sh *shim, all []process, members []int, now time.Duration) (*state, int) {
	st := s.containers[sh.identity]
	if st == nil {
		st = &state{}
	}
	changed := s.children(st, sh, all, members)
	first := firstProcess(sh, st, all, members)
	if first >= 0 {
		st.started = all[first].start * tickNS
		young := now-time.Duration(st.started) < creation
		if changed || !st.resolved {
			s.resolve(st, sh, young)
		}
		if young && st.place == (place{}) {
			return nil, -1
		}
	}
	s.containers[sh.identity] = st
	return st, first
}

// container fills c from its processes and cgroups. It is false if the container
// ended meanwhile: half of its numbers would be worse than none.
func (s *Source) container(c *source.Container, st *state, all []process, first int, members []int, now time.Duration, totalKB uint64) bool {
	if first >= 0 {
		c.Command = all[first].comm
		c.Set(source.InitPID, uint64(all[first].pid))
	}
	c.Set(source.StartTime, st.started)
	if st.rest.cpu.sequence != s.sequence || st.rest.cpu.shared != st.shared {
		s.usage(st, now) // it is new, or its cgroups are others
	}
	st.rest.cpu.tell(c)

	var vsz, rss, threads uint64
	entries := s.entries[:0]
	complete, recalled := true, true
	for _, i := range members {
		p := &all[i]
		vsz += p.vsz / 1024
		rss += p.rss * s.pageKB
		threads += p.threads
		e := entry{identity: p.identity, parent: p.parent}
		e.tally[minorFaults], e.tally[majorFaults], e.tally[cpuTicks] = p.minor, p.major, p.cpu
		if st.rest.resting && !st.rest.ioMissing && st.ledger.recall(&e) {
			entries = append(entries, e)
			continue
		}
		recalled = false
		switch err := s.processIO(st, p.identity, &e.tally); {
		case err == nil:
			entries = append(entries, e)
		case gone(err): // it ended meanwhile: the ledger keeps what it had
		default:
			s.lacking(LackIO, err)
			complete = false
			entries = append(entries, e)
		}
	}
	s.entries = entries
	if len(entries) == 0 {
		return false
	}
	st.rest.ioMissing = !complete
	s.closeEnded(st, entries)
	c.Set(source.VSZ, vsz)
	c.Set(source.RSS, rss)
	c.Set(source.Threads, threads)
	c.Set(source.Processes, uint64(len(members)))
	st.peakRSS = max(st.peakRSS, rss)
	c.Set(source.PeakRSS, st.peakRSS)
	if totalKB > 0 {
		c.Set(source.MemoryPercent, uint64(float64(rss)/float64(totalKB)*10000+0.5))
	}

	s.cgroupStats(st, c, now)
	if _, ok := c.Get(source.Swap); !ok && s.swapless {
		c.Set(source.Swap, 0)
	}
	sum := st.ledger.last
	if !recalled {
		sum = st.ledger.update(entries)
	}
	c.Set(source.MinorFaults, sum[minorFaults])
	c.Set(source.MajorFaults, sum[majorFaults])
	if complete {
		c.Set(source.IOReadBytes, sum[readChars])
		c.Set(source.IOWriteBytes, sum[writeChars])
		c.Set(source.IOReadCalls, sum[readCalls])
		c.Set(source.IOWriteCalls, sum[writeCalls])
	}
	s.disk(c, st, &sum, complete)
	if c.CPUSource == "" && (st.shared || st.place == (place{})) {
		c.CPUSource = "tasks"
		c.Set(source.CPU, sum[cpuTicks]*tickNS)
	}
	if first >= 0 {
		shim, _ := c.Get(source.PID)
		s.network(st, &all[first], int(shim), c, now)
	}
	if cpu, ok := c.Get(source.CPU); ok {
		st.cpu = max(st.cpu, cpu)
		c.Set(source.CPU, st.cpu)
		if user, ok := c.Get(source.CPUUser); ok {
			system, _ := c.Get(source.CPUSystem)
			user, system = st.split.update(st.cpu, user, system)
			c.Set(source.CPUUser, user)
			c.Set(source.CPUSystem, system)
		}
		if percent, length, ok := st.window.sample(now, st.cpu, time.Duration(st.started)); ok {
			c.Set(source.CPUPercent, percent)
			c.Set(source.CPUWindow, uint64(length))
		}
	}
	st.rest.end(c, now)
	return true
}

// disk tells the storage I/O: what the block layer moved for the container's
// cgroup. Version 1 does not see there what the kernel writes back later, so
// that the larger of this and the processes' own count is taken. Version 2 counts
// what is written back, too, which goes on while the container rests.
func (s *Source) disk(c *source.Container, st *state, sum *tally, complete bool) {
	if st.rest.resting && st.files[ioStat].path == "" {
		st.rest.tell(c, source.DiskRead, source.DiskWrite)
		return
	}
	read, written, ok := s.storage(st)
	if complete && (!ok || st.files[blkioOwn].path != "") {
		read, written, ok = max(read, sum[readBytes]), max(written, sum[writeBytes]), true
	}
	if !ok {
		return
	}
	st.disk[0], st.disk[1] = max(st.disk[0], read), max(st.disk[1], written)
	c.Set(source.DiskRead, st.disk[0])
	c.Set(source.DiskWrite, st.disk[1])
}

// firstProcess is the oldest child of the shim that is not the runtime at work:
// the container's init. Later children are processes that were brought in
// (docker exec).
func firstProcess(sh *shim, st *state, all []process, members []int) int {
	first := -1
	for _, i := range members {
		if all[i].parent != sh.pid || st.isRuntime(st.children[all[i].identity]) {
			continue
		}
		if first < 0 || all[i].start < all[first].start || (all[i].start == all[first].start && all[i].pid < all[first].pid) {
			first = i
		}
	}
	return first
}

// isRuntime tells whether somebody below the shim who is in these cgroups is the
// runtime at work for it (runc create, exec, delete): it stays where the shim
// is, while a process of the container is put elsewhere before its program
// begins. Of a container without cgroups of its own nobody can tell.
func (st *state) isRuntime(at membership) bool {
	return st.place != (place{}) && maps.Equal(at, st.shim)
}

// withoutRuntime leaves the runtime at work, and what it runs for itself, out of
// the members of a container: they are nobody's.
func (s *Source) withoutRuntime(st *state, all []process, members, owner []int) []int {
	runtime := map[int]bool{} // PIDs
	for id, at := range st.children {
		if st.isRuntime(at) {
			runtime[id.pid] = true
		}
	}
	if len(runtime) == 0 {
		return members
	}
	for found := true; found; {
		found = false
		for _, i := range members {
			if !runtime[all[i].parent] || runtime[all[i].pid] {
				continue
			}
			b, err := s.reader.read(s.config.procPath(all[i].pid, "cgroup"))
			if err == nil && st.isRuntime(parseMembership(b)) {
				runtime[all[i].pid], found = true, true
			}
		}
	}
	left := members[:0]
	for _, i := range members {
		if runtime[all[i].pid] {
			owner[i] = -1
		} else {
			left = append(left, i)
		}
	}
	return left
}

// children keeps where each child of the shim is. It tells whether that
// changed: processes come (docker exec, the containers of a pod) and go.
func (s *Source) children(st *state, sh *shim, all []process, members []int) (changed bool) {
	if st.children == nil {
		st.children = map[identity]membership{}
	}
	there := 0
	for _, i := range members {
		if all[i].parent != sh.pid {
			continue
		}
		there++
		if _, ok := st.children[all[i].identity]; ok {
			continue
		}
		b, err := s.reader.read(s.config.procPath(all[i].pid, "cgroup"))
		if err != nil {
			continue
		}
		st.children[all[i].identity] = parseMembership(b)
		changed = true
	}
	if len(st.children) == there {
		return changed
	}
	live := make(map[identity]bool, there)
	for _, i := range members {
		live[all[i].identity] = true
	}
	for id := range st.children {
		if !live[id] {
			delete(st.children, id)
			changed = true
		}
	}
	return changed
}

// resolve finds the container's cgroups once its processes are in them. While
// the runtime is still putting a young one together they are not, or not in
// all hierarchies: then it will be asked again.
func (s *Source) resolve(st *state, sh *shim, young bool) {
	b, err := s.reader.read(s.config.procPath(sh.pid, "cgroup"))
	if err != nil {
		return
	}
	st.shim = parseMembership(b)
	common, whole := commonMembership(st.children, st.shim)
	found := s.layout.locate(sh.id, common, st.shim)
	if st.resolved = found != (place{}) && (whole || !young); !st.resolved {
		clear(st.children)
	}
	if found != st.place {
		s.closeFiles(st)
		st.place, st.files, st.rest = found, found.files(), rest{}
	}
}

// processIO adds /proc/PID/io to t (proc_pid_io(5)); it covers all threads,
// past ones too, and reaped children.
func (s *Source) processIO(st *state, id identity, t *tally) error {
	f := st.io[id]
	if f == nil {
		if st.io == nil {
			st.io = map[identity]*file{}
		}
		f = &file{path: s.config.procPath(id.pid, "io")}
		st.io[id] = f
	}
	was := f.fd
	b, err := s.reader.again(f)
	if err != nil {
		return err
	}
	for i, key := range [...]string{
		readChars: "rchar", writeChars: "wchar", readCalls: "syscr", writeCalls: "syscw",
		readBytes: "read_bytes", writeBytes: "write_bytes",
	} {
		v, ok := value(b, key)
		if !ok {
			return errIO
		}
		t[i] = v
	}
	if was > 0 && was == f.fd {
		return nil
	}
	// It was opened by its path just now: there may be another process of the
	// same PID by now.
	if b, err = s.reader.read(s.config.procPath(id.pid, "stat")); err != nil {
		return err
	}
	if p, err := parseStat(b, ""); err != nil || p.identity != id {
		s.reader.close(f)
		return errRecycled
	}
	return nil
}

// closeEnded closes the files of processes that are not there any more.
func (s *Source) closeEnded(st *state, now []entry) {
	if len(st.io) == len(now) {
		return
	}
	live := make(map[identity]bool, len(now))
	for i := range now {
		live[now[i].identity] = true
	}
	for id, f := range st.io {
		if !live[id] {
			s.reader.close(f)
			delete(st.io, id)
		}
	}
}

// errRecycled is ESRCH for a process whose PID another has by now.
var errRecycled = fmt.Errorf("another process has the same PID now: %w", syscall.ESRCH)

var errIO = errors.New("not the format of proc_pid_io(5)")

// forgetEnded drops the state of containers whose shim is gone and keeps their
// CPU time.
func (s *Source) forgetEnded() {
	for id, st := range s.containers {
		if _, alive := s.shimsSeen[id]; !alive {
			s.endedCPU += st.cpu
			s.closeFiles(st)
			delete(s.containers, id)
		}
	}
}

// remainder tells what belongs to no container.
func (s *Source) remainder(snap *source.Snapshot, all []process, owner []int) {
	var processes, threads, rss, vsz uint64
	var hostThreads, hostRSS uint64
	for i := range all {
		hostThreads += all[i].threads
		hostRSS += all[i].rss * s.pageKB
		if owner[i] >= 0 {
			continue
		}
		processes++
		threads += all[i].threads
		rss += all[i].rss * s.pageKB
		vsz += all[i].vsz / 1024
	}
	h := &snap.Host
	h.Set(source.HostProcesses, uint64(len(all)))
	h.Set(source.HostThreads, hostThreads)
	h.Set(source.HostRSS, hostRSS)
	h.Set(source.UnattributedProcesses, processes)
	h.Set(source.UnattributedThreads, threads)
	h.Set(source.UnattributedRSS, rss)
	h.Set(source.UnattributedVSZ, vsz)

	if s.swapless {
		h.Set(source.UnattributedSwap, 0)
	} else if free, ok := h.Get(source.SwapFree); ok {
		// What is swapped out and in no container's account.
		rest := s.swapTotal - min(free, s.swapTotal)
		for i := range snap.Containers {
			swap, _ := snap.Containers[i].Get(source.Swap)
			rest -= min(swap, rest)
		}
		h.Set(source.UnattributedSwap, rest)
	}

	used := s.endedCPU
	for _, st := range s.containers {
		used += st.cpu
	}
	busy, _ := h.Get(source.HostCPUBusy)
	s.restCPU = max(s.restCPU, busy-min(busy, used))
	h.Set(source.EndedCPU, s.endedCPU)
	h.Set(source.UnattributedCPU, s.restCPU)
}
