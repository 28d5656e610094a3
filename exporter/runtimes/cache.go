package runtimes

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// Config configures the caches. A zero duration means its default.
type Config struct {
	Labels []string // allowed labels of containers

	Timeout  time.Duration // of an API call: 10 s
	Resync   time.Duration // between full lists while the event stream is open: 5 min
	Poll     time.Duration // between full lists of a runtime without events: 10 s
	Alive    time.Duration // between pings while there are no events: 30 s
	MinPause time.Duration // between connection attempts: from 250 ms, doubling …
	MaxPause time.Duration // … to 10 s
	Linger   time.Duration // time to keep a removed container: 60 s
	Retry    time.Duration // between inspections of an unknown container: 60 s
	Sizes    time.Duration // between measurements of writable layers: 60 s, …
	// … and while sizes and containers do not change: 5 min.
	StillSizes time.Duration
}

func (c *Config) defaults() {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{
		{&c.Timeout, 10 * time.Second},
		{&c.Resync, 5 * time.Minute},
		{&c.Poll, 10 * time.Second},
		{&c.Alive, 30 * time.Second},
		{&c.MinPause, 250 * time.Millisecond},
		{&c.MaxPause, 10 * time.Second},
		{&c.Linger, time.Minute},
		{&c.Retry, time.Minute},
		{&c.Sizes, time.Minute},
		{&c.StillSizes, 5 * time.Minute},
	} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
}

// Cache follows one runtime.
type Cache struct {
	engine  Engine
	place   Endpoint
	config  Config
	logger  log.Logger
	about   About       // since the last connection
	lookups chan string // unknown ids to inspect

	mu      sync.RWMutex
	user    uint32 // whose containers it describes
	found   bool   // there is a runtime, or there must be
	up      bool
	byID    map[string]*Info
	changes int                  // number of additions and starts
	removed map[string]time.Time // removal times of containers in byID
	sizes   map[string]int64
	sizedAt time.Time
	ooms    map[string]OOM // of containers in byID with events
	view    *View          // nil: outdated

	// Used by follow only.
	toInspect []string        // containers in byID, running ones first, because a list lacks some values
	ran       map[string]bool // containers in byID whose end has not been inspected
}

// NewCache returns an empty cache; Run fills it.
func NewCache(engine Engine, place Endpoint, c Config, logger log.Logger) *Cache {
	c.defaults()
	cache := &Cache{
		engine: engine, place: place, config: c, logger: log.With(logger, "runtime", place.Kind, "address", place.Address),
		lookups: make(chan string, 256), found: !place.Usual,
	}
	if place.Owner != nil {
		cache.user = *place.Owner
	}
	cache.clear()
	return cache
}

// clear forgets all containers. The lock must be held, or the cache be new. Only follow
// calls it.
func (c *Cache) clear() {
	c.byID, c.removed, c.ooms = map[string]*Info{}, map[string]time.Time{}, map[string]OOM{}
	c.sizes, c.view, c.ran = nil, nil, map[string]bool{}
}

// find returns a container of the user by its full id, nil if unknown.
func (c *Cache) find(user uint32, id string) (i *Info, same bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.user != user {
		return nil, false
	}
	return c.byID[id], true
}

// lookUp inspects an unknown container in the background.
func (c *Cache) lookUp(id string) {
	if !c.Up() {
		return
	}
	select {
	case c.lookups <- id:
	default: // the queue is full
	}
}

// Up reports whether the runtime answers and is followed.
func (c *Cache) Up() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.up
}

// status returns whether there is a runtime, or must be, and whether it answers.
func (c *Cache) status() (found, up bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.found, c.up
}

// size returns the size of the container's writable layer in bytes.
func (c *Cache) size(id string) (int64, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	n, ok := c.sizes[id]
	return n, ok
}

// measured returns the time of the last measurement of writable layers, zero for never.
func (c *Cache) measured() time.Time {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.sizedAt
}

// Run follows the runtime until ctx ends, and reconnects after its restarts.
func (c *Cache) Run(ctx context.Context) {
	var sizes sync.WaitGroup
	sizes.Add(1)
	go func() {
		defer sizes.Done()
		c.measure(ctx)
	}()
	defer sizes.Wait()
	pause := c.config.MinPause
	logged := false
	for ctx.Err() == nil {
		began := time.Now()
		err := c.follow(ctx)
		wasUp := c.setUp(false)
		if ctx.Err() != nil {
			return
		}
		logged = c.report(err, wasUp, logged)
		if wasUp && time.Since(began) > c.config.MaxPause {
			pause = c.config.MinPause
		}
		if cerrdefs.IsNotImplemented(err) {
			pause = c.config.Retry
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, c.config.MaxPause)
	}
}

