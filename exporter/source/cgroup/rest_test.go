package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/tree"
)

// watched is a container of a tree and a source with a clock of its own.
type watched struct {
	t    *testing.T
	tree *tree.Tree
	c    tree.Container
	s    *Source
	now  time.Duration
}

func watch(t *testing.T, layout string) *watched {
	t.Helper()
	w := &watched{t: t, c: tree.Numbered(0), now: now}
	w.tree = newTree(t, layout, w.c)
	w.s = onTree(t, w.tree, func(c *Config) {
		c.Now = func() time.Time { return time.Unix(0, int64(booted+w.now)) }
		c.Boottime = func() time.Duration { return w.now }
	})
	return w
}

// after lets time pass and takes a snapshot.
func (w *watched) after(d time.Duration) *source.Container {
	w.t.Helper()
	w.now += d
	snap := snapshot(w.t, w.s)
	if len(snap.Containers) != 1 {
		w.t.Fatalf("%d containers, want 1", len(snap.Containers))
	}
	return &snap.Containers[0]
}

// file is a path below the container: "io" and "net/dev" of its init, or a file
// of a cgroup, after its controller.
func (w *watched) file(name string) string {
	if name == "io" || name == "stat" || name == "net/dev" {
		return w.tree.Process(w.c.Processes[0], name)
	}
	controller, file, _ := strings.Cut(name, "/")
	return filepath.Join(w.tree.Folder(w.c, controller), file)
}

