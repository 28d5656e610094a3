package cgroup

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
	"github.com/estiba/estiba/exporter/source/kmod"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

const loadSource = `package main

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

func init() { runtime.LockOSThread() }

func main() {
	switch os.Args[1] {
	case "headless": // the main thread ends, another works on
		go func() {
			b := make([]byte, 48<<20)
			for i := 0; ; i++ {
				b[i%len(b)]++
			}
		}()
		time.Sleep(time.Second)
		syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
	case "cpu":
		for {
		}
	case "memory":
		b := make([]byte, 48<<20)
		for i := range b {
			b[i] = 1
		}
		time.Sleep(time.Hour)
		os.Stdout.Write(b[:1])
	case "children": // each writes a mebibyte, stays long enough to be seen on a busy machine, and ends; ten of them
		var children []*exec.Cmd
		for range 10 {
			c := exec.Command("/load", "child")
			if c.Start() == nil {
				children = append(children, c)
			}
			time.Sleep(300 * time.Millisecond)
		}
		for _, c := range children {
			c.Wait()
		}
		time.Sleep(time.Hour)
	case "child":
		f, err := os.Create("/child")
		if err != nil {
			os.Exit(1)
		}
		f.Write(make([]byte, 1<<20))
		f.Close()
		time.Sleep(5 * time.Second)
	}
}
`

const loadImage = "estiba-test/source-load:1"

func importLoad(t *testing.T, c *dockerclient.Client) {
	t.Helper()
	src := filepath.Join(t.TempDir(), "load.go")
	if err := os.WriteFile(src, []byte(loadSource), 0o644); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(testutil.Build(t, src))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "load", Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.ImportImage(context.Background(), &layer, loadImage, []string{`ENTRYPOINT ["/load"]`}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.RemoveImage(context.Background(), loadImage) })
}

