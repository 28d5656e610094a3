package audit

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/estiba/estiba/manager/policy"
)

// State is what later decisions need of the past. It is the sum of all records, and is
// written at the beginning of each new file, so that neither a restart nor a rotation
// loses it.
type State struct {
	Rules        map[string]RuleState
	LastLiveKill time.Time // begin or end of the last live kill of any rule
	// Signalled are the lives that the Engine was asked to end and that are not known
	// to have ended: container id to StartedAt.
	Signalled map[string]time.Time
	// DryRun are the lives that dry runs would have ended, with their StartedAt.
	DryRun map[policy.Candidate]time.Time
	// Kills are the kills, dry runs too, in the hour before the last record, in the order
	// of the records. Read-only.
	Kills []PastKill
	// Unread is the latest possible time of kills that are missing in Kills; zero: none
	// is.
	Unread time.Time
}

// PastKill is a kill that was carried out, or may have been.
type PastKill struct {
	Rule string      `json:"rule"`
	Mode policy.Mode `json:"mode"`
	At   time.Time   `json:"ts"` // of its outcome
}

// RuleState is the state of one rule.
type RuleState struct {
	LastKill   time.Time `json:"last_kill,omitzero"`            // end of its last kill, dry runs too
	Unrelieved int       `json:"kills_without_relief,omitzero"` // consecutive kills not known to have brought relief
	StoppedAt  time.Time `json:"stopped_at,omitzero"`           // when that stopped the rule; zero: it is not stopped
}

func emptyState() State {
	return State{Rules: map[string]RuleState{}, Signalled: map[string]time.Time{}, DryRun: map[policy.Candidate]time.Time{}}
}

func (s State) clone() State {
	s.Rules, s.Signalled, s.DryRun = maps.Clone(s.Rules), maps.Clone(s.Signalled), maps.Clone(s.DryRun)
	s.Kills = slices.Clip(s.Kills) // the copy appends to a list of its own
	return s
}

// apply adds one outcome or relief record. An intent counts when its outcome is known;
// see history.
func (s *State) apply(rec Record) {
	switch rec.Phase {
	case Relief:
		r := s.Rules[rec.Rule]
		r.Unrelieved, r.StoppedAt = rec.Unrelieved, time.Time{}
		if rec.StoppedAt != nil {
			r.StoppedAt = rec.StoppedAt.Round(0)
		}
		s.Rules[rec.Rule] = r
	case Done:
		if rec.Outcome == OutcomeDryRun {
			s.DryRun[policy.Candidate{Rule: rec.Rule, ID: rec.Container}] = rec.StartedAt
		}
		if acted(rec) {
			s.acts(rec)
		}
		if acted(rec) || rec.Acted {
			s.count(rec)
		}
		s.signal(rec)
	}
}

// acted reports whether an outcome starts the rule's cooldown: something was done, may
// have been, or would have been.
func acted(rec Record) bool {
	switch rec.Outcome {
	case OutcomeDone, OutcomeUnknown, OutcomeDryRun:
		return true
	case OutcomeFailed:
		return rec.Acted
	}
	return false
}

// acts notes the time of a kill.
func (s *State) acts(rec Record) {
	r := s.Rules[rec.Rule]
	r.LastKill = later(r.LastKill, rec.Time)
	s.Rules[rec.Rule] = r
	if rec.Mode == policy.Live && rec.Outcome != OutcomeDryRun {
		s.LastLiveKill = later(s.LastLiveKill, rec.Time)
	}
}

// count adds a kill to those of the hour. One of a dry run of the whole manager is none
// of a live rule's.
func (s *State) count(rec Record) {
	mode := rec.Mode
	if rec.Outcome == OutcomeDryRun {
		mode = policy.DryRun
	}
	s.Kills = append(s.Kills, PastKill{Rule: rec.Rule, Mode: mode, At: rec.Time.Round(0)})
	old := 0
	for old < len(s.Kills) && rec.Time.Sub(s.Kills[old].At) >= policy.HourLength {
		old++
	}
	s.Kills = s.Kills[old:]
}

// signal keeps the lives that may end at any time. A kill without effect says nothing
// of an earlier one of the same life: only a confirmed end clears it.
func (s *State) signal(rec Record) {
	ended := false
	switch rec.Outcome {
	case OutcomeAlreadyGone:
		ended = true
	case OutcomeDone:
		ended = rec.Action != "pause"
	case OutcomeUnknown:
		ended = rec.Found == FoundGone || rec.Found == FoundRestarted
	}
	switch {
	case ended:
		if s.Signalled[rec.Container].Equal(rec.StartedAt) {
			delete(s.Signalled, rec.Container)
		}
	case rec.Mode != policy.Live:
	case rec.Outcome == OutcomeUnknown, rec.Outcome == OutcomeFailed && rec.Acted:
		s.Signalled[rec.Container] = rec.StartedAt
	}
}

