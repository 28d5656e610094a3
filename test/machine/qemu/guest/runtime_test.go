//go:build estiba_guest

package guest

import "testing"

// The runtime called by a shim (runc create, exec, delete) belongs to no container,
// neither before the container exists nor while it runs.
func TestRuntimeAtWork(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	making := start(t, options{load: "none", runtime: "cpu 1"})
	own := start(t, options{id: id, cgroup: "docker/" + id, runtime: "cpu 1"})
	loose := start(t, options{runtime: "cpu 1"})
	apart := start(t, options{unshare: "p", runtime: "cpu 1"})
	for _, s := range []*shim{making, own, loose, apart} {
		eventually(t, "the runtime of "+s.id+" uses CPU time", func() bool {
			// Clock ticks of 10 ms, in fields 14 and 15 of stat.
			return s.sum(t, func(pid string) uint64 { return field(t, pid, 14) + field(t, pid, 15) }) >= 30
		})
	}
	d := fresh(t)
	save(t, "runtime", d.text)
	if c := d.find(making.id); c != nil {
		t.Errorf("not started, but listed: %v", c)
	}
	if d.host["containers"] != "3" {
		t.Errorf("containers %q, want 3", d.host["containers"])
	}
	for _, s := range []*shim{own, loose, apart} {
		c := d.container(t, s.id)
		if c["processes_count"] != "1" || c["command"] != "load" {
			t.Errorf("%v", c)
		}
		if got := c.number(t, "cpu_ns"); got > 200e6 {
			t.Errorf("cpu_source %s: cpu_ns %d of a sleeping process", c["cpu_source"], got)
		}
	}
}
