package policy

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/estiba/estiba/internal/container"
)

// Plan is what one tick decides.
type Plan struct {
	// Decisions has, for each rule in turn, one for each candidate in rank
	// order, then one for each container that no rule names.
	Decisions []Decision
	// Victims are the kills, in the order they were decided.
	Victims []Victim
	// Held replaces Memory.Held when the tick is over.
	Held map[Candidate]Hold
	// Announced replaces Memory.Announced when the tick is over.
	Announced map[Candidate]Announcement
	// Pending are the announced kills of live rules, those that are vetoed too:
	// what has to be published for the announcement to go on.
	Pending []Pending
	// Measured is the effect of earlier kills, as far as it can be told now.
	Measured []Measurement
	// Rounds is what this tick's live kills will be measured by, for each rule
	// that has any.
	Rounds map[string]Round
	// BudgetLeft is how many live kills max_kills_per_tick still allowed.
	BudgetLeft int
}

// Decision is the verdict on one container by one rule.
type Decision struct {
	Rule      string // "" when no rule names the container
	Verdict   Verdict
	Reason    Reason
	Container Container // ID is the sample's when the Engine has none of it
	Value     float64   // the query's; 0 without a rule
	Rank      int       // 1 dies first; 0 without a rule
	// Wait is what is left of the rule's for, cooldown or announce.
	Wait time.Duration
}

// Victim is a container that is to be killed. Whoever kills it must know its
// StartedAt: with a zero one, look it up, and decide again.
type Victim struct {
	Rule      Rule
	Container Container
	Value     float64
}

// Decide makes the plan of one tick. It changes nothing in w.
func Decide(w World) Plan { return decide(w, guards()) }

// tick is the state of one decision under way.
type tick struct {
	world       World
	rule        Rule
	byID        map[string]int // index into world.Containers
	sortedIDs   []string
	held        map[Candidate]Hold
	announced   map[Candidate]Announcement
	live, dry   map[string]bool // ids planned in this tick
	expected    map[string]bool // ids that a live rule announces, and would plan otherwise
	expectedDry map[string]bool // the same of dry runs
	spentByRule int
	answer      Answer                 // of the rule
	relieving   Relieving              // of the rule, with what was measured in this tick
	living      map[container.Kind]int // see alive
}

// candidate is one row of a rule's answer, joined with the Engine's list.
type candidate struct {
	sample    Sample
	container Container
	found     bool
	doubled   bool
}

func decide(w World, guards []guard) Plan {
	t := &tick{
		world: w,
		byID:  make(map[string]int, len(w.Containers)),
		held:  map[Candidate]Hold{},
		live:  map[string]bool{},
		dry:   map[string]bool{},

		announced: map[Candidate]Announcement{}, expected: map[string]bool{}, expectedDry: map[string]bool{},
	}
	for i, c := range w.Containers {
		t.byID[c.ID] = i
		t.sortedIDs = append(t.sortedIDs, c.ID)
	}
	sort.Strings(t.sortedIDs)

	p := Plan{Rounds: map[string]Round{}}
	named := map[string]bool{}
	for i, rule := range w.Rules {
		t.rule, t.spentByRule, t.living = rule, 0, nil
		var answer Answer
		if i < len(w.Answers) {
			answer = w.Answers[i]
		}
		t.answer, t.relieving = answer, w.Memory.Relieving[rule.Name]
		if answer.Unusable || !w.Data.Fresh {
			t.keepHolds(rule.Name)
			t.keepAnnouncements(rule)
		}
		if answer.Unusable {
			p.Decisions = append(p.Decisions, Decision{Rule: rule.Name, Verdict: Spare, Reason: NoData})
			continue
		}
		candidates := t.rank(answer.Samples)
		for _, m := range t.measure(candidates, answer) {
			t.relieving = t.relieving.after(m, rule.Relief, w.Now)
			p.Measured = append(p.Measured, m)
		}
		victims := len(p.Victims)
		for rank, c := range candidates {
			if c.found {
				named[c.container.ID] = true
				if w.Data.Fresh {
					t.hold(c)
				}
			}
			d := Decision{Rule: rule.Name, Verdict: Spare, Container: c.container, Value: c.sample.Value, Rank: rank + 1}
			for _, g := range guards {
				if g.refuses(t, &c) {
					d.Reason = g.reason
					break
				}
			}
			t.announce(&c, d.Reason)
			switch d.Reason {
			case Announced:
				d.Wait = t.untold(&c)
			case PendingFor:
				d.Wait = t.pending(&c)
			case CoolingDown:
				d.Wait = t.cooling()
			case "":
				d.Verdict, d.Reason = Kill, Chosen
				t.take(c.container.ID)
				p.Victims = append(p.Victims, Victim{Rule: rule, Container: c.container, Value: c.sample.Value})
			}
			p.Decisions = append(p.Decisions, d)
		}
		if rule.Mode == Live && len(p.Victims) > victims {
			p.Rounds[rule.Name] = t.round(candidates, answer)
		}
	}
	for _, c := range w.Containers {
		if !named[c.ID] {
			p.Decisions = append(p.Decisions, Decision{Verdict: Spare, Reason: NotSelected, Container: c})
		}
	}
	p.Held, p.Announced, p.Pending = t.held, t.announced, t.pendings()
	p.BudgetLeft = max(0, w.Budget-len(t.live))
	return p
}

