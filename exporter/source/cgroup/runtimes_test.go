package cgroup

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	shared "github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

var (
	idA = strings.Repeat("a", 64)
	idB = strings.Repeat("b", 64)
	pod = strings.Repeat("9", 64)
)

// hierarchiesOf returns the layout of a host with v1, v2 or hybrid hierarchies.
func hierarchiesOf(version string) hosttree.Layout { return hosttree.Layouts()[version+"-systemd"] }

// populate creates a host with processes and their cgroups.
func populate(t *testing.T, l hosttree.Layout, processes ...hosttree.Process) *host {
	t.Helper()
	tr, err := hosttree.New(t.TempDir(), l)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{Tree: tr, t: t}
	h.start(processes...)
	return h
}

func (h *host) start(processes ...hosttree.Process) {
	h.t.Helper()
	for i, p := range processes {
		if p.Start == 0 {
			p.Start = 100_000 + uint64(i)
		}
		if err := h.Start(p); err != nil {
			h.t.Fatal(err)
		}
		if p.Cgroup == "/" {
			continue
		}
		if err := h.Group(p.Cgroup); err != nil {
			h.t.Fatal(err)
		}
	}
}

// shim makes a process a shim with these arguments.
func (h *host) shim(pid int, program string, args ...string) {
	h.t.Helper()
	h.process(pid, "stat", "(shim)", "(containerd-shim)")
	h.write(fmt.Sprintf("proc/%d/status", pid), "Name:\tcontainerd-shim\nUid:\t0\t0\t0\t0\n")
	h.write(fmt.Sprintf("proc/%d/cmdline", pid), program+"\x00"+strings.Join(args, "\x00")+"\x00")
	h.link(pid, "exe", program)
}

// described describes the containers of a snapshot.
func described(snap *source.Snapshot) (all []string) {
	for i := range snap.Containers {
		c := &snap.Containers[i]
		get := func(f source.Field) string {
			if v, ok := c.Get(f); ok {
				return fmt.Sprint(v)
			}
			return "-"
		}
		id := c.ID
		if len(id) == 64 {
			id = id[:4]
		}
		pod := c.Pod
		if len(pod) == 64 {
			pod = pod[:4]
		}
		all = append(all, fmt.Sprintf("%s %s by %s %s, init %s %s, pod %q pause %q user %s, %s processes, memory %s, CPU %s of %s",
			c.Runtime, id, c.ProcessName, get(source.PID), get(source.InitPID), c.Command, pod, c.Pause, get(source.User),
			get(source.Processes), get(source.MemoryCgroup), get(source.CPU), c.CPUSource))
	}
	return all
}

