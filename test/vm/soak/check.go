package soak

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/estiba/estiba/internal/container"
)

// Report is what a history shows.
type Report struct {
	Violations []string
	Checked    map[string]int // how often each invariant was put to the test

	Batches, Created  int
	Ends              map[string]int // ends of containers by whose doing
	Outcomes          map[string]int // of the manager that acts
	DryOutcomes       map[string]int // of the one that does not
	Emptied           map[string]int // how often no container of a kind was left, by whose doing
	DoneWithoutEvents int            // kills that were done while no events came
}

// The invariants.
const (
	Untouched     = "nobody acts on protected and unmanaged containers"
	IntentFirst   = "a kill has an intent before it"
	OneOutcome    = "an intent has exactly one outcome after it"
	OutcomeOf     = "an outcome has an intent before it"
	OneLeft       = "one of a kind is left after a kill"
	DryIsDry      = "a dry run acts on nobody"
	EventsArrived = "the event stream ends only with the Engine"
)

// kill is one intent with what followed.
type kill struct {
	Line
	at      int // entry of the intent
	outcome string
	ended   int // entry of the outcome
	killed  int // entry of the first event that it explains; -1 if there is none
	died    int // entry of the container's end after killed
}

// nearStep is how far a note of the record or an event must lie from a step of
// the clock for their times to be compared.
const nearStep = 10 * time.Second

type checker struct {
	history []Entry
	report  Report

	labels map[string]map[string]string
	names  map[string]string
	kills  map[string]*kill   // live ones by kill id
	of     map[string][]*kill // by container
	gaveUp map[string]bool    // by name
	steps  []time.Duration
}

// Check judges a history. Unless it is final, what is still under way is no
// violation.
func Check(history []Entry, final bool) Report {
	c := &checker{
		history: history,
		report: Report{
			Checked: map[string]int{}, Ends: map[string]int{}, Outcomes: map[string]int{}, DryOutcomes: map[string]int{}, Emptied: map[string]int{},
		},
		labels: map[string]map[string]string{}, names: map[string]string{}, kills: map[string]*kill{}, of: map[string][]*kill{}, gaveUp: map[string]bool{},
	}
	c.identities()
	c.record(final)
	c.events()
	c.lastOfKind()
	return c.report
}

func (c *checker) violation(at int, invariant, format string, args ...any) {
	c.report.Violations = append(c.report.Violations,
		fmt.Sprintf("at %s: %s: %s", c.history[at].At.Round(time.Millisecond), invariant, fmt.Sprintf(format, args...)))
}

func (c *checker) identities() {
	batches := map[string]bool{}
	for _, e := range c.history {
		if e.Note == ClockStep {
			c.steps = append(c.steps, e.At)
		}
		if e.Note == GaveUp {
			c.gaveUp[e.ID] = true
		}
		if e.Event != nil && c.labels[e.Event.ID] == nil {
			c.labels[e.Event.ID], c.names[e.Event.ID] = e.Event.Attributes, e.Event.Attributes["name"]
		}
		if e.Event != nil && e.Event.Action == "create" && e.Event.Attributes[container.LabelGenerator] != "" {
			c.report.Created++
			batches[e.Event.Attributes[container.LabelBatch]] = true
		}
		for _, r := range e.List {
			c.labels[r.ID], c.names[r.ID] = r.Labels, r.Name
		}
	}
	c.report.Batches = len(batches)
}

// parsed reads a container's labels. An event's attributes, of which they are
// a part, have no other names in our namespace.
func (c *checker) parsed(id string) container.Labels { return container.ParseLabels(c.labels[id]) }

// untouchable tells whether the manager may never act on the container, by its
// labels: its policy keeps one of each kind, so who has no kind is out too.
func (c *checker) untouchable(id string) bool {
	l := c.parsed(id)
	return !l.Managed || l.Protected || l.Monitoring || len(l.Errors) > 0 || l.Kind == container.KindNone
}

