package cgroup

import (
	"bytes"
	"errors"
	"hash/fnv"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/cgroupfile"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
	"github.com/estiba/estiba/exporter/source/kmod"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// treeKernel is the kernel of a tree: its passes say what the files of the tree do.
type treeKernel struct {
	t      testing.TB
	tree   *hosttree.Tree
	change func(*Pass) // nil: none
	passes int
}

func (k *treeKernel) Ready() error { return nil }

func (k *treeKernel) Read() (*Pass, error) {
	k.passes++
	pass := &Pass{HasIO: true, HasPressure: true}
	h := newHierarchies(k.tree.Cgroup)
	h.find()
	seen := map[uint64]bool{}
	dirs, err := filepath.Glob(k.tree.Proc + "/[0-9]*")
	if err != nil {
		return nil, err
	}
	byPID := map[int]string{}
	most := 0
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil {
			byPID[pid], most = dir, max(most, pid)
		}
	}
	for pid := range most + 1 {
		dir, ok := byPID[pid]
		if !ok {
			continue
		}
		b, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue
		}
		is, err := procfile.ParseStat(b, "")
		if err != nil {
			k.t.Fatal(err)
		}
		p := KernelProcess{
			PID: is.PID, Parent: is.Parent, Start: is.Start*tickNS + 1, Threads: is.Threads, RSS: is.RSS, VSZ: is.VSZ / uint64(os.Getpagesize()),
			Minor: is.Minor, Major: is.Major, User: is.User * tickNS, System: is.System * tickNS, Runtime: (is.User + is.System) * tickNS,
		}
		copy(p.Name[:], is.Comm)
		if is.State == 'Z' {
			p.Exit = exitZombie
		}
		if b, err := os.ReadFile(dir + "/statm"); err == nil {
			if _, p.RSS, err = procfile.ParseStatm(b); err != nil {
				k.t.Fatal(err)
			}
		}
		if b, err := os.ReadFile(dir + "/io"); err == nil {
			if p.IO, err = procfile.ParseIO(b); err != nil {
				k.t.Fatal(err)
			}
		}
		at, err := os.ReadFile(dir + "/cgroup")
		if err != nil {
			at = []byte("0::/\n")
		}
		sum := fnv.New64()
		sum.Write(at)
		p.Set = sum.Sum64()
		pass.Processes = append(pass.Processes, p)
		if !seen[p.Set] {
			seen[p.Set] = true
			k.group(pass, h, p.Set, procfile.ParseMembership(at))
		}
	}
	if k.change != nil {
		k.change(pass)
	}
	return pass, nil
}

