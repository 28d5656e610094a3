package runtimes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/internal/container"
)

// Hosts are the addresses of the runtimes by kind. An address is Auto for the usual
// places; None or "" is none.
type Hosts map[string][]string

// maxRootless is the number of users whose Podman is followed.
const maxRootless = 64

// Set has the containers of all runtimes of a host.
type Set struct {
	config Config
	logger log.Logger
	root   string // of the file system: "/"
	auto   []Endpoint
	found  chan struct{} // wakes Run: there is a new user

	caches atomic.Pointer[[]*Cache] // replaced, never changed

	mu     sync.Mutex
	users  map[uint32]bool // with containers that no runtime describes yet, or whose Podman is followed
	merged *View           // of parts
	parts  []*View
}

// NewSet returns a set that is empty until Run fills it.
func NewSet(hosts Hosts, c Config, logger log.Logger) (*Set, error) {
	return newSet("/", hosts, c, logger)
}

func newSet(root string, hosts Hosts, c Config, logger log.Logger) (*Set, error) {
	c.defaults()
	s := &Set{config: c, logger: logger, root: root, found: make(chan struct{}, 1), users: map[uint32]bool{}}
	s.caches.Store(&[]*Cache{})
	for _, kind := range []string{Docker, Podman, CRI} {
		for _, address := range hosts[kind] {
			switch address {
			case "", None:
			case Auto:
				for _, path := range usual[kind] {
					s.auto = append(s.auto, Endpoint{Kind: kind, Address: "unix://" + filepath.Join(root, path), Usual: true})
				}
			default:
				if err := s.add(Endpoint{Kind: kind, Address: address}); err != nil {
					s.Close()
					return nil, fmt.Errorf("--%s: %w", flags[kind], err)
				}
			}
		}
	}
	s.discover()
	return s, nil
}

// flags are the names of the flags with the addresses.
var flags = map[string]string{Docker: "docker.host", Podman: "podman.host", CRI: "cri.endpoint"}

// add adds the cache of an endpoint.
func (s *Set) add(place Endpoint) error {
	open := NewDocker
	if place.Kind == CRI {
		open = NewCRI
	}
	engine, err := open(place.Address)
	if err != nil {
		return err
	}
	caches := append(slices.Clone(*s.caches.Load()), NewCache(engine, place, s.config, s.logger))
	s.caches.Store(&caches)
	return nil
}

// Close closes the connections. Run must have returned.
func (s *Set) Close() {
	for _, c := range *s.caches.Load() {
		c.engine.Close()
	}
}

// Run follows the runtimes until ctx ends, also those that come later.
func (s *Set) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	started := 0
	tick := time.NewTicker(s.config.MaxPause)
	defer tick.Stop()
	for {
		caches := *s.caches.Load()
		for _, c := range caches[started:] {
			running.Add(1)
			go func() {
				defer running.Done()
				c.Run(ctx)
			}()
		}
		started = len(caches)
		select {
		case <-ctx.Done():
			return
		case <-s.found:
		case <-tick.C:
		}
		s.discover()
	}
}

// discover adds the endpoints at usual places that have a socket by now, and those of
// users with containers. Docker's is always there, because its names are expected.
func (s *Set) discover() {
	places := slices.Clone(s.auto)
	if slices.ContainsFunc(places, func(e Endpoint) bool { return e.Kind == Podman }) {
		s.mu.Lock()
		for user := range s.users {
			place := rootless(s.root, user)
			if _, err := os.Lstat(place.path()); err != nil {
				delete(s.users, user) // until the next scrape with its containers
				continue
			}
			places = append(places, place)
		}
		s.mu.Unlock()
	}
	for _, place := range places {
		_, err := os.Lstat(place.path())
		if err != nil && place.Kind != Docker || s.has(place) {
			continue
		}
		if err := s.add(place); err != nil {
			level.Warn(s.logger).Log("msg", "runtime not usable", "address", place.Address, "err", err)
		}
	}
}

// has reports whether an endpoint is followed already, perhaps by another name. Where
// Docker's usual socket is Podman's, Podman has it.
func (s *Set) has(place Endpoint) bool {
	others := *s.caches.Load()
	if slices.ContainsFunc(others, func(c *Cache) bool { return c.place.same(place) }) {
		return true
	}
	return place.Kind == Docker && slices.ContainsFunc(s.auto, func(e Endpoint) bool { return e.Kind == Podman && e.same(place) })
}

