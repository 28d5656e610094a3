package bpf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
	"github.com/estiba/estiba/internal/testutil"
)

// TestMain runs the programs of the tests, which are this one with an argument.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "threads":
		n, _ := strconv.Atoi(os.Args[2])
		threads(n)
	case len(os.Args) == 2 && os.Args[1] == "headless":
		headless()
	case len(os.Args) == 2 && os.Args[1] == "load":
		if _, err := newReader("/proc", "/sys"); err != nil {
			fmt.Println(err)
		}
	default:
		os.Exit(m.Run())
	}
}

// threads starts n threads, each of which reads a little, and waits.
func threads(n int) {
	ready := make(chan bool)
	for range n {
		go func() {
			runtime.LockOSThread()
			b := make([]byte, 1000)
			if f, err := os.Open("/dev/zero"); err == nil {
				f.Read(b)
				f.Close()
			}
			ready <- true
			time.Sleep(time.Hour) // not select: the runtime ends a program that cannot go on
		}()
	}
	for range n {
		<-ready
	}
	fmt.Println("ready")
	time.Sleep(time.Hour)
}

// headless ends its main thread. Another one goes on.
func headless() {
	runtime.LockOSThread() // the main thread, while init runs
	go func() {
		held := bytes.Repeat([]byte{1}, 20<<20)
		time.Sleep(100 * time.Millisecond)
		fmt.Println("ready")
		time.Sleep(time.Hour)
		runtime.KeepAlive(held)
	}()
	unix.Syscall(unix.SYS_EXIT, 0, 0, 0) // not a raw one: the scheduler must know that it is gone
}

func init() { runtime.LockOSThread() }

// open returns a reader of this machine.
func open(t *testing.T) *reader {
	t.Helper()
	testutil.Require(t, testutil.Root)
	r, err := newReader("/proc", "/sys")
	if err != nil {
		t.Skipf("not on this machine: %v; the kernels of test/machine/qemu must have it", err)
	}
	t.Cleanup(func() { r.iter.Close() })
	return r
}

// start runs this program with arguments until the end of the test.
func start(t *testing.T, args ...string) int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	late := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer late.Stop()
	if _, err := out.Read(make([]byte, 10)); err != nil {
		t.Fatalf("%v did not begin: %v", args, err)
	}
	return cmd.Process.Pid
}

func read(t *testing.T, r *reader) *cgroup.Pass {
	t.Helper()
	pass, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	return pass
}

func process(t *testing.T, pass []cgroup.KernelProcess, pid int) *cgroup.KernelProcess {
	t.Helper()
	for i := range pass {
		if pass[i].PID == pid {
			return &pass[i]
		}
	}
	t.Fatalf("no process %d among %d", pid, len(pass))
	return nil
}

// TestProcess: a record says what the files of the process say.
func TestProcess(t *testing.T) {
	r := open(t)
	for name, args := range map[string][]string{"one": {"threads", "1"}, "many": {"threads", "50"}} {
		t.Run(name, func(t *testing.T) {
			pid := start(t, args...)
			time.Sleep(200 * time.Millisecond) // Go's own threads come to rest
			is := *process(t, read(t, r).Processes, pid)
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil {
				t.Fatal(err)
			}
			want, err := procfile.ParseStat(b, "")
			if err != nil {
				t.Fatal(err)
			}
			page := uint64(os.Getpagesize())
			comm, _, _ := bytes.Cut(is.Name[:], []byte{0})
			got := procfile.Stat{
				PID: is.PID, Parent: is.Parent, Comm: string(comm), State: want.State, Threads: is.Threads, Start: is.Start / procfile.TickNS,
				VSZ: is.VSZ * page, RSS: is.RSS, Minor: is.Minor, Major: is.Major, User: want.User, System: want.System,
			}
			want.RSS = is.RSS // statm is exact
			if got != want {
				t.Errorf("\n got %+v\nwant %+v", got, want)
			}
			if cpu := (want.User + want.System) * procfile.TickNS; is.Runtime+4*procfile.TickNS < cpu || is.Runtime > cpu+4*procfile.TickNS {
				t.Errorf("ran %d ns, in stat %d", is.Runtime, cpu)
			}
			b, err = os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
			if err != nil {
				t.Fatal(err)
			}
			if _, rss, err := procfile.ParseStatm(b); err != nil || max(rss, is.RSS)-min(rss, is.RSS) > 400 {
				t.Errorf("%d pages resident, want %d, %v", is.RSS, rss, err)
			}
			b, err = os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
			if err != nil {
				t.Fatal(err)
			}
			if io, err := procfile.ParseIO(b); err != nil || is.IO != io {
				t.Errorf("I/O %v, want %v, %v", is.IO, io, err)
			}
			if is.Exit != 0 || is.Incomplete || is.Set == 0 {
				t.Errorf("%+v", is)
			}
		})
	}
}

