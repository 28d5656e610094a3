package dockerclient

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"
)

// Spec describes a container to create. A zero limit means unlimited.
type Spec struct {
	Name        string
	Image       string
	Command     []string // argv; empty: that of the image
	Labels      map[string]string
	CPUs        float64 // 0.5 = half a core
	MemoryBytes int64   // of memory and swap together, so no swap beyond it
	PIDs        int64
	Networkless bool // loopback only
	AutoRemove  bool // the Engine removes it when it exits
	ReadOnly    bool // read-only root file system
	NoNewPrivs  bool
	DropAllCaps bool
	Runtime     string // "": the Engine's default
	// Restart is a restart policy: "always", "on-failure"; "": none.
	Restart string
	// Health is the argv of a health check that runs every second, without retries.
	Health []string
	// Tmpfs maps mount points to mount options ("size=64m").
	Tmpfs map[string]string
	// Volumes are mount points of anonymous volumes.
	Volumes []string
}

// Create creates a container without starting it, and returns its id.
// IsConflict: the name is in use; IsNotFound: the image does not exist.
func (c *Client) Create(ctx context.Context, s Spec) (string, error) {
	cfg := &container.Config{Image: s.Image, Cmd: s.Command, Labels: s.Labels}
	host := &container.HostConfig{
		AutoRemove:     s.AutoRemove,
		Runtime:        s.Runtime,
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
	if s.Restart != "" {
		host.RestartPolicy.Name = container.RestartPolicyMode(s.Restart)
	}
	if len(s.Health) > 0 {
		cfg.Healthcheck = &container.HealthConfig{Test: append([]string{"CMD"}, s.Health...), Interval: time.Second, Timeout: 10 * time.Second, Retries: 1}
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

// Start starts a created or stopped container; it does nothing if it is running.
func (c *Client) Start(ctx context.Context, id string) error {
	if err := c.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return fmt.Errorf("starting container %s: %w", id, err)
	}
	return nil
}
