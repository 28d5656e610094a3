package policy

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/estiba/estiba/internal/container"
)

// TestMain runs each property of this package on thousands of worlds: they are cheap.
// -rapid.checks overrides it.
func TestMain(m *testing.M) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if !asked {
		flag.Set("rapid.checks", "3000")
	}
	os.Exit(m.Run())
}

// model is a host, its exporter, its Prometheus and a manager, over time and with all
// faults, in memory. running is the true state; the manager sees the last scrape.
type model struct {
	now     time.Time
	running map[string]*modelled // by id
	next    int                  // for ids

	scraped  Data
	rows     map[string]time.Time // start by id, as of the last scrape
	sequence int

	rules   []Rule
	keep    []Keep
	memory  Memory
	acts    []*modelAct
	lastAct time.Time      // begin or end of the last kill
	row     map[string]int // kills of a rule since its last relief
	kills   int
}

type modelled struct {
	Container
	dying bool
}

type modelAct struct {
	rule  string
	round uint64
	id    string
	fails bool
	// forgotten: begun by an earlier manager.
	forgotten bool
}

// faultless is one run of the model: random events, and after each decision a check of
// the invariants against the true state.
func faultless(t *rapid.T, guards []guard) (kills int, broken []string) {
	m := &model{now: epoch, running: map[string]*modelled{}, rows: map[string]time.Time{}, memory: NewMemory(), row: map[string]int{}}
	if rapid.Bool().Draw(t, "keep") {
		m.keep = drawKeep(t)
	}
	for i := range rapid.IntRange(1, 2).Draw(t, "rules") {
		m.rules = append(m.rules, Rule{
			Name: fmt.Sprintf("r%d", i), MaxKills: rapid.IntRange(1, 4).Draw(t, "max kills"), Mode: Live,
			Relief: Relief{By: ByCount, StopAfter: rapid.IntRange(0, 3).Draw(t, "stop after")},
		})
	}
	for range rapid.IntRange(2, 8).Draw(t, "first containers") {
		m.start(t, "")
	}
	for range rapid.IntRange(5, 40).Draw(t, "events") {
		m.now = m.now.Add(time.Duration(rapid.IntRange(0, 8000).Draw(t, "ms")) * time.Millisecond)
		id := ""
		if ids := m.ids(); len(ids) > 0 {
			id = rapid.SampledFrom(ids).Draw(t, "which")
		}
		switch event := rapid.SampledFrom([]string{
			"scrape", "scrape", "scrape", "tick", "tick", "tick", "act ends", "act ends",
			"start", "end", "restart", "replace", "pause", "bad scrape", "manager restarts", "clock",
		}).Draw(t, "event"); event {
		case "scrape", "bad scrape":
			m.scrape(event == "scrape")
		case "tick":
			broken = append(broken, m.tick(t, guards)...)
		case "act ends":
			m.actEnds(t)
		case "start":
			m.start(t, "")
		case "end":
			delete(m.running, id)
		case "restart":
			if c := m.running[id]; c != nil && !c.dying {
				m.now = m.now.Add(time.Millisecond) // a life is never empty
				c.EndedAt = m.now
				m.now = m.now.Add(time.Millisecond)
				c.StartedAt = m.now
			}
		case "replace":
			if c := m.running[id]; c != nil && !c.dying {
				delete(m.running, id)
				m.start(t, c.Name)
			}
		case "pause":
			if c := m.running[id]; c != nil {
				c.State = InTransition - c.State
			}
		case "manager restarts":
			// What is restored from the audit log: the last kills.
			old := m.memory
			m.memory = NewMemory()
			m.memory.LastLiveKill, m.memory.LastKill = old.LastLiveKill, old.LastKill
			m.row = map[string]int{}
			for _, a := range m.acts {
				a.round, a.forgotten = 0, true // completed from the audit log
			}
		case "clock":
			m.memory = m.memory.At(m.now)
		}
	}
	return m.kills, broken
}

