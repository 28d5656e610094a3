package runtimes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/go-kit/log"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

// fakeEngine is an Engine that a test can modify, break and block.
type fakeEngine struct {
	mu         sync.Mutex
	containers map[string]Container
	events     chan Event
	failed     chan error
	down, hang bool
	lists      int
	sizings    int
	about      About
	eventless  bool
	inspected  map[string]int
	grown      int64 // bytes added to every layer
	// moved: all image tags have moved, so List returns no images.
	moved   bool
	corrupt map[string]bool // containers that cannot be inspected
}

func newFake() *fakeEngine {
	return &fakeEngine{containers: map[string]Container{}, inspected: map[string]int{}, corrupt: map[string]bool{}}
}

func (f *fakeEngine) wait(ctx context.Context) error {
	f.mu.Lock()
	down, hang := f.down, f.hang
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	if down {
		return errors.New("connection refused")
	}
	return nil
}

func (f *fakeEngine) Ping(ctx context.Context) error { return f.wait(ctx) }

func (f *fakeEngine) Close() error { return nil }

func (f *fakeEngine) Connect(ctx context.Context) (About, error) { return f.about, f.wait(ctx) }

func (f *fakeEngine) List(ctx context.Context) ([]Container, error) {
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	var list []Container
	for _, c := range f.containers {
		if f.moved {
			c.Image = ""
		}
		list = append(list, c)
	}
	return list, nil
}

func (f *fakeEngine) Sizes(ctx context.Context) (map[string]int64, error) {
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sizings++
	sizes := map[string]int64{}
	for id := range f.containers {
		sizes[id] = 4096 + f.grown
	}
	return sizes, nil
}

func (f *fakeEngine) Inspect(ctx context.Context, id string) (Container, error) {
	if err := f.wait(ctx); err != nil {
		return Container{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inspected[id]++
	c, ok := f.containers[id]
	if f.corrupt[id] {
		return c, errors.New("cannot be inspected")
	}
	if !ok && strings.HasPrefix(id, "unknown") {
		return c, cerrdefs.ErrNotFound
	}
	if !ok {
		return c, errors.New("gone in a way that is not a 404")
	}
	return c, nil
}

func (f *fakeEngine) Events(ctx context.Context) (<-chan Event, <-chan error) {
	failed := make(chan error, 1)
	if err := f.wait(ctx); err != nil {
		failed <- err
		return nil, failed
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.eventless {
		failed <- errNoEvents
		return nil, failed
	}
	f.events, f.failed = make(chan Event, 10), failed
	return f.events, failed
}

func (f *fakeEngine) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fakeEngine) put(c Container, action string) {
	f.change(func() {
		f.containers[c.ID] = c
		if f.events != nil && action != "" {
			f.events <- Event{Action: action, ID: c.ID}
		}
	})
}

// lines is a log that can be written and read at once.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Get is Set.Find of root's container with one runtime.
func (c *Cache) Get(id string) *Info {
	i, _ := c.find(0, id)
	if i == nil {
		c.lookUp(id)
	}
	return i
}

func (c *Cache) Sizes() (map[string]int64, time.Time) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.sizes, c.sizedAt
}

func (c *Cache) OOMs() map[string]OOM { return c.addOOMs(nil) }

func start(t *testing.T, e Engine, c Config) *Cache {
	t.Helper()
	return startAt(t, e, Endpoint{Kind: Docker, Address: "tcp://fake"}, c)
}

func startAt(t *testing.T, e Engine, place Endpoint, c Config) *Cache {
	t.Helper()
	c.MinPause, c.MaxPause = 10*time.Millisecond, 50*time.Millisecond
	cache := NewCache(e, place, c, log.NewNopLogger())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		cache.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("Run does not end with its context")
		}
	})
	return cache
}

