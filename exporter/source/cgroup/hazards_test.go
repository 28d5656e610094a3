package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// TestPod: in Kubernetes one shim with the id of the sandbox runs all containers of a
// pod. Each is a container of its own.
func TestPod(t *testing.T) {
	for layout, at := range map[string]string{
		"kubernetes-systemd":  "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_0000_4111_8222_333344445555.slice/cri-containerd-%s.scope",
		"kubernetes-cgroupfs": "/kubepods/besteffort/pod0a1b2c3d-0000-4111-8222-333344445555/%s",
	} {
		pod := hosttree.Numbered(0)
		tr := newTree(t, layout, pod)
		s := onTree(t, tr)
		pause := fmt.Sprint(pod.ID, " of ", pod.ID, " pause true, shim ", pod.ShimPID, " init ", pod.Processes[0], " at ", fmt.Sprintf(at, pod.ID), ", CPU 7654321000")
		compareRows(t, layout, snapshot(t, s), pause)
		other := strings.Repeat("b", 64)
		pod.Brought = map[int]string{1900: fmt.Sprintf(at, other)}
		if err := tr.Add(pod); err != nil {
			t.Fatal(err)
		}
		snap := snapshot(t, s)
		compareRows(t, layout, snap, pause, fmt.Sprint(other, " of ", pod.ID, " pause , shim ", pod.ShimPID, " init 1900 at ", fmt.Sprintf(at, other), ", CPU 7654321000"))
		if snap.Containers[0].Network != ownNetwork || snap.Containers[1].Network != sharedNetwork {
			t.Errorf("%s: networks %s, %s", layout, snap.Containers[0].Network, snap.Containers[1].Network)
		}
		if err := os.RemoveAll(tr.Process(1900, "")); err != nil {
			t.Fatal(err)
		}
		snap = snapshot(t, s)
		compareRows(t, layout, snap, pause)
		if ended, _ := snap.Host.Get(source.EndedCPU); ended != 7654321000 {
			t.Errorf("%s: CPU time of exited containers is %d", layout, ended)
		}
	}
}

