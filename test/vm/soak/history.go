// Package soak judges a long run of the whole system under faults from
// outside: by the Docker Engine's own events, the manager's record, and the
// notes of whoever made the faults. It knows nothing of how the manager
// decides; package guest, beside this one, makes the run.
package soak

import (
	"encoding/json"
	"regexp"
	"time"
)

// Event is one line of the Engine's event log.
type Event struct {
	Action     string // "start", "kill", "die", …
	ID         string
	Attributes map[string]string // the container's labels, and name, signal, exitCode
	Wall       time.Time         // when the Engine says that it was
}

// ParseEvent reads a message of the Engine's event stream.
func ParseEvent(text []byte) (Event, error) {
	var m struct {
		Action string
		Actor  struct {
			ID         string
			Attributes map[string]string
		}
		TimeNano int64 `json:"timeNano"`
	}
	err := json.Unmarshal(text, &m)
	return Event{Action: m.Action, ID: m.Actor.ID, Attributes: m.Actor.Attributes, Wall: time.Unix(0, m.TimeNano)}, err
}

// Line is what is looked at of a line of a manager's record.
type Line struct {
	Time      time.Time `json:"ts"`
	KillID    string    `json:"kill_id"`
	Phase     string    `json:"phase"`
	Rule      string    `json:"rule"`
	Container string    `json:"container"`
	Name      string    `json:"name"`
	Mode      string    `json:"mode"`
	Outcome   string    `json:"outcome"`
	Found     string    `json:"found"`
}

// ParseLine reads a line of a record; false if it is none.
func ParseLine(text []byte) (Line, bool) {
	var l Line
	return l, json.Unmarshal(text, &l) == nil && l.KillID != ""
}

// gaveUp is what the generator's log says of a container that it removed
// because it could not start it, or because the Engine, which could not write down
// on a full disk that it runs, lists it as never started. It removes it before
// it says so.
var gaveUp = regexp.MustCompile(`msg="(?:cannot create a|removed a leftover) container" name=(\S+) `)

// ParseGaveUp reads a line of the generator's log; "" if it tells of
// something else.
func ParseGaveUp(text []byte) (name string) {
	if m := gaveUp.FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return ""
}

// Running is what the Engine lists as running.
type Running struct {
	ID, Name string
	Labels   map[string]string
	Paused   bool
}

// Note is what the maker of the faults says.
type Note string

// The notes. Each is made before what it tells of, but for those that end
// something.
const (
	DockerGoes  Note = "docker goes"  // from here on containers may end by its doing
	DockerIsUp  Note = "docker is up" // and all that it starts by itself runs again
	ClockStep   Note = "clock step"   // one before and one after the step
	CleanBegins Note = "clean begins" // generator clean removes the generator's containers
	CleanEnds   Note = "clean ends"
	HandsOn     Note = "hands on"  // somebody is about to act on the container ID
	HandsOff    Note = "hands off" // and will not any more
	GaveUp      Note = "gave up"   // the generator says that it removed the container named ID, which did not start
	Broken      Note = "broken"    // the event stream ended
)

// Entry is one thing seen. Of Event, Line, List and Note one is set.
//
// The order of entries is that in which they were seen, and before an event is
// written down the record is read to its end: so an intent that was on the disk
// before the act stands before the act's event.
type Entry struct {
	At   time.Duration `json:"at"`            // since the run began; not moved by steps of the clock
	Dry  bool          `json:"dry,omitempty"` // Line is of the manager that only makes a dry run
	Note Note          `json:"note,omitempty"`
	ID   string        `json:"id,omitempty"` // with HandsOn, HandsOff and GaveUp

	Event *Event    `json:"event,omitempty"`
	Line  *Line     `json:"line,omitempty"`
	List  []Running `json:"list"` // not null: all that runs at this moment
}