func TestCacheFollows(t *testing.T) {
	f := newFake()
	f.put(Container{ID: "a", Name: "old", Image: "i", Labels: map[string]string{"estiba.kind": "ram", "team": "x", "other": "y"}}, "")
	c := start(t, f, Config{Labels: []string{"team", "none"}, Linger: 100 * time.Millisecond, Sizes: 60 * time.Millisecond})
	testutil.Eventually(t, 30*time.Second, "the first list", func() bool { return c.Up() && c.Get("a") != nil })
	a := c.Get("a")
	if a.Name != "old" || a.Labels.Kind != container.KindRAM || len(a.Extra) != 1 || a.Extra["team"] != "x" {
		t.Errorf("info %+v", a)
	}
	f.put(Container{ID: "b", Name: "new"}, "create")
	testutil.Eventually(t, time.Second, "a created container", func() bool { i := c.Get("b"); return i != nil && i.Name == "new" })
	f.put(Container{ID: "b", Name: "renamed"}, "rename")
	testutil.Eventually(t, time.Second, "its new name", func() bool { return c.Get("b").Name == "renamed" })
	f.put(Container{ID: "lost", Name: "lost"}, "") // an event that never came
	testutil.Eventually(t, time.Second, "a container that was looked up in vain", func() bool { return c.Get("lost") != nil })
	testutil.Eventually(t, 30*time.Second, "sizes", func() bool { s, at := c.Sizes(); return s["a"] == 4096 && !at.IsZero() })

	f.change(func() {
		delete(f.containers, "a")
		f.events <- Event{Action: "destroy", ID: "a"}
	})
	if i := c.Get("a"); i == nil || i.Name != "old" {
		t.Error("a container loses its name the moment it is removed")
	}
	testutil.Eventually(t, 30*time.Second, "a removed container is forgotten", func() bool {
		f.change(func() { f.events <- Event{Action: "destroy", ID: "zz"} })
		c.mu.RLock()
		defer c.mu.RUnlock()
		return c.byID["a"] == nil && len(c.removed) == 0
	})
}

func TestCacheSurvivesItsEngine(t *testing.T) {
	f := newFake()
	f.put(Container{ID: "a", Name: "a"}, "")
	c := start(t, f, Config{Timeout: 50 * time.Millisecond, Alive: 20 * time.Millisecond})
	testutil.Eventually(t, 30*time.Second, "up", c.Up)
	for what, ill := range map[string]*bool{"down": &f.down, "hanging": &f.hang} {
		f.change(func() { *ill = true })
		testutil.Eventually(t, 30*time.Second, what+" is noticed", func() bool { return !c.Up() })
		began := time.Now()
		if i := c.Get("a"); i == nil || i.Name != "a" {
			t.Errorf("engine %s: the name is lost", what)
		}
		c.Get("unknown")
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("engine %s: looking up took %s", what, took)
		}
		f.put(Container{ID: what, Name: what}, "")
		f.change(func() { *ill = false })
		testutil.Eventually(t, 30*time.Second, "up again, with what changed meanwhile", func() bool { return c.Up() && c.Get(what) != nil })
	}
	f.change(func() { f.failed <- io.EOF })
	lists := 0
	f.change(func() { lists = f.lists })
	testutil.Eventually(t, 30*time.Second, "a full list after the stream broke", func() bool {
		now := 0
		f.change(func() { now = f.lists })
		return now > lists && c.Up()
	})
}

// TestUnknownContainers: an unknown container is not inspected in each scrape. Containers
// of Kubernetes are unknown to Docker.
func TestUnknownContainers(t *testing.T) {
	f := newFake()
	c := start(t, f, Config{Retry: time.Hour})
	testutil.Eventually(t, 30*time.Second, "up", c.Up)
	asked := func(id string) (n int) {
		f.change(func() { n = f.inspected[id] })
		return n
	}
	c.Get("unknown-1")
	testutil.Eventually(t, 30*time.Second, "an unknown container is inspected", func() bool { return asked("unknown-1") == 1 })
	for i := range 50 {
		c.Get("unknown-1")
		next := fmt.Sprintf("unknown-2-%d", i)
		c.Get(next)
		testutil.Eventually(t, 30*time.Second, "the queue moves on", func() bool { return asked(next) == 1 })
	}
	if n := asked("unknown-1"); n != 1 {
		t.Errorf("looked up 51 times in an hour, the engine was asked %d times, want once", n)
	}
	f.put(Container{ID: "unknown-1", Name: "late"}, "start")
	testutil.Eventually(t, 30*time.Second, "a container that the engine reports later", func() bool { return c.Get("unknown-1") != nil })
	f = newFake()
	c = start(t, f, Config{Retry: time.Millisecond})
	testutil.Eventually(t, 30*time.Second, "an unknown container is inspected again", func() bool {
		c.Get("unknown")
		return asked("unknown") > 1
	})
}

