package enforce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/config"
)

// Reader is the part of the Engine that reads.
type Reader interface {
	// Runtime is package container's Docker or Podman.
	Runtime(ctx context.Context) (string, error)
	List(ctx context.Context, o dockerclient.ListOptions) ([]dockerclient.Container, error)
	Inspect(ctx context.Context, id string) (dockerclient.Container, error)
}

// Actor is the part of the Engine that changes containers. Only Live holds one.
type Actor interface {
	Stop(ctx context.Context, id string, grace time.Duration) error
	Kill(ctx context.Context, id string) error
	// Remove deletes the container and its anonymous volumes.
	Remove(ctx context.Context, id string) error
	RemoveKeepingVolumes(ctx context.Context, id string) error
	Pause(ctx context.Context, id string) error
}

// Engine is the Docker Engine as the manager uses it.
type Engine interface {
	Reader
	Actor
}

// Command is what a Killer does to one container.
type Command struct {
	ID            string
	StartedAt     time.Time // of the intended life
	Action        config.Action
	Grace         time.Duration
	RemoveVolumes bool
}

// Killer carries out a kill, or does not.
type Killer interface {
	Kill(ctx context.Context, cmd Command) (audit.Outcome, error)
}

// Dry is the Killer of dry runs. It has nothing to kill with.
type Dry struct{}

// Kill does nothing and returns OutcomeDryRun.
func (Dry) Kill(context.Context, Command) (audit.Outcome, error) { return audit.OutcomeDryRun, nil }

// Time limits of a kill beyond the grace, and the interval of checks for its effect.
const (
	killTimeout    = 45 * time.Second
	confirmTimeout = 15 * time.Second
	confirmEvery   = 50 * time.Millisecond
)

// Live is the Killer that kills.
type Live struct {
	Reader Reader
	Actor  Actor
}

// Kill kills and waits until the effect is seen. A container that the Engine no longer
// has counts as already gone; a removal in progress (auto-remove) is waited for.
func (l Live) Kill(ctx context.Context, cmd Command) (audit.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, cmd.Grace+killTimeout)
	defer cancel()
	var err error
	switch cmd.Action {
	case config.ActionStop:
		err = l.Actor.Stop(ctx, cmd.ID, cmd.Grace)
	case config.ActionKill:
		err = l.Actor.Kill(ctx, cmd.ID)
	case config.ActionPause:
		err = l.Actor.Pause(ctx, cmd.ID)
	case config.ActionRemove:
		return l.remove(ctx, cmd)
	default:
		return audit.OutcomeFailed, fmt.Errorf("unknown action %q", cmd.Action)
	}
	if dockerclient.IsNotFound(err) {
		return audit.OutcomeAlreadyGone, nil
	}
	if err != nil {
		if !dockerclient.IsConflict(err) {
			return audit.OutcomeFailed, err
		}
		// It was not running: it exited before, or the Engine refuses.
		if ended, look := l.ended(ctx, cmd); look == nil && ended {
			return audit.OutcomeAlreadyGone, nil
		}
		return audit.OutcomeFailed, err
	}
	return l.confirm(ctx, cmd)
}

// remove stops, then deletes. The Engine itself deletes an auto-remove container when
// it stops; a second deletion could hit another container that is named like the id,
// since the Engine takes an unknown id for a name.
func (l Live) remove(ctx context.Context, cmd Command) (audit.Outcome, error) {
	stop := l.Actor.Stop(ctx, cmd.ID, cmd.Grace)
	if dockerclient.IsNotFound(stop) {
		return audit.OutcomeAlreadyGone, nil
	}
	// After a failed stop: a removal kills by force, with its own time limit, since a
	// hanging stop may have used up the first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
	defer cancel()
	now, err := l.Reader.Inspect(ctx, cmd.ID)
	switch {
	case dockerclient.IsNotFound(err), err == nil && now.ID != cmd.ID:
		return audit.OutcomeDone, nil
	case err != nil:
		return audit.OutcomeFailed, err
	case !now.StartedAt.Equal(cmd.StartedAt):
		return audit.OutcomeFailed, errors.Join(stop, fmt.Errorf("container %s restarted before its removal", cmd.ID))
	case now.State == dockerclient.StateRemoving || (now.AutoRemove && ended(now)):
		return l.confirm(ctx, cmd)
	}
	remove := l.Actor.RemoveKeepingVolumes
	if cmd.RemoveVolumes {
		remove = l.Actor.Remove
	}
	err = remove(ctx, now.ID)
	if err != nil && !dockerclient.IsNotFound(err) && !dockerclient.IsConflict(err) {
		return audit.OutcomeFailed, err
	}
	return l.confirm(ctx, cmd)
}

// confirm waits until the kill's effect is seen.
func (l Live) confirm(ctx context.Context, cmd Command) (audit.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	for {
		ended, err := l.ended(ctx, cmd)
		if ended {
			return audit.OutcomeDone, nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("container %s: no effect of %s after %s", cmd.ID, cmd.Action, confirmTimeout)
			}
			return audit.OutcomeFailed, err
		case <-time.After(confirmEvery):
		}
	}
}

// ended reports whether the action has had its effect.
func (l Live) ended(ctx context.Context, cmd Command) (bool, error) {
	c, err := l.Reader.Inspect(ctx, cmd.ID)
	if dockerclient.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if c.ID != cmd.ID {
		return true, nil // gone, and another container is named like its id
	}
	switch cmd.Action {
	case config.ActionRemove:
		return false, nil
	case config.ActionStop, config.ActionKill:
		if !c.StartedAt.Equal(cmd.StartedAt) {
			return true, nil // that life is over: a restart policy started another
		}
	case config.ActionPause:
		return c.State == dockerclient.StatePaused || ended(c), nil
	}
	return ended(c), nil
}

func ended(c dockerclient.Container) bool {
	return c.State == dockerclient.StateExited || c.State == dockerclient.StateDead || c.State == dockerclient.StateRemoving
}