// rank joins rows with containers and sorts them: highest value first, equal
// ones by id so that a decision can be repeated.
func (t *tick) rank(samples []Sample) []candidate {
	rows := make(map[string]int, len(samples))
	candidates := make([]candidate, 0, len(samples))
	for _, s := range samples {
		c := candidate{sample: s}
		if i, ok := t.lookup(s.ID); ok {
			c.container, c.found = t.world.Containers[i], true
		} else {
			c.container = Container{ID: s.ID}
		}
		rows[c.container.ID]++
		candidates = append(candidates, c)
	}
	for i := range candidates {
		candidates[i].doubled = rows[candidates[i].container.ID] > 1
	}
	// Candidates are large: their places are sorted, not they themselves.
	order := make([]int, len(candidates))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := &candidates[i], &candidates[j]
		if x, y := rankable(a.sample.Value), rankable(b.sample.Value); x != y {
			return cmp.Compare(y, x)
		}
		return strings.Compare(a.container.ID, b.container.ID)
	})
	sorted := make([]candidate, len(candidates))
	for to, from := range order {
		sorted[to] = candidates[from]
	}
	return sorted
}

// rankable puts NaN, which compares with nothing, behind everything.
func rankable(v float64) float64 {
	if math.IsNaN(v) {
		return math.Inf(-1)
	}
	return v
}

// lookup finds the one container whose id begins with prefix. A prefix
// shorter than Docker's short id, or one of several, finds none.
func (t *tick) lookup(prefix string) (int, bool) {
	if len(prefix) < container.ShortIDLength {
		return 0, false
	}
	at := sort.SearchStrings(t.sortedIDs, prefix)
	if at == len(t.sortedIDs) || !strings.HasPrefix(t.sortedIDs[at], prefix) {
		return 0, false
	}
	if at+1 < len(t.sortedIDs) && strings.HasPrefix(t.sortedIDs[at+1], prefix) {
		return 0, false
	}
	return t.byID[t.sortedIDs[at]], true
}

func (t *tick) take(id string) {
	t.spentByRule++
	t.living = nil
	if t.rule.Mode == Live {
		t.live[id] = true
	} else {
		t.dry[id] = true
	}
}

// expect counts c as gone for keep rules and for the rule's own max_kills; other
// rules may still take it.
func (t *tick) expect(id string) {
	t.spentByRule++
	t.living = nil
	if t.rule.Mode == Live {
		t.expected[id] = true
	} else {
		t.expectedDry[id] = true
	}
}

// expects tells whether an earlier rule has announced the end of a container.
func (t *tick) expects(id string) bool {
	return t.expected[id] || (t.rule.Mode == DryRun && t.expectedDry[id])
}

// planned: what is really going to be gone is gone for every rule; what a dry
// run takes is gone for dry runs only, so that it never shields anybody.
func (t *tick) planned(c *candidate) bool {
	id := c.container.ID
	return t.live[id] || (t.rule.Mode == DryRun && t.dry[id])
}

func (t *tick) spent() int {
	if t.rule.Mode == Live {
		return len(t.live)
	}
	return len(t.live) + len(t.dry)
}

// alive counts the running containers of a kind in scope, without those that
// are planned, in the world of the rule's mode. The count is kept until
// something is planned: it is asked for once a candidate.
func (t *tick) alive(kind container.Kind) int {
	if t.living != nil {
		return t.living[kind]
	}
	t.living = map[container.Kind]int{}
	for _, c := range t.world.Containers {
		if !c.InScope || c.State != Running || t.live[c.ID] || t.expects(c.ID) {
			continue
		}
		if t.rule.Mode == DryRun && (t.dry[c.ID] || t.dryKilled("", c)) {
			continue
		}
		t.living[c.Kind]++
	}
	return t.living[kind]
}

// dryKilled tells whether a dry run of rule (of any rule: "") has ended this
// life of c on paper.
func (t *tick) dryKilled(rule string, c Container) bool {
	same := func(at time.Time) bool { return c.StartedAt.IsZero() || at.Equal(c.StartedAt) }
	if rule != "" {
		at, ok := t.world.Memory.DryKilled[Candidate{Rule: rule, ID: c.ID}]
		return ok && same(at)
	}
	for _, r := range t.world.Rules {
		if at, ok := t.world.Memory.DryKilled[Candidate{Rule: r.Name, ID: c.ID}]; ok && same(at) {
			return true
		}
	}
	return false
}

// hold notes that the rule wants c in this snapshot.
func (t *tick) hold(c candidate) {
	key := Candidate{Rule: t.rule.Name, ID: c.container.ID}
	at := t.world.Data.At
	h, known := t.world.Memory.Held[key]
	if !known || c.sample.Start.Sub(h.Start).Abs() > StartTolerance || at.Sub(h.Last) > t.world.MaxGap || at.Before(h.Last) {
		h = Hold{Start: c.sample.Start, First: at}
	}
	h.Last = at
	t.held[key] = h
}

// keepHolds carries the rule's holds over a tick that says nothing.
func (t *tick) keepHolds(rule string) {
	for key, h := range t.world.Memory.Held {
		if key.Rule == rule {
			t.held[key] = h
		}
	}
}

// pending is how much longer the rule has to want c.
func (t *tick) pending(c *candidate) time.Duration {
	if t.rule.For <= 0 {
		return 0
	}
	h, ok := t.held[Candidate{Rule: t.rule.Name, ID: c.container.ID}]
	if !ok {
		return t.rule.For
	}
	return max(0, t.rule.For-h.Last.Sub(h.First))
}

// cooling is how much longer the rule has to rest after its last kill.
func (t *tick) cooling() time.Duration {
	last, ok := t.world.Memory.LastKill[t.rule.Name]
	if !ok || t.rule.Cooldown <= 0 {
		return 0
	}
	return max(0, t.rule.Cooldown-t.world.Now.Sub(last))
}
