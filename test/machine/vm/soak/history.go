// Package soak checks a long run of the whole system under faults from outside: by the
// events of the Docker Engine, the manager's audit log, and the notes of the fault
// injector. It does not know how the manager decides. Package guest makes the run.
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
	Wall       time.Time         // according to the Engine
}

// ParseEvent parses a message of the Engine's event stream.
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

// Line is the part of an audit record that is checked.
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

// ParseLine parses an audit record; false if it is not one. Records of state that the
// manager keeps across restarts have no kill id.
func ParseLine(text []byte) (Line, bool) {
	var l Line
	return l, json.Unmarshal(text, &l) == nil && (l.KillID != "" || l.Carried())
}

// Carried reports whether the record is not about a kill.
func (l Line) Carried() bool { return l.Phase == "state" || l.Phase == "relief" }

// gaveUp matches the generator's log messages about a container that it removed because
// starting it failed, or because the Engine lists it as never started (it could not save
// the state on a full disk). The message comes after the removal.
var gaveUp = regexp.MustCompile(`msg="(?:creating container failed|removed leftover container)" name=(\S+) `)

// ParseGaveUp parses a line of the generator's log; "" for any other message.
func ParseGaveUp(text []byte) (name string) {
	if m := gaveUp.FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return ""
}

// Running is a container that the Engine lists as running.
type Running struct {
	ID, Name string
	Labels   map[string]string
	Paused   bool
}

// Note is a note of the fault injector.
type Note string

// The notes. Each is written before the event, except those that end something.
const (
	DockerStops   Note = "docker stops" // from now on it may end containers
	DockerIsUp    Note = "docker is up" // and has restarted its containers
	ClockStep     Note = "clock step"   // one before and one after the step
	CleanStarts   Note = "clean starts" // generator clean removes the generator's containers
	CleanEnds     Note = "clean ends"
	TamperStarts  Note = "tampering starts" // the injector is about to act on the container ID
	TamperEnds    Note = "tampering ends"
	GaveUp        Note = "gave up"        // the generator logged that it removed the container named ID, which did not start
	StreamDropped Note = "stream dropped" // the event stream ended
)

// Entry is one observation. One of Event, Line, List and Note is set.
//
// Entries are in order of observation, and the audit log is read to its end before an
// event is added: so an intent that was on disk before the kill comes before the event.
type Entry struct {
	At   time.Duration `json:"at"`            // since the start of the run, on a monotonic clock
	Dry  bool          `json:"dry,omitempty"` // Line is of the dry-run manager
	Note Note          `json:"note,omitempty"`
	ID   string        `json:"id,omitempty"` // with TamperStarts, TamperEnds and GaveUp

	Event *Event    `json:"event,omitempty"`
	Line  *Line     `json:"line,omitempty"`
	List  []Running `json:"list"` // not null: all running containers
}
