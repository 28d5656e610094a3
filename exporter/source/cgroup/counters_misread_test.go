package cgroup

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// misreadable has numbers in a container's files, each with an impossible value.
var misreadable = []struct {
	layout, file, text string // in which %s is the number
	is                 uint64
	absurd             string
	field              source.Field
	expected           uint64
	unit               uint64 // value per raw unit
}{
	{"v2-systemd", "io", "rchar: %s\n", 41000, "9000000000000000000", source.IOReadBytes, 82000, 2}, // both processes read the same file
	{"v2-systemd", "io", "wchar: %s\n", 42000, "9000000000000", source.IOWriteBytes, 84000, 2},
	{"v2-systemd", "io", "syscr: %s\n", 430, "1000000000000000", source.IOReadCalls, 860, 2},
	{"v2-systemd", "stat", " 10 2 %s 0 100 50 0 0 ", 3, "900000000000000", source.MajorFaults, 6, 1},
	{"rootless-no-cgroups", "stat", " 10 2 3 0 %s 50 0 0 ", 100, "900000000000", source.CPU, 3000000000, tickNS},
	{"v2-systemd", "v2/cpu.stat", "usage_usec %s\n", 7654321, "9000000000000000", source.CPU, 7654321000, 1000},
	{"v2-systemd", "v2/cpu.stat", "throttled_usec %s\n", 123456, "9000000000000000", source.CPUThrottled, 123456000, 1000},
	{"v2-systemd", "v2/cpu.stat", "nr_periods %s\n", 10, "9000000000000000", source.CPUPeriods, 10, 1},
	{"v2-systemd", "v2/memory.events", "oom_kill %s\n", 5, "9000000000000000", source.OOMKills, 5, 1},
	{"v2-systemd", "v2/cpu.pressure", "total=%s\nfull", 1111, "9000000000000000", source.PressureCPU, 1111000, 1000},
	{"v2-systemd", "v2/io.stat", "rbytes=%s wbytes=800000", 700000, "9000000000000000000", source.DiskRead, 770000, 1},
	{"v2-systemd", "v2/io.stat", "wbytes=%s rios", 800000, "90000000000000", source.DiskWrite, 880000, 1},
	{"v2-systemd", "net/dev", "eth0:  %s ", 500000, "9000000000000000000", source.NetRxBytes, 550000, 1},
	{"v2-systemd", "net/dev", "500000    %s ", 5000, "9000000000000000", source.NetRxPackets, 5500, 1},
	{"v1-cgroupfs", "cpuacct/cpuacct.usage", "%s\n", 7654321000, "9000000000000000000", source.CPU, 7654321000, 1},
	{"v1-cgroupfs", "blkio/blkio.throttle.io_service_bytes_recursive", "8:0 Read %s\n", 700000, "9000000000000000000", source.DiskRead, 770000, 1},
}

