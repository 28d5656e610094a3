package cgroup

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

const hugest = "18446744073709551615" // 2^64-1

// oddStats has invalid stats: useless ones do not identify the process, the others lack
// one counter.
func oddStats(whole string) (useless, counter map[string]string) {
	fields := strings.Fields(whole[strings.LastIndex(whole, ")"):]) // of which the second is field 3
	with := func(field int, text string) string {
		f := append([]string(nil), fields...)
		f[field-2] = text
		return whole[:strings.LastIndex(whole, ")")] + strings.Join(f, " ") + "\n"
	}
	useless = map[string]string{
		"empty": "", "NULs": strings.Repeat("\x00", 64),
		"cut": whole[:strings.LastIndex(whole, ")")] + strings.Join(fields[:19], " "), "start": with(22, hugest),
	}
	counter = map[string]string{}
	for _, field := range []int{10, 11, 12, 13, 14, 15, 16, 17, 20, 23, 24} {
		counter[fmt.Sprint("field ", field)] = with(field, hugest)
	}
	counter["utime"] = with(14, "1844674407370")
	return useless, counter
}

// TestOddStat: the bad stat of one process does not affect others.
func TestOddStat(t *testing.T) {
	for _, tt := range []struct {
		which           string // whose stat it is
		status, cgroups bool   // there is a status; its child's cgroups name the container
	}{
		{"init", true, true}, {"init", true, false}, {"init", false, true}, {"shim", false, true},
	} {
		whole, err := os.ReadFile(newTree(t, "v2-systemd", hosttree.Numbered(0)).Process(1001, "stat"))
		if err != nil {
			t.Fatal(err)
		}
		shim, err := os.ReadFile(newTree(t, "v2-systemd", hosttree.Numbered(0)).Process(1000, "stat"))
		if err != nil {
			t.Fatal(err)
		}
		text, pid := string(whole), 1001
		if tt.which == "shim" {
			text, pid = string(shim), 1000
		}
		useless, counter := oddStats(text)
		check := func(name, stat string, want values, skipped source.Reason) {
			t.Run(fmt.Sprintf("%s, status %t, cgroups %t, %s", tt.which, tt.status, tt.cgroups, name), func(t *testing.T) {
				h := &host{t: t, a: hosttree.Numbered(0), b: hosttree.Numbered(1)}
				h.Tree = newTree(t, "v2-systemd", h.a, h.b)
				h.write(fmt.Sprintf("proc/%d/stat", pid), stat)
				if tt.status {
					h.write(fmt.Sprintf("proc/%d/status", pid), "Name:\tapp\nPPid:\t1000\nUid:\t0\t0\t0\t0\nThreads:\t2\n")
				}
				if !tt.cgroups {
					h.move("/system.slice/other.service", "all", h.a.Processes[1])
					h.process(h.a.Processes[1], "stat", " 100 50 0 0 ", " 200 100 0 0 ")
					want = want.but(byTasks())
				}
				snap := snapshot(t, onTree(t, h.Tree))
				compareValues(t, "first", snap, h.a.ID, want)
				compareValues(t, "second", snap, h.b.ID, usual().but(values{source.StartTime: 1000010000000}))
				if want := map[source.Reason]uint64{skipped: 1}; !maps.Equal(snap.Skipped, want) {
					t.Errorf("skipped %v, want %v", snap.Skipped, want)
				}
				if n, _ := snap.Host.Get(source.HostThreads); n < 12 || n > 14 {
					t.Errorf("%d threads of the host, want those of seven processes", n)
				}
			})
		}
		if tt.which == "init" {
			for name, stat := range useless {
				check(name, stat, values{source.Processes: 1, source.RSS: 1024, source.StartTime: -1}, source.ReasonProcess)
			}
		}
		for name, stat := range counter {
			if !tt.cgroups {
				continue
			}
			want := values{source.Processes: 2, source.RSS: 2048, source.StartTime: 1000000000000, source.MemoryCgroup: 65536}
			if tt.which == "shim" || tt.status {
				want[source.Threads] = 4
			}
			if tt.which == "shim" || name != "field 10" && name != "field 11" {
				want[source.MinorFaults] = 24
			}
			check(name, stat, want, source.ReasonLine)
		}
	}
}

// TestOddForAWhile: the last values of a process count while its stat is bad, and growth
// counts once afterwards.
func TestOddProcessForAWhile(t *testing.T) {
	w := settled(t, "v2-systemd")
	name := w.tree.Process(w.c.Processes[0], "stat")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	useless, counter := oddStats(string(whole))
	maps.Copy(useless, counter)
	for what, odd := range useless {
		for _, text := range []string{odd, string(whole)} {
			replace(t, name, []byte(text))
			w.s.Release() // as while nobody reads
			c := w.after(time.Second)
			for f, want := range map[source.Field]uint64{
				source.Processes: 2, source.RSS: 2048, source.Threads: 4, source.MinorFaults: 24,
				source.MajorFaults: 6, source.IOReadCalls: 860,
			} {
				if v, _ := c.Get(f); v != want {
					t.Errorf("%s: %s is %d, want %d", what, f.Info().Key, v, want)
				}
			}
		}
	}
}