// TestRuntimes: what is seen of each runtime, in its layouts.
func TestRuntimes(t *testing.T) {
	const user = "/user.slice/user-1000.slice/user@1000.service/user.slice"
	const kubepods = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_0000_4111_8222_333344445555.slice"
	const whole = "memory 65536, CPU 7654321000 of cgroup"
	for _, tt := range []struct {
		name      string
		processes []hosttree.Process
		change    func(h *host)
		want      []string
		others    uint64 // unattributed processes, besides process 1
		only      string // version
	}{
		{
			name: "Podman, systemd", processes: []hosttree.Process{
				{PID: 100, Comm: "conmon", Parent: 1, Cgroup: "/machine.slice/libpod-conmon-" + idA + ".scope"},
				{PID: 101, Comm: "app", Parent: 100, Cgroup: "/machine.slice/libpod-" + idA + ".scope/container", Net: 5},
				{PID: 102, Comm: "worker", Parent: 101, Cgroup: "/machine.slice/libpod-" + idA + ".scope/container", Net: 5},
				{PID: 103, Comm: "conmon", Parent: 1, Cgroup: "/machine.slice/libpod-conmon-" + idA + ".scope"},
				{PID: 104, Comm: "sh", Parent: 103, Cgroup: "/machine.slice/libpod-" + idA + ".scope/container", Net: 5},
			},
			change: func(h *host) {
				if err := h.Group("/machine.slice/libpod-" + idA + ".scope"); err != nil {
					h.t.Fatal(err)
				}
			},
			want: []string{"podman aaaa by conmon 100, init 101 app, pod \"\" pause \"\" user -, 3 processes, " + whole}, others: 2,
		},
		{
			name: "Podman, cgroupfs, pod", processes: []hosttree.Process{
				{PID: 100, Comm: "conmon", Parent: 1, Cgroup: "/libpod_parent/libpod-conmon-" + idA},
				{PID: 101, Comm: "app", Parent: 100, Cgroup: "/libpod_parent/libpod_pod_" + pod + "/libpod-" + idA},
				{PID: 110, Comm: "conmon", Parent: 1, Cgroup: "/libpod_parent/libpod-conmon-" + idB},
				{PID: 111, Comm: "app", Parent: 110, Cgroup: "/libpod_parent/libpod_pod_" + pod + "/libpod-" + idB},
			},
			want: []string{
				"podman aaaa by conmon 100, init 101 app, pod \"9999\" pause \"\" user -, 1 processes, " + whole,
				"podman bbbb by conmon 110, init 111 app, pod \"9999\" pause \"\" user -, 1 processes, " + whole,
			}, others: 2,
		},
		{
			name: "Podman, rootless and root's with one id", processes: []hosttree.Process{
				{PID: 90, Comm: "conmon", Parent: 1, Cgroup: user + "/libpod-conmon-" + idA + ".scope"},
				{PID: 91, Comm: "theirs", Parent: 90, Cgroup: user + "/libpod-" + idA + ".scope"},
				{PID: 100, Comm: "conmon", Parent: 1, Cgroup: "/machine.slice/libpod-conmon-" + idA + ".scope"},
				{PID: 101, Comm: "app", Parent: 100, Cgroup: "/machine.slice/libpod-" + idA + ".scope"},
			},
			want: []string{
				"podman aaaa by conmon 100, init 101 app, pod \"\" pause \"\" user -, 1 processes, " + whole,
				"podman aaaa by conmon 90, init 91 theirs, pod \"\" pause \"\" user 1000, 1 processes, " + whole,
			}, others: 2,
		},
		{
			name: "CRI-O, systemd", processes: []hosttree.Process{
				{PID: 100, Comm: "conmon", Parent: 1, Cgroup: kubepods + "/crio-conmon-" + idA + ".scope"},
				{PID: 101, Comm: "pause", Parent: 100, Cgroup: kubepods + "/crio-" + idA + ".scope"},
				{PID: 110, Comm: "conmon", Parent: 1, Cgroup: kubepods + "/crio-conmon-" + idB + ".scope"},
				{PID: 111, Comm: "app", Parent: 110, Cgroup: kubepods + "/crio-" + idB + ".scope"},
			},
			want: []string{
				"cri-o aaaa by conmon 100, init 101 pause, pod \"\" pause \"\" user -, 1 processes, " + whole,
				"cri-o bbbb by conmon 110, init 111 app, pod \"\" pause \"\" user -, 1 processes, " + whole,
			}, others: 2,
		},
		{
			name: "CRI-O, cgroupfs, conmon in the pod's cgroup", processes: []hosttree.Process{
				{PID: 110, Comm: "conmon", Parent: 1, Cgroup: "/kubepods/burstable/pod1"},
				{PID: 111, Comm: "app", Parent: 110, Cgroup: "/kubepods/burstable/pod1/crio-" + idB},
			},
			want:   []string{"cri-o bbbb by conmon 110, init 111 app, pod \"\" pause \"\" user -, 1 processes, " + whole},
			others: 1,
		},
		{
			name: "LXC", processes: []hosttree.Process{
				{PID: 100, Comm: "lxc-start", Parent: 1, Cgroup: "/lxc.monitor.web"},
				{PID: 101, Comm: "systemd", Parent: 100, Cgroup: "/lxc.payload.web/init.scope"},
				{PID: 102, Comm: "sshd", Parent: 101, Cgroup: "/lxc.payload.web/system.slice/ssh.service"},
				{PID: 103, Comm: "app", Parent: 101, Cgroup: "/lxc.payload.web/docker/" + idA},
			},
			change: func(h *host) {
				if err := h.Group("/lxc.payload.web"); err != nil {
					h.t.Fatal(err)
				}
			},
			want: []string{"lxc web by lxc-start 100, init 101 systemd, pod \"\" pause \"\" user -, 3 processes, " + whole}, others: 1,
		},
		{
			name: "LXC, old and of LXD", processes: []hosttree.Process{
				{PID: 100, Comm: "[lxc monitor] /", Parent: 1, Cgroup: "/lxc.monitor/web"},
				{PID: 101, Comm: "init", Parent: 100, Cgroup: "/lxc/web"},
				{PID: 110, Comm: "lxd", Parent: 1, Cgroup: "/lxc.monitor.db"},
				{PID: 111, Comm: "init", Parent: 110, Cgroup: "/lxc.payload.db"},
			},
			want: []string{
				"lxc web by [lxc monitor] / 100, init 101 init, pod \"\" pause \"\" user -, 1 processes, " + whole,
				"lxc db by init 111, init 111 init, pod \"\" pause \"\" user -, 1 processes, " + whole,
			}, others: 2,
		},
		{
			name: "systemd-nspawn", processes: []hosttree.Process{
				{PID: 100, Comm: "systemd-nspawn", Parent: 1, Cgroup: `/machine.slice/systemd-nspawn@web.service/supervisor`},
				{PID: 101, Comm: "systemd", Parent: 100, Cgroup: "/machine.slice/systemd-nspawn@web.service/payload/init.scope"},
				{PID: 110, Comm: "systemd-nspawn", Parent: 1, Cgroup: `/machine.slice/machine-my\x2ddb.scope/supervisor`},
				{PID: 111, Comm: "sh", Parent: 110, Cgroup: `/machine.slice/machine-my\x2ddb.scope/payload`},
			},
			change: func(h *host) {
				if err := h.Group("/machine.slice/systemd-nspawn@web.service/payload"); err != nil {
					h.t.Fatal(err)
				}
			},
			want: []string{
				"systemd-nspawn web by systemd-nspawn 100, init 101 systemd, pod \"\" pause \"\" user -, 1 processes, " + whole,
				"systemd-nspawn my-db by systemd-nspawn 110, init 111 sh, pod \"\" pause \"\" user -, 1 processes, " + whole,
			}, others: 2,
		},
		{
			name: "LXC and systemd-nspawn with one name", processes: []hosttree.Process{
				{PID: 101, Comm: "init", Parent: 1, Cgroup: "/lxc.payload.web"},
				{PID: 111, Comm: "sh", Parent: 1, Cgroup: "/machine.slice/machine-web.scope"},
			},
			want: []string{
				"lxc web by init 101, init 101 init, pod \"\" pause \"\" user -, 1 processes, " + whole,
				"systemd-nspawn web by sh 111, init 111 sh, pod \"\" pause \"\" user -, 1 processes, " + whole,
			},
		},
		{
			name: "Kata Containers, with overhead", processes: []hosttree.Process{
				{PID: 100, Comm: "shim", Parent: 1, Cgroup: "/kata_overhead/" + idA},
				{PID: 101, Comm: "virtiofsd", Parent: 100, Cgroup: "/kata_overhead/" + idA, Net: 5},
				{PID: 102, Comm: "qemu-system-x86", Parent: 1, Cgroup: kubepods + "/cri-containerd-" + idA + ".scope", Net: 5},
			},
			change: func(h *host) {
				h.shim(100, "/opt/kata/bin/containerd-shim-kata-v2", "-namespace", "k8s.io", "-id", idA)
			},
			want: []string{"kata aaaa by containerd-shim 100, init 101 virtiofsd, pod \"aaaa\" pause \"\" user -, 2 processes, memory 131072, CPU 15308642000 of cgroup"}, others: 1,
		},
		{
			name: "Kata Containers, all in the sandbox's cgroup", processes: []hosttree.Process{
				{PID: 100, Comm: "shim", Parent: 1, Cgroup: "/kubepods/besteffort/pod1/kata_" + idA},
				{PID: 101, Comm: "virtiofsd", Parent: 100, Cgroup: "/kubepods/besteffort/pod1/kata_" + idA},
				{PID: 102, Comm: "qemu-system-x86", Parent: 1, Cgroup: "/kubepods/besteffort/pod1/kata_" + idA},
			},
			change: func(h *host) {
				h.shim(100, "/opt/kata/bin/containerd-shim-kata-v2", "-namespace", "k8s.io", "-id", idA)
			},
			want: []string{"kata aaaa by containerd-shim 100, init 101 virtiofsd, pod \"aaaa\" pause \"\" user -, 2 processes, " + whole}, others: 1,
		},
		{
			name: "gVisor, Docker", processes: []hosttree.Process{
				{PID: 100, Comm: "shim", Parent: 1, Cgroup: "/system.slice/containerd.service"},
				{PID: 101, Comm: "runsc-gofer", Parent: 100, Cgroup: "/system.slice/docker-" + idA + ".scope"},
				{PID: 102, Comm: "runsc-sandbox", Parent: 100, Cgroup: "/system.slice/docker-" + idA + ".scope"},
				{PID: 103, Comm: "runsc", Parent: 100, Cgroup: "/system.slice/containerd.service"},
			},
			change: func(h *host) {
				h.shim(100, "/usr/bin/containerd-shim-runsc-v1", "-namespace", "moby", "-address", "/run/containerd/containerd.sock")
			},
			want: []string{"docker aaaa by containerd-shim 100, init 101 runsc-gofer, pod \"\" pause \"\" user -, 2 processes, " + whole}, others: 2,
		},
		{
			name: "gVisor, Kubernetes", processes: []hosttree.Process{
				{PID: 100, Comm: "shim", Parent: 1, Cgroup: "/system.slice/containerd.service"},
				{PID: 101, Comm: "runsc-gofer", Parent: 100, Cgroup: "/kubepods/besteffort/pod1/" + idA},
				{PID: 102, Comm: "runsc-sandbox", Parent: 1, Cgroup: "/kubepods/besteffort/pod1/" + idA},
			},
			change: func(h *host) {
				h.shim(100, "/usr/bin/containerd-shim-runsc-v1", "-namespace", "k8s.io", "-address", "/run/containerd/containerd.sock")
			},
			// Such a name counts for descendants of a shim only.
			want: []string{"containerd aaaa by containerd-shim 100, init 101 runsc-gofer, pod \"\" pause \"\" user -, 1 processes, " + whole}, others: 2,
		},
		{
			name: "shim of the first version", processes: []hosttree.Process{
				{PID: 100, Comm: "shim", Parent: 1, Cgroup: "/system.slice/containerd.service"},
				{PID: 101, Comm: "app", Parent: 100, Cgroup: "/docker/" + idA},
			},
			change: func(h *host) {
				h.shim(100, "/usr/bin/containerd-shim", "-namespace", "moby", "-workdir", "/var/lib/containerd/io.containerd.runtime.v1.linux/moby/"+idA, "-address", "/run/c.sock")
			},
			want: []string{"docker aaaa by containerd-shim 100, init 101 app, pod \"\" pause \"\" user -, 1 processes, " + whole}, others: 1,
		},
		{
			name: "nerdctl and ctr", processes: []hosttree.Process{
				{PID: 100, Comm: "shim", Parent: 1, Cgroup: "/system.slice/containerd.service"},
				{PID: 101, Comm: "app", Parent: 100, Cgroup: "/system.slice/nerdctl-" + idA + ".scope"},
				{PID: 110, Comm: "shim", Parent: 1, Cgroup: "/system.slice/containerd.service"},
				{PID: 111, Comm: "app", Parent: 110, Cgroup: "/default/web"},
				{PID: 120, Comm: "shim", Parent: 1, Cgroup: "/system.slice/containerd.service"},
				{PID: 121, Comm: "app", Parent: 120, Cgroup: "/test/web"},
			},
			change: func(h *host) {
				h.shim(100, "/usr/bin/containerd-shim-runc-v2", "-namespace", "default", "-id", idA)
				h.shim(110, "/usr/bin/containerd-shim-runc-v2", "-namespace", "default", "-id", "web")
				h.shim(120, "/usr/bin/containerd-shim-runc-v2", "-namespace", "test", "-id", "web")
			},
			want: []string{
				"containerd aaaa by containerd-shim 100, init 101 app, pod \"\" pause \"\" user -, 1 processes, " + whole,
				"containerd web by containerd-shim 110, init 111 app, pod \"\" pause \"\" user -, 1 processes, " + whole,
				"containerd web by containerd-shim 120, init 121 app, pod \"\" pause \"\" user -, 1 processes, " + whole,
			}, others: 3,
		},
		{
			name: "plugins of Docker, virtual machines of libvirt, services", processes: []hosttree.Process{
				{PID: 100, Comm: "shim", Parent: 1, Cgroup: "/system.slice/containerd.service"},
				{PID: 101, Comm: "plugin", Parent: 100, Cgroup: "/system.slice/docker-" + idA + ".scope"},
				{PID: 102, Comm: "plugin", Parent: 1, Cgroup: "/plugins.moby/" + idA},
				{PID: 103, Comm: "qemu-system-x86", Parent: 1, Cgroup: `/machine.slice/machine-qemu\x2d1\x2dvm.scope`},
				{PID: 104, Comm: "sshd", Parent: 1, Cgroup: "/system.slice/ssh.service"},
				{PID: 105, Comm: "other", Parent: 1, Cgroup: "/mine/" + idA},
				{PID: 106, Comm: "other", Parent: 1, Cgroup: "/system.slice/mine-" + idA + ".scope"},
			},
			change: func(h *host) {
				h.shim(100, "/usr/bin/containerd-shim-runc-v2", "-namespace", "plugins.moby", "-id", idA)
			},
			others: 7,
		},
	} {
		for _, version := range []string{"v1", "v2", "hybrid"} {
			t.Run(tt.name+"/"+version, func(t *testing.T) {
				h := populate(t, hierarchiesOf(version), tt.processes...)
				if tt.change != nil {
					tt.change(h)
				}
				s := onTree(t, h.Tree)
				for range 2 {
					snap := snapshot(t, s)
					if got := described(snap); !slices.Equal(got, tt.want) {
						t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(tt.want, "\n     "))
					}
					if n, _ := snap.Host.Get(source.UnattributedProcesses); n != tt.others+1 {
						t.Errorf("%d unattributed processes, want %d", n, tt.others+1)
					}
					if len(snap.Skipped) > 0 {
						t.Errorf("skipped %v", snap.Skipped)
					}
				}
			})
		}
	}
}