// TestSizesThatStay: unchanged sizes are measured less often, unless there is a new
// container or a layer grew.
func TestSizesThatStay(t *testing.T) {
	f := newFake()
	f.put(Container{ID: "a"}, "")
	c := start(t, f, Config{Sizes: 20 * time.Millisecond, StillSizes: time.Hour})
	sizings := func() (n int) {
		f.change(func() { n = f.sizings })
		return n
	}
	settle := func(what string, id string, size int64) {
		t.Helper()
		testutil.Eventually(t, 30*time.Second, what, func() bool { s, _ := c.Sizes(); return s[id] == size })
		testutil.Eventually(t, 30*time.Second, what+": then quiet", func() bool {
			before := sizings()
			time.Sleep(200 * time.Millisecond)
			return sizings() == before
		})
	}
	settle("the first container's size", "a", 4096)
	f.put(Container{ID: "b"}, "start")
	settle("a new container's size", "b", 4096)
	if n := sizings(); n > 6 {
		t.Errorf("%d measurements for two containers of the same sizes", n)
	}
	f = newFake()
	f.put(Container{ID: "a"}, "")
	c = start(t, f, Config{Sizes: 20 * time.Millisecond, StillSizes: 100 * time.Millisecond})
	testutil.Eventually(t, 30*time.Second, "a size", func() bool { s, _ := c.Sizes(); return s["a"] == 4096 })
	f.change(func() { f.grown = 1 })
	testutil.Eventually(t, 30*time.Second, "a layer that grew later", func() bool { s, _ := c.Sizes(); return s["a"] == 4097 })
}

// TestAnInfoStaysTheSame: labels are cached per Info.
func TestAnInfoStaysTheSame(t *testing.T) {
	c := NewCache(newFake(), Endpoint{Kind: Docker}, Config{Labels: []string{"x"}}, log.NewNopLogger())
	put := func(name, label string) *Info {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.put(c.info(Container{ID: "a", Name: name, Labels: map[string]string{"x": label}}))
		return c.byID["a"]
	}
	first := put("n", "1")
	if put("n", "1") != first {
		t.Error("nothing changed and the info did")
	}
	if put("m", "1") == first || put("m", "2").Extra["x"] != "2" {
		t.Error("a change does not show")
	}
}

// TestImageIsWhatWasAskedFor: the image is the name at creation, regardless of the list.
func TestImageIsWhatWasAskedFor(t *testing.T) {
	f := newFake()
	f.put(Container{ID: "a", Image: "postgres:16"}, "")
	c := start(t, f, Config{Resync: 20 * time.Millisecond})
	image := func(id string) func() bool {
		return func() bool { i := c.Get(id); return i != nil && i.Image == "postgres:16" }
	}
	testutil.Eventually(t, 30*time.Second, "the image by the list", image("a"))
	lists := func() (n int) {
		f.change(func() { n = f.lists })
		return n
	}
	f.change(func() { f.moved = true })
	before := lists()
	testutil.Eventually(t, 30*time.Second, "full lists with ids", func() bool {
		if !image("a")() {
			t.Fatalf("the image became %q", c.Get("a").Image)
		}
		return lists() > before+3
	})

	// A new exporter has only the list and inspections.
	f = newFake()
	for i := range 20 {
		f.put(Container{ID: fmt.Sprint(i), Image: "postgres:16"}, "")
	}
	f.put(Container{ID: "by-id", Image: "sha256:" + strings.Repeat("b", 64)}, "")
	f.change(func() { f.moved, f.corrupt["7"] = true, true })
	c = start(t, f, Config{Resync: time.Hour})
	for i := range 20 {
		if i != 7 {
			testutil.Eventually(t, 30*time.Second, "the image by inspection", image(fmt.Sprint(i)))
		}
	}
	testutil.Eventually(t, 30*time.Second, "one that was created by an image's id", func() bool {
		i := c.Get("by-id")
		return i != nil && i.Image == "sha256:"+strings.Repeat("b", 64)
	})
	if i := c.Get("7"); i == nil || i.Image != "" || !c.Up() {
		t.Errorf("a container that cannot be inspected: %+v, up %v; want one without an image", i, c.Up())
	}
	f.change(func() {
		for id, n := range f.inspected {
			if n > 1 {
				t.Errorf("%s was inspected %d times", id, n)
			}
		}
	})
}