// group adds a combination of cgroups.
func (k *treeKernel) group(pass *Pass, h *hierarchies, set uint64, m membership) {
	page := uint64(os.Getpagesize())
	g := KernelGroup{Set: set, Hash: set}
	folder := func(controller int) string {
		if h.roots[controller] == "" {
			controller = unified
		}
		return path.Join(h.roots[controller], m[controllers()[controller]])
	}
	read := func(controller int, name string) []byte {
		b, err := os.ReadFile(path.Join(folder(controller), name))
		if err != nil {
			return nil
		}
		return b
	}
	value := func(b []byte, key string, unit uint64) uint64 {
		v, _, _ := cgroupfile.Value(b, key, unit)
		return v
	}
	first := func(files ...[]byte) []byte {
		for _, b := range files {
			if b != nil {
				return b
			}
		}
		return nil
	}
	single := func(files ...[]byte) uint64 {
		v, _ := cgroupfile.Number(first(files...))
		return v
	}
	if h.roots[unified] != "" {
		g.Unified.ID = inodeOf(folder(unified))
		b := read(unified, "cpu.stat")
		g.Unified.HasTimes = b != nil
		g.Unified.Runtime, g.Unified.User, g.Unified.System = value(b, "usage_usec", 1000), value(b, "user_usec", 1000), value(b, "system_usec", 1000)
		if b := read(unified, "io.pressure"); b != nil {
			g.Unified.HasPressure = true
			for i, name := range []string{"io", "memory", "cpu"} {
				g.Unified.Pressure[i], _ = cgroupfile.Waited(read(unified, name+".pressure"))
			}
		}
	}
	if b := read(cpu, "cpu.stat"); strings.Contains(string(b), "nr_periods") {
		g.CPU.ID, g.CPU.Unified = inodeOf(folder(cpu)), h.roots[cpu] == ""
		g.CPU.Periods, g.CPU.ThrottledPeriods = value(b, "nr_periods", 1), value(b, "nr_throttled", 1)
		g.CPU.Throttled, _, _ = cgroupfile.Throttled(b)
		l, ok := cgroupfile.CPUMax(read(cpu, "cpu.max"))
		if !ok {
			l, _ = cgroupfile.CFS(read(cpu, "cpu.cfs_quota_us"), read(cpu, "cpu.cfs_period_us"))
		}
		if g.CPU.Period, g.CPU.Quota = l.Period, l.Quota; !l.Limited {
			g.CPU.Quota = NoQuota
		}
	}
	if use := first(read(memory, "memory.current"), read(memory, "memory.usage_in_bytes")); use != nil {
		is := &g.Memory
		is.ID, is.Usage, is.HasInactive, is.Unified = inodeOf(folder(memory)), single(use)/page, true, h.roots[memory] == ""
		limit, limited, _ := cgroupfile.Limit(first(read(memory, "memory.max"), read(memory, "memory.limit_in_bytes")))
		if is.Max = limit / page; !limited {
			is.Max = (1<<63 - 1) / page
		}
		is.Swap = single(read(memory, "memory.swap.current")) / page
		is.OOMKills = value(first(read(memory, "memory.events"), read(memory, "memory.oom_control")), "oom_kill", 1)
		key := "inactive_file"
		if h.roots[memory] != "" {
			key = "total_inactive_file"
		}
		is.InactiveFile = value(read(memory, "memory.stat"), key, 1) / page
	}
	if use := read(cpuacct, "cpuacct.usage"); use != nil {
		g.Cpuacct.HasTimes = true
		g.Cpuacct.ID, g.Cpuacct.Usage = inodeOf(folder(cpuacct)), single(use)
		g.Cpuacct.User, g.Cpuacct.System = single(read(cpuacct, "cpuacct.usage_user")), single(read(cpuacct, "cpuacct.usage_sys"))
	}
	if b := read(unified, "io.stat"); b != nil && h.roots[unified] != "" && h.roots[blkio] == "" {
		g.IO.ID, g.IO.HasDevices, g.IO.Unified = inodeOf(folder(unified)), true, true
		list, _ := cgroupfile.IOStat(b)
		for _, d := range list {
			pass.Devices = append(pass.Devices, KernelDevice{Group: g.IO.ID, Major: d.Major, Minor: d.Minor, Read: d.Read, Written: d.Written})
		}
	}
	pass.Groups = append(pass.Groups, g)
}

// withKernel returns a source with the kernel of a tree.
func withKernel(t testing.TB, tr *hosttree.Tree, change func(*Pass)) (*Source, *treeKernel) {
	k := &treeKernel{t: t, tree: tr, change: change}
	return onTree(t, tr, func(c *Config) { c.Kernel = k }), k
}

// TestKernelLayouts: passes and files make the same document.
func TestKernelLayouts(t *testing.T) {
	for name, layout := range hosttree.Layouts() {
		t.Run(name, func(t *testing.T) {
			hostNet := hosttree.Numbered(1)
			hostNet.HostNet = true
			tr := newTree(t, name, hosttree.Numbered(0), hostNet)
			k := &treeKernel{t: t, tree: tr}
			var texts [2]string
			for i, kernel := range []Kernel{nil, k} {
				s := onTree(t, tr, func(c *Config) { c.Owner, c.Kernel = layout.ShimUID, kernel })
				snapshot(t, s)
				var got bytes.Buffer
				snap := snapshot(t, s)
				if want := []string{source.Cgroup, source.BPF}[i]; snap.Source != want {
					t.Errorf("source %s, want %s", snap.Source, want)
				}
				if err := kmod.Write(&got, snap); err != nil {
					t.Fatal(err)
				}
				texts[i] = strings.ReplaceAll(varying.ReplaceAllString(got.String(), ""), ",", "\n")
			}
			if texts[0] != texts[1] {
				a, b := strings.Split(texts[0], "\n"), strings.Split(texts[1], "\n")
				for i := range min(len(a), len(b)) {
					if a[i] != b[i] {
						t.Errorf("files %s, kernel %s", a[i], b[i])
					}
				}
				if len(a) != len(b) {
					t.Errorf("files\n%s\nkernel\n%s", texts[0], texts[1])
				}
			}
		})
	}
}

