package runtimes

import (
	"cmp"
	"slices"
	"time"
)

// The states of containers, as in the label state.
const (
	StateCreated    = "created"
	StateRunning    = "running"
	StatePaused     = "paused"
	StateRestarting = "restarting"
	StateRemoving   = "removing"
	StateExited     = "exited"
	StateDead       = "dead"
)

// HealthHealthy is the health of a container whose health check passes.
const HealthHealthy = "healthy"

// State is the state of a container in its runtime.
type State struct {
	Status string // one of the State constants; "": the runtime does not know
	// Known from an inspection only; Inspected is true after one since the last change
	// of Status.
	Inspected bool
	ExitCode  int // of its last exit
	OOMKilled bool
	Restarts  uint64
	Health    string    // "": no health check
	NoHealth  bool      // the runtime has no health checks
	Runtime   string    // name of what runs it: "runc"
	Changed   time.Time // time of the last exit, else of the creation
}

// Runs reports whether the container has processes.
func (s State) Runs() bool { return s.Status == StateRunning || s.Status == StatePaused }

// Ended reports whether the container has an exit code: it exited or could not be
// started.
func (s State) Ended() bool {
	switch s.Status {
	case StateExited, StateDead, StateRestarting:
		return s.Inspected
	case StateCreated:
		return s.Inspected && s.ExitCode != 0
	}
	return false
}

func inspected(d Container) State {
	s := State{
		Status: d.State, Inspected: true, ExitCode: d.ExitCode, OOMKilled: d.OOMKilled, Restarts: uint64(max(d.Restarts, 0)),
		Health: d.Health, NoHealth: d.NoHealth, Runtime: d.Handler, Changed: d.EndedAt,
	}
	if d.EndedAt.IsZero() {
		s.Changed = d.Created
	}
	return s
}

// View has the containers of runtimes at one time, without sandboxes. It is immutable.
type View struct {
	Running []*Info // and paused, unordered
	Idle    []*Info // all others: root's before those of users, last exit first
}

// View returns the containers of the runtime. It is rebuilt only after a change.
func (c *Cache) View() *View {
	c.mu.RLock()
	v := c.view
	c.mu.RUnlock()
	if v != nil {
		return v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v = &View{}
	for id, i := range c.byID {
		if _, gone := c.removed[id]; gone || i.Sandbox {
			continue
		}
		if i.State.Runs() {
			v.Running = append(v.Running, i)
		} else {
			v.Idle = append(v.Idle, i)
		}
	}
	v.sort()
	c.view = v
	return v
}

func (v *View) sort() {
	slices.SortFunc(v.Idle, func(a, b *Info) int {
		return cmp.Or(RootFirst(a, b), b.State.Changed.Compare(a.State.Changed), cmp.Compare(a.ID, b.ID), cmp.Compare(a.User, b.User))
	})
}

// RootFirst orders root's containers before those of users, who must not crowd them out
// of what is limited.
func RootFirst(a, b *Info) int { return cmp.Compare(min(a.User, 1), min(b.User, 1)) }
