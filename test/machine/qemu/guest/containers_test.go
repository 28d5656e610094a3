//go:build estiba_guest

package guest

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// All containers are listed, whatever their processes do, and no process that only looks
// like a shim.
func TestListsExactlyTheContainers(t *testing.T) {
	module(t, "min_interval_ms=1")
	if err := os.Link(shimProgram, "/bin/containerd-shim"); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	genuine := []*shim{
		start(t, options{}),
		start(t, options{load: "orphans 3"}),
		start(t, options{load: "threads 8"}),
		start(t, options{load: "chain 40"}),
		start(t, options{load: "sleep;sleep;sleep"}),
		start(t, options{unshare: "pn"}),
		start(t, options{id: "plain_name-1.0", program: "/bin/containerd-shim"}),
	}
	other := newID()
	genuine = append(genuine, start(t, options{id: other, args: []string{"--namespace=k8s.io", "--id=" + other}}))
	outer := start(t, options{load: "exec " + shimProgram + " -namespace moby -id " + newID()})
	genuine = append(genuine, outer)

	start(t, options{attr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}})
	start(t, options{attr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}})
	start(t, options{attr: &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
	}})
	for _, args := range [][]string{
		{"-namespace", "moby", "-id", newID(), "start"},
		{"-namespace", "moby", "-id", newID(), "delete"},
		{"-namespace", "moby", "-id", "../../etc/passwd"},
		{"-namespace", "moby", "-id", ""},
		{"-namespace", "moby", "-id"},
		{"-namespace", "moby"},
		{"-id", strings.Repeat("a", 129)},
	} {
		start(t, options{args: args})
	}
	eventually(t, "the shim inside a container", func() bool { return len(outer.processes(t)) == 2 })

	listed(t, genuine...)
	d := fresh(t)
	save(t, "containers", d.text)
	want := map[string]bool{}
	for _, s := range genuine {
		want[s.id] = true
		c := d.find(s.id)
		if c == nil {
			t.Errorf("container %s is missing", s.id)
			continue
		}
		pids := s.processes(t)
		threads := s.sum(t, func(pid string) uint64 { return keyed(t, "/proc/"+pid+"/status", "Threads") })
		if got := c.number(t, "processes_count"); got != uint64(len(pids)) {
			t.Errorf("%s: processes_count %d, want %d", s.id, got, len(pids))
		}
		if got := c.number(t, "threads"); got != threads {
			t.Errorf("%s: threads %d, want %d", s.id, got, threads)
		}
		if got := c.number(t, "pid"); got != uint64(s.pid) {
			t.Errorf("%s: pid %d, want %d", s.id, got, s.pid)
		}
		if c["process_name"] != "containerd-shim" {
			t.Errorf("%s: process_name %q", s.id, c["process_name"])
		}
		if s != outer && c["command"] != "load" {
			t.Errorf("%s: command %q", s.id, c["command"])
		}
	}
	for _, c := range d.containers {
		if !want[c["container_id"]] {
			t.Errorf("not a container, but listed: %v", c)
		}
	}
	if got := d.host["containers"]; got != strconv.Itoa(len(genuine)) {
		t.Errorf("containers %s, want %d", got, len(genuine))
	}
	if got := d.container(t, other)["namespace"]; got != "k8s.io" {
		t.Errorf("namespace %q", got)
	}
}

func TestPartsAddUpToTheHost(t *testing.T) {
	module(t, "min_interval_ms=1")
	start(t, options{load: "threads 5"})
	start(t, options{load: "mem 8"})
	start(t, options{load: "storm"})
	fresh(t)
	d := fresh(t)
	for _, sum := range []struct{ host, part string }{
		{"host_processes", "processes_count"}, {"host_threads", "threads"}, {"host_rss_kb", "rss_kb"},
	} {
		total := d.unattributed.number(t, sum.part)
		for _, c := range d.containers {
			total += c.number(t, sum.part)
		}
		if want := d.host.number(t, sum.host); total != want {
			t.Errorf("%s: parts add up to %d, host has %d", sum.part, total, want)
		}
	}
	near(t, "host_processes", d.host.number(t, "host_processes"), uint64(len(allProcesses(t))), 8)
	cpu := d.unattributed.number(t, "cpu_ns") + d.host.number(t, "ended_cpu_ns")
	for _, c := range d.containers {
		cpu += c.number(t, "cpu_ns")
	}
	// The host's clock counts ticks, that of the tasks is exact. On a busy machine
	// they drift apart, and the unattributed time is kept rather than lowered.
	busy := d.host.number(t, "host_cpu_busy_ns")
	near(t, "CPU time", cpu, busy, busy/20+200e6)
}

