package cgroup

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/cgroupfile"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// TestOddPlaces moves one process to a cgroup that is not the container's: other
// containers do not change, and its own loses only the affected fields.
func TestOddPlaces(t *testing.T) {
	scope := func(c hosttree.Container) string { return "/system.slice/docker-" + c.ID + ".scope" }
	second := func(changes values) values { return usual().but(values{source.StartTime: 1000010000000}).but(changes) }
	line := map[source.Reason]uint64{source.ReasonLine: 1}
	for _, tt := range []struct {
		name    string
		layout  string // "": v2-systemd
		change  func(h *host)
		first   values // nil: as usual
		second  values
		skipped map[source.Reason]uint64
	}{
		{name: "in another container", change: func(h *host) { h.move(scope(h.a), "all", h.b.Processes[1]) }, second: second(byTasks())},
		{name: "below another container", change: func(h *host) { h.move(scope(h.a)+"/init.scope", "all", h.b.Processes[1]) }, second: second(byTasks())},
		{name: "first process in another container", change: func(h *host) { h.move(scope(h.a), "all", h.b.Processes[0]) }, second: second(byTasks())},
		{
			name: "in another container, version 1", layout: "v1-cgroupfs", change: func(h *host) { h.move("/docker/"+h.a.ID, "all", h.b.Processes[1]) },
			second: second(byTasks()),
		},
		{
			name: "all in another container", change: func(h *host) { h.move(scope(h.a), "all", h.b.Processes...) },
			second: second(byTasks()).but(values{
				source.MemoryCgroup: -1, source.MemoryLimit: -1, source.OOMKills: -1, source.DiskRead: 90112,
				source.DiskWrite: 98304,
			}),
		},

		{name: "removed cgroup", change: func(h *host) { h.move(scope(h.a)+" (deleted)", "all", h.a.Processes[1]) }},
		{name: "removed unrelated cgroup", change: func(h *host) { h.move("/system.slice/x.service (deleted)", "all", h.a.Processes[1]) }},
		{name: "two lines of version 2", change: func(h *host) {
			h.write(fmt.Sprintf("proc/%d/cgroup", h.a.Processes[1]), "0::"+scope(h.a)+"\n0::/\n")
		}},
		{name: "a path that leads out", change: func(h *host) { h.move("/../foo", "all", h.a.Processes[1]) }},
		{name: "a path that leads out, to one that exists", change: func(h *host) {
			h.write("cgroup/foo/cpu.stat", "usage_usec 1\n")
			h.move("/../foo", "all", h.a.Processes[1])
		}},
		{name: "a path that leads out, and in again", change: func(h *host) { h.move("/../docker-"+h.a.ID+".scope", "all", h.a.Processes[1]) }},
		{name: "a path that is nowhere", change: func(h *host) { h.move("/foo/bar", "all", h.a.Processes[1]) }},
		{name: "a path that is nowhere, with the id", change: func(h *host) { h.move("/foo/docker-"+h.a.ID+".scope", "all", h.a.Processes[1]) }},
		{
			name: "a missing path with an unknown id, which is of another container", change: func(h *host) { h.move("/docker/"+strings.Repeat("e", 64), "all", h.a.Processes[1]) },
			first: usual().but(values{source.RSS: 1024, source.IOReadCalls: 430, source.Processes: 1}), skipped: map[source.Reason]uint64{source.ReasonNamespace: 1},
		},
		{name: "really elsewhere", change: func(h *host) {
			h.write("cgroup/user.slice/cpu.stat", "usage_usec 1\n")
			h.write("cgroup/user.slice/cgroup.procs", fmt.Sprintf("700\n%d\n", h.a.Processes[1]))
			h.move("/user.slice", "all", h.a.Processes[1])
		}, first: usual().but(byTasks())},
		{name: "at the top", change: func(h *host) { h.move("/", "all", h.a.Processes[1]) }, first: usual().but(byTasks())},
		{name: "at the top of memory alone", layout: "v1-cgroupfs", change: func(h *host) { h.move("/", "memory", h.a.Processes[1]) }},

		{name: "escaped hyphen", change: func(h *host) {
			to := `/system.slice/docker\x2d` + h.a.ID + ".scope"
			h.rename(scope(h.a), to)
			h.move(to, "all", h.a.Processes...)
		}},
		{
			name: "two limits", change: func(h *host) { h.write("cgroup"+scope(h.a)+"/memory.max", "100 200\n") },
			first: usual().but(values{source.MemoryLimit: -1}), skipped: line,
		},
		{name: "a line without a path", change: func(h *host) {
			h.write(fmt.Sprintf("proc/%d/cgroup", h.a.Processes[1]), "junk\n0::"+scope(h.a)+"\n")
		}, skipped: line},
		{name: "cannot be read", change: func(h *host) { h.write(fmt.Sprintf("proc/%d/cgroup/x", h.a.Processes[1]), "") }, skipped: line},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.layout == "" {
				tt.layout = "v2-systemd"
			}
			h := &host{t: t, a: hosttree.Numbered(0), b: hosttree.Numbered(1)}
			h.Tree = newTree(t, tt.layout, h.a, h.b)
			tt.change(h)
			snap := snapshot(t, onTree(t, h.Tree))
			if tt.first == nil {
				tt.first = usual()
			}
			if tt.second == nil {
				tt.second = second(nil)
			}
			compareValues(t, "first", snap, h.a.ID, tt.first)
			compareValues(t, "second", snap, h.b.ID, tt.second)
			if !maps.Equal(snap.Skipped, tt.skipped) && len(snap.Skipped)+len(tt.skipped) > 0 {
				t.Errorf("skipped %v, want %v", snap.Skipped, tt.skipped)
			}
		})
	}
}

