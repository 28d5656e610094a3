package fleet

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/internal/dockerclient"
)

const (
	removers     = 4                // concurrent removals
	cleanTimeout = 30 * time.Second // limit for removals by other clients
	pollInterval = 100 * time.Millisecond
	retryAfter   = 5 * time.Second // until a removal is retried
)

// Clean removes every container of this generator, running or not, and returns how many
// are gone. It waits for containers that another client is removing and counts them; if
// that removal fails, Clean retries its own. The error is ErrPartial, with the names, if
// some are left; each failure was logged.
func (f *Fleet) Clean(ctx context.Context) (int, error) {
	found, err := f.list(ctx)
	if err != nil {
		return 0, err
	}
	mine := map[string]bool{}
	for _, c := range found {
		mine[c.ID] = true
	}
	f.remove(ctx, found)
	tried := time.Now()
	for deadline := tried.Add(cleanTimeout); ; {
		now, err := f.list(ctx)
		if err != nil {
			return 0, err
		}
		var left []dockerclient.Container
		var names []string
		for _, c := range now {
			if mine[c.ID] {
				left = append(left, c)
				names = append(names, c.Name+" ("+c.State+")")
			}
		}
		gone := len(found) - len(left)
		if len(left) == 0 {
			return gone, nil
		}
		if time.Now().After(deadline) {
			return gone, fmt.Errorf("%w: not removed: %s", ErrPartial, strings.Join(names, ", "))
		}
		if time.Since(tried) >= retryAfter {
			f.remove(ctx, left)
			tried = time.Now()
		}
		select {
		case <-ctx.Done():
			return gone, fmt.Errorf("%w: not removed: %s: %w", ErrPartial, strings.Join(names, ", "), ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// remove removes the containers in list, some at a time.
func (f *Fleet) remove(ctx context.Context, list []dockerclient.Container) {
	work := make(chan dockerclient.Container)
	var done sync.WaitGroup
	for range removers {
		done.Go(func() {
			for c := range work {
				f.removeOne(ctx, c)
			}
		})
	}
	for _, c := range list {
		work <- c
	}
	close(work)
	done.Wait()
}

func (f *Fleet) removeOne(ctx context.Context, c dockerclient.Container) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := f.Engine.Remove(ctx, c.ID)
	switch {
	case err == nil:
		level.Debug(f.Logger).Log("msg", "removed container", "name", c.Name)
	case dockerclient.IsNotFound(err), dockerclient.IsConflict(err):
		// It has exited or another client removes it: Clean lists again.
	default:
		level.Error(f.Logger).Log("msg", "removing container failed", "name", c.Name, "err", err)
	}
}
