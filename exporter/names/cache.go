package names

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/internal/dockerclient"
)

// Engine is what the cache asks of Docker; dockerclient.Client is one.
type Engine interface {
	Ping(ctx context.Context) error
	List(ctx context.Context, o dockerclient.ListOptions) ([]dockerclient.Container, error)
	Inspect(ctx context.Context, id string) (dockerclient.Container, error)
	Events(ctx context.Context) (<-chan dockerclient.Event, <-chan error)
}

// Config is how the cache behaves; zero durations stand for the defaults.
type Config struct {
	Labels []string // Docker labels to keep, the allowlist

	Timeout  time.Duration // of one call to the Engine: 10 s
	Resync   time.Duration // between full lists while the stream is well: 5 min
	Alive    time.Duration // between signs of life while the stream is silent: 30 s
	MinPause time.Duration // before the stream is opened again: 250 ms, doubling …
	MaxPause time.Duration // … to 10 s
	Linger   time.Duration // how long a removed container is remembered: 60 s
	Again    time.Duration // before the Engine is asked again for one that it did not know: 60 s
	Sizes    time.Duration // between measurements of the writable layers: 60 s, …
	// … and while they stay the same and no container comes: 5 min.
	StillSizes time.Duration
}

func (c *Config) defaults() {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{
		{&c.Timeout, 10 * time.Second}, {&c.Resync, 5 * time.Minute}, {&c.Alive, 30 * time.Second},
		{&c.MinPause, 250 * time.Millisecond}, {&c.MaxPause, 10 * time.Second}, {&c.Linger, time.Minute},
		{&c.Again, time.Minute}, {&c.Sizes, time.Minute}, {&c.StillSizes, 5 * time.Minute},
	} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
}

// Cache follows one Engine.
type Cache struct {
	engine Engine
	config Config
	logger log.Logger
	wanted chan string // ids that somebody looked up in vain

	mu      sync.RWMutex
	up      bool
	byID    map[string]*Info
	came    int                  // how often something was put into it
	removed map[string]time.Time // when a container in byID was destroyed
	sizes   map[string]int64
	sizedAt time.Time
}

// New makes an empty cache; Run fills it. engine may be nil: then Docker is
// simply never there.
func New(engine Engine, c Config, logger log.Logger) *Cache {
	c.defaults()
	return &Cache{
		engine: engine, config: c, logger: logger, wanted: make(chan string, 256),
		byID: map[string]*Info{}, removed: map[string]time.Time{},
	}
}

// Get looks a container up by its full id; nil: not known (yet). It never
// waits for the Engine. An unknown one is asked for in the background.
func (c *Cache) Get(id string) *Info {
	c.mu.RLock()
	i, up := c.byID[id], c.up
	c.mu.RUnlock()
	if i == nil && up {
		select {
		case c.wanted <- id:
		default: // enough is asked for already
		}
	}
	return i
}

// Up tells whether the Engine answers and its event stream is open.
func (c *Cache) Up() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.up
}

// Sizes gives the size of each container's writable layer in bytes, by full
// id, and when they were measured (zero: never). The map must not be changed.
func (c *Cache) Sizes() (map[string]int64, time.Time) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.sizes, c.sizedAt
}

// Run follows the Engine until ctx ends, through its restarts.
func (c *Cache) Run(ctx context.Context) {
	if c.engine == nil {
		return
	}
	var sizes sync.WaitGroup
	sizes.Add(1)
	go func() {
		defer sizes.Done()
		c.measure(ctx)
	}()
	defer sizes.Wait()
	pause := c.config.MinPause
	told := false
	for ctx.Err() == nil {
		began := time.Now()
		err := c.follow(ctx)
		wasUp := c.setUp(false)
		if ctx.Err() != nil {
			return
		}
		if wasUp || !told {
			level.Warn(c.logger).Log("msg", "docker engine is not followed; containers are exported with what is known of them", "err", err)
			told = true
		}
		if wasUp && time.Since(began) > c.config.MaxPause {
			pause = c.config.MinPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, c.config.MaxPause)
	}
}

