//go:build estiba_guest

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// watched is one container of the table, and what the table says of it.
type watched struct {
	load, source string
	shim         *shim
	cgroup       string
	falls        int
	reads        int
	worst        map[string]uint64 // largest distance from the truth
	last         map[string]uint64
}

// truths are the fields that another file of the kernel tells of a group, in
// the unit of the document.
var truths = []struct {
	key  string
	read func(t *testing.T, cgroup string) uint64
}{
	{"cpu_ns", func(t *testing.T, g string) uint64 { return keyed(t, g+"/cpu.stat", "usage_usec") * 1000 }},
	{"cpu_user_ns", func(t *testing.T, g string) uint64 { return keyed(t, g+"/cpu.stat", "user_usec") * 1000 }},
	{"memory_cgroup_kb", func(t *testing.T, g string) uint64 { return one(t, g+"/memory.current") / 1024 }},
	{"oom_kills", func(t *testing.T, g string) uint64 { return keyed(t, g+"/memory.events", "oom_kill") }},
	{"pressure_cpu_ns", func(t *testing.T, g string) uint64 { return pressure(t, g+"/cpu.pressure") }},
}

// pressure is the total of the line "some", ns.
func pressure(t *testing.T, name string) uint64 {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var a, c, d string
	var total uint64
	if _, err := fmt.Sscanf(string(b), "some %s %s %s total=%d", &a, &c, &d, &total); err != nil {
		t.Fatalf("%s: %v in %s", name, err, b)
	}
	return total * 1000
}

// outside is how far v lies from what was true between two readings.
func outside(v, before, after uint64) uint64 {
	low, high := min(before, after), max(before, after)
	switch {
	case v < low:
		return low - v
	case v > high:
		return v - high
	}
	return 0
}

// Each load of the table, once in a cgroup of its own and once without, where
// the module sums up tasks. The truth is read before and after each document.
// The table is for people; the limits are for the test. run.sh --run=TestLong runs it.
func TestLongTruthTable(t *testing.T) {
	module(t, "min_interval_ms=1")
	var all []*watched
	for _, load := range []string{"storm", "doublefork", "autoreap", "execs", "cpu 1"} {
		for _, source := range []string{"cgroup", "tasks"} {
			id := newID()
			w := &watched{load: load, source: source, worst: map[string]uint64{}, last: map[string]uint64{}}
			o := options{id: id, cgroup: "docker/" + id, load: load}
			w.cgroup = makeCgroup(t, o.cgroup)
			if source == "tasks" {
				// The shim lives in it, too: it is not the container's own, and
				// counts the shim's share besides.
				dir, err := os.Open(w.cgroup)
				if err != nil {
					t.Fatal(err)
				}
				o.attr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
				defer dir.Close()
			}
			w.shim = start(t, o)
			all = append(all, w)
		}
	}
	for begin, i := time.Now(), 0; i < 30 || time.Since(begin) < 6*time.Second; i++ {
		for _, w := range all {
			look(t, w)
		}
	}
	var table strings.Builder
	table.WriteString("| load | source | reads | falls |")
	for _, f := range truths {
		table.WriteString(" " + f.key + " |")
	}
	table.WriteString("\n")
	for _, w := range all {
		fmt.Fprintf(&table, "| %s | %s | %d | %d |", w.load, w.source, w.reads, w.falls)
		for _, f := range truths {
			if d, ok := w.worst[f.key]; ok {
				fmt.Fprintf(&table, " %d of %d |", d, w.last[f.key])
			} else {
				table.WriteString(" – |")
			}
		}
		table.WriteString("\n")
		if w.falls != 0 {
			t.Errorf("%s, %s: counters fell %d times", w.load, w.source, w.falls)
		}
		if w.source == "cgroup" && w.worst["cpu_ns"] > 1000 {
			t.Errorf("%s: cpu_ns off by %d ns", w.load, w.worst["cpu_ns"])
		}
	}
	t.Log("largest distance from the truth, of the last value:\n" + table.String())
	if err := os.WriteFile(filepath.Join(os.Getenv("ESTIBA_OUT"), "truth.md"), []byte(table.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func look(t *testing.T, w *watched) {
	t.Helper()
	before := make([]uint64, len(truths))
	for i, f := range truths {
		before[i] = f.read(t, w.cgroup)
	}
	c := fresh(t).container(t, w.shim.id)
	if c["cpu_source"] != w.source {
		t.Fatalf("%s: cpu_source %q, want %q", w.load, c["cpu_source"], w.source)
	}
	w.reads++
	for i, f := range truths {
		if _, ok := c[f.key]; !ok {
			continue
		}
		now := c.number(t, f.key)
		w.worst[f.key] = max(w.worst[f.key], outside(now, before[i], f.read(t, w.cgroup)))
		w.last[f.key] = now
	}
	for _, key := range counters {
		if _, ok := c[key]; !ok {
			continue
		}
		now := c.number(t, key)
		if now < w.last["counter "+key] {
			w.falls++
		}
		w.last["counter "+key] = now
	}
}