// Find returns a container by the user it belongs to and its full id, nil if unknown. It
// never waits: an unknown container is inspected in the background. expected reports
// whether there is a runtime to name it, by the name of its runtime and the namespace of
// its shim. A rootless container is described by a runtime of its own user only, and
// root's by root's.
func (s *Set) Find(user uint32, id, runtime, namespace string) (info *Info, expected bool) {
	caches := *s.caches.Load()
	for _, c := range caches {
		if i, _ := c.find(user, id); i != nil {
			return i, true
		}
	}
	kinds := describes(runtime, namespace)
	for _, c := range caches {
		if _, same := c.find(user, id); same && slices.Contains(kinds, c.place.Kind) && c.expected() {
			c.lookUp(id)
			expected = true
		}
	}
	if user != 0 && !expected {
		s.meet(user)
	}
	return nil, expected
}

// expected reports whether the cache is one that names containers: not one at a usual
// place without a runtime, except for Docker's.
func (c *Cache) expected() bool {
	found, _ := c.status()
	return found || c.place.Kind == Docker
}

// meet notes a user with containers.
func (s *Set) meet(user uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[user] || len(s.users) >= maxRootless {
		return
	}
	s.users[user] = true
	select {
	case s.found <- struct{}{}:
	default:
	}
}

// describes returns the kinds of endpoints that describe the containers of a runtime.
// containerd's own interface is not one: the CRI has only the containers of pods.
func describes(runtime, namespace string) []string {
	const docker, pods = "moby", "k8s.io" // namespaces of containerd
	switch runtime {
	case container.Podman:
		return []string{Podman}
	case container.CRIO:
		return []string{CRI}
	case container.Docker:
		return []string{Docker}
	case "", container.Containerd, container.Kata:
		switch {
		case namespace == docker, runtime == "" && namespace == "":
			return []string{Docker}
		case namespace == pods, namespace == "":
			return []string{CRI}
		}
	}
	return nil
}

// Up reports whether the runtime of a container answers, so that its state is current.
func (s *Set) Up(i *Info) bool { return i.from != nil && i.from.Up() }

// Size returns the size of a container's writable layer in bytes; false if unknown.
func (s *Set) Size(i *Info) (int64, bool) {
	if i.from == nil {
		return 0, false
	}
	return i.from.size(i.ID)
}

// Measured returns the time of the oldest of the runtimes' last measurements of writable
// layers, zero if none has measured.
func (s *Set) Measured() (oldest time.Time) {
	for _, c := range *s.caches.Load() {
		if at := c.measured(); !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	return oldest
}

// OOMs returns the running and exited containers with out-of-memory events since the
// start, by key; nil if there are none.
func (s *Set) OOMs() (all map[string]OOM) {
	for _, c := range *s.caches.Load() {
		all = c.addOOMs(all)
	}
	return all
}

// View returns the containers of all runtimes. It is rebuilt only after a change.
func (s *Set) View() *View {
	caches := *s.caches.Load()
	if len(caches) == 1 {
		return caches[0].View()
	}
	parts := make([]*View, 0, len(caches))
	for _, c := range caches {
		parts = append(parts, c.View())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.merged == nil || !slices.Equal(parts, s.parts) {
		s.merged, s.parts = merge(parts), parts
	}
	return s.merged
}

// merge puts views together. The first one with a container has it, as in Find.
func merge(parts []*View) *View {
	filled := slices.DeleteFunc(slices.Clone(parts), func(v *View) bool { return len(v.Running)+len(v.Idle) == 0 })
	if len(filled) == 1 {
		return filled[0]
	}
	all, taken := &View{}, map[string]bool{}
	for _, v := range filled {
		for _, i := range v.Running {
			if key := i.Key(); !taken[key] {
				taken[key] = true
				all.Running = append(all.Running, i)
			}
		}
		for _, i := range v.Idle {
			if key := i.Key(); !taken[key] {
				taken[key] = true
				all.Idle = append(all.Idle, i)
			}
		}
	}
	all.sort()
	return all
}

// Status is whether the runtimes of one kind answer.
type Status struct {
	Kind string
	Up   bool // all endpoints answer
}

// Status returns the kinds with an endpoint that is configured or was found, in a fixed
// order.
func (s *Set) Status() (all []Status) {
	caches := *s.caches.Load()
	for _, kind := range []string{Docker, Podman, CRI} {
		status := Status{Kind: kind, Up: true}
		there := false
		for _, c := range caches {
			if found, up := c.status(); c.place.Kind == kind && found {
				there = true
				status.Up = status.Up && up
			}
		}
		if there {
			all = append(all, status)
		}
	}
	return all
}
