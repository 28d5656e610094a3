package dockerclient

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	runtimes "github.com/estiba/estiba/internal/container"
)

// Container states of the Engine.
const (
	StateCreated    = container.StateCreated
	StateRunning    = container.StateRunning
	StatePaused     = container.StatePaused
	StateRestarting = container.StateRestarting
	StateRemoving   = container.StateRemoving
	StateExited     = container.StateExited
	StateDead       = container.StateDead
)

// HealthHealthy is the health status of a container whose health check passes.
const HealthHealthy = container.Healthy

// Container describes a container.
type Container struct {
	ID      string // 64 hex digits
	Name    string // without the leading slash
	Image   string // as given at creation; List returns the image's id once its tag has moved on
	Labels  map[string]string
	State   string // one of the State constants
	Created time.Time

	// Known after Inspect only; zero from List.
	StartedAt time.Time // last start; zero when never started
	EndedAt   time.Time // last exit; of a running container that of its previous life; zero if it never exited
	PID       int       // of the init process in the Engine's PID namespace; 0 when not running
	Networks  []string  // IP addresses in the container's networks
	ExitCode  int       // of the last exit; 0 while it runs
	Restarts  int       // by its restart policy, since it was last started by a client
	Health    string    // of its health check: "starting", "healthy" or "unhealthy"; "" without one
	Runtime   string    // "runc", …
	OOMKilled bool      // its last exit

	// Networkless: it has loopback only, so it cannot be reached by name or
	// address. From List and Inspect; Podman's List does not report it: false.
	Networkless bool
	// Pod is the name of its Podman pod; "" for none. Infra: it only holds the pod's
	// namespaces. From List with Pods only.
	Pod   string
	Infra bool
	// AutoRemove: the Engine removes it when it exits. From Inspect only.
	AutoRemove bool

	// WritableBytes is the size of the writable layer; -1 if not requested.
	WritableBytes int64
}

// ImageIsID reports whether Image is an image id. List returns the id once the tag given
// at creation has moved on; Inspect always returns the reference given at creation.
func (c Container) ImageIsID() bool { return strings.HasPrefix(c.Image, "sha256:") }

const networkNone = "none" // HostConfig.NetworkMode of a container without a network

// ListOptions selects the containers for List.
type ListOptions struct {
	All    bool     // also stopped ones; otherwise running, paused and restarting ones
	Labels []string // "key" or "key=value"; all must match
	Sizes  bool     // request WritableBytes: slow, because the Engine walks each layer
	Pods   bool     // request Pod and Infra, and the addresses of pods
}

// List returns containers in no particular order.
func (c *Client) List(ctx context.Context, o ListOptions) ([]Container, error) {
	podman := false
	if !o.All || o.Pods {
		runtime, err := c.Runtime(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing containers: %w", err)
		}
		podman = runtime == runtimes.Podman
	}
	f := filters.NewArgs()
	for _, l := range o.Labels {
		f.Add("label", l)
	}
	if podman && !o.All { // its default is only those that run
		f.Add("status", StateRunning)
		f.Add("status", StatePaused)
	}
	found, err := c.api.ContainerList(ctx, container.ListOptions{All: o.All, Size: o.Sizes, Filters: f})
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", err)
	}
	list := make([]Container, 0, len(found))
	for _, s := range found {
		item := Container{
			ID:            s.ID,
			Image:         s.Image,
			Labels:        s.Labels,
			State:         dockerState(s.State),
			Created:       time.Unix(s.Created, 0),
			WritableBytes: -1,
			Networkless:   s.HostConfig.NetworkMode == networkNone,
		}
		for _, n := range s.Names {
			// Legacy links are "/other/alias"; the name itself has one slash.
			if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") {
				item.Name = n
			}
		}
		if o.Sizes {
			item.WritableBytes = s.SizeRw
		}
		if s.NetworkSettings != nil {
			for _, n := range s.NetworkSettings.Networks {
				if n != nil {
					item.Networks = appendAddresses(item.Networks, n.IPAddress, n.GlobalIPv6Address)
				}
			}
		}
		list = append(list, item)
	}
	if podman && o.Pods {
		if err := c.inPods(ctx, list); err != nil {
			return nil, fmt.Errorf("listing containers: %w", err)
		}
	}
	return list, nil
}

