package policy

import (
	"maps"
	"time"
)

// Memory is what earlier ticks leave for later ones. The caller of Decide keeps it and
// reports what happens; Decide only reads it.
type Memory struct {
	LastLiveKill     time.Time            // last begin or end of a live kill, of any rule
	LastLiveSequence string               // snapshot of the decision of the last live kill
	LastKill         map[string]time.Time // by rule, dry runs too
	Held             map[Candidate]Hold
	Announced        map[Candidate]Announcement
	// DryKilled are the lives that dry runs would have ended.
	DryKilled   map[Candidate]time.Time // value: the StartedAt of that life
	ReliefState map[string]ReliefState  // by rule
	// InFlight are the live kills that have not ended: container id to rule.
	InFlight map[string]string
	// Kills are those of the last hour that have ended, dry runs too, oldest first. A slice
	// that was handed out does not change.
	Kills []PastKill
	// Unread is the latest time of kills that may be missing in Kills, since part of the
	// audit log could not be read; zero: none is missing.
	Unread time.Time
	// Passed are the lives of which a kill was refused or failed.
	Passed map[Candidate]Passed

	rounds uint64 // opened so far
}

// PassOver is how long a rule ignores a container after a kill of it was refused or
// failed: the next one would end the same way and use up the budget.
const PassOver = 5 * time.Minute

// Passed is a life that a rule passes over.
type Passed struct {
	StartedAt time.Time
	At        time.Time // when its kill ended
}

// NewMemory returns an empty Memory.
func NewMemory() Memory {
	return Memory{
		LastKill: map[string]time.Time{}, DryKilled: map[Candidate]time.Time{}, ReliefState: map[string]ReliefState{},
		InFlight: map[string]string{}, Passed: map[Candidate]Passed{},
	}
}

// Advance takes over what the plan of a tick leaves for the next one.
func (m *Memory) Advance(w World, p Plan) {
	m.Held, m.Announced = p.Held, p.Announced
	m.Measured(p.Measured, w.Rules, w.Now)
	m.forget(Listed(w.Containers))
}

// Batch is the kills of one rule in one tick.
type Batch struct {
	Rule       int // index into World.Rules
	Victims    []Victim
	Round      uint64 // that the kills are measured by; 0 for a dry run
	Unrelieved int    // kills of the rule without relief before these, pending ones included
}

// Start notes that the kills of a plan are in flight, and returns them by rule. Until
// Finish a live kill counts against its rule's max_kills and keeps its cooldown
// running.
func (m *Memory) Start(w World, p Plan, at time.Time) []Batch {
	var list []Batch
	for i, r := range w.Rules {
		b := Batch{Rule: i}
		for _, v := range p.Victims {
			if v.Rule.Name == r.Name {
				b.Victims = append(b.Victims, v)
			}
		}
		if len(b.Victims) == 0 {
			continue
		}
		if round, live := p.Rounds[r.Name]; live {
			known := m.ReliefState[r.Name]
			b.Unrelieved = known.Unrelieved + len(known.Rounds)
			b.Round = m.open(r.Name, round, len(b.Victims))
			for _, v := range b.Victims {
				m.InFlight[v.Container.ID] = r.Name
			}
			m.liveKill(at)
			m.LastLiveSequence = w.Data.Sequence
		}
		list = append(list, b)
	}
	return list
}

// End is how a kill ended.
type End struct {
	Rule      string
	ID        string    // of the container
	StartedAt time.Time // of the intended life
	Mode      Mode
	Round     uint64 // of the batch
	At        time.Time
	Begun     bool // something was done, or would have been in a live run
	Killed    bool // the container is gone, or would be in a live run
	PassOver  bool // another kill of this life would fail in the same way
}

// Finish notes that a kill has ended.
func (m *Memory) Finish(e End) {
	key := Candidate{Rule: e.Rule, ID: e.ID}
	if m.InFlight[e.ID] == e.Rule {
		delete(m.InFlight, e.ID)
	}
	if e.Begun {
		if e.At.After(m.LastKill[e.Rule]) {
			m.LastKill[e.Rule] = e.At
		}
		if e.Mode == Live {
			m.liveKill(e.At)
		}
		m.Kills = append(m.Kills, PastKill{Rule: e.Rule, Mode: e.Mode, At: e.At})
	}
	if e.PassOver {
		m.Passed[key] = Passed{StartedAt: e.StartedAt, At: e.At}
	}
	if e.Mode == DryRun {
		if e.Killed {
			m.DryKilled[key] = e.StartedAt
		}
	}
	if e.Round != 0 {
		m.ended(e.Rule, e.Round, e.ID, e.Killed, e.At)
	}
}

