package run

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/manager/policy"
)

// scheduled is a policy whose rule has one window, on the clock of UTC.
func scheduled(from, to time.Time) string {
	clock := func(t time.Time) string { return t.UTC().Format("15:04") }
	rule := strings.TrimSuffix(sceneRule, "}\n") +
		fmt.Sprintf(", schedule: {time_zone: UTC, windows: [{from: '%s', to: '%s'}]}}\n", clock(from), clock(to))
	return scenePolicy(rule, "keep: []")
}

// A rule kills within its window only, and the page says when that opens.
func TestScheduleOpens(t *testing.T) {
	play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
		opens := s.now().Truncate(time.Minute).Add(2 * time.Minute)
		s.write(scheduled(opens, opens.Add(time.Hour)))
		s.add("a", 80)
		s.begin()
		for s.now().Before(opens.Add(-30 * time.Second)) {
			s.tick()
			s.want(t, "")
			s.reason(t, "a", policy.OutOfSchedule)
		}
		for _, text := range []string{"outside its schedule until " + opens.UTC().Format(policy.ScheduleTime) + " (UTC)", "out of schedule"} {
			if page := s.get("/"); !strings.Contains(page, text) {
				t.Errorf("the page lacks %q:\n%s", text, page)
			}
		}
		for _, text := range []string{`"detail":"until ` + opens.UTC().Format(policy.ScheduleTime), `"opens_at":"` + opens.UTC().Format(time.RFC3339)} {
			if d := s.get("/api/v1/decisions"); !strings.Contains(strings.ReplaceAll(d, `": "`, `":"`), text) {
				t.Errorf("the decisions lack %s:\n%s", text, d)
			}
		}
		for s.now().Before(opens.Add(30 * time.Second)) {
			s.tick()
		}
		s.want(t, "kill a")
	})
}

// A decision within the window is refused if the kill would begin after its end, or
// after the clock was set. The container is not passed over for that.
func TestScheduleAtTheKill(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(*scene)
		guard     policy.Reason
	}{
		"the window ends": {func(*scene) { time.Sleep(4 * time.Second) }, policy.OutOfSchedule},
		"clock set":       {func(s *scene) { s.stepped.Add(int64(10 * time.Second)) }, policy.ClockSet},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
				ends := s.now().Truncate(time.Minute).Add(2 * time.Minute)
				s.write(scheduled(ends.Add(-time.Hour), ends))
				s.add("a", 80)
				s.begin()
				before := false
				s.v.before = func(call string) {
					if call == "inspect" { // of the decision, and again at the kill
						if before {
							c.meanwhile(s)
						}
						before = !before
					}
				}
				time.Sleep(ends.Sub(s.now()) - 2*simScrape - 2*time.Second)
				s.tick()
				time.Sleep(10 * time.Second)
				s.want(t, "")
				if d := s.get("/api/v1/kills"); !strings.Contains(d, `"guard": "`+string(c.guard)+`"`) && !strings.Contains(d, `"guard":"`+string(c.guard)+`"`) {
					t.Errorf("not refused as %s:\n%s", c.guard, d)
				}
				s.v.mu.Lock()
				s.v.before = nil
				s.v.mu.Unlock()
				s.tick()
				if got := s.reasons()["a"]; got == string(policy.PassedOver) {
					t.Error("passed over")
				}
			})
		})
	}
}

// A clock that was set, in either direction, may be wrong for some minutes, or as long as
// Prometheus could have samples from the future: a rule with a schedule waits.
func TestScheduleAfterTheClockWasSet(t *testing.T) {
	for step, wait := range map[time.Duration]time.Duration{time.Hour: 5 * time.Minute, -10 * time.Minute: 15 * time.Minute} {
		t.Run(step.String(), func(t *testing.T) {
			play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
				begin := s.now().Add(step).Truncate(time.Minute)
				s.write(scheduled(begin.Add(-time.Minute), begin.Add(5*time.Minute+wait)))
				a := s.add("a", 10)
				s.begin()
				s.tick()
				a.load = 80
				s.stepped.Add(int64(step))
				set := s.now()
				s.prom.samples, s.prom.recorded = nil, nil // samples in the future are not queried
				for _, c := range s.engine.containers {
					c.StartedAt = c.StartedAt.Add(step) // the boot time has moved as well
				}
				s.tick()
				for s.now().Sub(set) < wait-20*time.Second {
					s.tick()
					s.reason(t, "a", policy.ClockSet)
				}
				s.want(t, "")
				if page := s.get("/"); !strings.Contains(page, "the clock was set a short time ago") {
					t.Error("the page does not say that the clock was set")
				}
				for s.now().Sub(set) < wait+30*time.Second {
					s.tick()
				}
				s.want(t, "kill a")
			})
		})
	}
}
