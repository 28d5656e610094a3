package cgroup

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// host is a tree that a test modifies.
type host struct {
	*hosttree.Tree
	t    *testing.T
	a, b hosttree.Container
	live bool // a source reads it: files change in their place, as the kernel's do
}

// write creates a file such as "proc/stat" in the tree. It must not be a link.
func (h *host) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(filepath.Dir(h.Proc), name)
	for at := path; !h.live && at != filepath.Dir(h.Proc); at = filepath.Dir(at) {
		if info, err := os.Lstat(at); err == nil && !info.IsDir() {
			if err := os.Remove(at); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// replace changes the content of a file.
func (h *host) replace(name, old, with string) {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(filepath.Dir(h.Proc), name))
	if err != nil {
		h.t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		h.t.Fatalf("%s does not contain %q:\n%s", name, old, b)
	}
	h.write(name, strings.Replace(string(b), old, with, 1))
}

// process changes a file of a process.
func (h *host) process(pid int, file, old, with string) {
	h.t.Helper()
	h.replace(fmt.Sprintf("proc/%d/%s", pid, file), old, with)
}

// link changes the target of a link.
func (h *host) link(pid int, name, to string) {
	h.t.Helper()
	path := h.Process(pid, name)
	if err := os.RemoveAll(path); err != nil {
		h.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Symlink(to, path); err != nil {
		h.t.Fatal(err)
	}
}

// move moves processes to a cgroup in all hierarchies of a v2 host, or in the named v1
// hierarchies.
func (h *host) move(to string, controllers string, pids ...int) {
	h.t.Helper()
	for _, pid := range pids {
		b, err := os.ReadFile(h.Process(pid, "cgroup"))
		if err != nil {
			h.t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		for i, line := range lines {
			f := strings.SplitN(line, ":", 3)
			if controllers == "all" || controllers == f[1] {
				lines[i] = f[0] + ":" + f[1] + ":" + to
			}
		}
		h.write(fmt.Sprintf("proc/%d/cgroup", pid), strings.Join(lines, "\n")+"\n")
	}
}

// rename renames a cgroup of a v2 host.
func (h *host) rename(from, to string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(h.Cgroup, to)), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(h.Cgroup, from), filepath.Join(h.Cgroup, to)); err != nil {
		h.t.Fatal(err)
	}
}

// values has the expected fields of a container; -1: unknown.
type values map[source.Field]int64

// usual returns the fields of an unmodified container.
func usual() values {
	return values{
		source.CPU: 7654321000, source.CPUUser: 5000000000, source.MemoryCgroup: 65536, source.MemoryLimit: 262144, source.OOMKills: 5,
		source.RSS: 2048, source.DiskRead: 770000, source.DiskWrite: 880000, source.IOReadCalls: 860, source.NetRxBytes: 550000,
		source.StartTime: 1000000000000,
		source.Processes: 2,
	}
}

// but returns the fields with changes.
func (t values) but(changes values) values {
	maps.Copy(t, changes)
	return t
}

// byTasks has the changes if CPU time is summed over processes.
func byTasks() values { return values{source.CPU: 3000000000, source.CPUUser: 2000000000} }

// TestCases has hosts from public bug reports of other tools, and similar ones. Each case
// has the fields of the first container; the second is as usual unless stated.
func TestCases(t *testing.T) {
	const odd = "\x00\x00"
	alone := func(h *host) { // without the second container
		if err := h.Remove(h.b); err != nil {
			h.t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name    string
		layout  string
		change  func(h *host)
		want    values // of the first container; nil: as usual
		gone    bool   // it is missing
		second  values
		skipped map[source.Reason]uint64
		lack    Missing
	}{
		{name: "fork counter that wrapped", layout: "v2-systemd", change: func(h *host) { h.replace("proc/stat", "processes 5000", "processes -2049562273") }},
		{name: "short softirq", layout: "v2-systemd", change: func(h *host) { h.replace("proc/stat", "softirq 10 1 1 1 1 1 1 1 1 1 1", "softirq 10") }},
		{
			name: "line of meminfo without a space", layout: "v2-systemd",
			change: func(h *host) { h.replace("proc/meminfo", "SwapTotal", "ShadowCallStack:10373888 kB\nSwapTotal") },
		},
		{name: "line of meminfo with many values", layout: "v2-systemd", change: func(h *host) {
			h.replace("proc/meminfo", "MemTotal", "Mem:  260579328 136073216 124506112 0 4915200 94064640\nMemTotal")
		}},
		{name: "NULs behind meminfo, and empty lines", layout: "v2-systemd", change: func(h *host) {
			h.replace("proc/meminfo", "SwapTotal", "\n\nSwapTotal")
			h.replace("proc/meminfo", "900000 kB\n", "900000 kB\n"+odd)
		}},
		{
			name: "meminfo and stat that cannot be read", layout: "v2-systemd", change: func(h *host) { // lxcfs that has ended
				h.write("proc/meminfo/x", "")
				h.write("proc/stat/x", "")
			}, want: usual().but(values{source.StartTime: -1}), second: usual().but(values{source.StartTime: -1}),
			skipped: map[source.Reason]uint64{source.ReasonLine: 2}, lack: MissingHost,
		},
		{
			name: "empty meminfo and stat", layout: "v2-systemd", change: func(h *host) { h.write("proc/meminfo", ""); h.write("proc/stat", "") },
			want: usual().but(values{source.StartTime: -1}), second: usual().but(values{source.StartTime: -1}),
			skipped: map[source.Reason]uint64{source.ReasonLine: 2}, lack: MissingHost,
		},
		{
			name: "process with an empty stat", layout: "v2-systemd", change: func(h *host) { h.write(fmt.Sprintf("proc/%d/stat", h.a.Processes[1]), "") },
			want:    usual().but(values{source.RSS: 1024, source.IOReadCalls: 430, source.Processes: 1}),
			skipped: map[source.Reason]uint64{source.ReasonProcess: 1},
		},
		{
			name: "process whose stat cannot be read", layout: "v2-systemd",
			change:  func(h *host) { h.write(fmt.Sprintf("proc/%d/stat/x", h.a.Processes[1]), "") },
			want:    usual().but(values{source.RSS: 1024, source.IOReadCalls: 430, source.Processes: 1}),
			skipped: map[source.Reason]uint64{source.ReasonProcess: 1},
		},
		{
			name: "first process with an empty stat", layout: "v2-systemd", change: func(h *host) { h.write("proc/1/stat", "") },
			skipped: map[source.Reason]uint64{source.ReasonProcess: 1},
		},
		{
			name: "unrelated process with an empty stat", layout: "v2-systemd", change: func(h *host) { h.write("proc/77/stat", "") },
			skipped: map[source.Reason]uint64{source.ReasonProcess: 1},
		},
		{
			name: "shim with an empty stat", layout: "v2-systemd", change: func(h *host) { h.write(fmt.Sprintf("proc/%d/stat", h.a.ShimPID), "") },
			skipped: map[source.Reason]uint64{source.ReasonProcess: 1},
		},
		{name: "negative cutime", layout: "v2-systemd", change: func(h *host) { h.process(h.a.Processes[1], "stat", " 100 50 0 0 ", " 100 50 -5 0 ") }},
		{name: "negative cutime where tasks count", layout: "v1-cgroupfs", change: func(h *host) {
			h.process(h.a.Processes[1], "stat", " 100 50 0 0 ", " 100 50 -5 -7 ")
			h.move("/", "cpu,cpuacct", h.a.Processes...)
		}, want: usual().but(byTasks())},
		{
			name: "io that is empty", layout: "v2-systemd", change: func(h *host) { h.write(fmt.Sprintf("proc/%d/io", h.a.Processes[1]), "") },
			want: usual().but(values{source.IOReadCalls: 430}), skipped: map[source.Reason]uint64{source.ReasonLine: 1},
		},
		{name: "kernel without accounts of I/O, and pressure, and statm", layout: "v2-systemd", change: func(h *host) {
			for _, pid := range h.a.Processes {
				for _, name := range []string{"io", "statm"} {
					if err := os.Remove(h.Process(pid, name)); err != nil {
						h.t.Fatal(err)
					}
				}
			}
			for _, name := range []string{"cpu.pressure", "memory.pressure", "io.pressure", "memory.swap.current"} {
				if err := os.Remove(filepath.Join(h.Folder(h.a, "v2"), name)); err != nil {
					h.t.Fatal(err)
				}
			}
		}, want: usual().but(values{source.IOReadCalls: -1, source.PressureCPU: -1})},
		{name: "kernel without network namespaces", layout: "v2-systemd", change: func(h *host) {
			for _, pid := range append(h.a.Processes, h.a.ShimPID) {
				if err := os.RemoveAll(h.Process(pid, "ns")); err != nil {
					h.t.Fatal(err)
				}
			}
		}, want: usual().but(values{source.NetRxBytes: -1})},
		{name: "kernel without cgroups", layout: "v2-systemd", change: func(h *host) {
			for _, pid := range append(h.a.Processes, h.a.ShimPID) {
				if err := os.Remove(h.Process(pid, "cgroup")); err != nil {
					h.t.Fatal(err)
				}
			}
		}, want: usual().but(byTasks()).but(values{
			source.MemoryCgroup: -1, source.MemoryLimit: -1, source.OOMKills: -1, source.DiskRead: 90112,
			source.DiskWrite: 98304,
		})},
		{name: "no disk moved anything", layout: "v2-systemd", change: func(h *host) {
			h.write(strings.TrimPrefix(h.Folder(h.a, "v2"), filepath.Dir(h.Proc))+"/io.stat", "")
		}, want: usual().but(values{source.DiskRead: 0, source.DiskWrite: 0})},
		{
			name: "statm that is empty", layout: "v2-systemd", change: func(h *host) { h.write(fmt.Sprintf("proc/%d/statm", h.a.Processes[1]), "") },
			skipped: map[source.Reason]uint64{source.ReasonLine: 1},
		},
		{
			name: "cgroup that is empty", layout: "v2-systemd", change: func(h *host) { h.write(fmt.Sprintf("proc/%d/cgroup", h.a.Processes[1]), "") },
			skipped: map[source.Reason]uint64{source.ReasonLine: 1},
		},
		{name: "counter of memory that wrapped", layout: "v2-systemd", change: func(h *host) {
			h.write(strings.TrimPrefix(h.Folder(h.a, "v2"), filepath.Dir(h.Proc))+"/memory.current", "18446744073709547520\n")
		}, want: usual().but(values{source.MemoryCgroup: -1}), skipped: map[source.Reason]uint64{source.ReasonLine: 1}},

		{
			name: "moved out of cpuacct", layout: "v1-cgroupfs", change: func(h *host) { h.move("/", "cpu,cpuacct", h.a.Processes...) },
			want: usual().but(byTasks()),
		},
		{
			name: "one process moved out of cpuacct", layout: "v1-cgroupfs", change: func(h *host) { h.move("/", "cpu,cpuacct", h.a.Processes[1]) },
			want: usual().but(byTasks()),
		},
		{
			name: "moved out of memory", layout: "v1-cgroupfs", change: func(h *host) { h.move("/", "memory", h.a.Processes...) },
			want: usual().but(values{source.MemoryCgroup: -1, source.MemoryLimit: -1, source.OOMKills: -1}),
		},
		{
			name: "moved out of all", layout: "v1-cgroupfs", change: func(h *host) { h.move("/", "all", h.a.Processes...) },
			want: usual().but(byTasks()).but(values{
				source.MemoryCgroup: -1, source.MemoryLimit: -1, source.OOMKills: -1, source.DiskRead: 90112,
				source.DiskWrite: 98304,
			}),
		},
		{
			name: "moved to the Engine", layout: "v2-systemd", change: func(h *host) { h.move("/system.slice/docker.service", "all", h.a.Processes...) },
			want: usual().but(byTasks()).but(values{
				source.MemoryCgroup: -1, source.MemoryLimit: -1, source.OOMKills: -1, source.DiskRead: 90112,
				source.DiskWrite: 98304,
			}),
		},
		{name: "moved to another container", layout: "v2-systemd", change: func(h *host) {
			h.move("/system.slice/docker-"+h.b.ID+".scope", "all", h.a.Processes...)
		}, want: usual().but(byTasks()).but(values{
			source.MemoryCgroup: -1, source.MemoryLimit: -1, source.OOMKills: -1, source.DiskRead: 90112,
			source.DiskWrite: 98304,
		})},
		{name: "one process moved to another container", layout: "v2-cgroupfs", change: func(h *host) {
			h.write("cgroup/docker/cpu.stat", "usage_usec 99000000\n")
			h.move("/docker/"+h.b.ID, "all", h.a.Processes[1])
		}, want: usual().but(byTasks())},
		{name: "no cpuacct", layout: "v1-cgroupfs", change: func(h *host) {
			if err := os.Rename(filepath.Join(h.Cgroup, "cpu,cpuacct"), filepath.Join(h.Cgroup, "cpu")); err != nil {
				h.t.Fatal(err)
			}
		}, want: usual().but(byTasks()), second: usual().but(byTasks())},
		{name: "cpu.stat without usage", layout: "v2-systemd", change: func(h *host) {
			h.write(strings.TrimPrefix(h.Folder(h.a, "v2"), filepath.Dir(h.Proc))+"/cpu.stat", "nr_periods 0\n")
		}, want: usual().but(byTasks())},

		{name: "LVM on LUKS", layout: "v2-systemd", change: func(h *host) {
			const once = " rbytes=2359296 wbytes=18572800 rios=1 wios=1 dbytes=0 dios=0\n"
			h.write(strings.TrimPrefix(h.Folder(h.a, "v2"), filepath.Dir(h.Proc))+"/io.stat", "253:1"+once+"253:0"+once+"8:0"+once)
		}, want: usual().but(values{source.DiskRead: 2359296, source.DiskWrite: 18572800})},
		{name: "LVM on LUKS with version 1", layout: "v1-cgroupfs", change: func(h *host) {
			text := ""
			for _, device := range []string{"253:1", "253:0", "8:0"} {
				text += device + " Read 2359296\n" + device + " Write 18572800\n" + device + " Total 20932096\n"
			}
			h.write(strings.TrimPrefix(h.Folder(h.a, "blkio"), filepath.Dir(h.Proc))+"/blkio.throttle.io_service_bytes_recursive", text+"Total 62796288\n")
		}, want: usual().but(values{source.DiskRead: 2359296, source.DiskWrite: 18572800})},
		{name: "LVM on a virtual disk", layout: "v2-systemd", change: func(h *host) { // majors without a meaning
			const once = " rbytes=4096 wbytes=8192 rios=1 wios=1 dbytes=0 dios=0\n"
			h.write(strings.TrimPrefix(h.Folder(h.a, "v2"), filepath.Dir(h.Proc))+"/io.stat", "252:1"+once+"252:0"+once+"254:0"+once)
			h.write("sys/dev/block/252:1/slaves/dm-0/dev", "252:0\n")
			h.write("sys/dev/block/252:0/slaves/vda/dev", "254:0\n")
			h.write("sys/dev/block/254:0/queue/rotational", "1\n")
		}, want: usual().but(values{source.DiskRead: 4096, source.DiskWrite: 8192})},
		{name: "LVM on a virtual disk, by the drivers' names", layout: "v2-systemd", change: func(h *host) {
			const once = " rbytes=4096 wbytes=8192 rios=1 wios=1 dbytes=0 dios=0\n"
			h.write(strings.TrimPrefix(h.Folder(h.a, "v2"), filepath.Dir(h.Proc))+"/io.stat", "252:1"+once+"252:0"+once+"254:0"+once)
			h.write("proc/devices", "Character devices:\n  1 mem\n252 bsg\n\nBlock devices:\n  8 sd\n252 device-mapper\n254 virtblk\n")
		}, want: usual().but(values{source.DiskRead: 4096, source.DiskWrite: 8192})},
		{name: "LVM on an unknown virtual disk", layout: "v2-systemd", change: func(h *host) {
			const once = " rbytes=4096 wbytes=8192 rios=1 wios=1 dbytes=0 dios=0\n"
			h.write(strings.TrimPrefix(h.Folder(h.a, "v2"), filepath.Dir(h.Proc))+"/io.stat",
				"252:1"+once+"252:0"+once+"254:0"+once+"254:16 rbytes=1 wbytes=2\n")
		}, want: usual().but(values{source.DiskRead: 4097, source.DiskWrite: 8194})},
		{name: "cpuacct of an old kernel", layout: "v1-cgroupfs", change: func(h *host) {
			dir := h.Folder(h.a, "cpuacct")
			for _, name := range []string{"cpuacct.usage_user", "cpuacct.usage_sys"} {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					h.t.Fatal(err)
				}
			}
			h.write(strings.TrimPrefix(dir, filepath.Dir(h.Proc))+"/cpuacct.stat", "user 500\nsystem 265\n")
		}, want: usual().but(values{source.CPUUser: 5002824183})}, // its share of the whole
		{name: "a mirror", layout: "v2-systemd", change: func(h *host) { // both disks write
			h.write(strings.TrimPrefix(h.Folder(h.a, "v2"), filepath.Dir(h.Proc))+"/io.stat",
				"9:0 rbytes=10 wbytes=100\n8:0 rbytes=4 wbytes=100\n8:16 rbytes=6 wbytes=100\n")
		}, want: usual().but(values{source.DiskRead: 10, source.DiskWrite: 200})},
		{name: "nothing but a loop device", layout: "v2-systemd", change: func(h *host) {
			h.write(strings.TrimPrefix(h.Folder(h.a, "v2"), filepath.Dir(h.Proc))+"/io.stat", "7:0 rbytes=10 wbytes=100\n")
		}, want: usual().but(values{source.DiskRead: 10, source.DiskWrite: 100})},
		{name: "swap in memory", layout: "v2-systemd", change: func(h *host) {
			h.write(strings.TrimPrefix(h.Folder(h.a, "v2"), filepath.Dir(h.Proc))+"/io.stat", "253:0 rbytes=10 wbytes=100\n8:0 rbytes=1 wbytes=2\n")
			h.write("sys/dev/block/253:0/queue/rotational", "0\n")
			h.write("proc/devices", "Block devices:\n  8 sd\n253 zram\n")
		}, want: usual().but(values{source.DiskRead: 1, source.DiskWrite: 2})},

		{name: "private namespace, parent of its own", layout: "v2-systemd", change: func(h *host) {
			alone(h)
			h.rename("system.slice/docker-"+h.a.ID+".scope", "mine.slice/docker-"+h.a.ID+".scope")
			h.move("/../../system.slice/containerd.service", "all", h.a.ShimPID)
			h.move("/../../mine.slice/docker-"+h.a.ID+".scope", "all", h.a.Processes...)
		}},
		{name: "private namespace, below the exporter's parent", layout: "v2-systemd", change: func(h *host) { // /../docker-ID.scope
			alone(h)
			h.rename("system.slice/docker-"+h.a.ID+".scope", "mine.slice/docker-"+h.a.ID+".scope")
			h.move("/../../system.slice/containerd.service", "all", h.a.ShimPID)
			h.move("/../docker-"+h.a.ID+".scope", "all", h.a.Processes...)
		}},
		{name: "private namespace, the exporter's own container", layout: "v2-systemd", change: func(h *host) {
			alone(h)
			h.move("/../containerd.service", "all", h.a.ShimPID)
			h.move("/", "all", h.a.Processes...)
		}},
		{name: "private namespace, the exporter's own container has an init", layout: "v2-systemd", change: func(h *host) {
			alone(h)
			h.rename("system.slice/docker-"+h.a.ID+".scope", "mine.slice/docker-"+h.a.ID+".scope")
			h.write("cgroup/init.scope/cpu.stat", "usage_usec 1\n") // the host's
			h.move("/../../system.slice/containerd.service", "all", h.a.ShimPID)
			h.move("/init.scope", "all", h.a.Processes...)
		}},
		{
			name: "private namespace, beside the exporter and without a name", layout: "v2-systemd", change: func(h *host) {
				alone(h)
				h.write("cgroup/moved.scope/cpu.stat", "usage_usec 1\n") // another's
				h.write("cgroup/moved.scope/cgroup.procs", fmt.Sprintf("%d\n%d\n", h.a.Processes[0], h.a.Processes[1]))
				h.move("/../../system.slice/containerd.service", "all", h.a.ShimPID)
				h.move("/../moved.scope", "all", h.a.Processes...)
			}, want: usual().but(byTasks()).but(values{
				source.MemoryCgroup: -1, source.MemoryLimit: -1, source.OOMKills: -1, source.DiskRead: 90112,
				source.DiskWrite: 98304,
			}),
			skipped: map[source.Reason]uint64{source.ReasonNamespace: 1}, lack: MissingCgroup,
		},
		{name: "private namespace, version 1", layout: "v1-cgroupfs", change: func(h *host) {
			alone(h)
			h.move("/../..", "all", h.a.ShimPID)
			h.move("/../"+h.a.ID, "all", h.a.Processes...)
		}},
		{
			name: "private namespace and mount", layout: "v2-systemd", change: func(h *host) {
				alone(h)
				h.rename("system.slice/docker-"+h.a.ID+".scope", "../elsewhere")
				h.move("/../../system.slice/containerd.service", "all", h.a.ShimPID)
				h.move("/../../system.slice/docker-"+h.a.ID+".scope", "all", h.a.Processes...)
			}, want: usual().but(byTasks()).but(values{
				source.MemoryCgroup: -1, source.MemoryLimit: -1, source.OOMKills: -1, source.DiskRead: 90112,
				source.DiskWrite: 98304,
			}),
			skipped: map[source.Reason]uint64{source.ReasonNamespace: 1}, lack: MissingCgroup,
		},

		{name: "pod below containerd.service", layout: "v2-systemd", change: func(h *host) {
			alone(h)
			const slice = "/system.slice/containerd.service/kubepods-burstable-pod36b6d6be_0000_4111_8222_333344445555.slice:cri-containerd:"
			other := strings.Repeat("c", 64)
			h.process(h.a.Processes[1], "stat", fmt.Sprintf(") S %d ", h.a.Processes[0]), fmt.Sprintf(") S %d ", h.a.ShimPID))
			for i, id := range []string{h.a.ID, other} {
				if err := h.Group(slice + id); err != nil {
					h.t.Fatal(err)
				}
				h.move(slice+id, "all", h.a.Processes[i])
			}
		}, want: usual().but(values{source.RSS: 1024, source.IOReadCalls: 430, source.Processes: 1})},
		{name: "cgroup of a runtime with an odd id", layout: "v2-systemd", change: func(h *host) { // 65 digits
			to := "/system.slice/containerd.service/kubepods-burstable-pod36b6d6be_0000_4111_8222_333344445555.slice:cri-containerd:" + strings.Repeat("c", 65)
			if err := h.Group(to); err != nil {
				h.t.Fatal(err)
			}
			h.move(to, "all", h.a.Processes[1])
		}, want: usual().but(values{
			source.CPU: 2 * 7654321000, source.CPUUser: 2 * 5000000000, source.MemoryCgroup: 131072, source.MemoryLimit: 524288, source.OOMKills: 10,
			source.DiskRead: 1540000, source.DiskWrite: 1760000,
		})},

		{
			name: "shared network namespace", layout: "v2-systemd", change: func(h *host) { h.link(h.b.Processes[0], "ns/net", "net:[4026541000]") },
			second: usual().but(values{source.NetRxBytes: -1}),
		},
		{name: "Kata Containers, the whole overhead not visible", layout: "v2-systemd", change: func(h *host) {
			h.move("/kata_overhead/"+h.a.ID, "all", h.a.Processes[1], h.a.ShimPID)
			h.process(h.a.Processes[0], "stat", fmt.Sprintf(") S %d ", h.a.ShimPID), ") S 1 ")
			h.process(h.a.Processes[0], "stat", " 100 50 0 0 ", " 500000 50000 0 0 ")
			h.process(h.a.Processes[1], "stat", fmt.Sprintf(") S %d ", h.a.Processes[0]), fmt.Sprintf(") S %d ", h.a.ShimPID))
		}, want: usual().but(values{source.CPU: 5501500000000, source.CPUUser: 5001000000000, source.StartTime: 1000010000000})},
		{name: "gVisor", layout: "v2-systemd", change: func(h *host) {
			h.write(fmt.Sprintf("proc/%d/cmdline", h.a.ShimPID), "/usr/bin/containerd-shim-runsc-v1\x00-namespace\x00moby\x00-address\x00/run/containerd/containerd.sock\x00")
		}},
		{
			name: "shim and cgroup without an id", layout: "v2-systemd", change: func(h *host) {
				h.write(fmt.Sprintf("proc/%d/cmdline", h.a.ShimPID), "/usr/bin/containerd-shim-runsc-v1\x00-namespace\x00moby\x00-address\x00/run/containerd/containerd.sock\x00")
				h.move("/mine", "all", h.a.Processes...)
			}, gone: true, skipped: map[source.Reason]uint64{source.ReasonRuntime: 1}, lack: MissingRuntime,
		},
		{name: "shim of the first version", layout: "v2-systemd", change: func(h *host) {
			h.write(fmt.Sprintf("proc/%d/cmdline", h.a.ShimPID), "containerd-shim\x00-namespace\x00moby\x00-workdir\x00/var/lib/containerd/io.containerd.runtime.v1.linux/moby/"+h.a.ID+"\x00-address\x00/run/containerd/containerd.sock\x00-containerd-binary\x00/usr/bin/containerd\x00-runtime-root\x00/var/run/docker/runtime-runc\x00")
		}},
		{name: "managed plugin", layout: "v2-systemd", change: func(h *host) {
			h.process(h.a.ShimPID, "cmdline", "\x00moby\x00", "\x00plugins.moby\x00")
		}, gone: true},
		{
			name: "no btime", layout: "v2-systemd", change: func(h *host) { h.replace("proc/stat", "btime 1780000000\n", "") },
			want: usual().but(values{source.StartTime: -1}), second: usual().but(values{source.StartTime: -1}),
		},
		{
			name: "main thread that has ended", layout: "v2-systemd", change: func(h *host) { headless(h, h.a.Processes[0]) },
			want: usual().but(values{source.RSS: 67356}),
		},
		{
			name: "main thread that has ended, version 1", layout: "v1-cgroupfs", change: func(h *host) { headless(h, h.a.Processes[0]) },
			want: usual().but(values{source.RSS: 67356}),
		},
		{name: "zombie, version 1", layout: "v1-cgroupfs", change: func(h *host) { // the kernel shows it at the top
			h.process(h.a.Processes[1], "stat", ") S ", ") Z ")
			h.process(h.a.Processes[1], "stat", " 20 0 2 0 ", " 20 0 1 0 ")
			h.process(h.a.Processes[1], "stat", " 8388608 256 ", " 0 0 ")
			h.write(fmt.Sprintf("proc/%d/statm", h.a.Processes[1]), "0 0 0 0 0 0 0\n")
			h.move("/", "all", h.a.Processes[1])
		}, want: usual().but(values{source.RSS: 1024})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &host{t: t, a: hosttree.Numbered(0), b: hosttree.Numbered(1)}
			h.Tree = newTree(t, tt.layout, h.a, h.b)
			tt.change(h)
			var lacks []Missing
			s := onTree(t, h.Tree, func(c *Config) {
				c.SysFS = filepath.Join(filepath.Dir(h.Proc), "sys")
				c.OnMissing = func(l Missing) { lacks = append(lacks, l) }
			})
			snap := snapshot(t, s)
			if tt.want == nil && !tt.gone {
				tt.want = usual()
			}
			if tt.second == nil {
				tt.second = usual().but(values{source.StartTime: 1000010000000})
			} else if tt.second[source.StartTime] > 0 {
				tt.second[source.StartTime] = 1000010000000
			}
			compareValues(t, "first", snap, h.a.ID, tt.want)
			if exists(h.Process(h.b.ShimPID, "stat")) {
				compareValues(t, "second", snap, h.b.ID, tt.second)
			}
			if !maps.Equal(snap.Skipped, tt.skipped) && len(snap.Skipped)+len(tt.skipped) > 0 {
				t.Errorf("skipped %v, want %v", snap.Skipped, tt.skipped)
			}
			if fmt.Sprint(lacks) != fmt.Sprint([]Missing{tt.lack}) && (len(lacks) > 0 || tt.lack != "") {
				t.Errorf("lacking %v, want %q", lacks, tt.lack)
			}
		})
	}
}