// TestParts: this kernel has what each part of the program needs. A part that needs more is
// left out, and nothing else.
func TestParts(t *testing.T) {
	r := open(t)
	if want := (finds{true, true, true, true, true}); r.finds != want {
		t.Errorf("the program reads %+v", r.finds)
	}
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	a := &assembler{layout: layout{spec}}
	before := a.label()
	a.here(before)
	if a.optional(func() {
		a.pointer(asm.R8, asm.R6, a.at("task_struct", "signal").offset)
		a.number(asm.R1, asm.R8, "signal_struct", "no_such_member")
	}) {
		t.Error("a part without its member is kept")
	}
	if len(a.ins) != 0 || a.mark != before || a.err != nil {
		t.Errorf("left: %v, at %q, %v", a.ins, a.mark, a.err)
	}
	if !a.optional(func() { a.pointer(asm.R8, asm.R6, a.at("task_struct", "signal").offset) }) || len(a.ins) == 0 || a.ins[0].Symbol() != before {
		t.Errorf("not kept: %v", a.ins)
	}
	was := len(a.ins)
	if a.controller("cpu", controller{id: cpuID, below: -1}, func() { a.at("task_group", "no_such_member") }) || len(a.ins) != was {
		t.Error("a controller without its numbers is kept")
	}
	if a.number(asm.R1, asm.R8, "no_such_struct", "x"); !errors.Is(a.err, errNoMember) {
		t.Errorf("got %v, want %v", a.err, errNoMember)
	}
}

// TestThreads: more threads than a pass sums are admitted; their number is right.
func TestThreads(t *testing.T) {
	r := open(t)
	pid := start(t, "threads", strconv.Itoa(maxThreads+50))
	if is := process(t, read(t, r).Processes, pid); !is.Incomplete || is.Threads < maxThreads+50 {
		t.Errorf("%+v", is)
	}
}

// TestHeadless: after the end of the main thread another one has the memory.
func TestHeadless(t *testing.T) {
	r := open(t)
	pid := start(t, "headless")
	pass := read(t, r)
	if is := process(t, pass.Processes, pid); is.Exit == 0 || is.RSS != 0 {
		t.Errorf("the main thread: %+v", is)
	}
	if is := process(t, pass.Threads, pid); is.RSS < 20<<20/uint64(os.Getpagesize()) || is.Set == 0 {
		t.Errorf("another thread: %+v", is)
	}
}

// TestGroup: the numbers of a cgroup are those of its files.
func TestGroup(t *testing.T) {
	r := open(t)
	pid := start(t, "threads", "3")
	pass := read(t, r)
	set := process(t, pass.Processes, pid).Set
	var is *cgroup.KernelGroup
	for i := range pass.Groups {
		if pass.Groups[i].Set == set {
			is = &pass.Groups[i]
		}
	}
	if is == nil {
		t.Fatalf("no cgroups of set %x among %d", set, len(pass.Groups))
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]uint64{"": is.Unified.ID, "memory": is.Memory.ID, "cpu": is.CPU.ID} {
		at, ok := procfile.ParseMembership(b)[name]
		dir := filepath.Join("/sys/fs/cgroup", name, at)
		if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); name == "" && err != nil {
			dir = filepath.Join("/sys/fs/cgroup/unified", at)
		}
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); !ok || err != nil {
			continue // not mounted here, or enabled above
		}
		if st.Ino != id {
			t.Errorf("%q: cgroup %d, want %d of %s", name, id, st.Ino, dir)
		}
	}
}

