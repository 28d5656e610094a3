package policy

import (
	"fmt"
	"math"
	"time"

	"pgregory.net/rapid"

	"github.com/estiba/estiba/internal/container"
)

var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// id is a readable container id.
func id(n int) string { return fmt.Sprintf("%012x%052x", n+1, 0) }

// calm is a world in which the rule may kill the first of two cpu containers, and no
// guard spares it.
func calm() World {
	w := World{
		Now:    epoch,
		Engine: container.Docker,
		Data:   Data{Fresh: true, At: epoch.Add(-time.Second), Sequence: "7"},
		Keep:   []Keep{{Min: 1}},
		Budget: 5,
		MaxGap: 20 * time.Second,
		Rules:  []Rule{{Name: "r", MaxKills: 5, Mode: Live, Action: "remove"}},
	}
	for i := range 2 {
		w.Containers = append(w.Containers, Container{
			ID: id(i), Name: fmt.Sprintf("c%d", i), Kind: container.KindCPU, InScope: true, StartedAt: epoch.Add(-time.Hour),
		})
	}
	w.Answers = []Answer{{Samples: []Sample{sampleOf(w.Containers[0], 10)}}}
	return w
}

func sampleOf(c Container, value float64) Sample {
	return Sample{ID: c.ID[:container.ShortIDLength], Value: value, Start: epoch.Add(-time.Hour), WindowFilled: true, LabelsKnown: true, Measured: Measured{ID: c.ID, Runtime: container.Docker}}
}

