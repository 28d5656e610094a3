package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestHourlyBudget(t *testing.T) {
	ago := func(minutes int) time.Time { return epoch.Add(-time.Duration(minutes) * time.Minute) }
	for name, c := range map[string]struct {
		change func(*World)
		reason Reason
		wait   time.Duration
	}{
		"no limit": {func(w *World) {
			w.Memory.Kills, w.Memory.Unread = []PastKill{{"r", Live, ago(1)}}, ago(1)
		}, Chosen, 0},
		"one left": {func(w *World) {
			w.Rules[0].MaxPerHour = 2
			w.Memory.Kills = []PastKill{{"r", Live, ago(1)}}
		}, Chosen, 0},
		"of another rule": {func(w *World) {
			w.Rules[0].MaxPerHour = 1
			w.Memory.Kills = []PastKill{{"other", Live, ago(1)}}
		}, Chosen, 0},
		"an hour ago": {func(w *World) {
			w.Rules[0].MaxPerHour = 1
			w.Memory.Kills = []PastKill{{"r", Live, ago(60)}}
		}, Chosen, 0},
		"a dry run does not limit a live rule": {func(w *World) {
			w.Rules[0].MaxPerHour, w.MaxPerHour = 1, 1
			w.Memory.Kills = []PastKill{{"r", DryRun, ago(1)}}
		}, Chosen, 0},
		"until the first of two has left": {func(w *World) {
			w.Rules[0].MaxPerHour = 2
			w.Memory.Kills = []PastKill{{"r", Live, ago(50)}, {"r", Live, ago(20)}}
		}, HourlyBudgetSpent, 10 * time.Minute},
		"until enough have left after a lower limit": {func(w *World) {
			w.Rules[0].MaxPerHour = 1
			w.Memory.Kills = []PastKill{{"r", Live, ago(50)}, {"r", Live, ago(20)}}
		}, HourlyBudgetSpent, 40 * time.Minute},
		"both limits": {func(w *World) {
			w.Rules[0].MaxPerHour, w.MaxPerHour = 1, 2
			w.Memory.Kills = []PastKill{{"r", Live, ago(50)}, {"other", Live, ago(20)}}
		}, HourlyBudgetSpent, 10 * time.Minute},
		"in flight alone": {func(w *World) {
			w.MaxPerHour = 1
			w.Memory = NewMemory()
			w.Memory.InFlight[id(7)] = "other"
		}, HourlyBudgetSpent, 0},
		"unread": {func(w *World) {
			w.MaxPerHour, w.Memory.Unread = 9, ago(15)
		}, KillsUnknown, 45 * time.Minute},
		"unread, an hour ago": {func(w *World) { w.MaxPerHour, w.Memory.Unread = 9, ago(60) }, Chosen, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := calm()
			c.change(&w)
			if d := Decide(w).Decisions[0]; d.Reason != c.reason || d.Wait != c.wait {
				t.Errorf("%s, wait %s; want %s, %s", d.Reason, d.Wait, c.reason, c.wait)
			}
		})
	}
}

// Kills leave the hour, one from the future becomes now, and a copy for a decision does
// not change.
func TestMemoryKeepsAnHour(t *testing.T) {
	m := NewMemory()
	for _, at := range []time.Time{epoch.Add(-time.Hour), epoch.Add(-time.Minute), epoch.Add(time.Hour)} {
		m.Finish(End{Rule: "r", Mode: Live, At: at, Begun: true})
	}
	m.Finish(End{Rule: "r", Mode: Live, At: epoch}) // refused
	m.Unread = epoch.Add(time.Hour)
	earlier := m // of a decision
	c := m.At(epoch)
	if !slices.ContainsFunc(earlier.Kills, func(k PastKill) bool { return k.At.Equal(epoch.Add(time.Hour)) }) {
		t.Errorf("they have changed for an earlier decision: %+v", earlier.Kills)
	}
	m.Finish(End{Rule: "later", Mode: Live, At: epoch, Begun: true})
	m.At(epoch.Add(2 * time.Hour))
	if len(c.Kills) != 2 || !c.Kills[0].At.Equal(epoch.Add(-time.Minute)) || !c.Kills[1].At.Equal(epoch) || !c.Unread.Equal(epoch) {
		t.Errorf("%+v, unread %s", c.Kills, c.Unread)
	}
	if len(m.Kills) != 0 {
		t.Errorf("left: %+v", m.Kills)
	}
}