func (m *model) ids() []string {
	var ids []string
	for id := range m.running {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (m *model) start(t *rapid.T, name string) {
	c := &modelled{Container: Container{
		ID: id(m.next), Name: name, Kind: rapid.SampledFrom([]container.Kind{container.KindCPU, container.KindRAM}).Draw(t, "kind"),
		InScope: rapid.IntRange(0, 5).Draw(t, "in scope") > 0, StartedAt: m.now,
	}}
	if name == "" {
		c.Name = fmt.Sprintf("c%d", m.next)
	}
	c.Groups = drawGroups(t, m.keep)
	if rapid.IntRange(0, 5).Draw(t, "protected") == 0 {
		c.Protected = []Protection{ProtectedByLabel}
	}
	m.next++
	m.running[c.ID] = c
}

func (m *model) scrape(good bool) {
	m.sequence++
	m.scraped = Data{Fresh: good, At: m.now, Sequence: fmt.Sprint(m.sequence)}
	if good {
		m.rows = map[string]time.Time{}
		for id, c := range m.running {
			m.rows[id] = c.StartedAt
		}
	}
}

// tick decides and begins the kills.
func (m *model) tick(t *rapid.T, guards []guard) (broken []string) {
	w := World{Now: m.now, Keep: m.keep, Budget: 5, Rules: m.rules, MaxGap: time.Minute, Data: m.scraped, Memory: m.memory.At(m.now)}
	w.Data.Fresh = w.Data.Fresh && m.now.Sub(w.Data.At) <= 20*time.Second
	for _, id := range m.ids() {
		c := m.running[id].Container
		if m.running[id].dying {
			c.State = BeingKilled
		}
		w.Containers = append(w.Containers, c)
	}
	var scraped []string
	for id := range m.rows {
		scraped = append(scraped, id)
	}
	slices.Sort(scraped)
	for range m.rules {
		var a Answer
		for i, id := range scraped {
			if rapid.IntRange(0, 2).Draw(t, "wanted") > 0 {
				a.Samples = append(a.Samples, Sample{
					ID: container.ShortID(id), Value: float64(len(scraped) - i), Start: m.rows[id], WindowFilled: true,
					LabelsKnown: true,
				})
			}
		}
		w.Answers = append(w.Answers, a)
	}
	p := decide(w, guards)
	m.memory.Advance(w, p)
	for _, one := range p.Measured {
		if one.Relieved {
			m.row[one.Rule] = 0
			m.row[one.Rule] += len(m.memory.ReliefState[one.Rule].Rounds) // not measured yet
		}
	}
	for _, b := range m.memory.Start(w, p, m.now) {
		r, victims := m.rules[b.Rule], b.Victims
		if m.row[r.Name]++; r.Relief.StopAfter > 0 && m.row[r.Name] > r.Relief.StopAfter {
			broken = append(broken, fmt.Sprintf("%d kills in a row that are not known to help, of at most %d", m.row[r.Name], r.Relief.StopAfter))
		}
		inFlightKills := 0
		for _, a := range m.acts {
			if a.rule == r.Name && !a.forgotten {
				inFlightKills++
			}
		}
		if inFlightKills+len(victims) > r.MaxKills {
			broken = append(broken, fmt.Sprintf("%d kills beside %d under way, of at most %d", len(victims), inFlightKills, r.MaxKills))
		}
		for _, v := range victims {
			broken = append(broken, m.wrong(v)...)
			if m.running[v.Container.ID] == nil {
				continue
			}
			m.running[v.Container.ID].dying = true
			m.acts = append(m.acts, &modelAct{rule: r.Name, round: b.Round, id: v.Container.ID, fails: rapid.IntRange(0, 5).Draw(t, "fails") == 0})
			m.kills++
		}
	}
	if len(p.Victims) > 0 {
		m.lastAct = m.now
	}
	broken = append(broken, m.brokenKeeps(p)...)
	return broken
}

// brokenKeeps lists the keep rules that the kills of a plan break, by the true state.
func (m *model) brokenKeeps(p Plan) []string {
	w := World{Keep: m.keep}
	chosen := map[string]bool{}
	for _, v := range p.Victims {
		chosen[v.Container.ID] = true
	}
	for id, one := range m.running {
		c := one.Container
		if one.dying && !chosen[id] {
			c.State = BeingKilled
		}
		w.Containers = append(w.Containers, c)
	}
	return brokenKeeps(w, chosen)
}

// wrong lists what a victim must not be, by the true state.
func (m *model) wrong(v Victim) (broken []string) {
	say := func(bad bool, what string) {
		if bad {
			broken = append(broken, what)
		}
	}
	c := m.running[v.Container.ID]
	if c == nil {
		return []string{"a victim that does not run"}
	}
	say(c.dying, "a second act on a dying container")
	say(c.State != Running, "a paused victim")
	say(!c.InScope, "a victim out of scope")
	say(len(c.Protected) > 0, "a protected victim")
	say(!m.scraped.Fresh || m.now.Sub(m.scraped.At) > 20*time.Second, "a kill on stale data")
	say(!m.rows[v.Container.ID].Equal(c.StartedAt), "a victim of another life")
	say(!m.lastAct.IsZero() && !m.lastAct.Equal(m.now) && !m.scraped.At.After(m.lastAct), "a kill on data from before the last act")
	return broken
}

// actEnds ends the oldest kill: the container is gone, or the Engine refused.
func (m *model) actEnds(t *rapid.T) {
	if len(m.acts) == 0 {
		return
	}
	a := m.acts[0]
	m.acts = m.acts[1:]
	if c := m.running[a.id]; c != nil {
		if c.dying = false; !a.fails {
			delete(m.running, a.id)
			if rapid.IntRange(0, 2).Draw(t, "put back") == 0 {
				m.start(t, c.Name)
			}
		}
	}
	m.lastAct = m.now
	m.memory.Finish(End{Rule: a.rule, ID: a.id, Mode: Live, Round: a.round, At: m.now, Begun: true, Killed: !a.fails})
	if a.fails {
		// A round without a successful kill is not a kill without relief.
		known := m.memory.ReliefState[a.rule]
		m.row[a.rule] = min(m.row[a.rule], known.Unrelieved+len(known.Rounds))
	}
}

func TestModel(t *testing.T) {
	kills := 0
	rapid.Check(t, func(t *rapid.T) {
		n, broken := faultless(t, guards())
		kills += n
		for _, what := range broken {
			t.Error(what)
		}
	})
	if kills == 0 {
		t.Error("no kill: the property was never tested")
	}
}

// The model must be able to fail: without any one of these guards, some sequence of
// events breaks an invariant.
func TestModelNoticesEachMissingGuard(t *testing.T) {
	for _, reason := range []Reason{
		AlreadyGone, Transitional, OutOfScope, Protected, StaleSample, SampleOlderThanLastKill, Restarted, LastOfKind, NoRelief,
		InFlight, UnknownGroup, LastOfGroup,
	} {
		noticed := false
		g := rapid.Custom(func(t *rapid.T) bool {
			_, broken := faultless(t, without(reason))
			return len(broken) > 0
		})
		for seed := 0; seed < 5000 && !noticed; seed++ {
			noticed = noticed || g.Example(seed)
		}
		if !noticed {
			t.Errorf("no sequence in 5000 shows that guard %s is missing", reason)
		}
	}
}