// TestOddPathOfAnother: a path with "..", in one container, does not affect a cgroup
// without an id of another one.
func TestOddPathOfAnother(t *testing.T) {
	h := &host{t: t, a: hosttree.Numbered(0), b: hosttree.Numbered(1)}
	h.Tree = newTree(t, "v2-systemd", h.a, h.b)
	h.rename("system.slice/docker-"+h.b.ID+".scope", "mine")
	h.write("cgroup/mine/cgroup.procs", fmt.Sprintf("%d\n%d\n", h.b.Processes[0], h.b.Processes[1]))
	h.move("/mine", "all", h.b.Processes...)
	h.move("/../x", "all", h.a.Processes[1])
	snap := snapshot(t, onTree(t, h.Tree))
	compareValues(t, "first", snap, h.a.ID, usual())
	compareValues(t, "second", snap, h.b.ID, usual().but(values{source.StartTime: 1000010000000}))
	if len(snap.Skipped) > 0 {
		t.Errorf("skipped %v", snap.Skipped)
	}
}

// TestStrayAndBack: CPU time continues when a process moves away and back, and when the
// container whose cgroup it is in starts and exits.
func TestStrayAndBack(t *testing.T) {
	w := watch(t, "v2-systemd")
	h := &host{Tree: w.tree, t: t, a: w.c, live: true}
	home := readMembership(t, h, w.c.Processes[1])
	last := w.after(5 * time.Second)
	for i, step := range []struct{ to, from string }{{home, "cgroup"}, {"/", "tasks"}, {home, "cgroup"}, {"/foo", "cgroup"}, {"/", "tasks"}} {
		h.move(step.to, "all", w.c.Processes[1])
		c := w.after(5 * time.Second)
		if c.CPUSource != step.from || c.Cgroup != home {
			t.Errorf("step %d: CPU time from %s of %q, want %s of %s", i, c.CPUSource, c.Cgroup, step.from, home)
		}
		for _, f := range []source.Field{source.CPU, source.CPUUser, source.OOMKills, source.DiskRead, source.MemoryLimit} {
			was, _ := last.Get(f)
			if is, ok := c.Get(f); !ok || is != was {
				t.Errorf("step %d: %s was %d and is %d, %t", i, f.Info().Key, was, is, ok)
			}
		}
		last = c
	}
}

