package audit

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/manager/policy"
)

// text is a state as in a checkpoint, in canonical form.
func text(s State) string {
	data, err := json.MarshalIndent(history{State: s}.checkpoint(), "", " ")
	if err != nil {
		return err.Error()
	}
	return string(data)
}

type failer interface {
	Helper()
	Errorf(format string, args ...any)
}

func same(t failer, got, want State) {
	t.Helper()
	if g, w := text(got), text(want); g != w {
		t.Errorf("state = %s\nwant %s", g, w)
	}
}

var (
	noon  = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	begun = noon.Add(-time.Hour) // the intended life
)

// act is a whole kill, from its intent on.
type act struct {
	mode      policy.Mode
	action    string
	outcome   Outcome // "" while it is in flight
	acted     bool
	found     Found
	startedAt time.Time
	u         int
}

func (a act) records(n int) []Record {
	at := noon.Add(time.Duration(n) * time.Minute)
	rec := Record{
		Time: at, KillID: fmt.Sprint(n), Phase: Intent, Rule: "r", Container: "c", StartedAt: a.startedAt, Mode: a.mode, Action: a.action,
		Unrelieved: a.u,
	}
	if rec.Mode == "" {
		rec.Mode = policy.Live
	}
	if rec.Action == "" {
		rec.Action = "kill"
	}
	if rec.StartedAt.IsZero() {
		rec.StartedAt = begun
	}
	list := []Record{rec}
	if a.outcome != "" {
		rec.Phase, rec.Outcome, rec.Acted, rec.Found, rec.Time = Done, a.outcome, a.acted, a.found, at.Add(time.Second)
		list = append(list, rec)
	}
	return list
}

func TestState(t *testing.T) {
	const live = true
	end := noon.Add(time.Second) // of the first kill
	kill := RuleState{LastKill: end, Unrelieved: 1}
	signalled := map[string]time.Time{"c": begun}
	second := func(r RuleState) map[string]RuleState {
		r.LastKill = end.Add(time.Minute)
		return map[string]RuleState{"r": r}
	}
	for name, c := range map[string]struct {
		acts []act
		want State
	}{
		"done":                   {[]act{{outcome: OutcomeDone, acted: live}}, State{Rules: map[string]RuleState{"r": kill}, LastLiveKill: end}},
		"unknown, still running": {[]act{{outcome: OutcomeUnknown, acted: live, found: FoundRunning}}, State{Rules: map[string]RuleState{"r": kill}, LastLiveKill: end, Signalled: signalled}},
		"unknown, paused":        {[]act{{outcome: OutcomeUnknown, acted: live, found: FoundPaused}}, State{Rules: map[string]RuleState{"r": kill}, LastLiveKill: end, Signalled: signalled}},
		"unknown, gone":          {[]act{{outcome: OutcomeUnknown, acted: live, found: FoundGone}}, State{Rules: map[string]RuleState{"r": kill}, LastLiveKill: end}},
		"unknown, restarted":     {[]act{{outcome: OutcomeUnknown, acted: live, found: FoundRestarted}}, State{Rules: map[string]RuleState{"r": kill}, LastLiveKill: end}},
		"failed after a signal":  {[]act{{outcome: OutcomeFailed, acted: live}}, State{Rules: map[string]RuleState{"r": kill}, LastLiveKill: end, Signalled: signalled}},
		"pause failed": {
			[]act{{action: "pause", outcome: OutcomeFailed, acted: live}},
			State{Rules: map[string]RuleState{"r": kill}, LastLiveKill: end, Signalled: signalled},
		},
		"failed before one": {[]act{{outcome: OutcomeFailed}}, State{Rules: map[string]RuleState{"r": {}}}},
		"refused":           {[]act{{outcome: OutcomeRefused}}, State{Rules: map[string]RuleState{"r": {}}}},
		"already gone":      {[]act{{outcome: OutcomeAlreadyGone}}, State{Rules: map[string]RuleState{"r": {}}}},
		"no record":         {[]act{{outcome: OutcomeNoRecord}}, State{Rules: map[string]RuleState{"r": {}}}},
		"dry run": {[]act{{mode: policy.DryRun, outcome: OutcomeDryRun}}, State{
			Rules: map[string]RuleState{"r": {LastKill: end}}, DryRun: map[policy.Candidate]time.Time{{Rule: "r", ID: "c"}: begun},
		}},
		"dry run of the whole manager": {[]act{{outcome: OutcomeDryRun}}, State{
			Rules: map[string]RuleState{"r": kill}, DryRun: map[policy.Candidate]time.Time{{Rule: "r", ID: "c"}: begun},
		}},
		// it may be carried out at any time
		"under way":          {[]act{{}}, State{Rules: map[string]RuleState{"r": {LastKill: noon, Unrelieved: 1}}, LastLiveKill: noon, Signalled: signalled}},
		"dry run, under way": {[]act{{mode: policy.DryRun}}, State{}},

		// Later kills of a signalled life.
		"failed, then refused": {[]act{{outcome: OutcomeFailed, acted: live}, {outcome: OutcomeRefused}}, State{Rules: map[string]RuleState{"r": kill}, LastLiveKill: end, Signalled: signalled}},
		"failed, then paused": {
			[]act{{outcome: OutcomeFailed, acted: live}, {action: "pause", outcome: OutcomeDone, acted: live}},
			State{Rules: second(kill), LastLiveKill: end.Add(time.Minute), Signalled: signalled},
		},
		"failed, then done": {
			[]act{{outcome: OutcomeFailed, acted: live}, {outcome: OutcomeDone, acted: live}},
			State{Rules: second(kill), LastLiveKill: end.Add(time.Minute)},
		},
		"failed, then gone": {[]act{{outcome: OutcomeFailed, acted: live}, {outcome: OutcomeAlreadyGone}}, State{Rules: map[string]RuleState{"r": kill}, LastLiveKill: end}},
		"failed, then done on another life": {
			[]act{{outcome: OutcomeFailed, acted: live}, {outcome: OutcomeDone, acted: live, startedAt: noon}},
			State{Rules: second(kill), LastLiveKill: end.Add(time.Minute), Signalled: signalled},
		},
		"failed, then under way on another life": {[]act{{outcome: OutcomeFailed, acted: live}, {startedAt: noon}}, State{Rules: map[string]RuleState{"r": {LastKill: noon.Add(time.Minute), Unrelieved: 1}}, LastLiveKill: noon.Add(time.Minute), Signalled: map[string]time.Time{"c": noon}}},

		// Kills without known relief.
		"two of one tick": {[]act{{outcome: OutcomeDone, acted: live}, {outcome: OutcomeRefused}}, State{Rules: map[string]RuleState{"r": kill}, LastLiveKill: end}},
		"the next tick": {
			[]act{{outcome: OutcomeDone, acted: live}, {outcome: OutcomeDone, acted: live, u: 1}},
			State{Rules: second(RuleState{Unrelieved: 2}), LastLiveKill: end.Add(time.Minute)},
		},
		"the next was refused": {[]act{{outcome: OutcomeDone, acted: live}, {outcome: OutcomeRefused, u: 1}}, State{Rules: map[string]RuleState{"r": kill}, LastLiveKill: end}},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, filepath.Join(t.TempDir(), "audit.jsonl"), Options{})
			for i, a := range c.acts {
				for _, rec := range a.records(i) {
					if rec.Phase == Intent {
						must(t, l.Intent(rec))
					} else {
						must(t, l.Outcome(rec))
					}
				}
			}
			got := l.State()
			got.Kills = nil // see TestKillsOfTheHour
			same(t, got, c.want)
		})
	}
}

