package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/enforce"
)

// simContainer is the true state of a container.
type simContainer struct {
	dockerclient.Container
	born       time.Time // StartedAt with its monotonic reading
	load       float64   // the value of the rules' query
	keepLabel  bool      // the rules' queries make an exception of it
	known      bool      // the exporter knows its labels
	runtime    string    // as the exporter has it
	listed     string    // image in the Engine's list, if that differs
	relabelled time.Time
	labelled   map[string]string // labels in the Engine's list, if they differ
	signalled  bool              // this life was sent a signal
	dies       time.Duration
	undead     bool // in the kernel, uninterruptible: its SIGKILL waits
	sick       bool // inspecting it fails
}

// simEngine is a Docker Engine with latency and all faults at once. It remembers all
// kills.
type simEngine struct {
	mu         sync.Mutex
	now        func() time.Time
	containers map[string]*simContainer
	latency    func() time.Duration
	down       bool
	unlisted   map[string]bool // left out of the list
	doubled    bool            // the list has everything twice
	// judge is called before each kill takes effect, with mu held.
	judge func(a *simAct, c *simContainer)
	// missed is called for each kill of a container that the Engine does not have.
	missed func(what, id string)
	acts   []*simAct
}

// simAct is one mutating call.
type simAct struct {
	what, id string
	called   time.Time // by the manager
	begun    time.Time // accepted by the Engine
	ended    time.Time // answered, or the life has ended; zero: in flight
	rule     string    // set by judge
	whole    bool      // set by judge: not the second part of a removal
}

func newSimEngine(now func() time.Time) *simEngine {
	return &simEngine{
		now: now, containers: map[string]*simContainer{}, latency: func() time.Duration { return 0 }, unlisted: map[string]bool{},
		judge: func(*simAct, *simContainer) {}, missed: func(string, string) {},
	}
}

var errSimDown = errors.New("cannot connect to the Docker daemon")

// simView is the Engine as seen by one life of the manager: after its end its calls
// have no effect.
type simView struct {
	*simEngine
	gone atomic.Bool
	// before is called at each call, so that a world can end the manager between any
	// two steps.
	before func(call string)
	// during is called while a call is in flight, to end the manager in it.
	during func()
}

func (v *simView) enter(ctx context.Context, call string) error {
	v.mu.Lock()
	before := v.before
	v.mu.Unlock()
	if before != nil {
		before(call)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(v.wait()):
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.reachable()
}

var errEnded = errors.New("this manager has ended")

// reachable is called with mu held.
func (v *simView) reachable() error {
	switch {
	case v.gone.Load():
		return errEnded
	case v.down:
		return errSimDown
	}
	return nil
}

func (e *simEngine) wait() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.latency()
}

func (v *simView) Runtime(ctx context.Context) (string, error) {
	return container.Docker, v.enter(ctx, "runtime")
}

func (v *simView) List(ctx context.Context, _ dockerclient.ListOptions) ([]dockerclient.Container, error) {
	if err := v.enter(ctx, "list"); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var list []dockerclient.Container
	for _, id := range slices.Sorted(maps.Keys(v.containers)) {
		c := v.containers[id]
		if c.State == dockerclient.StateExited || v.unlisted[id] {
			continue
		}
		one := c.Container
		one.StartedAt, one.EndedAt = time.Time{}, time.Time{}
		if c.listed != "" {
			one.Image = c.listed
		}
		if c.labelled != nil {
			one.Labels = c.labelled
		}
		list = append(list, one)
	}
	if v.doubled {
		list = append(list, list...)
	}
	return list, nil
}

func (v *simView) Inspect(ctx context.Context, id string) (dockerclient.Container, error) {
	if err := v.enter(ctx, "inspect"); err != nil {
		return dockerclient.Container{}, err
	}
	v.mu.Lock()
	c := v.find(id)
	sick := c != nil && c.sick
	v.mu.Unlock()
	if sick {
		<-ctx.Done()
		return dockerclient.Container{}, ctx.Err()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if c = v.find(id); c == nil {
		return dockerclient.Container{}, fmt.Errorf("no such container: %w", cerrdefs.ErrNotFound)
	}
	return c.Container, nil
}

// count is the number of mutating calls so far.
func (e *simEngine) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.acts)
}

// find finds a container by id or name, as the Engine does.
func (e *simEngine) find(id string) *simContainer {
	if c := e.containers[id]; c != nil {
		return c
	}
	for _, c := range e.containers {
		if c.Name == id {
			return c
		}
	}
	return nil
}

// act is a mutating call: judged, signalled, ended after a while.
func (v *simView) act(ctx context.Context, what, id string, grace time.Duration, effect func(*simContainer)) error {
	called := v.now()
	if err := v.enter(ctx, what); err != nil {
		return err
	}
	v.mu.Lock()
	if err := v.reachable(); err != nil {
		v.mu.Unlock()
		return err
	}
	c := v.find(id)
	if c == nil {
		v.missed(what, id)
		v.mu.Unlock()
		return fmt.Errorf("no such container: %w", cerrdefs.ErrNotFound)
	}
	a := &simAct{what: what, id: c.ID, called: called, begun: v.now()}
	v.judge(a, c)
	v.acts = append(v.acts, a)
	life := c.born
	c.signalled = true
	takes := min(c.dies, grace)
	undead, during := c.undead, v.during
	v.mu.Unlock()
	if during != nil {
		during()
	}
	end := func() error {
		v.mu.Lock()
		defer v.mu.Unlock()
		if a.ended.IsZero() {
			a.ended = v.now()
		}
		if now := v.containers[c.ID]; now == c && c.born.Equal(life) {
			if undead {
				return errors.New("tried to kill container, but did not receive an exit event")
			}
			effect(c)
		}
		return nil
	}
	// The Engine completes it even if the client has gone.
	finished := make(chan error, 1)
	go func() {
		if undead {
			takes = 10 * time.Second
		}
		time.Sleep(takes)
		finished <- end()
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-finished:
		return err
	}
}

func (e *simEngine) exit(c *simContainer) {
	c.State, c.EndedAt = dockerclient.StateExited, e.now().Round(0)
	e.lifeEnded(c)
	if c.AutoRemove {
		delete(e.containers, c.ID)
	}
}

// lifeEnded ends the calls on a container whose life is over. It is called with mu
// held.
func (e *simEngine) lifeEnded(c *simContainer) {
	for _, a := range e.acts {
		if a.id == c.ID && a.ended.IsZero() {
			a.ended = e.now()
		}
	}
}

func (v *simView) Stop(ctx context.Context, id string, grace time.Duration) error {
	return v.act(ctx, "stop", id, grace, v.exit)
}

func (v *simView) Kill(ctx context.Context, id string) error {
	return v.act(ctx, "kill", id, 0, v.exit)
}

func (v *simView) Pause(ctx context.Context, id string) error {
	return v.act(ctx, "pause", id, 0, func(c *simContainer) { c.State = dockerclient.StatePaused })
}

func (v *simView) Remove(ctx context.Context, id string) error {
	return v.act(ctx, "remove", id, 0, func(c *simContainer) { delete(v.containers, c.ID) })
}

func (v *simView) RemoveKeepingVolumes(ctx context.Context, id string) error {
	return v.Remove(ctx, id)
}

var _ enforce.Engine = (*simView)(nil)