// TestHierarchyThatDecides: v2 decides if it has the name of a container, else the first
// of v1 that has one.
func TestHierarchyThatDecides(t *testing.T) {
	podman := "/machine.slice/libpod-%s.scope"
	for _, tt := range []struct{ version, cgroup, want string }{
		{"hybrid", "12:pids:" + fmt.Sprintf(podman, idB) + "\n3:memory:" + fmt.Sprintf(podman, idB) + "\n0::" + fmt.Sprintf(podman, idA) + "\n", "aaaa"},
		{"hybrid", "12:pids:" + fmt.Sprintf(podman, idA) + "\n3:memory:" + fmt.Sprintf(podman, idB) + "\n0::/\n", "bbbb"},
		{"v1", "12:pids:" + fmt.Sprintf(podman, idA) + "\n3:memory:" + fmt.Sprintf(podman, idB) + "\n", "bbbb"},
		{"v1", "12:pids:" + fmt.Sprintf(podman, idA) + "\n3:memory:/\n", "aaaa"},
		{"v1", "1:name=systemd:/machine.slice/machine-web.scope\n3:memory:/\n", "web"},
		{"v1", "1:name=other:/machine.slice/machine-web.scope\n3:memory:/\n", ""},
	} {
		h := populate(t, hierarchiesOf(tt.version), hosttree.Process{PID: 100, Comm: "app", Parent: 1, Cgroup: "/"})
		h.write("proc/100/cgroup", tt.cgroup)
		got := ""
		if snap := snapshot(t, onTree(t, h.Tree)); len(snap.Containers) == 1 {
			got = snap.Containers[0].ID[:min(4, len(snap.Containers[0].ID))]
		}
		if got != tt.want {
			t.Errorf("%q is of %q, want %q", tt.cgroup, got, tt.want)
		}
	}
}

