package criclient

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Actions of events.
const (
	ActionCreated = "created"
	ActionStarted = "started"
	ActionStopped = "stopped"
	ActionDeleted = "deleted"
)

// Event is a change of a container, or of a pod's sandbox.
type Event struct {
	Action string // "" for one that is not known
	ID     string
}

// Errors of Events.
var (
	// ErrNoEvents: the runtime has no events, or they are turned off.
	ErrNoEvents = errors.New("the runtime sends no events")
	errTooSlow  = errors.New("events come faster than they are processed")
)

// queued is the number of events that wait. CRI-O sends to its clients one after the
// other, so a client that stops reading would stop the kubelet's events: a full queue ends
// the stream instead.
const queued = 1024

// SharesEvents reports whether a runtime sends each event to all clients. containerd
// before 2.0 and older CRI-O send it to one of them: this client would take events from
// the kubelet.
func (r Runtime) SharesEvents() bool {
	major, minor := version(r.Version)
	switch r.Name {
	case "containerd":
		return major >= 2
	case "cri-o":
		return major > 1 || major == 1 && minor >= 30
	}
	return false
}

// version returns the first two numbers of a version, 0 if there are none.
func version(text string) (major, minor int) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(text, "v"), ".")
	second, _, _ := strings.Cut(rest, ".")
	// An error leaves 0: an old version.
	major, _ = strconv.Atoi(first)
	minor, _ = strconv.Atoi(second)
	return major, minor
}

// Events streams events from now until ctx ends or the connection breaks; then the error
// channel receives one error. It does not wait until the stream is open.
func (c *Client) Events(ctx context.Context) (<-chan Event, <-chan error) {
	out, errs := make(chan Event, queued), make(chan error, 1)
	go func() { errs <- c.stream(ctx, out) }()
	return out, errs
}

func (c *Client) stream(ctx context.Context, out chan<- Event) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.api.GetContainerEvents(ctx, &cri.GetEventsRequest{})
	for received := 0; err == nil; received++ {
		var r *cri.ContainerEventResponse
		r, err = s.Recv()
		if errors.Is(err, io.EOF) && received == 0 {
			return ErrNoEvents
		}
		if err != nil {
			break
		}
		select {
		case out <- Event{Action: action(r.GetContainerEventType()), ID: r.GetContainerId()}:
		default:
			return errTooSlow
		}
	}
	err = failure("receiving events", err)
	if IsNotImplemented(err) {
		return ErrNoEvents
	}
	return err
}

func action(t cri.ContainerEventType) string {
	switch t {
	case cri.ContainerEventType_CONTAINER_CREATED_EVENT:
		return ActionCreated
	case cri.ContainerEventType_CONTAINER_STARTED_EVENT:
		return ActionStarted
	case cri.ContainerEventType_CONTAINER_STOPPED_EVENT:
		return ActionStopped
	case cri.ContainerEventType_CONTAINER_DELETED_EVENT:
		return ActionDeleted
	}
	return ""
}
