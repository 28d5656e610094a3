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
)

// watched is a container of the table, with its results.
type watched struct {
	load, source string
	shim         *shim
	cgroup       string
	init         string
	falls        int
	worst        map[string]uint64 // largest error
	last         map[string]uint64
}

// witness is another source for a field, in the unit of the document: a file of the
// container's cgroup, of its init process, or the sum over files of all its processes.
type witness struct {
	key, name string
	cgroup    func(t *testing.T, dir string) uint64
	process   func(p *process) uint64
	init      func(t *testing.T, pid string) uint64
}

func statField(n int) func(p *process) uint64 {
	return func(p *process) uint64 {
		v, _ := strconv.ParseUint(p.stat[n-3], 10, 64)
		return v
	}
}

func statusKB(key string) func(p *process) uint64 {
	return func(p *process) uint64 { return p.status[key] }
}

func ioField(key string) func(p *process) uint64 {
	return func(p *process) uint64 { return p.io[key] }
}

// cgroupFile reads a line of a cgroup's file (the only one if key is empty), multiplied
// by by and divided by unit.
func cgroupFile(name, key string, by, unit uint64) func(t *testing.T, dir string) uint64 {
	return func(t *testing.T, dir string) uint64 {
		t.Helper()
		if key == "" {
			return one(t, dir+"/"+name) * by / unit
		}
		return keyed(t, dir+"/"+name, key) * by / unit
	}
}