// replace changes the text of a file in its place, as the kernel does. The memory
// that a stat tells its statm tells, too.
func (w *watched) replace(name, old, with string) {
	w.t.Helper()
	b, err := os.ReadFile(w.file(name))
	if err != nil {
		w.t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		w.t.Fatalf("%s does not contain %q:\n%s", name, old, b)
	}
	changed := strings.Replace(string(b), old, with, 1)
	if err := os.WriteFile(w.file(name), []byte(changed), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if filepath.Base(name) == "stat" {
		p, err := parseStat([]byte(changed), "")
		if err != nil {
			w.t.Fatal(err)
		}
		statm := fmt.Sprintf("%d %d 128 10 0 300 0\n", p.vsz/4096, p.rss)
		if err := os.WriteFile(w.tree.Process(p.pid, "statm"), []byte(statm), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
}

// run lets the container use the least CPU time that its counter tells.
func (w *watched) run() {
	w.t.Helper()
	name := "cpuacct/cpuacct.usage"
	for _, controller := range []string{"v2", "hybrid"} {
		if w.tree.Folder(w.c, controller) != "" {
			name = controller + "/cpu.stat"
		}
	}
	b, err := os.ReadFile(w.file(name))
	if err != nil {
		w.t.Fatal(err)
	}
	first := strings.Fields(strings.TrimPrefix(string(b), "usage_usec "))[0]
	v, err := strconv.Atoi(first)
	if err != nil {
		w.t.Fatal(err)
	}
	w.replace(name, first, strconv.Itoa(v+1))
}

// When a change of a file is told.
const (
	atOnce    = "at once"
	whenItRan = "when it ran"
	inTime    = "when everything is read again"
)

// TestRest changes each file of a container that uses no CPU time. What can
// change then is told at once; what cannot is not read before the container ran,
// or the time is up.
func TestRest(t *testing.T) {
	for _, tt := range []struct {
		layouts        string
		file, old, new string
		field          source.Field
		want           uint64
		when           string
	}{
		{"v1 hybrid v2", "stat", " 8388608 256 ", " 8388608 257 ", source.RSS, (257 + 256) * 4, atOnce},
		{"v1 hybrid v2", "stat", " 20 0 2 0 ", " 20 0 3 0 ", source.Threads, 5, whenItRan},
		{"v1 hybrid v2", "stat", " 10 2 3 0 ", " 11 2 3 0 ", source.MinorFaults, 25, whenItRan},
		{"v1 hybrid v2", "net/dev", "500000", "500001", source.NetRxBytes, 550001, atOnce},
		{"v1 hybrid v2", "io", "syscr: 430", "syscr: 431", source.IOReadCalls, 862, whenItRan},

		{"v1 hybrid", "cpu/cpu.stat", "123456789", "123456790", source.CPUThrottled, 123456790, whenItRan},
		{"v1 hybrid", "memory/memory.usage_in_bytes", "67108864", "67109888", source.MemoryCgroup, 65537, atOnce},
		{"v1 hybrid", "memory/memory.limit_in_bytes", "268435456", "268436480", source.MemoryLimit, 262145, inTime},
		{"v1 hybrid", "memory/memory.stat", "total_swap 16384", "total_swap 17408", source.Swap, 17, whenItRan},
		{"v1 hybrid", "memory/memory.stat", "total_inactive_file 1048576", "total_inactive_file 1049600", source.MemoryInactiveFile, 1025, whenItRan},
		{"v1 hybrid", "memory/memory.oom_control", "oom_kill 5", "oom_kill 6", source.OOMKills, 6, whenItRan},
		{"v1 hybrid", "blkio/blkio.throttle.io_service_bytes_recursive", "Read 700000", "Read 700001", source.DiskRead, 770001, whenItRan},

		{"hybrid", "hybrid/cpu.pressure", "total=1111", "total=1112", source.PressureCPU, 1112000, atOnce},
		{"hybrid", "hybrid/memory.pressure", "total=2222", "total=2223", source.PressureMemory, 2223000, whenItRan},
		{"hybrid", "hybrid/io.pressure", "total=3333", "total=3334", source.PressureIO, 3334000, whenItRan},

		{"v2", "v2/cpu.stat", "throttled_usec 123456", "throttled_usec 123457", source.CPUThrottled, 123457000, atOnce},
		{"v2", "v2/memory.current", "67108864", "67109888", source.MemoryCgroup, 65537, atOnce},
		{"v2", "v2/memory.max", "268435456", "268436480", source.MemoryLimit, 262145, inTime},
		{"v2", "v2/memory.swap.current", "16384", "17408", source.Swap, 17, whenItRan},
		{"v2", "v2/memory.stat", "inactive_file 1048576", "inactive_file 1049600", source.MemoryInactiveFile, 1025, whenItRan},
		{"v2", "v2/memory.events", "oom_kill 5", "oom_kill 6", source.OOMKills, 6, whenItRan},
		{"v2", "v2/io.stat", "rbytes=700000", "rbytes=700001", source.DiskRead, 770001, atOnce},
		{"v2", "v2/cpu.pressure", "total=1111", "total=1112", source.PressureCPU, 1112000, atOnce},
		{"v2", "v2/memory.pressure", "total=2222", "total=2223", source.PressureMemory, 2223000, whenItRan},
		{"v2", "v2/io.pressure", "total=3333", "total=3334", source.PressureIO, 3334000, whenItRan},
	} {
		for _, layout := range strings.Fields(tt.layouts) {
			for _, runs := range []bool{true, false} {
				name := layout + "/" + tt.file + "/" + tt.field.Info().Key + map[bool]string{true: "/runs", false: "/rests"}[runs]
				t.Run(name, func(t *testing.T) {
					w := watch(t, map[string]string{"v1": "v1-cgroupfs", "hybrid": "hybrid-cgroupfs", "v2": "v2-systemd"}[layout])
					told := func(d time.Duration) bool {
						t.Helper()
						v, ok := w.after(d).Get(tt.field)
						if !ok {
							t.Fatalf("%s is not known", tt.field.Info().Key)
						}
						return v == tt.want
					}
					for range 3 {
						if told(5 * time.Second) {
							t.Fatal("the value is as if it had changed already")
						}
					}
					w.replace(tt.file, tt.old, tt.new)
					if got := told(time.Second); got != (tt.when == atOnce) {
						t.Errorf("after the change: told %t, want it told %s", got, tt.when)
					}
					if runs {
						w.run()
						if got := told(time.Second); got != (tt.when != inTime) {
							t.Errorf("when it ran: told %t, want it told %s", got, tt.when)
						}
					}
					if !told(recheck) {
						t.Errorf("after %s it is still not told", recheck)
					}
				})
			}
		}
	}
}

// TestPartsOfCPUTime: with version 1 user and system time are files of their own.
func TestPartsOfCPUTime(t *testing.T) {
	w := watch(t, "v1-cgroupfs")
	for range 2 {
		w.after(5 * time.Second)
	}
	w.replace("cpuacct/cpuacct.usage_user", "5000000000", "6000000000")
	w.replace("cpuacct/cpuacct.usage", "7654321000", "8654321000")
	for range 2 {
		c := w.after(5 * time.Second)
		user, _ := c.Get(source.CPUUser)
		system, _ := c.Get(source.CPUSystem)
		if user != 6000000000 || system != 2654321000 {
			t.Errorf("user %d ns, system %d ns, want 6 s and as much as before", user, system)
		}
	}
}

// TestMemoryTaken: what the kernel takes away or swaps out of a container that
// rests shows in its use of memory.
func TestMemoryTaken(t *testing.T) {
	for layout, files := range map[string][3]string{
		"hybrid-cgroupfs": {"memory/memory.usage_in_bytes", "memory/memory.stat", "total_swap 16384"},
		"v2-systemd":      {"v2/memory.current", "v2/memory.swap.current", "16384"},
	} {
		w := watch(t, layout)
		for range 3 {
			w.after(5 * time.Second)
		}
		w.replace(files[0], "67108864", "67107840")
		w.replace(files[1], files[2], strings.Replace(files[2], "16384", "17408", 1))
		if v, _ := w.after(time.Second).Get(source.Swap); v != 17 {
			t.Errorf("%s: %d kB of swap, want 17", layout, v)
		}
	}
}

// TestWaitingAtRest: a task can wait for storage for minutes without running.
// The kernel brings its totals up to date every two seconds.
func TestWaitingAtRest(t *testing.T) {
	for _, pressure := range []string{"memory", "io"} {
		field := map[string]source.Field{"memory": source.PressureMemory, "io": source.PressureIO}[pressure]
		for _, step := range []time.Duration{500 * time.Millisecond, time.Second, 5 * time.Second} {
			w := watch(t, "v2-systemd")
			total, told, waiting := 2222, 0, time.Duration(0)
			if pressure == "io" {
				total = 3333
			}
			w.after(step)
			w.run()
			for ; waiting < 25*time.Second; waiting += step {
				if waiting%(2*time.Second) < step { // the kernel's turn
					w.replace("v2/"+pressure+".pressure", "total="+strconv.Itoa(total), "total="+strconv.Itoa(total+2_000_000))
					total += 2_000_000
				}
				v, _ := w.after(step).Get(field)
				if told = int(v / 1000); told != total {
					t.Fatalf("%s, a reader each %s: %d µs told after %s, want %d", pressure, step, told, waiting, total)
				}
			}
		}
	}
}

// TestLonely: a network namespace without interfaces is asked once in a while
// whether it has got one.
func TestLonely(t *testing.T) {
	w := watch(t, "v2-systemd")
	dev, err := os.ReadFile(w.file("net/dev"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(dev), "\n")
	alone := strings.Join(lines[:3], "")
	if err := os.WriteFile(w.file("net/dev"), []byte(alone), 0o644); err != nil {
		t.Fatal(err)
	}
	asked := 0
	w.s.reader.opening = func(path string) {
		if strings.HasSuffix(path, "net/dev") {
			asked++
		}
	}
	for range 12 {
		c := w.after(5 * time.Second)
		if v, ok := c.Get(source.NetRxBytes); !ok || v != 0 || c.Network != ownNetwork {
			t.Fatalf("network %q: %d bytes, known %t, want 0 of its own", c.Network, v, ok)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times in a minute, want twice", asked)
	}
	if err := os.WriteFile(w.file("net/dev"), dev, 0o644); err != nil {
		t.Fatal(err)
	}
	if v, _ := w.after(recheck).Get(source.NetRxBytes); v != 550000 {
		t.Errorf("%d bytes after an interface came, want 550000", v)
	}
	for range 2 {
		asked = 0
		if w.after(time.Second); asked != 1 {
			t.Errorf("with interfaces, asked %d times, want once a snapshot", asked)
		}
	}
}

// TestWithoutPermissionAtRest: what may not be read does not become zero when
// the container rests.
func TestWithoutPermissionAtRest(t *testing.T) {
	w := watch(t, "v2-systemd")
	for _, pid := range w.c.Processes {
		io := w.tree.Process(pid, "io")
		if err := os.Remove(io); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("io", io); err != nil { // ELOOP: unreadable for root, too
			t.Fatal(err)
		}
	}
	for range 4 {
		if v, ok := w.after(5 * time.Second).Get(source.IOReadCalls); ok {
			t.Fatalf("%d read calls told that nobody could read", v)
		}
	}
}
