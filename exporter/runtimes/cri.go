package runtimes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/criclient"
)

// kubernetes is the Engine of a runtime with the CRI: containerd, CRI-O.
type kubernetes struct {
	api *criclient.Client

	mu        sync.Mutex
	events    bool                         // the runtime sends each event to all clients
	sandboxes map[string]criclient.Sandbox // of the last list, and inspected since
}

// NewCRI returns the Engine at an address of the CRI.
func NewCRI(address string) (Engine, error) {
	api, err := criclient.New(address)
	if err != nil {
		return nil, err
	}
	return &kubernetes{api: api}, nil
}

func (k *kubernetes) Connect(ctx context.Context) (About, error) {
	r, err := k.api.Version(ctx)
	if err != nil {
		return About{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events, k.sandboxes = r.SharesEvents(), nil
	runtime := r.Name
	if strings.EqualFold(runtime, "cri-o") {
		runtime = container.CRIO
	}
	return About{Runtime: runtime, OOMByExit: true, LateEvents: true}, nil
}

func (k *kubernetes) Ping(ctx context.Context) error {
	_, err := k.api.Version(ctx)
	return err
}

func (k *kubernetes) Close() error { return k.api.Close() }

// List returns the containers of pods, and the pods' sandboxes.
func (k *kubernetes) List(ctx context.Context) ([]Container, error) {
	sandboxes, err := k.api.Sandboxes(ctx, "")
	if err != nil {
		return nil, err
	}
	containers, err := k.api.Containers(ctx, "")
	if err != nil {
		return nil, err
	}
	byID := make(map[string]criclient.Sandbox, len(sandboxes))
	all := make([]Container, 0, len(sandboxes)+len(containers))
	for _, s := range sandboxes {
		byID[s.ID] = s
		all = append(all, ofSandbox(s))
	}
	for _, c := range containers {
		all = append(all, ofContainer(c, byID[c.Sandbox]))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sandboxes = byID
	return all, nil
}

func (k *kubernetes) Inspect(ctx context.Context, id string) (Container, error) {
	list, err := k.api.Containers(ctx, id)
	if err != nil {
		return Container{}, err
	}
	if len(list) == 0 {
		return k.inspectSandbox(ctx, id)
	}
	c := list[0]
	s, err := k.sandbox(ctx, c.Sandbox)
	if err != nil && !criclient.IsNotFound(err) { // it may be gone before its containers
		return Container{}, err
	}
	status, err := k.api.Status(ctx, id)
	if err != nil {
		return Container{}, err
	}
	c.State, c.Image = status.State, status.Image
	one := ofContainer(c, s)
	one.ExitCode, one.OOMKilled, one.EndedAt = status.ExitCode, status.OOMKilled, status.EndedAt
	return one, nil
}

func (k *kubernetes) inspectSandbox(ctx context.Context, id string) (Container, error) {
	k.forget(id)
	s, err := k.sandbox(ctx, id)
	if err != nil {
		return Container{}, err
	}
	one := ofSandbox(s)
	one.Image, err = k.api.PauseImage(ctx, id)
	return one, err
}

func (k *kubernetes) forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.sandboxes, id)
}

// sandbox returns a sandbox, if possible the one that is known.
func (k *kubernetes) sandbox(ctx context.Context, id string) (criclient.Sandbox, error) {
	k.mu.Lock()
	s, ok := k.sandboxes[id]
	k.mu.Unlock()
	if ok || id == "" {
		return s, nil
	}
	list, err := k.api.Sandboxes(ctx, id)
	if err != nil {
		return s, err
	}
	if len(list) == 0 {
		return s, fmt.Errorf("inspecting pod %s: %w", id, cerrdefs.ErrNotFound)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sandboxes == nil {
		k.sandboxes = map[string]criclient.Sandbox{}
	}
	k.sandboxes[id] = list[0]
	return list[0], nil
}

// ofSandbox returns a sandbox. Its name is NAMESPACE/POD.
func ofSandbox(s criclient.Sandbox) Container {
	one := Container{
		ID: s.ID, Name: s.Namespace + "/" + s.Pod, Labels: s.Labels,
		Pod: s.Pod, PodNamespace: s.Namespace, PodContainer: PodPause, Sandbox: true,
		State: StateExited, Created: s.Created, Restarts: int(s.Attempt), NoHealth: true, Handler: s.Handler,
	}
	if s.Ready {
		one.State = StateRunning
	}
	return one
}

// states are those of the CRI.
var states = map[string]string{
	criclient.Created: StateCreated,
	criclient.Running: StateRunning,
	criclient.Exited:  StateExited,
}

// ofContainer returns a container of a pod. Its name is NAMESPACE/POD/CONTAINER, and it
// has the pod's labels, because Kubernetes gives a container none of its own.
func ofContainer(c criclient.Container, s criclient.Sandbox) Container {
	one := Container{
		ID: c.ID, Name: c.Name, Labels: c.Labels, Pod: s.Pod, PodNamespace: s.Namespace, PodContainer: c.Name, SandboxID: c.Sandbox,
		State: states[c.State], Created: c.Created, Restarts: int(c.Attempt), NoHealth: true, Handler: s.Handler,
	}
	if one.Pod == "" { // the sandbox is not known: the kubelet labels the container
		one.Pod, one.PodNamespace = c.Labels[labelPod], c.Labels[labelPodNamespace]
	}
	if one.Pod != "" {
		one.Name = one.PodNamespace + "/" + one.Pod + "/" + c.Name
	}
	if !isImageID(c.Image) {
		one.Image = c.Image
	}
	if len(s.Labels) > 0 {
		one.Labels = maps.Clone(s.Labels)
		maps.Copy(one.Labels, c.Labels)
	}
	return one
}

// isImageID reports whether a runtime lists the id of an image in place of its name.
func isImageID(image string) bool {
	return strings.HasPrefix(image, "sha256:") || container.IsFullID(image)
}

// actions are those of the CRI.
var actions = map[string]string{
	criclient.ActionCreated: "create",
	criclient.ActionStarted: "start",
	criclient.ActionStopped: "die",
	criclient.ActionDeleted: "destroy",
}

func (k *kubernetes) Events(ctx context.Context) (<-chan Event, <-chan error) {
	errs := make(chan error, 1)
	k.mu.Lock()
	shared := k.events
	k.mu.Unlock()
	if !shared {
		errs <- errNoEvents
		return nil, errs
	}
	messages, failed := k.api.Events(ctx)
	out := make(chan Event)
	go func() {
		for {
			select {
			case m := <-messages:
				select {
				case out <- Event{Action: actions[m.Action], ID: m.ID}:
				case <-ctx.Done():
					errs <- ctx.Err()
					return
				}
			case err := <-failed:
				if errors.Is(err, criclient.ErrNoEvents) {
					err = errNoEvents
				}
				errs <- err
				return
			}
		}
	}()
	return out, errs
}

// Sizes returns the writable layers. A runtime that cannot measure them has none.
func (k *kubernetes) Sizes(ctx context.Context) (map[string]int64, error) {
	sizes, err := k.api.Sizes(ctx)
	if criclient.IsNotImplemented(err) {
		return nil, nil
	}
	return sizes, err
}