// Inspect returns one container by id or name, with the fields that List lacks. The error
// is IsNotFound if it does not exist.
func (c *Client) Inspect(ctx context.Context, id string) (Container, error) {
	r, err := c.api.ContainerInspect(ctx, id)
	if err != nil {
		return Container{}, fmt.Errorf("inspecting container %s: %w", id, err)
	}
	if r.ContainerJSONBase == nil || r.State == nil || r.Config == nil {
		return Container{}, fmt.Errorf("inspecting container %s: incomplete response", id)
	}
	item := Container{
		ID:            r.ID,
		Name:          strings.TrimPrefix(r.Name, "/"),
		Image:         r.Config.Image,
		Labels:        r.Config.Labels,
		State:         dockerState(r.State.Status),
		PID:           r.State.Pid,
		ExitCode:      r.State.ExitCode,
		Restarts:      r.RestartCount,
		OOMKilled:     r.State.OOMKilled,
		WritableBytes: -1,
	}
	if r.HostConfig != nil {
		item.Networkless, item.AutoRemove = r.HostConfig.NetworkMode.IsNone(), r.HostConfig.AutoRemove
		item.Runtime = r.HostConfig.Runtime
	}
	if h := r.State.Health; h != nil && h.Status != container.NoHealthcheck {
		item.Health = h.Status
	}
	if item.Created, err = parseTime(r.Created); err != nil {
		return Container{}, fmt.Errorf("inspecting container %s: created: %w", id, err)
	}
	if item.StartedAt, err = parseTime(r.State.StartedAt); err != nil {
		return Container{}, fmt.Errorf("inspecting container %s: started: %w", id, err)
	}
	if item.EndedAt, err = parseTime(r.State.FinishedAt); err != nil {
		return Container{}, fmt.Errorf("inspecting container %s: ended: %w", id, err)
	}
	if r.NetworkSettings != nil {
		for _, n := range r.NetworkSettings.Networks {
			if n != nil {
				item.Networks = appendAddresses(item.Networks, n.IPAddress, n.GlobalIPv6Address)
			}
		}
	}
	return item, nil
}

// Stop sends SIGTERM and, after grace (rounded up to seconds), SIGKILL. It returns when
// the container has stopped, also if it was stopped before.
func (c *Client) Stop(ctx context.Context, id string, grace time.Duration) error {
	seconds := int((grace + time.Second - 1) / time.Second)
	if err := c.api.ContainerStop(ctx, id, container.StopOptions{Timeout: &seconds}); err != nil {
		return fmt.Errorf("stopping container %s: %w", id, err)
	}
	return nil
}

// Kill sends SIGKILL to the container's init process. IsConflict: it is not running.
func (c *Client) Kill(ctx context.Context, id string) error {
	if err := c.api.ContainerKill(ctx, id, "SIGKILL"); err != nil {
		return fmt.Errorf("killing container %s: %w", id, err)
	}
	return nil
}

// Pause freezes all processes of the container.
func (c *Client) Pause(ctx context.Context, id string) error {
	if err := c.api.ContainerPause(ctx, id); err != nil {
		return fmt.Errorf("pausing container %s: %w", id, err)
	}
	return nil
}

// Remove removes the container and its anonymous volumes; a running one is killed first.
// IsNotFound and IsConflict: another client has removed it, or is removing it.
func (c *Client) Remove(ctx context.Context, id string) error { return c.remove(ctx, id, true) }

// RemoveKeepingVolumes removes the container and keeps its anonymous volumes for
// `docker volume prune`.
func (c *Client) RemoveKeepingVolumes(ctx context.Context, id string) error {
	return c.remove(ctx, id, false)
}

func (c *Client) remove(ctx context.Context, id string, volumes bool) error {
	if err := c.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: volumes}); err != nil {
		return fmt.Errorf("removing container %s: %w", id, err)
	}
	return nil
}

func appendAddresses(to []string, addresses ...string) []string {
	for _, a := range addresses {
		if a != "" {
			to = append(to, a)
		}
	}
	return to
}

// parseTime parses the Engine's RFC 3339 times; "0001-01-01T00:00:00Z" and "" mean never.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() <= 1 {
		return time.Time{}, err
	}
	return t, nil
}
