package run

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
)

// Unknown values never widen what may be killed: each test has one unknown, all else is
// known. The random worlds have all of them at once.

// scene is a world controlled by a test.
type scene struct {
	*world
	o   Options
	app *App
	v   *simView
}

const sceneRule = "  - {name: r, query: sim_load > 50, action: kill, max_kills: 1}\n"

func scenePolicy(rules string, more ...string) string {
	return "mode: live\nscope: managed\n" + strings.Join(append(more, ""), "\n") + "rules:\n" + rules
}

// play runs a test in simulated time, with a Prometheus that has run for long.
func play(t *testing.T, policy string, act func(t *testing.T, s *scene)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{world: newWorld(t, 0, dir)}
		s.prom.outOfOrder = true
		s.engine.judge = func(*simAct, *simContainer) {}
		time.Sleep(time.Hour)
		s.prom.ready = s.now().Round(0).Add(-time.Hour)
		s.write(policy)
		s.v = &simView{simEngine: s.engine}
		s.o = Options{ConfigFile: s.path("policy.yml"), AuditFile: s.path("audit.jsonl"), Logger: log.NewNopLogger(), Options: gather.Options{
			PrometheusURL: simURL, Engine: s.v, Now: s.now, Transport: s.prom, LookupHost: s.resolve,
		}}
		act(t, s)
		s.end()
		time.Sleep(time.Minute) // lookups in progress
	})
}

func (s *scene) write(policy string) {
	if err := os.WriteFile(s.path("policy.yml"), []byte(policy), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// begin starts the manager, without its loop.
func (s *scene) begin() *App {
	s.t.Helper()
	a, err := newApp(s.o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.app = a
	return a
}

// end stops the manager as SIGTERM does.
func (s *scene) end() {
	if s.app != nil {
		s.app.stop()
		s.app.enforcer.Wait(context.Background())
		s.app.release()
		s.app = nil
	}
}

// add runs a container of kind cpu, started an hour ago.
func (s *scene) add(name string, load float64, change ...func(*simContainer)) *simContainer {
	n := s.next
	s.next++
	c := &simContainer{born: s.now().Add(-time.Hour), load: load, known: true}
	c.Container = dockerclient.Container{
		ID: fmt.Sprintf("%012x%052x", 0xdef000+n, n), Name: name, State: dockerclient.StateRunning, StartedAt: c.born.Round(0),
		Image: "app:1", Labels: map[string]string{"estiba.managed": "true", "estiba.kind": "cpu"}, Networkless: true,
	}
	for _, f := range change {
		f(c)
	}
	s.engine.containers[c.ID] = c
	return c
}

// scraped makes a container a scrape target, by host name.
func (s *scene) scraped(host, address string) func(*simContainer) {
	return func(c *simContainer) {
		c.Networkless, c.Networks = false, []string{address}
		s.names[host] = address
		s.prom.scraped = append(s.prom.scraped, host)
	}
}

// tick scrapes and decides; kills without grace have ended when it returns.
func (s *scene) tick() {
	time.Sleep(simScrape)
	s.prom.scrape()
	s.prom.evaluate()
	time.Sleep(simScrape)
	s.app.tick(context.Background())
	time.Sleep(100 * time.Millisecond)
}

// setDNS sets the state of the name server.
func (s *scene) setDNS(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dns = state
}

// acts are the kills so far: "kill a, stop b".
func (s *scene) acts() string {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	names := map[string]string{}
	for _, c := range s.engine.containers {
		names[c.ID] = c.Name
	}
	var list []string
	for _, a := range s.engine.acts {
		name := names[a.id]
		if name == "" {
			name = "?"
		}
		list = append(list, a.what+" "+name)
	}
	return strings.Join(list, ", ")
}

func (s *scene) want(t *testing.T, acts string) {
	t.Helper()
	if got := s.acts(); got != acts {
		t.Errorf("acts: %q, want %q; reasons %v", got, acts, s.reasons())
	}
}

// reasons are the reasons on the page, and the result of the tick.
func (s *scene) reasons() map[string]string {
	var d struct {
		Result, Error string
		Containers    []struct{ Name, Reason string }
	}
	if err := json.Unmarshal([]byte(s.get("/api/v1/decisions")), &d); err != nil {
		s.t.Error(err)
	}
	m := map[string]string{"tick": d.Result + " " + d.Error}
	for _, c := range d.Containers {
		m[c.Name] = c.Reason
	}
	return m
}

func (s *scene) get(path string) string {
	rec := httptest.NewRecorder()
	s.app.handler().ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
	if rec.Code != 200 {
		s.t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
	}
	return rec.Body.String()
}

func (s *scene) reason(t *testing.T, name string, want policy.Reason) {
	t.Helper()
	if got := s.reasons()[name]; got != string(want) {
		t.Errorf("%s: %s, want %s", name, got, want)
	}
}

// Prometheus lists no targets in its first seconds. That does not mean that there are
// none.
func TestPrometheusJustStarted(t *testing.T) {
	for _, before := range []string{"the manager, too", "the manager knew them"} {
		play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
			s.add("db", 80, s.scraped("db.example", "172.18.0.5"))
			s.begin()
			if before == "the manager knew them" {
				s.tick()
				time.Sleep(2 * time.Minute)
			}
			time.Sleep(simScrape)
			s.prom.scrape()
			s.prom.ready = s.now().Round(0)
			s.app.tick(context.Background())
			s.tick()
			s.tick()
			s.want(t, "")
			s.reason(t, "db", policy.Protected)
		})
	}
}

// A name that does not resolve for a while keeps its address; one that never resolved
// may be any container with a network.
func TestNamesThatDoNotResolve(t *testing.T) {
	for _, state := range []string{"failing", "slow"} {
		play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
			s.add("db", 80, s.scraped("db.example", "172.18.0.5"))
			s.begin()
			s.tick()
			s.reason(t, "db", policy.Protected)
			s.setDNS(state)
			for range 30 {
				s.tick()
			}
			s.want(t, "")
			s.reason(t, "db", policy.Protected)
		})
		play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
			s.add("db", 80, s.scraped("db.example", "172.18.0.5"))
			s.add("other", 70, func(c *simContainer) { c.Networkless, c.Networks = false, []string{"172.18.0.6"} })
			s.add("alone", 60)
			s.setDNS(state)
			s.begin()
			for range 3 {
				s.tick()
			}
			s.want(t, "kill alone") // has no network
			s.reason(t, "other", policy.Protected)
			s.setDNS("ok")
			for range 3 {
				s.tick()
			}
			s.want(t, "kill alone, kill other")
			s.reason(t, "db", policy.Protected)
		})
	}
}

