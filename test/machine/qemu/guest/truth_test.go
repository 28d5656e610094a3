//go:build estiba_guest

package guest

import (
	"fmt"
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

// settled waits until the container is idle and returns a snapshot of it.
func settled(t *testing.T, s *shim) values {
	t.Helper()
	before := uint64(0)
	var c values
	eventually(t, "idle container", func() bool {
		if c = fresh(t).find(s.id); c == nil { // see listed
			return false
		}
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
		t.Fatalf("process %s has exited", pid)
	}
	v, err := strconv.ParseUint(f[n-3], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTruthOfTasks(t *testing.T) {
	module(t, "min_interval_ms=1")
	loads := []string{"burst 300", "mem 40", "io 300", "threads 9", "burst 100;mem 5;io 20"}
	if sourceBPF != nil { // each takes ten seconds, see listed
		loads = loads[3:]
	}
	for _, load := range loads {
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
			// Per-thread counters are flushed every 64 faults.
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
				t.Errorf("no disk I/O: %v", c)
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
	// Kernel and module split by the same rule, each from its last values.
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

// The CPU time of removed sub-groups counts, whether there are few sub-groups or too many
// to be summed repeatedly.
func TestCgroupsBelow(t *testing.T) {
	module(t, "min_interval_ms=1")
	groupsBelow(t, 0)
	groupsBelow(t, 1100)
}

func groupsBelow(t *testing.T, idle int) {
	t.Helper()
	id := newID()
	s := start(t, options{id: id, cgroup: "docker/" + id, load: "sleep"})
	idleGroups(t, s, idle)
	for i := range 3 {
		below := filepath.Join(s.cgroup, "below"+strconv.Itoa(i))
		cmd := inGroup(t, below)
		want := uint64(i+1) * 100e6
		eventually(t, "CPU time of the sub-group", func() bool {
			return fresh(t).container(t, id).number(t, "cpu_ns") >= want
		})
		cmd.Process.Kill()
		cmd.Wait()
		eventually(t, "removal of "+below, func() bool { return os.Remove(below) == nil })
		fresh(t)
	}
	time.Sleep(100 * time.Millisecond)
	c := settled(t, s)
	near(t, "cpu_ns", c.number(t, "cpu_ns")/1000, keyed(t, s.cgroup+"/cpu.stat", "usage_usec"), 1)
}

// idleGroups creates n sub-groups of a container.
func idleGroups(t *testing.T, s *shim, n int) {
	t.Helper()
	for i := range n {
		below := filepath.Join(s.cgroup, "idle"+strconv.Itoa(i))
		if err := os.Mkdir(below, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(below) })
	}
}

// inGroup starts a process that uses 100 ms of CPU time in a new group.
func inGroup(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	cmd := exec.Command("/bin/load", "burst", "100")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// Sub-groups are removed faster than all can be summed: their time is neither lost nor
// counted twice.
func TestLongEndingGroups(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	s := start(t, options{id: id, cgroup: "docker/" + id, load: "sleep"})
	idleGroups(t, s, 20000)
	stop := reading(func() {
		if _, err := os.ReadFile(file); err != nil {
			t.Error(err)
		}
	})
	below := filepath.Join(s.cgroup, "below")
	for begin := time.Now(); time.Since(begin) < 10*time.Second; {
		cmd := inGroup(t, below)
		time.Sleep(3 * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		eventually(t, "removal of "+below, func() bool { return os.Remove(below) == nil })
		// Make the kernel flush it.
		keyed(t, s.cgroup+"/cpu.stat", "usage_usec")
	}
	stop()
	time.Sleep(1500 * time.Millisecond)
	fresh(t)
	c := settled(t, s)
	near(t, "cpu_ns", c.number(t, "cpu_ns")/1000, keyed(t, s.cgroup+"/cpu.stat", "usage_usec"), 1)
}

// A cgroup shared by two containers is not the own cgroup of either; one without the id in
// its name can be.
func TestWhoseCgroup(t *testing.T) {
	module(t, "min_interval_ms=1")
	own := start(t, options{cgroup: "box"})
	a := start(t, options{cgroup: "shared"})
	b := start(t, options{cgroup: "shared", load: "burst 1000"})
	eventually(t, "CPU time of b", func() bool { return fresh(t).container(t, b.id).number(t, "cpu_ns") >= 1000e6 })
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
		t.Errorf("shared cgroup %q shown as own", got)
	}
	// It does not become the own cgroup of the one that is left: it has the other's usage.
	b.end(t)
	c := fresh(t).container(t, a.id)
	if got := c.number(t, "cpu_ns"); c["cpu_source"] != "tasks" || got > 500e6 {
		t.Errorf("alone in a formerly shared cgroup: cpu_source %q, cpu_ns %d", c["cpu_source"], got)
	}
}

// A container with a process in the cgroup of another container does not own their common
// ancestor.
func TestStrayProcess(t *testing.T) {
	module(t, "min_interval_ms=1")
	ids := []string{newID(), newID()}
	a := start(t, options{id: ids[0], cgroup: "docker/" + ids[0]})
	b := start(t, options{id: ids[1], cgroup: "docker/" + ids[1], load: "sleep;sleep"})
	for _, where := range []struct {
		dir, cgroup, source string
	}{
		{b.cgroup, "/docker/" + b.id, "cgroup"},
		{a.cgroup, "", "tasks"},
		{b.cgroup, "/docker/" + b.id, "cgroup"},
	} {
		if err := os.WriteFile(where.dir+"/cgroup.procs", []byte(strconv.Itoa(b.processes(t)[1])), 0); err != nil {
			t.Fatal(err)
		}
		d := fresh(t)
		if c := d.container(t, b.id); c["cgroup"] != where.cgroup || c["cpu_source"] != where.source {
			t.Errorf("with a process in %s: cgroup %q, cpu_source %q", where.dir, c["cgroup"], c["cpu_source"])
		}
		if c := d.container(t, a.id); c["cgroup"] != "/docker/"+a.id {
			t.Errorf("other container: cgroup %q", c["cgroup"])
		}
	}
}

func TestOOMKills(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	// The kernel's report of an OOM kill has a call trace, for which the log is
	// searched: keep it off the console, and mark it for debug.sh.
	defer level(t, level(t, 1))
	mark(t, "begin an OOM kill: failing allocations")
	defer mark(t, "end an OOM kill")
	dir := makeCgroup(t, "docker/"+id)
	start(t, options{id: id, cgroup: "docker/" + id, load: "sleep;mem 64"})
	// One of the two has to survive: a container whose last process is
	// exiting no longer has a cgroup to read.
	init := fresh(t).container(t, id)["init_pid"]
	if err := os.WriteFile("/proc/"+init+"/oom_score_adj", []byte("-1000"), 0); err != nil {
		t.Fatal(err)
	}
	// Only after both have started: start waits for them. Package os opens cgroup files with
	// O_NONBLOCK, with which Linux 6.17 and newer only sets the limit.
	fd, err := syscall.Open(dir+"/memory.max", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if _, err := syscall.Write(fd, []byte("16777216")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "OOM kill", func() bool { return keyed(t, dir+"/memory.events", "oom_kill") > 0 })
	c := fresh(t).container(t, id)
	near(t, "oom_kills", c.number(t, "oom_kills"), keyed(t, dir+"/memory.events", "oom_kill"), 0)
	time.Sleep(200 * time.Millisecond)
}

// level sets the console log level of the kernel and returns the previous one.
func level(t *testing.T, n int) (before int) {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/kernel/printk")
	if err == nil {
		_, err = fmt.Sscan(string(text), &before)
	}
	if err != nil {
		t.Fatal(err)
	}
	// SYSLOG_ACTION_CONSOLE_LEVEL
	if _, _, errno := unix.Syscall(unix.SYS_SYSLOG, 8, 0, uintptr(n)); errno != 0 {
		t.Fatal(errno)
	}
	return before
}

// mark writes a line to the kernel log.
func mark(t *testing.T, line string) {
	t.Helper()
	if err := os.WriteFile("/dev/kmsg", []byte("estiba-test: "+line), 0); err != nil {
		t.Error(err)
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
		t.Errorf("in the host's network namespace: %v", c)
	}
}

// The oldest container in a network namespace reports its counters, and after its exit the
// next one.
func TestSharedNetwork(t *testing.T) {
	module(t, "min_interval_ms=1")
	first := start(t, options{unshare: "n"})
	namespace := "/proc/" + fresh(t).container(t, first.id)["init_pid"] + "/ns/net"
	second := start(t, options{network: namespace})
	third := start(t, options{network: namespace})
	other := start(t, options{unshare: "n"})
	look := func(want map[*shim]string) {
		t.Helper()
		d := fresh(t)
		for s, network := range want {
			c := d.container(t, s.id)
			if _, counted := c["net_rx_bytes"]; c["network"] != network || counted != (network == "own") {
				t.Errorf("network %q, net_rx_bytes %q; want %q: %v", c["network"], c["net_rx_bytes"], network, c)
			}
		}
	}
	look(map[*shim]string{first: "own", second: "shared", third: "shared", other: "own"})
	first.end(t)
	look(map[*shim]string{second: "own", third: "shared", other: "own"})
}

func TestCPUPercent(t *testing.T) {
	module(t, "min_interval_ms=1")
	busy := start(t, options{load: "cpu 1"})
	idle := start(t, options{})
	young := fresh(t).container(t, busy.id)
	if w := young.number(t, "cpu_window_ns"); w == 0 || young.float(t, "cpu_usage_percent") == 0 {
		t.Errorf("first window: %v", young)
	}
	eventually(t, "the first window", func() bool {
		return fresh(t).container(t, busy.id).number(t, "cpu_window_ns") >= 1e9
	})
	// Two readers in quick succession see the same window.
	percents := map[string]string{}
	for range 200 {
		c := fresh(t).container(t, busy.id)
		if w := c.number(t, "cpu_window_ns"); w < 1e9 || w > 20e9 {
			t.Fatalf("window of %d ns", w)
		}
		if old, ok := percents[c["cpu_window_ns"]]; ok && old != c["cpu_usage_percent"] {
			t.Fatalf("two values for one window: %s and %s", old, c["cpu_usage_percent"])
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
