package cgroup

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/tree"
	"github.com/estiba/estiba/internal/testutil"
)

// settled is a watched container at rest, whose processes are asked for nothing
// but their memory by now.
func settled(t *testing.T, layout string) *watched {
	t.Helper()
	w := watch(t, layout)
	for range 4 {
		w.after(time.Second)
	}
	for _, pid := range append([]int{w.c.ShimPID}, w.c.Processes...) {
		if k := w.s.known[pid]; k.statm.fd == 0 || k.stat.fd != 0 {
			t.Fatalf("process %d: statm %d, stat %d, want the first open and the other not", pid, k.statm.fd, k.stat.fd)
		}
	}
	return w
}

// end ends a process: it is not listed any more, and what is open of it says so.
func (w *watched) end(pid int) {
	w.t.Helper()
	if err := os.RemoveAll(w.tree.Process(pid, "")); err != nil {
		w.t.Fatal(err)
	}
	w.spoil(&w.s.known[pid].stat)
	w.spoil(&w.s.known[pid].statm)
}

// spoil makes an open file fail, as the files of a process do that has ended.
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

// begin starts a process without memory of its own: a copy of another.
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
	p, err := parseStat([]byte(text), "")
	if err != nil {
		w.t.Fatal(err)
	}
	for name, text := range map[string]string{"stat": text, "statm": fmt.Sprintf("%d %d 128 10 0 300 0\n", p.vsz/4096, p.rss)} {
		if err := os.WriteFile(w.tree.Process(pid, name), []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
}

// all takes a snapshot a second later.
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

// TestProcessesAreListed lists /proc only when the count of processes does not
// tell who is there, and yet sees who comes and goes at once.
func TestProcessesAreListed(t *testing.T) {
	w := settled(t, "v2-systemd")
	at := w.s.listed.at
	if w.all(); w.s.listed.at != at {
		t.Fatal("nothing came or went, and processes were listed anew")
	}
	b, c := tree.Numbered(1), tree.Numbered(2)
	if err := w.tree.Add(b); err != nil {
		t.Fatal(err)
	}
	if got := ids(w.all()); len(got) != 2 {
		t.Errorf("one came: %v", got)
	}
	// As many come as go.
	for range 4 {
		w.all()
	}
	at = w.s.listed.at
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
	if w.s.listed.at == at {
		t.Error("the processes were not listed anew")
	}
	if n := len(w.s.known); n != 7 {
		t.Errorf("%d processes known, want 7", n)
	}
	// A PID that is used again within a snapshot's time.
	for range 4 {
		w.all()
	}
	pid := w.c.Processes[1]
	w.end(pid)
	w.begin(pid, w.c.Processes[0], " 100000 ", " 1999990 ", " 256 ", " 300 ", fmt.Sprintf("app) S %d ", w.c.ShimPID), fmt.Sprintf("next) S %d ", w.c.Processes[0]))
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
	// Whatever the count says, they are listed once in a while.
	at = w.s.listed.at
	w.now += recheck
	if w.all(); w.s.listed.at == at {
		t.Errorf("not listed anew after %s", recheck)
	}
}

// TestRecycledAfterTheCount: a process ended and another came, and the PID is used
// again before it is looked at: all PIDs that are known are there, and as many
// processes were counted.
func TestRecycledAfterTheCount(t *testing.T) {
	w := settled(t, "v2-systemd")
	pid, done := w.c.Processes[1], false
	w.end(pid)
	w.begin(5000, 1, "systemd", "other")
	w.s.reader.opening = func(path string) {
		if path == w.tree.Process(pid, "stat") && !done {
			done = true
			w.begin(pid, 1, "systemd", "next", " 1 8388608 ", " 1999990 8388608 ")
		}
	}
	w.all()
	if w.s.known[5000] == nil || !done {
		t.Errorf("the process that came is not known (PID used again: %t)", done)
	}
}

// TestCountThatDoesNotAddUp: where the links of /proc are not those of what is
// in it, as in a PID namespace, it is listed each time.
func TestCountThatDoesNotAddUp(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"1", "20", "300", "sys"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var l listing
	due := func() bool {
		t.Helper()
		if err := l.renew(dir, now); err != nil {
			t.Fatal(err)
		}
		due, err := l.due(dir, now)
		if err != nil {
			t.Fatal(err)
		}
		return due
	}
	if due() {
		t.Errorf("due again, though %d links are %d processes and %d folders", len(l.pids)+int(l.folders)+ownLinks, len(l.pids), l.folders)
	}
	slices.Sort(l.pids)
	if !slices.Equal(l.pids, []int{1, 20, 300}) {
		t.Errorf("processes %v", l.pids)
	}
	if err := os.Symlink("20", filepath.Join(dir, "400")); err != nil {
		t.Fatal(err)
	}
	if !due() || len(l.pids) != 4 {
		t.Errorf("not due again with a process that is not counted: %v", l.pids)
	}
}

// TestKernelCountsProcesses has the real kernel do what the listing relies on.
func TestKernelCountsProcesses(t *testing.T) {
	testutil.Require(t, testutil.Root) // else processes may be hidden
	if comm, err := os.ReadFile("/proc/2/comm"); err != nil || string(comm) != "kthreadd\n" {
		t.Skip("in a PID namespace below the host's, where nothing is counted")
	}
	var l listing
	due := func() bool {
		t.Helper()
		due, err := l.due("/proc", 0)
		if err != nil {
			t.Fatal(err)
		}
		return due
	}
	// Others start and end processes, too: again until they do not.
	testutil.Eventually(t, time.Minute, "a process that starts makes a listing due, one that ends another", func() bool {
		if err := l.renew("/proc", 0); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(l.pids, os.Getpid()) {
			t.Fatalf("own PID %d is not among %v", os.Getpid(), l.pids)
		}
		calm := !due() && !due()
		sleep := exec.Command("sleep", "60")
		if err := sleep.Start(); err != nil {
			t.Fatal(err)
		}
		started := due()
		sleep.Process.Kill()
		sleep.Wait()
		return calm && started && !due()
	})
}

// TestExec: a program that starts in the place of another is seen at once, a
// shim for instance.
func TestExec(t *testing.T) {
	w := settled(t, "v2-systemd")
	other := tree.Numbered(1)
	if err := w.tree.Add(other); err != nil {
		t.Fatal(err)
	}
	w.change(other.ShimPID, "containerd-shim", "containerd")
	for range 4 {
		if got := ids(w.all()); len(got) != 1 {
			t.Fatalf("%v, want one container, and no shim yet of the other", got)
		}
	}
	w.change(other.ShimPID, "containerd", "containerd-shim", " 8388608 ", " 8392704 ")
	if got := ids(w.all()); len(got) != 2 {
		t.Errorf("%v, want both containers", got)
	}
}

// TestOrphans: who has another parent is seen at once, whether the old one is
// gone or not waited for yet.
func TestOrphans(t *testing.T) {
	for _, zombie := range []bool{false, true} {
		finish := func(w *watched, pid int) {
			if !zombie {
				w.end(pid)
				return
			}
			w.change(pid, " 8388608 256 ", " 0 0 ")
		}
		t.Run(fmt.Sprintf("zombie %t", zombie), func(t *testing.T) {
			w := settled(t, "v2-systemd")
			first, second := w.c.Processes[0], w.c.Processes[1]
			finish(w, first)
			w.change(second, fmt.Sprintf(") S %d ", first), fmt.Sprintf(") S %d ", w.c.ShimPID))
			w.all()
			if got := w.s.known[second].last.parent; got != w.c.ShimPID {
				t.Errorf("the child of an init that ended has parent %d, want the shim %d", got, w.c.ShimPID)
			}

			w = settled(t, "v2-systemd")
			finish(w, w.c.ShimPID)
			// The kernel gives the children away a moment later.
			if zombie {
				w.all()
			}
			w.change(first, fmt.Sprintf(") S %d ", w.c.ShimPID), ") S 1 ")
			snap := w.all()
			if got := ids(snap); len(got) != 0 {
				t.Errorf("the shim has ended: %v, want no container", got)
			}
			if w.s.known[first].last.parent != 1 {
				t.Error("the old parent is believed of a process that has another")
			}
		})
	}
}

// TestRecycledStatm gives a PID to another process while its statm is opened.
func TestRecycledStatm(t *testing.T) {
	w := watch(t, "v2-systemd")
	pid := w.c.Processes[1]
	w.after(time.Second)
	w.after(time.Second)
	replaced := false
	w.s.reader.opening = func(path string) {
		switch path {
		case w.tree.Process(pid, "statm"):
			w.spoil(&w.s.known[pid].stat)
		case w.tree.Process(pid, "stat"):
			if replaced {
				return
			}
			replaced = true
			stat, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.NewReplacer(" 100001 ", " 1000001 ", " 256 ", " 300 ").Replace(string(stat))
			replace(t, path, []byte(text))
			replace(t, w.tree.Process(pid, "statm"), []byte("2048 300 128 10 0 300 0\n"))
		}
	}
	for range 5 {
		c := w.after(time.Second)
		if v, _ := c.Get(source.RSS); replaced && v != (256+300)*4 {
			t.Errorf("resident memory %d kB, want %d", v, (256+300)*4)
		}
	}
	if !replaced {
		t.Error("statm was never opened")
	}
}

// TestOthersAtRest: of a process of no container its memory is told at once, and
// how many threads it has in time.
func TestOthersAtRest(t *testing.T) {
	w := settled(t, "hybrid-cgroupfs")
	threads, _ := w.all().Host.Get(source.UnattributedThreads)
	rss, _ := w.all().Host.Get(source.UnattributedRSS)
	w.change(w.c.ShimPID, " 256 ", " 266 ", " 20 0 2 0 ", " 20 0 12 0 ")
	snap := w.all()
	if v, _ := snap.Host.Get(source.UnattributedRSS); v != rss+40 {
		t.Errorf("resident memory %d kB, want %d", v, rss+40)
	}
	w.now += recheck
	snap = w.all()
	if v, _ := snap.Host.Get(source.UnattributedThreads); v != threads+10 {
		t.Errorf("after %s %d threads, want %d", recheck, v, threads+10)
	}
	if v, _ := snap.Host.Get(source.UnattributedRSS); v != rss+40 {
		t.Errorf("after %s resident memory %d kB, want %d", recheck, v, rss+40)
	}
	if k := w.s.known[w.c.ShimPID]; k.stat.fd != 0 || k.statm.fd == 0 {
		t.Errorf("after %s: stat %d, statm %d", recheck, k.stat.fd, k.statm.fd)
	}
}

// TestExactMemory: a statm is exact where a stat may be some pages off (Linux
// 6.16). What is told of a process at rest does not swing between the two.
func TestExactMemory(t *testing.T) {
	w := watch(t, "v2-systemd")
	for _, pid := range w.c.Processes {
		replace(t, w.tree.Process(pid, "statm"), []byte("2048 260 128 10 0 300 0\n"))
	}
	for i := range 20 {
		c := w.after(5 * time.Second)
		if v, _ := c.Get(source.RSS); i > calmFor && v != 2*260*4 {
			t.Fatalf("snapshot %d: resident memory %d kB, want %d", i, v, 2*260*4)
		}
	}
}

// TestAnotherPlace: when its cgroups turn out to be others, the CPU time told is
// that of the new ones.
func TestAnotherPlace(t *testing.T) {
	pod := tree.Numbered(0)
	slice := "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_0000_4111_8222_333344445555.slice"
	tr := newTree(t, "kubernetes-systemd", pod)
	s := onTree(t, tr)
	snapshot(t, s)
	pod.Brought = map[int]string{1900: slice + "/cri-containerd-" + strings.Repeat("b", 64) + ".scope"}
	if err := tr.Add(pod); err != nil {
		t.Fatal(err)
	}
	if err := tr.Group(slice); err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(tr.Cgroup, slice, "cpu.stat"), []byte("usage_usec 99654321\nuser_usec 90000000\nsystem_usec 9654321\n"))
	if v, _ := snapshot(t, s).Containers[0].Get(source.CPU); v != 99654321000 {
		t.Errorf("CPU time %d ns, want the 99654321000 of the pod", v)
	}
}

// TestYoungProcesses: of a process that has just started everything may change.
func TestYoungProcesses(t *testing.T) {
	w := settled(t, "v2-systemd")
	w.begin(5000, 1, "systemd", "young", " 1 8388608 ", " "+strconv.Itoa(int(w.now/tickNS))+" 8388608 ")
	for range 8 {
		w.all()
		if k := w.s.known[5000]; k.readIn != w.s.sequence {
			t.Fatalf("%s old, and its stat was not read", w.now-time.Duration(k.last.start*tickNS))
		}
	}
}

// TestGivenUp: what a container did is not lost with a snapshot that is given up
// in the middle.
func TestGivenUp(t *testing.T) {
	w := settled(t, "v2-systemd")
	w.run()
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

// TestCameAndWentAtRest: of a container that seems to rest, who comes and goes
// counts all the same.
func TestCameAndWentAtRest(t *testing.T) {
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
