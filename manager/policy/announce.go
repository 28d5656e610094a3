package policy

import "time"

// Notices is what Alertmanager says of announced kills at this moment.
type Notices struct {
	// Known: it has answered. What it did not answer nobody may act on.
	Known bool
	// Of has the announcements that it holds, by what they announce.
	Of map[Candidate]Notice
	// Waived: nobody can be told and nobody can object, as in a decision over
	// the past. An announcement is a wait then.
	Waived bool
}

// Notice is one announcement as Alertmanager holds it.
type Notice struct {
	// Silences are the ids of the silences that match it: each is a veto.
	Silences []string
	// Inhibited: another alert keeps it from its receivers.
	Inhibited bool
}

// Announcement is how long a kill has been announced without a break.
type Announcement struct {
	Start time.Time // of the life that is meant
	Since time.Time // snapshot of the first tick at which Alertmanager held it; zero: it does not yet
	Last  time.Time // snapshot of the last tick that wanted it
}

// Pending is a kill that is announced, or is to be.
type Pending struct {
	Rule      Rule
	Container Container
	// NotBefore is the earliest time at which it can happen, as far as is known.
	NotBefore time.Time
}

// noVetoAnswer: a rule that announces is not allowed to act when nobody knows
// whether somebody objects.
func noVetoAnswer(t *tick, _ *candidate) bool {
	return t.announces() && !t.world.Notices.Known
}

// vetoed: somebody has silenced the announcement.
func vetoed(t *tick, c *candidate) bool {
	return t.announces() && len(t.world.Notices.Of[t.key(c)].Silences) > 0
}

// announced: it has not been announced for long enough yet.
func announced(t *tick, c *candidate) bool { return t.untold(c) > 0 }

// announces tells whether the rule has to ask Alertmanager. A dry run announces
// nothing to anybody, it only waits as long as a live one would.
func (t *tick) announces() bool {
	return t.rule.Announce > 0 && t.rule.Mode == Live && !t.world.Notices.Waived
}

func (t *tick) key(c *candidate) Candidate { return Candidate{Rule: t.rule.Name, ID: c.container.ID} }

// announcement is the one of the rule for c, with what this tick adds to it. Time
// counts only while Alertmanager holds it and hands it on.
func (t *tick) announcement(c *candidate) Announcement {
	at := t.world.Data.At
	a, known := t.world.Memory.Announced[t.key(c)]
	if !known || c.sample.Start.Sub(a.Start).Abs() > StartTolerance || at.Sub(a.Last) > t.world.MaxGap || at.Before(a.Last) {
		a = Announcement{Start: c.sample.Start}
	}
	if t.announces() {
		if !t.world.Notices.Known {
			return a // perhaps still told: it ends when that lasts
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

// untold is how much longer c has to be announced.
func (t *tick) untold(c *candidate) time.Duration {
	if t.rule.Announce <= 0 {
		return 0
	}
	a := t.announcement(c)
	if a.Since.IsZero() {
		return t.rule.Announce
	}
	return max(0, t.rule.Announce-a.Last.Sub(a.Since))
}

// announce keeps the announcement of a kill that is wanted, and of one that was
// and that only the kills of others hold up.
func (t *tick) announce(c *candidate, why Reason) {
	if t.rule.Announce <= 0 {
		return
	}
	switch why {
	case "", NoVetoAnswer, Vetoed, Announced:
	case SampleOlderThanLastAct, BudgetSpent:
		if _, known := t.world.Memory.Announced[t.key(c)]; !known {
			return
		}
	default:
		return
	}
	t.announced[t.key(c)] = t.unlessVetoed(t.key(c), t.announcement(c))
	if why == Announced || why == NoVetoAnswer {
		// It is as good as gone to those that come after it: of two that could
		// each be spared alone only one is announced.
		t.expect(c.container.ID)
	}
}

// unlessVetoed begins an announcement anew if somebody objects: when the silence
// ends, it has to be announced again.
func (t *tick) unlessVetoed(key Candidate, a Announcement) Announcement {
	if len(t.world.Notices.Of[key].Silences) > 0 {
		a.Since = time.Time{}
	}
	return a
}

// keepAnnouncements carries the rule's announcements over a tick that says
// nothing of use.
func (t *tick) keepAnnouncements(rule Rule) {
	for key, a := range t.world.Memory.Announced {
		if key.Rule == rule.Name && rule.Announce > 0 {
			t.announced[key] = t.unlessVetoed(key, a)
		}
	}
}

// pendings are the live announcements, in the order of rules and containers.
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
