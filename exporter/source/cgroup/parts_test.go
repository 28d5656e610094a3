package cgroup

import (
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

// TestLedger follows a container through the lives of its processes; the shim
// has PID 1. Each step is the live processes and the sum that must be told.
func TestLedger(t *testing.T) {
	type step struct {
		live []entry
		want uint64
	}
	for name, steps := range map[string][]step{
		"grows": {{[]entry{at(2, 1, 5)}, 5}, {[]entry{at(2, 1, 9)}, 9}},
		"a child is reaped by its parent, which inherits": {
			{[]entry{at(2, 1, 5), at(3, 2, 100)}, 105},
			{[]entry{at(2, 1, 107)}, 107}},
		"a child goes and its parent ignores it": {
			{[]entry{at(2, 1, 5), at(3, 2, 100)}, 105},
			{[]entry{at(2, 1, 7)}, 107},
			{[]entry{at(2, 1, 8)}, 108}},
		"an exec'd process goes: the shim reaps it": {
			{[]entry{at(2, 1, 5), at(4, 1, 50)}, 55},
			{[]entry{at(2, 1, 300)}, 350}},
		"parent and child go, the grandparent inherits": {
			{[]entry{at(2, 1, 5), at(3, 2, 10), at(4, 3, 20)}, 35},
			{[]entry{at(2, 1, 40)}, 40}},
		"all go": {
			{[]entry{at(2, 1, 5), at(3, 2, 10)}, 15},
			{nil, 15}},
		"a PID is used again by another process": {
			{[]entry{at(2, 1, 5), at(3, 2, 100)}, 105},
			{[]entry{at(2, 1, 6), {identity: identity{3, 999}, parent: 2, tally: at(3, 2, 1).tally}}, 107}},
		"a counter that falls is not told": {
			{[]entry{at(2, 1, 50)}, 50}, {[]entry{at(2, 1, 40)}, 50}, {[]entry{at(2, 1, 60)}, 60}},
	} {
		t.Run(name, func(t *testing.T) {
			var l ledger
			for i, s := range steps {
				sum := l.update(s.live)
				for j, v := range sum {
					if v != s.want {
						t.Fatalf("step %d, counter %d: %d, want %d", i, j, v, s.want)
					}
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
	if percent, length, ok := young.sample(10*second+500*time.Millisecond, uint64(250*time.Millisecond), 10*second); !ok || percent != 5000 || length != 500*time.Millisecond {
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
		"shim -namespace moby -id abc -address /run/c.sock": "abc moby true",
		"shim --namespace k8s.io --id=abc":                  "abc k8s.io true",
		"shim -namespace moby -id abc -address /c start":    "  false",
		"shim -namespace moby -id abc -bundle /b delete":    "  false",
		"shim -namespace moby":                              " moby false",
		"shim -id ../../etc -namespace moby":                "../../etc moby false",
		"shim -address -id -namespace moby -id start":       "start moby true",
		"shim -debug -id " + strings.Repeat("a", 129):       strings.Repeat("a", 129) + "  false",
		"shim -id": "  false",
	} {
		id, ns, ok := parseShimArgs([]byte(strings.ReplaceAll(args, " ", "\x00") + "\x00"))
		got := id + " " + ns + " " + map[bool]string{true: "true", false: "false"}[ok]
		if got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}

func TestParseStat(t *testing.T) {
	const rest = " S 7 1 1 0 -1 0 1 2 3 4 10 20 30 40 20 0 5 0 12345 4096 17 18446744073709551615 0"
	for _, comm := range []string{"sh", "a b", ") S 1 (", "(((", "x)\n(y"} {
		p, err := parseStat([]byte("42 ("+comm+")"+rest), "sh")
		if err != nil || p.pid != 42 || p.comm != comm || p.parent != 7 || p.minor != 3 || p.major != 7 || p.cpu != 100 ||
			p.threads != 5 || p.start != 12345 || p.vsz != 4096 || p.rss != 17 {
			t.Errorf("comm %q: %+v, %v", comm, p, err)
		}
	}
	whole := "42 (sh)" + rest
	for n := range len("42 (sh) S 7 1 1 0 -1 0 1 2 3 4 10 20 30 40 20 0 5 0 12345 4096") {
		if _, err := parseStat([]byte(whole[:n]), ""); err == nil {
			t.Errorf("accepted %q", whole[:n])
		}
	}
}

func TestOwnPath(t *testing.T) {
	for _, tt := range []struct{ first, shim, want string }{
		{"/docker/abc", "/", "/docker/abc"},
		{"/system.slice/docker-abc.scope", "/system.slice/containerd.service", "/system.slice/docker-abc.scope"},
		{"/system.slice/docker-abc.scope/init.scope", "/", "/system.slice/docker-abc.scope"},
		{"/docker/out/docker/abc/a/b", "/docker/out", "/docker/out/docker/abc"},
		{"/kubepods/pod1/other", "/system.slice/containerd.service", "/kubepods/pod1/other"},
		{"/", "/", ""},
		{"", "/", ""},
		{"/system.slice", "/system.slice/containerd.service", ""},
		{"/user.slice", "/user.slice", ""},
	} {
		if got := ownPath("abc", tt.first, tt.shim); got != tt.want {
			t.Errorf("ownPath(%q, shim %q) = %q, want %q", tt.first, tt.shim, got, tt.want)
		}
	}
}

func TestOwnersEndsOnRings(t *testing.T) {
	all := []process{{identity: identity{1, 1}}, {identity: identity{10, 1}, parent: 1}, {identity: identity{11, 1}, parent: 10},
		{identity: identity{12, 1}, parent: 11}, {identity: identity{20, 1}, parent: 21}, {identity: identity{21, 1}, parent: 20}, {identity: identity{30, 1}, parent: 99}}
	byPID := map[int]int{}
	for i, p := range all {
		byPID[p.pid] = i
	}
	got := owners(all, byPID, []shim{{identity: identity{10, 1}}})
	for i, want := range []int{-1, -1, 0, 0, -1, -1, -1} {
		if got[i] != want {
			t.Errorf("owner of %d is %d, want %d", all[i].pid, got[i], want)
		}
	}
}
