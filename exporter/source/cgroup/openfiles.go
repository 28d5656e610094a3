package cgroup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/exporter/source"
)

// OpenFiles counts the open file descriptors of containers in the snapshots of another
// source.
type OpenFiles struct{ host *Source }

// NewOpenFiles uses Config.ProcFS, CgroupFS, Owner and OnMissing.
func NewOpenFiles(c Config) *OpenFiles {
	c.OpenFiles = true
	o := &OpenFiles{host: newSource(c)}
	o.host.reader.max /= 2 // Bandwidths keeps files open as well
	return o
}

// Release closes all files.
func (o *OpenFiles) Release() { o.host.Release() }

// Fill fills in the open files of running containers, and Skipped.
func (o *OpenFiles) Fill(ctx context.Context, snap *source.Snapshot) error {
	o.host.mu.Lock()
	defer o.host.mu.Unlock()
	if err := o.fill(ctx, snap); err != nil {
		return err
	}
	snap.Skipped = o.host.faults.counts()
	return nil
}

func (o *OpenFiles) fill(ctx context.Context, snap *source.Snapshot) error {
	s := o.host
	if err := s.processes.renew(); err != nil {
		s.faults.skip(source.ReasonLine, 1)
		return nil
	}
	if s.processes.hidden {
		s.faults.missing(MissingFiles)
		return nil
	}
	s.hierarchies.find()
	there := map[string][]*container{}
	for _, c := range s.assign(clock{now: s.config.Boottime()}) {
		s.enter(c)
		c.moved = false
		c.leaveRuntime()
		var is source.Container
		c.describe(&is)
		there[is.Key()] = append(there[is.Key()], c)
	}
	for i := range snap.Containers {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("counting open files: %w", err)
		}
		is := &snap.Containers[i]
		if is.State == source.Ended {
			continue
		}
		pid, _ := is.Get(source.PID)
		all := there[is.Key()]
		which := slices.IndexFunc(all, func(c *container) bool { // this life of it
			return c.shim == nil || uint64(c.shim.pid) == pid
		})
		if which >= 0 {
			s.processes.fillOpenFiles(all[which].members, is)
		}
	}
	return nil
}

// fillOpenFiles fills in the number of open file descriptors of a container. It is
// unknown if a process is not readable, or none is left. An exited process has none.
func (t *processes) fillOpenFiles(members []*process, out *source.Container) {
	var n uint64
	known := false
	for _, p := range members {
		if p.zombie() {
			continue
		}
		switch v, err := t.countFiles(p); {
		case err == nil:
			n, known = sum(n, v), true
		case gone(err):
		case t.faults.refused(MissingFiles, err):
			return
		default:
			t.faults.skip(source.ReasonLine, 1)
			return
		}
	}
	out.OpenFiles, out.HasOpenFiles = n, known
}

// countFiles counts the open file descriptors of the main thread, which almost all
// programs share between threads. Since Linux 6.2 the size of /proc/PID/fd is their
// number (proc_pid_fd(5)), without further privileges; before, it is 0 and the
// directory must be readable.
func (t *processes) countFiles(p *process) (uint64, error) {
	path := t.path(p.pid, filepath.Join(t.liveTask(p), "fd"))
	if t.real {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return 0, &os.PathError{Op: "stat", Path: path, Err: err}
		}
		t.sized = t.sized || st.Size > 0
		if t.sized {
			return uint64(max(st.Size, 0)), nil
		}
	}
	return t.listing.count(path)
}

// onProc reports whether a path is in the kernel's proc file system: elsewhere the
// size of a directory has another meaning.
func onProc(path string) bool {
	var is unix.Statfs_t
	return unix.Statfs(path, &is) == nil && uint32(is.Type) == unix.PROC_SUPER_MAGIC
}
