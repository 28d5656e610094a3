package gather

import (
	"context"
	"fmt"
	"sync"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/enforce"
)

// podOf is the Podman pod of the manager's container; "" is none.
func podOf(self Self, list []dockerclient.Container) string {
	for _, c := range list {
		if c.Pod != "" && self.is(c) {
			return c.Pod
		}
	}
	return ""
}

// ownProject is the compose project of the manager's container. Labels do not change,
// so it is looked up once and kept.
type ownProject struct {
	mu    sync.Mutex
	known bool
	name  string // "" is none
}

// of finds the project in the Engine's list, else by inspecting the container. After an
// error the members of the project are unknown.
func (p *ownProject) of(ctx context.Context, self Self, list []dockerclient.Container, engine enforce.Reader) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known {
		return p.name, nil
	}
	for _, c := range list {
		if self.is(c) {
			p.known, p.name = true, c.Labels[container.LabelComposeProject]
			return p.name, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, EngineTimeout)
	defer cancel()
	for _, id := range self.IDs {
		c, err := engine.Inspect(ctx, id)
		switch {
		case dockerclient.IsNotFound(err): // of another Engine
			continue
		case err != nil:
			return "", fmt.Errorf("finding the manager's compose project: %w", err)
		}
		p.known, p.name = true, c.Labels[container.LabelComposeProject]
		return p.name, nil
	}
	return "", nil // in no known container
}