// liveKill is compared with the exporter's timestamps, so only the wall clock counts.
func (m *Memory) liveKill(at time.Time) {
	if at = at.Round(0); at.After(m.LastLiveKill) {
		m.LastLiveKill = at
	}
}

// open adds a round of a rule with a number of kills, and returns its id.
func (m *Memory) open(rule string, r Round, acts int) uint64 {
	m.rounds++
	r.ID, r.Open = m.rounds, acts
	s := m.ReliefState[rule]
	s.Rounds = append(s.Rounds[:len(s.Rounds):len(s.Rounds)], r)
	m.ReliefState[rule] = s
	return r.ID
}

// ended notes the end of one kill of a round. A round without a successful kill is
// dropped: there is nothing to measure.
func (m *Memory) ended(rule string, round uint64, id string, killed bool, at time.Time) {
	s := m.ReliefState[rule]
	rest := make([]Round, 0, len(s.Rounds))
	for _, r := range s.Rounds {
		if r.ID == round {
			r.Open--
			if at := at.Round(0); at.After(r.Ended) { // compared with the exporter's timestamps
				r.Ended = at
			}
			success := false
			r.Candidates = append([]RoundCandidate(nil), r.Candidates...)
			for i := range r.Candidates {
				r.Candidates[i].Killed = r.Candidates[i].Killed || (killed && r.Candidates[i].ID == id)
				success = success || r.Candidates[i].Killed
			}
			if r.Open == 0 && !success {
				continue
			}
		}
		rest = append(rest, r)
	}
	s.Rounds = rest
	m.ReliefState[rule] = s
}

// Replaced drops the state of a rule whose query or action has changed: holds,
// announcements and passed lives.
func (m *Memory) Replaced(rule string) {
	// A decision in progress may read these.
	m.Held, m.Announced = maps.Clone(m.Held), maps.Clone(m.Announced)
	maps.DeleteFunc(m.Held, func(k Candidate, _ Hold) bool { return k.Rule == rule })
	maps.DeleteFunc(m.Announced, func(k Candidate, _ Announcement) bool { return k.Rule == rule })
	maps.DeleteFunc(m.Passed, func(k Candidate, _ Passed) bool { return k.Rule == rule })
}

// Measured applies measurements.
func (m *Memory) Measured(list []Measurement, rules []Rule, now time.Time) {
	for _, one := range list {
		for _, r := range rules {
			if r.Name == one.Rule {
				m.ReliefState[r.Name] = m.ReliefState[r.Name].after(one, r.Relief, now)
			}
		}
	}
}

// Resume clears the relief state: the operator has looked.
func (m *Memory) Resume() { m.ReliefState = map[string]ReliefState{} }

// Listed reports which ids are among containers.
func Listed(containers []Container) func(id string) bool {
	there := make(map[string]bool, len(containers))
	for _, c := range containers {
		there[c.ID] = true
	}
	return func(id string) bool { return there[id] }
}

// forget drops containers that are gone.
func (m *Memory) forget(listed func(id string) bool) {
	maps.DeleteFunc(m.DryKilled, func(k Candidate, _ time.Time) bool { return !listed(k.ID) })
	maps.DeleteFunc(m.Passed, func(k Candidate, _ Passed) bool { return !listed(k.ID) })
}

// At copies the memory for one decision. If the clock was set back, times in the future
// become now: waiting until the clock reaches them could take forever. Times that are
// compared with the exporter's have no monotonic reading, which does not see such a
// step; times that measure a distance within this process keep theirs.
func (m *Memory) At(now time.Time) Memory {
	wall := now.Round(0)
	if m.LastLiveKill.After(wall) {
		m.LastLiveKill = wall
	}
	for rule, at := range m.LastKill {
		if at.After(now) {
			m.LastKill[rule] = now
		}
	}
	for key, p := range m.Passed {
		if p.At.After(now) {
			p.At = now
			m.Passed[key] = p
		}
	}
	m.keepHour(now)
	for rule, s := range m.ReliefState {
		rounds := append([]Round(nil), s.Rounds...)
		for i := range rounds {
			if rounds[i].Ended.After(wall) {
				rounds[i].Ended = wall
			}
		}
		s.Rounds = rounds
		if s.StoppedAt.After(now) {
			s.StoppedAt = now
		}
		m.ReliefState[rule] = s
	}
	c := *m
	c.LastKill, c.DryKilled, c.ReliefState = maps.Clone(m.LastKill), maps.Clone(m.DryKilled), maps.Clone(m.ReliefState)
	c.InFlight, c.Passed = maps.Clone(m.InFlight), maps.Clone(m.Passed)
	return c
}
