package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// opened is a tree with a container of two processes with 3 and 40 open files, and both
// sources.
type opened struct {
	t     *testing.T
	tree  *hosttree.Tree
	c     hosttree.Container
	lacks []Missing
	m     *module
	of    map[string]source.Source

	reader *OpenFiles // of the module's snapshots
}

func newOpened(t *testing.T, on bool) *opened {
	t.Helper()
	o := &opened{t: t, c: hosttree.Numbered(0)}
	o.tree = newTree(t, "v2-systemd", o.c, hosttree.Numbered(1))
	o.open(o.c.Processes[0], 3)
	o.open(o.c.Processes[1], 40)
	for _, pid := range append(hosttree.Numbered(1).Processes, 1, o.c.ShimPID) {
		o.open(pid, 1)
	}
	lacking := func(l Missing) { o.lacks = append(o.lacks, l) }
	s := onTree(t, o.tree, func(c *Config) { c.OpenFiles, c.OnMissing = on, lacking })
	o.m = &module{snapshot: copyOf(snapshot(t, onTree(t, o.tree)), true)}
	of := NewOpenFiles(Config{ProcFS: o.tree.Proc, OnMissing: lacking})
	t.Cleanup(of.Release)
	o.of, o.reader = map[string]source.Source{source.Cgroup: s, source.Kmod: &completed{o.m, of.Fill}}, of
	return o
}

// open creates n open files of a process: a directory of links, as in /proc.
func (o *opened) open(pid, n int) {
	o.t.Helper()
	if err := os.Mkdir(o.tree.Process(pid, "fd"), 0o700); err != nil {
		o.t.Fatal(err)
	}
	for fd := range n {
		if err := os.Symlink("socket:[1]", filepath.Join(o.tree.Process(pid, "fd"), strconv.Itoa(fd))); err != nil {
			o.t.Fatal(err)
		}
	}
}

// counts returns the open files of both containers; -1: unknown.
func (o *opened) counts(s source.Source) (all []int) {
	o.t.Helper()
	snap, err := s.Snapshot(context.Background())
	if err != nil {
		o.t.Fatal(err)
	}
	for i := range snap.Containers {
		n := -1
		if c := &snap.Containers[i]; c.HasOpenFiles {
			n = int(c.OpenFiles)
		}
		all = append(all, n)
	}
	return all
}

// is compares both sources, and the number of items left out.
func (o *opened) is(what string, skipped uint64, want ...int) {
	o.t.Helper()
	for name, s := range o.of {
		if got := o.counts(s); !slices.Equal(got, want) {
			o.t.Errorf("%s, source %s: %v, want %v", what, name, got, want)
		}
		f := o.faultsOf(name)
		if got := f.skipped[source.ReasonLine]; got != skipped {
			o.t.Errorf("%s, source %s: %d left out, want %d", what, name, got, skipped)
		}
	}
}

func (o *opened) faultsOf(name string) *faults {
	if s, ok := o.of[name].(*Source); ok {
		return s.faults
	}
	return o.reader.host.faults
}

// processesOf returns the processes of a source.
func (o *opened) processesOf() []*processes {
	return []*processes{o.of[source.Cgroup].(*Source).processes, o.reader.host.processes}
}

// TestOpenFiles: the sum over a container's live processes.
func TestOpenFiles(t *testing.T) {
	o := newOpened(t, true)
	o.is("two processes", 0, 43, 2)
	if err := os.Remove(filepath.Join(o.tree.Process(o.c.Processes[1], "fd"), "7")); err != nil {
		t.Fatal(err)
	}
	o.is("one is closed", 0, 42, 2)
	if err := os.RemoveAll(o.tree.Process(o.c.Processes[1], "fd")); err != nil {
		t.Fatal(err)
	}
	o.is("one ends meanwhile", 0, 3, 2)
	if err := os.RemoveAll(o.tree.Process(o.c.Processes[0], "fd")); err != nil {
		t.Fatal(err)
	}
	o.is("both do", 0, -1, 2)
	o.open(o.c.Processes[0], 0)
	o.is("nothing is open", 0, 0, 2)
	if len(o.lacks) > 0 {
		t.Errorf("lacks: %v", o.lacks)
	}
}

