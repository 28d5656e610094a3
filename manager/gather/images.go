package gather

import (
	"context"
	"sync"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/enforce"
)

// images caches the images that containers were created from, where the Engine's list
// lacks them. The list has an image's id once its tag has moved; the container's
// description keeps the tag.
//
// https://github.com/moby/moby/blob/v28.5.2/daemon/list.go (refreshImage)
type images struct {
	mu    sync.Mutex
	known map[string]string // by container id
}

// snapshot is what is known at this moment. It does not change.
func (i *images) snapshot() map[string]string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.known
}

// imageIn is the image that a container was created from; unknownImage if that is not
// known.
func imageIn(known map[string]string, id string) string {
	if image, ok := known[id]; ok {
		return image
	}
	return unknownImage
}

const unknownImage = "sha256:?" // not a reference, so no pattern matches it on purpose

// resolve sets the image of each listed container to the one it was created from, or to
// unknownImage.
func (i *images) resolve(ctx context.Context, engine enforce.Reader, list []dockerclient.Container) {
	i.mu.Lock()
	defer i.mu.Unlock()
	known := map[string]string{}
	var unknown []*dockerclient.Container
	for n := range list {
		c := &list[n]
		if !c.ImageIsID() {
			continue
		}
		if image, asked := i.known[c.ID]; asked {
			c.Image, known[c.ID] = image, image
			continue
		}
		unknown = append(unknown, c)
	}
	ctx, cancel := context.WithTimeout(ctx, EngineTimeout) // one limit for all
	defer cancel()
	var answers sync.Mutex
	Parallel(unknown, func(c *dockerclient.Container) {
		found, err := engine.Inspect(ctx, c.ID)
		if err != nil || found.ID != c.ID {
			c.Image = unknownImage
			return
		}
		c.Image = found.Image
		answers.Lock()
		defer answers.Unlock()
		known[c.ID] = found.Image
	})
	i.known = known
}