// TestMisread makes a number temporarily impossible, missing or smaller. The wrong value
// never shows, and growth meanwhile and afterwards counts once.
func TestMisread(t *testing.T) {
	for _, tt := range misreadable {
		for name, steps := range map[string][]string{
			"too much":           {tt.absurd},
			"too much twice":     {tt.absurd, "", tt.absurd},
			"too much, then 0":   {tt.absurd, "0"},
			"0":                  {"0"},
			"0 for a while":      {"0", "0", "0", "0", "0", "0"},
			"0 and again":        {"0", "", "0"},
			"less":               {fmt.Sprint(tt.is - 1)},
			"less, then nothing": {fmt.Sprint(tt.is - 1), "0"},
		} {
			t.Run(fmt.Sprintf("%s/%s/%s", tt.layout, tt.field.Info().Key, name), func(t *testing.T) {
				w := watch(t, tt.layout)
				w.s.config.Owner = hosttree.Layouts()[tt.layout].ShimUID
				check := func(step string, want uint64) {
					t.Helper()
					if v, ok := w.after(5 * time.Second).Get(tt.field); !ok || v != want {
						t.Errorf("%s: %d, %t, want %d", step, v, ok, want)
					}
				}
				whole, err := os.ReadFile(w.file(tt.file))
				if err != nil {
					t.Fatal(err)
				}
				put := func(number string) {
					old, with := strings.Replace(tt.text, "%s", fmt.Sprint(tt.is), 1), strings.Replace(tt.text, "%s", number, 1)
					if !strings.Contains(string(whole), old) {
						t.Fatalf("%s does not contain %q:\n%s", tt.file, old, whole)
					}
					if err := os.WriteFile(w.file(tt.file), []byte(strings.Replace(string(whole), old, with, 1)), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				is, want := tt.is, tt.expected
				check("before", want)
				for i, number := range steps {
					if number == "" {
						is, want = is+1, want+tt.unit
						number = strconv.FormatUint(is, 10)
					}
					put(number)
					check(fmt.Sprintf("step %d, %s", i, number), want)
				}
				put(strconv.FormatUint(is+1, 10))
				check("after", want+tt.unit)
				put(strconv.FormatUint(is+3, 10))
				check("later", want+3*tt.unit)
				if n := w.s.faults.skipped[source.ReasonLine]; (n > 0) != strings.Contains(name, "too much") {
					t.Errorf("%d counted as left out", n)
				}
			})
		}
	}
}

// TestMisreadAtFirst: an impossible value of a new container does not show; a confirmed
// one does.
func TestMisreadAtFirst(t *testing.T) {
	for _, tt := range misreadable {
		for _, stays := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%s/stays %t", tt.layout, tt.field.Info().Key, stays), func(t *testing.T) {
				w := watch(t, tt.layout)
				w.s.config.Owner = hosttree.Layouts()[tt.layout].ShimUID
				old, with := strings.Replace(tt.text, "%s", fmt.Sprint(tt.is), 1), strings.Replace(tt.text, "%s", tt.absurd, 1)
				absurd, err := strconv.ParseUint(tt.absurd, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				if absurd < 1e14 {
					t.Skip("that much it could have done since it was started")
				}
				w.replace(tt.file, old, with)
				if v, ok := w.after(5 * time.Second).Get(tt.field); ok && v >= absurd {
					t.Fatalf("value %d", v)
				}
				if stays {
					w.after(5 * time.Second)
					w.replace(tt.file, with, strings.Replace(tt.text, "%s", fmt.Sprint(absurd+1024), 1))
					last, _ := w.after(5 * time.Second).Get(tt.field)
					w.replace(tt.file, fmt.Sprint(absurd+1024), fmt.Sprint(absurd+2048))
					if v, ok := w.after(5 * time.Second).Get(tt.field); !ok || v != last+1024*tt.unit {
						t.Errorf("it stays: %d, %t, then %d", last, ok, v)
					}
					return
				}
				w.replace(tt.file, with, old)
				first, ok := w.after(5 * time.Second).Get(tt.field)
				w.replace(tt.file, old, strings.Replace(tt.text, "%s", fmt.Sprint(tt.is+1), 1))
				if v, _ := w.after(5 * time.Second).Get(tt.field); !ok || first > tt.expected || v != first+tt.unit {
					t.Errorf("%d, %t, then %d, want at most %d and %d more", first, ok, v, tt.expected, tt.unit)
				}
			})
		}
	}
}

// TestKnownLate: the counters of a process count once they are readable. For a process
// older than the container only later growth counts: its past would appear as growth
// since the last snapshot.
func TestKnownLate(t *testing.T) {
	const io = "rchar: 0\nwchar: 0\nsyscr: %d\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\n"
	for _, tt := range []struct {
		name  string
		young bool // started after the first snapshot of the container
		whole int  // of the 5000 calls it did before it could be read
	}{
		{"as old as the container", false, 0},
		{"started since", true, 5000},
	} {
		for _, odd := range []string{"", "syscr: x\n", "rchar: 1\n"} {
			t.Run(fmt.Sprintf("%s/%q", tt.name, odd), func(t *testing.T) {
				w := watch(t, "v2-systemd")
				h := &host{Tree: w.tree, t: t, a: w.c}
				child := w.c.Processes[1]
				files := h.Process(child, "")
				h.process(child, "io", "syscr: 430", "syscr: 430") // its own
				if tt.young {
					if err := os.Rename(files, files+"x"); err != nil {
						t.Fatal(err)
					}
					w.after(5 * time.Second)
					if err := os.Rename(files+"x", files); err != nil {
						t.Fatal(err)
					}
					h.process(child, "stat", " 100001 ", fmt.Sprintf(" %d ", (w.now+time.Second)/time.Duration(tickNS)))
				}
				is := func(step string, calls int, want uint64) {
					t.Helper()
					text := odd
					if calls >= 0 {
						text = fmt.Sprintf(io, calls)
					}
					h.live = true
					h.write(fmt.Sprintf("proc/%d/io", child), text)
					if v, _ := w.after(5 * time.Second).Get(source.IOReadCalls); v != want {
						t.Errorf("%s: %d read calls, want %d", step, v, want)
					}
				}
				before := uint64(430)
				is("odd", -1, before)
				is("still odd", -1, before)
				is("known", 5000, before+uint64(tt.whole))
				is("later", 5007, before+uint64(tt.whole)+7)
				is("odd again", -1, before+uint64(tt.whole)+7)
				is("known again", 5010, before+uint64(tt.whole)+10)
				// Its parent reaps it and inherits its counters.
				if err := os.RemoveAll(files); err != nil {
					t.Fatal(err)
				}
				h.process(w.c.Processes[0], "io", "syscr: 430\n", fmt.Sprintf("syscr: %d\n", 430+5010+2))
				h.process(w.c.Processes[0], "stat", " 10 2 3 0 100 50 0 0 ", " 10 14 3 3 100 50 100 50 ")
				if v, _ := w.after(5 * time.Second).Get(source.IOReadCalls); v != before+uint64(tt.whole)+12 {
					t.Errorf("reaped: %d read calls, want %d", v, before+uint64(tt.whole)+12)
				}
			})
		}
	}
}

