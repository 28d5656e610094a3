package testutil

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
)

// Podman is a private Podman of a test, with its own images and containers, and its
// service with the API of the Docker Engine.
type Podman struct {
	Host string // "unix:///…/podman.sock"

	dir string
}

// StartPodman starts the service of a Podman, as root. It, its containers and pods are
// removed after the test.
func StartPodman(t *testing.T) *Podman {
	t.Helper()
	Require(t, Root, "podman", "conmon", "runc", "catatonit")
	// Not t.TempDir: its paths exceed the 108 bytes of a socket address (unix(7)).
	dir, err := os.MkdirTemp("", "podman")
	if err != nil {
		t.Fatal(err)
	}
	p := &Podman{Host: "unix://" + filepath.Join(dir, "podman.sock"), dir: dir}
	// crun runs on no host with both versions of cgroups; Podman's limits of processes and
	// files exceed those of some hosts; its locks would be those of the host's Podman.
	conf := fmt.Sprintf(`[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = %q
volume_path = %q
`, filepath.Join(dir, "tmp"), filepath.Join(dir, "volumes"))
	if err := os.WriteFile(filepath.Join(dir, "containers.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.command("pod", "rm", "--all", "--force", "--time=0").Run()
		p.command("rm", "--all", "--force", "--time=0").Run()
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("removing Podman's directory: %v", err)
		}
	})
	logFile, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	service := p.command("system", "service", "--time=0", p.Host)
	service.Stdout, service.Stderr = logFile, logFile
	service.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := service.Start(); err != nil {
		t.Fatalf("starting Podman's service: %v", err)
	}
	t.Cleanup(func() {
		service.Process.Signal(syscall.SIGTERM)
		service.Wait()
	})
	c := p.Client(t)
	Eventually(t, 60*time.Second, "Podman's service responds", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return c.Ping(ctx) == nil
	})
	return p
}

// Client returns a client of the service; it is closed after the test.
func (p *Podman) Client(t *testing.T) *dockerclient.Client {
	t.Helper()
	c, err := dockerclient.New(p.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Run runs podman and returns its output.
func (p *Podman) Run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := p.command(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("podman %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func (p *Podman) command(args ...string) *exec.Cmd {
	where := []string{"--root=" + filepath.Join(p.dir, "root"), "--runroot=" + filepath.Join(p.dir, "run"), "--storage-driver=vfs"}
	c := exec.Command("podman", append(where, args...)...)
	c.Env = append(os.Environ(), "CONTAINERS_CONF="+filepath.Join(p.dir, "containers.conf"))
	return c
}