// worlds draws worlds with any faults.
func worlds() *rapid.Generator[World] {
	return rapid.Custom(func(t *rapid.T) World {
		n := rapid.IntRange(0, 12).Draw(t, "containers")
		w := World{
			Now:    epoch,
			Engine: container.Docker,
			MaxGap: 20 * time.Second,
			Budget: rapid.IntRange(0, 6).Draw(t, "budget"),
			Data: Data{
				Fresh:    rapid.IntRange(0, 9).Draw(t, "fresh") > 0,
				At:       epoch.Add(-time.Duration(rapid.IntRange(0, 30).Draw(t, "age")) * time.Second),
				Sequence: fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "sequence")),
			},
			Memory: NewMemory(),
		}
		if rapid.IntRange(0, 3).Draw(t, "limited") == 0 {
			w.MaxPerHour = rapid.IntRange(1, 6).Draw(t, "per hour")
		}
		for range rapid.SampledFrom([]int{0, 0, 1, 4}).Draw(t, "past kills") {
			w.Memory.Kills = append(w.Memory.Kills, PastKill{
				Rule: rapid.SampledFrom([]string{"r0", "r1"}).Draw(t, "past rule"), Mode: rapid.SampledFrom([]Mode{Live, Live, DryRun}).Draw(t, "past mode"),
				At: epoch.Add(-time.Duration(rapid.IntRange(0, 90).Draw(t, "past")) * time.Minute),
			})
		}
		if rapid.IntRange(0, 4).Draw(t, "unread") == 0 {
			w.Memory.Unread = epoch.Add(-time.Duration(rapid.IntRange(0, 90).Draw(t, "unread ago")) * time.Minute)
		}
		w.ClockSet = rapid.IntRange(0, 4).Draw(t, "clock set") == 0
		w.Memory.Held = map[Candidate]Hold{}
		w.Keep = drawKeep(t)
		starts := []time.Time{{}, epoch.Add(-time.Hour), epoch.Add(-time.Hour - 5*time.Second), epoch.Add(-time.Minute), epoch.Add(-time.Second)}
		for i := range n {
			c := Container{
				ID: id(i), Name: fmt.Sprintf("c%d", i),
				Kind:      rapid.SampledFrom(append(container.Kinds(), container.KindNone)).Draw(t, "kind"),
				State:     rapid.SampledFrom([]State{Running, Running, Running, InTransition, BeingKilled}).Draw(t, "state"),
				InScope:   rapid.IntRange(0, 3).Draw(t, "scope") > 0,
				Foreign:   rapid.IntRange(0, 9).Draw(t, "foreign") == 0,
				StartedAt: rapid.SampledFrom(starts).Draw(t, "started"),
			}
			if !c.StartedAt.IsZero() && rapid.Bool().Draw(t, "lived before") {
				c.EndedAt = c.StartedAt.Add(-rapid.SampledFrom([]time.Duration{time.Millisecond, 10 * time.Second, time.Hour}).Draw(t, "ended"))
			}
			c.Signalled = rapid.IntRange(0, 5).Draw(t, "signalled") == 0
			if rapid.IntRange(0, 4).Draw(t, "protected") == 0 {
				c.Protected = []Protection{ProtectedByLabel}
			}
			c.Groups = drawGroups(t, w.Keep)
			w.Containers = append(w.Containers, c)
		}
		if rapid.IntRange(0, 3).Draw(t, "acted") == 0 {
			w.Memory.LastLiveKill = epoch.Add(-time.Duration(rapid.IntRange(0, 20).Draw(t, "act")) * time.Second)
			w.Memory.LastLiveSequence = fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "act sequence"))
		}
		for r := range rapid.IntRange(1, 3).Draw(t, "rules") {
			rule := Rule{
				Name:     fmt.Sprintf("r%d", r),
				For:      rapid.SampledFrom([]time.Duration{0, 0, 10 * time.Second}).Draw(t, "for"),
				Cooldown: rapid.SampledFrom([]time.Duration{0, 0, time.Minute}).Draw(t, "cooldown"),
				MaxKills: rapid.IntRange(1, 6).Draw(t, "max kills"),
				Mode:     rapid.SampledFrom([]Mode{Live, Live, DryRun}).Draw(t, "mode"),
			}
			if rapid.IntRange(0, 4).Draw(t, "killed before") == 0 {
				w.Memory.LastKill[rule.Name] = epoch.Add(-time.Duration(rapid.IntRange(0, 90).Draw(t, "killed")) * time.Second)
			}
			if rapid.IntRange(0, 3).Draw(t, "scheduled") == 0 {
				rule.Schedule = &Schedule{Location: time.UTC, Windows: []Window{{
					Days: everyDay, From: clockOf(rapid.IntRange(11, 13).Draw(t, "from"), 0), To: clockOf(rapid.IntRange(12, 14).Draw(t, "to"), 30),
				}}}
			}
			if rapid.IntRange(0, 3).Draw(t, "rule limited") == 0 {
				rule.MaxPerHour = rapid.IntRange(1, 6).Draw(t, "rule per hour")
			}
			w.Rules = append(w.Rules, rule)
			for i := range rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(t, "in flight") {
				w.Memory.InFlight[id(100*(r+1)+i)] = rule.Name
			}
			a := Answer{Unusable: rapid.IntRange(0, 9).Draw(t, "unusable") == 0, Stale: rapid.IntRange(0, 9).Draw(t, "stale") == 0}
			if rapid.IntRange(0, 4).Draw(t, "recorded") == 0 {
				a.At = w.Data.At.Add(-time.Duration(rapid.IntRange(-1, 15).Draw(t, "recorded ago")) * time.Second)
			}
			for range rapid.IntRange(0, n+3).Draw(t, "rows") {
				i := rapid.IntRange(0, n+1).Draw(t, "of") // some do not exist
				s := Sample{
					ID:           id(i)[:rapid.SampledFrom([]int{0, 3, 12, 12, 12, 64}).Draw(t, "prefix")],
					Value:        rapid.SampledFrom([]float64{0, 1, 2, 3, -1, math.NaN(), math.Inf(1), math.Inf(-1)}).Draw(t, "value"),
					Start:        rapid.SampledFrom(starts).Draw(t, "sample start"),
					WindowFilled: rapid.IntRange(0, 5).Draw(t, "window") > 0,
					LabelsKnown:  rapid.IntRange(0, 5).Draw(t, "labels known") > 0,
					Measured: Measured{
						ID:         rapid.SampledFrom([]string{"", id(i), id(i), id(i)[:63] + "f"}).Draw(t, "full id"),
						Runtime:    rapid.SampledFrom([]string{"", container.Docker, container.Docker, container.Kata, container.Podman}).Draw(t, "runtime"),
						Kubernetes: rapid.IntRange(0, 9).Draw(t, "kubernetes") == 0,
						Elsewhere:  rapid.IntRange(0, 9).Draw(t, "elsewhere") == 0,
					},
				}
				a.Samples = append(a.Samples, s)
				if rapid.Bool().Draw(t, "held") {
					last := epoch.Add(-time.Duration(rapid.IntRange(0, 40).Draw(t, "held last")) * time.Second)
					w.Memory.Held[Candidate{rule.Name, id(i)}] = Hold{
						Start: s.Start, Last: last, First: last.Add(-time.Duration(rapid.IntRange(0, 40).Draw(t, "held for")) * time.Second),
					}
				}
				if rapid.IntRange(0, 9).Draw(t, "passed over") == 0 {
					w.Memory.Finish(End{
						Rule: rule.Name, ID: id(i), Mode: Live, PassOver: true, StartedAt: rapid.SampledFrom(starts).Draw(t, "passed life"),
						At: epoch.Add(-time.Duration(rapid.IntRange(0, 600).Draw(t, "passed")) * time.Second),
					})
				}
				if rapid.IntRange(0, 9).Draw(t, "dry killed") == 0 {
					w.Memory.DryKilled[Candidate{rule.Name, id(i)}] = starts[1]
				}
			}
			if rapid.IntRange(0, 3).Draw(t, "relief") == 0 {
				w.Rules[r].Relief = reliefs().Draw(t, "relief of the rule")
				w.Memory.ReliefState[rule.Name] = reliefState(w).Draw(t, "reliefState")
				a.ReliefValue = rapid.Float64Range(-5, 5).Draw(t, "pressure")
				a.ReliefValueKnown = rapid.IntRange(0, 3).Draw(t, "pressure known") > 0
			}
			w.Answers = append(w.Answers, a)
		}
		if rapid.IntRange(0, 3).Draw(t, "tame") > 0 {
			tame(&w)
		}
		announce(t, &w)
		return w
	})
}