// later compares wall times: times read from a file have no other.
func later(a, b time.Time) time.Time {
	if b = b.Round(0); b.After(a) {
		return b
	}
	return a
}

// history is the sum of the records: the state after the kills that have ended, and the
// kills that have not.
type history struct {
	State
	open map[string]Record // intents without outcome, by kill id
	// before is Unrelieved by rule before the open intents raised it. If all of them
	// end without a kill, it is restored.
	before map[string]int
}

func emptyHistory() history {
	return history{State: emptyState(), open: map[string]Record{}, before: map[string]int{}}
}

func (h history) clone() history {
	return history{State: h.State.clone(), open: maps.Clone(h.open), before: maps.Clone(h.before)}
}

// apply adds one record.
func (h *history) apply(rec Record) {
	switch rec.Phase {
	case Checkpoint:
		*h = rec.State.history()
		if rec.State.Kills == nil {
			h.Unread = later(h.Unread, rec.Time)
		}
	case Intent:
		h.open[rec.KillID] = rec
		if r := h.Rules[rec.Rule]; rec.Mode == policy.Live && r.Unrelieved != rec.Unrelieved+1 {
			if _, raised := h.before[rec.Rule]; !raised {
				h.before[rec.Rule] = r.Unrelieved
			}
			r.Unrelieved = rec.Unrelieved + 1
			h.Rules[rec.Rule] = r
		}
	case Done:
		delete(h.open, rec.KillID)
		h.State.apply(rec)
		h.lower(rec)
	case Relief:
		delete(h.before, rec.Rule)
		h.State.apply(rec)
	}
}

// lower takes back what intents of a rule added to Unrelieved, if none of them led to a
// kill.
func (h *history) lower(rec Record) {
	before, raised := h.before[rec.Rule]
	if !raised || rec.Mode != policy.Live {
		return
	}
	if acted(rec) {
		delete(h.before, rec.Rule)
		return
	}
	for _, other := range h.open {
		if other.Rule == rec.Rule && other.Mode == policy.Live {
			return
		}
	}
	delete(h.before, rec.Rule)
	r := h.Rules[rec.Rule]
	r.Unrelieved = before
	h.Rules[rec.Rule] = r
}

// now is the state if the manager exited at this moment: a kill in flight may have been
// carried out.
func (h history) now() State {
	s := h.State.clone()
	for _, rec := range h.open {
		if rec.Mode != policy.Live {
			continue
		}
		s.acts(rec)
		if at, there := s.Signalled[rec.Container]; !there || at.Before(rec.StartedAt) {
			s.Signalled[rec.Container] = rec.StartedAt
		}
	}
	return s
}

// unfinished returns the open intents, oldest first.
func (h history) unfinished() []Record {
	return slices.SortedFunc(maps.Values(h.open), func(a, b Record) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.KillID, b.KillID))
	})
}

// checkpoint is a history as a record of the file.
type checkpoint struct {
	Rules        map[string]RuleState `json:"rules,omitempty"`
	LastLiveKill time.Time            `json:"last_act,omitzero"`
	Signalled    map[string]time.Time `json:"signalled,omitempty"`
	DryRun       []dryRun             `json:"dry_run,omitempty"`
	Open         []Record             `json:"open,omitempty"`
	Before       map[string]int       `json:"kills_without_relief_before_open,omitempty"`
	// Kills are those of the last hour. nil: the record is of a version without them.
	Kills  []PastKill `json:"kills"`
	Unread time.Time  `json:"unread,omitzero"`
}

type dryRun struct {
	Rule      string    `json:"rule"`
	Container string    `json:"container"`
	StartedAt time.Time `json:"started_at"`
}

func (h history) checkpoint() *checkpoint {
	c := &checkpoint{Rules: h.Rules, LastLiveKill: h.LastLiveKill, Signalled: h.Signalled, Open: h.unfinished(), Before: h.before}
	c.Kills, c.Unread = append([]PastKill{}, h.Kills...), h.Unread
	for k, at := range h.DryRun {
		c.DryRun = append(c.DryRun, dryRun{Rule: k.Rule, Container: k.ID, StartedAt: at})
	}
	slices.SortFunc(c.DryRun, func(a, b dryRun) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Container, b.Container))
	})
	return c
}

func (c *checkpoint) history() history {
	h := emptyHistory()
	maps.Copy(h.Rules, c.Rules)
	maps.Copy(h.Signalled, c.Signalled)
	maps.Copy(h.before, c.Before)
	h.LastLiveKill = c.LastLiveKill
	h.Kills, h.Unread = c.Kills, c.Unread
	for _, d := range c.DryRun {
		h.DryRun[policy.Candidate{Rule: d.Rule, ID: d.Container}] = d.StartedAt
	}
	for _, rec := range c.Open {
		if rec.Phase == Intent && rec.KillID != "" {
			h.open[rec.KillID] = rec
		}
	}
	return h
}
