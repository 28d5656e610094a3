package soak

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

// story builds a history, one entry per second.
type story struct {
	entries []Entry
	labels  map[string]map[string]string
}

var born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (s *story) add(e Entry) *story {
	e.At = time.Duration(len(s.entries)) * time.Second
	s.entries = append(s.entries, e)
	return s
}

func (s *story) event(action, id string, more ...string) *story {
	attributes := maps.Clone(s.labels[id])
	for i := 0; i < len(more); i += 2 {
		attributes[more[i]] = more[i+1]
	}
	return s.add(Entry{Event: &Event{Action: action, ID: id, Attributes: attributes, Wall: born.Add(time.Duration(len(s.entries)) * time.Second)}})
}

func (s *story) line(phase, killID, id, outcome string) *story {
	return s.add(Entry{Line: &Line{
		Time: born.Add(time.Duration(len(s.entries)) * time.Second), KillID: killID, Phase: phase,
		Container: id, Name: id, Mode: "live", Outcome: outcome,
	}})
}

func (s *story) dry(mode, phase, killID, id, outcome string) *story {
	return s.add(Entry{Dry: true, Line: &Line{KillID: killID, Phase: phase, Container: id, Mode: mode, Outcome: outcome}})
}

func (s *story) note(n Note) *story { return s.add(Entry{Note: n}) }

// runs starts two containers of kind cpu, two of kind ram, a protected and an unmanaged one.
func runs() *story {
	s := &story{labels: map[string]map[string]string{}}
	for _, c := range []struct {
		id     string
		labels []string
	}{
		{"cpu1", []string{"estiba.managed", "true", "estiba.kind", "cpu"}},
		{"cpu2", []string{"estiba.managed", "true", "estiba.kind", "cpu"}},
		{"ram1", []string{"estiba.managed", "true", "estiba.kind", "ram", "estiba.generator", "g", "estiba.batch", "1"}},
		{"ram2", []string{"estiba.managed", "true", "estiba.kind", "ram", "estiba.generator", "g", "estiba.batch", "2"}},
		{"protected", []string{"estiba.managed", "true", "estiba.kind", "ram", "estiba.protect", "true"}},
		{"misspelt", []string{"estiba.managed", "true", "estiba.kind", "disk", "estiba.protect", "ture"}},
		{"unmanaged", nil},
	} {
		labels := map[string]string{"name": c.id}
		for i := 0; i < len(c.labels); i += 2 {
			labels[c.labels[i]] = c.labels[i+1]
		}
		s.labels[c.id] = labels
		s.event("create", c.id).event("start", c.id)
	}
	return s
}

// killed adds a correct kill.
func (s *story) killed(killID, id string) *story {
	return s.line("intent", killID, id, "").ends(id).line("outcome", killID, id, "done")
}

// ends adds the Engine's events for a container that is stopped.
func (s *story) ends(id string) *story {
	return s.event("kill", id, "signal", "15").event("die", id, "exitCode", "143").event("destroy", id)
}

func list(ids ...string) []Running {
	l := []Running{}
	for _, id := range ids {
		l = append(l, Running{ID: id, Name: id, Labels: map[string]string{"estiba.managed": "true", "estiba.kind": id[:3]}})
	}
	return l
}

// Histories of a correct system.
func TestCorrect(t *testing.T) {
	for name, s := range map[string]*story{
		"kills, one of each left": runs().killed("1", "cpu1").killed("2", "ram1"),
		"exit":                    runs().event("die", "cpu1", "exitCode", "0").event("destroy", "cpu1"),
		"refused, then exit":      runs().line("intent", "1", "cpu1", "").line("outcome", "1", "cpu1", "refused").event("die", "cpu1", "exitCode", "0"),
		"fault injector":          runs().add(Entry{Note: TamperStarts, ID: "cpu1"}).ends("cpu1"),
		"generator clean":         runs().note(CleanStarts).ends("ram1").ends("ram2").note(CleanEnds),
		"failed start":            runs().ends("ram1").add(Entry{Note: GaveUp, ID: "ram1"}),
		"Docker is stopped": runs().note(DockerStops).ends("cpu1").ends("protected").ends("unmanaged").note(StreamDropped).
			add(Entry{List: list()}).event("start", "protected").note(DockerIsUp),
		"manager restarts in between": runs().line("intent", "1", "cpu1", "").ends("cpu1").line("outcome", "1", "cpu1", "unknown"),
		"the other one exits after the check": runs().line("intent", "1", "cpu1", "").
			event("die", "cpu2", "exitCode", "0").ends("cpu1").line("outcome", "1", "cpu1", "done"),
		"another one starts in time": runs().killed("1", "cpu1").line("intent", "2", "cpu2", "").event("start", "cpu1").ends("cpu2").line("outcome",
			"2", "cpu2", "done"),
		"dry run, inspect failed": runs().dry("dry_run", "intent", "d", "cpu1", "").dry("dry_run", "outcome", "d", "cpu1", "failed"),
		"dry run":                 runs().dry("dry_run", "intent", "d", "unmanaged", "").dry("dry_run", "outcome", "d", "unmanaged", "dry_run"),
	} {
		if r := Check(s.entries, true); len(r.Violations) > 0 {
			t.Errorf("%s: %q", name, r.Violations)
		}
	}
}

