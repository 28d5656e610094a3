//go:build estiba_guest

package guest

import (
	"strconv"
	"syscall"
	"testing"
	"time"
)

// An ended container stays in the document for a while with its last totals. With an own
// cgroup they include its usage after the last snapshot.
func TestEndedKeepsItsTotals(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	s := start(t, options{id: id, cgroup: "docker/" + id, load: "cpu 1", unshare: "p"})
	other := start(t, options{})
	seen := fresh(t).container(t, id)
	before := seen.number(t, "cpu_ns")
	var used uint64
	eventually(t, "CPU time that no snapshot sees", func() bool {
		used = keyed(t, s.cgroup+"/cpu.stat", "usage_usec") * 1000
		return used > before+300e6
	})
	s.end(t)
	d := fresh(t)
	save(t, "ended", d.text)
	if d.find(id) != nil || d.find(other.id) == nil || d.host["containers"] != "1" {
		t.Errorf("wrong containers running:\n%s", d.text)
	}
	if len(d.ended) != 1 || d.ended[0]["container_id"] != id {
		t.Fatalf("ended: %v", d.ended)
	}
	c := d.ended[0]
	// cpu.stat was read before the exit, and is rounded down.
	if got := c.number(t, "cpu_ns"); got < used {
		t.Errorf("cpu_ns %d, used %d, seen %d", got, used, before)
	}
	if c.number(t, "cpu_user_ns")+c.number(t, "cpu_system_ns") != c.number(t, "cpu_ns") {
		t.Error("user + system is not the total")
	}
	for _, key := range []string{"rss_kb", "vsz_kb", "swap_kb", "processes_count", "threads"} {
		if c[key] != "0" {
			t.Errorf("%s %q", key, c[key])
		}
	}
	for _, key := range []string{"init_pid", "memory_cgroup_kb"} {
		if v, ok := c[key]; ok {
			t.Errorf("unexpected %s: %q", key, v)
		}
	}
	if c["pid"] != strconv.Itoa(s.pid) || c["cpu_usage_percent"] != "0.00" || c["command"] != seen["command"] || c["cpu_source"] != "cgroup" {
		t.Errorf("%v", c)
	}
	at := c.number(t, "ended_time_ns")
	if at != d.host.number(t, "boottime_ns") {
		t.Errorf("ended_time_ns %d, first seen %s", at, d.host["boottime_ns"])
	}
	if got := d.host.number(t, "ended_cpu_ns"); got != c.number(t, "cpu_ns") {
		t.Errorf("ended_cpu_ns %d", got)
	}
	// After a restart with the same id it is listed twice; later once.
	start(t, options{id: id})
	d = fresh(t)
	if d.find(id) == nil || len(d.ended) != 1 {
		t.Errorf("restarted: running %v, ended %v", d.find(id), d.ended)
	}
	for len(d.ended) > 0 {
		if now := d.host.number(t, "boottime_ns"); now >= at+10e9 {
			t.Fatalf("still listed after %d ms", (now-at)/1e6)
		}
		if d.ended[0]["cpu_ns"] != c["cpu_ns"] || d.ended[0].number(t, "ended_time_ns") != at {
			t.Fatalf("changed: %v", d.ended[0])
		}
		time.Sleep(100 * time.Millisecond)
		d = fresh(t)
	}
	if now := d.host.number(t, "boottime_ns"); now < at+10e9 {
		t.Errorf("removed after %d ms", (now-at)/1e6)
	}
	if got := d.host.number(t, "ended_cpu_ns"); got != c.number(t, "cpu_ns") {
		t.Errorf("ended_cpu_ns counted twice: %d", got)
	}
}

// A container whose processes have exited while its shim is still running.
func TestShimOutlivesItsContainer(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	s := start(t, options{id: id, cgroup: "docker/" + id, load: "cpu 1"})
	before := fresh(t).container(t, id).number(t, "cpu_ns")
	eventually(t, "CPU time that no snapshot sees", func() bool {
		return keyed(t, s.cgroup+"/cpu.stat", "usage_usec")*1000 > before+200e6
	})
	for _, pid := range s.processes(t) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	eventually(t, "exit of the processes", func() bool { return len(s.processes(t)) == 0 })
	c := fresh(t).container(t, id)
	near(t, "cpu_ns", c.number(t, "cpu_ns")/1000, keyed(t, s.cgroup+"/cpu.stat", "usage_usec"), 1)
	if c["processes_count"] != "0" || c["cpu_source"] != "cgroup" {
		t.Errorf("%v", c)
	}
}

// The leader of a process may exit before the other threads.
func TestProcessWithoutLeader(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	s := start(t, options{id: id, cgroup: "docker/" + id, load: "leaderless 24", unshare: "n"})
	pid := s.processes(t)[0]
	eventually(t, "exit of the leader", func() bool {
		f := stat(pid)
		return len(f) > 0 && f[0] == "Z"
	})
	eventually(t, "its memory", func() bool { return fresh(t).container(t, id).number(t, "rss_kb") >= 24<<10 })
	c := fresh(t).container(t, id)
	if c["init_pid"] != strconv.Itoa(pid) || c["threads"] != "2" || c["network"] != "own" {
		t.Errorf("%v", c)
	}
}
