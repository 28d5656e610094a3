package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
)

// identity distinguishes processes with the same PID.
type identity struct {
	pid   int
	start uint64 // ticks of the boot clock
}

// process is a process of the last snapshot.
type process struct {
	identity
	procfile.Stat
	stat, statm, io, cgroup file // the last three only for containers

	born, seen uint64   // sequences of its first and last snapshot
	parent     *process // in this snapshot; nil: none
	self       *shim    // the process as a shim
	under      *shim    // its ancestor shim
	marked     uint64   // sequence for which under is valid
	member     bool     // belongs to a container in this snapshot
	between    bool     // see processes.between
	lost       bool     // exists, but its parent is unknown
	hides      uint64   // last sequence with an unknown child

	row      *container // of this snapshot; nil: none
	was      *container // row of the last snapshot
	wasUnder identity   // shim of the last snapshot

	oddStat, oddStatm uint64 // last sequences in which a bad file was counted

	thread     int    // TID of a live thread, see liveTask
	at         string // content of /proc/PID/cgroup
	membership membership
	entered    bool // was in cgroups other than its shim's

	home    *home // by its cgroups; nil: no container
	basis   int   // hierarchies.basis of home
	changed bool  // cgroups have changed since the last snapshot

	kernel *kernelProcess // nil: known from its files

	// When at is read while it is in no container, see due.
	found, next time.Duration // first and next time, boot clock
	parentThen  int
	commThen    string
}

// zombie reports whether all threads of the process have exited.
func (p *process) zombie() bool { return p.headless() && p.Threads <= 1 }

// headless reports whether the main thread has exited. Memory, cgroups and namespaces
// are then readable from the other threads.
func (p *process) headless() bool { return p.State == 'Z' || p.State == 'X' || p.State == 'x' }

// close closes its files.
func (p *process) close(r *reader) {
	for _, f := range [...]*file{&p.stat, &p.statm, &p.io, &p.cgroup} {
		r.close(f)
	}
}

// processes has all processes of the host.
type processes struct {
	proc     string // mount point
	reader   *reader
	faults   *faults
	pageKB   uint64
	sequence uint64

	listing listing
	byPID   map[int]*process
	all     []*process // in the kernel's order

	// Processes of this snapshot with an unknown start time: they only connect
	// descendants to ancestors.
	between map[int]*process
	totalKB uint64 // memory of the host, see fits

	hidden bool // some processes are not visible

	sets   map[uint64]set // known combinations of cgroups, see enterSet
	groups *groups

	// See enterSet.
	verify  func(membership, *KernelGroup) bool
	now     time.Duration // boot clock
	renames bool          // cgroups can be renamed
	hasIO   bool          // the kernel counts I/O

	real  bool // see onProc
	sized bool // directory sizes are numbers of descriptors
}

func newProcesses(proc string, r *reader, f *faults) *processes {
	return &processes{
		proc: proc, reader: r, faults: f, pageKB: uint64(os.Getpagesize() / 1024),
		byPID: map[int]*process{}, between: map[int]*process{}, sets: map[uint64]set{},
	}
}

// path returns the path of a file of a process.
func (t *processes) path(pid int, file string) string {
	return filepath.Join(t.proc, strconv.Itoa(pid), file)
}

// renew reads the stat of every process. A process that exits meanwhile is left out. If
// a stat is not parsable, the last one counts; a new process then only connects its
// children to its parent. If PID 1 is not visible, for instance because of the mount
// option hidepid (proc(5)), others may be hidden too.
func (t *processes) renew() error {
	t.sequence++
	pids, err := t.listing.read(t.proc)
	if err != nil {
		return err
	}
	t.all = t.all[:0]
	clear(t.between)
	first := false // PID 1 exists
	for _, pid := range pids {
		p, err := t.look(pid)
		if pid == 1 {
			first = !errors.Is(err, fs.ErrPermission)
		}
		if p != nil {
			t.all = append(t.all, p)
		}
	}
	return t.complete(first)
}

// complete ends the reading of all processes; first is true if PID 1 is visible.
func (t *processes) complete(first bool) error {
	if len(t.all) == 0 {
		return fmt.Errorf("%s: %w: no process is visible", t.proc, source.ErrRefused)
	}
	t.hidden = !first
	if len(t.byPID) != len(t.all) {
		for pid, p := range t.byPID {
			if p.seen != t.sequence {
				p.close(t.reader)
				delete(t.byPID, pid)
			}
		}
	}
	t.link()
	return nil
}

// times returns its CPU time in ns, including reaped children.
func (p *process) times() (user, system uint64) {
	if k := p.kernel; k != nil && !k.incomplete {
		return sum(k.split.user, k.childrenUser), sum(k.split.system, k.childrenSystem)
	}
	return ticks(p.User), ticks(p.System)
}