// Histories of an incorrect system.
func TestViolations(t *testing.T) {
	for _, c := range []struct {
		name      string
		s         *story
		invariant string
	}{
		{"kill without intent", runs().ends("cpu1"), IntentFirst},
		{"kill without intent after one with", runs().killed("1", "cpu1").ends("ram1"), IntentFirst},
		{"kill after the fault injector is done", runs().add(Entry{Note: TamperStarts, ID: "cpu1"}).add(Entry{
			Note: TamperEnds,
			ID:   "cpu1",
		}).ends("cpu1"), IntentFirst},
		{"pause without intent", runs().event("pause", "cpu1"), IntentFirst},
		{"intent after the kill", runs().event("kill", "cpu1").line("intent", "1", "cpu1", "").event("die", "cpu1", "exitCode", "137").line("outcome",
			"1", "cpu1", "done"), IntentFirst},
		{"kill after refused outcome", runs().line("intent", "1", "cpu1", "").line("outcome", "1", "cpu1", "refused").ends("cpu1"), IntentFirst},
		{"no outcome", runs().line("intent", "1", "cpu1", "").ends("cpu1"), OneOutcome},
		{"two outcomes", runs().killed("1", "cpu1").line("outcome", "1", "cpu1", "unknown"), OneOutcome},
		{"two intents with one id", runs().killed("1", "cpu1").killed("1", "ram1"), OneOutcome},
		{"outcome without intent", runs().line("outcome", "1", "cpu1", "done"), OutcomeOf},
		{"outcome before the intent", runs().line("outcome", "1", "cpu1", "failed").line("intent", "1", "cpu1", ""), OutcomeOf},
		{"intent for a protected container", runs().line("intent", "1", "protected", "").line("outcome", "1", "protected", "refused"), Untouched},
		{"protected container killed, with intent", runs().killed("1", "protected"), Untouched},
		{"protected container killed, without intent", runs().ends("protected"), Untouched},
		{"misspelt label, killed", runs().killed("1", "misspelt"), Untouched},
		{"unmanaged container killed", runs().ends("unmanaged"), Untouched},
		{"unmanaged container paused", runs().event("pause", "unmanaged"), Untouched},
		{"unmanaged container exits", runs().event("die", "unmanaged", "exitCode", "0"), Untouched},
		{"generator clean removes another container", runs().note(CleanStarts).ends("cpu1").note(CleanEnds), IntentFirst},
		{"failed start of another container", runs().ends("cpu1").add(Entry{Note: GaveUp, ID: "cpu1"}), IntentFirst},
		{"last of a kind", runs().killed("1", "cpu1").killed("2", "cpu2"), OneLeft},
		{"last two at once", runs().line("intent", "1", "cpu1", "").line("intent", "2", "cpu2", "").ends("cpu1").ends("cpu2").
			line("outcome", "1", "cpu1", "done").line("outcome", "2", "cpu2", "done"), OneLeft},
		{"last, the other is paused", runs().add(Entry{Note: TamperStarts, ID: "cpu2"}).event("pause", "cpu2").killed("1", "cpu1"), OneLeft},
		{"last, the other has exited long ago", runs().event("die", "cpu2", "exitCode", "0").killed("1", "cpu1"), OneLeft},
		{"last after a Docker restart", runs().note(DockerStops).add(Entry{List: list("cpu1")}).note(DockerIsUp).killed("1", "cpu1"), OneLeft},
		{"last, after a kill with unknown outcome", runs().line("intent", "1", "cpu1", "").event("kill", "cpu1").
			line("outcome", "1", "cpu1", "unknown").line("intent", "2", "cpu2", "").event("kill", "cpu2").
			event("die", "cpu1", "exitCode", "137").event("die", "cpu2", "exitCode", "137").line("outcome", "2", "cpu2", "done"), OneLeft},
		{"dry run kills", runs().dry("dry_run", "intent", "d", "cpu1", "").ends("cpu1").dry("dry_run", "outcome", "d", "cpu1", "dry_run"), IntentFirst},
		{"dry run with outcome done", runs().dry("dry_run", "intent", "d", "cpu1", "").dry("dry_run", "outcome", "d", "cpu1", "done"), DryIsDry},
		{"dry run in mode live", runs().dry("live", "intent", "d", "cpu1", "").dry("live", "outcome", "d", "cpu1", "refused"), DryIsDry},
		{"dry run, outcome without intent", runs().dry("dry_run", "outcome", "d", "cpu1", "dry_run"), OutcomeOf},
		{"events lost", runs().note(StreamDropped), EventsArrived},
	} {
		r := Check(c.s.entries, true)
		if !strings.Contains(strings.Join(r.Violations, "\n"), c.invariant) {
			t.Errorf("%s: %q", c.name, r.Violations)
		}
	}
}

