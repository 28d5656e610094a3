package policy

import (
	"math"
	"time"

	"github.com/estiba/estiba/internal/container"
)

// ReliefBy is what a rule's pressure is.
type ReliefBy string

// The three pressures.
const (
	ByCount ReliefBy = "count" // how many candidates there are
	BySum   ReliefBy = "sum"   // the sum of their values
	ByQuery ReliefBy = "query" // what a query of its own says
)

// Relief is how a rule learns whether its kills help.
type Relief struct {
	By      ReliefBy
	AtLeast float64       // share of the pressure that has to be gone; 0 is any share
	After   time.Duration // between a kill and the sample that is looked at
	// StopAfter is how many kills in a row without relief stop the rule; those
	// of one tick count as one. 0 never stops it.
	StopAfter int
	// ResumeAfter is when a stopped rule may try once more; 0 is never.
	ResumeAfter time.Duration
}

// Round is the live kills that one rule ordered in one tick. They are measured
// together: nobody can tell which one of them helped.
type Round struct {
	ID     uint64    // set by Memory.Open
	Total  float64   // by query: the pressure at the decision
	Wanted []Wanted  // the candidates at the decision
	Open   int       // acts that have not ended yet
	Ended  time.Time // the last end of an act
}

// Wanted is a candidate that a rule had when it killed.
type Wanted struct {
	ID     string // 64 hex digits
	Name   string
	Kind   container.Kind
	Start  time.Time // of the life that was measured
	Value  float64
	Killed bool // by the round, and seen to be gone
}

// Relieving is what a rule remembers of its kills' effect.
type Relieving struct {
	Rounds     []Round // not measured yet, the oldest first
	Unrelieved int     // kills in a row without relief
	Measured   bool    // Ratio means something
	Ratio      float64 // of the last measurement
	StoppedAt  time.Time
}

// Measurement is the effect of one round. A ratio is the share of the pressure
// that is gone: 1 all of it, 0 none, below 0 when there is more than before.
type Measurement struct {
	Rule     string
	Round    uint64
	Ratio    float64
	ByKind   map[container.Kind]float64 // of the kinds that lost a container
	Relieved bool
}

// Stopped tells whether the rule has stopped itself.
func (r Relief) Stopped(s Relieving) bool { return r.StopAfter > 0 && s.Unrelieved >= r.StopAfter }

// exhausted tells whether another kill could be one too many.
func (r Relief) exhausted(s Relieving) bool {
	return r.StopAfter > 0 && s.Unrelieved+len(s.Rounds) >= r.StopAfter
}

// mayTry tells whether a stopped rule may kill once to see whether it helps
// again: when its rest is over and nothing is under way that would show it.
func (r Relief) mayTry(s Relieving, now time.Time) bool {
	return r.Stopped(s) && r.ResumeAfter > 0 && len(s.Rounds) == 0 && now.Sub(s.StoppedAt) >= r.ResumeAfter
}

// after is the state once m is known.
func (s Relieving) after(m Measurement, r Relief, now time.Time) Relieving {
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

// measure looks at each round of the rule that is due: its acts have ended and
// the data are newer than that.
func (t *tick) measure(candidates []candidate, answer Answer) []Measurement {
	var list []Measurement
	for _, round := range t.relieving.Rounds {
		if round.Open > 0 || !t.world.Data.Fresh || !t.world.Data.At.After(round.Ended.Add(t.rule.Relief.After)) {
			continue
		}
		m := Measurement{Rule: t.rule.Name, Round: round.ID, ByKind: map[container.Kind]float64{}}
		if t.rule.Relief.By == ByQuery {
			if !answer.PressureKnown {
				continue
			}
			m.Ratio = gone(round.Total, answer.Pressure)
		} else {
			t.left(&m, round, candidates)
		}
		for _, w := range round.Wanted {
			if _, counted := m.ByKind[w.Kind]; w.Killed && !counted {
				m.ByKind[w.Kind] = m.Ratio
			}
		}
		m.Relieved = m.Ratio > 0 && m.Ratio >= t.rule.Relief.AtLeast
		list = append(list, m)
	}
	return list
}

// left compares the candidates of the round with what is left of them. A
// container that runs under the name of a killed one has been put back in its
// place and stands for it. Others that came since are no answer to the
// question whether the kills helped.
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
	for _, w := range round.Wanted {
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

// gone is the share of before that is not there any more.
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
	return (before - after) / math.Abs(before)
}

// round is what the rule's kills of this tick will be measured by.
func (t *tick) round(candidates []candidate, answer Answer) Round {
	r := Round{Total: answer.Pressure}
	for _, c := range candidates {
		if c.found {
			r.Wanted = append(r.Wanted, Wanted{ID: c.container.ID, Name: c.container.Name, Kind: c.container.Kind, Start: c.sample.Start, Value: c.sample.Value})
		}
	}
	return r
}
