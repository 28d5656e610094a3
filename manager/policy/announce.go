package policy

import "time"

// Notices is what Alertmanager holds of announcements at this moment.
type Notices struct {
	// Known: Alertmanager answered. Without an answer no announced kill is made.
	Known bool
	// Of has the announcements, by candidate.
	Of map[Candidate]Notice
	// Waived: there is no Alertmanager, as in a decision over the past. An announcement
	// is only a wait then.
	Waived bool
}

// Notice is one announcement as Alertmanager holds it.
type Notice struct {
	// Silences are the ids of the silences that match it: each is a veto.
	Silences []string
	// Inhibited: another alert inhibits it.
	Inhibited bool
}

// Announcement is how long a kill has been announced without interruption.
type Announcement struct {
	Start time.Time // of the announced life
	Since time.Time // snapshot of the first tick in which Alertmanager held it; zero: not yet
	Last  time.Time // snapshot of the last tick in which the kill was due
}

// Pending is a kill that is announced, or to be announced.
type Pending struct {
	Rule      Rule
	Container Container
	// NotBefore is the earliest time of the kill, as far as known.
	NotBefore time.Time
}

// noVetoAnswer: a rule that announces must not kill while vetoes are unknown.
func noVetoAnswer(t *tick, _ *candidate) bool {
	return t.announces() && !t.world.Notices.Known
}

// vetoed: a silence matches the announcement.
func vetoed(t *tick, c *candidate) bool {
	return t.announces() && len(t.world.Notices.Of[t.key(c)].Silences) > 0
}

// announced: announce has not passed.
func announced(t *tick, c *candidate) bool { return t.announceRemaining(c) > 0 }

// announces reports whether the rule needs Alertmanager. A dry run announces nothing,
// it only waits as long as a live one.
func (t *tick) announces() bool {
	return t.rule.Announce > 0 && t.rule.Mode == Live && !t.world.Notices.Waived
}

func (t *tick) key(c *candidate) Candidate { return Candidate{Rule: t.rule.Name, ID: c.container.ID} }

// announcement is the rule's announcement of c, updated for this tick. Time counts only
// while Alertmanager holds the alert and sends it.
func (t *tick) announcement(c *candidate) Announcement {
	at := t.world.Data.At
	a, known := t.world.Memory.Announced[t.key(c)]
	if !known || c.sample.Start.Sub(a.Start).Abs() > StartTolerance || at.Sub(a.Last) > t.world.MaxGap || at.Before(a.Last) {
		a = Announcement{Start: c.sample.Start}
	}
	if t.announces() {
		if !t.world.Notices.Known {
			return a // perhaps still announced; if this lasts, it ends by MaxGap
		}
		if n, there := t.world.Notices.Of[t.key(c)]; !there || n.Inhibited {
			a.Since, a.Last = time.Time{}, at
			return a
		}
	}
	if a.Since.IsZero() {
		a.Since = at
	}
	a.Last = at
	return a
}

// announceRemaining is how long c still has to be announced.
func (t *tick) announceRemaining(c *candidate) time.Duration {
	if t.rule.Announce <= 0 {
		return 0
	}
	a := t.announcement(c)
	if a.Since.IsZero() {
		return t.rule.Announce
	}
	return max(0, t.rule.Announce-a.Last.Sub(a.Since))
}

// announce keeps the announcement of a kill that is due, or that was due and is only
// delayed by other kills.
func (t *tick) announce(c *candidate, why Reason) {
	if t.rule.Announce <= 0 {
		return
	}
	switch why {
	case "", NoVetoAnswer, Vetoed, Announced:
	case SampleOlderThanLastKill, BudgetSpent, HourlyBudgetSpent:
		if _, known := t.world.Memory.Announced[t.key(c)]; !known {
			return
		}
	default:
		return
	}
	t.announced[t.key(c)] = t.unlessVetoed(t.key(c), t.announcement(c))
	if why == Announced || why == NoVetoAnswer {
		// Later candidates see it as gone: of two that could each be spared alone only
		// one is announced.
		t.expect(c.container.ID)
	}
}

// unlessVetoed restarts a vetoed announcement: when the silence ends, the kill has to
// be announced again.
func (t *tick) unlessVetoed(key Candidate, a Announcement) Announcement {
	if len(t.world.Notices.Of[key].Silences) > 0 {
		a.Since = time.Time{}
	}
	return a
}

// keepAnnouncements carries the rule's announcements over a tick without usable data.
func (t *tick) keepAnnouncements(rule Rule) {
	for key, a := range t.world.Memory.Announced {
		if key.Rule == rule.Name && rule.Announce > 0 {
			t.announced[key] = t.unlessVetoed(key, a)
		}
	}
}

// pendings are the announcements of live rules, in the order of rules and containers.
func (t *tick) pendings() []Pending {
	var list []Pending
	for _, r := range t.world.Rules {
		if r.Announce <= 0 || r.Mode != Live {
			continue
		}
		for _, c := range t.world.Containers {
			a, ok := t.announced[Candidate{Rule: r.Name, ID: c.ID}]
			if !ok {
				continue
			}
			from := a.Since
			if from.IsZero() {
				from = t.world.Data.At
			}
			list = append(list, Pending{Rule: r, Container: c, NotBefore: from.Add(r.Announce)})
		}
	}
	return list
}
