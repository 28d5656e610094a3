// Package hosttree creates directories that look like a host's /proc and cgroup file
// systems, for tests and benchmarks, with any number of containers in any layout.
package hosttree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Layout describes the cgroups of a host.
type Layout struct {
	V1      []string // directories of the v1 hierarchies ("cpu,cpuacct"); none: pure v2
	V2      bool     // a v2 hierarchy: at the root, or in "unified" next to v1 ones
	Path    string   // cgroup of a container, with %s for its id
	Below   string   // its sub-group with the processes ("/init.scope"), or ""
	Shim    string   // cgroup of the shims
	NS      string   // containerd namespace
	ShimUID int      // user of the shims
}

// v1 returns the v1 hierarchies of a typical host.
func v1() []string { return []string{"cpu,cpuacct", "memory", "blkio", "pids", "systemd"} }

// Layouts are the layouts of real hosts, by name.
func Layouts() map[string]Layout {
	return map[string]Layout{
		"v1-cgroupfs":         {V1: v1(), Path: "/docker/%s", Shim: "/", NS: "moby"},
		"v1-systemd":          {V1: v1(), Path: "/system.slice/docker-%s.scope", Shim: "/system.slice/containerd.service", NS: "moby"},
		"hybrid-cgroupfs":     {V1: v1(), V2: true, Path: "/docker/%s", Shim: "/", NS: "moby"},
		"hybrid-systemd":      {V1: v1(), V2: true, Path: "/system.slice/docker-%s.scope", Shim: "/system.slice/containerd.service", NS: "moby"},
		"v2-cgroupfs":         {V2: true, Path: "/docker/%s", Shim: "/system.slice/docker.service", NS: "moby"},
		"v2-systemd":          {V2: true, Path: "/system.slice/docker-%s.scope", Shim: "/system.slice/containerd.service", NS: "moby"},
		"v2-nested":           {V2: true, Path: "/system.slice/docker-%s.scope", Below: "/init.scope", Shim: "/system.slice/containerd.service", NS: "moby"},
		"v1-docker-in-docker": {V1: v1(), Path: "/docker/" + strings.Repeat("d", 64) + "/docker/%s", Shim: "/docker/" + strings.Repeat("d", 64), NS: "moby"},
		"containerd":          {V2: true, Path: "/default/%s", Shim: "/system.slice/containerd.service", NS: "default"},
		"kubernetes-systemd": {
			V2: true, Path: "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_0000_4111_8222_333344445555.slice/cri-containerd-%s.scope",
			Shim: "/system.slice/containerd.service", NS: "k8s.io",
		},
		"kubernetes-cgroupfs": {
			V1: v1(), Path: "/kubepods/besteffort/pod0a1b2c3d-0000-4111-8222-333344445555/%s",
			Shim: "/system.slice/containerd.service", NS: "k8s.io",
		},
		"rootless": {
			V2: true, Path: "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-%s.scope",
			Shim: "/user.slice/user-1000.slice/user@1000.service/app.slice/docker.service", NS: "moby", ShimUID: 1000,
		},
		"rootless-no-cgroups": {
			V2: true, Path: "/user.slice/user-1000.slice/user@1000.service/app.slice/docker.service",
			Shim: "/user.slice/user-1000.slice/user@1000.service/app.slice/docker.service", NS: "moby", ShimUID: 1000,
		},
	}
}

// Container is one container of a tree.
type Container struct {
	ID        string
	ShimPID   int
	Processes []int  // PIDs: first the init process, then its children
	Start     uint64 // ticks since boot
	HostNet   bool   // in the network namespace of the host
	// Brought are other children of the shim with their cgroups: processes of docker
	// exec, or other containers of a pod.
	Brought map[int]string
}

// Numbered returns the n-th of many containers, with two processes and a unique id and
// PIDs.
func Numbered(n int) Container {
	pid := 1000 + 3*n
	return Container{
		ID: fmt.Sprintf("%012x%052x", uint64(n+1)*0x9e3779b97f4a%0xffffffffffff, n), ShimPID: pid,
		Processes: []int{pid + 1, pid + 2}, Start: 100_000 + uint64(n),
	}
}

// Tree is a host made of files.
type Tree struct {
	Proc   string // its /proc
	Cgroup string // its /sys/fs/cgroup
	same   string // directory of the files that are hard-linked everywhere
	files  map[string][]string
	layout Layout
}