// TestEntered: a process with no shim above it that is in the cgroup of a shim's container
// is in it. That of a user who calls a cgroup so is not.
func TestEntered(t *testing.T) {
	h := &host{t: t, a: hosttree.Numbered(0)}
	h.Tree = newTree(t, "v2-systemd", h.a)
	fake := "/user.slice/user-1000.slice/user@1000.service/docker-" + h.a.ID + ".scope"
	h.start(
		hosttree.Process{PID: 70, Comm: "entered", Parent: 1, Cgroup: "/system.slice/docker-" + h.a.ID + ".scope/x"},
		hosttree.Process{PID: 71, Comm: "fake", Parent: 1, Cgroup: fake},
	)
	s := onTree(t, h.Tree)
	for range 2 {
		snap := snapshot(t, s)
		compareValues(t, "first", snap, h.a.ID, usual().but(values{source.Processes: 3, source.RSS: 3072, source.IOReadCalls: 3 * 430}))
		if len(snap.Containers) != 2 || snap.Containers[1].Cgroup != fake || snap.Containers[1].Key() != h.a.ID+"@1000" {
			t.Fatalf("%q, want the user's container apart", described(snap))
		}
	}
}

// TestEnteredLate: the past of a process that moves into a container is not the
// container's, and no counter falls when it leaves. A move of an old process shows within
// 30 seconds, others at once.
func TestEnteredLate(t *testing.T) {
	w := watch(t, "v2-systemd")
	h := &host{Tree: w.tree, t: t, a: w.c}
	h.start(hosttree.Process{PID: 70, Comm: "old", Parent: 1, Cgroup: "/user.slice"})
	h.process(70, "io", "syscr: 430", "syscr: 430") // its own
	h.live = true
	w.after(5 * time.Second)
	home := readMembership(t, h, w.c.Processes[0])
	h.move(home, "all", 70)
	var after time.Duration
	calls := func(want uint64, processes uint64) bool {
		t.Helper()
		c := w.after(5 * time.Second)
		if v, _ := c.Get(source.IOReadCalls); v != want {
			t.Errorf("%d read calls, want %d", v, want)
		}
		n, _ := c.Get(source.Processes)
		return n == processes
	}
	for ; !calls(860, 3); after += 5 * time.Second {
		if after > 30*time.Second {
			t.Fatal("the move does not show")
		}
	}
	h.process(70, "io", "syscr: 430", "syscr: 435")
	if !calls(865, 3) {
		t.Error("it has left")
	}
	h.move("/user.slice", "all", 70)
	if !calls(865, 2) {
		t.Error("that it left does not show at once")
	}
	// A new program, and another parent, are reasons to look.
	for _, change := range [][2]string{{"(old)", "(new)"}, {") S 1 ", ") S 2 "}} {
		h.move(home, "all", 70)
		h.process(70, "stat", change[0], change[1])
		if !calls(865, 3) {
			t.Errorf("%q: the move does not show at once", change)
		}
		h.move("/user.slice", "all", 70)
		calls(865, 2)
	}
}

