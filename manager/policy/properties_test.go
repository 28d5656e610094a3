package policy

import (
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/estiba/estiba/internal/container"
)

// faults lists the invariants that a plan breaks. It computes everything from the world
// and shares no code with the decision.
func faults(w World, p Plan) []string {
	var wrong []string
	say := func(bad bool, what string) {
		if bad {
			wrong = append(wrong, what)
		}
	}
	byID := map[string]Container{}
	for _, c := range w.Containers {
		byID[c.ID] = c
	}
	index := map[string]int{}
	for i, r := range w.Rules {
		index[r.Name] = i
	}
	dead := map[string]bool{}
	perRule := map[string]int{}
	for _, v := range p.Victims {
		c, listed := byID[v.Container.ID]
		say(!listed, "a victim that does not run")
		say(c.State != Running, "a victim that is paused or dying")
		say(!c.InScope, "a victim out of scope")
		say(c.Foreign, "a victim that something else runs")
		say(len(c.Protected) > 0, "a protected victim")
		say(keepsKinds(w.Keep) && c.Kind == container.KindNone, "a victim of unknown kind under a keep rule")
		say(!w.Data.Fresh, "a kill on stale data")
		say(math.IsNaN(v.Value) || math.IsInf(v.Value, 0), "a kill on a value that is no number")
		say(!c.StartedAt.IsZero() && c.StartedAt.After(w.Data.At), "a victim that started after the sample")
		if !w.Memory.LastLiveKill.IsZero() {
			say(!w.Data.At.After(w.Memory.LastLiveKill), "a kill on a sample from before the last act")
			at := w.Answers[index[v.Rule.Name]].At
			say(!at.IsZero() && !at.After(w.Memory.LastLiveKill), "a kill on what was recorded before the last act")
			say(w.Data.Sequence == w.Memory.LastLiveSequence, "a second kill on one snapshot")
		}
		i := index[v.Rule.Name]
		if r, done := v.Rule.Relief, w.Memory.ReliefState[v.Rule.Name]; v.Rule.Mode == Live {
			say(r.By == ByQuery && !w.Answers[i].ReliefValueKnown, "a kill with an unknown relief value")
			row, unknown, stopped := done.Unrelieved, len(done.Rounds), done.StoppedAt
			for _, m := range p.Measured {
				if m.Rule != v.Rule.Name {
					continue
				}
				unknown--
				if row++; m.Relieved {
					row = 0
				} else if row >= r.StopAfter {
					stopped = w.Now
				}
			}
			rested := unknown == 0 && r.ResumeAfter > 0 && !w.Now.Before(stopped.Add(r.ResumeAfter))
			say(r.StopAfter > 0 && row+unknown >= r.StopAfter && !rested, "a kill by a rule that has stopped itself")
		}
		say(w.Answers[i].Unusable, "a kill on an unusable answer")
		say(w.Answers[i].Stale, "a kill on stale recordings")
		refused, passed := w.Memory.Passed[Candidate{v.Rule.Name, c.ID}]
		say(passed && w.Now.Sub(refused.At) < PassOver && (refused.StartedAt.IsZero() || c.StartedAt.IsZero() || refused.StartedAt.Equal(c.StartedAt)),
			"a kill of one that is passed over")
		rows := 0
		for _, s := range w.Answers[i].Samples {
			if len(s.ID) >= container.ShortIDLength && len(s.ID) <= len(c.ID) && c.ID[:len(s.ID)] == s.ID {
				rows++
				say(!s.WindowFilled, "a kill on a window that is not filled")
				say(s.Measured.ID != "" && s.Measured.ID != c.ID, "a kill on the sample of another container")
				say(s.Measured.Runtime == container.Podman || s.Measured.Kubernetes, "a kill of one that another runtime runs")
				say(!s.LabelsKnown, "a kill of one whose labels the exporter does not know")
				say(s.Start.IsZero(), "a kill of a life without measurements")
				say(!c.EndedAt.IsZero() && s.Start.Before(c.EndedAt), "a victim of the life before")
				say(!c.EndedAt.IsZero() && s.Start.After(c.StartedAt.Add(StartTolerance)), "a victim of a later life")
			}
		}
		say(rows != 1, "a victim without exactly one row")
		if s := v.Rule.Schedule; s != nil {
			say(w.ClockSet, "a kill by a schedule with a clock that was set")
			say(!minutes(s.Windows)[w.Now.In(s.Location).Format("Mon 15:04")], "a kill outside of the schedule")
		}
		last, killed := w.Memory.LastKill[v.Rule.Name]
		say(killed && w.Now.Sub(last) < v.Rule.Cooldown, "a kill within the cooldown")
		inFlightKills := 0
		for _, rule := range w.Memory.InFlight {
			if rule == v.Rule.Name {
				inFlightKills++
			}
		}
		say(inFlightKills > 0 && v.Rule.Cooldown > 0, "a kill beside one whose cooldown has not begun")
		if v.Rule.For > 0 {
			h := p.Held[Candidate{v.Rule.Name, c.ID}]
			say(h.Last.Sub(h.First) < v.Rule.For || (!h.Last.Equal(w.Data.At) && !h.Last.Equal(w.Answers[i].At)), "a kill before the rule's for has passed")
		}
		if v.Rule.Announce > 0 && v.Rule.Mode == Live {
			n, told := w.Notices.Of[Candidate{v.Rule.Name, c.ID}]
			a := w.Memory.Announced[Candidate{v.Rule.Name, c.ID}]
			say(!w.Notices.Known, "a kill with unknown vetoes")
			say(len(n.Silences) > 0, "a kill against a veto")
			say(!told || n.Inhibited || a.Since.IsZero() || w.Data.At.Sub(a.Since) < v.Rule.Announce || w.Data.At.Sub(a.Last) > w.MaxGap,
				"a kill that was not announced for long enough")
		}
		if v.Rule.Mode == Live {
			say(dead[c.ID], "one container killed twice")
			dead[c.ID] = true
		}
		perRule[v.Rule.Name]++
		say(perRule[v.Rule.Name]+inFlightKills > v.Rule.MaxKills, "more kills than max_kills, with those under way")
	}
	say(len(dead) > w.Budget, "more kills than max_kills_per_tick")
	for _, wrong := range tooManyInAnHour(w, p) {
		say(true, wrong)
	}
	say(p.BudgetLeft != max(0, w.Budget-len(dead)), "a wrong budget")
	for _, m := range p.Measured {
		say(math.IsNaN(m.Ratio) || math.IsInf(m.Ratio, 0), "a relief that is no number")
		say(!w.Data.Fresh, "a relief measured on stale data")
		for _, r := range w.Memory.ReliefState[m.Rule].Rounds {
			say(r.ID == m.Round && (r.Open > 0 || !w.Data.At.After(r.Ended.Add(w.Rules[index[m.Rule]].Relief.After))), "a relief measured too early")
		}
	}
	wrong = append(wrong, brokenKeeps(w, dead)...)
	// Each container and each usable sample has a reason.
	known := map[Reason]bool{Chosen: true, NotSelected: true}
	for _, r := range Guards() {
		known[r] = true
	}
	said := map[string]bool{}
	for _, d := range p.Decisions {
		said[d.Container.ID] = true
		say(!known[d.Reason], "a reason outside the vocabulary: "+string(d.Reason))
		say((d.Choice == Kill) != (d.Reason == Chosen), "a choice that its reason contradicts")
	}
	for _, c := range w.Containers {
		say(!said[c.ID], "a container without a decision")
	}
	return wrong
}

