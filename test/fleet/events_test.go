package fleet

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/estiba/estiba/internal/dockerclient"
)

// events is what an Engine itself says of its containers' lives: the outside witness
// of what the manager did.
type events struct {
	mu      sync.Mutex
	list    []dockerclient.Event
	cancel  context.CancelFunc
	stopped chan struct{}
}

// watch follows the Engine until stop, or its end.
func (e *events) watch(t *testing.T, c *dockerclient.Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel, e.stopped = cancel, make(chan struct{})
	came, broke := c.Events(ctx)
	go func() {
		defer close(e.stopped)
		for {
			select {
			case one := <-came:
				e.mu.Lock()
				e.list = append(e.list, one)
				e.mu.Unlock()
			case <-broke:
				return
			}
		}
	}()
	t.Cleanup(e.stop)
}

func (e *events) stop() {
	e.cancel()
	<-e.stopped
}

// ended are the names of the containers that died, in the order of it.
func (e *events) ended() (names []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, one := range e.list {
		if one.Action == "die" {
			names = append(names, one.Name)
		}
	}
	return names
}

// matchTheRecord compares the deaths that the Engine saw with the manager's record:
// none that it does not own up to, none of another host's, none that did not happen.
func (h *host) matchTheRecord(t *testing.T) {
	t.Helper()
	h.RecordIsWhole(t)
	killed := map[string]int{}
	for _, l := range h.RecordLines(t) {
		if !strings.HasPrefix(l.Name, h.name+"-") {
			t.Errorf("the record of %s has %s", h.name, l.Name)
		}
		if l.Phase == "outcome" {
			if l.Outcome != "done" {
				t.Errorf("%s: the kill of %s ended as %s", h.name, l.Name, l.Outcome)
			}
			killed[l.Name]++
		}
	}
	died := map[string]int{}
	for _, name := range h.events.ended() {
		died[name]++
		if killed[name] == 0 {
			t.Errorf("%s: %s died, and the manager's record does not know of it", h.name, name)
		}
	}
	for name, n := range killed {
		if n != 1 || died[name] != 1 {
			t.Errorf("%s: %s was killed %d times by the record, and died %d times by the engine", h.name, name, n, died[name])
		}
	}
	t.Logf("%s: %d deaths by the engine's events, each with its intent and outcome in the record", h.name, len(died))
}
