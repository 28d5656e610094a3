//go:build estiba_guest

package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// settled waits until the container's processes have stopped using CPU and
// returns a snapshot of that state.
func settled(t *testing.T, s *shim) values {
	t.Helper()
	before := uint64(0)
	var c values
	eventually(t, "rest", func() bool {
		c = fresh(t).container(t, s.id)
		now := c.number(t, "cpu_ns")
		same := now == before && now > 0
		before = now
		if !same {
			time.Sleep(150 * time.Millisecond)
		}
		return same
	})
	return c
}

func field(t *testing.T, pid string, n int) uint64 {
	t.Helper()
	p, _ := strconv.Atoi(pid)
	f := stat(p)
	if len(f) <= n-3 {
		t.Fatalf("process %s is gone", pid)
	}
	v, err := strconv.ParseUint(f[n-3], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTruthOfTasks(t *testing.T) {
	module(t, "min_interval_ms=1")
	for _, load := range []string{"burst 300", "mem 40", "io 300", "threads 9", "burst 100;mem 5;io 20"} {
		t.Run(load, func(t *testing.T) {
			s := start(t, options{load: load})
			c := settled(t, s)
			if c["cpu_source"] != "tasks" {
				t.Errorf("cpu_source %q", c["cpu_source"])
			}
			cpu := s.sum(t, func(pid string) uint64 {
				total := uint64(0)
				names, _ := filepath.Glob("/proc/" + pid + "/task/*/schedstat")
				for _, name := range names {
					b, err := os.ReadFile(name)
					if err != nil {
						t.Fatal(err)
					}
					n, _ := strconv.ParseUint(strings.Fields(string(b))[0], 10, 64)
					total += n
				}
				return total
			})
			near(t, "cpu_ns", c.number(t, "cpu_ns"), cpu, 1e6)
			if c.number(t, "cpu_user_ns")+c.number(t, "cpu_system_ns") != c.number(t, "cpu_ns") {
				t.Error("user + system is not the total")
			}
			page := uint64(os.Getpagesize() / 1024)
			rss := s.sum(t, func(pid string) uint64 { return field(t, pid, 24) * page })
			// The counters of threads are folded in every 64 faults.
			near(t, "rss_kb", c.number(t, "rss_kb"), rss, 64*page*c.number(t, "threads"))
			vsz := s.sum(t, func(pid string) uint64 { return field(t, pid, 23) / 1024 })
			near(t, "vsz_kb", c.number(t, "vsz_kb"), vsz, 0)
			faults := s.sum(t, func(pid string) uint64 { return field(t, pid, 10) + field(t, pid, 11) })
			near(t, "minor_faults", c.number(t, "minor_faults"), faults, 0)
			for key, name := range map[string]string{
				"disk_read_bytes": "read_bytes", "disk_write_bytes": "write_bytes",
				"io_read_bytes": "rchar", "io_write_bytes": "wchar",
				"io_read_calls": "syscr", "io_write_calls": "syscw",
			} {
				want := s.sum(t, func(pid string) uint64 { return keyed(t, "/proc/"+pid+"/io", name) })
				near(t, key, c.number(t, key), want, 0)
			}
			if load == "io 300" && (c.number(t, "disk_write_bytes") < 300*4096 || c.number(t, "disk_read_bytes") < 300*4096) {
				t.Errorf("the disk was not used: %v", c)
			}
			if peak := c.number(t, "peak_rss_kb"); peak < c.number(t, "rss_kb") {
				t.Errorf("peak_rss_kb %d", peak)
			}
			percent := float64(c.number(t, "rss_kb")) / float64(read(t).host.number(t, "total_memory_kb")) * 100
			if got := c.float(t, "memory_usage_percent"); got < percent-0.006 || got > percent+0.006 {
				t.Errorf("memory_usage_percent %v, want %v", got, percent)
			}
		})
	}
}

func TestTruthOfCgroup(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	s := start(t, options{id: id, cgroup: "docker/" + id, load: "burst 400;mem 20"})
	if err := os.WriteFile(s.cgroup+"/memory.max", []byte("67108864"), 0); err != nil {
		t.Fatal(err)
	}
	c := settled(t, s)
	save(t, "cgroup", read(t).text)
	if c["cpu_source"] != "cgroup" || c["cgroup"] != "/docker/"+id {
		t.Errorf("cpu_source %q, cgroup %q", c["cpu_source"], c["cgroup"])
	}
	near(t, "cpu_ns", c.number(t, "cpu_ns")/1000, keyed(t, s.cgroup+"/cpu.stat", "usage_usec"), 1)
	// Kernel and module divide by the same rule, from what each saw before.
	near(t, "cpu_user_ns", c.number(t, "cpu_user_ns")/1000, keyed(t, s.cgroup+"/cpu.stat", "user_usec"), 100000)
	near(t, "memory_cgroup_kb", c.number(t, "memory_cgroup_kb"), one(t, s.cgroup+"/memory.current")/1024, 512)
	near(t, "memory_inactive_file_kb", c.number(t, "memory_inactive_file_kb"),
		keyed(t, s.cgroup+"/memory.stat", "inactive_file")/1024, 512)
	near(t, "memory_limit_kb", c.number(t, "memory_limit_kb"), 65536, 0)
	if c["oom_kills"] != "0" {
		t.Errorf("oom_kills %q", c["oom_kills"])
	}
	if _, ok := c["pressure_cpu_ns"]; !ok {
		t.Error("no pressure")
	}
}

func one(t *testing.T, name string) uint64 {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What ran in a group below the container's and is gone has been used.
func TestCgroupsBelow(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	s := start(t, options{id: id, cgroup: "docker/" + id, load: "sleep"})
	for i := range 3 {
		below := filepath.Join(s.cgroup, "below"+strconv.Itoa(i))
		if err := os.Mkdir(below, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/bin/load", "burst", "100")
		dir, err := os.Open(below)
		if err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		dir.Close()
		want := uint64(i+1) * 100e6
		eventually(t, "the CPU time below", func() bool {
			return fresh(t).container(t, id).number(t, "cpu_ns") >= want
		})
		cmd.Process.Kill()
		cmd.Wait()
		eventually(t, "the end of "+below, func() bool { return os.Remove(below) == nil })
		fresh(t)
	}
	time.Sleep(100 * time.Millisecond)
	c := settled(t, s)
	near(t, "cpu_ns", c.number(t, "cpu_ns")/1000, keyed(t, s.cgroup+"/cpu.stat", "usage_usec"), 1)
}

// A cgroup that two containers live in is nobody's own; one without the id in
// its name may be.
func TestWhoseCgroup(t *testing.T) {
	module(t, "min_interval_ms=1")
	own := start(t, options{cgroup: "box"})
	a := start(t, options{cgroup: "shared"})
	b := start(t, options{cgroup: "shared"})
	d := fresh(t)
	for s, want := range map[*shim]string{own: "cgroup", a: "tasks", b: "tasks"} {
		c := d.container(t, s.id)
		if c["cpu_source"] != want {
			t.Errorf("cpu_source %q, want %q: %v", c["cpu_source"], want, c)
		}
	}
	if got := d.container(t, own.id)["cgroup"]; got != "/box" {
		t.Errorf("cgroup %q", got)
	}
	if got, ok := d.container(t, a.id)["cgroup"]; ok {
		t.Errorf("shared cgroup %q is told as own", got)
	}
}

func TestOOMKills(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	// The kernel's report of a kill holds a call trace, which the log is
	// searched for: keep it off the console.
	level(t, 1)
	defer level(t, 7)
	dir := makeCgroup(t, "docker/"+id)
	start(t, options{id: id, cgroup: "docker/" + id, load: "sleep;mem 64"})
	// One of the two has to live on: a container of which the last process is
	// dying has no cgroup any more that could be asked.
	init := fresh(t).container(t, id)["init_pid"]
	if err := os.WriteFile("/proc/"+init+"/oom_score_adj", []byte("-1000"), 0); err != nil {
		t.Fatal(err)
	}
	// Not before both are there: start waits for them.
	if err := os.WriteFile(dir+"/memory.max", []byte("16777216"), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the kill", func() bool { return keyed(t, dir+"/memory.events", "oom_kill") > 0 })
	c := fresh(t).container(t, id)
	near(t, "oom_kills", c.number(t, "oom_kills"), keyed(t, dir+"/memory.events", "oom_kill"), 0)
	time.Sleep(200 * time.Millisecond)
}

func level(t *testing.T, n int) {
	t.Helper()
	// SYSLOG_ACTION_CONSOLE_LEVEL
	if _, _, errno := unix.Syscall(unix.SYS_SYSLOG, 8, 0, uintptr(n)); errno != 0 {
		t.Fatal(errno)
	}
}

func TestNetwork(t *testing.T) {
	module(t, "min_interval_ms=1")
	s := start(t, options{unshare: "n"})
	onHost := start(t, options{})
	init := fresh(t).container(t, s.id)["init_pid"]
	script := `set -e
ip link set lo up
ip link add dummy0 type dummy
ip addr add 10.99.0.1/24 dev dummy0
ip link set dummy0 up
ping -c 3 -W 1 -q 127.0.0.1 >/dev/null
ping -c 3 -A -W 1 -q 10.99.0.2 >/dev/null || true`
	if out, err := exec.Command("nsenter", "-t", init, "-n", "sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := fresh(t).container(t, s.id)
	b, err := os.ReadFile("/proc/" + init + "/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(b), "dummy0:")
	f := strings.Fields(line)
	if c["network"] != "own" || c["net_tx_packets"] == "0" {
		t.Errorf("%v", c)
	}
	for key, n := range map[string]int{"net_rx_bytes": 0, "net_rx_packets": 1, "net_tx_bytes": 8, "net_tx_packets": 9} {
		if c[key] != f[n] {
			t.Errorf("%s %s, want %s", key, c[key], f[n])
		}
	}
	c = fresh(t).container(t, onHost.id)
	if _, ok := c["net_rx_bytes"]; ok || c["network"] != "host" {
		t.Errorf("on the host's network: %v", c)
	}
}

func TestCPUPercent(t *testing.T) {
	module(t, "min_interval_ms=1")
	busy := start(t, options{load: "cpu 1"})
	idle := start(t, options{})
	young := fresh(t).container(t, busy.id)
	if w := young.number(t, "cpu_window_ns"); w == 0 || young.float(t, "cpu_usage_percent") == 0 {
		t.Errorf("young: %v", young)
	}
	eventually(t, "the first window", func() bool {
		return fresh(t).container(t, busy.id).number(t, "cpu_window_ns") >= 1e9
	})
	// Two quick readers see the same completed window.
	percents := map[string]string{}
	for range 200 {
		c := fresh(t).container(t, busy.id)
		if w := c.number(t, "cpu_window_ns"); w < 1e9 || w > 20e9 {
			t.Fatalf("window of %d ns", w)
		}
		if old, ok := percents[c["cpu_window_ns"]]; ok && old != c["cpu_usage_percent"] {
			t.Fatalf("one window, two values: %s and %s", old, c["cpu_usage_percent"])
		}
		percents[c["cpu_window_ns"]] = c["cpu_usage_percent"]
	}
	before := fresh(t)
	time.Sleep(1500 * time.Millisecond)
	after := fresh(t)
	used := after.container(t, busy.id).number(t, "cpu_ns") - before.container(t, busy.id).number(t, "cpu_ns")
	length := after.host.number(t, "boottime_ns") - before.host.number(t, "boottime_ns")
	want := 100 * float64(used) / float64(length)
	got := after.container(t, busy.id).float(t, "cpu_usage_percent")
	if got < want-25 || got > want+25 {
		t.Errorf("cpu_usage_percent %v, measured %v", got, want)
	}
	if got := after.container(t, idle.id).float(t, "cpu_usage_percent"); got > 1 {
		t.Errorf("idle: %v", got)
	}
}
