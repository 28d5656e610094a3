//go:build estiba_guest

package guest

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const (
	shimProgram = "/bin/containerd-shim-runc-v2"
	cgroupRoot  = "/sys/fs/cgroup"
)

// module loads estiba.ko for the length of the test.
func module(t *testing.T, params ...string) {
	t.Helper()
	if out, err := insmod(params...); err != nil {
		t.Fatalf("insmod: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("rmmod", "estiba").CombinedOutput(); err != nil {
			t.Errorf("rmmod: %v: %s", err, out)
		}
	})
}

func insmod(params ...string) (string, error) {
	out, err := exec.Command("insmod", append([]string{"/estiba.ko"}, params...)...).CombinedOutput()
	return string(out), err
}

func newID() string {
	b := make([]byte, 32)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// shim is a process that says it is one.
type shim struct {
	id     string
	pid    int
	cgroup string // folder, if it has one of its own
	cmd    *exec.Cmd
}

type options struct {
	id      string
	load    string
	unshare string
	cgroup  string // path below the root of the v2 hierarchy
	runtime string // load of a process that is the runtime, not the container
	args    []string
	program string
	attr    *syscall.SysProcAttr
}

// start runs a shim, and ends it and all it started with the test.
func start(t *testing.T, o options) *shim {
	t.Helper()
	if o.id == "" {
		o.id = newID()
	}
	if o.program == "" {
		o.program = shimProgram
	}
	if o.load == "" {
		o.load = "sleep"
	}
	if o.args == nil {
		o.args = []string{"-namespace", "moby", "-id", o.id, "-address", "/run/containerd/containerd.sock"}
	}
	s := &shim{id: o.id, cmd: exec.Command(o.program, o.args...)}
	s.cmd.Env = []string{"SHIM_LOAD=" + o.load, "SHIM_UNSHARE=" + o.unshare}
	if o.cgroup != "" {
		s.cgroup = makeCgroup(t, o.cgroup)
		s.cmd.Env = append(s.cmd.Env, "SHIM_CGROUP="+s.cgroup+"/cgroup.procs")
	} else if !strings.Contains(o.unshare, "p") && (o.attr == nil || o.attr.Credential == nil) {
		s.cmd.Env = append(s.cmd.Env, apart(t)...)
	}
	if o.runtime != "" {
		s.cmd.Env = append(s.cmd.Env, "SHIM_RUNTIME="+o.runtime)
	}
	s.cmd.SysProcAttr = o.attr
	s.cmd.Stdout, s.cmd.Stderr = os.Stdout, os.Stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", o.program, err)
	}
	s.pid = s.cmd.Process.Pid
	t.Cleanup(func() { s.end(t) })
	children := 1 + strings.Count(o.load, ";")
	eventually(t, "the loads of "+o.load, func() bool {
		n := 0
		for _, pid := range s.processes(t) {
			if name := comm(pid); name != "" && !strings.HasPrefix(name, "containerd-shim") {
				n++
			}
		}
		return n >= children || strings.HasPrefix(o.load, "exec ")
	})
	return s
}

// apart is what a shim needs in its environment to put its container elsewhere
// than itself, as every runtime does, and yet in no cgroup of its own: the shim
// lives below it.
func apart(t *testing.T) []string {
	t.Helper()
	loose := makeCgroup(t, "loose")
	if err := os.Mkdir(loose+"/shims", 0o755); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	return []string{"SHIM_CGROUP=" + loose + "/cgroup.procs", "SHIM_HOME=" + loose + "/shims/cgroup.procs"}
}

func (s *shim) end(t *testing.T) {
	eventually(t, "the end of "+s.id, func() bool {
		left := s.processes(t)
		for _, pid := range left {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(left) == 0
	})
	s.cmd.Process.Kill()
	s.cmd.Wait()
	if s.cgroup != "" {
		eventually(t, "the end of "+s.cgroup, func() bool {
			// Where the shim lived, if it was there.
			os.Remove(s.cgroup + "/shim")
			// Another shim of the test may still live in it.
			others, _ := os.ReadFile(s.cgroup + "/cgroup.procs")
			err := os.Remove(s.cgroup)
			return err == nil || os.IsNotExist(err) || len(others) > 0
		})
	}
}

// makeCgroup makes a cgroup with the cpu and memory controllers, and those
// above it.
func makeCgroup(t *testing.T, path string) string {
	t.Helper()
	dir := cgroupRoot
	for _, name := range strings.Split(path, "/") {
		if err := os.WriteFile(dir+"/cgroup.subtree_control", []byte("+memory +cpu"), 0); err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(dir, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	return dir
}

func comm(pid int) string {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	return strings.TrimSuffix(string(b), "\n")
}

// stat returns the fields of /proc/PID/stat from the third one on, nil if the
// process is gone.
func stat(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

func allProcesses(t *testing.T) []int {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// processes are the live descendants of the shim, told by /proc alone.
func (s *shim) processes(t *testing.T) []int {
	t.Helper()
	children := map[int][]int{}
	for _, pid := range allProcesses(t) {
		if f := stat(pid); len(f) > 1 {
			parent, _ := strconv.Atoi(f[1])
			children[parent] = append(children[parent], pid)
		}
	}
	var found []int
	for next := []int{s.pid}; len(next) > 0; next = next[1:] {
		found = append(found, children[next[0]]...)
		next = append(next, children[next[0]]...)
	}
	return found
}

// sum adds up the numbers that one returns for each process of the container.
func (s *shim) sum(t *testing.T, one func(pid string) uint64) uint64 {
	t.Helper()
	total := uint64(0)
	for _, pid := range s.processes(t) {
		total += one(strconv.Itoa(pid))
	}
	return total
}

// keyed returns the number behind key in a file of lines "key value".
func keyed(t *testing.T, name, key string) uint64 {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) > 1 && strings.TrimSuffix(f[0], ":") == key {
			n, err := strconv.ParseUint(f[1], 10, 64)
			if err != nil {
				t.Fatalf("%s: %s: %v", name, key, err)
			}
			return n
		}
	}
	t.Fatalf("%s has no %s", name, key)
	return 0
}

// near fails the test if got is further than by from want.
func near(t *testing.T, what string, got, want, by uint64) {
	t.Helper()
	difference := got - want
	if want > got {
		difference = want - got
	}
	if difference > by {
		t.Errorf("%s: %d, want %d ± %d", what, got, want, by)
	}
}
