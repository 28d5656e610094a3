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
	"sync"

	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup"
)

// New returns a source of the processes and cgroups of this host. The program is loaded by
// the first snapshot. If it cannot be loaded, onAbsent is called once with the reason, and
// every snapshot fails with source.ErrAbsent.
func New(c cgroup.Config, onAbsent func(error)) (*cgroup.Source, error) {
	c.Kernel = &kernel{config: c, onAbsent: onAbsent}
	return cgroup.New(c)
}

// kernel loads the program when it is needed.
type kernel struct {
	config   cgroup.Config
	onAbsent func(error)

	once   sync.Once
	reader *reader
	err    error
}

// Read implements cgroup.Kernel.
func (k *kernel) Read() (*cgroup.Pass, error) {
	k.once.Do(func() {
		if k.reader, k.err = newReader(k.config.ProcFS, k.config.SysFS); k.err != nil {
			k.onAbsent(k.err)
			k.err = fmt.Errorf("BPF: %w: %w", source.ErrAbsent, k.err)
		}
	})
	if k.err != nil {
		return nil, k.err
	}
	return k.reader.Read()
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

// initialPIDNamespace is the inode of the host's PID namespace (PROC_PID_INIT_INO,
// include/linux/proc_ns.h).
const initialPIDNamespace = 0xEFFFFFFC

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
	self, err := os.Readlink(filepath.Join(procfs, "self"))
	if st.Ino != initialPIDNamespace || err != nil || self != strconv.Itoa(os.Getpid()) {
		return errors.New("requires the host's PID namespace and its /proc")
	}
	return nil
}