// What depends on the time, or is only known to the tick from files.
var varying = regexp.MustCompile(`"(collect_ns|sequence)":"\d+"`)

// TestKernelNumberReused: the number of a combination of cgroups comes again for another
// one. Its processes are in the container of their new cgroups.
func TestKernelNumberReused(t *testing.T) {
	a, b := hosttree.Numbered(0), hosttree.Numbered(1)
	tr := newTree(t, "v2-systemd", a)
	one := func(pass *Pass) {
		for i := range pass.Processes {
			for g := range pass.Groups {
				if p := &pass.Processes[i]; pass.Groups[g].Set == p.Set && strings.HasPrefix(string(p.Name[:]), "app") {
					pass.Groups[g].Set, p.Set = 7, 7
				}
			}
			if p := &pass.Processes[i]; strings.HasPrefix(string(p.Name[:]), "app") {
				p.Set = 7
			}
		}
	}
	s, _ := withKernel(t, tr, one)
	if snap := snapshot(t, s); len(snap.Containers) != 1 || snap.Containers[0].ID != a.ID {
		t.Fatalf("%+v", snap.Containers)
	}
	if err := tr.Add(b); err != nil { // before: cgroups never have the same id
		t.Fatal(err)
	}
	if err := tr.Remove(a); err != nil {
		t.Fatal(err)
	}
	snap := snapshot(t, s)
	if len(snap.Containers) != 1 || snap.Containers[0].ID != b.ID || !strings.Contains(snap.Containers[0].Cgroup, b.ID) {
		t.Errorf("%+v", snap.Containers)
	}
}

// TestKernelForgets: combinations of cgroups that nobody is in are forgotten.
func TestKernelForgets(t *testing.T) {
	n := uint64(0)
	s, _ := withKernel(t, newTree(t, "v2-systemd", hosttree.Numbered(0)), func(pass *Pass) {
		for i := range pass.Processes {
			pass.Processes[i].Set += n
		}
		for i := range pass.Groups {
			pass.Groups[i].Set += n
		}
	})
	groups := 0
	for range 100 {
		snapshot(t, s)
		groups = len(s.groups.bySet)
		n++
	}
	if got := len(s.processes.sets); got > 3*groups {
		t.Errorf("%d combinations are remembered, %d are in use", got, groups)
	}
}

// TestKernelTorn: what is missing from one pass does not lower a counter, nor is it counted
// again when it is there.
func TestKernelTorn(t *testing.T) {
	for _, layout := range []string{"v2-systemd", "v1-systemd"} {
		torn := false
		s, _ := withKernel(t, newTree(t, layout, hosttree.Numbered(0)), func(pass *Pass) {
			if !torn {
				return
			}
			for i := range pass.Processes {
				p := &pass.Processes[i]
				p.Runtime, p.User, p.Minor = p.Runtime/2, p.User/2, p.Minor/2
				p.IO[procfile.ReadChars] /= 2
			}
			for i := range pass.Groups {
				g := &pass.Groups[i]
				g.Unified.Runtime, g.Unified.User, g.Cpuacct.Usage = g.Unified.Runtime/2, g.Unified.User/2, g.Cpuacct.Usage/2
			}
		})
		fields := []source.Field{source.CPU, source.CPUUser, source.CPUSystem, source.MinorFaults, source.IOReadBytes}
		numbers := func() (all []uint64) {
			snap := snapshot(t, s)
			for _, f := range fields {
				v, _ := snap.Containers[0].Get(f)
				all = append(all, v)
			}
			return all
		}
		want := numbers()
		for _, torn = range []bool{true, false} {
			got := numbers()
			for i, f := range fields {
				if got[i] != want[i] {
					t.Errorf("%s, torn %v: %s is %d, want %d", layout, torn, f.Info().Key, got[i], want[i])
				}
			}
		}
	}
}