// The effect of a kill in flight cannot be in the data.
func TestKillInFlight(t *testing.T) {
	play(t, scenePolicy(strings.Replace(sceneRule, "kill,", "stop, grace: 25s,", 1), "keep: []"), func(t *testing.T, s *scene) {
		s.add("a", 80, func(c *simContainer) { c.dies = time.Hour })
		s.add("b", 70)
		s.begin()
		s.tick()
		s.tick()
		s.want(t, "stop a")
		s.reason(t, "b", policy.InFlight)
		s.tick() // it has ended meanwhile
		s.tick()
		s.want(t, "stop a, stop b")
	})
}

// A container that an earlier manager asked to stop counts as in flight until it has
// stopped, whatever happened to the wall clock.
func TestKillInFlightAcrossRestart(t *testing.T) {
	for name, step := range map[string]time.Duration{"clock runs": 0, "clock set forward": time.Hour} {
		t.Run(name, func(t *testing.T) {
			play(t, scenePolicy(strings.Replace(sceneRule, "kill,", "stop, grace: 45s,", 1), "keep: []"), func(t *testing.T, s *scene) {
				s.add("a", 80, func(c *simContainer) { c.dies = time.Hour })
				s.add("b", 70)
				s.begin()
				s.tick()
				s.world.app, s.view, s.audit, s.cancel = s.app, s.v, s.o.AuditFile, func() {}
				s.crash()
				s.stepped.Add(int64(step))
				s.o.AuditFile = s.audit
				s.v = &simView{simEngine: s.engine}
				s.o.Engine = s.v
				old := s.app
				s.begin()
				s.tick()
				s.want(t, "stop a")
				s.tick()
				s.want(t, "stop a")
				s.reason(t, "b", policy.InFlight)
				for range 8 {
					s.tick()
				}
				s.want(t, "stop a, stop b")
				old.enforcer.Wait(context.Background())
			})
		})
	}
}

