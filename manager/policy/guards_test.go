package policy

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
)

func without(reason Reason) []guard {
	var rest []guard
	for _, g := range guards() {
		if g.reason != reason {
			rest = append(rest, g)
		}
	}
	return rest
}

// passed notes that a kill of the first container's life was refused.
func passed(at, startedAt time.Time) Memory {
	m := NewMemory()
	m.Finish(End{Rule: "r", ID: id(0), StartedAt: startedAt, Mode: Live, At: at, PassOver: true})
	return m
}

// Passed lives of other containers, and expired ones, do not spare it.
func TestExpiredPassedLives(t *testing.T) {
	hour := epoch.Add(-time.Hour)
	for name, change := range map[string]func(*World){
		"passed over for long enough":           func(w *World) { w.Memory = passed(w.Now.Add(-PassOver), hour) },
		"passed over in another life":           func(w *World) { w.Memory = passed(w.Now.Add(-time.Minute), hour.Add(-time.Minute)) },
		"another rule's act under way":          func(w *World) { w.Rules[0].MaxKills, w.Memory.InFlight = 1, map[string]string{id(9): "other"} },
		"one of two acts under way":             func(w *World) { w.Rules[0].MaxKills, w.Memory.InFlight = 2, map[string]string{id(9): "r"} },
		"recorded from the snapshot itself":     func(w *World) { w.Answers[0].At = w.Data.At },
		"signalled itself, with another beside": func(w *World) { w.Containers[0].Signalled = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			change(&w)
			if p := Decide(w); len(p.Victims) != 1 {
				t.Errorf("victims = %+v, decisions %+v", p.Victims, p.Decisions)
			}
		})
	}
}

// A changed rule starts without state; others keep theirs.
func TestReplacedRuleForgets(t *testing.T) {
	m := NewMemory()
	m.Held, m.Announced = map[Candidate]Hold{}, map[Candidate]Announcement{}
	for _, rule := range []string{"r", "other"} {
		key := Candidate{rule, id(0)}
		m.Held[key], m.Announced[key] = Hold{}, Announcement{}
		m.Finish(End{Rule: rule, ID: id(0), StartedAt: epoch, Mode: Live, At: epoch, PassOver: true})
	}
	decision := m.At(epoch) // of a tick in progress: it reads its copy
	m.Replaced("r")
	if len(decision.Held) != 2 || len(decision.Announced) != 2 || len(decision.Passed) != 2 {
		t.Errorf("a reload changed the memory of a decision: %+v", decision)
	}
	for name, n := range map[string]int{"holds": len(m.Held), "announcements": len(m.Announced), "passed": len(m.Passed)} {
		if n != 1 {
			t.Errorf("%s: %d left, want the other rule's", name, n)
		}
	}
	if _, kept := m.Held[Candidate{"other", id(0)}]; !kept {
		t.Error("the wrong rule was forgotten")
	}
}

func TestCalmWorldKills(t *testing.T) {
	w := calm()
	p := Decide(w)
	if len(p.Victims) != 1 || p.Victims[0].Container.ID != w.Containers[0].ID {
		t.Fatalf("victims = %+v, want the first container", p.Victims)
	}
	if p.BudgetLeft != 4 {
		t.Errorf("budget left = %d, want 4", p.BudgetLeft)
	}
}

