package why

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/policy"
)

// State is what became of a life.
type State string

// The states.
const (
	Running State = "running"
	Paused  State = "paused"  // or restarting, or being removed
	Exited  State = "exited"  // on its own, or it is unknown why
	Killed  State = "killed"  // by the manager
	Unknown State = "unknown" // the Engine did not answer
)

// Life is one run of a container, as the audit log and the Engine have it.
type Life struct {
	ID        string    `json:"container"` // 64 hex digits
	Name      string    `json:"name"`
	Image     string    `json:"image"`
	Kind      string    `json:"kind"`       // cpu, ram, io, disk or ""
	StartedAt time.Time `json:"started_at"` // zero: it never started
	State     State     `json:"state"`
	EndedAt   time.Time `json:"ended_at,omitzero"` // zero: it runs, or unknown
	// Kills are the kills and vetoes of this life, oldest first.
	Kills []Kill `json:"kills"`

	listed *dockerclient.Container // in this life; nil: the Engine has it no longer, or not known
}

// Kill is a kill of a life, or a veto of one, by its last record.
type Kill struct {
	audit.Record
	Begun time.Time `json:"begun"` // time of the intent
	// Relief is what the audit log has of the effect.
	Relief Relief `json:"relief,omitempty"`
	// ReliefAt is the time of that record.
	ReliefAt time.Time `json:"relief_at,omitzero"`
}

// Relief is what is recorded of the effect of a kill, with those of its tick.
type Relief string

// What can be recorded; "" is nothing.
const (
	Relieved   Relief = "relieved"
	Unrelieved Relief = "unrelieved" // not known to have helped when the rule killed again
	Stopped    Relief = "stopped"    // the rule stopped, since its kills did not help
)

// ended reports whether the life was over after the kill.
func (k Kill) ended() bool {
	switch k.Outcome {
	case audit.OutcomeDone:
		return k.Action != "pause"
	case audit.OutcomeAlreadyGone:
		return true
	case audit.OutcomeUnknown:
		return k.Found == audit.FoundGone || k.Found == audit.FoundRestarted
	}
	return false
}

// Match is the containers that a name or an id stands for.
type Match struct {
	name string
	ids  map[string]bool
}

// has reports whether a container is among them.
func (m Match) has(id, name string) bool { return m.ids[id] || m.name != "" && m.name == name }

// Errors of Find.
var (
	ErrUnknown   = errors.New("no such container")
	ErrAmbiguous = errors.New("ambiguous container")
)

// Find finds what a name, an id or the beginning of an id stands for, in this order, as
// Docker does. Of a name it is each container that has had it.
func Find(text string, records []audit.Record, listed []dockerclient.Container) (Match, error) {
	names := map[string]string{} // by id, the newest
	named := false
	add := func(id, name string) {
		if id != "" {
			names[id] = name
			named = named || name == text
		}
	}
	for _, r := range records {
		add(r.Container, r.Name)
	}
	for _, c := range listed {
		add(c.ID, c.Name)
	}
	if _, known := names[text]; known {
		return Match{ids: map[string]bool{text: true}}, nil
	}
	if named && text != "" {
		return Match{name: text}, nil
	}
	var found []string
	for id := range names {
		if text != "" && strings.HasPrefix(id, text) {
			found = append(found, id)
		}
	}
	slices.Sort(found)
	switch len(found) {
	case 0:
		return Match{}, fmt.Errorf("%w: %s", ErrUnknown, text)
	case 1:
		return Match{ids: map[string]bool{found[0]: true}}, nil
	}
	list := make([]string, len(found))
	for i, id := range found {
		list[i] = id[:min(len(id), max(container.ShortIDLength, len(text)+4))] + " " + names[id]
	}
	return Match{}, fmt.Errorf("%w: %s can be %s", ErrAmbiguous, text, strings.Join(list, ", "))
}

// Listed returns those of a list that match.
func (m Match) Listed(list []dockerclient.Container) []dockerclient.Container {
	return slices.DeleteFunc(slices.Clone(list), func(c dockerclient.Container) bool { return !m.has(c.ID, c.Name) })
}

type lifeKey struct {
	id    string
	start int64
}