// TestForkStorm: processes that come and go neither fail a pass nor appear twice.
func TestForkStorm(t *testing.T) {
	r := open(t)
	ctx, stop := context.WithCancel(t.Context())
	for range 2 {
		cmd := exec.CommandContext(ctx, "sh", "-c", "while :; do /bin/true; (/bin/true & /bin/true); done")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
	}
	defer stop()
	self := uint64(0)
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); {
		pass := read(t, r)
		last := 0
		for i := range pass.Processes {
			p := &pass.Processes[i]
			if p.PID <= last || p.Name[0] == 0 && p.Exit == 0 && p.Start == 0 {
				t.Fatalf("process %+v after %d", p, last)
			}
			last = p.PID
		}
		me := process(t, pass.Processes, os.Getpid())
		if me.Runtime < self {
			t.Errorf("CPU time fell from %d to %d", self, me.Runtime)
		}
		self = me.Runtime
	}
}

// TestNoLeaks: nothing of a pass stays.
func TestNoLeaks(t *testing.T) {
	r := open(t)
	passes := 10_000
	if testing.Short() {
		passes = 500
	}
	count := func() (files, programs int) {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for id := ebpf.ProgramID(0); ; programs++ {
			if id, err = ebpf.ProgramGetNextID(id); err != nil {
				return len(list), programs
			}
		}
	}
	read(t, r)
	files, programs := count()
	for range passes {
		read(t, r)
	}
	if f, p := count(); f != files || p != programs {
		t.Errorf("%d files and %d programs, %d and %d before", f, p, files, programs)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range passes / 10 {
		read(t, r)
	}
	runtime.ReadMemStats(&after)
	if per := (after.TotalAlloc - before.TotalAlloc) / uint64(passes/10); per > 8<<10 {
		t.Errorf("%d bytes allocated a pass", per)
	}
}

// TestAbsent: without a way to read the kernel there is a reason, and no other error.
func TestAbsent(t *testing.T) {
	var reasons []error
	s, err := New(cgroup.Config{ProcFS: t.TempDir(), SysFS: "/sys", CgroupFS: "/sys/fs/cgroup"}, Events{Absent: func(err error) { reasons = append(reasons, err) }})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := s.Snapshot(t.Context()); !errors.Is(err, source.ErrAbsent) {
			t.Errorf("got %v, want %v", err, source.ErrAbsent)
		}
	}
	if len(reasons) != 1 || !strings.Contains(reasons[0].Error(), "is not a proc file system") {
		t.Errorf("reasons: %v", reasons)
	}
}

// TestRetry: loading is tried again after an error that can pass, and only then.
func TestRetry(t *testing.T) {
	now := time.Now()
	tries := 0
	var err error
	var absent, loaded []string
	k := &kernel{
		now: func() time.Time { return now },
		load: func(string, string) (*reader, error) {
			tries++
			return nil, err
		},
		events: Events{
			Absent: func(reason error) { absent = append(absent, reason.Error()) },
			Loaded: func(fromFiles []string) { loaded = fromFiles },
		},
	}
	read := func(want int) {
		t.Helper()
		if _, err := k.Read(); !errors.Is(err, source.ErrAbsent) {
			t.Errorf("got %v, want %v", err, source.ErrAbsent)
		}
		if tries != want {
			t.Errorf("%d tries, want %d", tries, want)
		}
	}
	err = fmt.Errorf("opening: %w", unix.EMFILE)
	read(1)
	read(1)
	now = now.Add(retry)
	read(2)
	now, err = now.Add(retry), fmt.Errorf("loading: %w", unix.EPERM)
	read(3)
	now = now.Add(retry)
	read(3) // it is refused for good
	if len(absent) != 2 || loaded != nil {
		t.Errorf("reasons %q, loaded %q", absent, loaded)
	}
}

// TestRights: two capabilities are enough, and one is too few.
func TestRights(t *testing.T) {
	open(t)
	testutil.Require(t, "setpriv")
	for caps, want := range map[string]string{
		"-all,+bpf,+perfmon": "",
		"-all,+sys_admin":    "",
		"-all,+bpf":          "requires CAP_BPF and CAP_PERFMON, or root",
		"-all":               "requires CAP_BPF and CAP_PERFMON, or root",
	} {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("setpriv", "--bounding-set="+caps, "--inh-caps="+caps, exe, "load").CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", caps, err, out)
		}
		if want == "" && len(out) > 0 || !strings.Contains(string(out), want) {
			t.Errorf("with %s: %q, want %q", caps, out, want)
		}
	}
}
