package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func at(pid, parent int, n uint64) entry {
	e := entry{identity: identity{pid, uint64(pid)}, parent: parent}
	for i := range e.tally {
		e.tally[i] = n
	}
	return e
}

// TestLedger: each step has the live processes and the expected sum; the shim has
// PID 1.
func TestLedger(t *testing.T) {
	type step struct {
		live []entry
		want uint64
	}
	for name, steps := range map[string][]step{
		"grows": {{[]entry{at(2, 1, 5)}, 5}, {[]entry{at(2, 1, 9)}, 9}},
		"a child is reaped by its parent, which inherits": {
			{[]entry{at(2, 1, 5), at(3, 2, 100)}, 105},
			{[]entry{at(2, 1, 107)}, 107},
		},
		"a child goes and its parent ignores it": {
			{[]entry{at(2, 1, 5), at(3, 2, 100)}, 105},
			{[]entry{at(2, 1, 7)}, 107},
			{[]entry{at(2, 1, 8)}, 108},
		},
		"an exec'd process goes: the shim reaps it": {
			{[]entry{at(2, 1, 5), at(4, 1, 50)}, 55},
			{[]entry{at(2, 1, 300)}, 350},
		},
		"parent and child go, the grandparent inherits": {
			{[]entry{at(2, 1, 5), at(3, 2, 10), at(4, 3, 20)}, 35},
			{[]entry{at(2, 1, 40)}, 40},
		},
		"all go": {
			{[]entry{at(2, 1, 5), at(3, 2, 10)}, 15},
			{nil, 15},
		},
		"a PID is used again by another process": {
			{[]entry{at(2, 1, 5), at(3, 2, 100)}, 105},
			{[]entry{at(2, 1, 6), {identity: identity{3, 999}, parent: 2, tally: at(3, 2, 1).tally}}, 107},
		},
		"a decreasing counter does not show": {
			{[]entry{at(2, 1, 50)}, 50}, {[]entry{at(2, 1, 40)}, 50}, {[]entry{at(2, 1, 60)}, 60},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var l ledger
			for i, s := range steps {
				sum := l.update(s.live, bounds{})
				for j, v := range sum {
					if v != s.want {
						t.Fatalf("step %d, counter %d: %d, want %d", i, j, v, s.want)
					}
				}
			}
		})
	}
}

// TestCounters: each step has the origin, the raw value and the expected value.
func TestCounters(t *testing.T) {
	type step struct {
		origin     string
		raw, tasks uint64
		counter    uint64
		meter      uint64
	}
	for name, steps := range map[string][]step{
		"grows":                      {{"/a", 5, 1, 5, 5}, {"/a", 9, 2, 9, 9}},
		"stands still":               {{"/a", 5, 1, 5, 5}, {"/a", 5, 9, 5, 5}},
		"another cgroup counts less": {{"/a", 50, 10, 50, 50}, {"/b", 3, 14, 50, 54}, {"/b", 5, 99, 52, 56}},
		"another cgroup counts more": {{"/a", 50, 10, 50, 50}, {"/b", 900, 14, 50, 54}, {"/b", 901, 99, 51, 55}},
		"the cgroup above":           {{"/pod/a", 50, 10, 50, 50}, {"/pod", 90, 14, 90, 90}},
		"one that is called alike":   {{"/pod-a", 50, 10, 50, 50}, {"/pod", 90, 14, 50, 54}},
		"made anew under its name":   {{"/a", 50, 10, 50, 50}, {"/a", 3, 14, 50, 54}, {"/a", 5, 20, 52, 56}},
		"there and back": {
			{"/a", 50, 10, 50, 50},
			{fromTasks, 14, 14, 50, 54},
			{fromTasks, 16, 16, 52, 56},
			{"/a", 52, 18, 52, 58},
			{"/a", 53, 19, 53, 59},
		},
		"from the processes at first": {{fromTasks, 10, 10, 10, 10}, {"/a", 50, 13, 10, 13}, {"/a", 51, 14, 11, 14}},
		"nothing was used at first":   {{"/a", 0, 0, 0, 0}, {"/a", 7, 1, 7, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			var c counter
			var m meter
			for i, s := range steps {
				if got, _ := c.update(s.origin, s.raw, limit{}); got != s.counter {
					t.Errorf("step %d: counter %d, want %d", i, got, s.counter)
				}
				if got, _ := m.update(s.origin, s.raw, s.tasks, limit{}); got != s.meter {
					t.Errorf("step %d: meter %d, want %d", i, got, s.meter)
				}
			}
		})
	}
}

func TestWindow(t *testing.T) {
	var w window
	second := time.Second
	for i, s := range []struct {
		now     time.Duration
		cpu     time.Duration
		percent uint64
		ok      bool
	}{
		{100 * second, 50 * second, 0, false},                         // old, and never seen before
		{100*second + 500*time.Millisecond, 51 * second, 0, false},    // too short to say
		{102 * second, 51 * second, 5000, true},                       // 1 s in 2 s
		{102*second + time.Millisecond, 51*second + 1000, 5000, true}, // a second reader gets the same
		{103 * second, 52 * second, 10000, true},                      // a whole core
		{104 * second, 52 * second, 0, true},                          // idle
		{105 * second, 50 * second, 0, true},                          // a counter that fell is no use
	} {
		percent, _, ok := w.sample(s.now, uint64(s.cpu), 10*second)
		if percent != s.percent || ok != s.ok {
			t.Errorf("sample %d: %d, %v, want %d, %v", i, percent, ok, s.percent, s.ok)
		}
	}
	var young window
	if percent, length, ok := young.sample(10*second+500*time.Millisecond, uint64(250*time.Millisecond), 10*second); !ok || percent != 5000 ||
		length != 500*time.Millisecond {
		t.Errorf("a young container: %d over %s, %v, want half a core since its start", percent, length, ok)
	}
}