// TestSeldomRead: the cgroups of processes in no container are read every 30 seconds, at
// different times, and not kept open.
func TestSeldomRead(t *testing.T) {
	w := watch(t, "v2-systemd")
	h := &host{Tree: w.tree, t: t}
	for pid := 5000; pid < 5060; pid++ {
		h.start(hosttree.Process{PID: pid, Comm: "other", Parent: 1, Cgroup: "/"})
	}
	reads := 0
	w.s.reader.opening = func(path string) {
		if pid, file := filepath.Base(filepath.Dir(path)), filepath.Base(path); file == "cgroup" && len(pid) == 4 && pid[0] == '5' {
			reads++
		}
	}
	w.after(5 * time.Second)
	if reads != 60 {
		t.Errorf("%d reads of 60 new processes, want 60", reads)
	}
	for range 6 {
		w.after(5 * time.Second)
	}
	var all []int
	for range 12 {
		reads = 0
		w.after(5 * time.Second)
		all = append(all, reads)
	}
	sum := 0
	for _, n := range all {
		sum += n
		if n > 25 {
			t.Errorf("%v reads of 60 processes", all)
			break
		}
	}
	if sum != 120 {
		t.Errorf("%v reads of 60 processes in a minute, want 120", all)
	}
	if open := openFiles(t, w.tree.Proc); slices.ContainsFunc(open, func(name string) bool { return strings.Contains(name, "/50") && strings.HasSuffix(name, "/cgroup") }) {
		t.Errorf("open: %v", open)
	}
}

