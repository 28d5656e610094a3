package runtimes

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/estiba/estiba/internal/testutil"
)

// program exits with its argument, or waits without one.
const program = `package main

import (
	"os"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		code, _ := strconv.Atoi(os.Args[1])
		os.Exit(code)
	}
	time.Sleep(time.Hour)
}
`

// realPodman runs Podman with a storage of its own.
type realPodman struct {
	t    *testing.T
	args []string
}

func (p realPodman) do(args ...string) string {
	p.t.Helper()
	cmd := exec.Command("podman", append(append([]string(nil), p.args...), args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() > 100 {
		p.t.Fatalf("podman %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(stdout.String())
}

// run starts a container of the program.
func (p realPodman) run(args ...string) string {
	p.t.Helper()
	// Podman asks for limits that a machine inside a container cannot set.
	return p.do(append([]string{"run", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"}, args...)...)
}

// startRealPodman starts Podman's service, and makes the image localhost/program:1.
func startRealPodman(t *testing.T) (p realPodman, address string) {
	t.Helper()
	testutil.Require(t, testutil.Root, "podman", "runc")
	dir := hostRoot(t)
	runtime, err := exec.LookPath("runc") // crun refuses hybrid cgroups
	if err != nil {
		t.Fatal(err)
	}
	p = realPodman{t, []string{
		"--root=" + filepath.Join(dir, "r"), "--runroot=" + filepath.Join(dir, "rr"), "--tmpdir=" + filepath.Join(dir, "t"),
		"--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=" + runtime,
	}}
	source := filepath.Join(dir, "program.go")
	if err := os.WriteFile(source, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(testutil.Build(t, source))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "program", Mode: 0o755, Size: int64(len(binary))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(binary); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "layer.tar")
	if err := os.WriteFile(file, layer.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	p.do("import", "--change", `ENTRYPOINT ["/program"]`, file, "localhost/program:1")
	t.Cleanup(func() {
		p.do("pod", "rm", "--force", "--all")
		p.do("rm", "--force", "--time=0", "--all")
	})
	address = "unix://" + filepath.Join(dir, "s")
	testutil.StartProcess(t, "podman", append(append([]string{"podman"}, p.args...), "system", "service", "--time=0", address)...)
	return p, address
}

// TestRealPodman: names, states and removals within seconds.
func TestRealPodman(t *testing.T) {
	p, address := startRealPodman(t)
	engine, err := NewDocker(address)
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	c := startAt(t, engine, Endpoint{Kind: Podman, Address: address}, Config{Labels: []string{"team"}})
	testutil.Eventually(t, 20*time.Second, "up, on a host without events", c.Up)
	state := func(id, name, status string) func() bool {
		return func() bool {
			i := c.get(id)
			return i != nil && i.Name == name && i.State.Status == status && i.State.Inspected
		}
	}
	one := p.run("--detach", "--network=none", "--name=one", "--label=team=x", "--label=estiba.managed=true", "localhost/program:1")
	testutil.Eventually(t, 5*time.Second, "it runs", state(one, "one", StateRunning))
	if i := c.get(one); i.Image != "localhost/program:1" || i.Extra["team"] != "x" || !i.Labels.Managed || i.Runtime != "podman" || i.Pod != "" {
		t.Errorf("%+v", i)
	}
	p.do("pause", "one")
	testutil.Eventually(t, 5*time.Second, "it is paused", state(one, "one", StatePaused))
	p.do("unpause", "one")
	testutil.Eventually(t, 5*time.Second, "it runs again", state(one, "one", StateRunning))
	p.do("rename", "one", "uno")
	testutil.Eventually(t, 5*time.Second, "its new name", state(one, "uno", StateRunning))
	p.do("stop", "--time=0", "uno")
	testutil.Eventually(t, 5*time.Second, "its exit", state(one, "uno", StateExited))
	if s := c.get(one).State; s.ExitCode != 137 {
		t.Errorf("killed by the stop: %+v", s)
	}
	p.do("start", "uno")
	testutil.Eventually(t, 5*time.Second, "its next life", state(one, "uno", StateRunning))

	p.run("--network=none", "--name=two", "localhost/program:1", "7")
	two := p.do("inspect", "--format={{.Id}}", "two")
	testutil.Eventually(t, 5*time.Second, "an exit code", func() bool { return state(two, "two", StateExited)() && c.get(two).State.ExitCode == 7 })
	p.do("rm", "two")
	testutil.Eventually(t, 5*time.Second, "a removal", func() bool { return len(c.View().Idle) == 0 })
	if len(c.View().Running) != 1 {
		t.Errorf("%d run", len(c.View().Running))
	}

	p.do("pod", "create", "--name=web", "--infra-image=localhost/program:1", "--network=none")
	inpod := p.do("create", "--pod=web", "--name=inpod", "localhost/program:1")
	testutil.Eventually(t, 5*time.Second, "a container of a pod", state(inpod, "inpod", StateCreated))
	if i := c.get(inpod); i.Pod != "web" || i.PodContainer != "inpod" {
		t.Errorf("%+v", i)
	}
	infra := p.do("pod", "inspect", "--format={{.InfraContainerID}}", "web")
	testutil.Eventually(t, 5*time.Second, "its infra container", func() bool { i := c.get(infra); return i != nil && i.PodContainer == PodPause && i.Pod == "web" })

	// What came before the exporter is there, too.
	again, err := NewDocker(address)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	later := NewCache(again, Endpoint{Kind: Podman, Address: address}, Config{}, log.NewNopLogger())
	if err := listed(t, later); err != nil {
		t.Fatal(err)
	}
	if i := later.get(inpod); i == nil || i.Pod != "web" || i.Name != "inpod" {
		t.Errorf("%+v", i)
	}
}

// listed lists once.
func listed(t *testing.T, c *Cache) (err error) {
	t.Helper()
	if c.about, err = c.engine.Connect(t.Context()); err != nil {
		return err
	}
	return c.resync(t.Context(), true)
}
