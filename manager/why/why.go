// Package why explains in words why a container lives, was killed or would be killed
// next. It decides nothing: the records and the decision are made elsewhere.
package why

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/units"
)

// Question is what is known of a life that is asked about.
type Question struct {
	Life  Life
	At    time.Time // that was asked for; zero is now
	Lives []Life    // all that match, oldest first
	Tick  *Tick     // nil: no decision was needed, or none was possible
	// Unknown are errors: what could not be read.
	Unknown []string
}

// Tick is a decision: the live one, or one over the past.
type Tick struct {
	Time time.Time
	// Past: over the history in Prometheus, with the time of its first tick.
	Past bool
	From time.Time
	// Error is why the tick is skipped; "" if it is not.
	Error  string
	Name   string // of the policy
	Policy *gather.Policy
	Plan   policy.Plan
	// Errors are why the result of a rule's query is unusable, by rule.
	Errors map[string]string
	// Resumes are when stopped rules try again, by rule; a rule that is not in it is not
	// stopped, or tries again only after a reload.
	Resumes map[string]time.Time
}

// Answer is the output of `manager why --output=json`.
type Answer struct {
	Life
	At        time.Time  `json:"at,omitzero"`         // that was asked for
	DecidedAt time.Time  `json:"decided_at,omitzero"` // zero: no decision
	Decisions []Decision `json:"decisions"`           // of the rules that select the container
	Others    []Other    `json:"other_lives"`
	Unknown   []string   `json:"unknown"` // what could not be read
	Text      string     `json:"text"`    // not only printable characters
}

// Decision is the decision of one rule.
type Decision struct {
	Rule     string        `json:"rule"`
	Decision policy.Choice `json:"decision"`
	Reason   policy.Reason `json:"reason"`
	Value    float64       `json:"value"`
	Rank     int           `json:"rank"`
	Wait     float64       `json:"wait_seconds,omitempty"`
	Detail   string        `json:"detail,omitempty"`
}

// Other is another life of the same name or id.
type Other struct {
	ID        string    `json:"container"`
	StartedAt time.Time `json:"started_at"`
	State     State     `json:"state"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

// Explain answers a question.
func Explain(q Question) Answer {
	a := Answer{Life: q.Life, At: q.At, Decisions: []Decision{}, Others: []Other{}, Unknown: append([]string{}, q.Unknown...)}
	for _, l := range q.Lives {
		if l.ID != q.Life.ID || !l.StartedAt.Equal(q.Life.StartedAt) {
			a.Others = append(a.Others, Other{l.ID, l.StartedAt, l.State, l.EndedAt})
		}
	}
	if q.Tick != nil {
		a.DecidedAt = q.Tick.Time
		for _, d := range q.Tick.of(q.Life.ID) {
			if d.Rule != "" {
				a.Decisions = append(a.Decisions, Decision{d.Rule, d.Choice, d.Reason, finite(d.Value), d.Rank, d.Wait.Seconds(), d.Detail})
			}
		}
		a.Unknown = append(a.Unknown, q.Tick.unknowns(q.Life.ID)...)
	}
	a.Text = strings.Join(slices.DeleteFunc(q.sentences(a.Others), func(s string) bool { return s == "" }), " ")
	return a
}

// unknowns are what the decision about a container lacks.
func (t *Tick) unknowns(id string) []string {
	var list []string
	switch {
	case t.Error != "":
		list = append(list, t.Error)
	case len(t.of(id)) == 0:
		list = append(list, t.missing())
	}
	for _, r := range t.Policy.Rules {
		if t.unusable(r.Config.Name) {
			list = append(list, t.unknown(r.Config.Name))
		}
	}
	return list
}

// finite replaces values that JSON cannot represent by 0; their reason is no_data.
func finite(v float64) float64 {
	if v-v != 0 {
		return 0
	}
	return v
}

func (q Question) sentences(others []Other) []string {
	list := []string{q.Life.fate(q.At)}
	if last, ok := q.Life.lastKill(q.At); ok {
		list = append(list, last.sentences(q.Life.State == Killed || q.Life.State == Exited)...)
	} else if len(q.Unknown) == 0 && q.Tick == nil {
		list = append(list, "The audit log has no kill of it.")
	}
	if q.Tick != nil {
		list = append(list, q.Tick.sentences(q.Life)...)
	}
	list = append(list, otherLives(q.Life, others))
	for _, u := range q.Unknown {
		list = append(list, "Unknown: "+u+".")
	}
	return list
}

// fate is the first sentence.
func (l Life) fate(at time.Time) string {
	head := l.Name + " (" + container.ShortID(l.ID) + kindText(l.Kind) + ")"
	if !at.IsZero() && l.RunsAt(at) {
		head += " ran at " + clock(at) + ", as far as known" + since("; it had started at ", l.StartedAt) + "."
		if !l.EndedAt.IsZero() {
			head += " It ended at " + clock(l.EndedAt) + "."
		}
		return head
	}
	switch l.State {
	case Running:
		return head + " is running" + since(" since ", l.StartedAt) + "."
	case Paused:
		return head + " is " + l.listed.State + since(", started at ", l.StartedAt) + "."
	case Killed:
		return head + " was killed by the manager at " + clock(l.EndedAt) + since("; it had started at ", l.StartedAt) + "."
	case Exited:
		return head + " is not running" + l.exit() + since("; it had started at ", l.StartedAt) + "."
	}
	return head + since(" started at ", l.StartedAt) + "; whether it still runs is unknown."
}

// exit is how it ended on its own.
func (l Life) exit() string {
	switch {
	case l.EndedAt.IsZero():
		return ""
	case l.listed == nil:
		return ": it had exited by " + clock(l.EndedAt)
	}
	text := fmt.Sprintf(": it exited at %s with exit code %d", clock(l.EndedAt), l.listed.ExitCode)
	if l.listed.OOMKilled {
		text += ", after an OOM kill by the kernel"
	}
	return text
}

func kindText(kind string) string {
	if kind == "" {
		return ""
	}
	return ", kind " + kind
}

// otherLives says which other lives there are.
func otherLives(l Life, others []Other) string {
	const most = 3
	if len(others) == 0 {
		return ""
	}
	var list []string
	for _, o := range slices.Backward(others) {
		if len(list) == most {
			list = append(list, fmt.Sprintf("and %d more", len(others)-most))
			break
		}
		text := container.ShortID(o.ID) + since(" started at ", o.StartedAt) + ", " + string(o.State)
		if o.State == Killed {
			text += since(" at ", o.EndedAt)
		}
		list = append(list, text)
	}
	noun := "another life"
	if len(others) > 1 {
		noun = fmt.Sprintf("%d other lives", len(others))
	}
	return fmt.Sprintf("%s had %s: %s; --at shows the life at a time.", l.Name, noun, strings.Join(list, "; "))
}

// clock is a time for people.
func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05") + " UTC" }

// since is a word and a time, "" without a time.
func since(word string, at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return word + clock(at)
}

// value formats the value of a query.
func value(v float64, query string) string { return units.Of(query).Format(v) }