// drawKeep draws keep rules: none or one by kind, and seldom others.
func drawKeep(t *rapid.T) (list []Keep) {
	if rapid.Bool().Draw(t, "keep kinds") {
		list = append(list, Keep{Min: rapid.IntRange(1, 3).Draw(t, "min")})
	}
	if rapid.IntRange(0, 3).Draw(t, "keep others") > 0 {
		return list
	}
	for _, by := range []string{"image", "label:team", "name web-*"} {
		if rapid.Bool().Draw(t, "keep "+by) {
			list = append(list, Keep{By: by, One: by == "name web-*", Min: rapid.IntRange(1, 3).Draw(t, "min")})
		}
	}
	return list
}

// drawGroups draws the groups of a container: one, another, none, or unknown.
func drawGroups(t *rapid.T, keep []Keep) (list []Group) {
	for _, k := range keep {
		names := []string{"a", "a", "b", ""}
		if k.One {
			names = []string{"web-*", ""}
		}
		g := Group{Known: rapid.IntRange(0, 5).Draw(t, "known") > 0}
		if g.Known {
			g.Name = rapid.SampledFrom(names).Draw(t, "group")
		}
		list = append(list, g)
	}
	if len(list) > 0 && rapid.IntRange(0, 9).Draw(t, "missing") == 0 {
		list = list[:len(list)-1] // a missing one is unknown
	}
	return list
}