// TestLives: a container keeps its counters when its shim or its monitor exits, and begins
// another life when all of its processes are new.
func TestLives(t *testing.T) {
	const scope = "/machine.slice/libpod-"
	at := scope + idA + ".scope"
	h := populate(t, hierarchiesOf("v2"),
		hosttree.Process{PID: 100, Comm: "conmon", Parent: 1, Cgroup: scope + "conmon-" + idA + ".scope"},
		hosttree.Process{PID: 101, Comm: "app", Parent: 100, Cgroup: at},
	)
	now := now
	s := onTree(t, h.Tree, func(c *Config) {
		c.Now = func() time.Time { return time.Unix(0, int64(booted+now)) }
		c.Boottime = func() time.Duration { return now }
	})
	take := func(what string, cpu, ended uint64, shim string) {
		t.Helper()
		now += 5 * time.Second
		snap := snapshot(t, s)
		if shimOf(snap) != shim {
			t.Errorf("%s: by %q of %d, want %q", what, shimOf(snap), len(snap.Containers), shim)
			return
		}
		v, _ := snap.Containers[0].Get(source.CPU)
		e, _ := snap.Host.Get(source.EndedCPU)
		if v != cpu || e != ended {
			t.Errorf("%s: CPU time %d, ended %d, want %d, %d", what, v, e, cpu, ended)
		}
	}
	take("at first", 7654321000, 0, "conmon")
	if err := os.RemoveAll(h.Process(100, "")); err != nil {
		t.Fatal(err)
	}
	h.process(101, "stat", ") S 100 ", ") S 1 ")
	h.write("cgroup"+at+"/cpu.stat", "usage_usec 8000000\nuser_usec 5000000\nsystem_usec 3000000\n")
	s.Release()
	take("without its monitor", 8000000000, 0, "app")
	if err := os.RemoveAll(h.Process(101, "")); err != nil {
		t.Fatal(err)
	}
	h.start(
		hosttree.Process{PID: 110, Comm: "conmon", Parent: 1, Start: 1_900_000, Cgroup: scope + "conmon-" + idA + ".scope"},
		hosttree.Process{PID: 111, Comm: "app", Parent: 110, Start: 1_900_001, Cgroup: at},
	)
	h.write("cgroup"+at+"/cpu.stat", "usage_usec 1000\nuser_usec 1000\nsystem_usec 0\n")
	s.Release()
	take("restarted", 1000000, 8000000000, "conmon")
}

