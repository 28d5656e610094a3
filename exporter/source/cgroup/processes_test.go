package cgroup

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// settled returns a watched container with open files.
func settled(t *testing.T, layout string) *watched {
	t.Helper()
	w := watch(t, layout)
	for range 2 {
		w.after(time.Second)
	}
	return w
}

// end ends a process: it is not listed, and its open files fail.
func (w *watched) end(pid int) {
	w.t.Helper()
	if err := os.RemoveAll(w.tree.Process(pid, "")); err != nil {
		w.t.Fatal(err)
	}
	p := w.s.processes.byPID[pid]
	for _, f := range []*file{&p.stat, &p.statm, &p.io, &p.cgroup} {
		w.spoil(f)
	}
}

// spoil makes an open file fail, as after the exit of a process.
func (w *watched) spoil(f *file) {
	w.t.Helper()
	if f.fd == 0 {
		return
	}
	dead, err := syscall.Open(w.t.TempDir(), syscall.O_RDONLY, 0) // EISDIR
	if err != nil {
		w.t.Fatal(err)
	}
	defer syscall.Close(dead)
	if err := syscall.Dup3(dead, f.fd, syscall.O_CLOEXEC); err != nil {
		w.t.Fatal(err)
	}
}

// begin starts a process without memory: a copy of another.
func (w *watched) begin(pid, like int, changes ...string) {
	w.t.Helper()
	if err := os.CopyFS(w.tree.Process(pid, ""), os.DirFS(w.tree.Process(like, ""))); err != nil {
		w.t.Fatal(err)
	}
	w.change(pid, append([]string{strconv.Itoa(like) + " (", strconv.Itoa(pid) + " ("}, changes...)...)
}