// New creates a host without containers in dir: eight CPUs, 16 GB, booted in 2026, with
// an init process only.
func New(dir string, l Layout) (*Tree, error) {
	t := &Tree{Proc: filepath.Join(dir, "proc"), Cgroup: filepath.Join(dir, "cgroup"), same: filepath.Join(dir, "same"), files: perController(), layout: l}
	files := map[string]string{
		filepath.Join(t.Proc, "meminfo"): "MemTotal:       16000000 kB\nMemFree:         4000000 kB\nMemAvailable:    9000000 kB\nSwapTotal:       1000000 kB\nSwapFree:         900000 kB\n",
		filepath.Join(t.Proc, "stat"):    hostStat(),
		filepath.Join(t.Proc, "1/stat"):  stat(1, "systemd", 0, 1),
	}
	for name, content := range contents() {
		files[filepath.Join(t.same, name)] = content
	}
	if l.V2 {
		files[filepath.Join(t.v2(), "cgroup.controllers")] = "cpu io memory pids\n"
	}
	for name, content := range files {
		if err := write(name, content); err != nil {
			return nil, err
		}
	}
	for _, h := range l.V1 {
		if err := os.MkdirAll(filepath.Join(t.Cgroup, h), 0o755); err != nil {
			return nil, err
		}
	}
	return t, t.namespace(1, "net:[4026531840]")
}

// Many creates a host with a hybrid layout and n numbered containers, in /dev/shm if it
// exists. remove removes it.
func Many(n int) (t *Tree, remove func(), err error) {
	dir, err := os.MkdirTemp("/dev/shm", "estiba-tree")
	if err != nil {
		if dir, err = os.MkdirTemp("", "estiba-tree"); err != nil {
			return nil, nil, err
		}
	}
	remove = func() { os.RemoveAll(dir) }
	t, err = New(dir, Layouts()["hybrid-cgroupfs"])
	for i := 0; i < n && err == nil; i++ {
		err = t.Add(Numbered(i))
	}
	if err != nil {
		remove()
		return nil, nil, err
	}
	return t, remove, nil
}

// Add adds a container.
func (t *Tree) Add(c Container) error {
	own := strings.ReplaceAll(t.layout.Path, "%s", c.ID)
	shim := map[string]string{
		"stat": stat(c.ShimPID, "containerd-shim", 1, c.Start-10),
		"status": fmt.Sprintf("Name:\tcontainerd-shim\nUid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d\nNSpid:\t%[2]d\n",
			t.layout.ShimUID, c.ShimPID),
		"cmdline": "/usr/bin/containerd-shim-runc-v2\x00-namespace\x00" + t.layout.NS +
			"\x00-id\x00" + c.ID + "\x00-address\x00/run/containerd/containerd.sock\x00",
		"cgroup": t.membership(t.layout.Shim),
	}
	if err := t.process(c.ShimPID, shim, "net:[4026531840]"); err != nil {
		return err
	}
	if err := os.Symlink("/usr/bin/containerd-shim-runc-v2", t.Process(c.ShimPID, "exe")); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	net := fmt.Sprintf("net:[%d]", 4026540000+c.ShimPID)
	if c.HostNet {
		net = "net:[4026531840]"
	}
	for i, pid := range c.Processes {
		comm, parent := "app", c.ShimPID
		if i > 0 {
			comm, parent = "worker (1)", c.Processes[0]
		}
		if err := t.member(pid, comm, parent, c.Start+uint64(i), own+t.layout.Below, net); err != nil {
			return err
		}
	}
	for pid, at := range c.Brought {
		if err := t.member(pid, "brought", c.ShimPID, c.Start+100, at, net); err != nil {
			return err
		}
		if err := t.Group(at); err != nil {
			return err
		}
	}
	return t.Group(own)
}

// Process is a process outside the containers of Add: of a runtime without a shim, of a
// virtual machine.
type Process struct {
	PID    int
	Comm   string
	Parent int
	Start  uint64 // ticks since boot
	Cgroup string // in all hierarchies
	Net    int    // its network namespace; 0: the host's
}

// Start creates a process. Its cgroup need not exist, see Group.
func (t *Tree) Start(p Process) error {
	net := "net:[4026531840]"
	if p.Net != 0 {
		net = fmt.Sprintf("net:[%d]", p.Net)
	}
	return t.member(p.PID, p.Comm, p.Parent, p.Start, p.Cgroup, net)
}

// member creates a process of a container.
func (t *Tree) member(pid int, comm string, parent int, start uint64, cgroup, net string) error {
	files := map[string]string{"stat": stat(pid, comm, parent, start), "cgroup": t.membership(cgroup)}
	if err := t.process(pid, files, net); err != nil {
		return err
	}
	if err := t.link("io", t.Process(pid, "io")); err != nil {
		return err
	}
	return t.link("dev", t.Process(pid, "net/dev"))
}