// The intent is on disk before the event was read, but after the kill.
func TestIntentLateByClock(t *testing.T) {
	s := runs().killed("1", "cpu1")
	for i := range s.entries {
		if l := s.entries[i].Line; l != nil && l.Phase == "intent" {
			l.Time = l.Time.Add(3 * time.Second)
		}
	}
	if r := Check(s.entries, true); len(r.Violations) != 1 || !strings.Contains(r.Violations[0], IntentFirst) {
		t.Errorf("%q", r.Violations)
	}
	s.entries = append([]Entry{{Note: ClockStep, At: s.entries[len(s.entries)-1].At}}, s.entries...)
	if r := Check(s.entries, true); len(r.Violations) != 0 {
		t.Errorf("near a clock step: %q", r.Violations)
	}
}

// Kills in flight are not violations before the end.
func TestInFlight(t *testing.T) {
	s := runs().line("intent", "1", "cpu1", "").event("kill", "cpu1")
	if r := Check(s.entries, false); len(r.Violations) != 0 {
		t.Errorf("%q", r.Violations)
	}
}

func TestFigures(t *testing.T) {
	s := runs().killed("1", "cpu1").note(CleanStarts).ends("ram1").note(CleanEnds).event("die", "ram2", "exitCode", "0").
		add(Entry{Note: TamperStarts, ID: "cpu2"}).ends("cpu2")
	r := Check(s.entries, true)
	if len(r.Violations) > 0 || r.Batches != 2 || r.Created != 2 || r.Outcomes["done"] != 1 ||
		fmt.Sprint(r.Ends) != fmt.Sprint(map[string]int{byManager: 1, byGenerator: 1, byItself: 1, byInjector: 1}) ||
		fmt.Sprint(r.Emptied) != fmt.Sprint(map[string]int{byInjector: 1}) {
		t.Errorf("%+v", r)
	}
}

func TestParse(t *testing.T) {
	e, err := ParseEvent([]byte(`{"status":"die","id":"ab","Type":"container","Action":"die","Actor":{"ID":"ab","Attributes":{"exitCode":"0","name":"n","estiba.kind":"cpu"}},"time":1,"timeNano":1000000002}`))
	if err != nil || e.Action != "die" || e.ID != "ab" || e.Attributes["exitCode"] != "0" || e.Wall.UnixNano() != 1000000002 {
		t.Errorf("%+v, %v", e, err)
	}
	if l, ok := ParseLine([]byte(`{"ts":"2026-01-01T00:00:00Z","kill_id":"k","phase":"outcome","container":"c","outcome":"unknown","found":"gone","mode":"live"}`)); !ok ||
		l.KillID != "k" || l.Found != "gone" || !l.Time.Equal(born) {
		t.Errorf("%+v", l)
	}
	if got := ParseGaveUp([]byte(`level=error msg="creating container failed" name=cpu-low-x batch=1 err="no space left"`)); got != "cpu-low-x" {
		t.Errorf("gave up %q", got)
	}
	if got := ParseGaveUp([]byte(`level=info msg="removed leftover container" name=cpu-low-y state=created`)); got != "cpu-low-y" {
		t.Errorf("gave up %q", got)
	}
	if got := ParseGaveUp([]byte(`level=info msg="created 3 containers: 3 cpu low" batch=1`)); got != "" {
		t.Errorf("gave up %q", got)
	}
	for _, text := range []string{`{"kill_id":"k","pha`, `{}`, `0`} {
		if l, ok := ParseLine([]byte(text)); ok {
			t.Errorf("%q parsed as %+v", text, l)
		}
	}
}