// Each case is a calm world with one fault. The guard must spare the container, and
// without the guard there must be the wrong kill: else the guard would be dead code, or
// its loss unseen.
func TestEachGuard(t *testing.T) {
	hour := epoch.Add(-time.Hour)
	cases := []struct {
		reason Reason
		name   string
		fault  func(*World)
	}{
		{ForeignRuntime, "another runtime runs it", func(w *World) { w.Answers[0].Samples[0].Measured.Runtime = container.Podman }},
		{ForeignRuntime, "the measured container only has the same short id", func(w *World) {
			w.Answers[0].Samples[0].Measured.ID = w.Containers[0].ID[:63] + "f"
		}},
		{ForeignRuntime, "it is in a pod of Kubernetes by its sample", func(w *World) { w.Answers[0].Samples[0].Measured.Kubernetes = true }},
		{ForeignRuntime, "it is in a pod of Kubernetes by its labels", func(w *World) { w.Keep = nil; w.Containers[0].Foreign = true }},
		{AlreadyGone, "two rules want the same container", func(w *World) {
			w.Keep = nil
			w.Rules = append(w.Rules, Rule{Name: "second", MaxKills: 5, Mode: Live})
			w.Answers = append(w.Answers, w.Answers[0])
		}},
		{NoData, "the value is NaN", func(w *World) { w.Answers[0].Samples[0].Value = math.NaN() }},
		{NoData, "the value is infinite", func(w *World) { w.Answers[0].Samples[0].Value = math.Inf(1) }},
		{NoData, "unknown start", func(w *World) {
			w.Containers[0].StartedAt = time.Time{} // not looked up yet
			w.Answers[0].Samples[0].Start = time.Time{}
		}},
		{NoData, "the container has two rows", func(w *World) {
			w.Rules[0].MaxKills = 1
			w.Answers[0].Samples = append(w.Answers[0].Samples, sampleOf(w.Containers[0], 99))
		}},
		{Transitional, "it is paused", func(w *World) { w.Keep = nil; w.Containers[0].State = InTransition }},
		{Transitional, "it is being killed", func(w *World) { w.Keep = nil; w.Containers[0].State = BeingKilled }},
		{OutOfScope, "it is not managed", func(w *World) { w.Keep = nil; w.Containers[0].InScope = false }},
		{Protected, "it is protected", func(w *World) { w.Containers[0].Protected = []Protection{ProtectedByLabelError} }},
		{UnknownKind, "it declares no kind, among others that declare none", func(w *World) {
			w.Containers[0].Kind, w.Containers[1].Kind = container.KindNone, container.KindNone
		}},
		{StaleSample, "the data are stale", func(w *World) { w.Data.Fresh = false }},
		{StaleSample, "its recorded series are stale", func(w *World) { w.Answers[0].Stale = true }},
		{LabelsUnknown, "the exporter does not know its labels", func(w *World) { w.Answers[0].Samples[0].LabelsKnown = false }},
		{SampleOlderThanLastKill, "the sample is older than the last kill", func(w *World) {
			w.Memory.LastLiveKill = w.Data.At.Add(time.Millisecond)
		}},
		{SampleOlderThanLastKill, "what it was recorded from is older than the last kill", func(w *World) {
			w.Memory.LastLiveKill = w.Data.At.Add(-2 * time.Second)
			w.Answers[0].At = w.Data.At.Add(-3 * time.Second)
		}},
		{SampleOlderThanLastKill, "the snapshot is the one that was acted on", func(w *World) {
			w.Memory.LastLiveKill, w.Memory.LastLiveSequence = w.Data.At.Add(-time.Minute), w.Data.Sequence
		}},
		{Restarted, "it was restarted since", func(w *World) {
			w.Containers[0].EndedAt, w.Containers[0].StartedAt = hour.Add(time.Millisecond), hour.Add(time.Second)
		}},
		{Restarted, "the sample is of a later life than the Engine knows", func(w *World) {
			w.Containers[0].EndedAt, w.Containers[0].StartedAt = hour.Add(-time.Minute), hour.Add(-11*time.Second)
		}},
		{Restarted, "it started after the snapshot", func(w *World) {
			w.Containers[0].StartedAt = w.Data.At.Add(time.Millisecond)
			w.Answers[0].Samples[0].Start = w.Data.At.Add(-time.Second)
		}},
		{WindowNotFilled, "its history is short", func(w *World) { w.Answers[0].Samples[0].WindowFilled = false }},
		{DryRunDone, "a dry run killed it before", func(w *World) {
			w.Keep = nil
			w.Rules[0].Mode = DryRun
			w.Memory.DryKilled = map[Candidate]time.Time{{"r", id(0)}: hour}
		}},
		{PassedOver, "an act on it was refused a minute ago", func(w *World) { w.Memory = passed(w.Now.Add(-time.Minute), hour) }},
		{PassedOver, "an act on it failed, and its life is not looked up yet", func(w *World) {
			w.Containers[0].StartedAt = time.Time{}
			w.Memory = passed(w.Now.Add(-time.Minute), hour)
		}},
		{ClockSet, "the clock was set", func(w *World) {
			w.Rules[0].Schedule = &Schedule{Location: time.UTC, Windows: []Window{{everyDay, 0, 24 * time.Hour}}}
			w.ClockSet = true
		}},
		{OutOfSchedule, "its window opens in a minute", func(w *World) {
			w.Rules[0].Schedule = &Schedule{Location: time.UTC, Windows: []Window{{everyDay, clockOf(12, 1), clockOf(13, 0)}}}
		}},
		{PendingFor, "it has not been wanted before", func(w *World) { w.Rules[0].For = 10 * time.Second }},
		{PendingFor, "it has been wanted on one sample over and over", func(w *World) {
			w.Rules[0].For = 10 * time.Second
			w.Memory.Held = map[Candidate]Hold{{"r", id(0)}: {Start: hour, First: w.Data.At, Last: w.Data.At}}
		}},
		{PendingFor, "it was wanted long ago, with a gap since", func(w *World) {
			w.Rules[0].For = 10 * time.Second
			w.Memory.Held = map[Candidate]Hold{{"r", id(0)}: {Start: hour, First: w.Data.At.Add(-time.Minute), Last: w.Data.At.Add(-30 * time.Second)}}
		}},
		{PendingFor, "it was wanted in an earlier life", func(w *World) {
			w.Rules[0].For = 10 * time.Second
			w.Memory.Held = map[Candidate]Hold{{"r", id(0)}: {
				Start: hour.Add(-time.Hour), First: w.Data.At.Add(-15 * time.Second),
				Last: w.Data.At.Add(-5 * time.Second),
			}}
		}},
		{CoolingDown, "the rule has just killed", func(w *World) {
			w.Rules[0].Cooldown = time.Minute
			w.Memory.LastKill = map[string]time.Time{"r": epoch.Add(-59 * time.Second)}
		}},
		{CoolingDown, "an act of the rule is under way", func(w *World) {
			w.Rules[0].Cooldown = time.Minute
			w.Memory.InFlight = map[string]string{id(9): "r"}
		}},
		{InFlight, "the rule's one act is under way", func(w *World) {
			w.Rules[0].MaxKills = 1
			w.Memory.InFlight = map[string]string{id(9): "r"}
		}},
		{InFlight, "acts under way and those of this tick use up max_kills", func(w *World) {
			w.Keep, w.Rules[0].MaxKills = nil, 3
			w.Answers[0].Samples = append(w.Answers[0].Samples, sampleOf(w.Containers[1], 9))
			w.Memory.InFlight = map[string]string{id(8): "r", id(9): "r"}
		}},
		{NoRelief, "five kills in a row did not help", func(w *World) {
			w.Rules[0].Relief = Relief{StopAfter: 5, ResumeAfter: time.Minute}
			w.Memory.ReliefState = map[string]ReliefState{"r": {Unrelieved: 5, StoppedAt: w.Now.Add(-59 * time.Second)}}
		}},
		{NoRelief, "the one try of a stopped rule is not measured yet", func(w *World) {
			w.Rules[0].Relief = Relief{StopAfter: 5, ResumeAfter: time.Minute}
			w.Memory.ReliefState = map[string]ReliefState{"r": {Unrelieved: 5, StoppedAt: w.Now.Add(-time.Hour), Rounds: []Round{{Open: 1}}}}
		}},
		{NoRelief, "four kills without relief, and a fifth not measured yet", func(w *World) {
			w.Rules[0].Relief = Relief{StopAfter: 5}
			w.Memory.ReliefState = map[string]ReliefState{"r": {Unrelieved: 4, Rounds: []Round{{Open: 1}}}}
		}},
		{NoRelief, "it resumes only when it is set to", func(w *World) {
			w.Rules[0].Relief = Relief{StopAfter: 1}
			w.Memory.ReliefState = map[string]ReliefState{"r": {Unrelieved: 1, StoppedAt: w.Now.Add(-24 * time.Hour)}}
		}},
		{NoRelief, "its pressure is not known", func(w *World) { w.Rules[0].Relief = Relief{By: ByQuery} }},
		{LastOfKind, "it is the last of its kind", func(w *World) { w.Containers[1].Kind = container.KindRAM }},
		{LastOfKind, "the other one is paused", func(w *World) { w.Containers[1].State = InTransition }},
		{LastOfKind, "the other one is dying", func(w *World) { w.Containers[1].State = BeingKilled }},
		{LastOfKind, "the other one was sent a signal", func(w *World) { w.Containers[1].Signalled = true }},
		{LastOfKind, "the other one is run by something else", func(w *World) { w.Containers[1].Foreign = true }},
		{LastOfKind, "the other one is out of scope", func(w *World) { w.Containers[1].InScope = false }},
		{UnknownGroup, "its image is unknown, and it may be the last of it", func(w *World) {
			w.Keep = []Keep{{By: "image", Min: 1}}
			w.Containers[1].Groups = []Group{{Known: true, Name: "nginx"}}
		}},
		{UnknownGroup, "one that may match is left, and its own name is unknown", func(w *World) {
			w.Keep = []Keep{{By: "name web-*", One: true, Min: 2}}
			w.Containers[1].Groups = []Group{{Known: true, Name: "web-*"}}
		}},
		{LastOfGroup, "it is the last of its image", func(w *World) { grouped(w, "nginx", "redis") }},
		{LastOfGroup, "the image of the other one is unknown", func(w *World) {
			grouped(w, "nginx", "nginx")
			w.Containers[1].Groups = nil
		}},
		{LastOfGroup, "the other one of its image is dying", func(w *World) {
			grouped(w, "nginx", "nginx")
			w.Containers[1].State = BeingKilled
		}},
		{LastOfGroup, "two are of its kind, one has its label", func(w *World) {
			w.Keep = append(w.Keep, Keep{By: "label:team", Min: 1})
			w.Containers[0].Groups = []Group{{}, {Known: true, Name: "blue"}}
			w.Containers[1].Groups = []Group{{}, {Known: true}}
		}},
		{BudgetSpent, "the tick's budget is spent", func(w *World) { w.Budget = 0 }},
		{BudgetSpent, "the rule's budget is spent", func(w *World) { w.Rules[0].MaxKills = 0 }},
		{KillsUnknown, "part of the audit log cannot be read", func(w *World) {
			w.Rules[0].MaxPerHour = 5
			w.Memory.Unread = w.Now.Add(-59 * time.Minute)
		}},
		{KillsUnknown, "there is a limit for all rules", func(w *World) {
			w.MaxPerHour = 5
			w.Memory.Unread = w.Now
		}},
		{HourlyBudgetSpent, "the rule has killed twice in an hour", func(w *World) {
			w.Rules[0].MaxPerHour = 2
			w.Memory.Kills = []PastKill{{"r", Live, w.Now.Add(-59 * time.Minute)}, {"other", Live, w.Now}, {"r", Live, w.Now.Add(-2 * time.Minute)}}
		}},
		{HourlyBudgetSpent, "all rules have", func(w *World) {
			w.MaxPerHour = 2
			w.Memory.Kills = []PastKill{{"other", Live, w.Now.Add(-59 * time.Minute)}, {"r", Live, w.Now.Add(-2 * time.Minute)}}
		}},
		{HourlyBudgetSpent, "one kill has ended, one is in flight", func(w *World) {
			w.Rules[0].MaxPerHour = 2
			w.Memory = NewMemory()
			w.Memory.Kills = []PastKill{{"r", Live, w.Now.Add(-2 * time.Minute)}}
			w.Memory.InFlight[id(7)] = "r"
		}},
		{HourlyBudgetSpent, "a kill of this tick is the last one", func(w *World) {
			w.Keep = nil
			w.Rules[0].MaxPerHour = 1
			w.Answers[0].Samples = append(w.Answers[0].Samples, sampleOf(w.Containers[1], 5))
		}},
		{HourlyBudgetSpent, "dry runs count for a dry run", func(w *World) {
			w.Rules[0].MaxPerHour, w.Rules[0].Mode = 1, DryRun
			w.Memory.Kills = []PastKill{{"r", DryRun, w.Now.Add(-2 * time.Minute)}}
		}},
		{NoVetoAnswer, "vetoes unknown", func(w *World) {
			longAnnounced(w)
			w.Notices.Known = false
		}},
		{Vetoed, "a silence matches", func(w *World) {
			longAnnounced(w)
			w.Notices.Of[Candidate{"r", id(0)}] = Notice{Silences: []string{"a silence"}}
		}},
		{Announced, "it was never announced", func(w *World) {
			longAnnounced(w)
			w.Memory.Announced = nil
		}},
		{Announced, "Alertmanager does not hold the announcement any more", func(w *World) {
			longAnnounced(w)
			w.Notices.Of = nil
		}},
		{Announced, "the announcement is inhibited", func(w *World) {
			longAnnounced(w)
			w.Notices.Of[Candidate{"r", id(0)}] = Notice{Inhibited: true}
		}},
		{Announced, "it was announced a second too late", func(w *World) {
			longAnnounced(w)
			w.Rules[0].Announce = 41 * time.Second // 40 have passed
		}},
		{Announced, "it was announced in an earlier life", func(w *World) {
			longAnnounced(w)
			a := w.Memory.Announced[Candidate{"r", id(0)}]
			a.Start = a.Start.Add(-time.Hour)
			w.Memory.Announced[Candidate{"r", id(0)}] = a
		}},
		{Announced, "there was a gap in between", func(w *World) {
			longAnnounced(w)
			a := w.Memory.Announced[Candidate{"r", id(0)}]
			a.Last = a.Since.Add(time.Second)
			w.Memory.Announced[Candidate{"r", id(0)}] = a
		}},
		{Announced, "a dry run waits as long as a live one", func(w *World) {
			longAnnounced(w)
			w.Rules[0].Mode, w.Notices, w.Memory.Announced = DryRun, Notices{}, nil
		}},
	}
	tried := map[Reason]bool{}
	for _, c := range cases {
		t.Run(string(c.reason)+": "+c.name, func(t *testing.T) {
			tried[c.reason] = true
			w := calm()
			c.fault(&w)
			guarded, open := Decide(w), decide(w, without(c.reason))
			if len(open.Victims) <= len(guarded.Victims) {
				t.Errorf("without the guard %d victims, with it %d: nothing depends on it here", len(open.Victims), len(guarded.Victims))
			}
			found := false
			for _, d := range guarded.Decisions {
				found = found || d.Reason == c.reason
			}
			if !found {
				t.Errorf("no decision gives the reason: %+v", guarded.Decisions)
			}
		})
	}
	for _, r := range Guards() {
		if !tried[r] {
			t.Errorf("guard %s has no case", r)
		}
	}
}

