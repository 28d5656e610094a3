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
	"github.com/estiba/estiba/generator/fleet"
	"github.com/estiba/estiba/generator/image"
	"github.com/estiba/estiba/generator/lock"
	"github.com/estiba/estiba/internal/dockerclient"
)

// ownProgram is the running program, even if its file was replaced or deleted (proc(5)).
const ownProgram = "/proc/self/exe"

// app is a generator with its dependencies.
type app struct {
	settings settings
	logger   log.Logger
	docker   *dockerclient.Client
	fleet    fleet.Fleet
	batches  int // so far
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
		fleet: fleet.Fleet{
			Engine: docker, Logger: logger, Name: s.Name,
			Image: s.Image, Own: isOwn(s.Image), Lifetime: s.Lifetime, Max: s.Max,
		},
	}, nil
}

// isOwn reports whether ref is the image that this program builds, with any tag.
func isOwn(ref string) bool {
	return ref == image.Default || strings.HasPrefix(ref, image.Default+":")
}

// run creates batches until ctx ends, and then returns nil. It logs a failed batch and
// tries again after the interval: the Engine may be back by then.
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
			return err // retrying cannot help
		case err != nil && !errors.Is(err, fleet.ErrPartial):
			level.Error(a.logger).Log("msg", "creating batch failed", "retry_in", a.settings.Interval, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// once creates one batch.
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

// healthy returns nil if the last complete batch of the generator with this lock file is
// not older than maxAge. A time in the future, after the clock was set back, is healthy.
func healthy(lockFile string, maxAge time.Duration, now time.Time) error {
	at, err := lock.Marked(lockFile)
	switch {
	case err != nil:
		return err
	case at.IsZero():
		return errors.New("no batch created yet")
	case now.Sub(at) > maxAge:
		return fmt.Errorf("last complete batch created %s ago, more than %s", now.Sub(at).Round(time.Second), maxAge)
	}
	return nil
}

// clean removes all containers of this generator. It takes no lock, so that it works
// while a run hangs.
func (a *app) clean(ctx context.Context) error {
	n, err := a.fleet.Clean(ctx)
	if err != nil && !errors.Is(err, fleet.ErrPartial) {
		return err
	}
	level.Info(a.logger).Log("msg", "removed containers", "count", n, "generator", a.settings.Name)
	return err
}

// batch ensures that the image exists and creates the next batch.
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
	// Counted even if it fails, so that batch N of a seed is always the same.
	a.batches++
	return a.fleet.Create(ctx, batch.New(random, a.settings.Batch))
}

// ping fails fast, with a short error, if the Engine is down.
func (a *app) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return a.docker.Ping(ctx)
}

// imageTimeout allows for a pull over a slow network.
const imageTimeout = 10 * time.Minute

func (a *app) image(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, imageTimeout)
	defer cancel()
	ref := a.settings.Image
	if !isOwn(ref) {
		pulled, err := image.Pull(ctx, a.docker, ref)
		if pulled {
			level.Info(a.logger).Log("msg", "pulled image", "image", ref)
		}
		return err
	}
	built, err := image.Build(ctx, a.docker, ref, ownProgram)
	if built {
		level.Info(a.logger).Log("msg", "built image from this program", "image", ref)
	}
	return err
}
