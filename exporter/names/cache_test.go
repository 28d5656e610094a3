package names

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

// fakeEngine is an Engine that a test can change, break and hang.
type fakeEngine struct {
	mu         sync.Mutex
	containers map[string]dockerclient.Container
	events     chan dockerclient.Event
	failed     chan error
	down, hang bool
	lists      int
	sizings    int // lists with sizes
	inspected  map[string]int
	grown      int64 // bytes that every layer has more than at first
}

func newFake() *fakeEngine {
	return &fakeEngine{containers: map[string]dockerclient.Container{}, inspected: map[string]int{}}
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

func (f *fakeEngine) List(ctx context.Context, o dockerclient.ListOptions) ([]dockerclient.Container, error) {
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	if o.Sizes {
		f.sizings++
	}
	var list []dockerclient.Container
	for _, c := range f.containers {
		c.WritableBytes = -1
		if o.Sizes {
			c.WritableBytes = 4096 + f.grown
		}
		list = append(list, c)
	}
	return list, nil
}

func (f *fakeEngine) Inspect(ctx context.Context, id string) (dockerclient.Container, error) {
	if err := f.wait(ctx); err != nil {
		return dockerclient.Container{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inspected[id]++
	c, ok := f.containers[id]
	if !ok && strings.HasPrefix(id, "stranger") {
		return c, cerrdefs.ErrNotFound
	}
	if !ok {
		return c, errors.New("gone in a way that is not a 404")
	}
	return c, nil
}

func (f *fakeEngine) Events(ctx context.Context) (<-chan dockerclient.Event, <-chan error) {
	failed := make(chan error, 1)
	if err := f.wait(ctx); err != nil {
		failed <- err
		return nil, failed
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events, f.failed = make(chan dockerclient.Event, 10), failed
	return f.events, failed
}

func (f *fakeEngine) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fakeEngine) put(c dockerclient.Container, action string) {
	f.change(func() {
		f.containers[c.ID] = c
		if f.events != nil && action != "" {
			f.events <- dockerclient.Event{Action: action, ID: c.ID}
		}
	})
}

func start(t *testing.T, e Engine, c Config) *Cache {
	t.Helper()
	c.MinPause, c.MaxPause = 10*time.Millisecond, 50*time.Millisecond
	cache := New(e, c, log.NewNopLogger())
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
	f.put(dockerclient.Container{ID: "a", Name: "old", Image: "i", Labels: map[string]string{"estiba.kind": "ram", "team": "x", "other": "y"}}, "")
	c := start(t, f, Config{Labels: []string{"team", "none"}, Linger: 100 * time.Millisecond, Sizes: 60 * time.Millisecond})
	testutil.Eventually(t, 5*time.Second, "the first list", func() bool { return c.Up() && c.Get("a") != nil })
	a := c.Get("a")
	if a.Name != "old" || a.Labels.Kind != container.KindRAM || len(a.Extra) != 1 || a.Extra["team"] != "x" {
		t.Errorf("info %+v", a)
	}
	f.put(dockerclient.Container{ID: "b", Name: "new"}, "create")
	testutil.Eventually(t, time.Second, "a created container", func() bool { i := c.Get("b"); return i != nil && i.Name == "new" })
	f.put(dockerclient.Container{ID: "b", Name: "renamed"}, "rename")
	testutil.Eventually(t, time.Second, "its new name", func() bool { return c.Get("b").Name == "renamed" })
	f.put(dockerclient.Container{ID: "lost", Name: "lost"}, "") // an event that never came
	testutil.Eventually(t, time.Second, "a container that was looked up in vain", func() bool { return c.Get("lost") != nil })
	testutil.Eventually(t, 5*time.Second, "sizes", func() bool { s, at := c.Sizes(); return s["a"] == 4096 && !at.IsZero() })

	f.change(func() {
		delete(f.containers, "a")
		f.events <- dockerclient.Event{Action: "destroy", ID: "a"}
	})
	if i := c.Get("a"); i == nil || i.Name != "old" {
		t.Error("a container loses its name the moment it is removed")
	}
	testutil.Eventually(t, 5*time.Second, "a removed container is forgotten", func() bool {
		f.change(func() { f.events <- dockerclient.Event{Action: "destroy", ID: "zz"} })
		c.mu.RLock()
		defer c.mu.RUnlock()
		return c.byID["a"] == nil && len(c.removed) == 0
	})
}

func TestCacheSurvivesItsEngine(t *testing.T) {
	f := newFake()
	f.put(dockerclient.Container{ID: "a", Name: "a"}, "")
	c := start(t, f, Config{Timeout: 50 * time.Millisecond, Alive: 20 * time.Millisecond})
	testutil.Eventually(t, 5*time.Second, "up", c.Up)
	for what, ill := range map[string]*bool{"down": &f.down, "hanging": &f.hang} {
		f.change(func() { *ill = true })
		testutil.Eventually(t, 5*time.Second, what+" is noticed", func() bool { return !c.Up() })
		began := time.Now()
		if i := c.Get("a"); i == nil || i.Name != "a" {
			t.Errorf("engine %s: the name is lost", what)
		}
		c.Get("unknown")
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("engine %s: looking up took %s", what, took)
		}
		f.put(dockerclient.Container{ID: what, Name: what}, "")
		f.change(func() { *ill = false })
		testutil.Eventually(t, 5*time.Second, "up again, with what changed meanwhile", func() bool { return c.Up() && c.Get(what) != nil })
	}
	f.change(func() { f.failed <- io.EOF })
	lists := 0
	f.change(func() { lists = f.lists })
	testutil.Eventually(t, 5*time.Second, "a full list after the stream broke", func() bool {
		now := 0
		f.change(func() { now = f.lists })
		return now > lists && c.Up()
	})
}

// TestStrangers are not asked for at each scrape: a host's Kubernetes has
// containers that its Docker does not know.
func TestStrangers(t *testing.T) {
	f := newFake()
	c := start(t, f, Config{Again: time.Hour})
	testutil.Eventually(t, 5*time.Second, "up", c.Up)
	asked := func(id string) (n int) {
		f.change(func() { n = f.inspected[id] })
		return n
	}
	c.Get("stranger-1")
	testutil.Eventually(t, 5*time.Second, "the engine is asked for an unknown one", func() bool { return asked("stranger-1") == 1 })
	for i := range 50 {
		c.Get("stranger-1")
		next := fmt.Sprintf("stranger-2-%d", i)
		c.Get(next)
		testutil.Eventually(t, 5*time.Second, "the queue moves on", func() bool { return asked(next) == 1 })
	}
	if n := asked("stranger-1"); n != 1 {
		t.Errorf("looked up 51 times in an hour, the engine was asked %d times, want once", n)
	}
	f.put(dockerclient.Container{ID: "stranger-1", Name: "late"}, "start")
	testutil.Eventually(t, 5*time.Second, "one that the engine tells of after all", func() bool { return c.Get("stranger-1") != nil })
	f = newFake()
	c = start(t, f, Config{Again: time.Millisecond})
	testutil.Eventually(t, 5*time.Second, "an unknown one is asked for again after a while", func() bool {
		c.Get("stranger")
		return asked("stranger") > 1
	})
}

// TestSizesThatStay are asked for less often, unless a container comes or one's
// layer grew.
func TestSizesThatStay(t *testing.T) {
	f := newFake()
	f.put(dockerclient.Container{ID: "a"}, "")
	c := start(t, f, Config{Sizes: 20 * time.Millisecond, StillSizes: time.Hour})
	sizings := func() (n int) {
		f.change(func() { n = f.sizings })
		return n
	}
	settle := func(what string, id string, size int64) {
		t.Helper()
		testutil.Eventually(t, 5*time.Second, what, func() bool { s, _ := c.Sizes(); return s[id] == size })
		testutil.Eventually(t, 5*time.Second, what+": then quiet", func() bool {
			before := sizings()
			time.Sleep(200 * time.Millisecond)
			return sizings() == before
		})
	}
	settle("the first container's size", "a", 4096)
	f.put(dockerclient.Container{ID: "b"}, "start")
	settle("a new container's size", "b", 4096)
	if n := sizings(); n > 6 {
		t.Errorf("%d measurements for two containers of the same sizes", n)
	}
	f = newFake()
	f.put(dockerclient.Container{ID: "a"}, "")
	c = start(t, f, Config{Sizes: 20 * time.Millisecond, StillSizes: 100 * time.Millisecond})
	testutil.Eventually(t, 5*time.Second, "a size", func() bool { s, _ := c.Sizes(); return s["a"] == 4096 })
	f.change(func() { f.grown = 1 })
	testutil.Eventually(t, 5*time.Second, "a layer that grew later", func() bool { s, _ := c.Sizes(); return s["a"] == 4097 })
}

// TestAnInfoStaysTheSame since label bytes are kept for as long as it does.
func TestAnInfoStaysTheSame(t *testing.T) {
	c := New(newFake(), Config{Labels: []string{"x"}}, log.NewNopLogger())
	put := func(name, label string) *Info {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.put(c.info(dockerclient.Container{ID: "a", Name: name, Labels: map[string]string{"x": label}}))
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
	through, err := dockerclient.New("unix://" + socket)
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
	testutil.Eventually(t, 3*time.Second, "the first container's name by its event", func() bool { i := c.Get(first); return i != nil && i.Name == "estiba-test-names-1" })
	p.set(true)
	testutil.Eventually(t, 5*time.Second, "the loss is noticed", func() bool { return !c.Up() })
	second := create("estiba-test-names-2")
	if c.Get(first) == nil || c.Get(second) != nil {
		t.Error("while the engine is away: want the old name kept and the new one unknown")
	}
	p.set(false)
	testutil.Eventually(t, 15*time.Second, "the second name after the engine came back", func() bool { return c.Up() && c.Get(second) != nil })
}