// record checks the records by themselves.
func (c *checker) record(final bool) {
	dry := map[string]int{}
	for i, e := range c.history {
		l := e.Line
		switch {
		case l == nil || l.Phase == "veto":
		case e.Dry:
			c.dryLine(i, *l, dry)
		case l.Phase == "intent":
			if c.kills[l.KillID] != nil {
				c.violation(i, OneOutcome, "intent %s a second time", l.KillID)
				continue
			}
			k := &kill{Line: *l, at: i, ended: -1, killed: -1, died: -1}
			c.kills[l.KillID] = k
			c.of[l.Container] = append(c.of[l.Container], k)
			c.report.Checked[Untouched]++
			if c.labels[l.Container] != nil && c.untouchable(l.Container) {
				c.violation(i, Untouched, "intent %s is for %s", l.KillID, l.Name)
			}
		default:
			c.report.Checked[OutcomeOf]++
			k := c.kills[l.KillID]
			switch {
			case k == nil:
				c.violation(i, OutcomeOf, "outcome %s (%s) of %s has none", l.KillID, l.Outcome, l.Name)
			case k.ended >= 0:
				c.violation(i, OneOutcome, "outcome %s (%s) after %s of %s", l.KillID, l.Outcome, k.outcome, l.Name)
			default:
				k.ended, k.outcome = i, l.Outcome
				word := l.Outcome
				if l.Found != "" {
					word += ", found " + l.Found
				}
				c.report.Outcomes[word]++
			}
		}
	}
	for _, k := range c.sorted() {
		c.report.Checked[OneOutcome]++
		if k.ended < 0 && final {
			c.violation(k.at, OneOutcome, "intent %s for %s has none", k.KillID, k.Name)
		}
	}
}

// dryLine checks a line of the record of a manager that may not act.
func (c *checker) dryLine(at int, l Line, open map[string]int) {
	c.report.Checked[DryIsDry]++
	if l.Phase == "intent" {
		open[l.KillID]++
	} else {
		if open[l.KillID]--; open[l.KillID] != 0 {
			c.violation(at, OutcomeOf, "outcome %s of the dry run", l.KillID)
		}
		c.report.DryOutcomes[l.Outcome]++
	}
	// "failed" says that it could not look at the container: the Engine is slow.
	if l.Mode != "dry_run" || l.Outcome == "done" {
		c.violation(at, DryIsDry, "line %+v of its record", l)
	}
}

func (c *checker) sorted() []*kill {
	var list []*kill
	for _, k := range c.kills {
		list = append(list, k)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].at < list[j].at })
	return list
}

// moment is who runs, and whose doing an end would be, at one entry.
type moment struct {
	running  map[string]bool
	docker   bool              // the Engine is being stopped or started
	cleaning bool              // generator clean runs
	hands    map[string]bool   // containers that somebody acts on
	killed   map[string]string // who has sent a signal to whom
}

// follow goes through the history and calls see before each entry is applied.
func (c *checker) follow(see func(at int, e Entry, now *moment)) {
	m := &moment{running: map[string]bool{}, hands: map[string]bool{}, killed: map[string]string{}}
	for i, e := range c.history {
		see(i, e, m)
		switch e.Note {
		case DockerGoes:
			m.docker = true
		case DockerIsUp:
			m.docker = false
		case CleanBegins:
			m.cleaning = true
		case CleanEnds:
			m.cleaning = false
		case HandsOn:
			m.hands[e.ID] = true
		case HandsOff:
			delete(m.hands, e.ID)
		}
		if e.List != nil {
			m.running, m.killed = map[string]bool{}, map[string]string{}
			for _, r := range e.List {
				if !r.Paused {
					m.running[r.ID] = true
				}
			}
		}
		if e.Event == nil {
			continue
		}
		switch e.Event.Action {
		case "start", "unpause":
			m.running[e.Event.ID] = true
		case "pause", "die", "destroy":
			delete(m.running, e.Event.ID)
		}
	}
}

// Whose doing an end can be.
const (
	byManager   = "the manager"
	byDocker    = "Docker was restarted"
	byHand      = "somebody's hand"
	byGenerator = "generator clean"
	byGivingUp  = "the generator, which could not start it"
	byItself    = "itself (lifetime)"
	byNobody    = "nobody known"
)

// events looks for who did what the Engine tells of.
func (c *checker) events() {
	c.follow(func(at int, e Entry, now *moment) {
		if e.Note == Broken {
			c.report.Checked[EventsArrived]++
			if !now.docker {
				c.violation(at, EventsArrived, "it ended")
			}
		}
		if e.Event == nil {
			return
		}
		id := e.Event.ID
		switch e.Event.Action {
		case "kill", "pause", "unpause", "restart", "update":
			who := c.whose(at, e, now)
			now.killed[id] = who
		case "die":
			who := now.killed[id]
			if who == "" && now.docker {
				who = byDocker
			}
			if who == "" {
				who = byItself
				if code := e.Event.Attributes["exitCode"]; code != "0" {
					who = "itself, exit code " + code
				}
				if c.untouchable(id) {
					c.report.Checked[Untouched]++
					c.violation(at, Untouched, "%s ended", c.names[id])
				}
			}
			delete(now.killed, id)
			if l := c.parsed(id); l.Managed && l.Kind != container.KindNone {
				c.report.Ends[who]++
				if c.others(now, id, l.Kind, nil) == 0 {
					c.report.Emptied[who]++
				}
			}
			for _, k := range c.of[id] {
				if k.killed >= 0 && k.died < 0 {
					k.died = at
				}
			}
		}
	})
	for _, k := range c.kills {
		if k.outcome == "done" && k.killed < 0 {
			c.report.DoneWithoutEvents++
		}
	}
}