// Over hours of ticks, with kills that take time or fail to begin, no hour has more acts
// than the limits allow.
func TestNoHourHasTooMany(t *testing.T) {
	kills := 0
	rapid.Check(t, func(t *rapid.T) {
		w := calm()
		w.Keep, w.Containers, w.Budget, w.Memory = nil, nil, 3, NewMemory()
		w.MaxPerHour = rapid.IntRange(0, 6).Draw(t, "all")
		w.Rules = nil
		for i := range 2 {
			w.Rules = append(w.Rules, Rule{Name: fmt.Sprint("r", i), MaxKills: 3, MaxPerHour: rapid.IntRange(0, 4).Draw(t, "per hour"), Mode: Live})
		}
		type act struct {
			rule string
			at   time.Time
		}
		var acts []act
		var flying []End
		next := 0
		for range rapid.IntRange(1, 40).Draw(t, "ticks") {
			w.Now = w.Now.Add(time.Duration(rapid.IntRange(10, 1500).Draw(t, "seconds")) * time.Second)
			w.Data = Data{Fresh: true, At: w.Now, Sequence: fmt.Sprint(w.Now.Unix())}
			rest := flying[:0:0]
			for _, end := range flying {
				if end.At.After(w.Now.Add(-time.Second)) {
					rest = append(rest, end)
				} else {
					w.Memory.Finish(end)
				}
			}
			flying = rest
			w.Containers, w.Answers = nil, []Answer{{}, {}}
			for i := range 6 {
				c := Container{ID: id(next), InScope: true, StartedAt: epoch.Add(-time.Hour)}
				next++
				w.Containers = append(w.Containers, c)
				w.Answers[i%2].Samples = append(w.Answers[i%2].Samples, sampleOf(c, 1))
			}
			view := w
			view.Memory = w.Memory.At(w.Now)
			p := Decide(view)
			w.Memory.Advance(view, p)
			for _, b := range w.Memory.Start(view, p, w.Now) {
				for _, v := range b.Victims {
					end := End{Rule: v.Rule.Name, ID: v.Container.ID, Mode: Live, Round: b.Round, Begun: rapid.IntRange(0, 4).Draw(t, "begun") > 0}
					takes := rapid.IntRange(0, 600).Draw(t, "takes")
					end.At = w.Now.Add(time.Duration(takes) * time.Second)
					flying = append(flying, end)
					if end.Begun {
						begun := w.Now.Add(time.Duration(rapid.IntRange(0, takes).Draw(t, "begins")) * time.Second)
						acts = append(acts, act{v.Rule.Name, begun})
						kills++
					}
				}
			}
		}
		for _, last := range acts {
			n := map[string]int{}
			for _, a := range acts {
				if age := last.at.Sub(a.at); age >= 0 && age < time.Hour {
					n[a.rule]++
					n[""]++
				}
			}
			for _, r := range w.Rules {
				if r.MaxPerHour > 0 && n[r.Name] > r.MaxPerHour {
					t.Fatalf("%d kills of %s in an hour, at most %d", n[r.Name], r.Name, r.MaxPerHour)
				}
			}
			if w.MaxPerHour > 0 && n[""] > w.MaxPerHour {
				t.Fatalf("%d kills in an hour, at most %d", n[""], w.MaxPerHour)
			}
		}
	})
	if kills == 0 {
		t.Error("no kill")
	}
}
