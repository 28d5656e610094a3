package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/generator/batch"
	"github.com/estiba/estiba/generator/herd"
	"github.com/estiba/estiba/generator/image"
	"github.com/estiba/estiba/generator/lock"
	"github.com/estiba/estiba/internal/dockerclient"
)

// ownProgram is the program that runs, also when its file was replaced or
// deleted meanwhile (proc(5)).
const ownProgram = "/proc/self/exe"

// app is a generator with everything it works with.
type app struct {
	settings settings
	logger   log.Logger
	docker   *dockerclient.Client
	herd     herd.Herd
	batches  int // drawn so far
}

func newApp(s settings, logger log.Logger) (*app, error) {
	docker, err := dockerclient.New(s.DockerHost)
	if err != nil {
		return nil, err
	}
	return &app{
		settings: s,
		logger:   logger,
		docker:   docker,
		herd: herd.Herd{
			Engine: docker, Logger: logger, Name: s.Name,
			Image: s.Image, Own: isOwn(s.Image), Lifetime: s.Lifetime, Max: s.Max,
		},
	}, nil
}

// isOwn tells whether ref is the image that this program makes, with any tag.
func isOwn(ref string) bool {
	return ref == image.Default || strings.HasPrefix(ref, image.Default+":")
}

// run makes batches until ctx ends, which is no error. A batch that fails is
// logged, and the next one comes in its time: an Engine that went away may be
// back by then.
func (a *app) run(ctx context.Context) error {
	held, err := lock.Acquire(a.settings.LockFile)
	if err != nil {
		return err
	}
	defer held.Release()
	ticker := time.NewTicker(a.settings.Interval)
	defer ticker.Stop()
	for {
		err := a.batch(ctx)
		if err == nil {
			err = held.Mark(time.Now())
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, image.ErrDynamic):
			return err // no later batch can be better
		case err != nil && !errors.Is(err, herd.ErrPartial):
			level.Error(a.logger).Log("msg", "no batch", "retry_in", a.settings.Interval, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// once makes one batch.
func (a *app) once(ctx context.Context) error {
	held, err := lock.Acquire(a.settings.LockFile)
	if err != nil {
		return err
	}
	defer held.Release()
	if err := a.batch(ctx); err != nil {
		return err
	}
	return held.Mark(time.Now())
}

// healthy tells whether the generator with this lock file made a whole batch not
// longer ago than maxAge; a time in the future, after the clock was set back, will do.
func healthy(lockFile string, maxAge time.Duration, now time.Time) error {
	at, err := lock.Marked(lockFile)
	switch {
	case err != nil:
		return err
	case at.IsZero():
		return errors.New("no batch was made yet")
	case now.Sub(at) > maxAge:
		return fmt.Errorf("the last whole batch was made %s ago, more than %s", now.Sub(at).Round(time.Second), maxAge)
	}
	return nil
}

// clean removes what this generator made. It takes no lock: it is also for
// the moment when a run hangs.
func (a *app) clean(ctx context.Context) error {
	n, err := a.herd.Clean(ctx)
	if err != nil && !errors.Is(err, herd.ErrPartial) {
		return err
	}
	noun := "containers"
	if n == 1 {
		noun = "container"
	}
	level.Info(a.logger).Log("msg", fmt.Sprintf("removed %d %s", n, noun), "generator", a.settings.Name)
	return err
}

// batch sees to the image and creates the next batch.
func (a *app) batch(ctx context.Context) error {
	if err := a.ping(ctx); err != nil {
		return err
	}
	if err := a.image(ctx); err != nil {
		return err
	}
	random := batch.System()
	if a.settings.Seed != nil {
		random = batch.Seeded(*a.settings.Seed, a.batches)
	}
	// Counted before the outcome is known, so that the batch of a given number
	// is the same whatever happened to those before it.
	a.batches++
	return a.herd.Create(ctx, batch.New(random, a.settings.Batch))
}

// ping tells in a short time and a short sentence that the Engine is away.
func (a *app) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return a.docker.Ping(ctx)
}

// imageTimeout is enough for a pull over a slow line.
const imageTimeout = 10 * time.Minute

func (a *app) image(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, imageTimeout)
	defer cancel()
	ref := a.settings.Image
	if !isOwn(ref) {
		pulled, err := image.Pull(ctx, a.docker, ref)
		if pulled {
			level.Info(a.logger).Log("msg", "image pulled", "image", ref)
		}
		return err
	}
	made, err := image.Build(ctx, a.docker, ref, ownProgram)
	if made {
		level.Info(a.logger).Log("msg", "image made from this program", "image", ref)
	}
	return err
}
