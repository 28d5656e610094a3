package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/tree"
)

// TestPod: with Kubernetes one shim, whose id is the sandbox's, serves all
// containers of a pod. The pod is the container then, and its cgroup the one
// that holds them all.
func TestPod(t *testing.T) {
	pod := tree.Numbered(0)
	slice := "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_0000_4111_8222_333344445555.slice"
	tr := newTree(t, "kubernetes-systemd", pod)
	s := onTree(t, tr)
	place := func() string {
		snap := snapshot(t, s)
		if len(snap.Containers) != 1 {
			t.Fatalf("%d containers, want 1", len(snap.Containers))
		}
		return snap.Containers[0].Cgroup
	}
	if got, want := place(), slice+"/cri-containerd-"+pod.ID+".scope"; got != want {
		t.Errorf("the sandbox alone is in %s, want %s", got, want)
	}
	pod.Brought = map[int]string{1900: slice + "/cri-containerd-" + strings.Repeat("b", 64) + ".scope"}
	if err := tr.Add(pod); err != nil {
		t.Fatal(err)
	}
	if err := tr.Group(slice); err != nil {
		t.Fatal(err)
	}
	if got := place(); got != slice {
		t.Errorf("the pod is in %s, want %s", got, slice)
	}
	if err := os.RemoveAll(tr.Process(1900, "")); err != nil {
		t.Fatal(err)
	}
	if got, want := place(), slice+"/cri-containerd-"+pod.ID+".scope"; got != want {
		t.Errorf("the sandbox alone again is in %s, want %s", got, want)
	}
}

// TestRuntimeAtWork: runc exec works below the shim, in the shim's own cgroup,
// for as long as it takes. It is no process of the container, nor is the hook
// that it runs; what it brings into the container is one.
func TestRuntimeAtWork(t *testing.T) {
	c := tree.Numbered(0)
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
		t.Errorf("%d processes are nobody's, want %d, the runtime and its hook", n, rest)
	}
}

// TestSharedCgroup: what two containers share is neither's own.
func TestSharedCgroup(t *testing.T) {
	layout := tree.Layouts()["containerd"]
	layout.Path = "/shared"
	tr, err := tree.New(t.TempDir(), layout)
	if err != nil {
		t.Fatal(err)
	}
	a, b := tree.Numbered(0), tree.Numbered(1)
	for _, c := range []tree.Container{a, b} {
		if err := tr.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	s := onTree(t, tr)
	for _, c := range snapshot(t, s).Containers {
		if cpu, _ := c.Get(source.CPU); c.CPUSource != "tasks" || cpu != 3e9 || c.Cgroup != "" {
			t.Errorf("CPU %d from %s of %q, want that of the processes", cpu, c.CPUSource, c.Cgroup)
		}
		if _, ok := c.Get(source.MemoryCgroup); ok {
			t.Error("memory of a shared cgroup is told of one container")
		}
	}
	for _, pid := range append(b.Processes, b.ShimPID) { // its cgroup is a's too
		if err := os.RemoveAll(tr.Process(pid, "")); err != nil {
			t.Fatal(err)
		}
	}
	if c := snapshot(t, s).Containers[0]; c.CPUSource != "cgroup" || c.Cgroup != "/shared" {
		t.Errorf("CPU from %s of %q, want from the cgroup that is its own now", c.CPUSource, c.Cgroup)
	}
}

// TestOutsideTheNamespace: an exporter in a cgroup namespace of its own sees
// paths that lead out of it, and must not follow them out of the mount.
func TestOutsideTheNamespace(t *testing.T) {
	c := tree.Numbered(0)
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

func TestCommonPath(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"/a/b", "/a/b", "/a/b"}, {"/a/b", "/a/c", "/a"}, {"/a/b", "/a/bc", "/a"}, {"/a/b", "/a/b/c", "/a/b"},
		{"/a/b/c", "/a/b", "/a/b"}, {"/a", "/b", "/"}, {"/", "/b", "/"}, {"/ab", "/ac", "/"}, {"/a/b/c/d", "/a/b/x/d", "/a/b"},
	} {
		if got := commonPath(tt.a, tt.b); got != tt.want {
			t.Errorf("commonPath(%s, %s) = %s, want %s", tt.a, tt.b, got, tt.want)
		}
	}
}