// Lives are the lives of the containers that match, oldest first. listed are inspected.
// answered: the Engine answered, so what is not listed does not exist.
func (m Match) Lives(records []audit.Record, listed []dockerclient.Container, answered bool) []Life {
	lives := map[lifeKey]*Life{}
	of := func(id string, start time.Time) *Life {
		key := lifeKey{id, start.UnixNano()}
		if lives[key] == nil {
			lives[key] = &Life{ID: id, StartedAt: start, Kills: []Kill{}}
		}
		return lives[key]
	}
	for i, r := range records {
		if r.Container == "" || !m.has(r.Container, r.Name) {
			continue
		}
		l := of(r.Container, r.StartedAt)
		l.Name, l.Image, l.Kind = r.Name, r.Image, r.Kind
		l.record(r, records[i+1:])
	}
	for _, c := range listed {
		l := of(c.ID, c.StartedAt)
		l.Name, l.Image, l.Kind, l.listed = c.Name, c.Image, string(container.ParseLabels(c.Labels).Kind), &c
	}
	list := make([]Life, 0, len(lives))
	for _, l := range lives {
		l.settle(answered || l.listed != nil)
		list = append(list, *l)
	}
	slices.SortFunc(list, func(a, b Life) int { return cmp.Or(a.StartedAt.Compare(b.StartedAt), strings.Compare(a.ID, b.ID)) })
	return list
}

// record adds a record; later are the records after it.
func (l *Life) record(r audit.Record, later []audit.Record) {
	at := slices.IndexFunc(l.Kills, func(k Kill) bool { return k.KillID == r.KillID })
	if at < 0 {
		l.Kills = append(l.Kills, Kill{Begun: r.Time})
		at = len(l.Kills) - 1
	}
	k := &l.Kills[at]
	k.Record = r
	if r.Phase == audit.Done && r.Outcome == audit.OutcomeDone && r.Mode == policy.Live {
		k.Relief, k.ReliefAt = reliefAfter(r, later)
	}
}

// reliefAfter looks for the effect of a kill. A rule's count of kills without relief
// includes those that are not measured yet, so only 0 means that all are measured and the
// last one helped.
func reliefAfter(kill audit.Record, later []audit.Record) (Relief, time.Time) {
	for _, r := range later {
		switch {
		case r.Rule != kill.Rule:
		case r.Phase == audit.Relief && r.Unrelieved == 0:
			return Relieved, r.Time
		case r.Phase == audit.Relief && r.StoppedAt != nil && !r.StoppedAt.Before(kill.Time):
			return Stopped, *r.StoppedAt
		case r.Phase == audit.Intent && r.Mode == policy.Live && r.Unrelieved > kill.Unrelieved:
			return Unrelieved, r.Time
		}
	}
	return "", time.Time{}
}

// settle finds out what became of the life.
func (l *Life) settle(known bool) {
	for _, k := range l.Kills {
		if k.ended() {
			l.State, l.EndedAt = Exited, k.Time
			if k.Outcome == audit.OutcomeDone {
				l.State = Killed
			}
		}
	}
	switch {
	case l.listed != nil && l.listed.State == dockerclient.StateRunning:
		l.State, l.EndedAt = Running, time.Time{}
	case l.listed != nil && (l.listed.State == dockerclient.StatePaused || l.listed.State == dockerclient.StateRestarting):
		l.State, l.EndedAt = Paused, time.Time{}
	case l.State != "":
	case !known:
		l.State = Unknown
	default:
		l.State = Exited
		if l.listed != nil {
			l.EndedAt = l.listed.EndedAt
		}
	}
}

// At chooses the life of a time, zero the newest; false: none had begun.
func At(lives []Life, at time.Time) (Life, bool) {
	for _, l := range slices.Backward(lives) {
		if at.IsZero() || !l.StartedAt.After(at) {
			return l, true
		}
	}
	return Life{}, false
}

// RunsAt reports whether a decision about the life at a time can tell more than its
// records: it had not ended, as far as known. A zero time is now.
func (l Life) RunsAt(at time.Time) bool {
	switch {
	case at.IsZero():
		return l.State == Running || l.State == Paused
	case l.EndedAt.IsZero():
		return true
	}
	return at.Before(l.EndedAt)
}
