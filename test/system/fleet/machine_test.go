// Package fleet holds what docs/fleet.md promises: hosts that decide for themselves, a
// central store that shows all of them, and what becomes of both when the way between
// them, or a host, is gone.
package fleet

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
)

// inside is set where the test runs in its own namespaces already.
const inside = "ESTIBA_FLEET_INSIDE"

// enter runs the test that calls it once more, in network, mount and process
// namespaces of its own, and gives its verdict. It is true in there.
func enter(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	testutil.Require(t, testutil.Root, "dockerd", "docker", "ip", "nsenter", "unshare", "pgrep")
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	group := fmt.Sprintf("estiba-fleet-%d", os.Getpid())
	t.Cleanup(func() { removeGroups(t, group) })
	cmd := exec.Command("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", filepath.Join(folder, "machine.sh"),
		os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=9m")
	cmd.Env = append(os.Environ(), inside+"="+group)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	// The kernel ends it with the thread that started it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		t.Fatalf("in its own machine: %v", err)
	}
	return false
}

// removeGroups removes the control groups that the killed containers have left.
func removeGroups(t *testing.T, group string) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		left = nil
		for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			found, _ := filepath.Glob(pattern + group + "*")
			left = append(left, found...)
		}
		if len(left) == 0 {
			return
		}
		for _, dir := range left {
			exec.Command("find", dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+").Run()
		}
	}
	t.Errorf("control groups are left: %v", left)
}

// do runs a command that has to work.
func do(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// network connects places by two bridges. By the one, 10.77.0.0/24, hosts and store
// reach each other; by the other, 10.78.0.0/24, only the test looks in, also where
// the first one is cut.
type network struct{ places int }

func newNetwork(t *testing.T) *network {
	t.Helper()
	for bridge, address := range map[string]string{"fleet": "10.77.0.1/24", "watch": "10.78.0.1/24"} {
		do(t, "ip", "link", "add", bridge, "type", "bridge")
		do(t, "ip", "address", "add", address, "dev", bridge)
		do(t, "ip", "link", "set", bridge, "up")
	}
	return &network{}
}

// place is a network namespace with an end on each bridge.
type place struct {
	name         string
	fleet, watch string // addresses
}

func (n *network) add(t *testing.T, name string) place {
	t.Helper()
	n.places++
	p := place{name, fmt.Sprintf("10.77.0.%d", 10+n.places), fmt.Sprintf("10.78.0.%d", 10+n.places)}
	do(t, "ip", "netns", "add", name)
	do(t, "ip", "-n", name, "link", "set", "lo", "up")
	for bridge, address := range map[string]string{"fleet": p.fleet, "watch": p.watch} {
		end := bridge + "-" + name
		do(t, "ip", "link", "add", end, "type", "veth", "peer", "name", bridge, "netns", name)
		do(t, "ip", "link", "set", end, "master", bridge, "up")
		do(t, "ip", "-n", name, "address", "add", address+"/24", "dev", bridge)
		do(t, "ip", "-n", name, "link", "set", bridge, "up")
	}
	return p
}

// cut pulls the place's cable to the others out.
func (p place) cut(t *testing.T) { t.Helper(); do(t, "ip", "link", "set", "fleet-"+p.name, "down") }

// join puts it in again.
func (p place) join(t *testing.T) { t.Helper(); do(t, "ip", "link", "set", "fleet-"+p.name, "up") }

// program is one that runs in a place.
type program struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// start runs a program, its output in a file that is shown if the test fails.
func start(t *testing.T, dir, name string, argv ...string) *program {
	t.Helper()
	p := &program{name: name, done: make(chan struct{}), log: filepath.Join(dir, filepath.Base(name)+".log")}
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if data, err := os.ReadFile(p.log); t.Failed() && err == nil {
			lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
			t.Logf("end of the log of %s:\n%s", name, bytes.Join(lines[max(0, len(lines)-12):], []byte("\n")))
		}
	})
	return p
}

// kill ends the program and what is in its process group with SIGKILL.
func (p *program) kill() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}
