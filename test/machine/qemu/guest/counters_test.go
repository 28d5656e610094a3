//go:build estiba_guest

package guest

import (
	"strconv"
	"syscall"
	"testing"
	"time"
)

var counters = []string{
	"cpu_ns", "cpu_user_ns", "cpu_system_ns", "minor_faults", "major_faults",
	"disk_read_bytes", "disk_write_bytes", "io_read_bytes", "io_write_bytes",
	"io_read_calls", "io_write_calls", "oom_kills",
	"net_rx_bytes", "net_tx_bytes", "net_rx_packets", "net_tx_packets",
	"pressure_cpu_ns", "pressure_memory_ns", "pressure_io_ns",
}

// Counters are monotonic even if processes try to hide their usage.
func TestCountersAreMonotonic(t *testing.T) {
	module(t, "min_interval_ms=1")
	inCgroup := newID()
	shims := []*shim{
		start(t, options{load: "storm"}),
		start(t, options{load: "autoreap"}),
		start(t, options{load: "storm;chain 3", unshare: "p"}),
		start(t, options{id: inCgroup, cgroup: "docker/" + inCgroup, load: "storm;autoreap"}),
	}
	listed(t, shims...)
	last := map[string]uint64{}
	grown := map[string]bool{}
	sequence := uint64(0)
	check := func(what, key string, v values) {
		s, ok := v[key]
		if !ok {
			return
		}
		now, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if now < last[what+key] {
			t.Errorf("%s of %s decreased from %d to %d", key, what, last[what+key], now)
		}
		grown[what+key] = grown[what+key] || (last[what+key] != 0 && now > last[what+key])
		last[what+key] = now
	}
	// Time-limited, with a minimum count, because the host may be busy.
	begin := time.Now()
	killed := false
	for i := 0; i < 60 || time.Since(begin) < 8*time.Second; i++ {
		d := fresh(t)
		for _, s := range shims {
			if sourceBPF != nil && killed && d.find(s.id) == nil {
				continue // a shim without processes is no row there
			}
			c := d.container(t, s.id)
			for _, key := range counters {
				check(s.id, key, c)
			}
			if c.number(t, "cpu_user_ns")+c.number(t, "cpu_system_ns") != c.number(t, "cpu_ns") {
				t.Errorf("user + system is not the total: %v", c)
			}
		}
		check("unattributed", "cpu_ns", d.unattributed)
		check("host", "host_cpu_busy_ns", d.host)
		check("host", "ended_cpu_ns", d.host)
		if now := d.host.number(t, "sequence"); now <= sequence {
			t.Errorf("sequence went from %d to %d", sequence, now)
		} else {
			sequence = now
		}
		if !killed && i >= 40 && time.Since(begin) > 5*time.Second {
			killed = true
			// The init process exits, and with it all of its pid namespace.
			for _, s := range shims[1:3] {
				init := int(d.container(t, s.id).number(t, "init_pid"))
				syscall.Kill(init, syscall.SIGKILL)
			}
		}
	}
	for i, s := range shims {
		if !grown[s.id+"cpu_ns"] {
			t.Errorf("cpu_ns of shim %d did not increase", i)
		}
	}
	save(t, "storm", fresh(t).text)
}
