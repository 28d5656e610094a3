package policy

import (
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// longAnnounced has the rule announce 30 s before a kill, and the kill of the first
// container announced 40 s ago.
func longAnnounced(w *World) {
	key := Candidate{"r", id(0)}
	w.Rules[0].Announce = 30 * time.Second
	w.Notices = Notices{Known: true, Of: map[Candidate]Notice{key: {}}}
	w.Memory.Announced = map[Candidate]Announcement{key: {
		Start: epoch.Add(-time.Hour), Since: w.Data.At.Add(-40 * time.Second), Last: w.Data.At.Add(-5 * time.Second),
	}}
}

func TestAnAnnouncedKillHappens(t *testing.T) {
	w := calm()
	longAnnounced(&w)
	if p := Decide(w); len(p.Victims) != 1 {
		t.Errorf("plan = %+v", p)
	}
}

// announcing is a calm world over time.
type announcing struct {
	t *testing.T
	w World
}

// tick decides d later and returns the reason for the first container.
func (a *announcing) tick(d time.Duration) Reason {
	a.t.Helper()
	a.w.Now, a.w.Data.At = a.w.Now.Add(d), a.w.Data.At.Add(d)
	p := Decide(a.w)
	a.w.Memory.Held, a.w.Memory.Announced = p.Held, p.Announced
	if len(p.Pending) != 1 { // published until the kill
		a.t.Errorf("%s with pending %+v", p.Decisions[0].Reason, p.Pending)
	}
	return p.Decisions[0].Reason
}

func TestAnnouncing(t *testing.T) {
	key := Candidate{"r", id(0)}
	a := &announcing{t: t, w: calm()}
	a.w.Rules[0].Announce = 30 * time.Second
	a.w.Notices = Notices{Known: true, Of: map[Candidate]Notice{}}
	say := func(n Notice) func() { return func() { a.w.Notices.Of[key] = n } }
	for i, step := range []struct {
		before func()
		after  time.Duration
		want   Reason
	}{
		{nil, 0, Announced},
		{nil, 15 * time.Second, Announced},                                                              // not announced yet
		{say(Notice{}), 15 * time.Second, Announced},                                                    // announced from now on
		{nil, 15 * time.Second, Announced},                                                              //
		{func() { a.w.Data.Fresh = false }, 5 * time.Second, StaleSample},                               // one bad scrape does not restart it
		{func() { a.w.Data.Fresh = true }, 5 * time.Second, Announced},                                  //
		{say(Notice{Silences: []string{"s"}}), 5 * time.Second, Vetoed},                                 // at the last moment
		{nil, 15 * time.Second, Vetoed},                                                                 //
		{say(Notice{}), 10 * time.Second, Announced},                                                    // restarted
		{nil, 15 * time.Second, Announced},                                                              //
		{func() { a.w.Notices.Known = false }, 15 * time.Second, NoVetoAnswer},                          // due, without an answer
		{func() { a.w.Notices.Known = true }, time.Second, Chosen},                                      // 31 s
		{func() { a.w.Notices.Known = false }, 21 * time.Second, NoVetoAnswer},                          // too long without an answer
		{func() { a.w.Notices.Known = true }, 10 * time.Second, Announced},                              // restarted
		{nil, 15 * time.Second, Announced},                                                              //
		{func() { a.w.Answers[0].Samples[0].Value = 0; a.w.Budget = 0 }, 10 * time.Second, BudgetSpent}, // another rule kills
		{func() { a.w.Budget = 5 }, 5 * time.Second, Chosen},                                            // 30 s
	} {
		if step.before != nil {
			step.before()
		}
		if got := a.tick(step.after); got != step.want {
			t.Fatalf("step %d: %s, want %s; %+v", i, got, step.want, a.w.Memory.Announced)
		}
	}
}

// Of two that could each be spared alone only one is announced, and a veto for one
// leaves the other to the keep rule.
func TestAnnouncementsKeepOneOfEachKind(t *testing.T) {
	w := calm()
	w.Rules[0].Announce = 30 * time.Second
	w.Answers[0].Samples = append(w.Answers[0].Samples, sampleOf(w.Containers[1], 5))
	w.Notices.Known = true
	p := Decide(w)
	if p.Decisions[0].Reason != Announced || p.Decisions[1].Reason != LastOfKind || len(p.Pending) != 1 {
		t.Errorf("decisions = %+v", p.Decisions)
	}
	w.Notices.Of = map[Candidate]Notice{{"r", id(0)}: {Silences: []string{"s"}}}
	p = Decide(w)
	if p.Decisions[0].Reason != Vetoed || p.Decisions[1].Reason != Announced || len(p.Pending) != 2 {
		t.Errorf("with a veto: decisions = %+v", p.Decisions)
	}
}

// A rule without announce does not wait for one with it.
func TestAnotherRuleMayKillAnnounced(t *testing.T) {
	w := calm()
	w.Rules[0].Announce = 30 * time.Second
	w.Notices.Known = true
	w.Rules = append(w.Rules, Rule{Name: "second", MaxKills: 5, Mode: Live})
	w.Answers = append(w.Answers, w.Answers[0])
	if p := Decide(w); len(p.Victims) != 1 || p.Victims[0].Rule.Name != "second" {
		t.Errorf("plan = %+v", p)
	}
}

// Over the past there is no Alertmanager: an announcement is a wait.
func TestWaived(t *testing.T) {
	a := &announcing{t: t, w: calm()}
	a.w.Rules[0].Announce, a.w.Notices.Waived = 30*time.Second, true
	for i, want := range []Reason{Announced, Announced, Chosen} {
		if got := a.tick(15 * time.Second); got != want {
			t.Errorf("tick %d: %s, want %s", i, got, want)
		}
	}
}

// In any sequence of answers and other obstacles: Alertmanager held the announcement of
// a killed container, not inhibited and without a silence, at each tick with an answer
// for as long as announce, without a gap.
func TestNoKillWithoutAnnouncement(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := calm()
		w.Rules[0].Announce = 30 * time.Second
		w.Keep = nil
		key := Candidate{"r", id(0)}
		var heard time.Time // since when
		var answered time.Time
		for range rapid.IntRange(2, 40).Draw(t, "ticks") {
			d := time.Duration(rapid.IntRange(1, 15).Draw(t, "s")) * time.Second
			w.Now, w.Data.At = w.Now.Add(d), w.Data.At.Add(d)
			w.Data.Fresh = rapid.IntRange(0, 5).Draw(t, "fresh") > 0
			w.Answers[0].Unusable = rapid.IntRange(0, 9).Draw(t, "answer") == 0
			w.Budget = min(1, rapid.IntRange(0, 5).Draw(t, "budget"))
			wanted := rapid.IntRange(0, 9).Draw(t, "wanted") > 0
			w.Answers[0].Samples = nil
			if wanted {
				w.Answers[0].Samples = []Sample{sampleOf(w.Containers[0], 1)}
			}
			n := Notice{Inhibited: rapid.IntRange(0, 9).Draw(t, "inhibited") == 0}
			if rapid.IntRange(0, 9).Draw(t, "silenced") == 0 {
				n.Silences = []string{"s"}
			}
			w.Notices = Notices{Known: rapid.IntRange(0, 4).Draw(t, "known") > 0, Of: map[Candidate]Notice{}}
			there := rapid.IntRange(0, 9).Draw(t, "there") > 0
			if there && w.Notices.Known {
				w.Notices.Of[key] = n
			}
			p := Decide(w)
			// Ticks without an answer neither help nor hurt, unless they last.
			says := w.Data.Fresh && !w.Answers[0].Unusable
			silenced := w.Notices.Known && there && len(n.Silences) > 0
			switch {
			case silenced, says && !wanted, says && w.Notices.Known && (!there || n.Inhibited):
				heard = time.Time{}
			case says && w.Notices.Known && heard.IsZero():
				heard, answered = w.Data.At, w.Data.At
			}
			if len(p.Victims) > 0 && (heard.IsZero() || !w.Notices.Known || w.Data.At.Sub(heard) < 30*time.Second || w.Data.At.Sub(answered) > w.MaxGap) {
				t.Fatalf("killed at %s, told since %s, answered %s", w.Data.At, heard, answered)
			}
			if says && w.Notices.Known && !heard.IsZero() {
				answered = w.Data.At
			}
			w.Memory.Held, w.Memory.Announced = p.Held, maps.Clone(p.Announced)
		}
	})
}
