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

// Hour is the length of time in which max_kills_per_hour counts.
const Hour = time.Hour

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

func inHour(at, now time.Time) bool { return now.Sub(at) < Hour }

// limited reports whether kills of the rule are limited per hour.
func (t *tick) limited() bool { return t.rule.MaxPerHour > 0 || t.world.MaxPerHour > 0 }

// killsUnknown: kills that count may be missing in the audit log.
func killsUnknown(t *tick, _ *candidate) bool { return t.killsUnknownRemaining() > 0 }

// killsUnknownRemaining is how long kills of the hour may be missing.
func (t *tick) killsUnknownRemaining() time.Duration {
	if !t.limited() || t.world.Memory.Unread.IsZero() {
		return 0
	}
	return max(0, Hour-t.world.Now.Sub(t.world.Memory.Unread))
}

// hourlyBudgetSpent: one more kill would be too many in an hour.
func hourlyBudgetSpent(t *tick, _ *candidate) bool {
	return t.rule.MaxPerHour > 0 && len(t.killsOfHour(t.rule.Name))+t.inFlightKills()+t.spentByRule >= t.rule.MaxPerHour ||
		t.world.MaxPerHour > 0 && len(t.killsOfHour(""))+len(t.world.Memory.InFlight)+t.spent() >= t.world.MaxPerHour
}

// killsOfHour are the kills of a rule (of all if "") in the last hour, oldest first.
// Those of dry runs count for dry runs only.
func (t *tick) killsOfHour(rule string) (list []PastKill) {
	for _, k := range t.world.Memory.Kills {
		if inHour(k.At, t.world.Now) && (rule == "" || k.Rule == rule) && (k.Mode == Live || t.rule.Mode == DryRun) {
			list = append(list, k)
		}
	}
	return list
}

// hourRemaining is the time until the rule may kill again if nothing else kills: until
// enough kills have left the hour. 0: kills in flight use it up, so it is not known.
func (t *tick) hourRemaining() (wait time.Duration) {
	until := func(most int, kills []PastKill, under int) {
		over := len(kills) + under - most // so many and one have to leave
		if most == 0 || over < 0 {
			return
		}
		if over >= len(kills) {
			over = len(kills) - 1
		}
		if over >= 0 {
			wait = max(wait, Hour-t.world.Now.Sub(kills[over].At))
		}
	}
	until(t.rule.MaxPerHour, t.killsOfHour(t.rule.Name), t.inFlightKills()+t.spentByRule)
	until(t.world.MaxPerHour, t.killsOfHour(""), len(t.world.Memory.InFlight)+t.spent())
	return wait
}