// TestKernelRecycled: a process with the PID of another is another.
func TestKernelRecycled(t *testing.T) {
	c := hosttree.Numbered(0)
	later := uint64(0)
	s, _ := withKernel(t, newTree(t, "v2-systemd", c), func(pass *Pass) {
		for i := range pass.Processes {
			if p := &pass.Processes[i]; p.PID == c.Processes[0] {
				p.Start += later
				if later > 0 {
					p.Minor = 1
				}
			}
		}
	})
	before, _ := snapshot(t, s).Containers[0].Get(source.MinorFaults)
	later = 50 * tickNS
	if after, _ := snapshot(t, s).Containers[0].Get(source.MinorFaults); after != before+1 {
		t.Errorf("%d faults after %d, want one more", after, before)
	}
}

// TestKernelIncomplete: a process whose threads a pass has not summed has the counters of its
// files.
func TestKernelIncomplete(t *testing.T) {
	c := hosttree.Numbered(0)
	tr := newTree(t, "rootless-no-cgroups", c)
	var incomplete func(*Pass)
	numbers := func() [source.NumFields]uint64 {
		k := &treeKernel{t: t, tree: tr, change: incomplete}
		s := onTree(t, tr, func(config *Config) {
			config.Owner, config.Kernel = hosttree.Layouts()["rootless-no-cgroups"].ShimUID, k
		})
		var all [source.NumFields]uint64
		snap := snapshot(t, s)
		for f := range all {
			all[f], _ = snap.Containers[0].Get(source.Field(f))
		}
		return all
	}
	want := numbers()
	incomplete = func(pass *Pass) {
		for i := range pass.Processes {
			p := &pass.Processes[i]
			p.Incomplete, p.User, p.System, p.Runtime, p.Minor, p.Major = true, 0, 0, 0, 0, 0
			p.IO = [procfile.NumIO]uint64{}
		}
	}
	got := numbers()
	for f := range got {
		if got[f] != want[f] {
			t.Errorf("%s is %d, want %d", source.Field(f).Info().Key, got[f], want[f])
		}
	}
}

// TestKernelMoves: a process that moves, or begins to exit, between the pass and the reading
// of its file takes nobody along.
func TestKernelMoves(t *testing.T) {
	for name, file := range map[string]func(a, b hosttree.Container, text string) string{
		"into another container": func(a, b hosttree.Container, text string) string { return strings.ReplaceAll(text, a.ID, b.ID) },
		"to its exit": func(_, _ hosttree.Container, text string) string {
			return regexp.MustCompile(`(?m)^([1-9]\d*:[^:]*):.*$`).ReplaceAllString(text, "$1:/")
		},
	} {
		for _, layout := range []string{"v1-systemd", "hybrid-systemd", "v2-systemd"} {
			a, b := hosttree.Numbered(0), hosttree.Numbered(1)
			tr := newTree(t, layout, a, b)
			moves := a.Processes[0]
			done := false
			s, _ := withKernel(t, tr, func(*Pass) {
				if done {
					return
				}
				done = true
				edit(t, tr.Process(moves, "cgroup"), func(text string) string { return file(a, b, text) })
				if name == "to its exit" {
					edit(t, tr.Process(moves, "stat"), func(text string) string { return strings.Replace(text, " 4194560 ", " 4194564 ", 1) })
				}
			})
			snap := snapshot(t, s)
			for i, want := range []hosttree.Container{a, b} {
				one := &snap.Containers[i]
				if one.ID != want.ID || !strings.Contains(one.Cgroup, want.ID) {
					t.Errorf("%s, %s: %s in cgroup %s, want %s", name, layout, one.ID, one.Cgroup, want.ID)
				}
				if _, ok := one.Get(source.MemoryLimit); !ok {
					t.Errorf("%s, %s: no memory limit of %s", name, layout, one.ID)
				}
				if _, ok := one.Get(source.CPUQuota); !ok && name == "to its exit" {
					t.Errorf("%s, %s: no CPU limit of %s", name, layout, one.ID)
				}
			}
		}
	}
}

// TestKernelExits: a process of many threads that exits during a snapshot takes nobody along.
func TestKernelExits(t *testing.T) {
	c := hosttree.Numbered(0)
	tr := newTree(t, "v2-systemd", c)
	last := c.Processes[len(c.Processes)-1]
	s, _ := withKernel(t, tr, func(pass *Pass) {
		for i := range pass.Processes {
			pass.Processes[i].Incomplete = pass.Processes[i].PID == last
		}
		if err := os.RemoveAll(tr.Process(last, "")); err != nil {
			t.Fatal(err)
		}
	})
	if snap := snapshot(t, s); len(snap.Containers) != 1 {
		t.Errorf("%d containers, want 1", len(snap.Containers))
	}
}

