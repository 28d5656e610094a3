package dockerclient

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types/container"
)

// Spec describes a container to create. Zero limits mean "no limit".
type Spec struct {
	Name        string
	Image       string
	Command     []string // argv; empty: the image's own
	Labels      map[string]string
	CPUs        float64 // 0.5 = half a core
	MemoryBytes int64   // memory and swap together: no swap beyond it
	PIDs        int64
	Networkless bool // no network but loopback
	AutoRemove  bool // the Engine removes it when it ends
	ReadOnly    bool // read-only root file system
	NoNewPrivs  bool
	DropAllCaps bool
	// Tmpfs maps mount points to mount options ("size=64m").
	Tmpfs map[string]string
	// Volumes are anonymous volumes' mount points, gone with the container.
	Volumes []string
}

// Create makes a container and returns its id; it does not start it.
// IsConflict: the name is in use; IsNotFound: the image is not there.
func (c *Client) Create(ctx context.Context, s Spec) (string, error) {
	cfg := &container.Config{Image: s.Image, Cmd: s.Command, Labels: s.Labels}
	host := &container.HostConfig{
		AutoRemove:     s.AutoRemove,
		ReadonlyRootfs: s.ReadOnly,
		Tmpfs:          s.Tmpfs,
		Resources: container.Resources{
			NanoCPUs:   int64(s.CPUs * 1e9),
			Memory:     s.MemoryBytes,
			MemorySwap: s.MemoryBytes,
		},
		LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m", "max-file": "1"}},
	}
	if s.PIDs > 0 {
		host.PidsLimit = &s.PIDs
	}
	if s.Networkless {
		host.NetworkMode = "none"
	}
	if s.NoNewPrivs {
		host.SecurityOpt = []string{"no-new-privileges"}
	}
	if s.DropAllCaps {
		host.CapDrop = []string{"ALL"}
	}
	if len(s.Volumes) > 0 {
		cfg.Volumes = map[string]struct{}{}
		for _, v := range s.Volumes {
			cfg.Volumes[v] = struct{}{}
		}
	}
	r, err := c.api.ContainerCreate(ctx, cfg, host, nil, nil, s.Name)
	if err != nil {
		return "", fmt.Errorf("creating container %s: %w", s.Name, err)
	}
	return r.ID, nil
}

// Start starts a created or stopped container; a running one is no error.
func (c *Client) Start(ctx context.Context, id string) error {
	if err := c.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return fmt.Errorf("starting container %s: %w", id, err)
	}
	return nil
}
