package runtimes

import (
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
)

// TestStates: a list has the status, an inspection the other values; each change has an
// event.
func TestStates(t *testing.T) {
	f := newFake()
	began := time.Now()
	f.put(Container{ID: "a", State: StateRunning, Health: "starting", Restarts: 3, Handler: "runc", Created: began}, "")
	f.put(Container{ID: "old", State: StateExited, ExitCode: 1, Created: began, EndedAt: began.Add(-2 * time.Hour)}, "")
	f.put(Container{ID: "new", State: StateExited, ExitCode: 137, Created: began, EndedAt: began.Add(-time.Hour)}, "")
	f.put(Container{ID: "never", State: StateCreated, Created: began.Add(-3 * time.Hour)}, "")
	c := start(t, f, Config{Resync: time.Hour, Linger: time.Hour})
	idle := func() (ids []string) {
		for _, i := range c.View().Idle {
			ids = append(ids, i.ID)
		}
		return ids
	}
	state := func(id string) State {
		if i := c.get(id); i != nil {
			return i.State
		}
		return State{}
	}
	testutil.Eventually(t, 30*time.Second, "all are inspected, those that ended last first", func() bool {
		return slices.Equal(idle(), []string{"new", "old", "never"}) && state("new").Ended() && state("old").ExitCode == 1 && state("never").Inspected
	})
	want := State{Status: StateRunning, Inspected: true, Restarts: 3, Health: "starting", Runtime: "runc", Changed: began}
	testutil.Eventually(t, 30*time.Second, "what runs", func() bool {
		v := c.View()
		return len(v.Running) == 1 && v.Running[0].ID == "a" && v.Running[0].State == want
	})
	if v := c.View(); v != c.View() {
		t.Error("nothing changed, and a view is made anew")
	}
	for event, change := range map[string]func(*Container){
		"pause":                   func(d *Container) { d.State = StatePaused },
		"unpause":                 func(d *Container) { d.State = StateRunning },
		"health_status: healthy":  func(d *Container) { d.Health = "healthy" },
		"health_status:unhealthy": func(d *Container) { d.Health = "unhealthy" },
		"start":                   func(d *Container) { d.Restarts++ },
		"die":                     func(d *Container) { d.State, d.ExitCode = StateRestarting, 139 },
	} {
		d := f.containers["a"]
		d.Restarts, d.Health = 7, "none yet"
		change(&d)
		f.put(d, event)
		testutil.Eventually(t, 30*time.Second, event, func() bool {
			s := state("a")
			return s.Status == d.State && s.Health == d.Health && s.Restarts == uint64(d.Restarts) && s.ExitCode == d.ExitCode
		})
	}
	before := 0
	f.change(func() { before = f.inspected["a"] })
	f.put(f.containers["a"], "exec_start: /bin/true")
	f.put(Container{ID: "mark", State: StateRunning}, "create")
	testutil.Eventually(t, 30*time.Second, "the next event", func() bool { return c.get("mark") != nil })
	f.change(func() {
		if n := f.inspected["a"]; n != before {
			t.Errorf("a health check's process made the engine be asked %d times", n-before)
		}
	})

	// Removed from the view, although its name is kept for a while.
	f.change(func() {
		delete(f.containers, "new")
		f.events <- Event{Action: "destroy", ID: "new"}
	})
	testutil.Eventually(t, 30*time.Second, "a removed one is missing", func() bool { return !slices.Contains(idle(), "new") })
	if c.get("new") == nil {
		t.Error("and its name is lost")
	}
}

// TestStatesAfterLostEvents: after a broken event stream all containers are inspected
// again, and after later lists only changed ones.
func TestStatesAfterLostEvents(t *testing.T) {
	f := newFake()
	for i := range 5 {
		f.put(Container{ID: fmt.Sprint(i), Image: "i", State: StateRunning}, "")
	}
	c := start(t, f, Config{Resync: 20 * time.Millisecond})
	all := func(n int) func() bool {
		return func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			for i := range 5 {
				if f.inspected[fmt.Sprint(i)] != n {
					return false
				}
			}
			return true
		}
	}
	testutil.Eventually(t, 30*time.Second, "each is inspected", all(1))
	lists := func() (n int) {
		f.change(func() { n = f.lists })
		return n
	}
	before := lists()
	testutil.Eventually(t, 30*time.Second, "more lists", func() bool { return lists() > before+3 })
	if !all(1)() {
		t.Errorf("inspected at a list where nothing has changed: %v", f.inspected)
	}
	f.put(Container{ID: "2", Image: "i", State: StateExited, ExitCode: 3}, "") // an event that never came
	testutil.Eventually(t, 30*time.Second, "a change in the list only", func() bool {
		i := c.get("2")
		return i.State.Ended() && i.State.ExitCode == 3
	})
	f.put(Container{ID: "2", Image: "i", State: StateExited, ExitCode: 4}, "")
	f.change(func() { f.failed <- io.EOF })
	testutil.Eventually(t, 30*time.Second, "a change that the list lacks", func() bool {
		i := c.get("2")
		return i.State.Ended() && i.State.ExitCode == 4
	})
}