// TestOpenFilesBroken: other read errors are counted.
func TestOpenFilesBroken(t *testing.T) {
	o := newOpened(t, true)
	file := o.tree.Process(o.c.Processes[1], "fd")
	if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	o.is("a file in its place", 1, -1, 2)
	o.is("once more", 2, -1, 2)
	if snap, err := o.of[source.Kmod].Snapshot(t.Context()); err != nil || snap.Skipped[source.ReasonLine] != 3 {
		t.Errorf("with the module: %v, %v", snap.Skipped, err)
	}

	// It would show if they were read without the option.
	off := newOpened(t, false)
	file = off.tree.Process(off.c.Processes[1], "fd")
	if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	delete(off.of, source.Kmod)
	off.is("disabled", 0, -1, -1)
}

// TestOpenFilesRefused: with an unreadable process the number is unknown, which is
// reported once.
func TestOpenFilesRefused(t *testing.T) {
	o := newOpened(t, true)
	for _, p := range o.processesOf() {
		p.real = false
	}
	if err := os.Chmod(o.tree.Process(o.c.Processes[1], "fd"), 0); err != nil {
		t.Fatal(err)
	}
	withoutOverride(t)
	o.is("refused", 0, -1, 2)
	o.is("once more", 0, -1, 2)
	if !slices.Equal(o.lacks, []Missing{MissingFiles, MissingFiles}) {
		t.Errorf("lacks: %v, want %s of each source, once", o.lacks, MissingFiles)
	}
	if MissingFiles.Effect() == string(MissingFiles) {
		t.Error("MissingFiles has no description")
	}
}

// withoutOverride makes this thread obey file modes, although it is root.
func withoutOverride(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		t.Fatal(err)
	}
	less := have
	less[0].Effective &^= 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH
	if err := unix.Capset(&header, &less[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Capset(&header, &have[0]); err != nil {
			return // a thread that stays locked ends with the test
		}
		runtime.UnlockOSThread()
	})
}

// TestOpenFilesHidden: with the module, a /proc that hides processes affects no other
// field.
func TestOpenFilesHidden(t *testing.T) {
	o := newOpened(t, true)
	if err := os.RemoveAll(o.tree.Process(1, "")); err != nil {
		t.Fatal(err)
	}
	if got := o.counts(o.of[source.Kmod]); !slices.Equal(got, []int{-1, -1}) || !slices.Equal(o.lacks, []Missing{MissingFiles}) {
		t.Errorf("%v, lacks %v", got, o.lacks)
	}
	if err := os.RemoveAll(o.tree.Proc); err != nil {
		t.Fatal(err)
	}
	if got := o.counts(o.of[source.Kmod]); !slices.Equal(got, []int{-1, -1}) || o.faultsOf(source.Kmod).skipped[source.ReasonLine] != 1 {
		t.Errorf("%v, left out %v", got, o.faultsOf(source.Kmod).skipped)
	}
}