// look updates one process; nil if it does not exist.
func (t *processes) look(pid int) (*process, error) {
	p := t.byPID[pid]
	if p == nil {
		p = &process{stat: file{path: t.path(pid, "stat")}}
	}
	opened := p.stat.opened
	b, err := t.reader.again(&p.stat)
	var is procfile.Stat
	if err == nil {
		is, err = procfile.ParseStat(b, p.Comm)
		if is.PID != pid {
			if err == nil {
				err = fmt.Errorf("%w: stat of process %d", procfile.ErrFormat, is.PID)
			}
			is = procfile.Stat{}
		}
		if err == nil && p.pid != 0 && opened == p.stat.opened && is.Start != p.start {
			err = fmt.Errorf("%w: start time changed", procfile.ErrFormat)
		}
	}
	switch {
	case err == nil:
	case gone(err):
		return nil, err
	default:
		t.once(&p.oddStat, source.ReasonProcess)
		known := t.descent(pid, &is)
		if p.pid == 0 {
			t.reader.close(&p.stat)
			t.between[pid] = &process{identity: identity{pid: pid}, Stat: is, between: true, lost: !known && pid != 1}
			return nil, err
		}
		if known {
			p.Parent = is.Parent
		}
		p.seen = t.sequence
		return p, err
	}
	if id := (identity{pid, is.Start}); p.identity != id {
		if p.pid != 0 { // the PID was reused
			old := p
			p = &process{stat: old.stat}
			old.stat.fd = 0
			old.close(t.reader)
		}
		p.identity, p.born = id, t.sequence
		t.byPID[pid] = p
	}
	if is.Unknown != 0 {
		t.once(&p.oddStat, source.ReasonLine)
		is.Keep(&p.Stat)
		if is.Unknown&procfile.StatThreads != 0 {
			if b, err := t.reader.read(t.path(pid, "status")); err == nil {
				if n := procfile.ParseStatus(b).Threads; n > 0 {
					is.Threads = n
				}
			}
		}
	}
	p.Stat, p.seen = is, t.sequence
	if is.Unknown&(procfile.StatVSZ|procfile.StatRSS) != 0 {
		t.memory(p)
	}
	return p, nil
}

// once counts a fault of a process at most once per snapshot.
func (t *processes) once(counted *uint64, r source.Reason) {
	if *counted != t.sequence {
		*counted = t.sequence
		t.faults.skip(r, 1)
	}
}

// descent completes the parent and the name of a process with a bad stat, from its
// status. It returns false if the parent is unknown.
func (t *processes) descent(pid int, is *procfile.Stat) bool {
	if is.State != 0 {
		return true
	}
	b, err := t.reader.read(t.path(pid, "status"))
	if err != nil {
		return false
	}
	status := procfile.ParseStatus(b)
	if status.Name != "" {
		is.Comm = status.Name
	}
	is.Parent = status.Parent
	return status.HasPPid
}

// above returns the parent of a process, nil if there is none.
func (t *processes) above(p *process) *process {
	if up := t.byPID[p.Parent]; up != nil {
		return up
	}
	return t.between[p.Parent]
}

// link sets the parents. A process whose parent exited during the scan has a new one,
// so it is read again.
func (t *processes) link() {
	for i, p := range t.all {
		if p.Parent != 0 && t.above(p) == nil {
			if p.kernel != nil {
				t.reparent(p)
			} else if now, _ := t.look(p.pid); now != nil {
				p, t.all[i] = now, now
			}
		}
		p.wasUnder = identity{}
		if p.under != nil {
			p.wasUnder = p.under.identity
		}
		p.parent, p.self, p.under, p.member = t.above(p), nil, nil, false
		p.was, p.row = p.row, nil
	}
	for _, p := range t.between {
		if p.parent = t.above(p); p.parent != nil {
			p.parent.hides = t.sequence
		}
	}
}

// lives reports whether a process exists.
func (t *processes) lives(id identity) bool {
	p := t.byPID[id.pid]
	return p != nil && p.identity == id
}

// release closes all files.
func (t *processes) release() {
	for _, p := range t.byPID {
		p.close(t.reader)
	}
}

// again reads a file of a process and keeps it open.
func (t *processes) again(p *process, f *file, name string) ([]byte, error) {
	if f.path == "" {
		f.path = t.path(p.pid, name)
	}
	return t.reader.again(f)
}

// check returns an error if the process is gone. A stat that is not parsable does not
// mean that.
func (t *processes) check(p *process) error {
	_, err := t.stat(p)
	if errors.Is(err, procfile.ErrFormat) {
		return nil
	}
	return err
}