// compareRows compares the containers of pods.
func compareRows(t *testing.T, what string, snap *source.Snapshot, want ...string) {
	t.Helper()
	var got []string
	for i := range snap.Containers {
		c := &snap.Containers[i]
		pid, _ := c.Get(source.PID)
		init, _ := c.Get(source.InitPID)
		cpu, _ := c.Get(source.CPU)
		got = append(got, fmt.Sprint(c.ID, " of ", c.Pod, " pause ", c.Pause, ", shim ", pid, " init ", init, " at ", c.Cgroup, ", CPU ", cpu))
		if c.Namespace != "k8s.io" || c.Runtime != "containerd" {
			t.Errorf("%s: %s is of %s in %s", what, c.ID, c.Runtime, c.Namespace)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// TestRuntimeAtWork: runc exec runs below the shim, in the shim's cgroup. Neither it nor
// its hook is a process of the container; the process that it starts is.
func TestRuntimeAtWork(t *testing.T) {
	c := hosttree.Numbered(0)
	tr := newTree(t, "v2-systemd", c)
	before := snapshot(t, onTree(t, tr))
	want := before.Containers[0]
	processes, _ := want.Get(source.Processes)
	rest, _ := before.Host.Get(source.UnattributedProcesses)

	c.Brought = map[int]string{1900: "/system.slice/containerd.service"}
	if err := tr.Add(c); err != nil {
		t.Fatal(err)
	}
	for pid, cgroup := range map[int]string{1901: "/system.slice/containerd.service", 1902: want.Cgroup} {
		if err := os.CopyFS(tr.Process(pid, ""), os.DirFS(tr.Process(1900, ""))); err != nil {
			t.Fatal(err)
		}
		stat := fmt.Appendf(nil, "%d (runc) S 1900 1 1 0 -1 0 10 0 0 0 10 5 0 0 20 0 1 0 8600020 4096000 1000 0\n", pid)
		for file, text := range map[string][]byte{"stat": stat, "cgroup": []byte("0::" + cgroup + "\n")} {
			if err := os.WriteFile(tr.Process(pid, file), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	after := snapshot(t, onTree(t, tr))
	got := after.Containers[0]
	if got.Cgroup != want.Cgroup || got.CPUSource != "cgroup" || got.Command != want.Command {
		t.Errorf("cgroup %s, CPU from %s, command %s, want %s and %s", got.Cgroup, got.CPUSource, got.Command, want.Cgroup, want.Command)
	}
	if n, _ := got.Get(source.Processes); n != processes+1 {
		t.Errorf("%d processes, want %d and the one brought in", n, processes)
	}
	if n, _ := after.Host.Get(source.UnattributedProcesses); n != rest+2 {
		t.Errorf("%d unattributed processes, want %d, the runtime and its hook", n, rest)
	}
}

// TestSharedCgroup: a cgroup of two containers belongs to neither.
func TestSharedCgroup(t *testing.T) {
	layout := hosttree.Layouts()["containerd"]
	layout.Path = "/shared"
	tr, err := hosttree.New(t.TempDir(), layout)
	if err != nil {
		t.Fatal(err)
	}
	a, b := hosttree.Numbered(0), hosttree.Numbered(1)
	for _, c := range []hosttree.Container{a, b} {
		if err := tr.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	procs := func(pids ...int) { // identify a cgroup without an id
		t.Helper()
		text := strings.Trim(strings.ReplaceAll(fmt.Sprint(pids), " ", "\n"), "[]") + "\n"
		if err := os.WriteFile(filepath.Join(tr.Folder(a, "v2"), "cgroup.procs"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	procs(append(slices.Clone(a.Processes), b.Processes...)...)
	s := onTree(t, tr)
	for _, c := range snapshot(t, s).Containers {
		if cpu, _ := c.Get(source.CPU); c.CPUSource != "tasks" || cpu != 3e9 || c.Cgroup != "" {
			t.Errorf("CPU %d from %s of %q, want that of the processes", cpu, c.CPUSource, c.Cgroup)
		}
		if _, ok := c.Get(source.MemoryCgroup); ok {
			t.Error("a container has the memory of a shared cgroup")
		}
	}
	for _, pid := range append(b.Processes, b.ShimPID) { // its cgroup is a's too
		if err := os.RemoveAll(tr.Process(pid, "")); err != nil {
			t.Fatal(err)
		}
	}
	procs(a.Processes...)
	if c := snapshot(t, s).Containers[0]; c.CPUSource != "cgroup" || c.Cgroup != "/shared" {
		t.Errorf("CPU from %s of %q, want from the cgroup that is its own now", c.CPUSource, c.Cgroup)
	}
}

// TestOutsideTheNamespace: an exporter in its own cgroup namespace must not follow paths
// out of the mount.
func TestOutsideTheNamespace(t *testing.T) {
	c := hosttree.Numbered(0)
	tr := newTree(t, "v2-cgroupfs", c)
	for _, pid := range c.Processes {
		if err := os.WriteFile(tr.Process(pid, "cgroup"), []byte("0::/../../docker/"+c.ID+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	trap := filepath.Join(tr.Cgroup, "..", "..", "docker", c.ID)
	if err := os.MkdirAll(trap, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(trap, "cpu.stat"), []byte("usage_usec 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := &snapshot(t, onTree(t, tr)).Containers[0]
	if cpu, _ := got.Get(source.CPU); got.Cgroup != "/docker/"+c.ID || cpu != 7654321000 {
		t.Errorf("cgroup %s, CPU %d", got.Cgroup, cpu)
	}
}

// TestVanishing removes a container before each open of a file in a snapshot. The others
// must not change, and the removed one may only have its last values.
func TestVanishing(t *testing.T) {
	for _, layout := range []string{"v2-systemd", "hybrid-cgroupfs"} {
		t.Run(layout, func(t *testing.T) {
			all := []hosttree.Container{hosttree.Numbered(0), hosttree.Numbered(1), hosttree.Numbered(2)}
			calm := newTree(t, layout, all...)
			s := onTree(t, calm)
			openings := 0
			s.reader.opening = func(string) { openings++ }
			truth := snapshot(t, s)
			if openings < 30 || len(truth.Containers) != 3 {
				t.Fatalf("%d openings, %d containers", openings, len(truth.Containers))
			}
			present, tr := 0, newTree(t, layout, all...)
			for k := 1; k <= openings; k++ {
				s := onTree(t, tr)
				n := 0
				s.reader.opening = func(string) {
					if n++; n == k {
						if err := tr.Remove(all[1]); err != nil {
							t.Error(err)
						}
					}
				}
				snap := snapshot(t, s)
				for i := range snap.Containers {
					got := &snap.Containers[i]
					if got.ID == all[1].ID {
						present++
					}
					compareVanished(t, k, got, truth, all[1].ID)
				}
				n = openings
				if left := len(snapshot(t, s).Containers); left != 2 {
					t.Fatalf("vanished at opening %d: %d containers in the next snapshot, want 2", k, left)
				}
				if s.reader.kept > openings {
					t.Errorf("vanished at opening %d: %d files open", k, s.reader.kept)
				}
				s.Release()
				if err := tr.Add(all[1]); err != nil {
					t.Fatal(err)
				}
			}
			if present == 0 {
				t.Error("it never vanished in the middle")
			}
		})
	}
}

// TestRecycledPID reuses a PID between the list of processes and the read of its I/O.
func TestRecycledPID(t *testing.T) {
	c := hosttree.Numbered(0)
	tr := newTree(t, "v2-systemd", c)
	s := onTree(t, tr)
	victim := tr.Process(c.Processes[1], "io")
	s.reader.opening = func(path string) {
		if path != victim {
			return
		}
		stat, err := os.ReadFile(tr.Process(c.Processes[1], "stat"))
		if err != nil {
			t.Fatal(err)
		}
		replace(t, tr.Process(c.Processes[1], "stat"), bytes.Replace(stat, []byte(" 100001 "), []byte(" 1999999 "), 1))
		replace(t, victim, []byte("rchar: 999999999\nwchar: 999999999\nsyscr: 999999999\nsyscw: 999999999\nread_bytes: 999999999\nwrite_bytes: 999999999\n"))
	}
	got := &snapshot(t, s).Containers[0]
	if v, ok := got.Get(source.IOReadBytes); !ok || v != 41000 {
		t.Errorf("read %d bytes, want the 41000 of the process that is still there", v)
	}
}

// TestRecycledPIDOfAnOpenFile: a reopened file may have the same descriptor and belong to
// another process.
func TestRecycledPIDOfAnOpenFile(t *testing.T) {
	w := settled(t, "v2-systemd")
	pid := w.c.Processes[1]
	w.spoil(&w.s.processes.byPID[pid].io)
	stat, err := os.ReadFile(w.tree.Process(pid, "stat"))
	if err != nil {
		t.Fatal(err)
	}
	replace(t, w.tree.Process(pid, "stat"), bytes.Replace(stat, []byte(" 100001 "), []byte(" 1999999 "), 1))
	replace(t, w.tree.Process(pid, "io"), []byte("rchar: 41001\nwchar: 42000\nsyscr: 430\nsyscw: 440\nread_bytes: 45056\nwrite_bytes: 49152\n"))
	if v, ok := w.after(time.Second).Get(source.IOReadBytes); !ok || v != 82000 {
		t.Errorf("read %d bytes, %t, want the 82000 of the processes that were there", v, ok)
	}
}

// TestUnreadableFiles replaces each file of a container's cgroup by a directory and by
// nonsense: its values become unknown, the others stay.
func TestUnreadableFiles(t *testing.T) {
	for _, layout := range []string{"v2-systemd", "v1-cgroupfs"} {
		c := hosttree.Numbered(0)
		tr := newTree(t, layout, c)
		truth := snapshot(t, onTree(t, tr))
		for _, controller := range []string{"v2", "cpuacct", "cpu", "memory", "blkio"} {
			dir := tr.Folder(c, controller)
			files, _ := os.ReadDir(dir)
			for _, f := range files {
				path := filepath.Join(dir, f.Name())
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				for what, spoil := range map[string]func(string) error{
					"a folder": func(path string) error { return os.Mkdir(path, 0o755) },
					"nonsense": func(path string) error { return os.WriteFile(path, []byte("some \x00 = 12x -1\n"), 0o644) },
					"nothing":  func(path string) error { return os.WriteFile(path, nil, 0o644) },
				} {
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
					if err := spoil(path); err != nil {
						t.Fatal(err)
					}
					snap := snapshot(t, onTree(t, tr))
					if len(snap.Containers) != 1 {
						t.Fatalf("%s in %s: %d containers", what, f.Name(), len(snap.Containers))
					}
					lost := 0
					for field := source.Field(0); int(field) < source.NumFields; field++ {
						was, knew := truth.Containers[0].Get(field)
						is, knows := snap.Containers[0].Get(field)
						switch {
						case snap.Containers[0].CPUSource == "tasks" && (field == source.CPU || field == source.CPUUser || field == source.CPUSystem):
						case knew && !knows:
							lost++
						case knows && is != was && f.Name() != "io.stat" && !strings.HasPrefix(f.Name(), "blkio"):
							t.Errorf("%s: %s in %s: %s is %d, was %d", layout, what, f.Name(), field.Info().Key, is, was)
						case knows && is > was:
							t.Errorf("%s: %s in %s: %s grew to %d from %d", layout, what, f.Name(), field.Info().Key, is, was)
						}
					}
					if lost > 6 { // the values of cpu.stat
						t.Errorf("%s: %s in %s: %d fields are lost", layout, what, f.Name(), lost)
					}
					replace(t, path, content)
				}
			}
		}
	}
}

// TestNetworkIsNotPinned: an open /proc/PID/net/dev would hold the network namespace of
// an exited container.
func TestNetworkIsNotPinned(t *testing.T) {
	c := hosttree.Numbered(0)
	tr := newTree(t, "v2-systemd", c)
	s := onTree(t, tr)
	snapshot(t, s)
	open := openFiles(t, tr.Proc)
	if len(open) < 4 {
		t.Errorf("files kept open: %v", open)
	}
	for _, name := range open {
		if strings.HasSuffix(name, "/net/dev") || strings.Contains(name, "/ns/") {
			t.Errorf("%s stays open", name)
		}
	}
	s.Release()
	if open := append(openFiles(t, tr.Proc), openFiles(t, tr.Cgroup)...); len(open) > 0 {
		t.Errorf("open after the release: %v", open)
	}
}

// TestFilesAreBounded: files above the limit of open files are opened each time, and the
// snapshot is the same.
func TestFilesAreBounded(t *testing.T) {
	tr := newTree(t, "v2-systemd", hosttree.Numbered(0), hosttree.Numbered(1), hosttree.Numbered(2))
	free := onTree(t, tr)
	bounded := onTree(t, tr)
	bounded.reader.max = 7
	for range 3 {
		a, b := snapshot(t, free), snapshot(t, bounded)
		for i := range a.Containers {
			if a.Containers[i] != b.Containers[i] {
				t.Errorf("container %d differs: %+v, %+v", i, a.Containers[i], b.Containers[i])
			}
		}
		if bounded.reader.kept != 7 {
			t.Errorf("%d files open, want 7", bounded.reader.kept)
		}
	}
	free.Release()
	if got := len(openFiles(t, tr.Proc)) + len(openFiles(t, tr.Cgroup)); got != 7 {
		t.Errorf("%d descriptors, want 7", got)
	}
}

// TestHiddenProcesses: if /proc hides processes, the visible containers are present and
// the process totals of the host are unknown.
func TestHiddenProcesses(t *testing.T) {
	for name, hide := range map[string]func(*host) error{
		"not listed": func(h *host) error { return os.RemoveAll(h.Process(1, "")) },
		"not listed, nor the second container": func(h *host) error {
			return errors.Join(os.RemoveAll(h.Process(1, "")), h.Remove(h.b))
		},
	} {
		h := &host{t: t, a: hosttree.Numbered(0), b: hosttree.Numbered(1)}
		h.Tree = newTree(t, "v2-systemd", h.a, h.b)
		if err := hide(h); err != nil {
			t.Fatal(err)
		}
		var lacks []Missing
		s := onTree(t, h.Tree, func(c *Config) { c.OnMissing = func(l Missing) { lacks = append(lacks, l) } })
		for n := range uint64(2) {
			snap := snapshot(t, s)
			compareValues(t, name+", first", snap, h.a.ID, usual())
			for _, f := range []source.HostField{
				source.HostProcesses, source.HostThreads, source.HostRSS, source.UnattributedCPU,
				source.UnattributedRSS, source.UnattributedProcesses,
			} {
				if v, ok := snap.Host.Get(f); ok {
					t.Errorf("%s: %s of the host is %d", name, f.Info().Key, v)
				}
			}
			if busy, ok := snap.Host.Get(source.HostCPUBusy); !ok || busy == 0 {
				t.Errorf("%s: CPU time of the host is %d, %t", name, busy, ok)
			}
			if want := map[source.Reason]uint64{source.ReasonProcess: n + 1}; !maps.Equal(snap.Skipped, want) ||
				!slices.Equal(lacks, []Missing{MissingProcesses}) {
				t.Errorf("%s: skipped %v, lacking %v, want %v and that processes are", name, snap.Skipped, lacks, want)
			}
		}
	}
	tr := newTree(t, "v2-systemd")
	if err := os.RemoveAll(tr.Process(1, "")); err != nil {
		t.Fatal(err)
	}
	if _, err := onTree(t, tr).Snapshot(t.Context()); source.ReasonOf(err) != source.ReasonRefused {
		t.Errorf("no process at all: %v, want refused", err)
	}
}

func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// openFiles lists the open files of this process below dir.
func openFiles(t *testing.T, dir string) (open []string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(name, dir+"/") {
			open = append(open, name)
		}
	}
	return open
}

// compareVanished checks one container of a snapshot in which another was removed.
func compareVanished(t *testing.T, k int, got *source.Container, truth *source.Snapshot, vanished string) {
	t.Helper()
	for i := range truth.Containers {
		want := &truth.Containers[i]
		if want.ID != got.ID {
			continue
		}
		if got.ID != vanished && *got != *want {
			t.Errorf("vanished at opening %d: another container changed\n got %+v\nwant %+v", k, got, want)
		}
		if v, ok := got.Get(source.IOReadBytes); ok && v == 0 {
			t.Errorf("vanished at opening %d: it is said to have read nothing", k)
		}
		for f := source.Field(0); int(f) < source.NumFields; f++ {
			is, knows := got.Get(f)
			was, knew := want.Get(f)
			if knows && (!knew || is > was) {
				t.Errorf("vanished at opening %d: %s is %d, was %d (%v)", k, f.Info().Key, is, was, knew)
			}
		}
	}
}

// TestLinkCalledLikeAShim: sudo at its prompt, started by a link with the name of a shim,
// runs as root with arbitrary arguments.
func TestLinkCalledLikeAShim(t *testing.T) {
	for program, believed := range map[string]bool{
		"/usr/bin/containerd-shim-runc-v2":           true,
		"/usr/bin/.containerd-shim-runc-v2-wrapped":  true, // that is not its comm
		"/usr/bin/containerd-shim-runc-v2 (deleted)": true, // after an upgrade
		"/usr/bin/sudo": false,
		"":              false, // a process without a program
	} {
		c := hosttree.Numbered(0)
		tr := newTree(t, "v2-systemd", c)
		exe := tr.Process(c.ShimPID, "exe")
		if err := os.Remove(exe); err != nil {
			t.Fatal(err)
		}
		if program != "" {
			if err := os.Symlink(program, exe); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := shimOf(snapshot(t, onTree(t, tr))), map[bool]string{true: "containerd-shim", false: "app"}[believed]; got != want {
			t.Errorf("%q: the container is one of %q, want %q", program, got, want)
		}
	}
}

// TestWrappedShim: on NixOS the program of a shim is .containerd-shim-runc-v2-wrapped,
// truncated in comm. The name alone does not make a shim.
func TestWrappedShim(t *testing.T) {
	for _, tt := range []struct {
		comm, program string
		uid           int
		want          int
	}{
		{".containerd-shi", "/nix/store/x-containerd-2.0/bin/.containerd-shim-runc-v2-wrapped", 0, 1},
		{".containerd-shi", "/nix/store/x-containerd-2.0/bin/.containerd-shim-runc-v2-wrapped (deleted)", 0, 1},
		{".containerd-shi", "/usr/bin/sudo", 0, 0},
		{".containerd-shi", "/home/x/.containerd-shim-runc-v2-wrapped", 1000, 0},
		{".containerd-sh", "/nix/store/x-containerd-2.0/bin/.containerd-shim-runc-v2-wrapped", 0, 0},
		{".containerd", "/nix/store/x-containerd-2.0/bin/.containerd-wrapped", 0, 0},
		{"xcontainerd-shi", "/home/x/xcontainerd-shim", 0, 0},
	} {
		h := &host{t: t, a: hosttree.Numbered(0)}
		h.Tree = newTree(t, "v2-systemd", h.a)
		h.process(h.a.ShimPID, "stat", "(containerd-shim)", "("+tt.comm+")")
		h.process(h.a.ShimPID, "status", "\t0\t0\t0\t0\n", fmt.Sprintf("\t%[1]d\t%[1]d\t%[1]d\t%[1]d\n", tt.uid))
		h.link(h.a.ShimPID, "exe", tt.program)
		snap := snapshot(t, onTree(t, h.Tree))
		if got, want := shimOf(snap), map[int]string{1: tt.comm, 0: "app"}[tt.want]; got != want {
			t.Errorf("%s, which runs %s as user %d: the container is one of %q, want %q", tt.comm, tt.program, tt.uid, got, want)
		}
		compareValues(t, tt.program+", first", snap, h.a.ID, usual())
	}
}

// TestPodWithoutInit: while the start time of a pod's first process is unknown, the other
// containers of the pod do not change, and one of them has the common network.
func TestPodWithoutInit(t *testing.T) {
	const slice = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_0000_4111_8222_333344445555.slice"
	others := []string{strings.Repeat("b", 64), strings.Repeat("c", 64)}
	for name, status := range map[string]string{"its parent is known": "Name:\tpause\nPPid:\t1000\nThreads:\t1\n", "nor its parent": ""} {
		t.Run(name, func(t *testing.T) {
			h := &host{t: t, a: hosttree.Numbered(0)}
			h.a.Processes = h.a.Processes[:1]
			h.a.Brought = map[int]string{1900: slice + "/cri-containerd-" + others[0] + ".scope", 1901: slice + "/cri-containerd-" + others[1] + ".scope"}
			h.Tree = newTree(t, "kubernetes-systemd", h.a)
			pause := h.a.Processes[0]
			whole, err := os.ReadFile(h.Process(pause, "stat"))
			if err != nil {
				t.Fatal(err)
			}
			if status != "" {
				h.write(fmt.Sprintf("proc/%d/status", pause), status)
			}
			s := onTree(t, h.Tree)
			h.write(fmt.Sprintf("proc/%d/stat", pause), "odd\n")
			one := values{source.Processes: 1, source.StartTime: 1001000000000, source.MemoryCgroup: 65536}
			snap := snapshot(t, s)
			compareValues(t, "sandbox", snap, h.a.ID, nil)
			compareValues(t, "first", snap, others[0], one.but(values{source.NetRxBytes: 550000, source.InitPID: 1900}))
			compareValues(t, "second", snap, others[1], one.but(values{source.NetRxBytes: -1, source.InitPID: 1901}))
			h.live = true
			for _, text := range []string{string(whole), "odd\n"} {
				h.write(fmt.Sprintf("proc/%d/stat", pause), text)
				snap = snapshot(t, s)
				compareValues(t, "sandbox", snap, h.a.ID, values{
					source.Processes: 1, source.StartTime: 1000000000000, source.InitPID: int64(pause), source.NetRxBytes: 550000,
				})
				compareValues(t, "first", snap, others[0], one.but(values{source.NetRxBytes: -1, source.InitPID: 1900}))
			}
		})
	}
}

// TestReapedInTheMiddle: a parent reaps its child between the reads of stat and I/O: the
// child's counters count once.
func TestReapedInTheMiddle(t *testing.T) {
	for _, opened := range []int{0, 1} { // the I/O of the parent, of the child is read next
		w := watch(t, "v2-systemd")
		h := &host{Tree: w.tree, t: t, a: w.c}
		parent, child := w.c.Processes[0], w.c.Processes[1]
		for _, pid := range w.c.Processes {
			h.process(pid, "io", "syscr: 430", "syscr: 430") // its own
		}
		h.live = true
		w.after(time.Second)
		w.s.Release() // so that each file is opened, by its path
		done := false
		w.s.reader.opening = func(path string) {
			if path != w.tree.Process(w.c.Processes[opened], "io") || done {
				return
			}
			done = true
			if err := os.RemoveAll(w.tree.Process(child, "")); err != nil {
				t.Fatal(err)
			}
			h.process(parent, "stat", " 10 2 3 0 100 50 0 0 ", " 10 14 3 3 100 50 100 50 ")
			h.process(parent, "io", "rchar: 41000\nwchar: 42000\nsyscr: 430\nsyscw: 440\nread_bytes: 45056\nwrite_bytes: 49152\n",
				"rchar: 82000\nwchar: 84000\nsyscr: 860\nsyscw: 880\nread_bytes: 90112\nwrite_bytes: 98304\n")
		}
		for round := range 3 {
			c := w.after(time.Second)
			for f, want := range map[source.Field]uint64{source.IOReadCalls: 860, source.IOWriteBytes: 84000, source.MinorFaults: 24, source.MajorFaults: 6} {
				if v, _ := c.Get(f); v != want {
					t.Errorf("before the I/O of process %d, round %d: %s is %d, want %d", opened, round, f.Info().Key, v, want)
				}
			}
		}
		if !done {
			t.Error("it was not reaped")
		}
	}
}