// TestStartsWhereAnotherIs: a container's cgroup is its own as soon as it runs.
func TestStartsWhereAnotherIs(t *testing.T) {
	h := &host{t: t, a: hosttree.Numbered(0), b: hosttree.Numbered(1)}
	h.Tree = newTree(t, "v2-systemd", h.a)
	h.move("/system.slice/docker-"+h.b.ID+".scope", "all", h.a.Processes[1])
	s := onTree(t, h.Tree)
	snap := snapshot(t, s)
	if len(snap.Containers) != 2 || snap.Containers[1].ID != h.b.ID || snap.Containers[1].Pod != h.a.ID {
		t.Fatalf("%d containers, want the second one with a process of the first's shim", len(snap.Containers))
	}
	if err := h.Add(h.b); err != nil {
		t.Fatal(err)
	}
	snap = snapshot(t, s)
	compareValues(t, "second", snap, h.b.ID, usual().but(values{source.StartTime: 1000010000000}))
	for i := range snap.Containers {
		if c := &snap.Containers[i]; c.ID == h.a.ID {
			if v, ok := c.Get(source.MemoryCgroup); !ok || v != 65536 || c.CPUSource != "tasks" {
				t.Errorf("first container: memory %d, %t, CPU time from %s", v, ok, c.CPUSource)
			}
		}
	}
}

// TestProcessesOfAnotherNamespace: inside a container the kernel lists other processes
// as 0. A cgroup without an id is a container's own if it has no more of them than the
// container has processes.
func TestProcessesOfAnotherNamespace(t *testing.T) {
	for _, tt := range []struct {
		name, procs string
		below       string // cgroup.procs of a cgroup below it
		own         bool
	}{
		{"by their PIDs", "1001\n1002\n", "", true},
		{"all hidden", "0\n0\n", "", true},
		{"one hidden", "0\n1001\n", "", true},
		{"one hidden below it", "1002\n", "0\n", true},
		{"another one hidden", "0\n0\n0\n", "", false},
		{"another one hidden beside those that are listed", "1001\n1002\n0\n", "", false},
		{"another one hidden below it", "0\n0\n", "0\n", false},
		{"another one", "0\n700\n", "", false},
		{"nobody", "", "", false},
		{"nonsense", "0\n-1\n", "", false},
	} {
		h := &host{t: t, a: hosttree.Numbered(0)}
		h.Tree = newTree(t, "v2-systemd", h.a)
		h.rename("system.slice/docker-"+h.a.ID+".scope", "mine")
		h.write("cgroup/mine/cgroup.procs", tt.procs)
		if tt.below != "" {
			h.write("cgroup/mine/below/cgroup.procs", tt.below)
		}
		h.move("/mine", "all", h.a.Processes...)
		want := usual()
		if !tt.own {
			want = byTasks().but(values{source.MemoryCgroup: -1})
		}
		compareValues(t, tt.name+", first", snapshot(t, onTree(t, h.Tree)), h.a.ID, want)
	}
	// Of two processes one is elsewhere: what is hidden in the cgroup is not both.
	h := &host{t: t, a: hosttree.Numbered(0)}
	h.Tree = newTree(t, "v2-systemd", h.a)
	h.rename("system.slice/docker-"+h.a.ID+".scope", "mine")
	h.write("cgroup/mine/cgroup.procs", "0\n0\n")
	h.move("/mine", "all", h.a.Processes[0])
	h.move("/system.slice/containerd.service", "all", h.a.Processes[1])
	compareValues(t, "first", snapshot(t, onTree(t, h.Tree)), h.a.ID, byTasks().but(values{source.MemoryCgroup: -1}))
}

// TestSeparate: the container whose id the directory has keeps it.
func TestSeparate(t *testing.T) {
	ids := []string{strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)}
	for _, tt := range []struct {
		dir  string
		want string
	}{
		{"/cgroup/docker/" + ids[0], "[false true true]"},
		{"/cgroup/docker-" + ids[1] + ".scope", "[true false true]"},
		{"/cgroup/docker/" + ids[2], "[true true false]"},
		{"/cgroup/shared", "[true true true]"},
	} {
		var there []*container
		for _, id := range ids {
			c := &container{key: key{id: id}}
			c.place.dirs[unified] = []string{tt.dir}
			there = append(there, c)
		}
		separate(there)
		if got := fmt.Sprint([]bool{there[0].shared, there[1].shared, there[2].shared}); got != tt.want {
			t.Errorf("%s: shared %s, want %s", tt.dir, got, tt.want)
		}
	}
}

// TestOneLimit: a limit file has one word.
func TestOneLimit(t *testing.T) {
	for text, want := range map[string]string{
		"100\n": "100 true true", "max\n": "0 false true", "-1\n": "0 false true",
		"100 200\n": "0 false false", "max 100000\n": "0 false false", "": "0 false false",
	} {
		v, limited, ok := cgroupfile.Limit([]byte(text))
		if got := fmt.Sprint(v, limited, ok); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