// TestInheritedAtOnce: a process that reaps another inherits its counters at once.
func TestInheritedAtOnce(t *testing.T) {
	const much = 1 << 60
	b := bounds{now: 1000 * time.Second, cpus: 8}
	l := ledger{}
	parent, child := at(2, 1, 5), at(3, 2, much)
	l.update([]entry{parent, child}, bounds{})
	for step, want := range []uint64{much + 5, much + 6} {
		b.now += 5 * time.Second
		parent = at(2, 1, much+5+uint64(step))
		for i, v := range l.update([]entry{parent}, b) {
			if v != want {
				t.Errorf("step %d, counter %d: %d, want %d", step, i, v, want)
			}
		}
	}
}

// TestBackAgain: a process that temporarily appears to be outside the container, or in
// another one, counts once after its return, including its growth meanwhile.
func TestBackAgain(t *testing.T) {
	for _, length := range []int{1, 3, 6} {
		w := watch(t, "v2-systemd")
		h := &host{Tree: w.tree, t: t, a: w.c, live: true}
		child := w.c.Processes[1]
		want := map[source.Field]uint64{source.IOReadCalls: 860, source.MinorFaults: 24}
		is := func(step string) {
			t.Helper()
			c := w.after(5 * time.Second)
			for f, want := range want {
				if v, ok := c.Get(f); !ok || v != want {
					t.Errorf("%d times, %s: %s is %d, %t, want %d", length, step, f.Info().Key, v, ok, want)
				}
			}
		}
		is("before")
		h.process(child, "stat", fmt.Sprintf(") S %d ", w.c.Processes[0]), ") S 1 ")
		for range length {
			is("elsewhere")
		}
		h.process(child, "stat", ") S 1 ", fmt.Sprintf(") S %d ", w.c.Processes[0]))
		h.process(child, "stat", " 10 2 3 0 ", " 15 2 3 0 ")
		want[source.MinorFaults] += 5
		is("back")
		is("later")
		if err := os.RemoveAll(h.Process(child, "")); err != nil {
			t.Fatal(err)
		}
		is("ended")
		if w.after(time.Second); len(w.s.containers) != 1 {
			t.Fatal("no container")
		}
		for _, c := range w.s.containers {
			if len(c.ledger.left) > 0 {
				t.Errorf("known still: %v", c.ledger.left)
			}
		}
	}
}

// TestMovedWithoutCgroups: in a container without cgroups of its own the init process
// continues to count when another process is moved.
func TestMovedWithoutCgroups(t *testing.T) {
	w := watch(t, "rootless-no-cgroups")
	w.s.config.Owner = hosttree.Layouts()["rootless-no-cgroups"].ShimUID
	h := &host{Tree: w.tree, t: t, a: w.c, live: true}
	home := readMembership(t, h, w.c.Processes[1])
	w.after(5 * time.Second)
	for _, to := range []string{"/user.slice/elsewhere.scope", home} {
		h.move(to, "all", w.c.Processes[1])
		c := w.after(5 * time.Second)
		for f, want := range map[source.Field]uint64{
			source.Processes: 2, source.IOReadCalls: 860, source.NetRxBytes: 550000,
			source.InitPID: uint64(w.c.Processes[0]),
		} {
			if v, ok := c.Get(f); !ok || v != want {
				t.Errorf("in %s: %s is %d, %t, want %d", to, f.Info().Key, v, ok, want)
			}
		}
	}
}
