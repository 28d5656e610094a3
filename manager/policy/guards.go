package policy

import (
	"math"
	"time"
)

// StartTolerance is the largest difference between two start times of the same life:
// they are measured against a clock that is adjusted.
const StartTolerance = 10 * time.Second

// guard is a check that can spare a candidate. It sees the tick as it will be after the
// kills planned so far. No key of the policy file disables one.
type guard struct {
	reason  Reason
	refuses func(*tick, *candidate) bool
}

// guards in the order of evaluation; the first one that spares gives the reason.
func guards() []guard {
	return []guard{
		{ForeignRuntime, foreignRuntime},
		{AlreadyGone, alreadyGone},
		{NoData, noData},
		{Transitional, transitional},
		{OutOfScope, outOfScope},
		{Protected, protected},
		{UnknownKind, unknownKind},
		{StaleSample, staleSample},
		{LabelsUnknown, labelsUnknown},
		{SampleOlderThanLastKill, sampleOlderThanLastKill},
		{Restarted, restarted},
		{WindowNotFilled, windowNotFilled},
		{DryRunDone, dryRunDone},
		{PassedOver, passedOver},
		{ClockSet, clockSet},
		{OutOfSchedule, outOfSchedule},
		{PendingFor, pendingFor},
		{CoolingDown, coolingDown},
		{NoRelief, noRelief},
		{InFlight, inFlight},
		{LastOfKind, lastOfKind},
		{UnknownGroup, unknownGroup},
		{LastOfGroup, lastOfGroup},
		{BudgetSpent, budgetSpent},
		{KillsUnknown, killsUnknown},
		{HourlyBudgetSpent, hourlyBudgetSpent},
		{NoVetoAnswer, noVetoAnswer},
		{Vetoed, vetoed},
		{Announced, announced},
	}
}

// foreignRuntime: the manager acts only on containers of its Engine, and not on those
// that a kubelet would start again.
func foreignRuntime(_ *tick, c *candidate) bool { return c.foreign || c.container.Foreign }

// alreadyGone: the Engine's list decides what runs, never Prometheus, which returns old
// samples for up to five minutes. Victims of other rules count as gone.
func alreadyGone(t *tick, c *candidate) bool {
	return !c.found || t.planned(c)
}

// noData: a value that is not finite, two samples for one container, or an unknown
// start.
func noData(_ *tick, c *candidate) bool {
	return c.doubled || math.IsNaN(c.sample.Value) || math.IsInf(c.sample.Value, 0) || c.sample.Start.IsZero()
}

func transitional(_ *tick, c *candidate) bool { return c.container.State != Running }

func outOfScope(_ *tick, c *candidate) bool { return !c.container.InScope }

func protected(_ *tick, c *candidate) bool { return len(c.container.Protected) > 0 }

func staleSample(t *tick, _ *candidate) bool { return !t.fresh() }

// labelsUnknown: queries make exceptions by name, image or label, and labels that the
// exporter does not know are empty there.
func labelsUnknown(_ *tick, c *candidate) bool { return !c.sample.LabelsKnown }

// sampleOlderThanLastKill: the last kill may have solved what the data show.
func sampleOlderThanLastKill(t *tick, _ *candidate) bool {
	m := t.world.Memory
	if m.LastLiveKill.IsZero() {
		return false
	}
	return !t.at().After(m.LastLiveKill) || (m.LastLiveSequence != "" && t.world.Data.Sequence == m.LastLiveSequence)
}

// restarted: a restart keeps the id, so a life is identified by its start. A StartedAt
// that is not looked up yet passes; the kill needs it (see Victim).
//
// The kernel takes the start when the runtime forks the init process, the Engine when
// the runtime has reported back, on a busy host many seconds later. So two lives are
// distinguished by the end of the previous one; a container that never restarted cannot be
// mistaken, whatever the clocks say.
func restarted(t *tick, c *candidate) bool {
	at, before := c.container.StartedAt, c.container.EndedAt
	if at.IsZero() {
		return false
	}
	if at.After(t.at()) {
		return true
	}
	return !before.IsZero() && (c.sample.Start.Before(before) || c.sample.Start.After(at.Add(StartTolerance)))
}

func windowNotFilled(_ *tick, c *candidate) bool { return !c.sample.WindowFilled }

// dryRunDone: a dry run kills a life once, as a live run would.
func dryRunDone(t *tick, c *candidate) bool {
	return t.rule.Mode == DryRun && t.dryKilled(t.rule.Name, c.container)
}

// passedOver: a kill of this life was refused or failed recently, so the next
// candidates get their turn.
func passedOver(t *tick, c *candidate) bool {
	p, known := t.world.Memory.Passed[t.key(c)]
	if !known || t.world.Now.Sub(p.At) >= PassOver {
		return false
	}
	return c.container.StartedAt.IsZero() || p.StartedAt.IsZero() || p.StartedAt.Equal(c.container.StartedAt)
}

// inFlight: the effect of the rule's kills in flight cannot be in the data yet. They
// count against max_kills like those of this tick.
func inFlight(t *tick, _ *candidate) bool {
	n := t.inFlightKills()
	return n > 0 && t.spentByRule < t.rule.MaxKills && t.spentByRule+n >= t.rule.MaxKills
}

func pendingFor(t *tick, c *candidate) bool { return t.forRemaining(c) > 0 }

func coolingDown(t *tick, _ *candidate) bool { return t.cooldownRemaining() > 0 }

// noRelief: the rule has stopped because its kills brought no relief, or would stop if
// the ones not measured yet brought none. With a relief query the relief value has to
// be known before each kill.
func noRelief(t *tick, _ *candidate) bool {
	if t.rule.Mode != Live {
		return false
	}
	r := t.rule.Relief
	if r.By == ByQuery && !t.answer.ReliefValueKnown {
		return true
	}
	return r.exhausted(t.reliefState) && !r.mayTry(t.reliefState, t.world.Now)
}

func budgetSpent(t *tick, _ *candidate) bool {
	return t.spentByRule >= t.rule.MaxKills || t.spent() >= t.world.Budget
}

// CheckNow evaluates the guards that need no measurement again, just before a kill. It
// returns "" if none spares the container.
func CheckNow(c Container, keep []Keep) Reason {
	t := &tick{world: World{Keep: keep}}
	at := &candidate{container: c, found: true}
	for _, g := range guards() {
		switch g.reason {
		case ForeignRuntime, Transitional, OutOfScope, Protected, UnknownKind:
			if g.refuses(t, at) {
				return g.reason
			}
		}
	}
	return ""
}