// shimOf returns the process that stands for the only container, "" if it is not the only
// one.
func shimOf(snap *source.Snapshot) string {
	if len(snap.Containers) != 1 {
		return ""
	}
	return snap.Containers[0].ProcessName
}

// TestOddShim: a shim that was not readable once is read again. Until then its container
// has none.
func TestOddShim(t *testing.T) {
	for _, tt := range []struct{ name, file, text string }{
		{"status that is empty", "status", ""},
		{"status without Uid", "status", "Name:\tcontainerd-shim\n"},
		{"status that cannot be read", "status/x", ""},
		{"cmdline that is empty", "cmdline", ""},
		{"cmdline of NULs", "cmdline", "\x00\x00"},
		{"cmdline that cannot be read", "cmdline/x", ""},
		{"no cmdline", "cmdline", "-"},
		{"no exe", "exe", "-"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &host{t: t, a: hosttree.Numbered(0)}
			h.Tree = newTree(t, "v2-systemd", h.a)
			file, _, _ := strings.Cut(tt.file, "/")
			path := h.Process(h.a.ShimPID, file)
			if err := os.Rename(path, path+".whole"); err != nil {
				t.Fatal(err)
			}
			if tt.text != "-" {
				h.write(fmt.Sprintf("proc/%d/%s", h.a.ShimPID, tt.file), tt.text)
			}
			s := onTree(t, h.Tree, func(c *Config) { c.OnMissing = func(l Missing) { t.Errorf("missing %s", l) } })
			for n := range uint64(2) {
				snap := snapshot(t, s)
				if want := map[source.Reason]uint64{source.ReasonProcess: n + 1}; shimOf(snap) != "app" || !maps.Equal(snap.Skipped, want) {
					t.Errorf("shim %q, skipped %v, want none and %v", shimOf(snap), snap.Skipped, want)
				}
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".whole", path); err != nil {
				t.Fatal(err)
			}
			if snap := snapshot(t, s); shimOf(snap) != "containerd-shim" || snap.Skipped[source.ReasonProcess] != 2 {
				t.Errorf("shim %q, skipped %v, want one and no more than before", shimOf(snap), snap.Skipped)
			}
		})
	}
	// A zombie is no error.
	h := &host{t: t, a: hosttree.Numbered(0)}
	h.Tree = newTree(t, "v2-systemd", h.a)
	h.process(h.a.ShimPID, "stat", ") S ", ") Z ")
	h.write(fmt.Sprintf("proc/%d/cmdline", h.a.ShimPID), "")
	if snap := snapshot(t, onTree(t, h.Tree)); shimOf(snap) != "app" || len(snap.Skipped) != 0 {
		t.Errorf("a zombie: shim %q, skipped %v", shimOf(snap), snap.Skipped)
	}
}

// TestOddStatm: impossible memory is replaced by that of stat.
func TestOddStatm(t *testing.T) {
	for _, text := range []string{
		hugest + " " + hugest, "2048 " + hugest, "2048 99999999999", "99999999999 99999999999", "99999999999 300", "9000000 4000001", // of 4000000 pages
		"2048 2049", "2048 -300", "-2048 300", "-1 -1", "2048", "",
	} {
		h := &host{t: t, a: hosttree.Numbered(0)}
		h.Tree = newTree(t, "v2-systemd", h.a)
		h.write(fmt.Sprintf("proc/%d/statm", h.a.Processes[0]), text+" 128 10 0 300 0\n")
		if !strings.Contains(text, " ") {
			h.write(fmt.Sprintf("proc/%d/statm", h.a.Processes[0]), text)
		}
		snap := snapshot(t, onTree(t, h.Tree))
		compareValues(t, text, snap, h.a.ID, values{source.RSS: 2048, source.VSZ: 16384})
		if snap.Skipped[source.ReasonLine] != 1 {
			t.Errorf("%q: skipped %v, want a line", text, snap.Skipped)
		}
	}
	h := &host{t: t, a: hosttree.Numbered(0)}
	h.Tree = newTree(t, "v2-systemd", h.a)
	h.write(fmt.Sprintf("proc/%d/statm", h.a.Processes[0]), "9000000 4000000 128 10 0 300 0\n")
	snap := snapshot(t, onTree(t, h.Tree))
	compareValues(t, "all of the host's memory", snap, h.a.ID, values{source.RSS: 16000000 + 1024})
}
