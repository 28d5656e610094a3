package herd

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
	removers  = 4                // removals at a time
	goneAfter = 30 * time.Second // how long a removal by somebody else may take
	goneCheck = 100 * time.Millisecond
	again     = 5 * time.Second // until a removal is tried once more
)

// Clean removes every container of this generator, running or not, and
// returns how many are gone. Those that somebody else is removing meanwhile
// are waited for and counted; where that removal fails, this one is tried again.
// errors.Is(err, ErrPartial) tells that some are still there, and names them; each
// failure was logged.
func (f *Herd) Clean(ctx context.Context) (int, error) {
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
	for deadline := tried.Add(goneAfter); ; {
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
			return gone, fmt.Errorf("%w: still there: %s", ErrPartial, strings.Join(names, ", "))
		}
		if time.Since(tried) >= again {
			f.remove(ctx, left)
			tried = time.Now()
		}
		select {
		case <-ctx.Done():
			return gone, fmt.Errorf("%w: still there: %s: %w", ErrPartial, strings.Join(names, ", "), ctx.Err())
		case <-time.After(goneCheck):
		}
	}
}

// remove asks for the removal of each of list, some at a time.
func (f *Herd) remove(ctx context.Context, list []dockerclient.Container) {
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

func (f *Herd) removeOne(ctx context.Context, c dockerclient.Container) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := f.Engine.Remove(ctx, c.ID)
	switch {
	case err == nil:
		level.Debug(f.Logger).Log("msg", "container removed", "name", c.Name)
	case dockerclient.IsNotFound(err), dockerclient.IsConflict(err):
		// It ends by itself or somebody else removes it: the list will tell.
	default:
		level.Error(f.Logger).Log("msg", "cannot remove a container", "name", c.Name, "err", err)
	}
}