// TestOpenFilesOfModule: for the containers in the document, while they run.
func TestOpenFilesOfModule(t *testing.T) {
	o := newOpened(t, true)
	o.m.snapshot.Containers[1].State = source.Ended
	s := o.of[source.Kmod]
	if got := o.counts(s); !slices.Equal(got, []int{43, -1}) {
		t.Errorf("one has ended: %v", got)
	}
	o.m.snapshot = copyOf(snapshot(t, onTree(t, o.tree)), true)
	o.m.snapshot.Containers[0].Set(source.PID, 1) // which is no shim
	o.m.snapshot.Containers[1].Set(source.PID, 1<<40)
	if got := o.counts(s); !slices.Equal(got, []int{-1, -1}) {
		t.Errorf("no shims: %v", got)
	}
	kept := &o.reader.host.reader.kept
	if *kept != 11 {
		t.Errorf("%d files are open, want the stat of 7 processes, and the cgroups of 4", *kept)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Snapshot(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	o.reader.Release()
	if *kept != 0 {
		t.Errorf("released, %d files are open", *kept)
	}
}

// TestOpenFilesOfThreads: an exited main thread has no files.
func TestOpenFilesOfThreads(t *testing.T) {
	w := watch(t, "v2-systemd")
	w.s.config.OpenFiles = true
	o := &opened{t: t, tree: w.tree}
	o.open(w.c.Processes[0], 3)
	pid := w.c.Processes[1]
	o.open(pid, 0)
	if err := os.MkdirAll(w.tree.Process(pid, "task/5000/fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.WriteFile(w.tree.Process(pid, "task/5000/statm"), []byte("2048 256 128 10 0 300 0\n"), 0o644),
		os.WriteFile(w.tree.Process(pid, "task/5000/fd/0"), nil, 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if c := w.after(1e9); !c.HasOpenFiles || c.OpenFiles != 3 {
		t.Errorf("%d, %t, want 3", c.OpenFiles, c.HasOpenFiles)
	}
	w.change(pid, ") S ", ") Z ")
	if c := w.after(1e9); !c.HasOpenFiles || c.OpenFiles != 4 {
		t.Errorf("%d, %t, want 4 with that of a thread", c.OpenFiles, c.HasOpenFiles)
	}
}

// sleeper is a process with n open files, or a few more.
func sleeper(t testing.TB, n int) int {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd := exec.Command("sleep", "600")
	for range n - 3 {
		cmd.ExtraFiles = append(cmd.ExtraFiles, null)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

// onKernel counts in the real /proc, by the size of the directory or as before Linux
// 6.2.
func onKernel(t testing.TB, sizes bool) *processes {
	t.Helper()
	r := newReader(maxKept)
	p := newProcesses("/proc", &r, newFaults(func(l Missing) { t.Errorf("missing %s", l) }))
	if p.real = sizes; !onProc("/proc") || onProc(t.TempDir()) {
		t.Skip("no /proc of Linux here")
	}
	t.Cleanup(p.release)
	return p
}

// TestOpenFilesOfKernel: the size equals the number of entries.
func TestOpenFilesOfKernel(t *testing.T) {
	few, many := sleeper(t, 3), sleeper(t, 300)
	for _, sizes := range []bool{true, false} {
		p := onKernel(t, sizes)
		for pid, least := range map[int]int{few: 3, many: 300} {
			// A program that starts opens files and closes them.
			var last string
			testutil.Eventually(t, 10*time.Second, "as many as are listed", func() bool {
				list, err := os.ReadDir(p.path(pid, "fd"))
				n, err2 := p.countFiles(&process{identity: identity{pid: pid}})
				if now := fmt.Sprintf("sizes %t: %d, %v; %d listed, %v", sizes, n, err2, len(list), err); now != last {
					last = now
					t.Log(now)
				}
				return err == nil && err2 == nil && len(list) >= least && n == uint64(len(list))
			})
		}
		if _, err := p.countFiles(&process{identity: identity{pid: maxPID}}); !gone(err) {
			t.Errorf("sizes %t: no such process: %v", sizes, err)
		}
	}
}

// BenchmarkOpenFiles measures a container of two processes, by their number of open
// files.
func BenchmarkOpenFiles(b *testing.B) {
	for _, n := range []int{10, 100} {
		members := []*process{{identity: identity{pid: sleeper(b, n)}}, {identity: identity{pid: sleeper(b, n)}}}
		for name, sizes := range map[string]bool{"sized": true, "listed": false} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				p := onKernel(b, sizes)
				for b.Loop() {
					var c source.Container
					if p.fillOpenFiles(members, &c); c.OpenFiles < uint64(2*n) {
						b.Fatalf("%d open files", c.OpenFiles)
					}
				}
			})
		}
	}
}