// A recorded series whose rule fails is returned for five more minutes.
func TestRecordedSeriesNoLongerEvaluated(t *testing.T) {
	for name, dies := range map[string]func(*simPrometheus){
		"it fails": func(p *simPrometheus) { p.ruleFails = true },
		"it hangs": func(p *simPrometheus) { p.ruleHangs = true },
	} {
		play(t, scenePolicy(strings.Replace(sceneRule, "sim_load", "estiba:sim_load", 1), "keep: []"), func(t *testing.T, s *scene) {
			a := s.add("a", 10)
			s.begin()
			s.tick()
			a.load = 80
			s.prom.scrape()
			s.prom.evaluate()
			a.load = 10 // not recorded
			dies(s.prom)
			for range 3 {
				time.Sleep(simScrape)
				s.prom.scrape()
				s.prom.evaluate()
				time.Sleep(simScrape)
			}
			s.app.tick(context.Background())
			if s.want(t, ""); s.reasons()["a"] != string(policy.StaleSample) {
				t.Errorf("%s: %v", name, s.reasons())
			}
		})
	}
}

// A clock that is set back delays nothing by as much, and no container is killed on old
// data.
func TestWallClockSetBack(t *testing.T) {
	play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
		s.add("a", 80)
		s.add("b", 70)
		s.begin()
		s.tick()
		s.want(t, "kill a")
		s.stepped.Store(int64(-time.Hour))
		s.prom.samples, s.prom.recorded = nil, nil // samples in the future are not queried
		for _, c := range s.engine.containers {
			c.StartedAt = c.StartedAt.Add(-time.Hour) // the boot time has moved as well
		}
		s.tick()
		s.tick()
		s.want(t, "kill a, kill b")
	})
}

// Kills that wait for their turn are dropped when their policy is replaced, and after
// SIGTERM.
func TestKillsEndWithTheirPolicy(t *testing.T) {
	many := strings.Replace(sceneRule, "kill, max_kills: 1", "stop, grace: 30s, max_kills: 40", 1)
	for name, withdraw := range map[string]func(*scene){
		"dry run": func(s *scene) {
			s.write(strings.Replace(scenePolicy(many, "keep: []", "max_kills_per_tick: 40"), "mode: live", "mode: dry_run", 1))
			if err := s.app.Reload(); err != nil {
				s.t.Error(err)
			}
		},
		"protected": func(s *scene) {
			s.write(scenePolicy(many, "keep: []", "max_kills_per_tick: 40", "protect: {names: ['*']}"))
			if err := s.app.Reload(); err != nil {
				s.t.Error(err)
			}
		},
		"SIGTERM": func(s *scene) { s.app.stop() },
	} {
		play(t, scenePolicy(many, "keep: []", "max_kills_per_tick: 40"), func(t *testing.T, s *scene) {
			for i := range 40 {
				s.add(fmt.Sprintf("c%02d", i), 80, func(c *simContainer) { c.dies = 20 * time.Second })
			}
			s.begin()
			s.tick()
			before := s.engine.count()
			if before == 0 || before == 40 {
				t.Fatalf("%d acts have begun", before)
			}
			withdraw(s)
			time.Sleep(2 * time.Minute)
			if after := s.engine.count(); after != before {
				t.Errorf("%s: %d acts before, %d more after", name, before, after-before)
			}
		})
	}
}

// A policy that is replaced during a tick decides nothing.
func TestPolicyReplacedDuringATick(t *testing.T) {
	play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
		s.add("a", 80)
		s.begin()
		time.Sleep(simScrape)
		s.prom.scrape()
		s.prom.latency = func() time.Duration { return time.Second }
		done := make(chan struct{})
		go func() { s.app.tick(context.Background()); close(done) }()
		time.Sleep(1500 * time.Millisecond)
		s.write(scenePolicy(sceneRule, "keep: []", "protect: {names: [a]}"))
		if err := s.app.Reload(); err != nil {
			t.Fatal(err)
		}
		<-done
		time.Sleep(time.Second)
		s.want(t, "")
	})
}