func TestSplitAddsUpAndNeverFalls(t *testing.T) {
	var s split
	var user, system uint64
	for i, in := range [][3]uint64{{100, 0, 0}, {200, 10, 30}, {200, 30, 10}, {300, 1, 99}, {250, 1, 1}, {1000, 999, 1}} {
		u, v := s.update(in[0], in[1], in[2])
		if u < user || v < system {
			t.Errorf("step %d: %d+%d fell from %d+%d", i, u, v, user, system)
		}
		if in[0] >= user+system && u+v != in[0] {
			t.Errorf("step %d: %d+%d is not the total %d", i, u, v, in[0])
		}
		user, system = u, v
	}
}

func TestParseShimArgs(t *testing.T) {
	for args, want := range map[string]string{
		"shim -namespace moby -id abc -address /run/c.sock": "abc moby 1",
		"shim --namespace k8s.io --id=abc":                  "abc k8s.io 1",
		"shim -namespace moby -id abc -address /c start":    "  2",
		"shim -namespace moby -id abc -bundle /b delete":    "  2",
		"shim -namespace moby":                              " moby 3",
		"shim -id ../../etc -namespace moby":                "../../etc moby 0",
		"shim -address -id -namespace moby -id start":       "start moby 1",
		"shim -debug -id " + strings.Repeat("a", 129):       strings.Repeat("a", 129) + "  0",
		"shim -id":                             "  3",
		"shim -namespace plugins.moby -id abc": "abc plugins.moby 2",
		"shim -namespace moby -workdir /run/v1.linux/moby/abc -address /run/c.sock": "abc moby 1",
	} {
		id, ns, role := parseShimArgs(strings.Fields(args))
		got := fmt.Sprintf("%s %s %d", id, ns, role)
		if got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}

// TestOwn cuts paths of processes to the cgroup of the container.
func TestOwn(t *testing.T) {
	other := strings.Repeat("b", 64)
	for _, tt := range []struct{ at, shim, want string }{
		{"/docker/abc", "/", "/docker/abc"},
		{"/system.slice/docker-abc.scope", "/system.slice/containerd.service", "/system.slice/docker-abc.scope"},
		{"/system.slice/docker-abc.scope/init.scope", "/", "/system.slice/docker-abc.scope"},
		{"/system.slice/docker-xabc.scope/docker-abc.scope", "/", "/system.slice/docker-xabc.scope/docker-abc.scope"},
		{"/docker/" + other + "/docker/abc/a/b", "/docker/" + other, "/docker/" + other + "/docker/abc"},
		{"/docker/" + other + "/a", "/docker/" + other, "/docker/" + other + "/a"},
		{"/docker/abc/docker/" + other, "/", "/docker/abc"}, // made inside
		{"/kubepods/pod1/" + other, "/system.slice/containerd.service", ""},
		{"/kubepods/pod1/other", "/system.slice/containerd.service", "/kubepods/pod1/other"},
		{
			"/system.slice/containerd.service/pod.slice:cri-containerd:abc", "/system.slice/containerd.service",
			"/system.slice/containerd.service/pod.slice:cri-containerd:abc",
		},
		{"/../../mine.slice/docker-abc.scope", "/../../x.service", "/../../mine.slice/docker-abc.scope"},
		{"/", "/", ""},
		{"/", "/../x.service", ""},
		{"/system.slice", "/system.slice/containerd.service", ""},
		{"/user.slice", "/user.slice", ""},
	} {
		h := newHierarchies("/")
		o := owner{id: "abc", shim: true}
		if below(tt.shim, "/docker/"+other) {
			o.outer = "/docker/" + other
		}
		own, all, _ := h.own("", o, []string{tt.at}, tt.shim)
		if got := strings.Join(own, " "); got != tt.want || all != (tt.want != "") {
			t.Errorf("own(%q, shim %q) = %q, %t, want %q", tt.at, tt.shim, got, all, tt.want)
		}
	}
}

func TestDescendantsEndOnRings(t *testing.T) {
	parents := map[int]int{1: 0, 10: 1, 11: 10, 12: 11, 20: 21, 21: 20, 30: 99}
	byPID := map[int]*process{}
	var all []*process
	for _, pid := range []int{30, 12, 11, 10, 1, 20, 21} {
		byPID[pid] = &process{identity: identity{pid, 1}}
		all = append(all, byPID[pid])
	}
	for pid, parent := range parents {
		byPID[pid].parent = byPID[parent]
	}
	sh := &shim{process: byPID[10]}
	var got []int
	descend(all, []*shim{sh}, 1)
	for _, p := range all {
		if p.under == sh {
			got = append(got, p.pid)
		}
	}
	if !slices.Equal(got, []int{12, 11}) {
		t.Errorf("descendants of the shim are %v, want 12 and 11", got)
	}
}

// TestIndexIsOne: of several cgroups with an id the outermost is found, always the same
// one.
func TestIndexIsOne(t *testing.T) {
	const id = "c0ffee"
	root := t.TempDir()
	for _, dir := range []string{"a.slice/docker-" + id + ".scope", "a.slice/backup-" + id, "b.slice/c.slice/" + id, "z/a-" + id} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		if at := new(index).find(root, owner{id: id, shim: true}, time.Second); at != "/a.slice/backup-"+id {
			t.Fatalf("found %s", at)
		}
	}
}