// Descendants of a shim that exited belong to no container.
func TestShimExits(t *testing.T) {
	module(t, "min_interval_ms=1")
	s := start(t, options{load: "burst 300"})
	eventually(t, "CPU time", func() bool { return fresh(t).container(t, s.id).number(t, "cpu_ns") > 250e6 })
	orphans := s.processes(t)
	s.cmd.Process.Kill()
	s.cmd.Wait()
	d := fresh(t)
	if c := d.find(s.id); c != nil {
		t.Errorf("still listed: %v", c)
	}
	if len(d.ended) != 1 || d.ended[0]["container_id"] != s.id || d.ended[0].number(t, "cpu_ns") < 250e6 {
		t.Errorf("ended: %v", d.ended)
	}
	if got := d.host.number(t, "ended_cpu_ns"); got < 250e6 {
		t.Errorf("ended_cpu_ns %d", got)
	}
	for _, pid := range orphans {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestTruncated(t *testing.T) {
	module(t, "min_interval_ms=1", "max_containers=2")
	for range 3 {
		start(t, options{})
	}
	d := fresh(t)
	save(t, "truncated", d.text)
	if len(d.containers) != 2 || d.host["truncated"] != "true" || d.host["containers"] != "3" {
		t.Errorf("%d lines, truncated %q, containers %q", len(d.containers), d.host["truncated"], d.host["containers"])
	}
}

func TestNoContainers(t *testing.T) {
	module(t)
	d := fresh(t)
	save(t, "none", d.text)
	if len(d.containers) != 0 || d.host["containers"] != "0" {
		t.Errorf("%s", d.text)
	}
	if got, want := d.host.number(t, "total_memory_kb"), keyed(t, "/proc/meminfo", "MemTotal"); got != want {
		t.Errorf("total_memory_kb %d, want %d", got, want)
	}
	near(t, "free_memory_kb", d.host.number(t, "free_memory_kb"), keyed(t, "/proc/meminfo", "MemFree"), 8192)
	near(t, "available_memory_kb", d.host.number(t, "available_memory_kb"), keyed(t, "/proc/meminfo", "MemAvailable"), 8192)
	if d.host.number(t, "used_memory_kb") != d.host.number(t, "total_memory_kb")-d.host.number(t, "free_memory_kb") {
		t.Error("used is not total - free")
	}
}

// Processes can choose any bytes as their name.
func TestHostileNames(t *testing.T) {
	module(t, "min_interval_ms=1")
	names := map[string]string{
		`"},{"pid":"1`:       `"},{"pid":"1`,
		"\\\"\\":             "\\\"\\",
		"\x01\x1b[31m\n\r\t": "\x01\x1b[31m\n\r\t",
		"\xff\xfe\xc3":       "\ufffd\ufffd\ufffd",
		"\xed\xa0\x80x":      "\ufffd\ufffd\ufffdx",
		"\x7f\x80":           "\x7f\ufffd",
		"äöü€":               "äöü€",
		"123456789012é3":     "123456789012é",
		"12345678901234é":    "12345678901234\ufffd",
	}
	shims := map[string]*shim{}
	for name := range names {
		bytes := name
		if len(bytes) > 15 {
			bytes = bytes[:15]
		}
		shims[name] = start(t, options{load: "name " + hexOf(bytes)})
	}
	names["123456789012é3"] = "123456789012é3"
	eventually(t, "the names", func() bool {
		d := fresh(t)
		for name, want := range names {
			if d.container(t, shims[name].id)["command"] != want {
				t.Logf("%q: %q, want %q", name, d.container(t, shims[name].id)["command"], want)
				return false
			}
		}
		return true
	})
	save(t, "hostile-names", fresh(t).text)
}

func hexOf(s string) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(s))
	for i := range len(s) {
		out = append(out, digits[s[i]>>4], digits[s[i]&15])
	}
	return string(out)
}