// A rule with another query or action starts without holds.
func TestChangedRuleStartsWithoutHolds(t *testing.T) {
	held := strings.Replace(sceneRule, "action: kill", "action: kill, for: 40s", 1)
	for name, change := range map[string]string{
		"query":  strings.Replace(held, "> 50", "> 51", 1),
		"action": strings.Replace(held, "action: kill", "action: pause", 1),
		"same":   held,
	} {
		play(t, scenePolicy(held, "keep: []"), func(t *testing.T, s *scene) {
			s.add("a", 80)
			s.begin()
			for range 4 {
				s.tick()
			}
			s.want(t, "")
			s.write(scenePolicy(change, "keep: []"))
			if err := s.app.Reload(); err != nil {
				t.Fatal(err)
			}
			s.tick()
			if acted := s.acts() != ""; acted != (name == "same") {
				t.Errorf("%s: acts %q", name, s.acts())
			}
		})
	}
}

// Data that became too old while the Engine was slow are not used.
func TestStaleAtTheAct(t *testing.T) {
	play(t, scenePolicy(sceneRule, "keep: []", "max_sample_age: 7s"), func(t *testing.T, s *scene) {
		s.add("a", 80)
		s.engine.latency = func() time.Duration { return time.Second }
		s.begin()
		s.tick()
		s.tick()
		s.want(t, "")
	})
}

// A container that cannot be inspected delays no other.
func TestUnfinishedThatCannotBeInspected(t *testing.T) {
	play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
		sick := s.add("sick", 90, func(c *simContainer) { c.sick = true })
		s.add("well", 80)
		l, err := audit.Open(s.o.AuditFile, audit.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Intent(audit.Record{
			KillID: "cut", Rule: "another", Mode: policy.Live, Container: sick.ID, StartedAt: sick.StartedAt,
			Time: s.now(),
		}); err != nil {
			t.Fatal(err)
		}
		l.Close()
		s.begin()
		for range 3 {
			s.tick()
		}
		s.want(t, "kill well")
		s.reason(t, "sick", policy.Transitional)
		sick.sick = false
		for range 20 {
			s.tick()
		}
		s.want(t, "kill well, kill sick")
		s.wantWhole(t)
	})
}

// wantWhole checks that each intent in the audit log has one outcome.
func (s *scene) wantWhole(t *testing.T) {
	t.Helper()
	s.end()
	open := map[string]int{}
	for _, r := range readRecord(s.o.AuditFile) {
		switch r.Phase {
		case audit.Intent:
			open[r.KillID]++
		case audit.Done:
			open[r.KillID]--
		}
	}
	for id, n := range open {
		if n != 0 {
			t.Errorf("%s: %d intents more than outcomes", id, n)
		}
	}
}

// A life that was sent a signal does not count as alive, not after a minute or a day,
// nor after a restart of the manager.
func TestSignalledLifeIsNotAlive(t *testing.T) {
	play(t, scenePolicy(sceneRule, "keep: [{by: kind, min: 1}]"), func(t *testing.T, s *scene) {
		a := s.add("a", 80, func(c *simContainer) { c.undead = true })
		b := s.add("b", 10)
		s.begin()
		s.tick()
		time.Sleep(time.Minute)
		s.want(t, "kill a")
		a.load, b.load = 10, 80
		for _, later := range []time.Duration{0, 2 * time.Minute, 24 * time.Hour} {
			time.Sleep(later)
			s.end()
			s.begin()
			s.tick()
			s.want(t, "kill a")
			s.reason(t, "b", policy.LastOfKind)
		}
		// another life counts
		a.born = s.now()
		a.StartedAt = a.born.Round(0)
		s.tick()
		s.tick()
		s.want(t, "kill a, kill b")
	})
}

