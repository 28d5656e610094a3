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

// Engine is a Docker Engine of a test's own: own socket, own images, own
// containers, no network.
type Engine struct {
	Host string // "unix:///…/docker.sock"

	dir string
	cmd *exec.Cmd
}

// StartEngine starts a Docker Engine that ends with the test, its containers
// with it, so that a test may stop it, and kill what it likes.
func StartEngine(t *testing.T) *Engine {
	t.Helper()
	Require(t, Root, "dockerd")
	// Not t.TempDir: its long names do not fit a socket's 108 bytes (unix(7)).
	dir, err := os.MkdirTemp("", "engine")
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{Host: "unix://" + filepath.Join(dir, "docker.sock"), dir: dir}
	t.Cleanup(func() {
		if e.cmd != nil {
			e.removeContainers()
			e.Stop(t)
		}
		if t.Failed() {
			t.Logf("end of the engine's log:\n%s", e.log(20))
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("removing the engine's folder: %v", err)
		}
	})
	e.Start(t)
	return e
}

// Start starts the Engine, again if it was stopped, and waits for its answer.
func (e *Engine) Start(t *testing.T) {
	t.Helper()
	logFile, err := os.OpenFile(filepath.Join(e.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	in := func(name string) string { return filepath.Join(e.dir, name) }
	e.cmd = exec.Command("dockerd", "--host="+e.Host, "--data-root="+in("data"), "--exec-root="+in("exec"),
		"--pidfile="+in("pid"), "--bridge=none", "--iptables=false", "--ip6tables=false")
	e.cmd.Stdout, e.cmd.Stderr = logFile, logFile
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.cmd.Start(); err != nil {
		t.Fatalf("starting a docker engine: %v", err)
	}
	client := e.Client(t)
	Eventually(t, 60*time.Second, "the docker engine answers", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return client.Ping(ctx) == nil
	})
}

// Stop ends the Engine as its service manager would. Its containers end too.
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
		t.Log("the docker engine did not stop and is killed")
		e.cmd.Process.Kill()
		<-done
	}
	e.cmd = nil
}

// Client is a client of this Engine that ends with the test.
func (e *Engine) Client(t *testing.T) *dockerclient.Client {
	t.Helper()
	c, err := dockerclient.New(e.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
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
	for _, each := range list {
		c.Remove(ctx, each.ID)
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
