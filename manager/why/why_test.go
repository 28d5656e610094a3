package why

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
)

var update = flag.Bool("update", false, "write testdata/paragraphs.txt")

var (
	noon  = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC) // a Monday
	begun = noon.Add(-2 * time.Hour)
	query = "time() - max by (id) (estiba_container_start_time_seconds) > 60"
)

func id(name string) string { return container.HashID(name) }

// kill are the records of one kill.
func kill(name string, at time.Time, change func(*audit.Record)) []audit.Record {
	intent := audit.Record{
		Time: at, KillID: "k-" + name + at.Format("-150405"), Phase: audit.Intent, Rule: "old", Kind: "ram", Container: id(name), StartedAt: begun,
		Name: name, Image: "web:1", Value: 7200, Query: query, Reason: policy.Chosen, Mode: policy.Live, Action: "remove",
	}
	done := intent
	done.Phase, done.Outcome, done.Time, done.Duration, done.Acted = audit.Done, audit.OutcomeDone, at.Add(1200*time.Millisecond), 1.2, true
	if change != nil {
		change(&done)
	}
	return []audit.Record{intent, done}
}

// listed is a container as the Engine has it.
func listed(name, state string, start time.Time) dockerclient.Container {
	return dockerclient.Container{
		ID: id(name), Name: name, Image: "web:1", State: state, StartedAt: start, Labels: map[string]string{"estiba.kind": "ram"},
	}
}

// ask answers about a container.
func ask(t *testing.T, text string, at time.Time, records []audit.Record, list []dockerclient.Container, tick *Tick, unknown ...string) string {
	t.Helper()
	m, err := Find(text, records, list)
	if err != nil {
		t.Fatal(err)
	}
	q := Question{At: at, Lives: m.Lives(records, m.Listed(list), !strings.Contains(strings.Join(unknown, " "), "what runs")), Unknown: unknown}
	found := false
	if q.Life, found = At(q.Lives, at); !found {
		t.Fatal("no life")
	}
	if q.Life.RunsAt(at) {
		q.Tick = tick
	}
	return Explain(q).Text
}

const policyText = `
mode: live
scope: all
keep: [{by: kind, min: 1}, {by: name, match: "db-*", min: 1}]
protect: {names: [], images: [], labels: {}}
max_kills_per_tick: 3
rules:
  - name: old
    query: time() - max by (id) (estiba_container_start_time_seconds) > 60
    for: 30s
    action: remove
    cooldown: 1m
    max_kills: 2
    max_kills_per_hour: 4
    schedule: {time_zone: UTC, windows: [{from: "08:00", to: "20:00"}]}
  - name: large
    query: max by (id) (estiba_container_memory_rss_bytes) > 2^30
    action: stop
    dry_run: true
`