// TestRealContainers compares the source with the kernel's files of the same container at
// the same time.
func TestRealContainers(t *testing.T) {
	testutil.Require(t, testutil.Docker, testutil.Root)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	docker, err := dockerclient.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	importLoad(t, docker)
	ids := map[string]string{}
	for _, kind := range []string{"cpu", "memory", "children"} {
		name := "estiba-test-source-" + kind
		docker.Remove(ctx, name)
		id, err := docker.Create(ctx, dockerclient.Spec{
			Name: name, Image: loadImage, Command: []string{kind}, CPUs: 0.3, MemoryBytes: 96 << 20,
			Networkless: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { docker.Remove(context.Background(), id) })
		if err := docker.Start(ctx, id); err != nil {
			t.Fatal(err)
		}
		ids[kind] = id
	}
	s, err := New(Config{ProcFS: "/proc", SysFS: "/sys", CgroupFS: "/sys/fs/cgroup"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	last := map[string]map[source.Field]uint64{}
	take := func() map[string]*source.Container {
		snap, err := s.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]*source.Container{}
		for kind, id := range ids {
			for i := range snap.Containers {
				if snap.Containers[i].ID == id {
					found[kind] = &snap.Containers[i]
				}
			}
			if c := found[kind]; c != nil {
				if last[kind] == nil {
					last[kind] = map[source.Field]uint64{}
				}
				for _, f := range []source.Field{
					source.CPU, source.CPUUser, source.CPUSystem, source.IOReadBytes, source.IOWriteBytes, source.IOReadCalls,
					source.IOWriteCalls, source.DiskRead, source.DiskWrite, source.MinorFaults, source.MajorFaults,
				} {
					if v, ok := c.Get(f); ok {
						if v < last[kind][f] {
							t.Errorf("%s: %s fell from %d to %d", kind, f.Info().Key, last[kind][f], v)
						}
						last[kind][f] = v
					}
				}
			}
		}
		return found
	}
	// Every exited child of "children" was seen at least once, and none of
	// what it wrote may be lost.
	testutil.Eventually(t, 60*time.Second, "all ten children's writes are counted", func() bool {
		c := take()["children"]
		if c == nil {
			return false
		}
		v, _ := c.Get(source.IOWriteBytes)
		processes, _ := c.Get(source.Processes)
		return v >= 10<<20 && processes == 1
	})
	if c := take()["children"]; c != nil {
		if v, _ := c.Get(source.IOWriteBytes); v > 15<<20 {
			t.Errorf("children wrote %d bytes: counted twice", v)
		}
	}
	testutil.Eventually(t, 60*time.Second, "a busy container's percentage near its limit, where the machine lets it", func() bool {
		found := take()
		cpu := found["cpu"]
		if cpu == nil || found["memory"] == nil {
			return false
		}
		percent, ok := cpu.Get(source.CPUPercent)
		return ok && percent > 500 && percent < 3600
	})
	for kind, id := range ids {
		before := kernelCPU(t, id)
		c := take()[kind]
		after := kernelCPU(t, id)
		// On a hybrid host the two are of different hierarchies, which the
		// runtime lets a process join one after the other: what it used in
		// between is in one of them only.
		const joining = 5e6
		if v, ok := c.Get(source.CPU); !ok || v+joining < before || v > after+joining {
			t.Errorf("%s: cpu %d, %v, the kernel's file says %d to %d", kind, v, ok, before, after)
		}
		if v, ok := c.Get(source.MemoryLimit); !ok || v != 96<<10 {
			t.Errorf("%s: limit %d kB, %v", kind, v, ok)
		}
		if v, ok := c.Get(source.Processes); !ok || v < 1 || v > 2 {
			t.Errorf("%s: %d processes", kind, v)
		}
		if c.Namespace != "moby" || c.Command != "load" || c.Network != "own" {
			t.Errorf("%s: %q %q %q", kind, c.Namespace, c.Command, c.Network)
		}
		inspected, err := docker.Inspect(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := c.Get(source.InitPID); int(v) != inspected.PID {
			t.Errorf("%s: init is %d, docker says %d", kind, v, inspected.PID)
		}
	}
	memory := take()["memory"]
	if v, _ := memory.Get(source.RSS); v < 48<<10 || v > 64<<10 {
		t.Errorf("resident memory %d kB of a program that touched 48 MiB", v)
	}
	if v, _ := memory.Get(source.MemoryCgroup); v < 48<<10 || v > 96<<10 {
		t.Errorf("cgroup memory %d kB of a program that touched 48 MiB", v)
	}
	snap, err := s.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sum, _ := snap.Host.Get(source.UnattributedProcesses)
	for i := range snap.Containers {
		n, _ := snap.Containers[i].Get(source.Processes)
		sum += n
	}
	if all, _ := snap.Host.Get(source.HostProcesses); sum > all || sum+5 < all { // one may be just being created
		t.Errorf("processes: the parts are %d, the whole %d", sum, all)
	}

	if err := docker.Kill(ctx, ids["cpu"]); err != nil {
		t.Fatal(err)
	}
	ended := last["cpu"][source.CPU]
	testutil.Eventually(t, 10*time.Second, "a killed container is gone and its CPU time kept as ended", func() bool {
		snap, err := s.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range snap.Containers {
			if snap.Containers[i].ID == ids["cpu"] {
				return false
			}
		}
		v, _ := snap.Host.Get(source.EndedCPU)
		return v >= ended
	})
}

// real starts a container of the load image and returns its id and a function that takes
// a snapshot of it, nil if it is missing.
func real(t *testing.T, kind string) (id string, take func() *source.Container) {
	t.Helper()
	testutil.Require(t, testutil.Docker, testutil.Root)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	docker, err := dockerclient.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	importLoad(t, docker)
	name := "estiba-test-source-" + kind
	docker.Remove(ctx, name)
	id, err = docker.Create(ctx, dockerclient.Spec{Name: name, Image: loadImage, Command: []string{kind}, CPUs: 0.5, MemoryBytes: 96 << 20, Networkless: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Remove(context.Background(), id) })
	if err := docker.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{ProcFS: "/proc", SysFS: "/sys", CgroupFS: "/sys/fs/cgroup"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Release)
	take = func() *source.Container {
		t.Helper()
		snap, err := s.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range snap.Containers {
			if snap.Containers[i].ID == id {
				return &snap.Containers[i]
			}
		}
		return nil
	}
	testutil.Eventually(t, 30*time.Second, "the container", func() bool {
		c := take()
		return c != nil && c.CPUSource == "cgroup"
	})
	return id, take
}

// TestRealMoved moves a busy container out of the cgroup with its CPU time, as systemd
// does at a daemon-reload, and back.
func TestRealMoved(t *testing.T) {
	_, take := real(t, "cpu")
	first := take()
	pid, _ := first.Get(source.InitPID)
	from := procfile.ParseMembership(read(t, "/proc/"+strconv.FormatUint(pid, 10)+"/cgroup"))
	h := newHierarchies("/sys/fs/cgroup")
	h.find()
	move := func(back bool) {
		t.Helper()
		for _, k := range []int{unified, cpuacct} {
			at := ""
			if back {
				at = from[controllers()[k]]
			}
			if h.roots[k] == "" {
				continue
			}
			// An Engine beside this one takes away what is empty.
			if err := os.MkdirAll(filepath.Join(h.roots[k], at), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(h.roots[k], at, "cgroup.procs"), []byte(strconv.FormatUint(pid, 10)), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	last, _ := first.Get(source.CPU)
	for _, step := range []struct {
		from string
		move func()
	}{{"cgroup", nil}, {"tasks", func() { move(false) }}, {"tasks", nil}, {"cgroup", func() { move(true) }}, {"cgroup", nil}} {
		if step.move != nil {
			step.move()
		}
		spent := func() uint64 { // what the kernel says of the process itself
			stat, err := procfile.ParseStat(read(t, "/proc/"+strconv.FormatUint(pid, 10)+"/stat"), "")
			if err != nil {
				t.Fatal(err)
			}
			return (stat.User + stat.System) * tickNS
		}
		before := spent()
		testutil.Eventually(t, time.Minute, "the process spends 300 ms", func() bool { return spent() > before+3e8 })
		c := take()
		if c == nil {
			t.Fatal("the container is gone")
		}
		v, ok := c.Get(source.CPU)
		if !ok || v < last+25e7 || v > last+spent() || c.CPUSource != step.from {
			t.Errorf("from %s, want %s: CPU time was %d and is %d; the process has spent %d since the step began and %d in all", c.CPUSource, step.from, last, v, spent()-before, spent())
		}
		last = v
	}
}

// TestRealHeadless has a container whose main thread has exited.
func TestRealHeadless(t *testing.T) {
	id, take := real(t, "headless")
	if pid, ok := take().Get(source.InitPID); ok {
		// To a runtime whose first process is a zombie there is nobody to kill.
		t.Cleanup(func() { syscall.Kill(int(pid), syscall.SIGKILL) })
	}
	testutil.Eventually(t, 30*time.Second, "the main thread has ended", func() bool {
		c := take()
		if c == nil {
			return false
		}
		pid, _ := c.Get(source.InitPID)
		stat, err := procfile.ParseStat(read(t, "/proc/"+strconv.FormatUint(pid, 10)+"/stat"), "")
		return err == nil && stat.State == 'Z' && stat.RSS == 0
	})
	testutil.Eventually(t, 30*time.Second, "its memory", func() bool {
		v, _ := take().Get(source.RSS)
		return v > 16<<10
	})
	c := take()
	cpu, _ := c.Get(source.CPU)
	if now := kernelCPU(t, id); c.CPUSource != "cgroup" || cpu > now || cpu+5e9 < now {
		t.Errorf("CPU time %d from %s, the kernel's file says %d", cpu, c.CPUSource, now)
	}
	for _, f := range []source.Field{source.MemoryCgroup, source.MemoryLimit, source.IOReadCalls, source.NetRxBytes} {
		if _, ok := c.Get(f); !ok {
			t.Errorf("%s is not known", f.Info().Key)
		}
	}
	if c.Network != ownNetwork {
		t.Errorf("network %q", c.Network)
	}
}

// TestRealNamespace runs the exporter in its own cgroup namespace: the cgroup fields of a
// container stay the same.
func TestRealNamespace(t *testing.T) {
	id, take := real(t, "memory")
	bin := testutil.Build(t, "./exporter")
	want := take()
	h := newHierarchies("/sys/fs/cgroup")
	h.find()
	script := ""
	for _, root := range h.roots {
		if root == "" {
			continue
		}
		dir := filepath.Join(root, "estiba-test-namespace", "inner")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			os.Remove(dir)
			os.Remove(filepath.Dir(dir))
		})
		script += "echo $$ > " + dir + "/cgroup.procs && "
	}
	out, err := exec.Command("sh", "-c", script+"exec unshare --cgroup "+bin+" dump --source=cgroup --docker.host=unix:///nowhere").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := string(out)
	if strings.Contains(text, "missing=cgroup") {
		t.Errorf("it lacks cgroups:\n%s", text)
	}
	snap, err := kmod.NewParser().Parse(out[strings.Index(text, "{\n"):])
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for i := range snap.Containers {
		if c := &snap.Containers[i]; c.ID == id {
			limit, _ := c.Get(source.MemoryLimit)
			if _, ok := c.Get(source.OOMKills); !ok || limit != 96<<10 || c.CPUSource != "cgroup" || c.Cgroup != want.Cgroup {
				t.Errorf("OOM kills known %t, limit %d kB, CPU from %s, cgroup %s, want %s", ok, limit, c.CPUSource, c.Cgroup, want.Cgroup)
			}
			return
		}
	}
	t.Errorf("the container is missing:\n%s", text)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// kernelCPU reads the container's CPU time in ns from this host's hierarchy.
func kernelCPU(t *testing.T, id string) uint64 {
	t.Helper()
	for pattern, times := range map[string]uint64{
		"/sys/fs/cgroup/cpuacct/docker/" + id + "/cpuacct.usage":       1,
		"/sys/fs/cgroup/docker/" + id + "/cpu.stat":                    1000,
		"/sys/fs/cgroup/system.slice/docker-" + id + ".scope/cpu.stat": 1000,
	} {
		b, err := os.ReadFile(pattern)
		if err != nil {
			continue
		}
		word := strings.TrimPrefix(strings.Fields(strings.ReplaceAll(string(b), "usage_usec ", ""))[0], "usage_usec")
		v, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v * times
	}
	t.Fatal("no file has the container's CPU time")
	return 0
}
