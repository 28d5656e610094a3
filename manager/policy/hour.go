package policy

import (
	"slices"
	"time"
)

// PastKill is a kill that has ended.
type PastKill struct {
	Rule string
	Mode Mode
	At   time.Time // its end
}

// HourLength is the length of time in which max_kills_per_hour counts.
const HourLength = time.Hour

// keepHour drops kills that have left the hour. If the clock was set back, those in the
// future become now.
func (m *Memory) keepHour(now time.Time) {
	if slices.ContainsFunc(m.Kills, func(k PastKill) bool { return k.At.After(now) }) {
		m.Kills = slices.Clone(m.Kills)
		for i := range m.Kills {
			if m.Kills[i].At.After(now) {
				m.Kills[i].At = now
			}
		}
	}
	if slices.ContainsFunc(m.Kills, func(k PastKill) bool { return !inHour(k.At, now) }) {
		m.Kills = slices.DeleteFunc(slices.Clone(m.Kills), func(k PastKill) bool { return !inHour(k.At, now) })
	}
	if m.Unread.After(now) {
		m.Unread = now
	}
}

func inHour(at, now time.Time) bool { return now.Sub(at) < HourLength }

// limited reports whether kills of the rule are limited per hour.
func (t *tick) limited() bool { return t.rule.MaxPerHour > 0 || t.world.MaxPerHour > 0 }

// killsUnknown: kills that count may be missing in the audit log.
func killsUnknown(t *tick, _ *candidate) bool { return t.killsUnknownRemaining() > 0 }

// killsUnknownRemaining is how long kills of the hour may be missing.
func (t *tick) killsUnknownRemaining() time.Duration {
	if !t.limited() || t.world.Memory.Unread.IsZero() {
		return 0
	}
	return max(0, HourLength-t.world.Now.Sub(t.world.Memory.Unread))
}

// hourlyBudgetSpent: one more kill would be too many in an hour.
func hourlyBudgetSpent(t *tick, _ *candidate) bool {
	if !t.limited() {
		return false
	}
	past := t.pastHour()
	return t.rule.MaxPerHour > 0 && len(past.rule)+t.inFlightKills()+t.spentByRule >= t.rule.MaxPerHour ||
		t.world.MaxPerHour > 0 && len(past.all)+len(t.world.Memory.InFlight)+t.spent() >= t.world.MaxPerHour
}

// hourKills are the ends of kills in the last hour, oldest first.
type hourKills struct{ rule, all []time.Time }

// pastHour are the kills of the last hour that count for the rule: those of dry runs
// count for dry runs only. It is cached, since each candidate needs it.
func (t *tick) pastHour() *hourKills {
	if t.hour != nil {
		return t.hour
	}
	t.hour = &hourKills{}
	for _, k := range t.world.Memory.Kills {
		if !inHour(k.At, t.world.Now) || k.Mode != Live && t.rule.Mode == Live {
			continue
		}
		t.hour.all = append(t.hour.all, k.At)
		if k.Rule == t.rule.Name {
			t.hour.rule = append(t.hour.rule, k.At)
		}
	}
	return t.hour
}

// hourRemaining is the time until the rule may kill again if nothing else kills: until
// enough kills have left the hour. 0: kills in flight use it up, so it is not known.
func (t *tick) hourRemaining() (wait time.Duration) {
	until := func(most int, ended []time.Time, others int) {
		over := min(len(ended)+others-most, len(ended)-1) // so many and one have to leave
		if most > 0 && over >= 0 {
			wait = max(wait, HourLength-t.world.Now.Sub(ended[over]))
		}
	}
	past := t.pastHour()
	until(t.rule.MaxPerHour, past.rule, t.inFlightKills()+t.spentByRule)
	until(t.world.MaxPerHour, past.all, len(t.world.Memory.InFlight)+t.spent())
	return wait
}