// change changes the stat of a process, and its statm with it.
func (w *watched) change(pid int, changes ...string) {
	w.t.Helper()
	name := w.tree.Process(pid, "stat")
	b, err := os.ReadFile(name)
	if err != nil {
		w.t.Fatal(err)
	}
	text := strings.NewReplacer(changes...).Replace(string(b))
	if text == string(b) {
		w.t.Fatalf("%q changes nothing in %s", changes, b)
	}
	p, err := procfile.ParseStat([]byte(text), "")
	if err != nil {
		w.t.Fatal(err)
	}
	for name, text := range map[string]string{"stat": text, "statm": fmt.Sprintf("%d %d 128 10 0 300 0\n", p.VSZ/4096, p.RSS)} {
		if err := os.WriteFile(w.tree.Process(pid, name), []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
}

// all takes a snapshot one second later.
func (w *watched) all() *source.Snapshot {
	w.t.Helper()
	w.now += time.Second
	return snapshot(w.t, w.s)
}

func ids(snap *source.Snapshot) (ids []string) {
	for i := range snap.Containers {
		ids = append(ids, snap.Containers[i].ID)
	}
	slices.Sort(ids)
	return ids
}

// TestProcessesAreListed: new and exited processes show at once.
func TestProcessesAreListed(t *testing.T) {
	w := settled(t, "v2-systemd")
	b, c := hosttree.Numbered(1), hosttree.Numbered(2)
	if err := w.tree.Add(b); err != nil {
		t.Fatal(err)
	}
	if got := ids(w.all()); len(got) != 2 {
		t.Errorf("one came: %v", got)
	}
	// The number stays the same.
	for _, pid := range append(b.Processes, b.ShimPID) {
		w.end(pid)
	}
	if err := w.tree.Remove(b); err != nil {
		t.Fatal(err)
	}
	if err := w.tree.Add(c); err != nil {
		t.Fatal(err)
	}
	if got := ids(w.all()); len(got) != 2 || !slices.Contains(got, c.ID) {
		t.Errorf("one came when another went: %v, want %s with the first", got, c.ID)
	}
	if n := len(w.s.processes.byPID); n != 7 {
		t.Errorf("%d processes known, want 7", n)
	}
	// A PID that is reused between two snapshots.
	pid := w.c.Processes[1]
	w.end(pid)
	w.begin(pid, w.c.Processes[0], " 100000 ", " 1999990 ", " 256 ", " 300 ", fmt.Sprintf("app) S %d ", w.c.ShimPID),
		fmt.Sprintf("next) S %d ", w.c.Processes[0]))
	w.begin(5000, 1, "systemd", "other")
	snap := w.all()
	if n, _ := snap.Host.Get(source.HostProcesses); n != 8 {
		t.Errorf("%d processes, want 8 with the one that came when a PID was used again", n)
	}
	for i := range snap.Containers {
		if got := &snap.Containers[i]; got.ID == w.c.ID {
			if v, _ := got.Get(source.RSS); v != (256+300)*4 {
				t.Errorf("resident memory %d kB, want %d with the new process' of the old PID", v, (256+300)*4)
			}
		}
	}
}

// TestExec: a new program in a process shows at once, for instance a shim.
func TestExec(t *testing.T) {
	w := settled(t, "v2-systemd")
	other := hosttree.Numbered(1)
	if err := w.tree.Add(other); err != nil {
		t.Fatal(err)
	}
	w.change(other.ShimPID, "containerd-shim", "containerd")
	shims := func() (all []string) {
		for _, c := range w.all().Containers {
			all = append(all, c.ProcessName)
		}
		return all
	}
	for range 4 {
		if got := shims(); !slices.Equal(got, []string{"containerd-shim", "app"}) {
			t.Fatalf("%v, want no shim yet of the second container", got)
		}
	}
	w.change(other.ShimPID, "containerd", "containerd-shim", " 8388608 ", " 8392704 ")
	if got := shims(); !slices.Equal(got, []string{"containerd-shim", "containerd-shim"}) {
		t.Errorf("%v, want both shims", got)
	}
}

// TestOrphans: a new parent shows at once, whether the old one is gone or a zombie.
func TestOrphans(t *testing.T) {
	for _, zombie := range []bool{false, true} {
		finish := func(w *watched, pid int) {
			if !zombie {
				w.end(pid)
				return
			}
			w.change(pid, " 8388608 256 ", " 0 0 ", ") S ", ") Z ", " 20 0 2 0 ", " 20 0 1 0 ")
		}
		t.Run(fmt.Sprintf("zombie %t", zombie), func(t *testing.T) {
			w := settled(t, "v2-systemd")
			first, second := w.c.Processes[0], w.c.Processes[1]
			finish(w, first)
			w.change(second, fmt.Sprintf(") S %d ", first), fmt.Sprintf(") S %d ", w.c.ShimPID))
			w.all()
			if got := w.s.processes.byPID[second].Parent; got != w.c.ShimPID {
				t.Errorf("the child of an init that ended has parent %d, want the shim %d", got, w.c.ShimPID)
			}

			w = settled(t, "v2-systemd")
			finish(w, w.c.ShimPID)
			// The kernel reparents the children a moment later.
			if zombie {
				w.all()
			}
			w.change(first, fmt.Sprintf(") S %d ", w.c.ShimPID), ") S 1 ")
			if snap := w.all(); shimOf(snap) != "app" {
				t.Errorf("the shim has ended: its container is one of %q, want init", shimOf(snap))
			}
			if w.s.processes.byPID[first].Parent != 1 {
				t.Error("the old parent is believed of a process that has another")
			}
		})
	}
}

// TestMemoryOfStatm: statm is exact while stat may be far off, for instance for small
// processes on many CPUs.
func TestMemoryOfStatm(t *testing.T) {
	w := watch(t, "v2-systemd")
	for _, pid := range w.c.Processes {
		replace(t, w.tree.Process(pid, "statm"), []byte("2048 260 128 10 0 300 0\n"))
	}
	for i := range 5 {
		c := w.after(5 * time.Second)
		if v, _ := c.Get(source.RSS); v != 2*260*4 {
			t.Fatalf("snapshot %d: resident memory %d kB, want %d", i, v, 2*260*4)
		}
	}
}

// TestGivenUp: a cancelled snapshot loses no counts.
func TestGivenUp(t *testing.T) {
	w := settled(t, "v2-systemd")
	w.replace("io", "syscr: 430", "syscr: 431")
	w.replace("stat", " 20 0 2 0 ", " 20 0 3 0 ")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.s.Snapshot(ctx); err == nil {
		t.Fatal("a snapshot without time")
	}
	c := w.after(time.Second)
	if v, _ := c.Get(source.IOReadCalls); v != 862 {
		t.Errorf("%d read calls, want 862", v)
	}
	if v, _ := c.Get(source.Threads); v != 5 {
		t.Errorf("%d threads, want 5", v)
	}
}

// TestCameAndWent: the counters of an exited process count.
func TestCameAndWent(t *testing.T) {
	w := settled(t, "v2-systemd")
	w.begin(5000, w.c.Processes[1], "worker", "brought")
	if v, _ := w.after(time.Second).Get(source.IOReadCalls); v != 3*430 {
		t.Errorf("%d read calls of three, want %d", v, 3*430)
	}
	w.end(5000)
	c := w.after(time.Second)
	if v, _ := c.Get(source.IOReadCalls); v != 3*430 {
		t.Errorf("%d read calls after one of three ended, want %d", v, 3*430)
	}
	if v, _ := c.Get(source.Processes); v != 2 {
		t.Errorf("%d processes, want 2", v)
	}
}
