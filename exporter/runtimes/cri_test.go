package runtimes

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/internal/testutil/criserver"
)

// fill adds a pod with two containers, one of which has exited.
func fill(s *criserver.Server) {
	s.PutPod(criserver.Pod{ID: "p", Name: "web-0", Namespace: "shop", Image: "registry/pause:3.9", Labels: map[string]string{"app": "web", "estiba.kind": "cpu"}})
	s.Put(criserver.Container{ID: "a", Pod: "p", Name: "app", Image: "shop/web:1", Attempt: 2})
	s.Put(criserver.Container{ID: "i", Pod: "p", Name: "init", Image: "shop/init:1", State: "exited", ExitCode: 3})
}

// followed starts a cache of the server.
func followed(t *testing.T, s *criserver.Server, c Config) *Cache {
	t.Helper()
	engine, err := NewCRI(s.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	return startAt(t, engine, Endpoint{Kind: CRI, Address: s.Address()}, c)
}

func TestPods(t *testing.T) {
	s := criserver.New(t)
	fill(s)
	s.Start(t)
	c := followed(t, s, Config{Labels: []string{"app"}, Sizes: 30 * time.Millisecond})
	testutil.Eventually(t, 30*time.Second, "all are inspected", func() bool {
		for _, id := range []string{"a", "i", "p"} {
			if i := c.get(id); i == nil || !i.State.Inspected {
				return false
			}
		}
		return true
	})
	for id, want := range map[string]Info{
		"a": {Name: "shop/web-0/app", Image: "shop/web:1", PodContainer: "app", SandboxID: "p", Labels: container.Labels{Kind: container.KindCPU}, State: State{Status: StateRunning, Restarts: 2}},
		"i": {Name: "shop/web-0/init", Image: "shop/init:1", PodContainer: "init", SandboxID: "p", Labels: container.Labels{Kind: container.KindCPU}, State: State{Status: StateExited, ExitCode: 3}},
		"p": {Name: "shop/web-0", Image: "registry/pause:3.9", PodContainer: "POD", Sandbox: true, State: State{Status: StateRunning}},
	} {
		got := *c.get(id)
		if !got.State.NoHealth || got.State.Changed.IsZero() {
			t.Errorf("%s: state %+v", id, got.State)
		}
		want.ID, want.Runtime, want.Pod, want.PodNamespace, want.Extra = id, "containerd", "web-0", "shop", map[string]string{"app": "web"}
		want.State.Inspected, want.State.NoHealth, want.State.Changed = true, true, got.State.Changed
		if !got.equal(&want) || got.State != want.State {
			t.Errorf("%s:\n got %+v\nwant %+v", id, got, want)
		}
	}
	if v := c.View(); len(v.Running) != 1 || len(v.Idle) != 1 || v.Idle[0].ID != "i" || !v.Idle[0].State.Ended() {
		t.Errorf("view %+v", v)
	}
	testutil.Eventually(t, 30*time.Second, "sizes", func() bool { n, ok := c.size("a"); return ok && n == 4096 })

	s.Put(criserver.Container{ID: "a", Pod: "p", Name: "app", Image: "shop/web:1", Attempt: 2, State: "exited", ExitCode: 137, Reason: "OOMKilled"})
	testutil.Eventually(t, 30*time.Second, "an exit by its event", func() bool { return c.get("a").State.ExitCode == 137 })
	testutil.Eventually(t, 30*time.Second, "its reason", func() bool { return c.OOMs()["a"].Events == 1 })
	s.Put(criserver.Container{ID: "b", Pod: "p", Name: "app", Image: "shop/web:1", Attempt: 3})
	testutil.Eventually(t, 30*time.Second, "the next one", func() bool { i := c.get("b"); return i != nil && i.State.Restarts == 3 })
	s.Remove("a")
	testutil.Eventually(t, 30*time.Second, "a removed one", func() bool { return len(c.View().Idle) == 1 })
	if c.get("a") == nil {
		t.Error("its name is lost at once")
	}
	if n := s.Calls("ListContainers"); n > 12 {
		t.Errorf("%d lists", n)
	}
}

// TestExitsBeforeTheStart: what was killed before is no event of now.
func TestExitsBeforeTheStart(t *testing.T) {
	s := criserver.New(t)
	fill(s)
	s.Put(criserver.Container{ID: "o", Pod: "p", Name: "old", State: "exited", ExitCode: 137, Reason: "OOMKilled"})
	s.Start(t)
	c := followed(t, s, Config{Poll: 20 * time.Millisecond, Resync: 20 * time.Millisecond})
	testutil.Eventually(t, 30*time.Second, "it is inspected", func() bool { i := c.get("o"); return i != nil && i.State.Ended() })
	lists := s.Calls("ListContainers")
	testutil.Eventually(t, 30*time.Second, "more lists", func() bool { return s.Calls("ListContainers") > lists+3 })
	if n := c.OOMs(); len(n) != 0 {
		t.Errorf("%v", n)
	}
}

// TestPolled: without events, and where they would be taken from the kubelet, the runtime
// is listed every few seconds.
func TestPolled(t *testing.T) {
	for name, change := range map[string]func(*criserver.Server){
		"containerd 1.6":      func(s *criserver.Server) { s.Release, s.NoEvents = "1.6.20", "unimplemented" },
		"containerd 1.7":      func(s *criserver.Server) { s.Release = "v1.7.27" },
		"CRI-O, turned off":   func(s *criserver.Server) { s.Name, s.Release, s.NoEvents = "cri-o", "1.34.1", "ends" },
		"CRI-O, old":          func(s *criserver.Server) { s.Name, s.Release = "cri-o", "1.26.0" },
		"2.0 without events":  func(s *criserver.Server) { s.NoEvents = "unimplemented" },
		"an unknown one":      func(s *criserver.Server) { s.Name = "docker" },
		"with an odd version": func(s *criserver.Server) { s.Release = "v" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := criserver.New(t)
			change(s)
			fill(s)
			s.Start(t)
			c := followed(t, s, Config{Poll: 50 * time.Millisecond, Linger: 50 * time.Millisecond})
			testutil.Eventually(t, 30*time.Second, "the list", func() bool { return c.Up() && c.get("a") != nil && c.get("a").State.Inspected })
			if want := strings.HasPrefix(name, "CRI-O,") || strings.HasPrefix(name, "2.0"); !want && s.Calls("GetContainerEvents") != 0 {
				t.Error("its events were asked for")
			}
			s.Put(criserver.Container{ID: "a", Pod: "p", Name: "app", State: "exited", ExitCode: 1})
			testutil.Eventually(t, 30*time.Second, "an exit", func() bool { i := c.get("a"); return i.State.Ended() && i.State.ExitCode == 1 })
			statuses := s.Calls("ContainerStatus")
			s.Put(criserver.Container{ID: "b", Pod: "p", Name: "b"})
			testutil.Eventually(t, 30*time.Second, "a new one", func() bool { i := c.get("b"); return i != nil && i.State.Inspected })
			lists := s.Calls("ListContainers")
			testutil.Eventually(t, 30*time.Second, "more lists", func() bool { return s.Calls("ListContainers") > lists+3 })
			if n := s.Calls("ContainerStatus"); n != statuses+1 {
				t.Errorf("%d inspections of one new container", n-statuses)
			}
			s.Remove("a")
			testutil.Eventually(t, 30*time.Second, "a removal", func() bool { return c.get("a") == nil })
			if !c.Up() {
				t.Error("it is not up")
			}
		})
	}
}

