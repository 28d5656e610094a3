//go:build estiba_vm

package guest

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// Default paths.
const (
	home       = "/opt/estiba"
	moduleFile = "/proc/estiba"

	// boxImage is an image of busybox.
	boxImage = "estiba-test/box:latest"
)

// patience is the time limit of each step: an emulated machine on a busy host is slow, and
// run.sh limits the total.
const patience = 4 * time.Minute

// machine is this Docker host with all programs.
type machine struct {
	stack.Stack
	booted time.Time

	exporter, manager *testutil.Process
}

// say reports progress to the outer host.
func (m *machine) say(format string, args ...any) {
	fmt.Printf("vm: %4d s  %s\n", int(time.Since(m.booted).Seconds()), fmt.Sprintf(format, args...))
}

func program(name string) string { return filepath.Join(home, "bin", name) }

// start starts one of the programs, which is stopped after the test.
func start(t *testing.T, name string, args ...string) *testutil.Process {
	t.Helper()
	return testutil.StartProcess(t, name, append([]string{program(name)}, args...)...)
}

// run runs a program of the Docker host and returns its output.
func run(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(argv, " "), err, out.String(), problems.String())
	}
	return out.String()
}

// startDocker starts the Engine with Debian's defaults.
func (m *machine) startDocker(t *testing.T) {
	t.Helper()
	testutil.StartProcess(t, "dockerd", "dockerd")
	client, err := dockerclient.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	m.Docker = client
	testutil.Eventually(t, patience, "the Docker Engine responds", func() bool {
		return client.Ping(context.Background()) == nil
	})
	t.Cleanup(func() { m.removeContainers(t) })
	info, err := client.Info(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	m.say("Docker Engine %s, cgroup v%s, driver %s, %s", info.Version, info.CgroupVersion, info.CgroupDriver, info.StorageDriver)
}

func (m *machine) removeContainers(t *testing.T) {
	list, err := m.Docker.List(context.Background(), dockerclient.ListOptions{All: true})
	if err != nil {
		t.Errorf("removing all containers: %v", err)
	}
	for _, c := range list {
		if err := m.Docker.Remove(context.Background(), c.ID); err != nil && !dockerclient.IsNotFound(err) && !dockerclient.IsConflict(err) {
			t.Errorf("removing %s: %v", c.Name, err)
		}
	}
}

// importBox creates boxImage from busybox.
func (m *machine) importBox(t *testing.T) {
	t.Helper()
	busybox, err := os.ReadFile(program("busybox"))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	headers := []*tar.Header{{Name: "bin/busybox", Mode: 0o755, Size: int64(len(busybox))}}
	for _, name := range []string{"sh", "sleep", "tail", "ping", "true", "dd", "cat"} {
		headers = append(headers, &tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox"})
	}
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write(busybox); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Docker.ImportImage(context.Background(), &layer, boxImage, []string{"ENV PATH=/bin"}); err != nil {
		t.Fatal(err)
	}
}

// loadModule loads estiba.ko.
func loadModule(t *testing.T) {
	t.Helper()
	run(t, "insmod", filepath.Join(home, "estiba.ko"))
}

// unloadModule unloads estiba.ko.
func unloadModule(t *testing.T) {
	t.Helper()
	run(t, "rmmod", "estiba")
	if _, err := os.Stat(moduleFile); !os.IsNotExist(err) {
		t.Errorf("%s after rmmod: %v", moduleFile, err)
	}
}

// save sends a document to the outer host, which validates it against the schema.
func save(t *testing.T, name string, document []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(os.Getenv("ESTIBA_OUT"), name+".json"), document, 0o644); err != nil {
		t.Fatal(err)
	}
}
