package enforce

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/estiba/estiba/internal/testutil"
)

func TestLockEngine(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "run"), filepath.Join(dir, "var-run")
	if err := os.Mkdir(real, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	first, err := LockEngine("unix://" + real + "/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockEngine("unix://" + link + "/docker.sock"); !errors.Is(err, ErrEngineLocked) {
		t.Errorf("the same socket by another path: %v", err)
	}
	other, err := LockEngine("unix://" + real + "/other.sock")
	if err != nil {
		t.Errorf("another engine: %v", err)
	}
	other.Close()
	first.Close()
	again, err := LockEngine("unix://" + link + "/docker.sock")
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	again.Close()
	for _, host := range []string{"tcp://127.0.0.1:2375", "unix:///" + strings.Repeat("long/", 40) + "docker.sock"} {
		l, err := LockEngine(host)
		if err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		if _, err := LockEngine(host); !errors.Is(err, ErrEngineLocked) {
			t.Errorf("%s: %v", host, err)
		}
		l.Close()
	}
}

// An Engine has one lock, in any spelling of its address.
func TestEngineHasOneName(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", dir+"/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Symlink(dir+"/docker.sock", dir+"/link.sock"); err != nil {
		t.Fatal(err)
	}
	for one, others := range map[string][]string{
		"unix://" + dir + "/docker.sock": {"unix://" + dir + "/link.sock", "unix://" + dir + "//docker.sock", "unix://" + dir + "/./docker.sock"},
		"tcp://127.0.0.1:2375": {
			"tcp://localhost:2375", "tcp://LOCALHOST:2375/", "tcp://[::1]:2375", "tcp://127.0.0.2:2375",
			"tcp://localhost.:2375",
		},
		"tcp://box.example:2375": {"tcp://BOX.example.:2375"},
	} {
		for _, other := range others {
			if a, b := engineName(one), engineName(other); a != b {
				t.Errorf("%s is %q, %s is %q", one, a, other, b)
			}
		}
	}
	for _, other := range []string{"tcp://127.0.0.1:2376", "tcp://10.0.0.1:2375", "unix://" + dir + "/other.sock"} {
		if engineName(other) == engineName("tcp://127.0.0.1:2375") {
			t.Errorf("%s is not another engine", other)
		}
	}
}

// holdLock is the environment variable that makes the test program hold a name.
const holdLock = "ESTIBA_TEST_HOLD_LOCK"

func TestMain(m *testing.M) {
	if name := os.Getenv(holdLock); name != "" {
		l, err := net.Listen("unix", name)
		if err != nil {
			os.Exit(1)
		}
		fmt.Println("held")
		for {
			if c, err := l.Accept(); err == nil {
				c.Close()
			}
		}
	}
	os.Exit(m.Run())
}

// A user without access to the Engine cannot keep a manager from starting; one with
// access may be a manager.
func TestLockHeldByAnotherUser(t *testing.T) {
	testutil.Require(t, testutil.Root)
	dir := t.TempDir()
	socket := dir + "/docker.sock"
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(socket, 0o660); err != nil {
		t.Fatal(err)
	}
	const docker = 4242 // a group
	if err := os.Chown(socket, 0, docker); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "hold")
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	for d := filepath.Dir(program); len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	hold := func(groups ...uint32) func() {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), holdLock+"=@estiba-manager:"+socket)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, Groups: groups}}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatalf("the name was not taken: %v", err)
		}
		return func() { cmd.Process.Kill(); cmd.Wait() }
	}
	end := hold()
	mine, err := LockEngine("unix://" + socket)
	if err != nil {
		t.Fatalf("another user keeps the manager from starting: %v", err)
	}
	if _, err := LockEngine("unix://" + socket); !errors.Is(err, ErrEngineLocked) {
		t.Errorf("a second manager beside the first: %v", err)
	}
	end()
	if _, err := LockEngine("unix://" + socket); !errors.Is(err, ErrEngineLocked) {
		t.Errorf("a second manager when the first name is free again: %v", err)
	}
	mine.Close()
	end = hold(docker)
	defer end()
	if _, err := LockEngine("unix://" + socket); !errors.Is(err, ErrEngineLocked) {
		t.Errorf("beside one who may reach the Engine: %v", err)
	}
}