// TestKernelFirst: process 1 is not in each pass.
func TestKernelFirst(t *testing.T) {
	hidden := true
	s, _ := withKernel(t, newTree(t, "v2-systemd", hosttree.Numbered(0)), func(pass *Pass) {
		pass.Processes = slices.DeleteFunc(pass.Processes, func(p KernelProcess) bool { return hidden && p.PID == 1 })
	})
	want, _ := snapshot(t, s).Host.Get(source.HostProcesses)
	for _, hidden = range []bool{false, true} {
		if got, ok := snapshot(t, s).Host.Get(source.HostProcesses); got != want || !ok {
			t.Errorf("hidden %v: %d processes, want %d", hidden, got, want)
		}
	}
}

// TestKernelPrivate: in a cgroup namespace paths are relative to the own container, which is
// found by itself.
func TestKernelPrivate(t *testing.T) {
	root := t.TempDir()
	at := filepath.Join(root, "kubepods", "other")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &Source{hierarchies: newHierarchies(root)}
	h := s.hierarchies
	h.roots[unified], h.private = root, true
	h.note(membership{"": "/../other"})
	g := &KernelGroup{}
	g.Unified.ID = inodeOf(at)
	if m := (membership{"": "/../other"}); s.verify(m, g) {
		t.Error("verified before the own container is known")
	}
	h.self.path, h.ups[""] = "/kubepods/own", 2
	for path, want := range map[string]bool{"/../other": true, "/": false, "/../own": false} {
		if got := s.verify(membership{"": path}, g); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

// TestKernelHierarchies: ids are unique within a hierarchy only.
func TestKernelHierarchies(t *testing.T) {
	s := &Source{}
	pass := &Pass{Groups: make([]KernelGroup, 1)}
	g := &pass.Groups[0]
	g.Unified.ID, g.CPU.ID, g.Memory.ID, g.IO.ID = 5, 5, 5, 5
	s.groups.take(pass)
	c := &container{}
	c.inodes[unified] = 5
	for _, controller := range []int{cpu, memory, blkio} {
		if s.group(c, controller) != nil {
			t.Errorf("%s of another hierarchy", controllers()[controller])
		}
	}
	if s.group(c, unified) != g {
		t.Error("not found")
	}
}

// TestKernelReaped: a child that its parent reaped between the visits of both is counted
// once, in its parent.
func TestKernelReaped(t *testing.T) {
	c := hosttree.Numbered(0)
	parent := c.Processes[0]
	s, k := withKernel(t, newTree(t, "v2-systemd", c), nil)
	want, _ := snapshot(t, s).Containers[0].Get(source.MinorFaults)
	passes := k.passes
	k.change = func(pass *Pass) {
		if k.passes > passes+1 {
			return // it is gone
		}
		for i := range pass.Processes {
			if p := &pass.Processes[i]; p.PID == parent {
				child := *p
				child.PID, child.Parent, child.Minor = 1<<22-1, 1<<22, 1000
				p.PID = 1 << 22
				pass.Processes = append(pass.Processes, child)
			}
		}
	}
	snap := snapshot(t, s)
	if got, _ := snap.Containers[0].Get(source.MinorFaults); got != want {
		t.Errorf("%d faults, want %d", got, want)
	}
	if ended, _ := snap.Host.Get(source.EndedCPU); ended != 0 {
		t.Errorf("%d ns of CPU time of containers that ended, want none", ended)
	}
	if k.passes != passes+2 {
		t.Errorf("%d passes, want 2", k.passes-passes)
	}
}

// absentKernel is a kernel that this host does not have.
type absentKernel struct{ treeKernel }

func (absentKernel) Ready() error { return source.ErrAbsent }

// TestKernelAbsent: for a kernel that is not there nothing is read.
func TestKernelAbsent(t *testing.T) {
	s := onTree(t, newTree(t, "v2-systemd", hosttree.Numbered(0)), func(c *Config) { c.Kernel = &absentKernel{} })
	s.reader.opening = func(path string) { t.Errorf("reads %s", path) }
	if _, err := s.Snapshot(t.Context()); !errors.Is(err, source.ErrAbsent) {
		t.Errorf("got %v, want %v", err, source.ErrAbsent)
	}
}
