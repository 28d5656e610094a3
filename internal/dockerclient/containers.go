package dockerclient

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
)

// States a container can be in, in the Engine's words.
const (
	StateCreated    = container.StateCreated
	StateRunning    = container.StateRunning
	StatePaused     = container.StatePaused
	StateRestarting = container.StateRestarting
	StateRemoving   = container.StateRemoving
	StateExited     = container.StateExited
	StateDead       = container.StateDead
)

// Container is what the Engine knows of one container.
type Container struct {
	ID      string // 64 hex digits
	Name    string // without the leading slash
	Image   string // as it was asked for at creation
	Labels  map[string]string
	State   string // one of the State constants
	Created time.Time

	// Known after Inspect only; zero from List.
	StartedAt time.Time // last start; zero when never started
	EndedAt   time.Time // last end, of a running one that of its life before; zero when it never ended
	PID       int       // of the init process in the Engine's PID namespace; 0 when not running
	Networks  []string  // IP addresses in the container's networks

	// WritableBytes is the size of the writable layer; -1 when not asked for.
	WritableBytes int64
}

// ListOptions says which containers List returns.
type ListOptions struct {
	All    bool     // stopped ones as well; else running, paused and restarting ones
	Labels []string // "key" or "key=value"; all must hold
	Sizes  bool     // ask for WritableBytes: the Engine walks each layer, which is slow
}

// List returns the containers of the Engine, in no particular order.
func (c *Client) List(ctx context.Context, o ListOptions) ([]Container, error) {
	f := filters.NewArgs()
	for _, l := range o.Labels {
		f.Add("label", l)
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
			State:         s.State,
			Created:       time.Unix(s.Created, 0),
			WritableBytes: -1,
		}
		for _, n := range s.Names {
			// Legacy links show as "/other/alias"; the own name has one slash.
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
	return list, nil
}

// Inspect returns one container by its id or name, with the facts that List
// lacks. IsNotFound tells that there is none.
func (c *Client) Inspect(ctx context.Context, id string) (Container, error) {
	r, err := c.api.ContainerInspect(ctx, id)
	if err != nil {
		return Container{}, fmt.Errorf("inspecting container %s: %w", id, err)
	}
	if r.ContainerJSONBase == nil || r.State == nil || r.Config == nil {
		return Container{}, fmt.Errorf("inspecting container %s: the engine's answer is incomplete", id)
	}
	item := Container{
		ID:            r.ID,
		Name:          strings.TrimPrefix(r.Name, "/"),
		Image:         r.Config.Image,
		Labels:        r.Config.Labels,
		State:         r.State.Status,
		PID:           r.State.Pid,
		WritableBytes: -1,
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

// Stop sends SIGTERM and, after grace (whole seconds, rounded up), SIGKILL. It
// returns when the container has stopped; a stopped one is no error.
func (c *Client) Stop(ctx context.Context, id string, grace time.Duration) error {
	seconds := int((grace + time.Second - 1) / time.Second)
	if err := c.api.ContainerStop(ctx, id, container.StopOptions{Timeout: &seconds}); err != nil {
		return fmt.Errorf("stopping container %s: %w", id, err)
	}
	return nil
}

// Kill sends SIGKILL to the container's init. IsConflict: it was not running.
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

// Remove deletes the container and its anonymous volumes; a running one is
// killed first. IsNotFound and IsConflict: somebody else removed it, or does.
func (c *Client) Remove(ctx context.Context, id string) error {
	if err := c.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
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

// parseTime reads the Engine's RFC 3339 times; "0001-01-01T00:00:00Z" and ""
// stand for never.
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
