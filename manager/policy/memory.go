package policy

import (
	"maps"
	"time"
)

// Memory is what earlier ticks leave for later ones. Whoever acts on plans
// keeps one and tells it what happens; Decide only reads it.
type Memory struct {
	LastAct     time.Time            // last begin or end of a live act, of any rule
	ActSequence string               // the snapshot that the last live act was decided on
	LastKill    map[string]time.Time // by rule, dry runs too
	Held        map[Candidate]Hold
	Announced   map[Candidate]Announcement
	// DryKilled are the lives that dry runs have ended on paper.
	DryKilled map[Candidate]time.Time // value: the StartedAt of that life
	Relieving map[string]Relieving    // by rule

	rounds uint64 // opened so far
}

// NewMemory remembers nothing.
func NewMemory() Memory {
	return Memory{LastKill: map[string]time.Time{}, DryKilled: map[Candidate]time.Time{}, Relieving: map[string]Relieving{}}
}

// Acted notes that a rule began or ended an act at a time. sequence is the
// snapshot that it was decided on, "" when that is not known.
func (m *Memory) Acted(rule string, mode Mode, at time.Time, sequence string) {
	if at.After(m.LastKill[rule]) {
		m.LastKill[rule] = at
	}
	if mode != Live {
		return
	}
	if at.After(m.LastAct) {
		m.LastAct = at
	}
	if sequence != "" {
		m.ActSequence = sequence
	}
}

// Open notes a round of a rule with so many acts, and returns its number.
func (m *Memory) Open(rule string, r Round, acts int) uint64 {
	m.rounds++
	r.ID, r.Open = m.rounds, acts
	s := m.Relieving[rule]
	s.Rounds = append(s.Rounds[:len(s.Rounds):len(s.Rounds)], r)
	m.Relieving[rule] = s
	return r.ID
}

// Ended notes the end of one act of a round. A round that killed nobody is
// forgotten: there is nothing to measure.
func (m *Memory) Ended(rule string, round uint64, id string, killed bool, at time.Time) {
	s := m.Relieving[rule]
	rest := make([]Round, 0, len(s.Rounds))
	for _, r := range s.Rounds {
		if r.ID == round {
			r.Open--
			if at.After(r.Ended) {
				r.Ended = at
			}
			any := false
			r.Wanted = append([]Wanted(nil), r.Wanted...)
			for i := range r.Wanted {
				r.Wanted[i].Killed = r.Wanted[i].Killed || (killed && r.Wanted[i].ID == id)
				any = any || r.Wanted[i].Killed
			}
			if r.Open == 0 && !any {
				continue
			}
		}
		rest = append(rest, r)
	}
	s.Rounds = rest
	m.Relieving[rule] = s
}

// Measured takes over what a plan measured.
func (m *Memory) Measured(list []Measurement, rules []Rule, now time.Time) {
	for _, one := range list {
		for _, r := range rules {
			if r.Name == one.Rule {
				m.Relieving[r.Name] = m.Relieving[r.Name].after(one, r.Relief, now)
			}
		}
	}
}

// Resume forgets that kills brought no relief: somebody has looked.
func (m *Memory) Resume() { m.Relieving = map[string]Relieving{} }

// Forget drops paper kills of containers that are really gone.
func (m *Memory) Forget(listed []Container) {
	there := make(map[string]bool, len(listed))
	for _, c := range listed {
		there[c.ID] = true
	}
	maps.DeleteFunc(m.DryKilled, func(k Candidate, _ time.Time) bool { return !there[k.ID] })
}

// At copies the memory for one decision. After a step of the clock into the
// past, times that lie ahead count as now: waiting for the clock to come back
// to them could take for ever.
func (m *Memory) At(now time.Time) Memory {
	if m.LastAct.After(now) {
		m.LastAct = now
	}
	for rule, at := range m.LastKill {
		if at.After(now) {
			m.LastKill[rule] = now
		}
	}
	for rule, s := range m.Relieving {
		rounds := append([]Round(nil), s.Rounds...)
		for i := range rounds {
			if rounds[i].Ended.After(now) {
				rounds[i].Ended = now
			}
		}
		s.Rounds = rounds
		if s.StoppedAt.After(now) {
			s.StoppedAt = now
		}
		m.Relieving[rule] = s
	}
	c := *m
	c.LastKill, c.DryKilled, c.Relieving = maps.Clone(m.LastKill), maps.Clone(m.DryKilled), maps.Clone(m.Relieving)
	return c
}