// announce draws announcements for the rules of a world, and Alertmanager's answer.
func announce(t *rapid.T, w *World) {
	w.Memory.Announced = map[Candidate]Announcement{}
	w.Notices = Notices{Known: rapid.IntRange(0, 4).Draw(t, "notices known") > 0, Of: map[Candidate]Notice{}}
	for i := range w.Rules {
		if rapid.IntRange(0, 2).Draw(t, "announces") > 0 {
			continue
		}
		w.Rules[i].Announce = 30 * time.Second
		for _, c := range w.Containers {
			key := Candidate{w.Rules[i].Name, c.ID}
			n := Notice{Inhibited: rapid.IntRange(0, 9).Draw(t, "inhibited") == 0}
			if rapid.IntRange(0, 4).Draw(t, "silenced") == 0 {
				n.Silences = []string{"s"}
			}
			if rapid.IntRange(0, 9).Draw(t, "held by alertmanager") > 0 {
				w.Notices.Of[key] = n
			}
			a := Announcement{Start: epoch.Add(-time.Hour), Last: w.Data.At.Add(-time.Duration(rapid.IntRange(0, 25).Draw(t, "last")) * time.Second)}
			if rapid.IntRange(0, 4).Draw(t, "told") > 0 {
				a.Since = a.Last.Add(-time.Duration(rapid.IntRange(0, 60).Draw(t, "since")) * time.Second)
			}
			w.Memory.Announced[key] = a
		}
	}
}

func reliefs() *rapid.Generator[Relief] {
	return rapid.Custom(func(t *rapid.T) Relief {
		return Relief{
			By:          rapid.SampledFrom([]ReliefBy{ByCount, BySum, ByQuery}).Draw(t, "by"),
			AtLeast:     rapid.SampledFrom([]float64{0, 0.1, 1}).Draw(t, "at least"),
			After:       rapid.SampledFrom([]time.Duration{0, 0, 10 * time.Second}).Draw(t, "after"),
			StopAfter:   rapid.IntRange(0, 3).Draw(t, "stop after"),
			ResumeAfter: rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "resume after"),
		}
	})
}

// reliefState draws a rule's relief state in the world w.
func reliefState(w World) *rapid.Generator[ReliefState] {
	return rapid.Custom(func(t *rapid.T) ReliefState {
		s := ReliefState{
			Unrelieved: rapid.IntRange(0, 4).Draw(t, "unrelieved"),
			StoppedAt:  epoch.Add(-time.Duration(rapid.IntRange(0, 90).Draw(t, "stopped")) * time.Second),
		}
		for i := range rapid.IntRange(0, 2).Draw(t, "rounds") {
			r := Round{
				ID: uint64(i + 1), Open: rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "open"), Total: rapid.Float64Range(-5, 5).Draw(t, "total"),
				Ended: epoch.Add(-time.Duration(rapid.IntRange(0, 60).Draw(t, "ended")) * time.Second),
			}
			for _, c := range w.Containers {
				r.Candidates = append(r.Candidates, RoundCandidate{
					ID: c.ID, Name: c.Name, Kind: c.Kind, Start: epoch.Add(-time.Hour), Killed: rapid.Bool().Draw(t, "killed"),
					Value: rapid.SampledFrom([]float64{0, 1, -1, math.Inf(1), math.NaN()}).Draw(t, "wanted value"),
				})
			}
			s.Rounds = append(s.Rounds, r)
		}
		return s
	})
}

// tame removes most obstacles from a world, so that most worlds have kills; what
// remains is scope, protection, kinds, keep rules, budgets and ranks.
func tame(w *World) {
	hour := epoch.Add(-time.Hour)
	w.Data = Data{Fresh: true, At: epoch.Add(-time.Second), Sequence: "7"}
	w.Budget++
	w.Memory.LastLiveKill, w.Memory.DryKilled, w.Memory.LastKill = time.Time{}, nil, nil
	for i := range w.Containers {
		w.Containers[i].StartedAt, w.Containers[i].EndedAt = hour, time.Time{}
	}
	for i := range w.Answers {
		w.Rules[i].For = 0
		seen := map[string]bool{}
		var rows []Sample
		for _, s := range w.Answers[i].Samples {
			if len(s.ID) < container.ShortIDLength || seen[s.ID[:container.ShortIDLength]] {
				continue
			}
			seen[s.ID[:container.ShortIDLength]] = true
			s.Start, s.WindowFilled, s.LabelsKnown = hour, true, true
			rows = append(rows, s)
		}
		w.Answers[i] = Answer{Samples: rows}
	}
}
