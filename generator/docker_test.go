package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/generator/batch"
	"github.com/estiba/estiba/generator/lock"
	"github.com/estiba/estiba/generator/usage"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

// generatorUnderTest is the generator with a unique name, image tag and lock file, so
// that it never touches other containers.
type generatorUnderTest struct {
	program string
	name    string
	lock    string   // path of the lock file
	flags   []string // of run and once
	docker  *dockerclient.Client
}

func newGenerator(t *testing.T, docker *dockerclient.Client, host string) *generatorUnderTest {
	t.Helper()
	name := fmt.Sprintf("test-%d-%s", os.Getpid(), strings.ToLower(t.Name()))
	image := "estiba/stress:" + name
	g := &generatorUnderTest{program: testutil.Build(t, "./generator"), name: name, docker: docker, lock: filepath.Join(t.TempDir(), "lock")}
	g.flags = []string{"--name=" + name, "--image=" + image, "--docker.host=" + host, "--lock-file=" + g.lock}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, c := range g.list(t) {
			docker.Remove(ctx, c.ID)
		}
		docker.RemoveImage(ctx, image)
	})
	return g
}

// do runs the program and returns its exit code and log.
func (g *generatorUnderTest) do(t *testing.T, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command(g.program, args...)
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

func (g *generatorUnderTest) once(t *testing.T, more ...string) (int, string) {
	t.Helper()
	return g.do(t, append(append([]string{"once"}, g.flags...), more...)...)
}

func (g *generatorUnderTest) list(t *testing.T) []dockerclient.Container {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	list, err := g.docker.List(ctx, dockerclient.ListOptions{All: true, Labels: []string{container.LabelGenerator + "=" + g.name}})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// completeBatch finds a seed whose batch of ten has all kinds at both levels.
func completeBatch(t *testing.T) (uint64, batch.Batch) {
	t.Helper()
	for seed := range uint64(100000) {
		b := batch.New(batch.Seeded(seed, 0), 10)
		seen := map[string]bool{}
		for _, i := range b.Items {
			seen[string(i.Params.Kind)+string(i.Level)] = true
		}
		if len(seen) == 8 {
			return seed, b
		}
	}
	t.Fatal("no seed with all kinds at both levels")
	return 0, batch.Batch{}
}

// limits is the part of the Engine's response that dockerclient leaves out.
type limits struct {
	Config     struct{ User string }
	HostConfig struct {
		NanoCpus, Memory, MemorySwap, PidsLimit int64
		NetworkMode                             string
		AutoRemove, ReadonlyRootfs              bool
		CapDrop, SecurityOpt                    []string
		CapAdd                                  []string
		Privileged                              bool
	}
}

// inspect queries the Engine at the default socket.
func inspect(t *testing.T, id string) limits {
	t.Helper()
	c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(dockerclient.DefaultHost, "unix://"))
	}}}
	defer c.CloseIdleConnections()
	r, err := c.Get("http://docker/containers/" + id + "/json")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var l limits
	if err := json.NewDecoder(r.Body).Decode(&l); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("inspecting %s: %s, %v", id, r.Status, err)
	}
	return l
}

