package dockerclient

import (
	"context"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// Event is one change in a container's life.
type Event struct {
	Action string // "start", "die", "destroy", "rename", "pause", "unpause", "oom", …
	ID     string // 64 hex digits
	Name   string // the new name after a rename
	Time   time.Time
}

// Events streams the container events that happen after the call until ctx
// ends or the stream breaks; then the error channel gets its one error. Events
// that happen while no stream is open are lost: list again after each new
// stream is open.
func (c *Client) Events(ctx context.Context) (<-chan Event, <-chan error) {
	f := filters.NewArgs(filters.Arg("type", string(events.ContainerEventType)))
	messages, failed := c.api.Events(ctx, events.ListOptions{Filters: f})
	out := make(chan Event)
	errs := make(chan error, 1)
	go func() {
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
	}()
	return out, errs
}
