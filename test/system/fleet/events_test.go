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

// boots notes that whatever ran has ended, without an event.
func (e *events) boots() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, dockerclient.Event{Action: "boot"})
}

// lasts are the containers whose death left none of their kind. Names are as populate
// makes them; others do not count.
func (e *events) lasts() (names []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	running := map[string]int{}
	for _, one := range e.list {
		parts := strings.Split(one.Name, "-")
		switch {
		case one.Action == "boot":
			clear(running)
		case len(parts) != 3:
		case one.Action == "start":
			running[parts[1]]++
		case one.Action == "die":
			if running[parts[1]]--; running[parts[1]] < 1 {
				names = append(names, one.Name)
			}
		}
	}
	return names
}

func TestLasts(t *testing.T) {
	e := &events{}
	for _, text := range []string{
		"start b-cpu-1", "start b-cpu-2", "start b-protected", "start b-io-3", "die b-cpu-1", "die b-protected",
		"die b-io-3", // the last one
		"boot ", "start b-cpu-4", "start b-cpu-5", "die b-cpu-4",
		"die b-cpu-5", // the last one, whatever ran before the boot
	} {
		action, name, _ := strings.Cut(text, " ")
		e.list = append(e.list, dockerclient.Event{Action: action, Name: name})
	}
	if got := strings.Join(e.lasts(), " "); got != "b-io-3 b-cpu-5" {
		t.Errorf("the last of their kinds were %s", got)
	}
}

// matchTheRecord compares the deaths that the Engine saw with the manager's record:
// none that it does not own up to, none of another host's, none that did not happen,
// and none that was the last of its kind.
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
	if lasts := h.events.lasts(); len(lasts) > 0 {
		t.Errorf("%s: no other of their kind was left when these died: %v", h.name, lasts)
	}
	t.Logf("%s: %d deaths by the engine's events, each with its intent and outcome in the record", h.name, len(died))
}