// TestRuntimeFaults: whatever a runtime does, names stay, and what changed meanwhile is
// there afterwards.
func TestRuntimeFaults(t *testing.T) {
	s := criserver.New(t)
	fill(s)
	s.Start(t)
	c := followed(t, s, Config{Timeout: 200 * time.Millisecond, Alive: 50 * time.Millisecond})
	up := func() bool { return c.Up() && c.get("a") != nil }
	testutil.Eventually(t, 30*time.Second, "up", up)
	for name, fault := range map[string]struct{ begin, end func() }{
		"down":      {s.Stop, func() { s.Start(t) }},
		"hanging":   {func() { s.Change(func(s *criserver.Server) { s.Hang = true }) }, func() { s.Change(func(s *criserver.Server) { s.Hang = false }) }},
		"very slow": {func() { s.Change(func(s *criserver.Server) { s.Slow = time.Second }) }, func() { s.Change(func(s *criserver.Server) { s.Slow = 0 }) }},
	} {
		fault.begin()
		testutil.Eventually(t, 10*time.Second, name+" is noticed", func() bool { return !c.Up() })
		began := time.Now()
		if i, _ := c.find(0, "a"); i == nil || i.Name != "shop/web-0/app" {
			t.Errorf("%s: the name is lost", name)
		}
		c.lookUp("unknown")
		if took := time.Since(began); took > 50*time.Millisecond {
			t.Errorf("%s: a lookup took %s", name, took)
		}
		s.Put(criserver.Container{ID: name, Pod: "p", Name: name, Silent: true})
		fault.end()
		testutil.Eventually(t, 15*time.Second, "what came while it was "+name, func() bool { return up() && c.get(name) != nil })
	}
	s.Change(func(s *criserver.Server) { s.Slow = 50 * time.Millisecond })
	s.Put(criserver.Container{ID: "z", Pod: "p", Name: "z"})
	testutil.Eventually(t, 30*time.Second, "a slow runtime's event", func() bool { return c.get("z") != nil && c.Up() })
}