// whose says whose doing an act on a container is, and complains if it has to be
// the manager's and is not in its record.
func (c *checker) whose(at int, e Entry, now *moment) string {
	id, action := e.Event.ID, e.Event.Action
	l := c.parsed(id)
	untouchable := c.untouchable(id)
	if untouchable {
		c.report.Checked[Untouched]++
	}
	var owner *kill
	for _, k := range c.of[id] {
		if k.at < at && k.Mode == "live" && (k.ended < 0 || k.outcome != "refused" && k.outcome != "dry_run") {
			owner = k
		}
	}
	switch {
	case owner != nil && action == "kill":
		c.report.Checked[IntentFirst]++
		if owner.killed < 0 {
			owner.killed = at
			c.times(at, *e.Event, owner)
		}
		if untouchable {
			c.violation(at, Untouched, "the manager killed %s", c.names[id])
		}
		return byManager
	case now.docker:
		return byDocker
	case now.hands[id]:
		return byHand
	case now.cleaning && l.Managed && c.labels[id][container.LabelGenerator] != "":
		return byGenerator
	case c.gaveUp[c.names[id]] && l.Managed && c.labels[id][container.LabelGenerator] != "":
		return byGivingUp
	case untouchable:
		c.violation(at, Untouched, "%s of %s by nobody who may", action, c.names[id])
	default:
		c.report.Checked[IntentFirst]++
		c.violation(at, IntentFirst, "%s of %s (%s)", action, c.names[id], strings.Join(c.why(id), "; "))
	}
	return byNobody
}

// why tells what the record has about a container.
func (c *checker) why(id string) []string {
	about := []string{fmt.Sprintf("%d intents", len(c.of[id]))}
	for _, k := range c.of[id] {
		about = append(about, fmt.Sprintf("%s at %s, outcome %q", k.KillID, c.history[k.at].At.Round(time.Millisecond), k.outcome))
	}
	return about
}

// times compares what the two clocks say, where no step lies near: reading the
// record before the event is written down would hide an intent that was a
// moment late.
func (c *checker) times(at int, e Event, k *kill) {
	for _, s := range c.steps {
		if s > c.history[k.at].At-nearStep && s < c.history[at].At+nearStep {
			return
		}
	}
	if k.Time.After(e.Wall) {
		c.violation(at, IntentFirst, "intent %s is of %s, the kill of %s", k.KillID, k.Time, e.Wall)
	}
}

// others counts the running managed containers of a kind without one, and
// without those in but.
func (c *checker) others(now *moment, id string, kind container.Kind, but func(string) bool) int {
	n := 0
	for other := range now.running {
		if l := c.parsed(other); other != id && l.Managed && l.Kind == kind && (but == nil || !but(other)) {
			n++
		}
	}
	return n
}

// lastOfKind wants, for each container that the manager killed, another one of
// its kind that ran at some moment between intent and end and that the manager
// had not taken as well by then. What ends by others' doing after the manager has
// looked is not its doing.
func (c *checker) lastOfKind() {
	open := map[*kill]bool{}
	starts := map[int][]*kill{}
	for _, k := range c.kills {
		if k.killed >= 0 {
			open[k] = false
			starts[k.at] = append(starts[k.at], k)
		}
	}
	var current []*kill
	c.follow(func(at int, e Entry, now *moment) {
		current = append(current, starts[at]...)
		left := current[:0]
		for _, k := range current {
			if !open[k] {
				taken := func(other string) bool {
					for _, o := range c.of[other] {
						if o.killed >= 0 && o.killed <= max(k.killed, k.died) && (o.died < 0 || o.died >= k.at) {
							return true
						}
					}
					return false
				}
				open[k] = c.others(now, k.Container, c.parsed(k.Container).Kind, taken) > 0
			}
			if at <= max(k.killed, k.died) {
				left = append(left, k)
			}
		}
		current = left
	})
	for _, k := range c.sorted() {
		if k.killed < 0 {
			continue
		}
		c.report.Checked[OneLeft]++
		if !open[k] {
			c.violation(k.killed, OneLeft, "%s was the last of kind %s (%s)", k.Name, c.parsed(k.Container).Kind, k.KillID)
		}
	}
}