// tooManyInAnHour checks the live kills of a plan against the limits per hour.
func tooManyInAnHour(w World, p Plan) (wrong []string) {
	hour := map[string]int{} // by rule; "" is all
	for _, k := range w.Memory.Kills {
		if k.Mode == Live && w.Now.Sub(k.At) < time.Hour {
			hour[k.Rule]++
			hour[""]++
		}
	}
	for _, rule := range w.Memory.InFlight {
		hour[rule]++
		hour[""]++
	}
	for _, v := range p.Victims {
		if v.Rule.Mode != Live {
			continue
		}
		hour[v.Rule.Name]++
		hour[""]++
		limited := v.Rule.MaxPerHour > 0 || w.MaxPerHour > 0
		if limited && !w.Memory.Unread.IsZero() && w.Now.Sub(w.Memory.Unread) < time.Hour {
			wrong = append(wrong, "a kill with kills of the hour that are not known")
		}
		if v.Rule.MaxPerHour > 0 && hour[v.Rule.Name] > v.Rule.MaxPerHour || w.MaxPerHour > 0 && hour[""] > w.MaxPerHour {
			wrong = append(wrong, "more kills than max_kills_per_hour")
		}
	}
	return wrong
}

func keepsKinds(keep []Keep) bool {
	return slices.ContainsFunc(keep, func(k Keep) bool { return k.By == "" })
}

