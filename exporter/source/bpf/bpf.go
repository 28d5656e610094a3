// Package bpf collects snapshots with a BPF iterator: it reads the same structures of the
// kernel as the kernel module, where no module may be loaded. It needs BTF, and CAP_BPF
// and CAP_PERFMON or root.
//
// The program is assembled at start for the running kernel: the offsets of members come
// from its BTF. A package of its own, cgroup, makes containers of what it reads.
package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup"
)

// Events are called when the program was loaded, or could not be. nil functions are not.
type Events struct {
	// Absent has the reason. It is called again if that changes.
	Absent func(reason error)
	// Loaded has what this kernel does not offer to a program and is read from files.
	Loaded func(fromFiles []string)
}

// New returns a source of the processes and cgroups of this host. The program is loaded by
// the first snapshot. If it cannot be loaded, every snapshot fails with source.ErrAbsent;
// after an error that can pass it is tried again.
func New(c cgroup.Config, e Events) (*cgroup.Source, error) {
	if e.Absent == nil {
		e.Absent = func(error) {}
	}
	if e.Loaded == nil {
		e.Loaded = func([]string) {}
	}
	c.Kernel = &kernel{config: c, events: e, load: newReader, now: time.Now}
	return cgroup.New(c)
}

// kernel loads the program when it is needed. The source calls it from one goroutine at a
// time.
type kernel struct {
	config cgroup.Config
	events Events
	load   func(procfs, sysfs string) (*reader, error)
	now    func() time.Time

	reader *reader
	err    error     // of the last try
	next   time.Time // of the next one; zero: none
}

// retry is the time after which loading is tried again.
const retry = 30 * time.Second

// Ready implements cgroup.Kernel: it loads the program.
func (k *kernel) Ready() error {
	if k.reader == nil && (k.err == nil || !k.next.IsZero() && !k.now().Before(k.next)) {
		k.try()
	}
	if k.reader == nil {
		return fmt.Errorf("BPF: %w: %w", source.ErrAbsent, k.err)
	}
	return nil
}

// Read implements cgroup.Kernel.
func (k *kernel) Read() (*cgroup.Pass, error) {
	if err := k.Ready(); err != nil {
		return nil, err
	}
	return k.reader.Read()
}

func (k *kernel) try() {
	was := k.err
	if k.reader, k.err = k.load(k.config.ProcFS, k.config.SysFS); k.err == nil {
		k.events.Loaded(k.reader.finds.lacks())
		return
	}
	if was == nil || was.Error() != k.err.Error() {
		k.events.Absent(k.err)
	}
	if k.next = (time.Time{}); passes(k.err) {
		k.next = k.now().Add(retry)
	}
}

func newReader(procfs, sysfs string) (*reader, error) {
	if err := ofThisHost(procfs); err != nil {
		return nil, err
	}
	iter, found, err := load(sysfs)
	if err != nil {
		return nil, err
	}
	r := &reader{iter: iter, finds: found, buf: make([]byte, 64<<10)}
	if _, err := os.ReadFile(filepath.Join(procfs, "pressure", "cpu")); err == nil { // psi=0: EOPNOTSUPP
		r.pass.HasPressure = true
	}
	r.pass.HasIO = found.io
	return r, nil
}

// The inodes of the host's namespaces (PROC_PID_INIT_INO and PROC_TIME_INIT_INO,
// include/linux/proc_ns.h). Start times are those of the time namespace.
const (
	initialPIDNamespace  = 0xEFFFFFFC
	initialTimeNamespace = 0xEFFFFFFA
)

// ofThisHost returns an error unless a proc file system is the host's: a program reads the
// host it runs on, with the PIDs of the host.
func ofThisHost(procfs string) error {
	var is unix.Statfs_t
	if err := unix.Statfs(procfs, &is); err != nil {
		return &fs.PathError{Op: "statfs", Path: procfs, Err: err}
	}
	if uint32(is.Type) != unix.PROC_SUPER_MAGIC {
		return fmt.Errorf("%s is not a proc file system", procfs)
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return &fs.PathError{Op: "stat", Path: "/proc/self/ns/pid", Err: err}
	}
	var time unix.Stat_t
	if err := unix.Stat("/proc/self/ns/time", &time); err == nil && time.Ino != initialTimeNamespace {
		return errors.New("requires the host's time namespace")
	}
	self, err := os.Readlink(filepath.Join(procfs, "self"))
	if st.Ino != initialPIDNamespace || err != nil || self != strconv.Itoa(os.Getpid()) {
		return errors.New("requires the host's PID namespace and its /proc")
	}
	return nil
}