// follow opens the event stream, lists everything, and applies events until
// something breaks. The list comes after the stream is open, so that no change
// falls between the two.
func (c *Cache) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Opening the stream has no time limit of its own: cancel it from outside.
	opening := time.AfterFunc(c.config.Timeout, cancel)
	events, failed := c.engine.Events(ctx)
	opening.Stop()
	select {
	case err := <-failed:
		return err
	default:
	}
	if err := c.resync(ctx); err != nil {
		return err
	}
	if !c.setUp(true) {
		level.Info(c.logger).Log("msg", "following the docker engine", "containers", c.size())
	}
	resync, alive := time.NewTicker(c.config.Resync), time.NewTicker(c.config.Alive)
	defer resync.Stop()
	defer alive.Stop()
	strangers := map[string]time.Time{} // ids that the Engine did not know, another runtime's for instance
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err = <-failed:
		case e := <-events:
			err = c.apply(ctx, e)
		case id := <-c.wanted:
			if asked, ok := strangers[id]; c.knows(id) || ok && time.Since(asked) < c.config.Again {
				continue
			}
			err = c.fetch(ctx, id)
			strangers[id] = time.Now()
		case <-resync.C:
			err = c.resync(ctx)
			clear(strangers)
		case <-alive.C:
			call, stop := context.WithTimeout(ctx, c.config.Timeout)
			err = c.engine.Ping(call)
			stop()
		}
		if err != nil {
			return err
		}
	}
}

func (c *Cache) apply(ctx context.Context, e dockerclient.Event) error {
	switch e.Action {
	case "create", "start", "rename", "update":
		return c.fetch(ctx, e.ID)
	case "destroy":
		c.mu.Lock()
		if _, ok := c.byID[e.ID]; ok {
			c.removed[e.ID] = time.Now()
		}
		c.expire()
		c.mu.Unlock()
	}
	return nil
}

// fetch asks the Engine for one container. That it is gone is no error.
func (c *Cache) fetch(ctx context.Context, id string) error {
	call, stop := context.WithTimeout(ctx, c.config.Timeout)
	defer stop()
	d, err := c.engine.Inspect(call, id)
	if dockerclient.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(c.info(d))
	return nil
}

// resync replaces everything by what the Engine lists.
func (c *Cache) resync(ctx context.Context) error {
	call, stop := context.WithTimeout(ctx, c.config.Timeout)
	defer stop()
	list, err := c.engine.List(call, dockerclient.ListOptions{All: true})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	listed := make(map[string]bool, len(list))
	for _, d := range list {
		listed[d.ID] = true
		delete(c.removed, d.ID)
		c.put(c.info(d))
	}
	for id := range c.byID {
		if _, already := c.removed[id]; !listed[id] && !already {
			c.removed[id] = time.Now()
		}
	}
	c.expire()
	return nil
}

// put keeps the old Info if nothing changed, so that what was derived from it
// stays valid.
func (c *Cache) put(i *Info) {
	if !i.equal(c.byID[i.ID]) {
		c.byID[i.ID] = i
		c.came++
	}
}

// expire forgets what was removed a while ago. A removed container's processes
// can still be seen for a moment: they keep their name.
func (c *Cache) expire() {
	for id, at := range c.removed {
		if time.Since(at) > c.config.Linger {
			delete(c.removed, id)
			delete(c.byID, id)
		}
	}
}

func (c *Cache) knows(id string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byID[id] != nil
}

// setUp returns what it was before.
func (c *Cache) setUp(up bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.up
	c.up = up
	return was
}

func (c *Cache) size() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.byID)
}

// measure asks for the writable layers' sizes, at most a twentieth of the time:
// the Engine walks every layer's files for it. While they stay the same and no
// container comes, it asks less often.
func (c *Cache) measure(ctx context.Context) {
	pause := c.config.Sizes / 6
	var at time.Time
	came, still := 0, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = c.config.Sizes
		c.mu.RLock()
		up, now := c.up, c.came
		c.mu.RUnlock()
		if !up || still && now == came && time.Since(at) < c.config.StillSizes {
			continue
		}
		at, came = time.Now(), now
		call, stop := context.WithTimeout(ctx, c.config.Sizes)
		list, err := c.engine.List(call, dockerclient.ListOptions{Sizes: true})
		stop()
		if ctx.Err() != nil {
			return
		}
		pause = max(pause, 20*time.Since(at))
		if err != nil {
			level.Debug(c.logger).Log("msg", "measuring writable layers", "err", err)
			still = false
			continue
		}
		sizes := make(map[string]int64, len(list))
		for _, d := range list {
			if d.WritableBytes >= 0 {
				sizes[d.ID] = d.WritableBytes
			}
		}
		c.mu.Lock()
		still = maps.Equal(c.sizes, sizes)
		c.sizes, c.sizedAt = sizes, at
		c.mu.Unlock()
	}
}