// TestVanishing removes a container before each single opening of a file in a
// snapshot. The others must not be touched by it, and of the one that vanished
// nothing may be told that was not so a moment ago.
func TestVanishing(t *testing.T) {
	for _, layout := range []string{"v2-systemd", "hybrid-cgroupfs"} {
		t.Run(layout, func(t *testing.T) {
			all := []tree.Container{tree.Numbered(0), tree.Numbered(1), tree.Numbered(2)}
			calm := newTree(t, layout, all...)
			s := onTree(t, calm)
			openings := 0
			s.reader.opening = func(string) { openings++ }
			truth := snapshot(t, s)
			if openings < 30 || len(truth.Containers) != 3 {
				t.Fatalf("%d openings, %d containers", openings, len(truth.Containers))
			}
			told, tr := 0, newTree(t, layout, all...)
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
						told++
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
			if told == 0 {
				t.Error("it never vanished in the middle")
			}
		})
	}
}

// TestRecycledPID gives a process' PID to another one between the list of
// processes and the reading of its I/O.
func TestRecycledPID(t *testing.T) {
	c := tree.Numbered(0)
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

// TestUnreadableFiles puts a folder in the place of each file of a container's
// cgroup, and nonsense: what it says becomes unknown, the rest stays.
func TestUnreadableFiles(t *testing.T) {
	for _, layout := range []string{"v2-systemd", "v1-cgroupfs"} {
		c := tree.Numbered(0)
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
						case knew && !knows:
							lost++
						case knows && is != was && f.Name() != "io.stat" && !strings.HasPrefix(f.Name(), "blkio"):
							t.Errorf("%s: %s in %s: %s is %d, was %d", layout, what, f.Name(), field.Info().Key, is, was)
						case knows && is > was:
							t.Errorf("%s: %s in %s: %s grew to %d from %d", layout, what, f.Name(), field.Info().Key, is, was)
						}
					}
					if lost > 4 {
						t.Errorf("%s: %s in %s: %d fields are lost", layout, what, f.Name(), lost)
					}
					replace(t, path, content)
				}
			}
		}
	}
}

// TestNetworkIsNotPinned: an open /proc/PID/net/dev goes on answering after the
// container's end and holds its network namespace.
func TestNetworkIsNotPinned(t *testing.T) {
	c := tree.Numbered(0)
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

// TestFilesAreBounded: with more files than may stay open the rest is opened
// each time, and the snapshot is the same.
func TestFilesAreBounded(t *testing.T) {
	tr := newTree(t, "v2-systemd", tree.Numbered(0), tree.Numbered(1), tree.Numbered(2))
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

// TestHiddenProcesses: a /proc that shows only our own processes is an error,
// not a host without containers.
func TestHiddenProcesses(t *testing.T) {
	tr := newTree(t, "v2-systemd", tree.Numbered(0))
	if err := os.RemoveAll(tr.Process(1, "")); err != nil {
		t.Fatal(err)
	}
	_, err := onTree(t, tr).Snapshot(t.Context())
	if source.ReasonOf(err) != source.ReasonRefused || !strings.Contains(err.Error(), "hidepid") {
		t.Errorf("%v, want refused and why", err)
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

// openFiles lists what this process has open below dir.
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

// compareVanished checks one container of a snapshot in which another vanished.
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

// TestLinkCalledLikeAShim: sudo at its prompt, started by a link with the name
// of a shim, is real root with the arguments of anybody's choice.
func TestLinkCalledLikeAShim(t *testing.T) {
	for program, believed := range map[string]bool{
		"/usr/bin/containerd-shim-runc-v2":           true,
		"/usr/bin/containerd-shim-runc-v2 (deleted)": true, // after an upgrade
		"/usr/bin/sudo": false,
		"":              false, // a process without a program
	} {
		c := tree.Numbered(0)
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
		if got := len(snapshot(t, onTree(t, tr)).Containers); got != map[bool]int{true: 1, false: 0}[believed] {
			t.Errorf("%q: %d containers", program, got)
		}
	}
}
