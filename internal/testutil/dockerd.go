package testutil

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
)

// Kata is the name of a runtime that looks like Kata Containers.
const Kata = "kata"

// Engine is a private Docker Engine of a test, with its own socket, images and
// containers, without a network. Its runtime Kata is runc.
type Engine struct {
	Host string // "unix:///…/docker.sock"

	dir string
	cmd *exec.Cmd
}

// StartEngine starts a Docker Engine that the test may stop at will; it and its
// containers are removed after the test.
func StartEngine(t *testing.T) *Engine {
	t.Helper()
	Require(t, Root, "dockerd")
	// Not t.TempDir: its paths exceed the 108 bytes of a socket address (unix(7)).
	dir, err := os.MkdirTemp("", "engine")
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{Host: "unix://" + filepath.Join(dir, "docker.sock"), dir: dir}
	t.Cleanup(func() {
		// The log matters only if the Engine is broken.
		if t.Failed() && e.cmd != nil && !e.responds() {
			t.Logf("the engine does not respond; end of its log:\n%s", e.log(20))
		}
		if e.cmd != nil {
			e.removeContainers()
			e.Stop(t)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("removing the engine's directory: %v", err)
		}
	})
	e.Start(t)
	return e
}

// Start starts the Engine, also after Stop, and waits until it responds.
func (e *Engine) Start(t *testing.T) {
	t.Helper()
	logFile, err := os.OpenFile(filepath.Join(e.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	runc, err := exec.LookPath("runc")
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(e.dir, name) }
	e.cmd = exec.Command("dockerd", "--host="+e.Host, "--data-root="+in("data"), "--exec-root="+in("exec"),
		"--pidfile="+in("pid"), "--bridge=none", "--iptables=false", "--ip6tables=false", "--add-runtime="+Kata+"="+runc)
	e.cmd.Stdout, e.cmd.Stderr = logFile, logFile
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.cmd.Start(); err != nil {
		t.Fatalf("starting a docker engine: %v", err)
	}
	Eventually(t, 60*time.Second, "the docker engine responds", e.responds)
}

// Stop terminates the Engine, and with it its containers.
func (e *Engine) Stop(t *testing.T) {
	t.Helper()
	if e.cmd == nil {
		return
	}
	e.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		e.cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Log("the docker engine did not stop on SIGTERM: killing it")
		e.cmd.Process.Kill()
		<-done
	}
	e.cmd = nil
}

// Client returns a client of this Engine; it is closed after the test.
func (e *Engine) Client(t *testing.T) *dockerclient.Client {
	t.Helper()
	c, err := dockerclient.New(e.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (e *Engine) responds() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := dockerclient.New(e.Host)
	if err != nil {
		return false
	}
	defer c.Close()
	return c.Ping(ctx) == nil
}

func (e *Engine) removeContainers() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := dockerclient.New(e.Host)
	if err != nil {
		return
	}
	defer c.Close()
	list, err := c.List(ctx, dockerclient.ListOptions{All: true})
	if err != nil {
		return
	}
	for _, item := range list {
		c.Remove(ctx, item.ID)
	}
}

func (e *Engine) log(lines int) string {
	data, err := os.ReadFile(filepath.Join(e.dir, "log"))
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.ToValidUTF8(string(bytes.Join(all, []byte("\n"))), "?")
}
