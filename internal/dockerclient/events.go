package dockerclient

import (
	"context"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// Event is a change of a container's state.
type Event struct {
	Action string // "start", "die", "destroy", "rename", "pause", "unpause", "oom", …
	ID     string // 64 hex digits
	Name   string // the new name after a rename
	Time   time.Time
}

// Events streams container events from now until ctx ends or the connection breaks; then
// the error channel receives one error. Events without an open stream are lost, so
// callers list all containers after opening one.
func (c *Client) Events(ctx context.Context) (<-chan Event, <-chan error) {
	messages, failed := c.api.Events(ctx, events.ListOptions{Filters: containerEvents()})
	out := make(chan Event)
	errs := make(chan error, 1)
	go forward(ctx, messages, failed, out, errs)
	return out, errs
}

func containerEvents() filters.Args {
	return filters.NewArgs(filters.Arg("type", string(events.ContainerEventType)))
}

// forward converts messages until the stream ends.
func forward(ctx context.Context, messages <-chan events.Message, failed <-chan error, out chan<- Event, errs chan<- error) {
	for {
		select {
		case m := <-messages:
			e := Event{Action: string(m.Action), ID: m.Actor.ID, Name: m.Actor.Attributes["name"], Time: time.Unix(0, m.TimeNano)}
			select {
			case out <- e:
			case <-ctx.Done():
				errs <- ctx.Err()
				return
			}
		case err := <-failed:
			errs <- err
			return
		}
	}
}