// A container that is spared at the kill, or survives it, delays no other, costs no
// cooldown and does not fill the audit log.
func TestRefusedAtTheAct(t *testing.T) {
	play(t, scenePolicy(strings.Replace(sceneRule, "max_kills", "cooldown: 1h, max_kills", 1), "keep: []"), func(t *testing.T, s *scene) {
		// The labels of the container differ from the list, which is only noticed at
		// the kill.
		s.add("db", 90)
		s.add("b", 80)
		s.begin()
		s.v.before = func(call string) {
			if call == "inspect" {
				for _, c := range s.engine.containers {
					if c.Name == "db" {
						c.Labels = map[string]string{"estiba.managed": "true", "estiba.kind": "cpu", "estiba.protect": "true"}
					}
				}
			}
			if call == "list" {
				for _, c := range s.engine.containers {
					if c.Name == "db" {
						c.Labels = map[string]string{"estiba.managed": "true", "estiba.kind": "cpu"}
					}
				}
			}
		}
		for range 5 {
			s.tick()
		}
		s.want(t, "kill b")
		refused := 0
		for _, r := range readRecord(s.o.AuditFile) {
			if r.Outcome == audit.OutcomeRefused {
				refused++
			}
		}
		if refused != 1 {
			t.Errorf("%d refusals recorded, want one", refused)
		}
		s.reason(t, "db", policy.PassedOver)
	})
	play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
		s.add("undead", 90, func(c *simContainer) { c.undead = true })
		s.add("b", 80)
		s.begin()
		for range 5 {
			s.tick()
		}
		s.want(t, "kill undead, kill b")
		s.reason(t, "undead", policy.PassedOver)
	})
}

// The list has an image's id once its tag has moved; the image named at creation
// protects.
func TestImageWhoseTagHasMoved(t *testing.T) {
	play(t, scenePolicy(sceneRule, "keep: []", "protect: {images: [postgres]}"), func(t *testing.T, s *scene) {
		moved := "sha256:" + strings.Repeat("0f", 32)
		db := s.add("db", 90, func(c *simContainer) { c.Image, c.listed = "postgres:16", moved })
		s.add("sick", 85, func(c *simContainer) { c.Image, c.listed, c.sick = "app:1", moved, true })
		s.add("b", 80, func(c *simContainer) { c.listed = moved })
		s.begin()
		for range 3 {
			s.tick()
		}
		s.want(t, "kill b")
		s.reason(t, "db", policy.Protected)
		s.reason(t, "sick", policy.Protected)
		db.sick = true // cached
		s.tick()
		s.reason(t, "db", policy.Protected)
	})
}

// The image that a container was created from counts for keep, whatever the list shows
// when the tag has moved, at the decision and at the kill; an unknown one counts for none.
func TestKeepByImageWhoseTagHasMoved(t *testing.T) {
	play(t, scenePolicy(sceneRule, "keep: [{by: image, min: 1}]"), func(t *testing.T, s *scene) {
		moved := "sha256:" + strings.Repeat("0f", 32)
		first := func(c *simContainer) { c.Image, c.listed = "nginx:1", moved }
		other := func(c *simContainer) { c.Image, c.listed = "redis:7", moved }
		s.add("a", 90, first)
		b := s.add("b", 80, first)
		s.add("c", 70, other)
		s.add("d", 60, other, func(c *simContainer) { c.sick = true })
		s.begin()
		for range 4 {
			s.tick()
		}
		s.want(t, "kill a")
		s.reason(t, "b", policy.LastOfGroup)
		s.reason(t, "c", policy.LastOfGroup) // d may be of any image
		s.reason(t, "d", policy.UnknownGroup)
		s.add("e", 10, func(c *simContainer) { c.Image = "nginx:1" })
		b.listed = ""
		s.tick()
		s.tick()
		s.want(t, "kill a, kill b")
	})
}

// Labels that the exporter does not know are empty in queries.
func TestLabelsThatTheExporterDoesNotKnow(t *testing.T) {
	play(t, scenePolicy(strings.Replace(sceneRule, "sim_load > 50", `'sim_load > 50 unless on (id) estiba_container_info{container_label_keep!=""}'`, 1),
		"keep: []"), func(t *testing.T, s *scene) {
		kept := s.add("kept", 90, func(c *simContainer) { c.keepLabel = true })
		s.add("b", 80, func(c *simContainer) { c.known = false })
		s.begin()
		s.tick()
		s.want(t, "")
		s.reason(t, "kept", policy.NotSelected)
		s.reason(t, "b", policy.LabelsUnknown)
		kept.known = false
		s.tick()
		s.want(t, "")
		s.reason(t, "kept", policy.LabelsUnknown)
		for _, c := range s.engine.containers {
			c.known = true
		}
		s.tick()
		s.want(t, "kill b")
	})
}

