// Package herd makes a generator's containers on a Docker Engine, counts
// them, and removes them: those that carry its name and no others.
package herd

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

// Engine is what a Herd needs of a Docker Engine.
type Engine interface {
	List(ctx context.Context, o dockerclient.ListOptions) ([]dockerclient.Container, error)
	Create(ctx context.Context, s dockerclient.Spec) (string, error)
	Start(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
}

// Herd is all containers of one generator.
type Herd struct {
	Engine   Engine
	Logger   log.Logger
	Name     string        // the generator's, in the label estiba.generator
	Image    string        // of the containers
	Own      bool          // the image is the one of package image, else one with stress(1)
	Lifetime time.Duration // after which a container ends by itself
	Max      int           // live containers at most
}

// callTimeout bounds one call, so that an Engine that hangs is an error and
// not a standstill.
const callTimeout = time.Minute

// ErrPartial says that some containers of a batch or of a clean-up failed;
// each was logged.
var ErrPartial = errors.New("some containers failed")

// owned are the labels that every container of this generator has.
func (f *Herd) owned() []string {
	return []string{container.LabelManaged + "=true", container.LabelGenerator + "=" + f.Name}
}

func (f *Herd) list(ctx context.Context) ([]dockerclient.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return f.Engine.List(ctx, dockerclient.ListOptions{All: true, Labels: f.owned()})
}

// Create makes and starts the containers of b, as many as the cap leaves room
// for. A container that fails is logged and does not stop the others;
// errors.Is(err, ErrPartial) tells that there were such. It must run under
// the generator's lock: containers of its own that were created and never
// started are taken for leftovers of a run that was killed, and removed.
func (f *Herd) Create(ctx context.Context, b batch.Batch) error {
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
			level.Error(f.Logger).Log("msg", "cannot create a container", "name", item.Name, "batch", b.ID, "err", err)
			continue
		}
		made = append(made, item)
		level.Debug(f.Logger).Log("msg", "container created", "name", item.Name, "batch", b.ID)
	}
	level.Info(f.Logger).Log("msg", summary(made), "batch", b.ID, "live", live+len(made), "failed", failed)
	if skipped := len(b.Items) - len(wanted); skipped > 0 {
		level.Info(f.Logger).Log("msg", fmt.Sprintf("at the cap of %d live containers: %d of the batch were not created", f.Max, skipped), "batch", b.ID)
	}
	if failed > 0 {
		return fmt.Errorf("%w: %d of batch %s", ErrPartial, failed, b.ID)
	}
	return nil
}

// createOne leaves nothing behind when it fails.
func (f *Herd) createOne(ctx context.Context, batchID string, item batch.Item) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	id, err := f.Engine.Create(ctx, f.spec(batchID, item))
	if err != nil {
		return err
	}
	err = f.Engine.Start(ctx, id)
	if err != nil {
		// The clean-up must run although ctx may be what ended.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if rmErr := f.Engine.Remove(ctx, id); rmErr != nil && !dockerclient.IsNotFound(rmErr) && !dockerclient.IsConflict(rmErr) {
			err = errors.Join(err, rmErr)
		}
	}
	return err
}

// spec is the whole description of a container.
func (f *Herd) spec(batchID string, item batch.Item) dockerclient.Spec {
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
			// A volume, not the writable layer: it is on the host's file
			// system, where O_DIRECT reaches storage.
			s.Volumes = []string{image.DataDir}
		}
		return s
	}
	s.Command = item.StressCommand(f.Lifetime)
	// stress writes where it is started, which is the root folder there.
	s.ReadOnly = p.Kind != container.KindDisk
	return s
}

// removeLeftover removes what can never run again. Failing is no harm: the
// next batch tries once more.
func (f *Herd) removeLeftover(ctx context.Context, c dockerclient.Container) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := f.Engine.Remove(ctx, c.ID); err != nil {
		if !dockerclient.IsNotFound(err) && !dockerclient.IsConflict(err) {
			level.Warn(f.Logger).Log("msg", "cannot remove a leftover container", "name", c.Name, "state", c.State, "err", err)
		}
		return
	}
	level.Info(f.Logger).Log("msg", "removed a leftover container", "name", c.Name, "state", c.State)
}