// world is a policy and what it decides about. Two containers of kind ram run, and no
// guard spares the first one.
type world struct {
	policy.World
	policy *gather.Policy
	tick   Tick
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c, err := config.Parse([]byte(policyText))
	if err != nil {
		t.Fatal(err)
	}
	client, err := promql.New("http://localhost:9090", "", "", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	p, err := gather.Load(c, client, false)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{policy: p, tick: Tick{Time: noon, Name: "a.yml", Policy: p, Errors: map[string]string{}, Resumes: map[string]time.Time{}}}
	containers := []policy.Container{w.container("web"), w.container("api")}
	answers := []policy.Answer{{Samples: []policy.Sample{w.sample("web", 7200)}}, {}}
	memory := policy.NewMemory()
	memory.Held = map[policy.Candidate]policy.Hold{
		{Rule: "old", ID: id("web")}: {Start: begun, First: noon.Add(-time.Minute), Last: noon.Add(-10 * time.Second)},
	}
	w.World = p.World(noon, container.Docker, promql.Freshness{Fresh: true, At: noon.Add(-time.Second), Sequence: "9"}, containers, answers, memory)
	return w
}

func (w *world) container(name string) policy.Container {
	return policy.Container{
		ID: id(name), Name: name, Kind: container.KindRAM, InScope: true, StartedAt: begun, Groups: []policy.Group{{}, {Known: true}},
	}
}

func (w *world) sample(name string, v float64) policy.Sample {
	return policy.Sample{ID: id(name), Value: v, Start: begun, WindowFilled: true, LabelsKnown: true}
}

// decide makes the decision.
func (w *world) decide() *Tick {
	w.tick.Plan = policy.Decide(w.World)
	return &w.tick
}

// spared is a decision by a guard.
func spared(t *testing.T, r policy.Reason, past bool) *Tick {
	w := newWorld(t)
	c := w.Containers[0]
	if r == policy.Protected {
		c.Protected = []policy.Protection{policy.ProtectedByScrapeTarget, policy.ProtectedByMonitoring}
	}
	d := policy.Decision{Rule: "old", Choice: policy.Spare, Reason: r, Container: c, Value: 7200, Rank: 1}
	switch r {
	case policy.PendingFor, policy.Announced, policy.CoolingDown, policy.KillsUnknown, policy.HourlyBudgetSpent:
		d.Wait = 20 * time.Second
	case policy.LastOfGroup, policy.UnknownGroup:
		d.Detail = "name db-*"
	case policy.OutOfSchedule:
		d.Detail = "until Tue 2026-12-01 08:00 UTC"
	}
	w.tick.Past, w.tick.From = past, noon.Add(-time.Minute)
	w.tick.Resumes["old"] = noon.Add(time.Minute)
	w.tick.Plan = policy.Plan{Decisions: []policy.Decision{d}}
	return &w.tick
}

type paragraph struct{ name, text string }

func paragraphs(t *testing.T) []paragraph {
	var list []paragraph
	add := func(name, text string) { list = append(list, paragraph{name, text}) }
	now := time.Time{}
	web := []dockerclient.Container{listed("web", dockerclient.StateRunning, begun)}
	relief := func(at time.Time, n int, stopped bool) audit.Record {
		r := audit.Record{Time: at, Phase: audit.Relief, Rule: "old", Unrelieved: n}
		if stopped {
			r.StoppedAt = &at
		}
		return r
	}

	died := kill("web", noon, nil)
	add("died", ask(t, "web", now, died, nil, nil))
	pending := slices.Concat(died, []audit.Record{relief(noon.Add(2*time.Second), 1, false)})
	add("died, and its relief is recorded", ask(t, "web", now, slices.Concat(pending, []audit.Record{relief(noon.Add(9*time.Second), 0, false)}), nil, nil))
	add("died, and relief failed", ask(t, "web", now, slices.Concat(pending, []audit.Record{relief(noon.Add(9*time.Second), 1, true)}), nil, nil))
	add("died, and relief is not measured yet", ask(t, "web", now, pending, nil, nil))
	next := kill("api", noon.Add(time.Minute), nil)
	next[0].Unrelieved = 1
	add("died, and another kill followed without relief", ask(t, "web", now, slices.Concat(died, next), nil, nil))
	for _, o := range audit.Outcomes()[1:] {
		add("a kill with the outcome "+string(o), ask(t, "web", now, kill("web", noon, func(r *audit.Record) {
			r.Outcome = o
			switch o {
			case audit.OutcomeRefused:
				r.Guard, r.Veto = policy.Vetoed, &audit.Veto{Silences: []string{"5f0c"}, CreatedBy: "ana", Comment: "until noon"}
			case audit.OutcomeFailed:
				r.Error = "stopping container: context deadline exceeded"
			case audit.OutcomeUnknown:
				r.Found = audit.FoundGone
			}
		}), nil, nil))
	}
	add("a kill without an outcome", ask(t, "web", now, died[:1], web, newWorld(t).decide()))
	veto := died[0]
	veto.Phase, veto.Veto = audit.Vetoed, &audit.Veto{Silences: []string{"5f0c"}}
	add("vetoed", ask(t, "web", now, []audit.Record{veto}, web, spared(t, policy.Vetoed, false)))
	paused := kill("web", noon, func(r *audit.Record) { r.Action = "pause" })
	add("paused", ask(t, "web", now, paused, []dockerclient.Container{listed("web", dockerclient.StatePaused, begun)}, spared(t, policy.Transitional, false)))
	add("paused, and Docker is down", ask(t, "web", now, paused, nil, nil, "what runs, connection refused"))
	exited := listed("web", dockerclient.StateExited, begun)
	exited.EndedAt, exited.ExitCode, exited.OOMKilled = noon, 137, true
	add("exited on its own", ask(t, "web", now, nil, []dockerclient.Container{exited}, nil))

	add("would be killed next", ask(t, "web", now, nil, web, newWorld(t).decide()))
	w := newWorld(t)
	w.Answers = []policy.Answer{{}, {Samples: []policy.Sample{w.sample("web", 3<<30)}}}
	add("would be recorded next, by a dry run", ask(t, "web", now, nil, web, w.decide()))
	w = newWorld(t)
	w.Answers = nil
	add("not selected", ask(t, "web", now, nil, web, w.decide()))
	w = newWorld(t)
	w.Answers, w.Containers[0].Protected = nil, []policy.Protection{policy.ProtectedByLabel}
	add("not selected, and protected", ask(t, "web", now, nil, web, w.decide()))
	w = newWorld(t)
	w.Containers = w.Containers[:1]
	add("the last of its kind", ask(t, "web", now, nil, web, w.decide()))
	w = newWorld(t)
	w.Containers[0].Groups[1].Name = "db-*"
	add("the last of its group", ask(t, "web", now, nil, web, w.decide()))
	w = newWorld(t)
	w.Memory.LastKill["old"], w.Memory.LastLiveKill = noon.Add(-45*time.Second), noon.Add(-45*time.Second)
	add("in the cooldown", ask(t, "web", now, nil, web, w.decide()))
	w = newWorld(t)
	w.Now = noon.Add(10 * time.Hour)
	add("outside the schedule", ask(t, "web", now, nil, web, w.decide()))
	w = newWorld(t)
	for range 4 {
		w.Memory.Kills = append(w.Memory.Kills, policy.PastKill{Rule: "old", Mode: policy.Live, At: noon.Add(-50 * time.Minute)})
	}
	add("over the limit of the hour", ask(t, "web", now, nil, web, w.decide()))
	for _, r := range policy.Guards() {
		add("spared as "+string(r), ask(t, "web", now, nil, web, spared(t, r, false)))
	}

	add("pending at a time in the past", ask(t, "web", noon, nil, web, spared(t, policy.PendingFor, true)))
	w = newWorld(t)
	w.tick.Past, w.tick.From = true, noon
	add("at a time before it was killed", ask(t, "web", noon.Add(-time.Minute), died, nil, w.decide()))
	w = newWorld(t)
	w.Containers, w.Answers, w.tick.Past, w.tick.From = nil, nil, true, noon
	add("the history does not reach back", ask(t, "web", noon, nil, web, w.decide()))

	again := kill("web", noon.Add(time.Hour), func(r *audit.Record) { r.Phase = audit.Done })
	for i := range again {
		again[i].Container, again[i].StartedAt = id("web, again"), noon.Add(10*time.Minute)
	}
	both := slices.Concat(died, again)
	add("the name was used again", ask(t, "web", now, both, nil, nil))
	add("the name was used again, the first life", ask(t, "web", noon.Add(5*time.Minute), both, nil, nil))
	started := []dockerclient.Container{listed("web", dockerclient.StateRunning, noon.Add(time.Hour))}
	add("killed, and started again", ask(t, "web", now, died, started, newWorld(t).decide()))

	w = newWorld(t)
	w.Answers = []policy.Answer{{Unusable: true}, {Unusable: true}}
	w.tick.Error = "prometheus_error: connection refused"
	w.tick.Errors = map[string]string{"old": "connection refused", "large": "connection refused"}
	refused := kill("web", noon, func(r *audit.Record) { r.Outcome, r.Guard = audit.OutcomeRefused, policy.LastOfKind })
	add("Prometheus is down", ask(t, "web", now, refused, web, w.decide()))
	add("no audit log", ask(t, "web", now, nil, web, newWorld(t).decide(), "kills of it before now, no audit file is given"))
	add("Docker is down", ask(t, "web", now, died, nil, nil, "what runs, connection refused"))
	add("Docker is down, and the record has no end", ask(t, "web", now, refused, nil, nil, "what runs, connection refused"))
	return list
}

// The paragraphs, one for each case.
func TestParagraphs(t *testing.T) {
	const file = "testdata/paragraphs.txt"
	var b strings.Builder
	for _, p := range paragraphs(t) {
		fmt.Fprintf(&b, "# %s\n%s\n\n", p.name, p.text)
	}
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, expected := strings.Split(b.String(), "\n\n"), strings.Split(string(want), "\n\n")
	for i := range max(len(got), len(expected)) {
		if i >= len(got) || i >= len(expected) || got[i] != expected[i] {
			t.Fatalf("paragraph %d differs; write them with -update and read the difference\ngot  %q\nwant %q",
				i, at(got, i), at(expected, i))
		}
	}
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

// Each reason has words of its own.
func TestGuardTexts(t *testing.T) {
	seen := map[string]policy.Reason{}
	for _, r := range append(policy.Guards(), policy.PolicyReplaced, policy.Stopping) {
		text, known := guardTexts[r]
		if other, twice := seen[text]; !known || twice {
			t.Errorf("%s: text %q, as %q", r, text, other)
		}
		seen[text] = r
	}
}

func TestFind(t *testing.T) {
	a, b := strings.Repeat("a", 64), "aab"+strings.Repeat("b", 61)
	records := []audit.Record{{Container: a, Name: "web"}, {Container: b, Name: "web"}, {Phase: audit.Relief}}
	list := []dockerclient.Container{{ID: strings.Repeat("c", 64), Name: "aaa"}}
	for text, want := range map[string]string{
		"web": "web", "aaa": "aaa", a: a, a[:12]: a, "aab": b, "ccc": strings.Repeat("c", 64),
	} {
		m, err := Find(text, records, list)
		if err != nil || m.name != want && !m.ids[want] || len(m.ids) > 1 {
			t.Errorf("%s: %+v, %v, want %s", text, m, err, want)
		}
	}
	for text, want := range map[string]error{"aa": ErrAmbiguous, "web2": ErrUnknown, "": ErrUnknown, "d": ErrUnknown} {
		_, err := Find(text, records, list)
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
		if errors.Is(want, ErrAmbiguous) && !strings.Contains(err.Error(), "aaaaaaaaaaaa web, aabbbbbbbbbb web") {
			t.Errorf("no candidates in %v", err)
		}
	}
}

// An id is that of one container, also beside one without a name.
func TestLivesOfAnID(t *testing.T) {
	records := []audit.Record{{Phase: audit.Done, KillID: "1", Container: id("a")}, {Phase: audit.Done, KillID: "2", Container: id("b")}}
	m, err := Find(id("a"), records, nil)
	if lives := m.Lives(records, nil, true); err != nil || len(lives) != 1 || lives[0].ID != id("a") {
		t.Errorf("lives %+v, %v", lives, err)
	}
}

// What could not be read is in the JSON too.
func TestUnknown(t *testing.T) {
	w := newWorld(t)
	w.Answers = []policy.Answer{{Unusable: true}, {}}
	w.tick.Error = "no_fresh_data: no sample"
	m, _ := Find("web", nil, []dockerclient.Container{listed("web", dockerclient.StateRunning, begun)})
	lives := m.Lives(nil, []dockerclient.Container{listed("web", dockerclient.StateRunning, begun)}, true)
	a := Explain(Question{Life: lives[0], Lives: lives, Tick: w.decide(), Unknown: []string{"x"}})
	if len(a.Unknown) != 3 || a.Unknown[0] != "x" || !strings.Contains(a.Unknown[2], "rule old") {
		t.Errorf("unknown %q", a.Unknown)
	}
}

func TestNoLifeAtThatTime(t *testing.T) {
	lives := []Life{{StartedAt: noon}}
	if _, found := At(lives, noon.Add(-time.Second)); found {
		t.Error("a life before its start")
	}
	if l, found := At(lives, noon); !found || !l.RunsAt(noon) {
		t.Error("no life at its start")
	}
}