// A stopped rule stays stopped across restarts of the manager.
func TestStoppedRuleAcrossRestarts(t *testing.T) {
	play(t, scenePolicy(strings.Replace(sceneRule, "max_kills", "relief: {stop_after: 2, resume_after: 0s}, max_kills", 1), "keep: []"),
		func(t *testing.T, s *scene) {
			for range 6 {
				s.add("same", 80, func(c *simContainer) { c.AutoRemove = true }) // restarted each time
				s.begin()
				s.tick()
				s.end()
			}
			if n := s.engine.count(); n != 2 {
				t.Errorf("%d kills that brought no relief, stop_after 2", n)
			}
		})
}

// A rule's cooldown survives any number of other records.
func TestCooldownAcrossManyRecords(t *testing.T) {
	play(t, scenePolicy(strings.Replace(sceneRule, "max_kills", "cooldown: 24h, max_kills", 1), "keep: []"), func(t *testing.T, s *scene) {
		s.add("a", 80)
		l, err := audit.Open(s.o.AuditFile, audit.Options{MaxBytes: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		kill := func(rule, id string) {
			rec := audit.Record{Time: s.now().Add(-time.Hour), KillID: id, Rule: rule, Kind: "cpu", Mode: policy.Live, Action: "kill", Container: id}
			if err := l.Intent(rec); err != nil {
				t.Fatal(err)
			}
			rec.Outcome, rec.Acted = audit.OutcomeDone, true
			if err := l.Outcome(rec); err != nil {
				t.Fatal(err)
			}
		}
		kill("r", "first")
		for i := range 2000 {
			kill("busy", fmt.Sprint(i))
		}
		l.Close()
		s.begin()
		s.tick()
		s.want(t, "")
		s.reason(t, "a", policy.CoolingDown)
	})
}

// A duplicate line, a duplicate container: no scrape fails, nothing counts twice.
func TestDuplicates(t *testing.T) {
	play(t, scenePolicy(sceneRule, "keep: [{by: kind, min: 2}]"), func(t *testing.T, s *scene) {
		line := `{"ts":"2000-01-01T00:00:00Z","kill_id":"k1","phase":"outcome","rule":"r","kind":"cpu","container":"` + strings.Repeat("a", 64) + `","name":"x","mode":"live","action":"kill","outcome":"done"}` + "\n"
		if err := os.WriteFile(s.o.AuditFile, []byte(line+line), 0o640); err != nil {
			t.Fatal(err)
		}
		s.add("a", 80)
		s.add("b", 10)
		s.add("p", 10, func(c *simContainer) { c.Labels["estiba.protect"], c.Labels["estiba.kind"] = "true", "ram" })
		s.engine.doubled = true
		s.begin()
		s.tick()
		s.want(t, "")
		s.reason(t, "a", policy.LastOfKind)
		if n := strings.Count(s.get("/metrics"), `kill_id="k1"`); n != 1 {
			t.Errorf("the kill is published %d times", n)
		}
	})
}

// While the audit log cannot be written, an outcome waits, and is written once.
func TestRecoveryWithoutAuditFile(t *testing.T) {
	play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
		a := s.add("a", 10)
		s.o.AuditFile = filepath.Join(s.dir, "audit", "audit.jsonl")
		l, err := audit.Open(s.o.AuditFile, audit.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Intent(audit.Record{
			KillID: "cut", Rule: "r", Mode: policy.Live, Container: a.ID, StartedAt: a.StartedAt,
			Time: s.now().Add(-time.Hour),
		}); err != nil {
			t.Fatal(err)
		}
		l.Close()
		s.begin()
		away := filepath.Dir(s.o.AuditFile)
		if err := os.Rename(away, away+".away"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * maxInFlight) // until then the kill may be in flight
		for range 3 {
			s.tick()
		}
		if strings.Contains(s.get("/metrics"), "estiba_manager_audit_append_failures_total 0\n") {
			t.Error("the failures are not counted")
		}
		if err := os.Rename(away+".away", away); err != nil {
			t.Fatal(err)
		}
		s.tick()
		s.wantWhole(t)
	})
}

// A list without the manager does not change its project.
func TestOwnProjectIsKnownForGood(t *testing.T) {
	play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
		project := func(c *simContainer) { c.Labels["com.docker.compose.project"] = "estiba" }
		own := s.add("manager", 10, project)
		s.add("sibling", 80, project)
		s.o.Self = gather.Self{IDs: []string{own.ID}}
		s.begin()
		s.tick()
		s.engine.unlisted[own.ID] = true
		s.tick()
		s.end()
		s.begin() // also for a manager that has never been on the list
		s.tick()
		own.sick = true
		s.end()
		s.begin()
		s.tick()
		s.want(t, "")
		if got := s.reasons()["tick"]; !strings.HasPrefix(got, "docker_error") {
			t.Errorf("tick: %s", got)
		}
	})
}

