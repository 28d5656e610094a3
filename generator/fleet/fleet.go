// Package fleet creates, counts and removes the containers of one generator on a Docker
// Engine: those with its name in a label.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/generator/batch"
	"github.com/estiba/estiba/generator/image"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
)

// Engine is the part of a Docker Engine that a Fleet uses.
type Engine interface {
	List(ctx context.Context, o dockerclient.ListOptions) ([]dockerclient.Container, error)
	Create(ctx context.Context, s dockerclient.Spec) (string, error)
	Start(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
}

// Fleet is the set of containers of one generator.
type Fleet struct {
	Engine   Engine
	Logger   log.Logger
	Name     string        // of the generator, in the label estiba.generator
	Image    string        // of the containers
	Own      bool          // the image is that of package image, else one with stress(1)
	Lifetime time.Duration // after which a container exits
	Max      int           // maximum number of live containers
}

// callTimeout bounds one call, so that a hanging Engine is an error.
const callTimeout = time.Minute

// ErrPartial means that some containers of a batch or of a clean-up failed; each was
// logged.
var ErrPartial = errors.New("some containers failed")

// owned returns the labels that identify the containers of this generator.
func (f *Fleet) owned() []string {
	return []string{container.LabelManaged + "=true", container.LabelGenerator + "=" + f.Name}
}

func (f *Fleet) list(ctx context.Context) ([]dockerclient.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return f.Engine.List(ctx, dockerclient.ListOptions{All: true, Labels: f.owned()})
}

// Create creates and starts the containers of b, up to Max live ones. A failure is logged
// and does not stop the others; then the error is ErrPartial. Callers must hold the
// generator's lock: Create removes containers that were never started, as leftovers of a
// killed run.
func (f *Fleet) Create(ctx context.Context, b batch.Batch) error {
	found, err := f.list(ctx)
	if err != nil {
		return err
	}
	live := 0
	for _, c := range found {
		switch c.State {
		case dockerclient.StateRunning, dockerclient.StatePaused, dockerclient.StateRestarting:
			live++
		case dockerclient.StateCreated, dockerclient.StateExited, dockerclient.StateDead:
			f.removeLeftover(ctx, c)
		}
	}
	wanted := b.Items[:min(len(b.Items), max(0, f.Max-live))]
	var made []batch.Item
	failed := 0
	for _, item := range wanted {
		if ctx.Err() != nil {
			failed += len(wanted) - len(made) - failed
			break
		}
		if err := f.createOne(ctx, b.ID, item); err != nil {
			failed++
			level.Error(f.Logger).Log("msg", "creating container failed", "name", item.Name, "batch", b.ID, "err", err)
			continue
		}
		made = append(made, item)
		level.Debug(f.Logger).Log("msg", "created container", "name", item.Name, "batch", b.ID)
	}
	level.Info(f.Logger).Log("msg", summary(made), "batch", b.ID, "live", live+len(made), "failed", failed)
	if skipped := len(b.Items) - len(wanted); skipped > 0 {
		level.Info(f.Logger).Log("msg", "maximum of live containers reached", "max", f.Max, "skipped", skipped, "batch", b.ID)
	}
	if failed > 0 {
		return fmt.Errorf("%w: %d of batch %s", ErrPartial, failed, b.ID)
	}
	return nil
}

// createOne creates and starts a container, or leaves none.
func (f *Fleet) createOne(ctx context.Context, batchID string, item batch.Item) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	id, err := f.Engine.Create(ctx, f.spec(batchID, item))
	if err != nil {
		return err
	}
	err = f.Engine.Start(ctx, id)
	if err != nil {
		// The clean-up must run even if ctx has ended.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if rmErr := f.Engine.Remove(ctx, id); rmErr != nil && !dockerclient.IsNotFound(rmErr) && !dockerclient.IsConflict(rmErr) {
			err = errors.Join(err, rmErr)
		}
	}
	return err
}

// spec returns the complete description of a container.
func (f *Fleet) spec(batchID string, item batch.Item) dockerclient.Spec {
	p := item.Params
	onDisk := p.Kind == container.KindIO || p.Kind == container.KindDisk
	s := dockerclient.Spec{
		Name:  item.Name,
		Image: f.Image,
		Labels: map[string]string{
			container.LabelManaged:   "true",
			container.LabelKind:      string(p.Kind),
			container.LabelLoad:      string(item.Level),
			container.LabelGenerator: f.Name,
			container.LabelBatch:     batchID,
		},
		CPUs:        item.Limits.CPUs,
		MemoryBytes: item.Limits.MemoryBytes,
		PIDs:        item.Limits.PIDs,
		Networkless: true,
		AutoRemove:  true,
		ReadOnly:    true,
		NoNewPrivs:  true,
		DropAllCaps: true,
	}
	if f.Own {
		s.Command = append(p.Args(), "--lifetime="+f.Lifetime.String())
		if onDisk {
			s.Command = append(s.Command, "--dir="+image.DataDir)
			// A volume is on the host's file system, where O_DIRECT reaches
			// storage, unlike in the writable layer.
			s.Volumes = []string{image.DataDir}
		}
		return s
	}
	s.Command = item.StressCommand(f.Lifetime)
	// stress writes to its working directory, which is / in that image.
	s.ReadOnly = p.Kind != container.KindDisk
	return s
}

// removeLeftover removes a container that can never run again. The next batch retries
// after a failure.
func (f *Fleet) removeLeftover(ctx context.Context, c dockerclient.Container) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := f.Engine.Remove(ctx, c.ID); err != nil {
		if !dockerclient.IsNotFound(err) && !dockerclient.IsConflict(err) {
			level.Warn(f.Logger).Log("msg", "removing leftover container failed", "name", c.Name, "state", c.State, "err", err)
		}
		return
	}
	level.Info(f.Logger).Log("msg", "removed leftover container", "name", c.Name, "state", c.State)
}