// TestNamespaces: the exporter is in a container with a cgroup namespace. Containers
// without a shim are seen as well, and so is its own.
func TestNamespaces(t *testing.T) {
	for name, own := range map[string]string{
		"Podman":             "/machine.slice/libpod-" + idB + ".scope",
		"Podman with crun":   "/machine.slice/libpod-" + idB + ".scope/container",
		"CRI-O":              "/kubepods.slice/kubepods-pod1.slice/crio-" + idB + ".scope",
		"LXC":                "/lxc.payload.mine",
		"Podman, a user's":   "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + idB + ".scope",
		"containerd's shims": "/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + idB + ".scope",
	} {
		t.Run(name, func(t *testing.T) {
			up := strings.Repeat("/..", strings.Count(own, "/"))
			at := "/machine.slice/libpod-" + idA + ".scope"
			h := populate(t, hierarchiesOf("v2"))
			h.write("proc/1/cgroup", "0::"+up+"/init.scope\n")
			h.start(
				hosttree.Process{PID: 100, Comm: "conmon", Parent: 1, Cgroup: "/"},
				hosttree.Process{PID: 101, Comm: "app", Parent: 100, Cgroup: "/"},
				hosttree.Process{PID: 110, Comm: "conmon", Parent: 1, Cgroup: "/"},
				hosttree.Process{PID: 111, Comm: "exporter", Parent: 110, Cgroup: "/"},
				hosttree.Process{PID: 112, Comm: "worker", Parent: 111, Cgroup: "/"},
			)
			found, _ := shared.FindCgroup(own)
			for _, group := range []string{at, found.Path, own, own + "/x"} {
				if err := h.Group(group); err != nil {
					t.Fatal(err)
				}
			}
			h.write("proc/100/cgroup", "0::"+up+"/machine.slice/libpod-conmon-"+idA+".scope\n")
			h.write("proc/101/cgroup", "0::"+up+at+"\n")
			h.write("proc/110/cgroup", "0::"+up+"/machine.slice/libpod-conmon-"+idB+".scope\n")
			h.write("proc/112/cgroup", "0::/x\n")
			h.write("cgroup"+own+"/cgroup.procs", "111\n")
			h.write("cgroup"+own+"/x/cgroup.procs", "112\n")
			s := onTree(t, h.Tree)
			snapshot(t, s)
			snap := snapshot(t, s)
			if len(snap.Containers) != 2 || snap.Containers[0].ID != idA {
				t.Fatalf("%q, want two containers", described(snap))
			}
			c := &snap.Containers[1]
			user, _ := c.Get(source.User)
			if c.ID != found.ID || c.Runtime != found.Runtime || user != uint64(found.User) || c.Cgroup != found.Path {
				t.Errorf("its own is %s in %s, want %+v", described(snap)[1], c.Cgroup, found)
			}
			for i := range snap.Containers {
				if v, ok := snap.Containers[i].Get(source.MemoryCgroup); !ok || v != 65536 {
					t.Errorf("container %d: memory %d, %t", i, v, ok)
				}
			}

			// One that is started beside it, within the age of the index.
			later := path.Dir(found.Path) + "/libpod-" + strings.Repeat("c", 64) + ".scope"
			h.start(hosttree.Process{PID: 120, Comm: "app", Parent: 1, Cgroup: later})
			relative, err := filepath.Rel(own, later)
			if err != nil {
				t.Fatal(err)
			}
			h.write("proc/120/cgroup", "0::/"+relative+"\n")
			snap = snapshot(t, s)
			if len(snap.Containers) != 3 || snap.Skipped[source.ReasonNamespace] != 0 {
				t.Fatalf("%q, want three containers; skipped %v", described(snap), snap.Skipped)
			}
			for i := range snap.Containers {
				if v, ok := snap.Containers[i].Get(source.MemoryCgroup); !ok || v != 65536 {
					t.Errorf("container %d of three: memory %d, %t", i, v, ok)
				}
			}
		})
	}
}

// TestInside: a /proc of a container, whose own containers are the host's. Without a cgroup
// namespace their paths begin with its name.
func TestInside(t *testing.T) {
	for _, outer := range []string{"/docker/" + idA, "/lxc/mine", "/system.slice/docker-" + idA + ".scope"} {
		inner := outer + "/docker/" + idB
		h := populate(t, hierarchiesOf("v1"),
			hosttree.Process{PID: 100, Comm: "dockerd", Parent: 1, Cgroup: outer},
			hosttree.Process{PID: 101, Comm: "app", Parent: 100, Cgroup: inner},
			hosttree.Process{PID: 102, Comm: "app", Parent: 101, Cgroup: inner + "/docker/" + idA},
		)
		h.write("proc/1/cgroup", "5:pids:"+outer+"\n4:blkio:"+outer+"\n3:memory:"+outer+"/init.scope\n2:cpu,cpuacct:"+outer+"\n1:name=systemd:"+outer+"/init.scope\n")
		for range 2 {
			snap := snapshot(t, onTree(t, h.Tree))
			want := []string{"docker bbbb by app 101, init 101 app, pod \"\" pause \"\" user -, 2 processes, memory 65536, CPU 7654321000 of cgroup"}
			if got := described(snap); !slices.Equal(got, want) {
				t.Errorf("in %s\n got %s\nwant %s", outer, got, want)
			}
		}
	}
}