// Prometheus returns containers that are gone.
func TestGoneContainerIsNamedAsSuch(t *testing.T) {
	w := calm()
	w.Containers = w.Containers[1:]
	if p := Decide(w); len(p.Victims) != 0 || p.Decisions[0].Reason != AlreadyGone {
		t.Errorf("plan = %+v", p)
	}
}

func TestUnusableAnswerKillsNothing(t *testing.T) {
	w := calm()
	w.Answers[0].Unusable = true
	if p := Decide(w); len(p.Victims) != 0 || p.Decisions[0].Reason != NoData {
		t.Errorf("plan = %+v", p)
	}
}

// Two rules that may each kill one of two must leave one.
func TestTwoRulesLeaveTheLast(t *testing.T) {
	w := calm()
	w.Rules = append(w.Rules, Rule{Name: "second", MaxKills: 5, Mode: Live})
	w.Answers = append(w.Answers, Answer{Samples: []Sample{sampleOf(w.Containers[1], 5)}})
	p := Decide(w)
	if len(p.Victims) != 1 || p.Decisions[1].Reason != LastOfKind {
		t.Errorf("plan = %+v", p)
	}
}

func TestForPassesOnDistinctSnapshots(t *testing.T) {
	w := calm()
	w.Rules[0].For = 10 * time.Second
	first := w.Data.At
	for i, want := range []int{0, 0, 0, 1} {
		step := []time.Duration{0, 5 * time.Second, 5 * time.Second, 10 * time.Second}[i]
		w.Data.At = first.Add(step)
		w.Now = w.Data.At.Add(time.Second)
		p := Decide(w)
		if len(p.Victims) != want {
			t.Errorf("after %s: %d victims, want %d", step, len(p.Victims), want)
		}
		if want == 0 {
			if wait := p.Decisions[0].Wait; wait != 10*time.Second-step {
				t.Errorf("after %s: wait %s", step, wait)
			}
		}
		w.Memory.Held = p.Held
	}
}

