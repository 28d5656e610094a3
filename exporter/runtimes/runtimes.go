// Package runtimes caches name, image, labels and state of each container from the
// runtimes of a host: Docker, Podman, and those of Kubernetes by the CRI. It follows them
// in the background; lookups never wait.
package runtimes

import (
	"context"
	"errors"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
)

// The kinds of endpoints, as in the label runtime of estiba_runtime_up.
const (
	Docker = "docker"
	Podman = "podman"
	CRI    = "cri"
)

// Engine is the API of one runtime.
type Engine interface {
	// Connect checks that the runtime answers, and describes it. The error is
	// IsNotImplemented if another program answers.
	Connect(ctx context.Context) (About, error)
	Ping(ctx context.Context) error
	List(ctx context.Context) ([]Container, error)
	// Inspect returns one container with all values. The error is IsNotFound if it does
	// not exist.
	Inspect(ctx context.Context, id string) (Container, error)
	// Events streams events until ctx ends or the connection breaks; then the error
	// channel receives one error: errNoEvents if the runtime has none.
	Events(ctx context.Context) (<-chan Event, <-chan error)
	// Sizes returns the sizes of writable layers in bytes, by id.
	Sizes(ctx context.Context) (map[string]int64, error)
	Close() error
}

// About describes a runtime.
type About struct {
	Runtime string // one of package container's: "docker"
	// OOMByExit: it has no event for an OOM kill, only the reason of an exit.
	OOMByExit bool
	// LateEvents: the event stream may open after Events has returned.
	LateEvents bool
}

// errNoEvents: the runtime has no events, so it is listed every few seconds.
var errNoEvents = errors.New("no events")

// Container is a container as its runtime reports it.
type Container struct {
	ID     string
	Name   string
	Image  string // as given at creation; "": unknown
	Labels map[string]string

	Pod          string // name of its pod; "": none
	PodNamespace string
	PodContainer string // its name in the pod
	// Sandbox: it is no container of the pod, but the environment of all. Its processes,
	// if any, have its name; it has no state of its own.
	Sandbox   bool
	SandboxID string // id of its pod's sandbox; "": none, or unknown

	State   string // one of the State constants; "": the runtime does not know
	Created time.Time

	// From Inspect only.
	EndedAt   time.Time // last exit; zero if it never exited
	ExitCode  int
	OOMKilled bool // its last exit
	Restarts  int
	Health    string // "starting", "healthy", "unhealthy"; "" without a check
	NoHealth  bool   // the runtime has no health checks
	Handler   string // "runc", "kata", …
}

// Event is a change of a container. Its action is one of Docker's: "create", "start",
// "die", "destroy", "oom", …
type Event = dockerclient.Event

// PodPause is the label pod_container of a container that only holds its pod's
// namespaces, as Kubernetes has it.
const PodPause = "POD"
