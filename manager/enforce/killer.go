package enforce

import (
	"context"
	"fmt"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/config"
)

// Reader is what may be asked of the Engine.
type Reader interface {
	List(ctx context.Context, o dockerclient.ListOptions) ([]dockerclient.Container, error)
	Inspect(ctx context.Context, id string) (dockerclient.Container, error)
}

// Actor is what may be done to a container. Only Live holds one.
type Actor interface {
	Stop(ctx context.Context, id string, grace time.Duration) error
	Kill(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	Pause(ctx context.Context, id string) error
}

// Act is one deed.
type Act struct {
	ID     string
	Action config.Action
	Grace  time.Duration
}

// Killer carries an act out, or does not.
type Killer interface {
	Kill(ctx context.Context, act Act) (audit.Outcome, error)
}

// Dry is the killer of dry runs. It has nothing that it could kill with.
type Dry struct{}

// Kill does nothing and says so.
func (Dry) Kill(context.Context, Act) (audit.Outcome, error) { return audit.OutcomeDryRun, nil }

// How long the Engine may take beyond the grace, and how often an act's
// effect is looked for.
const (
	engineTime   = 45 * time.Second
	confirmTime  = 15 * time.Second
	confirmEvery = 50 * time.Millisecond
)

// Live is the killer that kills.
type Live struct {
	Reader Reader
	Actor  Actor
}

// Kill acts and then looks until the effect is there. A container that is
// gone when the Engine is asked counts as already gone; one whose removal is
// under way (auto-remove) is waited for.
func (l Live) Kill(ctx context.Context, act Act) (audit.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, act.Grace+engineTime)
	defer cancel()
	var err error
	switch act.Action {
	case config.ActionStop:
		err = l.Actor.Stop(ctx, act.ID, act.Grace)
	case config.ActionKill:
		err = l.Actor.Kill(ctx, act.ID)
	case config.ActionPause:
		err = l.Actor.Pause(ctx, act.ID)
	case config.ActionRemove:
		return l.remove(ctx, act)
	default:
		return audit.OutcomeFailed, fmt.Errorf("unknown action %q", act.Action)
	}
	if dockerclient.IsNotFound(err) {
		return audit.OutcomeAlreadyGone, nil
	}
	if err != nil {
		if !dockerclient.IsConflict(err) {
			return audit.OutcomeFailed, err
		}
		// It was not running when asked: gone without our doing, or the
		// Engine is unwilling.
		if ended, look := l.ended(ctx, act); look == nil && ended {
			return audit.OutcomeAlreadyGone, nil
		}
		return audit.OutcomeFailed, err
	}
	return l.confirm(ctx, act)
}

// remove stops, then deletes. An auto-remove container is deleted by the
// Engine as soon as it stops, so "not found" and "removal in progress" are
// what success looks like.
func (l Live) remove(ctx context.Context, act Act) (audit.Outcome, error) {
	stop := l.Actor.Stop(ctx, act.ID, act.Grace)
	if dockerclient.IsNotFound(stop) {
		return audit.OutcomeAlreadyGone, nil
	}
	// A stop that failed is no reason to leave it: removing kills by force,
	// with time of its own, since a hanging stop may have used up the act's.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), engineTime)
	defer cancel()
	err := l.Actor.Remove(ctx, act.ID)
	if err != nil && !dockerclient.IsNotFound(err) && !dockerclient.IsConflict(err) {
		return audit.OutcomeFailed, err
	}
	return l.confirm(ctx, act)
}

// confirm looks until the act's effect is seen.
func (l Live) confirm(ctx context.Context, act Act) (audit.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, confirmTime)
	defer cancel()
	for {
		ended, err := l.ended(ctx, act)
		if ended {
			return audit.OutcomeDone, nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("container %s: %s had no effect within %s", act.ID, act.Action, confirmTime)
			}
			return audit.OutcomeFailed, err
		case <-time.After(confirmEvery):
		}
	}
}

// ended tells whether the container is in the state that the action aims at.
func (l Live) ended(ctx context.Context, act Act) (bool, error) {
	c, err := l.Reader.Inspect(ctx, act.ID)
	if dockerclient.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	switch act.Action {
	case config.ActionRemove:
		return false, nil
	case config.ActionPause:
		return c.State == dockerclient.StatePaused || ended(c), nil
	}
	return ended(c), nil
}

func ended(c dockerclient.Container) bool {
	return c.State == dockerclient.StateExited || c.State == dockerclient.StateDead || c.State == dockerclient.StateRemoving
}
