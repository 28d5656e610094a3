package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// watched is a container of a tree with a source and a test clock.
type watched struct {
	t    *testing.T
	tree *hosttree.Tree
	c    hosttree.Container
	s    *Source
	now  time.Duration
}

func watch(t *testing.T, layout string) *watched {
	t.Helper()
	w := &watched{t: t, c: hosttree.Numbered(0), now: now}
	w.tree = newTree(t, layout, w.c)
	w.s = onTree(t, w.tree, func(c *Config) {
		c.Now = func() time.Time { return time.Unix(0, int64(booted+w.now)) }
		c.Boottime = func() time.Duration { return w.now }
	})
	return w
}

// after advances the clock and takes a snapshot.
func (w *watched) after(d time.Duration) *source.Container {
	w.t.Helper()
	w.now += d
	snap := snapshot(w.t, w.s)
	if len(snap.Containers) != 1 {
		w.t.Fatalf("%d containers, want 1", len(snap.Containers))
	}
	return &snap.Containers[0]
}

// file returns a path of the container: "io" or "net/dev" of its init process, or
// CONTROLLER/FILE of a cgroup.
func (w *watched) file(name string) string {
	if name == "io" || name == "stat" || name == "net/dev" {
		return w.tree.Process(w.c.Processes[0], name)
	}
	controller, file, _ := strings.Cut(name, "/")
	return filepath.Join(w.tree.Folder(w.c, controller), file)
}

// replace changes the content of a file in place, as the kernel does. statm follows the
// memory in stat.
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
		p, err := procfile.ParseStat([]byte(changed), "")
		if err != nil {
			w.t.Fatal(err)
		}
		statm := fmt.Sprintf("%d %d 128 10 0 300 0\n", p.VSZ/4096, p.RSS)
		if err := os.WriteFile(w.tree.Process(p.PID, "statm"), []byte(statm), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestChanges changes each file of a container in turn. Each change shows at once,
// regardless of the other files.
func TestChanges(t *testing.T) {
	for _, tt := range []struct {
		layouts        string
		file, old, new string
		field          source.Field
		want           uint64
	}{
		{"v1 hybrid v2", "stat", " 8388608 256 ", " 8388608 257 ", source.RSS, (257 + 256) * 4},
		{"v1 hybrid v2", "stat", " 20 0 2 0 ", " 20 0 3 0 ", source.Threads, 5},
		{"v1 hybrid v2", "stat", " 10 2 3 0 ", " 11 2 3 0 ", source.MinorFaults, 25},
		{"v1 hybrid v2", "net/dev", "500000", "500001", source.NetRxBytes, 550001},
		{"v1 hybrid v2", "io", "syscr: 430", "syscr: 431", source.IOReadCalls, 862},
		{"v1 hybrid", "cpu/cpu.stat", "123456789", "123456790", source.CPUThrottled, 123456790},
		{"v1 hybrid", "cpu/cpu.stat", "nr_periods 10", "nr_periods 11", source.CPUPeriods, 11},
		{"v1 hybrid", "cpu/cpu.cfs_quota_us", "150000", "50000", source.CPUQuota, 50e6},
		{"v1 hybrid", "memory/memory.usage_in_bytes", "67108864", "67109888", source.MemoryCgroup, 65537},
		{"v1 hybrid", "memory/memory.limit_in_bytes", "268435456", "268436480", source.MemoryLimit, 262145},
		{"v1 hybrid", "memory/memory.stat", "total_swap 16384", "total_swap 17408", source.Swap, 17},
		{"v1 hybrid", "memory/memory.stat", "total_inactive_file 1048576", "total_inactive_file 1049600", source.MemoryInactiveFile, 1025},
		{"v1 hybrid", "memory/memory.oom_control", "oom_kill 5", "oom_kill 6", source.OOMKills, 6},
		{"v1 hybrid", "blkio/blkio.throttle.io_service_bytes_recursive", "Read 700000", "Read 700001", source.DiskRead, 770001},
		{"hybrid", "hybrid/cpu.pressure", "total=1111", "total=1112", source.PressureCPU, 1112000},
		{"hybrid", "hybrid/memory.pressure", "total=2222", "total=2223", source.PressureMemory, 2223000},
		{"hybrid", "hybrid/io.pressure", "total=3333", "total=3334", source.PressureIO, 3334000},
		{"v2", "v2/cpu.stat", "throttled_usec 123456", "throttled_usec 123457", source.CPUThrottled, 123457000},
		{"v2", "v2/cpu.stat", "nr_throttled 2", "nr_throttled 3", source.CPUThrottledPeriods, 3},
		{"v2", "v2/cpu.max", "150000", "50000", source.CPUQuota, 50e6},
		{"v2", "v2/memory.current", "67108864", "67109888", source.MemoryCgroup, 65537},
		{"v2", "v2/memory.max", "268435456", "268436480", source.MemoryLimit, 262145},
		{"v2", "v2/memory.swap.current", "16384", "17408", source.Swap, 17},
		{"v2", "v2/memory.stat", "inactive_file 1048576", "inactive_file 1049600", source.MemoryInactiveFile, 1025},
		{"v2", "v2/memory.events", "oom_kill 5", "oom_kill 6", source.OOMKills, 6},
		{"v2", "v2/io.stat", "rbytes=700000", "rbytes=700001", source.DiskRead, 770001},
		{"v2", "v2/cpu.pressure", "total=1111", "total=1112", source.PressureCPU, 1112000},
		{"v2", "v2/memory.pressure", "total=2222", "total=2223", source.PressureMemory, 2223000},
		{"v2", "v2/io.pressure", "total=3333", "total=3334", source.PressureIO, 3334000},
	} {
		for _, layout := range strings.Fields(tt.layouts) {
			t.Run(layout+"/"+tt.file+"/"+tt.field.Info().Key, func(t *testing.T) {
				w := watch(t, map[string]string{"v1": "v1-cgroupfs", "hybrid": "hybrid-cgroupfs", "v2": "v2-systemd"}[layout])
				shows := func() bool {
					t.Helper()
					v, ok := w.after(5 * time.Second).Get(tt.field)
					if !ok {
						t.Fatalf("%s is not known", tt.field.Info().Key)
					}
					return v == tt.want
				}
				for range 3 {
					if shows() {
						t.Fatal("the value is as if it had changed already")
					}
				}
				w.replace(tt.file, tt.old, tt.new)
				if !shows() {
					t.Error("the change does not show")
				}
			})
		}
	}
}

// TestPartsOfCPUTime: in v1 user and system time are separate files.
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

// TestWithoutPermission: unreadable values are not zero.
func TestWithoutPermission(t *testing.T) {
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
			t.Fatalf("%d read calls although I/O is unreadable", v)
		}
	}
}