func TestHighestValueIsKilledFirst(t *testing.T) {
	w := calm()
	w.Keep, w.Budget = nil, 2
	c := w.Containers[0]
	w.Containers = nil
	w.Answers[0].Samples = nil
	for i, v := range []float64{3, math.NaN(), 9, 5} {
		c.ID = id(i)
		w.Containers = append(w.Containers, c)
		w.Answers[0].Samples = append(w.Answers[0].Samples, sampleOf(c, v))
	}
	p := Decide(w)
	if len(p.Victims) != 2 || p.Victims[0].Value != 9 || p.Victims[1].Value != 5 {
		t.Errorf("victims = %+v", p.Victims)
	}
}

func TestShortAndAmbiguousIDs(t *testing.T) {
	w := calm()
	w.Containers[1].ID = w.Containers[0].ID[:20] + "f" + w.Containers[0].ID[21:]
	for _, prefix := range []string{"", "0", w.Containers[0].ID[:11], w.Containers[0].ID[:12]} {
		w.Answers[0].Samples[0].ID = prefix
		if p := Decide(w); len(p.Victims) != 0 {
			t.Errorf("id %q killed %+v", prefix, p.Victims)
		}
	}
	w.Answers[0].Samples[0].ID = w.Containers[0].ID
	if p := Decide(w); len(p.Victims) != 1 {
		t.Error("the full id found no container")
	}
}