// Group creates a cgroup.
func (t *Tree) Group(path string) error {
	for controller, dir := range t.folders(path) {
		for _, file := range t.files[controller] {
			if err := t.link(controller+"/"+file, filepath.Join(dir, file)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Remove removes a container.
func (t *Tree) Remove(c Container) error {
	gone := []string{t.Process(c.ShimPID, "")}
	for _, pid := range c.Processes {
		gone = append(gone, t.Process(pid, ""))
	}
	for pid := range c.Brought {
		gone = append(gone, t.Process(pid, ""))
	}
	for _, dir := range t.folders(strings.ReplaceAll(t.layout.Path, "%s", c.ID)) {
		gone = append(gone, dir)
	}
	for _, name := range gone {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}

// Process is the path of a file of a process.
func (t *Tree) Process(pid int, file string) string {
	return filepath.Join(t.Proc, fmt.Sprint(pid), file)
}

// Folder is the directory of a container's cgroup for a controller; "v2" is the v2
// hierarchy.
func (t *Tree) Folder(c Container, controller string) string {
	return t.folders(strings.ReplaceAll(t.layout.Path, "%s", c.ID))[controller]
}

func (t *Tree) v2() string {
	if len(t.layout.V1) > 0 {
		return filepath.Join(t.Cgroup, "unified")
	}
	return t.Cgroup
}

// folders maps controllers to the directories of a cgroup.
func (t *Tree) folders(path string) map[string]string {
	m := map[string]string{}
	for _, h := range t.layout.V1 {
		for _, controller := range strings.Split(h, ",") {
			m[controller] = filepath.Join(t.Cgroup, h, path)
		}
	}
	if t.layout.V2 {
		m["v2"] = filepath.Join(t.v2(), path)
		if len(t.layout.V1) > 0 { // then v1 has the controllers
			m["hybrid"] = m["v2"]
			delete(m, "v2")
		}
	}
	return m
}

// membership is the content of /proc/PID/cgroup.
func (t *Tree) membership(path string) string {
	var b strings.Builder
	for i, h := range t.layout.V1 {
		name := h
		if h == "systemd" {
			name = "name=systemd"
		}
		fmt.Fprintf(&b, "%d:%s:%s\n", len(t.layout.V1)-i, name, path)
	}
	if t.layout.V2 {
		fmt.Fprintf(&b, "0::%s\n", path)
	}
	return b.String()
}

func (t *Tree) process(pid int, files map[string]string, net string) error {
	for name, content := range files {
		if err := write(t.Process(pid, name), content); err != nil {
			return err
		}
	}
	if err := write(t.Process(pid, "statm"), statm); err != nil {
		return err
	}
	return t.namespace(pid, net)
}

func (t *Tree) namespace(pid int, net string) error {
	name := t.Process(pid, "ns/net")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(net, name); !os.IsExist(err) {
		return err
	}
	return nil
}

func (t *Tree) link(same, name string) error {
	err := os.Link(filepath.Join(t.same, same), name)
	if os.IsExist(err) { // two containers share a cgroup
		return nil
	}
	if os.IsNotExist(err) {
		if err = os.MkdirAll(filepath.Dir(name), 0o755); err == nil {
			err = os.Link(filepath.Join(t.same, same), name)
		}
	}
	return err
}

func write(name, content string) error {
	err := os.WriteFile(name, []byte(content), 0o644)
	if os.IsNotExist(err) {
		if err = os.MkdirAll(filepath.Dir(name), 0o755); err == nil {
			err = os.WriteFile(name, []byte(content), 0o644)
		}
	}
	return err
}

// stat is the content of /proc/PID/stat: 12 and 3 faults, 1.5 s of CPU time, 2 threads,
// 8 MB and 256 pages.
func stat(pid int, comm string, parent int, start uint64) string {
	return fmt.Sprintf("%d (%s) S %d %d %d 0 -1 4194560 10 2 3 0 100 50 0 0 20 0 2 0 %d 8388608 256 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		pid, comm, parent, pid, pid, start)
}

// statm is the content of /proc/PID/statm, with the memory of stat in pages.
const statm = "2048 256 128 10 0 300 0\n"

func hostStat() string {
	var b strings.Builder
	b.WriteString("cpu  800000 0 400000 8000000 8000 0 4000 0 0 0\n")
	for i := range 8 {
		fmt.Fprintf(&b, "cpu%d 100000 0 50000 1000000 1000 0 500 0 0 0\n", i)
	}
	b.WriteString("intr 1\nctxt 2\nbtime 1780000000\nprocesses 5000\nprocs_running 2\nprocs_blocked 0\nsoftirq 10 1 1 1 1 1 1 1 1 1 1\n")
	return b.String()
}