// TestAnEngineThatHangsWhileImagesAreAskedFor: a blocked inspection is detected as well.
func TestAnEngineThatHangsWhileImagesAreAskedFor(t *testing.T) {
	f := newFake()
	for i := range 500 {
		f.put(Container{ID: fmt.Sprint(i), Image: "i"}, "")
	}
	f.change(func() { f.moved = true })
	c := start(t, f, Config{Timeout: 20 * time.Millisecond})
	testutil.Eventually(t, 30*time.Second, "the first image", func() bool {
		for i := range 500 {
			if one := c.Get(fmt.Sprint(i)); one != nil && one.Image == "i" {
				return true
			}
		}
		return false
	})
	f.change(func() { f.hang = true })
	f.change(func() { f.events <- Event{Action: "start", ID: "0"} })
	testutil.Eventually(t, 30*time.Second, "it is noticed", func() bool { return !c.Up() })
	f.change(func() { f.hang = false })
	testutil.Eventually(t, 10*time.Second, "all images in the end", func() bool {
		for i := range 500 {
			if one := c.Get(fmt.Sprint(i)); one == nil || one.Image != "i" {
				return false
			}
		}
		return true
	})
}

// TestOOMEvents: events are counted per container, while the Engine has it.
func TestOOMEvents(t *testing.T) {
	f := newFake()
	f.put(Container{ID: "a", Name: "a"}, "")
	c := start(t, f, Config{Linger: 50 * time.Millisecond})
	testutil.Eventually(t, 30*time.Second, "up", func() bool { return c.Up() && c.Get("a") != nil })
	if all := c.OOMs(); len(all) != 0 {
		t.Errorf("before the first event: %v", all)
	}
	event := func(action, id string) {
		f.change(func() { f.events <- Event{Action: action, ID: id} })
	}
	counted := func(id string, n uint64) func() bool {
		return func() bool { o := c.OOMs()[id]; return o.Events == n && o.Info.Name == id && !o.Last.IsZero() }
	}
	event("oom", "a")
	event("die", "a")
	testutil.Eventually(t, 30*time.Second, "one", counted("a", 1))
	event("start", "a")
	event("oom", "a")
	event("oom", "a")
	testutil.Eventually(t, 30*time.Second, "three, over a restart", counted("a", 3))
	f.put(Container{ID: "b", Name: "b"}, "oom") // without its creation event
	testutil.Eventually(t, 30*time.Second, "one that was not known", counted("b", 1))
	event("oom", "unknown") // removed before the inspection
	f.change(func() { f.failed <- io.EOF })
	testutil.Eventually(t, 30*time.Second, "the stream is open again", func() bool { return c.Up() })
	if !counted("a", 3)() || c.OOMs()["unknown"].Events != 0 {
		t.Errorf("after the stream broke: %v", c.OOMs())
	}
	f.change(func() { delete(f.containers, "a") })
	event("destroy", "a")
	testutil.Eventually(t, 30*time.Second, "forgotten with the container", func() bool {
		event("destroy", "zz")
		_, there := c.OOMs()["a"]
		return !there && counted("b", 1)()
	})
}

// proxy is a socket before the real Engine that the test can break.
type proxy struct {
	mu     sync.Mutex
	broken bool
	conns  []net.Conn
}

func (p *proxy) set(broken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = broken
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *proxy) serve(l net.Listener, to string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		out, err := net.Dial("unix", to)
		if p.broken || err != nil {
			in.Close()
			if err == nil {
				out.Close()
			}
			p.mu.Unlock()
			continue
		}
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			go func() {
				io.Copy(pair[0], pair[1])
				pair[0].Close()
			}()
		}
	}
}

func TestRealEngineThatGoesAway(t *testing.T) {
	testutil.Require(t, testutil.Docker)
	direct, err := dockerclient.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := &proxy{}
	go p.serve(l, strings.TrimPrefix(direct.Host(), "unix://"))
	through, err := NewDocker("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	defer through.Close()
	testutil.IdleImage(t, direct, "estiba-test/names:1")
	c := start(t, through, Config{})
	create := func(name string) string {
		ctx := context.Background()
		direct.Remove(ctx, name)
		id, err := direct.Create(ctx, dockerclient.Spec{Name: name, Image: "estiba-test/names:1", Networkless: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { direct.Remove(context.Background(), id) })
		return id
	}
	testutil.Eventually(t, 10*time.Second, "up", c.Up)
	first := create("estiba-test-names-1")
	testutil.Eventually(t, 30*time.Second, "the first container's name by its event",
		func() bool { i := c.Get(first); return i != nil && i.Name == "estiba-test-names-1" })
	p.set(true)
	testutil.Eventually(t, 30*time.Second, "the loss is noticed", func() bool { return !c.Up() })
	second := create("estiba-test-names-2")
	if c.Get(first) == nil || c.Get(second) != nil {
		t.Error("while the engine is away: want the old name kept and the new one unknown")
	}
	p.set(false)
	testutil.Eventually(t, 15*time.Second, "the second name after the engine came back", func() bool { return c.Up() && c.Get(second) != nil })
}
