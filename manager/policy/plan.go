package policy

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/estiba/estiba/internal/container"
)

// Plan is what one tick decides.
type Plan struct {
	// Decisions has the candidates of each rule in rank order, then each container that
	// is no candidate.
	Decisions []Decision
	// Victims are the kills, in the order of decision.
	Victims []Victim
	// Held replaces Memory.Held after the tick.
	Held map[Candidate]Hold
	// Announced replaces Memory.Announced after the tick.
	Announced map[Candidate]Announcement
	// Pending are the announced kills of live rules, including vetoed ones: they have
	// to be published for the announcement to last.
	Pending []Pending
	// Measured is the effect of earlier kills, as far as known now.
	Measured []Measurement
	// Rounds is what this tick's live kills are measured by, for each rule with kills.
	Rounds map[string]Round
	// BudgetLeft is how many live kills max_kills_per_tick still allows.
	BudgetLeft int
}

// Decision is kill or spare, for one container by one rule.
type Decision struct {
	Rule      string // "" if the container is no candidate
	Choice    Choice
	Reason    Reason
	Container Container // ID is the sample's if the Engine does not list it
	Value     float64   // the query's; 0 without a rule
	Rank      int       // 1 is killed first; 0 without a rule
	// Wait is what remains of the rule's for, cooldown or announce, or until a kill has
	// left the hour that a limit counts.
	Wait time.Duration
	// Detail is for people: with unknown_group and last_of_group the keep rule and its
	// group, with out_of_schedule when the schedule opens. "" with most reasons.
	Detail string
}

// Victim is a container to be killed. A kill needs its StartedAt: if it is zero, look
// it up and decide again.
type Victim struct {
	Rule      Rule
	Container Container
	Value     float64
}

// Decide makes the plan of one tick. It does not change w.
func Decide(w World) Plan { return decide(w, guards()) }

// tick is the state of a decision.
type tick struct {
	world       World
	rule        Rule
	byID        map[string]int // index into world.Containers
	index       container.Index
	held        map[Candidate]Hold
	announced   map[Candidate]Announcement
	live, dry   map[string]bool // ids to be killed in this tick
	expected    map[string]bool // ids announced by a live rule, that would be killed otherwise
	expectedDry map[string]bool // the same for dry runs
	spentByRule int
	answer      Answer      // of the rule
	reliefState ReliefState // of the rule, with this tick's measurements
	living      census      // cache of alive
	hour        *hourKills  // cache of pastHour
}

