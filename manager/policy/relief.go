package policy

import (
	"math"
	"time"

	"github.com/estiba/estiba/internal/container"
)

// ReliefBy is how a rule's relief value is computed.
type ReliefBy string

// The three relief values.
const (
	ByCount ReliefBy = "count" // number of candidates
	BySum   ReliefBy = "sum"   // sum of their values
	ByQuery ReliefBy = "query" // result of relief.query
)

// Relief is how the effect of a rule's kills is measured.
type Relief struct {
	By      ReliefBy
	AtLeast float64       // required decrease of the relief value, as a share; 0 is any decrease
	After   time.Duration // time between a kill and the sample that measures it
	// StopAfter is how many consecutive kills without relief stop the rule; those of
	// one tick count as one. 0 never stops it.
	StopAfter int
	// ResumeAfter is when a stopped rule may retry once; 0 is never.
	ResumeAfter time.Duration
}

// Round is the live kills of one rule in one tick. They are measured together, since
// their effects cannot be separated.
type Round struct {
	ID         uint64           // set by Memory.Open
	Total      float64          // relief value at the decision, by query
	Candidates []RoundCandidate // at the decision
	Open       int              // kills that have not ended
	Ended      time.Time        // end of the last kill
}

// RoundCandidate is a candidate of the tick in which a round was decided.
type RoundCandidate struct {
	ID     string // 64 hex digits
	Name   string
	Kind   container.Kind
	Start  time.Time // of the measured life
	Value  float64
	Killed bool // by this round, and confirmed
}

// ReliefState is what is known of the effect of a rule's kills.
type ReliefState struct {
	Rounds     []Round // not measured yet, oldest first
	Unrelieved int     // consecutive kills without relief
	Measured   bool    // Ratio is valid
	Ratio      float64 // of the last measurement
	StoppedAt  time.Time
}

// Measurement is the effect of one round. A ratio is the share of the relief value that
// is gone: 1 all, 0 none, negative if it grew.
type Measurement struct {
	Rule     string
	Round    uint64
	Ratio    float64
	ByKind   map[container.Kind]float64 // kinds of which a container was killed
	Relieved bool
}

// Stopped reports whether the rule has stopped.
func (r Relief) Stopped(s ReliefState) bool { return r.StopAfter > 0 && s.Unrelieved >= r.StopAfter }

// exhausted reports whether one more kill could exceed StopAfter.
func (r Relief) exhausted(s ReliefState) bool {
	return r.StopAfter > 0 && s.Unrelieved+len(s.Rounds) >= r.StopAfter
}

// mayTry reports whether a stopped rule may retry once: ResumeAfter has passed and no
// round is open.
func (r Relief) mayTry(s ReliefState, now time.Time) bool {
	return r.Stopped(s) && r.ResumeAfter > 0 && len(s.Rounds) == 0 && now.Sub(s.StoppedAt) >= r.ResumeAfter
}

// after is the state after a measurement.
func (s ReliefState) after(m Measurement, r Relief, now time.Time) ReliefState {
	rest := make([]Round, 0, len(s.Rounds))
	for _, one := range s.Rounds {
		if one.ID != m.Round {
			rest = append(rest, one)
		}
	}
	s.Rounds, s.Measured, s.Ratio = rest, true, m.Ratio
	if m.Relieved {
		s.Unrelieved, s.StoppedAt = 0, time.Time{}
		return s
	}
	s.Unrelieved++
	if r.Stopped(s) {
		s.StoppedAt = now
	}
	return s
}

// measure measures the rounds of the rule that are due: their kills have ended, and the
// data are newer.
func (t *tick) measure(candidates []candidate, answer Answer) []Measurement {
	var list []Measurement
	for _, round := range t.reliefState.Rounds {
		if round.Open > 0 || !t.fresh() || !t.at().After(round.Ended.Add(t.rule.Relief.After)) {
			continue
		}
		m := Measurement{Rule: t.rule.Name, Round: round.ID, ByKind: map[container.Kind]float64{}}
		if t.rule.Relief.By == ByQuery {
			if !answer.ReliefValueKnown {
				continue
			}
			m.Ratio = gone(round.Total, answer.ReliefValue)
		} else {
			t.left(&m, round, candidates)
		}
		for _, w := range round.Candidates {
			if _, counted := m.ByKind[w.Kind]; w.Killed && !counted {
				m.ByKind[w.Kind] = m.Ratio
			}
		}
		m.Relieved = m.Ratio > 0 && m.Ratio >= t.rule.Relief.AtLeast
		list = append(list, m)
	}
	return list
}

// left compares the candidates of the round with what is left of them. A container that
// runs under the name of a killed one has replaced it and counts as not gone. New
// candidates do not count: they say nothing about the effect of the kills.
func (t *tick) left(m *Measurement, round Round, now []candidate) {
	alive := map[string]candidate{}
	for _, c := range now {
		if c.found {
			alive[c.container.ID] = c
		}
	}
	running := map[string]bool{}
	for _, c := range t.world.Containers {
		running[c.Name] = running[c.Name] || c.State == Running
	}
	before, after, killed := map[container.Kind]float64{}, map[container.Kind]float64{}, map[container.Kind]bool{}
	allBefore, allAfter := 0.0, 0.0
	for _, w := range round.Candidates {
		was := t.weight(w.Value)
		is := 0.0
		if c, same := alive[w.ID]; w.Killed && running[w.Name] {
			is = was
		} else if same && !w.Killed && c.sample.Start.Sub(w.Start).Abs() <= StartTolerance {
			is = t.weight(c.sample.Value)
		}
		before[w.Kind] += was
		after[w.Kind] += is
		allBefore, allAfter = allBefore+was, allAfter+is
		killed[w.Kind] = killed[w.Kind] || w.Killed
	}
	m.Ratio = gone(allBefore, allAfter)
	for kind, lost := range killed {
		if lost {
			m.ByKind[kind] = gone(before[kind], after[kind])
		}
	}
}

func (t *tick) weight(value float64) float64 {
	switch {
	case t.rule.Relief.By != BySum:
		return 1
	case math.IsNaN(value) || math.IsInf(value, 0):
		return 0
	}
	return value
}

// gone is the share of before that is gone.
func gone(before, after float64) float64 {
	if before == 0 {
		switch {
		case after < 0:
			return 1
		case after > 0:
			return -1
		}
		return 0
	}
	share := (before - after) / math.Abs(before)
	if math.IsNaN(share) || math.IsInf(share, 0) {
		return 0 // sums beyond the range of float64: no relief
	}
	return share
}

// round is what the rule's kills of this tick are measured by.
func (t *tick) round(candidates []candidate, answer Answer) Round {
	r := Round{Total: answer.ReliefValue}
	for _, c := range candidates {
		if c.found {
			r.Candidates = append(r.Candidates, RoundCandidate{
				ID: c.container.ID, Name: c.container.Name, Kind: c.container.Kind, Start: c.sample.Start, Value: c.sample.Value,
			})
		}
	}
	return r
}