// headless ends the main thread of a process; another thread remains, with 64 MiB.
func headless(h *host, pid int) {
	stat := fmt.Sprintf("proc/%d/stat", pid)
	h.replace(stat, ") S ", ") Z ")
	h.replace(stat, " 8388608 256 ", " 0 0 ")
	h.write(fmt.Sprintf("proc/%d/statm", pid), "0 0 0 0 0 0 0\n")
	h.write(fmt.Sprintf("proc/%d/task/%d/statm", pid, pid), "0 0 0 0 0 0 0\n")
	for from, name := range map[string]string{"cgroup": "cgroup", "net/dev": "net/dev"} {
		b, err := os.ReadFile(h.Process(pid, from))
		if err != nil {
			h.t.Fatal(err)
		}
		h.write(fmt.Sprintf("proc/%d/task/1050/%s", pid, name), string(b))
	}
	net, err := os.Readlink(h.Process(pid, "ns/net"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.write(fmt.Sprintf("proc/%d/task/1050/statm", pid), "20000 16583 128 10 0 300 0\n")
	h.link(pid, "task/1050/ns/net", net)
	for _, gone := range []string{"net/dev", "ns/net"} {
		if err := os.Remove(h.Process(pid, gone)); err != nil {
			h.t.Fatal(err)
		}
	}
	h.move("/", "all", pid) // where version 1 shows it; version 2 does not
}

func compareValues(t *testing.T, which string, snap *source.Snapshot, id string, want values) {
	t.Helper()
	for i := range snap.Containers {
		c := &snap.Containers[i]
		if c.ID != id {
			continue
		}
		if want == nil {
			t.Errorf("the %s container is present", which)
		}
		for f, v := range want {
			got, ok := c.Get(f)
			if ok != (v >= 0) || ok && got != uint64(v) {
				t.Errorf("%s container: %s is %d (known %t), want %d", which, f.Info().Key, got, ok, v)
			}
		}
		tasks := want != nil && (want[source.CPU] == 3000000000 || want[source.CPU] == 5501500000000)
		if want != nil && c.CPUSource != map[bool]string{true: "tasks", false: "cgroup"}[tasks] {
			t.Errorf("%s container: CPU time from %q", which, c.CPUSource)
		}
		return
	}
	if want != nil {
		t.Errorf("the %s container is missing", which)
	}
}

// TestMoved moves the processes of a container while the source runs. Later growth
// counts, and no counter decreases or jumps.
func TestMoved(t *testing.T) {
	for _, tt := range []struct{ name, layout, controllers, to string }{
		{"daemon-reload, version 1", "v1-cgroupfs", "cpu,cpuacct", "/"},
		{"all of version 1", "v1-cgroupfs", "all", "/"},
		{"hybrid", "hybrid-cgroupfs", "all", "/"},
		{"to the shim", "v2-systemd", "all", "/system.slice/containerd.service"},
		{"to the Engine", "v2-systemd", "all", "/system.slice/docker.service"},
		{"to the top", "v2-systemd", "all", "/"},
		{"to nowhere", "v2-systemd", "all", "/user.slice/moved.scope"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := watch(t, tt.layout)
			h := &host{Tree: w.tree, t: t, a: w.c}
			if tt.name == "to the Engine" { // where it is among others
				if err := h.Group(tt.to); err != nil {
					t.Fatal(err)
				}
				h.write("cgroup"+tt.to+"/cgroup.procs", fmt.Sprintf("700\n%d\n%d\n", w.c.Processes[0], w.c.Processes[1]))
			}
			h.process(w.c.Processes[0], "io", "syscr: 430", "syscr: 430") // its own
			var before *source.Container
			for range 3 {
				before = w.after(5 * time.Second)
			}
			home := readMembership(t, h, w.c.Processes[0])
			h.live = true
			h.move(tt.to, tt.controllers, w.c.Processes...)
			user := 100
			for round := range 4 {
				if round == 2 && tt.controllers == "all" { // and back
					h.move(home, "all", w.c.Processes...)
				}
				h.process(w.c.Processes[0], "stat", fmt.Sprintf(" %d 50 0 0 ", user), fmt.Sprintf(" %d 50 0 0 ", user+400))
				user += 400
				h.process(w.c.Processes[0], "io", fmt.Sprintf("read_bytes: %d\n", 45056+round*4096), fmt.Sprintf("read_bytes: %d\n", 45056+(round+1)*4096))
				h.process(w.c.Processes[0], "io", fmt.Sprintf("syscr: %d\n", 430+round), fmt.Sprintf("syscr: %d\n", 431+round))
				after := w.after(5 * time.Second)
				moved := round < 2 || tt.controllers != "all"
				for f, grown := range map[source.Field]uint64{source.CPU: 4e9, source.IOReadCalls: 1} {
					is, ok := after.Get(f)
					was, _ := before.Get(f)
					if f == source.CPU && !moved && round > 2 {
						grown = 0 // its cgroup counts again, and says nothing
					}
					if !ok || is != was+grown {
						t.Errorf("round %d: %s was %d and is %d (%t), want %d more", round, f.Info().Key, was, is, ok, grown)
					}
				}
				if percent, ok := after.Get(source.CPUPercent); moved && (!ok || percent != 8000) {
					t.Errorf("round %d: CPU %d hundredths of a percent, %t, want 8000", round, percent, ok)
				}
				for f := source.Field(0); int(f) < source.NumFields; f++ {
					was, known := before.Get(f)
					is, still := after.Get(f)
					if known && still && is < was && f != source.CPUPercent && f != source.CPUWindow {
						t.Errorf("round %d: %s fell from %d to %d", round, f.Info().Key, was, is)
					}
				}
				if read, ok := after.Get(source.DiskRead); ok && round < 2 && tt.to != "/" && tt.layout == "v2-systemd" {
					if was, _ := before.Get(source.DiskRead); read != was+4096 {
						t.Errorf("round %d: storage read was %d and is %d, want 4096 more", round, was, read)
					}
				}
				before = after
			}
		})
	}
}

// readMembership returns the path of a process in the last hierarchy of its file.
func readMembership(t *testing.T, h *host, pid int) string {
	t.Helper()
	b, err := os.ReadFile(h.Process(pid, "cgroup"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.TrimSpace(string(b))
	return text[strings.LastIndex(text, ":")+1:]
}

// TestMovedOneByOne: while the processes of a container are moved to the cgroup of its
// shim, none of them counts as the runtime.
func TestMovedOneByOne(t *testing.T) {
	w := watch(t, "v2-systemd")
	h := &host{Tree: w.tree, t: t, a: w.c, live: true}
	w.after(5 * time.Second)
	h.move("/system.slice/containerd.service", "all", w.c.Processes[0])
	c := w.after(5 * time.Second)
	if n, _ := c.Get(source.Processes); n != 2 || c.CPUSource != "tasks" || c.Command != "app" {
		t.Errorf("%d processes, CPU time from %s, command %q, want 2, tasks, app", n, c.CPUSource, c.Command)
	}
}

// TestUnparsableForAWhile: a process whose stat is temporarily not parsable does not
// count twice afterwards.
func TestUnparsableForAWhile(t *testing.T) {
	w := watch(t, "v2-systemd")
	h := &host{Tree: w.tree, t: t}
	w.after(5 * time.Second)
	for _, pid := range w.c.Processes {
		stat := fmt.Sprintf("proc/%d/stat", pid)
		b, err := os.ReadFile(h.Process(pid, "stat"))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"", string(b)} {
			h.t.Helper()
			if err := os.WriteFile(h.Process(pid, "stat"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			c := w.after(5 * time.Second)
			for f, want := range map[source.Field]uint64{source.IOReadCalls: 860, source.Processes: 2, source.MinorFaults: 24} {
				if v, _ := c.Get(f); v != want {
					t.Errorf("%s is %q: %s is %d, want %d", stat, text, f.Info().Key, v, want)
				}
			}
		}
	}
}

// TestNetworkOwnerEnds: when the owner of a network namespace exits, another container
// gets the counters.
func TestNetworkOwnerEnds(t *testing.T) {
	h := &host{t: t, a: hosttree.Numbered(0), b: hosttree.Numbered(1)}
	h.Tree = newTree(t, "v2-systemd", h.a, h.b)
	h.link(h.b.Processes[0], "ns/net", "net:[4026541000]")
	s := onTree(t, h.Tree)
	networks := func() (all []string) {
		for _, c := range snapshot(t, s).Containers {
			_, owned := c.Get(source.NetRxBytes)
			all = append(all, fmt.Sprint(c.Network, " ", owned))
		}
		return all
	}
	if got := fmt.Sprint(networks()); got != "[own true shared false]" {
		t.Error(got)
	}
	if err := h.Remove(h.a); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(networks()); got != "[own true]" {
		t.Error(got)
	}
}

// TestYoung: a container appears as soon as its processes are in its cgroups, visible
// from the exporter's cgroup namespace or not.
func TestYoung(t *testing.T) {
	for _, tt := range []struct {
		name, shim, at string
		want           int
	}{
		{"found", "/system.slice/containerd.service", "/system.slice/docker-" + hosttree.Numbered(0).ID + ".scope", 1},
		{"in another namespace", "/../../system.slice/containerd.service", "/../../mine.slice/docker-" + hosttree.Numbered(0).ID + ".scope", 1},
		{"in the exporter's own", "/../containerd.service", "/", 1},
		{"being created", "/system.slice/containerd.service", "/system.slice/containerd.service", 0},
	} {
		h := &host{t: t, a: hosttree.Numbered(0)}
		h.Tree = newTree(t, "v2-systemd", h.a)
		h.move(tt.shim, "all", h.a.ShimPID)
		h.move(tt.at, "all", h.a.Processes...)
		now := 1002 * time.Second // two seconds old
		s := onTree(t, h.Tree, func(c *Config) {
			c.Now = func() time.Time { return time.Unix(0, int64(booted+now)) }
			c.Boottime = func() time.Duration { return now }
		})
		if got := len(snapshot(t, s).Containers); got != tt.want {
			t.Errorf("%s: %d containers, want %d", tt.name, got, tt.want)
		}
		now += creation
		if got := len(snapshot(t, s).Containers); got != 1 {
			t.Errorf("%s, later: %d containers, want 1", tt.name, got)
		}
	}
}