// A loop that hangs is not healthy.
func TestHealthy(t *testing.T) {
	play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
		a := s.begin()
		time.Sleep(time.Minute)
		if err := a.healthy(); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		if err := a.healthy(); err == nil {
			t.Error("no tick for three minutes, and healthy")
		}
		rec := httptest.NewRecorder()
		a.handler().ServeHTTP(rec, httptest.NewRequest("GET", "/-/healthy", nil))
		if rec.Code != 503 {
			t.Errorf("/-/healthy: %d", rec.Code)
		}
		a.life.sign(s.now())
		if err := a.healthy(); err != nil {
			t.Error(err)
		}
	})
}

// The number of series of protected containers is limited.
func TestProtectedSeriesAreBounded(t *testing.T) {
	play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
		for i := range 2500 {
			s.add(fmt.Sprintf("p%d", i), 10, func(c *simContainer) { c.Labels["estiba.protect"] = "true" })
		}
		s.begin()
		s.tick()
		if n := strings.Count(s.get("/metrics"), "estiba_manager_protected{"); n != 2000 {
			t.Errorf("%d series", n)
		}
	})
}

// An Engine that hangs for one container does not block the tick.
func TestTickIsBounded(t *testing.T) {
	play(t, scenePolicy(sceneRule, "keep: []"), func(t *testing.T, s *scene) {
		for i := range 200 {
			s.add(fmt.Sprintf("s%d", i), 80, func(c *simContainer) { c.sick = true })
		}
		s.begin()
		time.Sleep(simScrape)
		s.prom.scrape()
		begun := time.Now()
		s.app.tick(context.Background())
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("the tick took %s", took)
		}
		s.want(t, "")
	})
}

// An Alertmanager that fails now and then does not multiply vetoes.
func TestVetoIsRecordedOnce(t *testing.T) {
	play(t, scenePolicy(strings.Replace(sceneRule, "max_kills", "announce: 1m, max_kills", 1), "keep: []"), func(t *testing.T, s *scene) {
		c := s.add("a", 80)
		a := s.begin()
		a.vetoOf = func(_ context.Context, silences []string) *audit.Veto {
			return &audit.Veto{Silences: silences, CreatedBy: map[string]string{"s1": "ann", "s2": "bob"}[silences[0]]}
		}
		key := policy.Candidate{Rule: "r", ID: c.ID}
		says := func(known bool, silences ...string) {
			n := policy.Notices{Known: known, Of: map[policy.Candidate]policy.Notice{}}
			reason := policy.NoVetoAnswer
			if known {
				n.Of[key], reason = policy.Notice{Silences: silences}, policy.Vetoed
			}
			if known && len(silences) == 0 {
				reason = policy.Announced
			}
			d := gather.Decision{
				Time: s.now(), World: policy.World{Notices: n},
				Plan: policy.Plan{Decisions: []policy.Decision{{Rule: "r", Reason: reason, Container: policy.Container{ID: c.ID, Name: "a"}}}},
			}
			a.recordVetoes(context.Background(), a.policy.Load(), d)
		}
		says(true, "s1")
		says(false)
		says(true, "s1")
		says(false)
		says(true, "s1")
		says(true) // the veto has ended
		says(true, "s1")
		says(true, "s2")
		var who []string
		for _, r := range readRecord(s.o.AuditFile) {
			if r.Phase == audit.Vetoed {
				who = append(who, r.Veto.CreatedBy)
			}
		}
		if got := strings.Join(who, " "); got != "ann ann bob" {
			t.Errorf("recorded: %q", got)
		}
	})
}