// stat reads the stat of a process by its name. The error is errRecycled for that of another
// process.
func (t *processes) stat(p *process) (procfile.Stat, error) {
	b, err := t.reader.read(t.path(p.pid, "stat"))
	if err != nil {
		return procfile.Stat{}, err
	}
	is, err := procfile.ParseStat(b, p.Comm)
	if err == nil && is.Start != p.start {
		err = errRecycled
	}
	return is, err
}

// errRecycled is ESRCH for a process whose PID was reused.
var errRecycled = fmt.Errorf("PID was reused: %w", syscall.ESRCH)

// liveTask returns the subdirectory of a process with readable files: "" or, after the
// exit of the main thread, that of a live thread.
func (t *processes) liveTask(p *process) string {
	if !p.headless() || p.zombie() {
		return ""
	}
	folder := func(tid int) string { return filepath.Join("task", strconv.Itoa(tid)) }
	alive := func(tid int) bool {
		b, err := t.reader.read(t.path(p.pid, filepath.Join(folder(tid), "statm")))
		if err != nil {
			return false
		}
		size, _, err := procfile.ParseStatm(b)
		return err == nil && size > 0
	}
	if p.thread != 0 && alive(p.thread) {
		return folder(p.thread)
	}
	p.thread = 0
	t.reader.close(&p.statm)
	t.reader.close(&p.cgroup)
	p.statm.path, p.cgroup.path = "", ""
	entries, err := os.ReadDir(t.path(p.pid, "task"))
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil && tid != p.pid && alive(tid) {
			p.thread = tid
			return folder(tid)
		}
	}
	return ""
}

// readLive reads a file of a process from its liveTask.
func (t *processes) readLive(p *process, f *file, name string) ([]byte, error) {
	folder := t.liveTask(p)
	if folder == "" {
		return t.again(p, f, name)
	}
	b, err := t.again(p, f, filepath.Join(folder, name))
	if errors.Is(err, fs.ErrNotExist) {
		f.path = ""
		return t.again(p, f, name)
	}
	return b, err
}

// livePath returns the path of a file that only a live thread has.
func (t *processes) livePath(p *process, name string) string {
	path := t.path(p.pid, name)
	if folder := t.liveTask(p); folder != "" && !exists(path) {
		return t.path(p.pid, filepath.Join(folder, name))
	}
	return path
}

// memory updates memory from statm. stat can be far off: since Linux 6.2 it sums
// per-CPU counters only roughly, and an exited main thread has none.
func (t *processes) memory(p *process) {
	if p.zombie() || p.kernel != nil {
		return
	}
	b, err := t.readLive(p, &p.statm, "statm")
	if err != nil {
		return
	}
	size, resident, err := procfile.ParseStatm(b)
	if err != nil || size > maxSize/1024/t.pageKB || resident > size || !t.fits(resident) {
		t.once(&p.oddStatm, source.ReasonLine)
		return
	}
	p.VSZ, p.RSS = size*t.pageKB*1024, resident
}

// maxSize is the address space with four levels of page tables. With five levels, a
// larger process keeps the values of its stat.
const maxSize = 1 << 48

// fits reports whether the host has that many pages. Its memory can grow.
func (t *processes) fits(pages uint64) bool {
	if pages*t.pageKB <= t.totalKB {
		return true
	}
	b, err := t.reader.lines(filepath.Join(t.proc, "meminfo"))
	if err != nil {
		return true
	}
	m, _ := procfile.ParseMeminfo(b)
	if !m.Total.Known || m.Total.Value == 0 {
		return true
	}
	t.totalKB = m.Total.Value
	return pages*t.pageKB <= t.totalKB
}

// enter updates the cgroups of a process. A zombie has none, whatever its file says.
func (t *processes) enter(p *process) (changed bool) {
	if p.zombie() {
		changed = p.at != ""
		p.at, p.membership = "", nil
		return changed
	}
	if p.kernel != nil {
		return t.enterSet(p)
	}
	if p.Exiting && !p.headless() {
		return false // it stays where it was
	}
	return t.enterFile(p)
}

// enterFile is enter with the file of the process.
func (t *processes) enterFile(p *process) (changed bool) {
	b, err := t.readLive(p, &p.cgroup, "cgroup")
	if err != nil || len(b) > 0 && string(b) == p.at {
		return false
	}
	if p.parent != nil && len(b) > 0 && string(b) == p.parent.at { // the usual case
		p.at, p.membership = p.parent.at, p.parent.membership
		return true
	}
	m := procfile.ParseMembership(b)
	if len(m) == 0 {
		t.faults.skip(source.ReasonLine, 1)
		return false
	}
	p.at, p.membership = string(b), m
	return true
}

// rssKB returns its resident memory.
func (p *process) rssKB(pageKB uint64) uint64 { return p.RSS * pageKB }