// groupOf is the group of c under the i-th keep rule, "?" if it is unknown, "" if it is
// in none.
func groupOf(c Container, i int, k Keep) string {
	switch {
	case k.By == "" && c.Kind == container.KindNone:
		return "?"
	case k.By == "":
		return string(c.Kind)
	case i >= len(c.Groups) || !c.Groups[i].Known:
		return "?"
	}
	return c.Groups[i].Name
}

// brokenKeeps lists the keep rules that the deaths of a tick break.
func brokenKeeps(w World, dead map[string]bool) (wrong []string) {
	for i, keep := range w.Keep {
		left := map[string]int{}
		for _, c := range w.Containers {
			if c.InScope && !c.Foreign && c.State == Running && !c.Signalled && !dead[c.ID] {
				left[groupOf(c, i, keep)]++
			}
		}
		for _, c := range w.Containers {
			group := groupOf(c, i, keep)
			switch {
			case !dead[c.ID] || group == "":
			case group == "?" && !keep.One:
				wrong = append(wrong, "a victim that may be of any group")
			case group == "?" && left["web-*"] < keep.Min:
				wrong = append(wrong, "a victim that may be of the only group")
			case group != "?" && left[group] < keep.Min:
				wrong = append(wrong, "fewer of a group than promised")
			}
		}
	}
	return wrong
}

func TestInvariants(t *testing.T) {
	kills := 0
	rapid.Check(t, func(t *rapid.T) {
		w := worlds().Draw(t, "world")
		p := Decide(w)
		kills += len(p.Victims)
		for _, wrong := range faults(w, p) {
			t.Error(wrong)
		}
		if again := Decide(w); !reflect.DeepEqual(again.Victims, p.Victims) {
			t.Error("the same world gave another plan")
		}
	})
	if kills == 0 {
		t.Error("no world had a victim: the property was never tried")
	}
}

// The invariants must be able to fail: without any one guard, some world breaks them.
// (dry_run_done only keeps a dry run from repeating itself.)
func TestInvariantsNoticeEachMissingGuard(t *testing.T) {
	generator := worlds()
	for _, reason := range Guards() {
		if reason == DryRunDone {
			continue
		}
		rest, noticed := without(reason), false
		for seed := 0; seed < 60000 && !noticed; seed++ {
			w := generator.Example(seed)
			noticed = len(faults(w, decide(w, rest))) > 0
		}
		if !noticed {
			t.Errorf("no world in 60000 shows that guard %s is missing", reason)
		}
	}
}

// The decision of a dry run never changes live kills.
func TestDryRunsDoNotAffectLiveKills(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := worlds().Draw(t, "world")
		live := func(w World) (ids []string) {
			for _, v := range Decide(w).Victims {
				if v.Rule.Mode == Live {
					ids = append(ids, v.Rule.Name+" "+v.Container.ID)
				}
			}
			return ids
		}
		with := live(w)
		without := w
		without.Rules, without.Answers = nil, nil
		for i, r := range w.Rules {
			if r.Mode == Live {
				without.Rules = append(without.Rules, r)
				without.Answers = append(without.Answers, w.Answers[i])
			}
		}
		if got := live(without); !reflect.DeepEqual(got, with) {
			t.Errorf("live kills with dry-run rules %v, without them %v", with, got)
		}
	})
}

// Decide must not change the given memory: it is called again after lookups.
func TestDecideChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := worlds().Draw(t, "world")
		held := map[Candidate]Hold{}
		for k, v := range w.Memory.Held {
			held[k] = v
		}
		Decide(w)
		if !reflect.DeepEqual(held, w.Memory.Held) {
			t.Error("Decide changed the holds of the world")
		}
	})
}