// Of two intents of one tick the first is refused while the other is in flight.
func TestUnrelievedOfParallelKills(t *testing.T) {
	for _, second := range []Outcome{OutcomeRefused, OutcomeDone} {
		h := emptyHistory()
		a, b := act{outcome: OutcomeRefused}.records(0), act{outcome: second, acted: true}.records(1)
		for i, step := range []struct {
			rec  Record
			want int
		}{{a[0], 1}, {b[0], 1}, {a[1], 1}, {b[1], map[Outcome]int{OutcomeRefused: 0, OutcomeDone: 1}[second]}} {
			h.apply(step.rec)
			if got := h.now().Rules["r"].Unrelieved; got != step.want {
				t.Errorf("second %s, step %d: %d, want %d", second, i, got, step.want)
			}
		}
	}
}

func TestRelief(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path, Options{Now: func() time.Time { return noon }})
	stopped := noon.Add(time.Second)
	for i, c := range []RuleState{{Unrelieved: 1}, {Unrelieved: 2, StoppedAt: stopped}, {}} {
		must(t, l.Relief("r", c.Unrelieved, c.StoppedAt))
		want := State{Rules: map[string]RuleState{"r": c}}
		same(t, l.State(), want)
		must(t, l.Close())
		l = open(t, path, Options{})
		same(t, l.State(), want)
		got := acts(t, path)
		if r := got[len(got)-1]; len(got) != i+1 || r.Phase != Relief || r.Rule != "r" || (r.StoppedAt == nil) != c.StoppedAt.IsZero() || l.Skipped() != 0 {
			t.Errorf("%d lines, the last one %+v; %d skipped", len(got), r, l.Skipped())
		}
	}
}

