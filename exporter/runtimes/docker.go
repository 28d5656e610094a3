package runtimes

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
)

// docker is the Engine of Docker, and of Podman, whose service answers Docker's API.
type docker struct {
	api    *dockerclient.Client
	podman atomic.Bool // Podman answers
}

// NewDocker returns the Engine at an address of Docker or Podman.
func NewDocker(address string) (Engine, error) {
	api, err := dockerclient.New(address)
	if err != nil {
		return nil, err
	}
	return &docker{api: api}, nil
}

func (d *docker) Connect(ctx context.Context) (About, error) {
	if err := d.api.Ping(ctx); err != nil {
		return About{}, err
	}
	if podman := d.api.IsPodman(ctx); podman {
		d.podman.Store(true)
		return About{Runtime: container.Podman, OOMByExit: true}, nil
	}
	d.podman.Store(false)
	return About{Runtime: container.Docker}, nil
}

func (d *docker) Ping(ctx context.Context) error { return d.api.Ping(ctx) }
func (d *docker) Close() error                   { return d.api.Close() }

func (d *docker) List(ctx context.Context) ([]Container, error) {
	list, err := d.api.List(ctx, dockerclient.ListOptions{All: true})
	if err != nil {
		return nil, err
	}
	pods := d.pods(ctx, "")
	all := make([]Container, 0, len(list))
	for i := range list {
		one := d.convert(&list[i], pods)
		// Docker lists the name at creation as long as it refers to the same image, and
		// the image's id after the tag has moved.
		if list[i].ImageIsID() {
			one.Image = ""
		}
		all = append(all, one)
	}
	return all, nil
}

func (d *docker) Inspect(ctx context.Context, id string) (Container, error) {
	one, err := d.api.Inspect(ctx, id)
	if err != nil {
		return Container{}, err
	}
	return d.convert(&one, d.pods(ctx, id)), nil
}

// pods returns Podman's pods. They are missing where a proxy forbids Podman's own API.
func (d *docker) pods(ctx context.Context, id string) map[string]dockerclient.PodmanPod {
	if !d.podman.Load() {
		return nil
	}
	pods, err := d.api.PodmanPods(ctx, id)
	if err != nil {
		return nil
	}
	return pods
}

func (d *docker) convert(c *dockerclient.Container, pods map[string]dockerclient.PodmanPod) Container {
	one := Container{
		ID: c.ID, Name: c.Name, Image: c.Image, Labels: c.Labels, State: c.State, Created: c.Created,
		EndedAt: c.EndedAt, ExitCode: c.ExitCode, OOMKilled: c.OOMKilled, Restarts: c.Restarts, Health: c.Health, Handler: c.Runtime,
	}
	if pod, ok := pods[c.ID]; ok {
		one.Pod, one.PodContainer = pod.Name, c.Name
		if pod.Infra {
			one.PodContainer = PodPause
		}
	}
	return one
}

// history is the time for which events are asked for again when the stream opens. It
// covers the time until Podman opens it.
const history = 2 * time.Second

func (d *docker) Events(ctx context.Context) (<-chan Event, <-chan error) {
	if d.podman.Load() {
		return d.api.EventsSince(ctx, time.Now().Add(-history))
	}
	return d.api.Events(ctx)
}

func (d *docker) Sizes(ctx context.Context) (map[string]int64, error) {
	list, err := d.api.List(ctx, dockerclient.ListOptions{Sizes: true})
	if err != nil {
		return nil, err
	}
	sizes := make(map[string]int64, len(list))
	for i := range list {
		if list[i].WritableBytes >= 0 {
			sizes[list[i].ID] = list[i].WritableBytes
		}
	}
	return sizes, nil
}
