package policy

import (
	"math"
	"time"

	"github.com/estiba/estiba/internal/container"
)

// StartTolerance is how far two starts of a container may lie apart and still
// be the same: they are measured against a clock that is set now and then.
const StartTolerance = 10 * time.Second

// guard is one reason not to kill. It sees the tick as it will be after the
// kills already planned. No key of the policy file turns one off.
type guard struct {
	reason  Reason
	refuses func(*tick, *candidate) bool
}

// guards in the order they are asked; the first refusal is the reason given.
func guards() []guard {
	return []guard{
		{AlreadyGone, alreadyGone},
		{NoData, noData},
		{Transitional, transitional},
		{OutOfScope, outOfScope},
		{Protected, protected},
		{UnknownKind, unknownKind},
		{StaleSample, staleSample},
		{SampleOlderThanLastAct, sampleOlderThanLastAct},
		{Restarted, restarted},
		{WindowNotFilled, windowNotFilled},
		{DryRunDone, dryRunDone},
		{PendingFor, pendingFor},
		{CoolingDown, coolingDown},
		{NoRelief, noRelief},
		{LastOfKind, lastOfKind},
		{BudgetSpent, budgetSpent},
		{NoVetoAnswer, noVetoAnswer},
		{Vetoed, vetoed},
		{Announced, announced},
	}
}

// alreadyGone: the Engine's list decides what runs, never Prometheus, which
// goes on answering for up to five minutes. Another rule's victim counts too.
func alreadyGone(t *tick, c *candidate) bool {
	return !c.found || t.planned(c)
}

// noData: a value that is no number, two rows for one container, or a life
// whose start nobody measured.
func noData(t *tick, c *candidate) bool {
	return c.doubled || math.IsNaN(c.sample.Value) || math.IsInf(c.sample.Value, 0) || c.sample.Start.IsZero()
}

func transitional(_ *tick, c *candidate) bool { return c.container.State != Running }

func outOfScope(_ *tick, c *candidate) bool { return !c.container.InScope }

func protected(_ *tick, c *candidate) bool { return len(c.container.Protected) > 0 }

func unknownKind(t *tick, c *candidate) bool {
	return len(t.world.Keep) > 0 && c.container.Kind == container.KindNone
}

func staleSample(t *tick, _ *candidate) bool { return !t.world.Data.Fresh }

// sampleOlderThanLastAct: the last kill may have cured what the data show.
func sampleOlderThanLastAct(t *tick, _ *candidate) bool {
	m, d := t.world.Memory, t.world.Data
	if m.LastAct.IsZero() {
		return false
	}
	return !d.At.After(m.LastAct) || (m.ActSequence != "" && d.Sequence == m.ActSequence)
}

// restarted: a restart keeps the id, so the life is told by its start. A
// StartedAt that is not looked up yet passes; the act needs it (see Victim).
//
// The kernel stamps the first process when the runtime forks it, the Engine when
// the runtime has reported back, on a busy host many seconds later. So it is the
// end of the life before that tells two lives apart; who has lived only once
// cannot be mistaken, whatever the clocks say.
func restarted(t *tick, c *candidate) bool {
	at, before := c.container.StartedAt, c.container.EndedAt
	if at.IsZero() {
		return false
	}
	if at.After(t.world.Data.At) {
		return true
	}
	return !before.IsZero() && (c.sample.Start.Before(before) || c.sample.Start.After(at.Add(StartTolerance)))
}

func windowNotFilled(_ *tick, c *candidate) bool { return !c.sample.WindowFilled }

// dryRunDone: a dry run kills a life once, as a live one would.
func dryRunDone(t *tick, c *candidate) bool {
	return t.rule.Mode == DryRun && t.dryKilled(t.rule.Name, c.container)
}

func pendingFor(t *tick, c *candidate) bool { return t.pending(c) > 0 }

func coolingDown(t *tick, _ *candidate) bool { return t.cooling() > 0 }

// noRelief: the rule's kills have not helped for so long that it has stopped
// itself, or would have if those do not help whose effect is not known yet. A rule whose pressure is a query has to know it before it may add to
// what it cannot judge.
func noRelief(t *tick, _ *candidate) bool {
	if t.rule.Mode != Live {
		return false
	}
	r := t.rule.Relief
	if r.By == ByQuery && !t.answer.PressureKnown {
		return true
	}
	return r.exhausted(t.relieving) && !r.mayTry(t.relieving, t.world.Now)
}

func lastOfKind(t *tick, c *candidate) bool {
	left := t.alive(c.container.Kind)
	if !t.expects(c.container.ID) {
		left-- // else it is not among them any more
	}
	for _, k := range t.world.Keep {
		if left < k.Min {
			return true
		}
	}
	return false
}

func budgetSpent(t *tick, _ *candidate) bool {
	return t.spentByRule >= t.rule.MaxKills || t.spent() >= t.world.Budget
}

// CheckNow asks those guards again that need no measurement, at the moment of
// the act. It returns "" when none refuses.
func CheckNow(c Container, keep []Keep) Reason {
	t := &tick{world: World{Keep: keep}}
	at := &candidate{container: c, found: true}
	for _, g := range guards() {
		switch g.reason {
		case Transitional, OutOfScope, Protected, UnknownKind:
			if g.refuses(t, at) {
				return g.reason
			}
		}
	}
	return ""
}

// KeepHolds tells whether every keep promise still holds after victim is gone,
// when running is the Engine's list at this moment and gone are the ids whose
// end is under way.
func KeepHolds(running []Container, victim Container, keep []Keep, gone func(id string) bool) bool {
	alive := 0
	for _, c := range running {
		if c.ID != victim.ID && c.Kind == victim.Kind && c.InScope && c.State == Running && !gone(c.ID) {
			alive++
		}
	}
	for _, k := range keep {
		if alive < k.Min {
			return false
		}
	}
	return true
}