func TestBatchOnDocker(t *testing.T) {
	testutil.Require(t, testutil.Docker, testutil.Root)
	docker, err := dockerclient.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	g := newGenerator(t, docker, "")
	ctx := context.Background()

	seed, want := completeBatch(t)
	// The seed determines the names, which an earlier run may have left.
	for _, i := range want.Items {
		docker.Remove(ctx, i.Name)
	}
	if code, out := g.once(t, fmt.Sprint("--seed=", seed), "--lifetime=5m"); code != exitOK || !strings.Contains(out, "created 10 containers") {
		t.Fatalf("once: exit %d\n%s", code, out)
	}
	byName := map[string]dockerclient.Container{}
	for _, c := range g.list(t) {
		byName[c.Name] = c
	}
	if len(byName) != 10 {
		t.Fatalf("%d containers, want 10", len(byName))
	}
	pids := map[string]int{}
	for _, i := range want.Items {
		c, ok := byName[i.Name]
		if !ok {
			t.Fatalf("no container %s", i.Name)
		}
		l := container.ParseLabels(c.Labels)
		if !l.Managed || l.Kind != i.Params.Kind || l.Load != string(i.Level) || c.Labels[container.LabelBatch] != want.ID || l.Errors != nil {
			t.Errorf("%s: labels %v", i.Name, c.Labels)
		}
		h := inspect(t, c.ID)
		hc := h.HostConfig
		if hc.NanoCpus != int64(i.Limits.CPUs*1e9) || hc.Memory != i.Limits.MemoryBytes || hc.MemorySwap != hc.Memory || hc.PidsLimit != i.Limits.PIDs ||
			hc.NetworkMode != "none" || !hc.AutoRemove || !hc.ReadonlyRootfs || hc.Privileged || len(hc.CapAdd) != 0 ||
			fmt.Sprint(hc.CapDrop) != "[ALL]" || fmt.Sprint(hc.SecurityOpt) != "[no-new-privileges]" || h.Config.User != "65534:65534" {
			t.Errorf("%s: %+v, want %+v and full isolation", i.Name, h, i.Limits)
		}
		full, err := docker.Inspect(ctx, c.ID)
		if err != nil || full.PID == 0 {
			t.Fatalf("%s is not running: %+v, %v", i.Name, full, err)
		}
		pids[i.Name] = full.PID
	}

	time.Sleep(5 * time.Second) // skip the cost of starting
	before := map[string]usage.Usage{}
	read := func(into map[string]usage.Usage) {
		for name, pid := range pids {
			u, err := usage.Of(pid)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			into[name] = u
		}
	}
	read(before)
	const window = 30 * time.Second
	time.Sleep(window)
	after := map[string]usage.Usage{}
	read(after)
	for _, i := range want.Items {
		u := after[i.Name].Since(before[i.Name])
		cpu := u.CPU.Seconds() / window.Seconds() * 100
		t.Logf("%-26s CPU %7.4f %%, %6d kB resident, %5d calls, %9d bytes written", i.Name, cpu, u.RSS/1024, u.Calls, u.Written)
		if i.Level == batch.Low {
			// 0.16 % of a host of 4 GB, the smallest supported one.
			if cpu > 0.09 || float64(u.RSS) > 0.0016*4e9 {
				t.Errorf("%s is not low", i.Name)
			}
			continue
		}
		ok := cpu > 0.09
		switch i.Params.Kind {
		case container.KindCPU:
			ok = cpu > 5
		case container.KindRAM:
			ok = ok && u.RSS > i.Params.Bytes
		case container.KindIO:
			ok = ok && u.Calls > 30*int64(window/time.Second) && u.Written > 0
		case container.KindDisk:
			ok = ok && u.Written > int64(window/time.Second)<<20 && u.Read > int64(window/time.Second)<<20
		}
		if !ok {
			t.Errorf("%s is not high: %+v", i.Name, u)
		}
	}

	// The limit, the lock, and cleaning up, next to a container of another generator
	// and one that was never started.
	if code, out := g.once(t, "--max=11"); code != exitOK || len(g.list(t)) != 11 || !strings.Contains(out, "max=11 skipped=9") {
		t.Errorf("once at the limit: exit %d, %d containers\n%s", code, len(g.list(t)), out)
	}
	held, err := lock.Acquire(g.lock)
	if err != nil {
		t.Fatal(err)
	}
	if code, out := g.once(t); code != exitLocked || !strings.Contains(out, "already running") {
		t.Errorf("once without the lock: exit %d\n%s", code, out)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	if code, out := g.once(t, fmt.Sprint("--seed=", seed)); code != exitFailed || !strings.Contains(out, "already in use") || len(g.list(t)) != 11 {
		t.Errorf("once with names in use: exit %d, %d containers\n%s", code, len(g.list(t)), out)
	}
	create := func(name, generator string) string {
		id, err := docker.Create(ctx, dockerclient.Spec{
			Name: name, Image: "estiba/stress:" + g.name,
			Labels: map[string]string{container.LabelManaged: "true", container.LabelGenerator: generator},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { docker.Remove(context.Background(), id) })
		return id
	}
	create(g.name+"-left", g.name)
	other := create(g.name+"-other", g.name+"-other")
	if code, out := g.do(t, "clean", "--name="+g.name); code != exitOK || !strings.Contains(out, "count=12") || len(g.list(t)) != 0 {
		t.Errorf("clean: exit %d, %d left\n%s", code, len(g.list(t)), out)
	}
	if _, err := docker.Inspect(ctx, other); err != nil {
		t.Errorf("clean removed a container of another generator: %v", err)
	}
}

func TestContainerLifetime(t *testing.T) {
	testutil.Require(t, testutil.Docker)
	docker, err := dockerclient.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	g := newGenerator(t, docker, "")
	if code, out := g.once(t, "--batch=2", "--lifetime=3s"); code != exitOK || len(g.list(t)) == 0 {
		t.Fatalf("once: exit %d, %d containers\n%s", code, len(g.list(t)), out)
	}
	testutil.Eventually(t, 30*time.Second, "the containers have exited", func() bool { return len(g.list(t)) == 0 })
}

func TestEngineOutage(t *testing.T) {
	engine := testutil.StartEngine(t)
	g := newGenerator(t, engine.Client(t), engine.Host)
	p := testutil.StartProcess(t, "generator", append([]string{g.program, "run", "--batch=1", "--interval=1s", "--max=1000"}, g.flags...)...)
	created := func() int { return strings.Count(p.Log(t), "created 1 container") }
	testutil.Eventually(t, 30*time.Second, "two batches", func() bool { return created() >= 2 })
	engine.Stop(t)
	testutil.Eventually(t, 30*time.Second, "the generator logs the outage", func() bool {
		return strings.Contains(p.Log(t), "creating batch failed") && strings.Contains(p.Log(t), engine.Host)
	})
	healthy := func() bool {
		code, _ := g.do(t, "healthcheck", "--lock-file="+g.lock, "--max-age=5s")
		return code == exitOK
	}
	testutil.Eventually(t, 30*time.Second, "unhealthy without the engine", func() bool { return !healthy() })
	before := created()
	engine.Start(t)
	testutil.Eventually(t, 30*time.Second, "a batch after the engine restarts", func() bool { return created() > before })
	testutil.Eventually(t, 30*time.Second, "healthy again", healthy)
	p.Stop(t)
	if code, out := g.do(t, "clean", "--name="+g.name, "--docker.host="+engine.Host); code != exitOK {
		t.Errorf("clean: exit %d\n%s", code, out)
	}
}

func TestOnceWithoutAnEngine(t *testing.T) {
	g := &generatorUnderTest{program: testutil.Build(t, "./generator")}
	host := "unix://" + filepath.Join(t.TempDir(), "none.sock")
	code, out := g.do(t, "once", "--docker.host="+host, "--lock-file="+filepath.Join(t.TempDir(), "lock"))
	if code != exitFailed || !strings.Contains(out, host) || strings.Count(out, "\n") != 1 {
		t.Errorf("exit %d, %q; want 1 and one line with the engine's address", code, out)
	}
}