// TestRandomHosts: on random hosts no name that is made inside a container becomes a
// container, and all processes are in one container or in none.
func TestRandomHosts(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 12
	}
	for round := range rounds {
		r := rand.New(rand.NewPCG(18, uint64(round)))
		version := []string{"v1", "v2", "hybrid"}[r.IntN(3)]
		id := func() string { return fmt.Sprintf("%016x%048x", r.Uint64(), r.Uint64()) }
		name := func(id string) string {
			return []string{
				"docker/" + id, "system.slice/docker-" + id + ".scope", "machine.slice/libpod-" + id + ".scope",
				"kubepods/pod1/crio-" + id, "lxc.payload.n" + id[:6], "machine.slice/machine-n" + id[:6] + ".scope",
				"user.slice/user-7.slice/libpod-" + id + ".scope", "kubepods.slice/cri-containerd-" + id + ".scope",
			}[r.IntN(8)]
		}
		plain := func() string {
			return []string{"", "/init.scope", "/system.slice/ssh.service", "/docker", "/a/b", "/mine/" + id(), "/x-" + id()}[r.IntN(7)]
		}
		h := populate(t, hierarchiesOf(version))
		outer := map[string]bool{}
		var live []string
		shims := map[string]int{}
		pid := 10
		add := func(p hosttree.Process) {
			p.Start = uint64(100_000 + p.PID)
			if p.Cgroup == "" {
				p.Cgroup = "/"
			}
			h.start(p)
		}
		for range 1 + r.IntN(6) {
			one := id()
			at := "/" + name(one)
			c, ok := shared.FindCgroup(at)
			if !ok {
				t.Fatalf("%s has no name", at)
			}
			outer[c.ID] = true
			live = append(live, at)
			parent := 1
			if r.IntN(2) == 0 && shared.IsFullID(c.ID) && c.User == 0 {
				pid++
				add(hosttree.Process{PID: pid, Comm: "shim", Parent: 1, Cgroup: "/system.slice/containerd.service"})
				h.shim(pid, "/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-id", c.ID)
				parent, shims[c.ID] = pid, pid
			}
			for range 1 + r.IntN(4) {
				pid++
				below := ""
				switch r.IntN(3) {
				case 0:
					below = plain()
				case 1:
					below = "/" + name(id()) + plain()
				}
				add(hosttree.Process{PID: pid, Comm: "app", Parent: parent, Cgroup: at + below})
				if parent = pid; r.IntN(2) == 0 {
					parent = 1
				}
			}
		}
		for range r.IntN(8) { // of the host
			pid++
			add(hosttree.Process{PID: pid, Comm: "service", Parent: 1, Cgroup: plain()})
		}
		s := onTree(t, h.Tree)
		for step := range 3 {
			snap := snapshot(t, s)
			var sum [3]uint64
			fields := []source.Field{source.Processes, source.Threads, source.RSS}
			for i := range snap.Containers {
				c := &snap.Containers[i]
				if !outer[c.ID] {
					t.Errorf("round %d: %s is a container, in %s", round, c.ID, c.Cgroup)
				}
				for k, f := range fields {
					v, _ := c.Get(f)
					sum[k] += v
				}
				if shim, known := shims[c.ID]; known && step == 0 {
					if pid, _ := c.Get(source.PID); pid != uint64(shim) {
						t.Errorf("round %d: %s is of %d, want its shim %d", round, c.ID, pid, shim)
					}
				}
			}
			if step == 0 && len(snap.Containers) != len(outer) {
				t.Errorf("round %d: %d containers, want %d:\n%s", round, len(snap.Containers), len(outer), strings.Join(described(snap), "\n"))
			}
			for k, parts := range [][2]source.HostField{
				{source.HostProcesses, source.UnattributedProcesses}, {source.HostThreads, source.UnattributedThreads}, {source.HostRSS, source.UnattributedRSS},
			} {
				all, _ := snap.Host.Get(parts[0])
				rest, _ := snap.Host.Get(parts[1])
				if sum[k]+rest != all {
					t.Errorf("round %d: %s of containers %d, of others %d, of all %d", round, fields[k].Info().Key, sum[k], rest, all)
				}
			}
			h.live = true // and move some
			for range 3 {
				if p := 11 + r.IntN(pid-10); s.processes.byPID[p] != nil && s.processes.byPID[p].self == nil {
					h.move(live[r.IntN(len(live))]+plain(), "all", p)
				}
			}
		}
		if t.Failed() {
			return
		}
	}
}
