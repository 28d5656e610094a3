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

	"github.com/estiba/estiba/exporter/source"
)

const (
	shimProgram = "/bin/containerd-shim-runc-v2"
	cgroupRoot  = "/sys/fs/cgroup"
)

// module loads estiba.ko for the duration of the test, or the bpf source with -source=bpf.
func module(t *testing.T, params ...string) {
	t.Helper()
	if *from == source.BPF {
		useBPF(t)
		return
	}
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

// shim is a process that looks like a shim.
type shim struct {
	id     string
	pid    int
	cgroup string // directory of the own cgroup, if any
	cmd    *exec.Cmd
}

type options struct {
	id      string
	load    string
	unshare string
	network string // file of a network namespace
	cgroup  string // path below the root of the v2 hierarchy; several, separated by ";": of the loads in turn
	home    string // the same of the shim
	runtime string // load of a process that stands for the runtime
	args    []string
	program string
	attr    *syscall.SysProcAttr
}

// start starts a shim, which is killed with all its descendants after the test.
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
		var procs []string
		for _, path := range strings.Split(o.cgroup, ";") {
			procs = append(procs, makeCgroup(t, path)+"/cgroup.procs")
		}
		s.cgroup = filepath.Dir(procs[0])
		s.cmd.Env = append(s.cmd.Env, "SHIM_CGROUP="+strings.Join(procs, ";"))
		if o.home != "" {
			s.cmd.Env = append(s.cmd.Env, "SHIM_HOME="+makeCgroup(t, o.home)+"/cgroup.procs")
		}
	} else if !strings.Contains(o.unshare, "p") && (o.attr == nil || o.attr.Credential == nil) {
		s.cmd.Env = append(s.cmd.Env, apart(t)...)
	}
	if o.network != "" {
		s.cmd.Env = append(s.cmd.Env, "SHIM_NETWORK="+o.network)
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
	eventually(t, "loads "+o.load, func() bool {
		n := 0
		for _, pid := range s.processes(t) {
			// Before exec it has the shim's name.
			if name := comm(pid); name != "" && !strings.HasPrefix(name, "containerd-shim") && name != filepath.Base(o.program) {
				n++
			}
		}
		return n >= children || strings.HasPrefix(o.load, "exec ")
	})
	return s
}

// apart returns environment variables for a shim whose container is in another cgroup than
// the shim, as with every runtime, but has no own cgroup, because the shim is below it.
func apart(t *testing.T) []string {
	t.Helper()
	loose := makeCgroup(t, "loose")
	if err := os.Mkdir(loose+"/shims", 0o755); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	return []string{"SHIM_CGROUP=" + loose + "/cgroup.procs", "SHIM_HOME=" + loose + "/shims/cgroup.procs"}
}

func (s *shim) end(t *testing.T) {
	eventually(t, "exit of "+s.id, func() bool {
		left := s.processes(t)
		for _, pid := range left {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(left) == 0
	})
	s.cmd.Process.Kill()
	s.cmd.Wait()
	if s.cgroup != "" {
		eventually(t, "removal of "+s.cgroup, func() bool {
			// The cgroup of the shim, if it was there.
			os.Remove(s.cgroup + "/shim")
			// Another shim of the test may still be in it.
			others, _ := os.ReadFile(s.cgroup + "/cgroup.procs")
			err := os.Remove(s.cgroup)
			return err == nil || os.IsNotExist(err) || len(others) > 0
		})
	}
}

// makeCgroup creates a cgroup with the cpu and memory controllers, and its parents.
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

// stat returns the fields of /proc/PID/stat from the third one on, or nil if the process
// has exited.
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

// processes are the live descendants of the shim, according to /proc.
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

// sum adds up the results of one for each process of the container.
func (s *shim) sum(t *testing.T, one func(pid string) uint64) uint64 {
	t.Helper()
	total := uint64(0)
	for _, pid := range s.processes(t) {
		total += one(strconv.Itoa(pid))
	}
	return total
}

// keyed returns the value of key in a file of lines "key value".
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

// near fails the test if got differs from want by more than by.
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
