// Package runtimes is a host on which Docker, Podman as root and as another user,
// containerd's CRI plugin and ctr run containers at the same time, all of them real.
package runtimes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

// Tools are the programs of the runtimes that a Host needs.
var Tools = []testutil.Need{testutil.Root, "podman", "crun", "runc", "newuidmap", "setpriv", "containerd", "ctr"}

// The images of all containers, each with the same static program.
const (
	loadImage  = "estiba.test/load:1"
	pauseImage = "estiba.test/pause:1"
)

// podPause is the label pod_container of the container that only holds its pod's
// namespaces.
const podPause = "POD"

// Container is a container, or a group of processes that must not be one.
type Container struct {
	Name      string // as in the label name, if there is one
	ID        string
	Runtime   string // as in the label runtime
	Namespace string // of its shim
	Pod       string // id of its pod
	Pause     bool
	User      uint32
	Impostor  bool // has the id of root's container
	InitPID   int

	// As in the labels of estiba_container_info.
	PodName, PodNamespace, PodContainer string

	// CPUShare is the part of a core that it uses, Holds the memory in bytes; 0: next to
	// nothing.
	CPUShare float64
	Holds    uint64

	// Usage is what its runtime's own statistics say now; nil if there are none.
	Usage func(t *testing.T) Usage
}

// Usage is a runtime's own measurement of a container.
type Usage struct {
	CPU    uint64 // ns since its start
	Memory uint64 // bytes
	// Inactive: Memory is without inactive file cache. Anonymous: it is without files and
	// the kernel's own.
	Inactive, Anonymous bool
}

// Options are the differences between hosts.
type Options struct {
	Program string               // a static build of the generator
	Docker  *dockerclient.Client // of the Engine to use
	// Patience is the time limit of each command.
	Patience time.Duration
	// Emulated: the kernel's ticks, in which it counts the host's CPU time, come late.
	Emulated bool
	// Say reports progress.
	Say func(format string, args ...any)
}

// Host runs one of every kind. Start fills it.
type Host struct {
	Options
	Podman     *Podman
	Rootless   *Podman
	Containerd *Containerd

	dir string // world-readable and short, for sockets
	v2  bool   // cgroup v2 alone
}

// Start starts all runtimes but Docker, and removes everything after the test.
func Start(t *testing.T, o Options) *Host {
	t.Helper()
	testutil.Require(t, Tools...)
	h := newHost(t, o)
	h.writeImages(t)
	h.makeUser(t)
	h.delegate(t)
	h.Podman = h.startPodman(t)
	h.Say("Podman started")
	h.Rootless = h.startRootless(t)
	h.Say("Podman of another user started")
	h.Containerd = h.startContainerd(t, containerdOptions{
		socket: h.in("containerd.sock"), state: h.in("containerd-state"), namespaces: []string{"k8s.io", "default"}, // of the CRI plugin, and of ctr
	})
	h.Say("containerd started")
	return h
}

func newHost(t *testing.T, o Options) *Host {
	t.Helper()
	// Not t.TempDir: a socket's path is limited to 108 bytes (unix(7)), and another user
	// must be able to enter.
	dir, err := os.MkdirTemp("", "rt")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Podman mounts its storage and leaves it mounted, also in the processes that
		// clean up after each container, the last of which still runs.
		var err error
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			for unix.Unmount(filepath.Join(dir, "root", "storage", "overlay"), unix.MNT_DETACH) == nil { //nolint:revive // until it is not mounted any more
			}
			if err = os.RemoveAll(dir); err == nil {
				return
			}
		}
		t.Errorf("removing the directory of the runtimes: %v", err)
	})
	return &Host{Options: o, dir: dir, v2: OnlyV2(t)}
}

// Flags are the exporter's flags to follow the runtimes but Docker. The user's Podman is at
// its usual place.
func (h *Host) Flags() []string {
	return []string{"--podman.host=unix://" + h.Podman.Socket, "--podman.host=auto", "--cri.endpoint=unix://" + h.Containerd.Socket}
}

// OnlyV2 reports whether the host has cgroup v2 alone, not v1 or both.
func OnlyV2(t *testing.T) bool {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &s); err != nil {
		t.Fatal(err)
	}
	return s.Type == unix.CGROUP2_SUPER_MAGIC
}

func (h *Host) in(names ...string) string {
	return filepath.Join(append([]string{h.dir}, names...)...)
}

func (h *Host) write(t *testing.T, name, text string) string {
	t.Helper()
	path := h.in(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// command runs a command and returns its output without the last newline.
func (h *Host) command(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := h.attempt(argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// attempt is command for a cleanup, where a failure must not keep the rest from running.
func (h *Host) attempt(argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	// A monitor may inherit the pipes, which must not keep Wait from returning.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return "", err
	}
	late := time.AfterFunc(h.Patience, func() { cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(argv, " "), err, out.String(), problems.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// Load is what a container does.
type Load struct {
	CPUShare float64 // part of a core
	Holds    uint64  // bytes
}

// args are the arguments of the program in the images.
func (l Load) args() []string {
	if l.CPUShare > 0 {
		return []string{"load", "--lifetime=24h", "--kind=" + string(container.KindCPU), fmt.Sprintf("--share=%g", l.CPUShare)}
	}
	return []string{"load", "--lifetime=24h", "--kind=" + string(container.KindRAM), fmt.Sprintf("--bytes=%d", max(l.Holds, 4096)), "--rate=0.1"}
}

// Named is a container of a pod.
type Named struct {
	Name string
	Load
}

// request sends an HTTP request to a socket and returns the body of the response.
func (h *Host) request(socket, method, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), h.Patience)
	defer cancel()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, "http://runtime"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return text, nil
}