// TestSlowCreationIsNoRestart: on a busy host there is a long time between the start of
// the init process and the runtime's report to the Engine, and clocks are set.
func TestSlowCreationIsNoRestart(t *testing.T) {
	for name, change := range map[string]func(*Container, *Sample){
		"created for a minute":            func(c *Container, s *Sample) { s.Start = c.StartedAt.Add(-time.Minute) },
		"the clock went forth in between": func(c *Container, s *Sample) { s.Start = c.StartedAt.Add(time.Hour) },
		"restarted, created for a minute": func(c *Container, s *Sample) {
			s.Start, c.EndedAt = c.StartedAt.Add(-time.Minute), c.StartedAt.Add(-61*time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			change(&w.Containers[0], &w.Answers[0].Samples[0])
			for _, v := range Decide(w).Victims {
				if v.Container.ID == w.Containers[0].ID {
					return
				}
			}
			t.Errorf("not killed: %+v", Decide(w))
		})
	}
}

// A rule with all of a kind as candidates must leave what keep requires.
func TestOneRuleLeavesTheLast(t *testing.T) {
	w := calm()
	w.Containers, w.Answers = nil, []Answer{{}}
	for i := range 5 {
		c := Container{ID: id(i), Kind: container.KindCPU, InScope: true, StartedAt: epoch.Add(-time.Hour)}
		w.Containers = append(w.Containers, c)
		w.Answers[0].Samples = append(w.Answers[0].Samples, sampleOf(c, float64(9-i)))
	}
	w.Keep[0].Min = 2
	p := Decide(w)
	if len(p.Victims) != 3 || p.Decisions[3].Reason != LastOfKind || p.Decisions[4].Reason != LastOfKind {
		t.Errorf("%d victims of 5, want 3: %+v", len(p.Victims), p.Decisions)
	}
}

