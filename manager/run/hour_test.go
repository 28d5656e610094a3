package run

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/manager/policy"
)

const hourRule = "  - {name: r, query: sim_load > 50, action: kill, max_kills: 1, max_kills_per_hour: 2, relief: {stop_after: 0}}\n"

// Two kills in an hour, also if the manager restarts, regularly or by a crash, and if the
// wall clock is set while it runs.
func TestKillsPerHourAcrossRestarts(t *testing.T) {
	for name, restart := range map[string]func(*scene){
		"none":    func(*scene) {},
		"regular": func(s *scene) { s.end(); s.begin() },
		"crash": func(s *scene) {
			s.world.app, s.view, s.audit, s.cancel = s.app, s.v, s.o.AuditFile, func() {}
			s.crash()
			s.o.AuditFile = s.audit
			s.v = &simView{simEngine: s.engine}
			s.o.Engine = s.v
			s.begin()
		},
		"clock set forward": func(s *scene) {
			s.end()
			s.begin()
			s.stepped.Add(int64(2 * time.Hour))
			for _, c := range s.engine.containers {
				c.StartedAt = c.StartedAt.Add(2 * time.Hour) // the boot time has moved as well
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, scenePolicy(hourRule, "keep: []"), func(t *testing.T, s *scene) {
				for _, c := range []string{"a", "b", "c", "d"} {
					s.add(c, 80)
				}
				s.begin()
				s.tick()
				time.Sleep(20 * time.Minute)
				s.tick()
				s.want(t, "kill a, kill b")
				restart(s)
				s.tick()
				s.tick()
				s.reason(t, "c", policy.HourlyBudgetSpent)
				time.Sleep(37 * time.Minute)
				s.tick()
				s.want(t, "kill a, kill b")
				s.reason(t, "c", policy.HourlyBudgetSpent)
				time.Sleep(3 * time.Minute)
				s.tick() // the first one was an hour ago
				s.tick()
				s.want(t, "kill a, kill b, kill c")
				s.reason(t, "d", policy.HourlyBudgetSpent)
			})
		})
	}
}

// The limit of all rules counts those of a rule that the policy no longer has.
func TestKillsPerHourOfAllRules(t *testing.T) {
	rules := strings.Replace(hourRule, ", max_kills_per_hour: 2", "", 1)
	play(t, scenePolicy(rules, "keep: []", "max_kills_per_hour: 1"), func(t *testing.T, s *scene) {
		s.add("a", 80)
		s.add("b", 80)
		s.begin()
		s.tick()
		s.want(t, "kill a")
		s.write(scenePolicy(strings.Replace(rules, "name: r", "name: renamed", 1), "keep: []", "max_kills_per_hour: 1"))
		if err := s.app.Reload(); err != nil {
			t.Fatal(err)
		}
		s.tick()
		s.want(t, "kill a")
		s.reason(t, "b", policy.HourlyBudgetSpent)
	})
}

// With a record that cannot be read, a rule with a limit waits for an hour, another does
// not.
func TestKillsPerHourWithAnUnreadRecord(t *testing.T) {
	for _, limited := range []bool{true, false} {
		rule := hourRule
		if !limited {
			rule = strings.Replace(rule, ", max_kills_per_hour: 2", "", 1)
		}
		play(t, scenePolicy(rule, "keep: []"), func(t *testing.T, s *scene) {
			if err := os.WriteFile(s.o.AuditFile, []byte("\x00\x00\x00\n"), 0o640); err != nil {
				t.Fatal(err)
			}
			s.add("a", 80)
			s.begin()
			s.tick()
			if !limited {
				s.want(t, "kill a")
				return
			}
			for range 2 { // the restart begins anew: nothing was written since
				s.want(t, "")
				s.reason(t, "a", policy.KillsUnknown)
				time.Sleep(58 * time.Minute)
				s.tick()
				s.want(t, "")
				s.end()
				s.begin()
				s.tick()
			}
			time.Sleep(time.Hour)
			s.tick()
			s.want(t, "kill a")
		})
	}
}