// A measurement that cannot be written waits; of each rule only the last one is
// written.
func TestReliefNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	d := &disk{sync: 4}
	l, err := openWith(path, Options{}, d.open)
	must(t, err)
	if l.Relief("r", 1, time.Time{}) == nil || l.Relief("r", 2, noon) == nil {
		t.Fatal("written on a disk that fails")
	}
	if got := l.State().Rules["r"]; got.Unrelieved != 2 || l.Waiting() != 1 {
		t.Errorf("%+v, %d waiting", got, l.Waiting())
	}
	must(t, l.Intent(record("1")))
	if got := acts(t, path); len(got) < 2 || got[len(got)-2].Unrelieved != 2 || l.Waiting() != 0 {
		t.Errorf("lines = %+v", got)
	}
}

func TestForget(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit.jsonl"), Options{})
	for i, id := range []string{"gone", "there", "restarted"} {
		for n, a := range []act{{outcome: OutcomeFailed, acted: true}, {mode: policy.DryRun, outcome: OutcomeDryRun}} {
			recs := a.records(2*i + n)
			recs[0].Container, recs[1].Container = id, id
			must(t, l.Intent(recs[0]))
			must(t, l.Outcome(recs[1]))
		}
	}
	before := l.State()
	l.Forget(func(id string) bool { return id != "gone" })
	l.LifeEnded("restarted")
	s := l.State()
	if _, there := s.Signalled["there"]; !there || len(s.Signalled) != 1 {
		t.Errorf("signalled = %v", s.Signalled)
	}
	if _, gone := s.DryRun[policy.Candidate{Rule: "r", ID: "gone"}]; gone || len(s.DryRun) != 2 {
		t.Errorf("dry runs = %v", s.DryRun)
	}
	if len(before.Signalled) != 3 || len(before.DryRun) != 3 {
		t.Errorf("what State has returned was changed: %+v", before)
	}
}

// A rule's cooldown and relief state survive any other records, in files of this
// version and of versions without checkpoints.
func TestStateOutlivesRecordsOfOthers(t *testing.T) {
	for _, checkpoints := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l := open(t, path, Options{MaxBytes: 60_000})
		mine := act{outcome: OutcomeDone, acted: true, u: 2}.records(0)
		must(t, l.Intent(mine[0]))
		must(t, l.Outcome(mine[1]))
		if checkpoints {
			must(t, l.Relief("r", 3, noon))
		}
		for i := range 1000 {
			other := act{outcome: OutcomeDone, acted: true}.records(1 + i)
			other[0].Rule, other[1].Rule = "busy", "busy"
			must(t, l.Intent(other[0]))
			must(t, l.Outcome(other[1]))
		}
		want := l.State()
		must(t, l.Close())
		if checkpoints {
			if _, err := os.Stat(path + ".5"); err != nil {
				t.Fatalf("too few rotations: %v", err)
			}
		} else {
			for i := range 6 {
				name := path
				if i > 0 {
					name = fmt.Sprint(path, ".", i)
				}
				data, err := os.ReadFile(name)
				must(t, err)
				_, rest, _ := strings.Cut(string(data), "\n")
				if i == 5 { // the oldest one
					var a, b []byte
					a, _ = encode(mine[0])
					b, _ = encode(mine[1])
					rest = string(a) + string(b) + rest
				}
				must(t, os.WriteFile(name, []byte(rest), 0o640))
			}
		}
		l = open(t, path, Options{Recent: 1000})
		got := l.State()
		if got.Rules["r"] != want.Rules["r"] || got.Rules["r"].Unrelieved != 3 {
			t.Errorf("checkpoints %v: %+v, want %+v", checkpoints, got.Rules["r"], want.Rules["r"])
		}
		if len(l.Recent()) < 500 {
			t.Errorf("checkpoints %v: %d recent", checkpoints, len(l.Recent()))
		}
	}
}

// Each file begins with a checkpoint.
func TestEachFileBeginsWithACheckpoint(t *testing.T) {
	for name, begin := range map[string]func(path string) error{
		"moved away": func(path string) error { return os.Rename(path, path+".old") },
		"removed":    os.Remove,
		"cut":        func(path string) error { return os.Truncate(path, 0) },
		"replaced": func(path string) error {
			if err := os.WriteFile(path+".new", []byte("not a record\n"), 0o640); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			l := open(t, path, Options{})
			must(t, l.Intent(record("open")))
			must(t, l.Relief("r", 7, noon))
			must(t, begin(path))
			must(t, l.Veto(record("2")))
			want, unfinished := l.State(), len(l.Unfinished())
			must(t, l.Close())
			l = open(t, path, Options{})
			same(t, l.State(), want)
			if len(l.Unfinished()) != unfinished || unfinished != 1 {
				t.Errorf("unfinished = %+v", l.Unfinished())
			}
		})
	}
}
