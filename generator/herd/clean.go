package herd

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/internal/dockerclient"
)

const (
	removers  = 4                // removals at a time
	goneAfter = 30 * time.Second // how long a removal by somebody else may take
	goneCheck = 100 * time.Millisecond
)

// Clean removes every container of this generator, running or not, and
// returns how many are gone. Those that somebody else is removing meanwhile
// are waited for and counted. errors.Is(err, ErrPartial) tells that some are
// still there; each failure was logged.
func (f *Herd) Clean(ctx context.Context) (int, error) {
	found, err := f.list(ctx)
	if err != nil {
		return 0, err
	}
	work := make(chan dockerclient.Container)
	var done sync.WaitGroup
	for range removers {
		done.Go(func() {
			for c := range work {
				f.removeOne(ctx, c)
			}
		})
	}
	for _, c := range found {
		work <- c
	}
	close(work)
	done.Wait()

	mine := map[string]bool{}
	for _, c := range found {
		mine[c.ID] = true
	}
	for deadline := time.Now().Add(goneAfter); ; {
		now, err := f.list(ctx)
		if err != nil {
			return 0, err
		}
		left := 0
		for _, c := range now {
			if mine[c.ID] {
				left++
			}
		}
		if left == 0 {
			return len(found), nil
		}
		if time.Now().After(deadline) {
			return len(found) - left, fmt.Errorf("%w: %d are still there", ErrPartial, left)
		}
		select {
		case <-ctx.Done():
			return len(found) - left, fmt.Errorf("%w: %d are still there: %w", ErrPartial, left, ctx.Err())
		case <-time.After(goneCheck):
		}
	}
}

func (f *Herd) removeOne(ctx context.Context, c dockerclient.Container) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := f.Engine.Remove(ctx, c.ID)
	switch {
	case err == nil:
		level.Debug(f.Logger).Log("msg", "container removed", "name", c.Name)
	case dockerclient.IsNotFound(err), dockerclient.IsConflict(err):
		// It ends by itself or another one removes it: the list will tell.
	default:
		level.Error(f.Logger).Log("msg", "cannot remove a container", "name", c.Name, "err", err)
	}
}