// candidate is one sample of a rule's query, joined with the Engine's list.
type candidate struct {
	sample    Sample
	container Container
	found     bool
	foreign   bool // the sample is of a container that is not the Engine's
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
	ids := make([]string, len(w.Containers))
	for i, c := range w.Containers {
		t.byID[c.ID] = i
		ids[i] = c.ID
	}
	t.index = container.NewIndex(ids)

	p := Plan{Rounds: map[string]Round{}}
	named := map[string]bool{}
	for i, rule := range w.Rules {
		t.rule, t.spentByRule, t.living, t.hour = rule, 0, nil, nil
		var answer Answer
		if i < len(w.Answers) {
			answer = w.Answers[i]
		}
		t.answer, t.reliefState = answer, w.Memory.ReliefState[rule.Name]
		if answer.Unusable || !t.fresh() {
			t.keepHolds(rule.Name)
			t.keepAnnouncements(rule)
		}
		if answer.Unusable {
			p.Decisions = append(p.Decisions, Decision{Rule: rule.Name, Choice: Spare, Reason: NoData})
			continue
		}
		candidates := t.rank(answer.Samples)
		for _, m := range t.measure(candidates, answer) {
			t.reliefState = t.reliefState.after(m, rule.Relief, w.Now)
			p.Measured = append(p.Measured, m)
		}
		victims := len(p.Victims)
		for rank, c := range candidates {
			if c.found {
				named[c.container.ID] = true
				if t.fresh() {
					t.hold(c)
				}
			}
			d := Decision{Rule: rule.Name, Choice: Spare, Container: c.container, Value: c.sample.Value, Rank: rank + 1}
			for _, g := range guards {
				if g.refuses(t, &c) {
					d.Reason = g.reason
					break
				}
			}
			t.announce(&c, d.Reason)
			switch d.Reason {
			case Announced:
				d.Wait = t.announceRemaining(&c)
			case PendingFor:
				d.Wait = t.forRemaining(&c)
			case CoolingDown:
				d.Wait = t.cooldownRemaining()
			case KillsUnknown:
				d.Wait = t.killsUnknownRemaining()
			case HourlyBudgetSpent:
				d.Wait = t.hourRemaining()
			case OutOfSchedule:
				d.Detail = rule.Schedule.until(w.Now)
			case UnknownGroup, LastOfGroup:
				d.Detail = t.keeps(&c, d.Reason).text()
			case "":
				d.Choice, d.Reason = Kill, Chosen
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
			p.Decisions = append(p.Decisions, Decision{Choice: Spare, Reason: NotSelected, Container: c})
		}
	}
	p.Held, p.Announced, p.Pending = t.held, t.announced, t.pendings()
	p.BudgetLeft = max(0, w.Budget-len(t.live))
	return p
}

// fresh reports whether the rule's answer is fresh enough to kill by it.
func (t *tick) fresh() bool { return t.world.Data.Fresh && !t.answer.Stale }

// at is the time of the oldest snapshot in the rule's answer.
func (t *tick) at() time.Time {
	if at := t.answer.At; !at.IsZero() && at.Before(t.world.Data.At) {
		return at
	}
	return t.world.Data.At
}

// inFlightKills is how many live kills of the rule are in flight.
func (t *tick) inFlightKills() (n int) {
	for _, rule := range t.world.Memory.InFlight {
		if rule == t.rule.Name {
			n++
		}
	}
	return n
}

// rank joins samples with containers and sorts them: highest value first, equal ones by
// id for repeatable decisions.
func (t *tick) rank(samples []Sample) []candidate {
	rows := make(map[string]int, len(samples))
	candidates := make([]candidate, 0, len(samples))
	for _, s := range samples {
		c := candidate{sample: s}
		m := s.Measured
		c.foreign = m.Kubernetes || Foreign(m.Runtime, t.world.Engine)
		if id, ok := t.index.Find(s.ID); ok {
			c.container, c.found = t.world.Containers[t.byID[id]], true
			c.foreign = c.foreign || container.IsFullID(m.ID) && m.ID != id // another one with the same short id
		} else {
			c.foreign = c.foreign || m.Elsewhere
			c.container = Container{ID: s.ID}
			if c.foreign {
				c.container = Container{ID: s.ID, Name: m.Name, Image: m.Image, Kind: m.Kind, Runtime: m.Runtime, Foreign: true}
			}
		}
		rows[c.container.ID]++
		candidates = append(candidates, c)
	}
	for i := range candidates {
		candidates[i].doubled = rows[candidates[i].container.ID] > 1
	}
	// Candidates are large: sort their indexes.
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

// rankable sorts NaN last.
func rankable(v float64) float64 {
	if math.IsNaN(v) {
		return math.Inf(-1)
	}
	return v
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

// expect counts c as gone for keep rules and for the rule's own max_kills; other rules
// may still kill it.
func (t *tick) expect(id string) {
	t.spentByRule++
	t.living = nil
	if t.rule.Mode == Live {
		t.expected[id] = true
	} else {
		t.expectedDry[id] = true
	}
}

// expects reports whether an earlier rule has announced the kill of a container.
func (t *tick) expects(id string) bool {
	return t.expected[id] || (t.rule.Mode == DryRun && t.expectedDry[id])
}

// planned: live kills count for every rule; kills of a dry run count for dry runs only,
// so that they never protect a container.
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

// dryKilled reports whether a dry run of rule (of any rule if "") has killed this life
// of c.
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

// hold notes that c is a candidate of the rule in this snapshot.
func (t *tick) hold(c candidate) {
	key := Candidate{Rule: t.rule.Name, ID: c.container.ID}
	at := t.at()
	h, known := t.world.Memory.Held[key]
	if !known || c.sample.Start.Sub(h.Start).Abs() > StartTolerance || at.Sub(h.Last) > t.world.MaxGap || at.Before(h.Last) {
		h = Hold{Start: c.sample.Start, First: at}
	}
	h.Last = at
	t.held[key] = h
}

// keepHolds carries the rule's holds over a tick without usable data.
func (t *tick) keepHolds(rule string) {
	for key, h := range t.world.Memory.Held {
		if key.Rule == rule {
			t.held[key] = h
		}
	}
}

// forRemaining is how long c still has to be a candidate.
func (t *tick) forRemaining(c *candidate) time.Duration {
	if t.rule.For <= 0 {
		return 0
	}
	h, ok := t.held[Candidate{Rule: t.rule.Name, ID: c.container.ID}]
	if !ok {
		return t.rule.For
	}
	return max(0, t.rule.For-h.Last.Sub(h.First))
}

// cooldownRemaining is what remains of the rule's cooldown.
func (t *tick) cooldownRemaining() time.Duration {
	if t.rule.Cooldown > 0 && t.inFlightKills() > 0 {
		return t.rule.Cooldown
	}
	last, ok := t.world.Memory.LastKill[t.rule.Name]
	if !ok || t.rule.Cooldown <= 0 {
		return 0
	}
	return max(0, t.rule.Cooldown-t.world.Now.Sub(last))
}