// report logs a failure when it starts. What is missing, refused or another program at a
// usual place is not a failure, except for Docker's socket.
func (c *Cache) report(err error, wasUp, logged bool) bool {
	absent := errors.Is(err, fs.ErrNotExist)
	unused := c.place.Usual && !wasUp && (absent || cerrdefs.IsNotImplemented(err) || c.place.Kind != Docker && errors.Is(err, fs.ErrPermission))
	if !unused {
		c.setFound(true)
	}
	switch {
	case unused && absent:
		return logged
	case logged && !wasUp:
	case unused:
		level.Info(c.logger).Log("msg", "runtime not used, names of its containers are missing", "err", err)
	default:
		level.Warn(c.logger).Log("msg", "runtime unavailable, names and labels may be missing", "err", err)
	}
	return true
}

// follow opens the event stream, lists all containers, and applies events until an
// error. It lists after opening the stream, so that no change is lost.
func (c *Cache) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, stop := context.WithTimeout(ctx, c.config.Timeout)
	defer stop()
	user, err := c.place.reach(call)
	if err != nil {
		return err
	}
	if c.about, err = c.engine.Connect(call); err != nil {
		return err
	}
	c.setUser(user)
	// Opening the stream has no timeout of its own.
	opening := time.AfterFunc(c.config.Timeout, cancel)
	events, failed := c.engine.Events(ctx)
	opening.Stop()
	select {
	case err := <-failed:
		if !errors.Is(err, errNoEvents) {
			return err
		}
		events, failed = nil, nil
	default:
	}
	if err := c.resync(ctx, true); err != nil {
		return err
	}
	if !c.setUp(true) {
		level.Info(c.logger).Log("msg", "runtime connected", "containers", c.count(), "user", user)
	}
	// Whether the stream was open before the list is not known of all runtimes: the
	// second list follows soon.
	resync, alive := time.NewTicker(c.config.Poll), time.NewTicker(c.config.Alive)
	defer resync.Stop()
	defer alive.Stop()
	if !c.about.LateEvents && events != nil {
		resync.Reset(c.config.Resync)
	}
	notFound := map[string]time.Time{} // last inspection of unknown ids, for instance of another runtime
	ready := make(chan struct{})
	close(ready)
	for {
		var err error
		var toInspect <-chan struct{} // nil while there is nothing to inspect
		if len(c.toInspect) > 0 {
			toInspect = ready
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err = <-failed:
			if errors.Is(err, errNoEvents) {
				events, failed, err = nil, nil, nil
				resync.Reset(c.config.Poll)
			}
		case e := <-events:
			err = c.apply(ctx, e)
		case id := <-c.lookups:
			if asked, ok := notFound[id]; c.has(id) || ok && time.Since(asked) < c.config.Retry {
				continue
			}
			err = c.fetch(ctx, id)
			notFound[id] = time.Now()
		case <-toInspect:
			err = c.inspectNext(ctx)
		case <-resync.C:
			if err = c.place.still(user); err == nil {
				err = c.resync(ctx, false)
			}
			clear(notFound)
			if events != nil {
				resync.Reset(c.config.Resync)
			}
		case <-alive.C:
			if err = c.place.still(user); err == nil {
				call, stop := context.WithTimeout(ctx, c.config.Timeout)
				err = c.engine.Ping(call)
				stop()
			}
		}
		if err != nil {
			return err
		}
	}
}

func (c *Cache) apply(ctx context.Context, e Event) error {
	// A health event includes the status: "health_status: healthy".
	action, _, _ := strings.Cut(e.Action, ":")
	switch action {
	case "start":
		c.ran[e.ID] = true
		return c.fetch(ctx, e.ID)
	case "create", "rename", "update", "die", "died", "cleanup", "pause", "unpause", "health_status":
		return c.fetch(ctx, e.ID)
	case "oom":
		// A container that exits at once may still be unknown: inspect it for the
		// name.
		if !c.has(e.ID) {
			if err := c.fetch(ctx, e.ID); err != nil {
				return err
			}
		}
		c.countOOM(e.ID, time.Time{})
	case "destroy", "remove":
		c.mu.Lock()
		if _, ok := c.byID[e.ID]; ok {
			c.removed[e.ID] = time.Now()
			c.view = nil
		}
		c.expire()
		c.mu.Unlock()
	}
	return nil
}

// fetch inspects one container. A removed one is no error.
func (c *Cache) fetch(ctx context.Context, id string) error {
	call, stop := context.WithTimeout(ctx, c.config.Timeout)
	defer stop()
	d, err := c.engine.Inspect(call, id)
	if cerrdefs.IsNotFound(err) {
		delete(c.ran, id)
		return nil
	}
	if err != nil {
		return err
	}
	i := c.info(d)
	i.Image, i.State = d.Image, inspected(d)
	c.mu.Lock()
	c.put(i)
	c.mu.Unlock()
	if i.State.Ended() && c.ran[id] {
		delete(c.ran, id)
		if c.about.OOMByExit && i.State.OOMKilled {
			c.countOOM(id, d.EndedAt)
		}
	}
	return nil
}

