package runtimes

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/internal/testutil/criserver"
)

// podman answers as Podman 4.3 does: no header of the event stream before the first event,
// "remove" for a removal, states of its own, pods in an API of its own.
type podman struct {
	socket string
	server *http.Server

	mu         sync.Mutex
	containers map[string]podmanContainer
	listeners  map[chan string]bool
	docker     bool // it is Docker
	forbidden  bool // a proxy forbids Podman's own API
	calls      []string
}

type podmanContainer struct {
	name, state, pod string
	infra, oom       bool
	exit, exits      int
}

// finished returns the time of the last exit: each is at another second.
func (c podmanContainer) finished() string {
	if c.state != "exited" && c.state != "stopped" {
		return "0001-01-01T00:00:00Z"
	}
	return fmt.Sprintf("2026-11-29T18:03:%02dZ", c.exits)
}

func startPodman(t *testing.T, socket string) *podman {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	p := &podman{socket: socket, containers: map[string]podmanContainer{}, listeners: map[chan string]bool{}}
	p.server = &http.Server{Handler: http.HandlerFunc(p.serve)}
	go p.server.Serve(l)
	t.Cleanup(func() { p.server.Close() })
	return p
}

func (p *podman) put(id, action string, c *podmanContainer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c == nil {
		delete(p.containers, id)
	} else {
		p.containers[id] = *c
	}
	for l := range p.listeners {
		if action == "" {
			continue
		}
		l <- fmt.Sprintf(`{"status":%q,"id":%q,"Type":"container","Action":%q,"Actor":{"ID":%q,"Attributes":{}},"time":1,"timeNano":1}`+"\n", action, id, action, id)
	}
}