// A candidate that the Engine does not list runs elsewhere, or is gone; it counts for no
// keep rule.
func TestUnlistedCandidates(t *testing.T) {
	for name, c := range map[string]struct {
		m    Measured
		want Reason
	}{
		"nothing known":                     {Measured{}, AlreadyGone},
		"the Engine's":                      {Measured{Runtime: container.Docker}, AlreadyGone},
		"of Kata Containers":                {Measured{Runtime: container.Kata}, AlreadyGone},
		"another runtime's":                 {Measured{Runtime: container.CRIO}, ForeignRuntime},
		"in a pod of Kubernetes":            {Measured{Kubernetes: true}, ForeignRuntime},
		"ran while the Engine lacked it":    {Measured{Runtime: container.Docker, Elsewhere: true}, ForeignRuntime},
		"another runtime's, with a full id": {Measured{ID: id(7), Name: "web", Runtime: container.Podman}, ForeignRuntime},
	} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			foreign := sampleOf(Container{ID: id(7)}, 50)
			foreign.Measured = c.m
			foreign.Measured.Kind = container.KindCPU
			w.Containers = w.Containers[:1]
			w.Answers[0].Samples = append(w.Answers[0].Samples, foreign)
			p := Decide(w)
			first, second := p.Decisions[0], p.Decisions[1]
			want := Container{ID: id(7)[:container.ShortIDLength]}
			if c.want == ForeignRuntime {
				want = Container{ID: want.ID, Name: c.m.Name, Kind: container.KindCPU, Runtime: c.m.Runtime, Foreign: true}
			}
			if first.Reason != c.want || !reflect.DeepEqual(first.Container, want) {
				t.Errorf("decision: %+v, want %s", first, c.want)
			}
			if len(p.Victims) != 0 || second.Reason != LastOfKind {
				t.Errorf("of the only container of its kind: %+v", second)
			}
		})
	}
}