// TestWithoutCRI: containerd whose plugin is disabled is no runtime at a usual place, and
// one that is down elsewhere.
func TestWithoutCRI(t *testing.T) {
	s := criserver.New(t)
	s.WithoutCRI = true
	s.Start(t)
	for _, usual := range []bool{true, false} {
		var logged lines
		engine, err := NewCRI(s.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer engine.Close()
		c := NewCache(engine, Endpoint{Kind: CRI, Address: s.Address(), Usual: usual}, Config{MinPause: time.Millisecond, Retry: 5 * time.Millisecond}, log.NewLogfmtLogger(&logged))
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.Run(ctx)
		}()
		testutil.Eventually(t, 15*time.Second, "the first attempt fails", func() bool { return strings.Contains(logged.String(), "msg=") })
		time.Sleep(100 * time.Millisecond) // for more attempts, which must not be logged
		cancel()
		<-ended
		if found, up := c.status(); found == usual || up {
			t.Errorf("usual %t: found %t, up %t", usual, found, up)
		}
		level := "level=info"
		if !usual {
			level = "level=warn"
		}
		if text := logged.String(); strings.Count(text, "msg=") != 1 || !strings.Contains(text, level) {
			t.Errorf("usual %t: logged\n%s", usual, text)
		}
	}
}

// TestManyContainers: a list above gRPC's usual limit.
func TestManyContainers(t *testing.T) {
	s := criserver.New(t)
	s.MaxMessage = 1 << 30
	const pods, each = 200, 50
	for p := range pods {
		pod := fmt.Sprintf("%064x", p)
		s.PutPod(criserver.Pod{ID: pod, Name: fmt.Sprint("pod-", p), Namespace: "n", Labels: map[string]string{"long": strings.Repeat("x", 63)}})
		for i := range each {
			s.Put(criserver.Container{ID: fmt.Sprintf("%032x%032x", p+1, i), Pod: pod, Name: "c" + strings.Repeat("y", 600), Image: "i"})
		}
	}
	s.Start(t)
	c := followed(t, s, Config{})
	testutil.Eventually(t, 30*time.Second, "all", func() bool { return c.count() == pods*(each+1) })
	if n := len(c.View().Running); n != pods*each {
		t.Errorf("%d run, want %d", n, pods*each)
	}
}

// TestSandboxGone: a container of a sandbox that is not listed has the kubelet's labels.
func TestSandboxGone(t *testing.T) {
	s := criserver.New(t)
	fill(s)
	s.Remove("p")
	s.Start(t)
	c := followed(t, s, Config{})
	testutil.Eventually(t, 30*time.Second, "its name", func() bool {
		i := c.get("a")
		return i != nil && i.State.Inspected && i.Name == "shop/web-0/app" && i.Pod == "web-0" && i.PodNamespace == "shop"
	})
}