// inspectNext inspects the next container of toInspect. After a failure the next full
// list adds it again; only a runtime that does not answer is an error.
func (c *Cache) inspectNext(ctx context.Context) error {
	id := c.toInspect[0]
	c.toInspect = c.toInspect[1:]
	if i := c.get(id); i == nil || i.State.Inspected {
		return nil // already done because of an event
	}
	err := c.fetch(ctx, id)
	if err == nil {
		return nil
	}
	level.Debug(c.logger).Log("msg", "inspecting container failed", "id", id, "err", err)
	call, stop := context.WithTimeout(ctx, c.config.Timeout)
	defer stop()
	return c.engine.Ping(call)
}

// resync replaces the cache by a full list. With anew, after lost events, values that a
// list lacks must be inspected again.
func (c *Cache) resync(ctx context.Context, anew bool) error {
	call, stop := context.WithTimeout(ctx, c.config.Timeout)
	defer stop()
	list, err := c.engine.List(call)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	listed := make(map[string]bool, len(list))
	var running, idle []string // to inspect
	for _, d := range list {
		listed[d.ID] = true
		delete(c.removed, d.ID)
		i := c.info(d)
		i.Image = c.listedImage(d)
		if known := c.byID[d.ID]; known != nil && known.State.Status == d.State {
			i.State = known.State
			i.State.Inspected = known.State.Inspected && !anew
		}
		switch {
		case i.State.Inspected:
		case i.State.Runs():
			running = append(running, d.ID)
		default:
			idle = append(idle, d.ID)
		}
		c.put(i)
	}
	c.toInspect = append(running, idle...)
	for id := range c.byID {
		if _, already := c.removed[id]; !listed[id] && !already {
			c.removed[id] = time.Now()
		}
	}
	c.view = nil
	c.expire()
	return nil
}

// listedImage returns the image name at creation, "" if unknown. It never changes, so it
// is kept when a list lacks it.
func (c *Cache) listedImage(d Container) string {
	if d.Image != "" {
		return d.Image
	}
	if known := c.byID[d.ID]; known != nil {
		return known.Image
	}
	return ""
}

// put keeps the old Info if nothing changed, so that derived labels stay valid.
func (c *Cache) put(i *Info) {
	known := c.byID[i.ID]
	if i.State.Runs() {
		c.ran[i.ID] = true
	}
	same := i.equal(known)
	if same && i.State == known.State {
		return
	}
	c.byID[i.ID], c.view = i, nil
	if !same || i.State.Runs() && !known.State.Runs() {
		c.changes++ // its writable layer may be new
	}
}

// expire drops containers removed more than Linger ago. Until then their last processes
// keep the name.
func (c *Cache) expire() {
	for id, at := range c.removed {
		if time.Since(at) > c.config.Linger {
			delete(c.removed, id)
			delete(c.byID, id)
			delete(c.ooms, id)
			delete(c.ran, id)
			c.view = nil
		}
	}
}

// get returns the Info of a container, nil if unknown.
func (c *Cache) get(id string) *Info {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byID[id]
}

func (c *Cache) has(id string) bool { return c.get(id) != nil }

// setUp returns the previous value.
func (c *Cache) setUp(up bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.up
	c.up = up
	return was
}

func (c *Cache) setFound(found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found = found
}

// setUser sets the user whose containers the runtime describes. What another one's
// runtime has reported is forgotten.
func (c *Cache) setUser(user uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found = true
	if c.user != user {
		c.user = user
		c.clear()
	}
}

func (c *Cache) count() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.byID)
}

// measure measures the writable layers for at most a twentieth of the time, because
// Docker walks all files of each layer, and less often while nothing changes.
func (c *Cache) measure(ctx context.Context) {
	pause := c.config.Sizes / 6
	var at time.Time
	changes, still := 0, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = c.config.Sizes
		c.mu.RLock()
		up, now := c.up, c.changes
		c.mu.RUnlock()
		if !up || still && now == changes && time.Since(at) < c.config.StillSizes {
			continue
		}
		at, changes = time.Now(), now
		call, stop := context.WithTimeout(ctx, c.config.Sizes)
		sizes, err := c.engine.Sizes(call)
		stop()
		if ctx.Err() != nil {
			return
		}
		pause = max(pause, 20*time.Since(at))
		if err != nil {
			level.Debug(c.logger).Log("msg", "measuring writable layers failed", "err", err)
			still = false
			continue
		}
		c.mu.Lock()
		still = maps.Equal(c.sizes, sizes)
		c.sizes, c.sizedAt = sizes, at
		c.mu.Unlock()
	}
}