func (p *podman) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, r.URL.Path)
	path := r.URL.Path
	if rest, ok := strings.CutPrefix(path, "/v1.41"); ok {
		path = rest
	}
	w.Header().Set("Api-Version", "1.41")
	switch {
	case path == "/_ping":
		if !p.docker {
			w.Header().Set("Server", "Libpod/4.3.1 (linux)")
		}
		fmt.Fprint(w, "OK")
	case path == "/events":
		events := make(chan string, 100)
		p.listeners[events] = true
		p.mu.Unlock()
		if p.docker {
			w.(http.Flusher).Flush()
		}
		for open := true; open; {
			select {
			case <-r.Context().Done():
				open = false
			case e := <-events:
				fmt.Fprint(w, e)
				w.(http.Flusher).Flush()
			}
		}
		p.mu.Lock()
		delete(p.listeners, events)
	case path == "/containers/json":
		var list []string
		for id, c := range p.containers {
			list = append(list, fmt.Sprintf(`{"Id":%q,"Names":["/%s"],"Image":"localhost/i:1","Labels":null,"State":%q,"Created":1795975337}`, id, c.name, c.state))
		}
		fmt.Fprintf(w, "[%s]", strings.Join(list, ","))
	case path == "/v4.0.0/libpod/containers/json" && !p.forbidden:
		var list []string
		for id, c := range p.containers {
			if filter := r.URL.Query().Get("filters"); filter == "" || strings.Contains(filter, id) {
				podID := ""
				if c.pod != "" {
					podID = "of-" + c.pod
				}
				list = append(list, fmt.Sprintf(`{"Id":%q,"Pod":%q,"PodName":%q,"IsInfra":%t,"Created":"2026-11-29T18:02:16.1Z","Labels":null}`, id, podID, c.pod, c.infra))
			}
		}
		fmt.Fprintf(w, "[%s]", strings.Join(list, ","))
	default:
		id, ok := strings.CutSuffix(strings.TrimPrefix(path, "/containers/"), "/json")
		c, there := p.containers[id]
		if !ok || !there {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"cause":"no such container","message":"no such container","response":404}`)
			return
		}
		fmt.Fprintf(w, `{"Id":%q,"Name":"/%s","Created":"2026-11-29T18:02:34.27Z","RestartCount":0,"State":{"Status":%q,"OOMKilled":%t,"ExitCode":%d,"StartedAt":"0001-01-01T00:00:00Z","FinishedAt":%q,"Health":{"Status":""}},
			"HostConfig":{"NetworkMode":"none","Runtime":"oci"},"Config":{"Image":"localhost/i:1","Labels":null}}`, id, c.name, c.state, c.oom, c.exit, c.finished())
	}
}

func runSet(t *testing.T, root string, hosts Hosts) *Set {
	t.Helper()
	s, err := newSet(root, hosts, Config{MinPause: 10 * time.Millisecond, MaxPause: 50 * time.Millisecond, Poll: 50 * time.Millisecond, Alive: time.Second}, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		s.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		s.Close()
	})
	return s
}

// hostRoot returns a directory in place of "/", short enough for sockets.
func hostRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func all(address string) Hosts {
	return Hosts{Docker: {address}, Podman: {address}, CRI: {address}}
}

// named reports whether the set has a name for the container, looking it up as a scrape
// does.
func named(s *Set, user uint32, id, runtime, namespace, name string) func() bool {
	return func() bool {
		i, _ := s.Find(user, id, runtime, namespace)
		return i != nil && i.Name == name && s.Up(i)
	}
}

func status(s *Set) string { return fmt.Sprint(s.Status()) }

// TestPodman: names, states and removals without Docker's events and states.
func TestPodman(t *testing.T) {
	p := startPodman(t, filepath.Join(hostRoot(t), "podman.sock"))
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	p.put(a, "create", &podmanContainer{name: "one", state: "configured"})
	s := runSet(t, "/", Hosts{Podman: {"unix://" + p.socket}})
	testutil.Eventually(t, 30*time.Second, "a name on a quiet host", named(s, 0, a, "podman", "", "one"))
	state := func(id, want string) func() bool {
		return func() bool {
			i, _ := s.Find(0, id, "podman", "")
			return i != nil && i.State.Status == want
		}
	}
	for was, want := range map[string]string{"initialized": StateCreated, "running": StateRunning, "stopping": StateRunning, "paused": StatePaused, "stopped": StateExited, "unknown": ""} {
		p.put(a, "cleanup", &podmanContainer{name: "one", state: was})
		testutil.Eventually(t, 30*time.Second, was, state(a, want))
	}
	p.put(a, "start", &podmanContainer{name: "one", state: "running"})
	testutil.Eventually(t, 30*time.Second, "it runs", state(a, StateRunning))
	p.put(a, "die", &podmanContainer{name: "one", state: "exited", exit: 137, oom: true})
	testutil.Eventually(t, 30*time.Second, "an OOM kill by the exit", func() bool { return s.OOMs()[a].Events == 1 })
	// The event of its start comes late.
	p.put(a, "start", &podmanContainer{name: "one", state: "exited", exit: 137, oom: true})
	p.put(a, "start", &podmanContainer{name: "one", state: "running"})
	p.put(a, "die", &podmanContainer{name: "one", state: "exited", exit: 137, oom: true, exits: 1})
	testutil.Eventually(t, 30*time.Second, "the next OOM kill", func() bool { return s.OOMs()[a].Events > 1 })
	if n := s.OOMs()[a].Events; n != 2 {
		t.Errorf("%d OOM kills, want 2", n)
	}
	p.put(b, "create", &podmanContainer{name: "inpod", state: "running", pod: "web"})
	testutil.Eventually(t, 30*time.Second, "a container of a pod", named(s, 0, b, "podman", "", "inpod"))
	if i, _ := s.Find(0, b, "podman", ""); i.Pod != "web" || i.PodContainer != "inpod" || i.Runtime != "podman" {
		t.Errorf("%+v", i)
	}
	c := strings.Repeat("c", 64)
	p.put(c, "create", &podmanContainer{name: "x-infra", state: "running", pod: "web", infra: true})
	testutil.Eventually(t, 30*time.Second, "the infra container", named(s, 0, c, "podman", "", "x-infra"))
	if i, _ := s.Find(0, c, "podman", ""); i.PodContainer != PodPause {
		t.Errorf("%+v", i)
	}
	p.put(a, "remove", nil)
	testutil.Eventually(t, 30*time.Second, "a removal", func() bool { return len(s.View().Idle) == 0 && len(s.View().Running) == 2 })
	if got := status(s); got != "[{podman true}]" {
		t.Error(got)
	}
}

// TestPodmanAtDockersAddress: with --docker.host at Podman, or Podman's own API forbidden.
func TestPodmanAtDockersAddress(t *testing.T) {
	p := startPodman(t, filepath.Join(hostRoot(t), "s"))
	p.forbidden = true
	id := strings.Repeat("a", 64)
	p.put(id, "", &podmanContainer{name: "one", state: "running", pod: "web"})
	s := runSet(t, "/", Hosts{Docker: {"unix://" + p.socket}})
	testutil.Eventually(t, 30*time.Second, "its name", named(s, 0, id, "podman", "", "one"))
	if i, _ := s.Find(0, id, "podman", ""); i.Runtime != "podman" || i.Pod != "" {
		t.Errorf("%+v", i)
	}
}

// TestUsualPlaces: runtimes are found when they come; what is not there is silent.
func TestUsualPlaces(t *testing.T) {
	root := hostRoot(t)
	var logged lines
	s, err := newSet(root, all(Auto), Config{MinPause: 5 * time.Millisecond, MaxPause: 20 * time.Millisecond}, log.NewLogfmtLogger(&logged))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		s.Run(ctx)
		close(done)
	}()
	defer func() {
		cancel()
		<-done
		s.Close()
	}()
	time.Sleep(100 * time.Millisecond) // some rounds
	if got := status(s); got != "[]" || logged.String() != "" {
		t.Errorf("on a host without any: %s\n%s", got, logged.String())
	}
	if _, expected := s.Find(0, "x", "docker", "moby"); !expected {
		t.Error("a container of Docker is not expected to have a name")
	}
	if _, expected := s.Find(0, "x", "podman", ""); expected {
		t.Error("a container of Podman is, without Podman")
	}
	p := startPodman(t, filepath.Join(root, "run/podman/podman.sock"))
	p.put("a", "", &podmanContainer{name: "a", state: "running"})
	testutil.Eventually(t, 30*time.Second, "Podman", named(s, 0, "a", "podman", "", "a"))
	d := startPodman(t, filepath.Join(root, "var/run/docker.sock"))
	d.docker = true
	d.put("b", "", &podmanContainer{name: "b", state: "running"})
	testutil.Eventually(t, 30*time.Second, "Docker", named(s, 0, "b", "docker", "", "b"))
	cri := criserver.New(t)
	cri.PutPod(criserver.Pod{ID: "p", Name: "web", Namespace: "shop"})
	cri.Put(criserver.Container{ID: "c", Pod: "p", Name: "app"})
	cri.Start(t)
	if err := os.MkdirAll(filepath.Join(root, "run/k3s/containerd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(cri.Socket(), filepath.Join(root, "run/k3s/containerd/containerd.sock")); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, 30*time.Second, "K3s", named(s, 0, "c", "containerd", "k8s.io", "shop/web/app"))
	if got := status(s); got != "[{docker true} {podman true} {cri true}]" {
		t.Error(got)
	}
}

// TestSeveral: each container has the name of its own runtime, and a runtime that is down
// takes nothing from the others.
func TestSeveral(t *testing.T) {
	root := hostRoot(t)
	p, d := startPodman(t, filepath.Join(root, "p")), startPodman(t, filepath.Join(root, "d"))
	d.docker = true
	p.put("a", "", &podmanContainer{name: "of-podman", state: "running"})
	p.put("e", "", &podmanContainer{name: "ended", state: "exited"})
	d.put("b", "", &podmanContainer{name: "of-docker", state: "running"})
	d.put("a", "", &podmanContainer{name: "the-same-id", state: "running"})
	cri := criserver.New(t)
	cri.PutPod(criserver.Pod{ID: "p", Name: "web", Namespace: "shop"})
	cri.Put(criserver.Container{ID: "c", Pod: "p", Name: "app"})
	cri.Start(t)
	s := runSet(t, root, Hosts{Docker: {"unix://" + d.socket}, Podman: {"unix://" + p.socket}, CRI: {cri.Address()}})
	for id, want := range map[string]string{"a": "the-same-id", "b": "of-docker", "c": "shop/web/app", "p": "shop/web", "e": "ended"} {
		testutil.Eventually(t, 30*time.Second, want, named(s, 0, id, "", "", want))
	}
	if got := status(s); got != "[{docker true} {podman true} {cri true}]" {
		t.Error(got)
	}
	v := s.View()
	if len(v.Running) != 3 || len(v.Idle) != 1 {
		t.Errorf("%d run and %d do not, want 3 and 1: one of two with the same id, no sandbox", len(v.Running), len(v.Idle))
	}
	if s.View() != v {
		t.Error("nothing changed, and a view is made anew")
	}
	cri.Stop()
	testutil.Eventually(t, 30*time.Second, "the loss", func() bool { return status(s) == "[{docker true} {podman true} {cri false}]" })
	if i, _ := s.Find(0, "c", "containerd", "k8s.io"); i == nil || s.Up(i) {
		t.Errorf("of the lost runtime: %+v", i)
	}
	if i, _ := s.Find(0, "b", "docker", ""); i == nil || !s.Up(i) {
		t.Errorf("of another one: %+v", i)
	}
}

// TestUsers: a user's Podman describes that user's containers, and no other's; root's
// describes root's.
func TestUsers(t *testing.T) {
	testutil.Require(t, testutil.Root)
	root := hostRoot(t)
	const user, other = 4711, 4712
	shared := strings.Repeat("a", 64)
	mine := startPodman(t, filepath.Join(root, fmt.Sprintf("run/user/%d/podman/podman.sock", user)))
	mine.put(shared, "", &podmanContainer{name: "of-the-user", state: "running"})
	mine.put("only", "", &podmanContainer{name: "only", state: "running"})
	ours := startPodman(t, filepath.Join(root, "run/podman/podman.sock"))
	ours.put(shared, "", &podmanContainer{name: "of-root", state: "running"})
	if err := os.Chown(mine.socket, user, user); err != nil {
		t.Fatal(err)
	}
	// One whose socket is not his own, and one that is a link to root's.
	fake := startPodman(t, filepath.Join(root, fmt.Sprintf("run/user/%d/podman/podman.sock", other)))
	fake.put("x", "", &podmanContainer{name: "fake", state: "running"})
	const link = 4713
	if err := os.MkdirAll(filepath.Join(root, fmt.Sprintf("run/user/%d/podman", link)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(ours.socket, filepath.Join(root, fmt.Sprintf("run/user/%d/podman/podman.sock", link))); err != nil {
		t.Fatal(err)
	}
	s := runSet(t, root, Hosts{Podman: {Auto}})
	testutil.Eventually(t, 30*time.Second, "root's", named(s, 0, shared, "podman", "", "of-root"))
	mine.mu.Lock()
	if len(mine.calls) != 0 {
		t.Errorf("a user without containers: his Podman was asked %v", mine.calls)
	}
	mine.mu.Unlock()
	testutil.Eventually(t, 30*time.Second, "the user's", named(s, user, shared, "podman", "", "of-the-user"))
	if !named(s, 0, shared, "podman", "", "of-root")() {
		t.Error("root's container has another name by now")
	}
	for range 20 {
		for _, c := range []struct {
			user uint32
			id   string
		}{{other, "x"}, {link, shared}, {0, "only"}, {other, "only"}, {0, "x"}, {user, "x"}} {
			if i, _ := s.Find(c.user, c.id, "podman", ""); i != nil {
				t.Fatalf("user %d's container %s is called %s", c.user, c.id, i.Name)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	if v := s.View(); len(v.Running) != 3 {
		t.Errorf("%d run, want 3", len(v.Running))
	}
}

// TestOwnerOfAConfiguredSocket: a socket describes its owner's containers, and no longer
// those of the owner before.
func TestOwnerOfAConfiguredSocket(t *testing.T) {
	testutil.Require(t, testutil.Root)
	p := startPodman(t, filepath.Join(hostRoot(t), "s"))
	p.put("a", "", &podmanContainer{name: "a", state: "running"})
	p.put("before", "", &podmanContainer{name: "before", state: "running"})
	s := runSet(t, "/", Hosts{Podman: {"unix://" + p.socket}})
	testutil.Eventually(t, 30*time.Second, "root's", named(s, 0, "before", "podman", "", "before"))
	p.put("before", "", nil) // without an event
	if err := os.Chown(p.socket, 4711, 4711); err != nil {
		t.Fatal(err)
	}
	p.server.Close()
	// At no time can it be connected to while it is root's.
	l, err := net.Listen("unix", p.socket+".new")
	if err == nil {
		err = os.Chown(p.socket+".new", 4711, 4711)
	}
	if err == nil {
		err = os.Rename(p.socket+".new", p.socket)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.server = &http.Server{Handler: http.HandlerFunc(p.serve)}
	go p.server.Serve(l)
	testutil.Eventually(t, 30*time.Second, "the user's", named(s, 4711, "a", "podman", "", "a"))
	if i, _ := s.Find(0, "a", "podman", ""); i != nil {
		t.Error("root's still has the name")
	}
	if i, _ := s.Find(4711, "before", "podman", ""); i != nil {
		t.Error("root's container became the user's")
	}
}

func TestDescribes(t *testing.T) {
	for _, tt := range []struct {
		runtime, namespace string
		want               []string
	}{
		{"docker", "moby", []string{Docker}},
		{"docker", "", []string{Docker}},
		{"", "", []string{Docker}},
		{"", "moby", []string{Docker}},
		{"", "k8s.io", []string{CRI}},
		{"", "default", nil},
		{"containerd", "k8s.io", []string{CRI}},
		{"containerd", "", []string{CRI}},
		{"containerd", "default", nil},
		{"kata", "moby", []string{Docker}},
		{"kata", "k8s.io", []string{CRI}},
		{"cri-o", "", []string{CRI}},
		{"podman", "", []string{Podman}},
		{"lxc", "", nil},
		{"systemd-nspawn", "", nil},
		{"another", "", nil},
	} {
		if got := describes(tt.runtime, tt.namespace); !slices.Equal(got, tt.want) {
			t.Errorf("%q in %q: %v, want %v", tt.runtime, tt.namespace, got, tt.want)
		}
	}
	if container.Docker != Docker || container.Podman != Podman {
		t.Error("the names of package container differ")
	}
}

func TestAddresses(t *testing.T) {
	for address, ok := range map[string]bool{"": true, None: true, Auto: true, "unix:///x": true, "no scheme": false} {
		for _, kind := range []string{Docker, Podman, CRI} {
			s, err := NewSet(Hosts{kind: {address}}, Config{}, log.NewNopLogger())
			if (err == nil) != ok {
				t.Errorf("--%s=%q: %v", flags[kind], address, err)
			}
			if err == nil {
				s.Close()
			} else if !strings.Contains(err.Error(), "--"+flags[kind]) {
				t.Errorf("%v does not name the flag", err)
			}
		}
	}
}