// netField is the n-th number of the interface dummy0.
func netField(n int) func(t *testing.T, pid string) uint64 {
	return func(t *testing.T, pid string) uint64 {
		t.Helper()
		var b []byte
		// During exec by another thread the leader has no network.
		eventually(t, "interfaces of "+pid, func() bool {
			var err error
			b, err = os.ReadFile("/proc/" + pid + "/net/dev")
			return err == nil
		})
		_, line, ok := strings.Cut(string(b), "dummy0:")
		if !ok {
			t.Fatalf("no dummy0 in\n%s", b)
		}
		v, err := strconv.ParseUint(strings.Fields(line)[n], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

var witnesses = []witness{
	{key: "cpu_ns", name: "cpu.stat usage_usec", cgroup: cgroupFile("cpu.stat", "usage_usec", 1000, 1)},
	{key: "cpu_user_ns", name: "cpu.stat user_usec", cgroup: cgroupFile("cpu.stat", "user_usec", 1000, 1)},
	{key: "cpu_system_ns", name: "cpu.stat system_usec", cgroup: cgroupFile("cpu.stat", "system_usec", 1000, 1)},
	{key: "memory_cgroup_kb", name: "memory.current", cgroup: cgroupFile("memory.current", "", 1, 1024)},
	{key: "memory_inactive_file_kb", name: "memory.stat inactive_file", cgroup: cgroupFile("memory.stat", "inactive_file", 1, 1024)},
	{key: "oom_kills", name: "memory.events oom_kill", cgroup: cgroupFile("memory.events", "oom_kill", 1, 1)},
	{key: "pressure_cpu_ns", name: "cpu.pressure some", cgroup: pressure("cpu.pressure")},
	{key: "pressure_memory_ns", name: "memory.pressure some", cgroup: pressure("memory.pressure")},
	{key: "pressure_io_ns", name: "io.pressure some", cgroup: pressure("io.pressure")},
	{key: "processes_count", name: "/proc", process: func(*process) uint64 { return 1 }},
	{key: "threads", name: "/proc/PID/stat num_threads", process: statField(20)},
	{key: "rss_kb", name: "/proc/PID/status VmRSS", process: statusKB("VmRSS")},
	{key: "vsz_kb", name: "/proc/PID/status VmSize", process: statusKB("VmSize")},
	{key: "swap_kb", name: "/proc/PID/status VmSwap", process: statusKB("VmSwap")},
	{key: "minor_faults", name: "/proc/PID/stat minflt cminflt", process: func(p *process) uint64 { return statField(10)(p) + statField(11)(p) }},
	{key: "major_faults", name: "/proc/PID/stat majflt cmajflt", process: func(p *process) uint64 { return statField(12)(p) + statField(13)(p) }},
	{key: "disk_read_bytes", name: "/proc/PID/io read_bytes", process: ioField("read_bytes")},
	{key: "disk_write_bytes", name: "/proc/PID/io write_bytes", process: ioField("write_bytes")},
	{key: "io_read_bytes", name: "/proc/PID/io rchar", process: ioField("rchar")},
	{key: "io_write_bytes", name: "/proc/PID/io wchar", process: ioField("wchar")},
	{key: "io_read_calls", name: "/proc/PID/io syscr", process: ioField("syscr")},
	{key: "io_write_calls", name: "/proc/PID/io syscw", process: ioField("syscw")},
	{key: "net_rx_bytes", name: "/proc/PID/net/dev", init: netField(0)},
	{key: "net_rx_packets", name: "/proc/PID/net/dev", init: netField(1)},
	{key: "net_tx_bytes", name: "/proc/PID/net/dev", init: netField(8)},
	{key: "net_tx_packets", name: "/proc/PID/net/dev", init: netField(9)},
}

// pressure reads the total of the line "some", ns.
func pressure(file string) func(t *testing.T, dir string) uint64 {
	return func(t *testing.T, dir string) uint64 {
		t.Helper()
		b, err := os.ReadFile(dir + "/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var a, c, d string
		var total uint64
		if _, err := fmt.Sscanf(string(b), "some %s %s %s total=%d", &a, &c, &d, &total); err != nil {
			t.Fatalf("%s: %v in %s", file, err, b)
		}
		return total * 1000
	}
}

// process has the files of a process in /proc.
type process struct {
	parent     int
	stat       []string
	io, status map[string]uint64
}

// numbers parses the lines "key: number" of a file; nil if the process has exited.
func numbers(name string) map[string]uint64 {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	found := map[string]uint64{}
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if n, err := strconv.ParseUint(f[1], 10, 64); err == nil {
			found[strings.TrimSuffix(f[0], ":")] = n
		}
	}
	return found
}

// scan reads /proc once for all containers and returns the witnesses' sums by shim. It may
// or may not count threads and children that start or exit meanwhile.
func scan(t *testing.T, shims map[int]bool) map[int]map[string]uint64 {
	t.Helper()
	all := map[int]*process{}
	for _, pid := range allProcesses(t) {
		f := stat(pid)
		if len(f) < 20 {
			continue
		}
		parent, _ := strconv.Atoi(f[1])
		all[pid] = &process{parent: parent, stat: f}
	}
	sums := map[int]map[string]uint64{}
	for pid, p := range all {
		up := p.parent
		for up > 1 && !shims[up] && all[up] != nil {
			up = all[up].parent
		}
		if !shims[up] {
			continue
		}
		name := "/proc/" + strconv.Itoa(pid)
		p.io, p.status = numbers(name+"/io"), numbers(name+"/status")
		if sums[up] == nil {
			sums[up] = map[string]uint64{}
		}
		for _, w := range witnesses {
			if w.process != nil {
				sums[up][w.key] += w.process(p)
			}
		}
	}
	return sums
}

// outside is the distance of v from the range between two readings.
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

var tableLoads = []struct{ load, name string }{
	{"storm", "fork storm"},
	{"doublefork", "double fork"},
	{"autoreap", "SIGCHLD ignored"},
	{"execs", "threads exec'ing"},
	{"steady", "steady"},
}

// Each load of the table runs once in an own cgroup and once without one, where the module
// sums over tasks. The witnesses are read before and after each document. The test checks
// limits and prints the table.
func TestTruthTable(t *testing.T) {
	module(t, "min_interval_ms=1")
	all := watch(t)
	reads := 0
	for begin := time.Now(); reads < 15 || (time.Since(begin) < 12*time.Second && reads < 100); reads++ {
		look(t, all)
	}
	for _, w := range all {
		if w.falls != 0 {
			t.Errorf("%s, %s: counters decreased %d times", w.load, w.source, w.falls)
		}
		exact := []string{"oom_kills", "net_rx_bytes", "net_tx_bytes", "net_rx_packets", "net_tx_packets"}
		if w.load == "steady" {
			exact = append(exact, "processes_count", "threads", "vsz_kb", "swap_kb", "major_faults", "disk_read_bytes",
				"disk_write_bytes", "io_read_bytes", "io_write_bytes", "io_read_calls", "io_write_calls", "minor_faults")
			if w.last["io_write_calls"] == 0 || w.last["net_tx_bytes"] == 0 {
				t.Errorf("%s does nothing: %v", w.load, w.last)
			}
		}
		for _, key := range exact {
			if w.worst[key] != 0 {
				t.Errorf("%s, %s: %s off by %d of %d", w.load, w.source, key, w.worst[key], w.last[key])
			}
		}
		if w.source == "cgroup" && w.worst["cpu_ns"] > 1000 {
			t.Errorf("%s: cpu_ns off by %d ns", w.load, w.worst["cpu_ns"])
		}
	}
	text := table(all, reads)
	if err := os.WriteFile(filepath.Join(os.Getenv("ESTIBA_OUT"), "truth.md"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// watch starts the containers of the table.
func watch(t *testing.T) []*watched {
	t.Helper()
	var all []*watched
	for _, l := range tableLoads {
		for _, source := range []string{"cgroup", "tasks"} {
			id := newID()
			w := &watched{load: l.load, source: source, worst: map[string]uint64{}, last: map[string]uint64{}}
			o := options{id: id, cgroup: "docker/" + id, load: l.load, unshare: "n"}
			w.cgroup = makeCgroup(t, o.cgroup)
			if source == "tasks" {
				// With the shim below, the cgroup is not the container's own
				// and also counts the shim.
				shims := w.cgroup + "/shim"
				if err := os.Mkdir(shims, 0o755); err != nil {
					t.Fatal(err)
				}
				dir, err := os.Open(shims)
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
	d := fresh(t)
	for _, w := range all {
		w.init = d.container(t, w.shim.id)["init_pid"]
		// During exec by another thread the namespace cannot be entered.
		eventually(t, "interface in "+w.init, func() bool {
			return exec.Command("nsenter", "-t", w.init, "-n", "sh", "-c", `ip link show dummy0 >/dev/null 2>&1 ||
ip link add dummy0 type dummy && ip addr add 10.99.0.1/24 dev dummy0 && ip link set dummy0 up`).Run() == nil
		})
		traffic := exec.Command("sh", "-c",
			"while :; do nsenter -t "+w.init+" -n ping -c 2 -W 1 -q 10.99.0.2; done >/dev/null 2>&1")
		traffic.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := traffic.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			syscall.Kill(-traffic.Process.Pid, syscall.SIGKILL)
			traffic.Wait()
		})
	}
	return all
}

// look compares one document with the witnesses of all containers. Witnesses that change
// by themselves are read closest to the document.
func look(t *testing.T, all []*watched) {
	t.Helper()
	shims := map[int]bool{}
	for _, w := range all {
		shims[w.shim.pid] = true
	}
	read := func() []map[string]uint64 {
		values := make([]map[string]uint64, len(all))
		for i, w := range all {
			values[i] = map[string]uint64{}
			for _, f := range witnesses {
				switch {
				case f.cgroup != nil:
					values[i][f.key] = f.cgroup(t, w.cgroup)
				case f.init != nil:
					values[i][f.key] = f.init(t, w.init)
				}
			}
		}
		return values
	}
	processesBefore := scan(t, shims)
	before := read()
	d := fresh(t)
	after := read()
	processesAfter := scan(t, shims)
	for i, w := range all {
		c := d.container(t, w.shim.id)
		if c["cpu_source"] != w.source {
			t.Fatalf("%s: cpu_source %q, want %q", w.load, c["cpu_source"], w.source)
		}
		for _, f := range witnesses {
			if _, ok := c[f.key]; !ok {
				continue
			}
			now, from, to := c.number(t, f.key), before[i][f.key], after[i][f.key]
			if f.process != nil {
				from, to = processesBefore[w.shim.pid][f.key], processesAfter[w.shim.pid][f.key]
			}
			w.worst[f.key] = max(w.worst[f.key], outside(now, from, to))
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
}

// table returns a Markdown table with a row per field and a column per load. Own cgroup
// and sum over tasks are separate where they differ.
func table(all []*watched, reads int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %d documents; error of last value | witness |", reads)
	for _, l := range tableLoads {
		fmt.Fprintf(&b, " %s |", l.name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(tableLoads)) + "\n")
	line := func(f witness, source, title string) {
		var cells strings.Builder
		known := false
		for _, l := range tableLoads {
			worst, last := uint64(0), uint64(0)
			for _, w := range all {
				if w.load != l.load || (source != "" && w.source != source) {
					continue
				}
				if value, ok := w.last[f.key]; ok {
					known = true
					last = max(last, value)
					worst = max(worst, w.worst[f.key])
				}
			}
			if worst == 0 {
				fmt.Fprintf(&cells, " 0 of %s |", human(f.key, last))
			} else {
				fmt.Fprintf(&cells, " %s of %s |", human(f.key, worst), human(f.key, last))
			}
		}
		if known {
			fmt.Fprintf(&b, "| %s | %s |%s\n", title, f.name, cells.String())
		}
	}
	for _, f := range witnesses {
		if strings.HasPrefix(f.key, "cpu_") {
			line(f, "cgroup", "`"+f.key+"`, own cgroup")
			line(f, "tasks", "`"+f.key+"`, tasks")
			continue
		}
		line(f, "", "`"+f.key+"`")
	}
	b.WriteString("| falls of any counter | |")
	for _, l := range tableLoads {
		falls := 0
		for _, w := range all {
			if w.load == l.load {
				falls += w.falls
			}
		}
		fmt.Fprintf(&b, " %d |", falls)
	}
	b.WriteString("\n")
	return b.String()
}

// human formats a value of the document with its unit.
func human(key string, v uint64) string {
	switch {
	case v == 0:
		return "0"
	case strings.HasSuffix(key, "_ns") && v < 1e6:
		return fmt.Sprintf("%.1f µs", float64(v)/1e3)
	case strings.HasSuffix(key, "_ns"):
		return fmt.Sprintf("%.1f ms", float64(v)/1e6)
	case strings.HasSuffix(key, "_kb"):
		return fmt.Sprintf("%d kB", v)
	case strings.HasSuffix(key, "_bytes"):
		return fmt.Sprintf("%d B", v)
	}
	return strconv.FormatUint(v, 10)
}
