package testutil

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// RepositoryRoot is the directory with go.mod, the test's own or one above it.
func RepositoryRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d
		}
		if d == filepath.Dir(d) {
			t.Fatalf("no go.mod above %s", dir)
		}
	}
}

// Tool is the path of a program in build/bin (Prometheus, promtool, our own …), or the
// value of an environment variable: PROMETHEUS=/usr/bin/prometheus tests with another
// release. A program that is not built is a missing requirement: see Require.
func Tool(t *testing.T, name string) string {
	t.Helper()
	if path := os.Getenv(strings.ToUpper(name)); path != "" {
		return path
	}
	path := filepath.Join(RepositoryRoot(t), "build", "bin", name)
	Require(t, Need(path))
	return path
}

// Process is a program started by a test.
type Process struct {
	Name string
	cmd  *exec.Cmd
	done chan struct{}
	log  string
}

// StartProcess starts a program, which is stopped after the test. Its output is logged if
// the test fails.
func StartProcess(t *testing.T, name string, argv ...string) *Process {
	t.Helper()
	p := &Process{Name: name, done: make(chan struct{}), log: filepath.Join(t.TempDir(), name+".log")}
	f, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = f, f
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Stop(t)
		if t.Failed() {
			t.Logf("end of %s's log:\n%s", name, p.tail(4000))
		}
	})
	return p
}

// Stop terminates the program with SIGTERM and, if necessary, SIGKILL.
func (p *Process) Stop(t *testing.T) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		t.Errorf("%s did not stop on SIGTERM", p.Name)
		p.Kill()
	}
}

// Kill kills the program with SIGKILL.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) { p.cmd.Process.Signal(s) }

// Ended reports whether the program has exited.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Log is the output of the program so far.
func (p *Process) Log(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func (p *Process) tail(n int) string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if len(data) > n {
		data = data[len(data)-n:]
	}
	return string(data)
}
