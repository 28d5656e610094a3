package soak

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/estiba/estiba/internal/container"
)

// Report is the result of checking a history.
type Report struct {
	Violations []string
	Checked    map[string]int // how often each invariant was checked

	Batches, Created  int
	Ends              map[string]int // exits of containers by cause
	Outcomes          map[string]int // of the live manager
	DryOutcomes       map[string]int // of the dry-run manager
	Emptied           map[string]int // how often no container of a kind was left, by cause
	DoneWithoutEvents int            // successful kills while no events arrived
}

// The invariants.
const (
	Untouched     = "protected and unmanaged containers are never killed"
	IntentFirst   = "a kill has an intent before it"
	OneOutcome    = "an intent has exactly one outcome after it"
	OutcomeOf     = "an outcome has an intent before it"
	OneLeft       = "a kill leaves one container of the kind"
	DryIsDry      = "a dry run kills nothing"
	EventsArrived = "the event stream ends only with the Engine"
)

// kill is an intent with its consequences.
type kill struct {
	Line
	at      int // entry of the intent
	outcome string
	ended   int // entry of the outcome
	killed  int // entry of the first event that it caused; -1 if there is none
	exited  int // entry of the container's exit after killed
}

// nearStep is the minimum distance from a clock step at which times of audit records and
// events are compared.
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

// Check checks a history. Unless it is final, kills in flight are not violations.
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

// parsed returns a container's labels. Event attributes contain the labels, and no other
// keys in our namespace.
func (c *checker) parsed(id string) container.Labels { return container.ParseLabels(c.labels[id]) }

// protected reports whether the manager must never kill the container, by its labels. Its
// policy keeps one of each kind, so a container without a kind is protected, too.
func (c *checker) protected(id string) bool {
	l := c.parsed(id)
	return !l.Managed || l.Protected || l.Monitoring || len(l.Errors) > 0 || l.Kind == container.KindNone
}

// record checks the audit logs alone.
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
				c.violation(i, OneOutcome, "duplicate intent %s", l.KillID)
				continue
			}
			k := &kill{Line: *l, at: i, ended: -1, killed: -1, exited: -1}
			c.kills[l.KillID] = k
			c.of[l.Container] = append(c.of[l.Container], k)
			c.report.Checked[Untouched]++
			if c.labels[l.Container] != nil && c.protected(l.Container) {
				c.violation(i, Untouched, "intent %s is for %s", l.KillID, l.Name)
			}
		default:
			c.report.Checked[OutcomeOf]++
			k := c.kills[l.KillID]
			switch {
			case k == nil:
				c.violation(i, OutcomeOf, "outcome %s (%s) of %s has no intent", l.KillID, l.Outcome, l.Name)
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
			c.violation(k.at, OneOutcome, "intent %s for %s has no outcome", k.KillID, k.Name)
		}
	}
}

// dryLine checks an audit record of the dry-run manager.
func (c *checker) dryLine(at int, l Line, open map[string]int) {
	c.report.Checked[DryIsDry]++
	if l.Phase == "intent" {
		open[l.KillID]++
	} else {
		if open[l.KillID]--; open[l.KillID] != 0 {
			c.violation(at, OutcomeOf, "outcome %s of the dry run has no intent", l.KillID)
		}
		c.report.DryOutcomes[l.Outcome]++
	}
	// "failed" is allowed: inspecting the container failed on a slow Engine.
	if l.Mode != "dry_run" || l.Outcome == "done" {
		c.violation(at, DryIsDry, "audit record %+v", l)
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

// state is the set of running containers, and the possible causes of an exit, at one entry.
type state struct {
	running  map[string]bool
	docker   bool              // the Engine is stopping or starting
	cleaning bool              // generator clean is running
	tampered map[string]bool   // containers that the fault injector acts on
	killed   map[string]string // cause of the last signal, by container
}

// follow replays the history and calls see before applying each entry.
func (c *checker) follow(see func(at int, e Entry, now *state)) {
	m := &state{running: map[string]bool{}, tampered: map[string]bool{}, killed: map[string]string{}}
	for i, e := range c.history {
		see(i, e, m)
		switch e.Note {
		case DockerStops:
			m.docker = true
		case DockerIsUp:
			m.docker = false
		case CleanStarts:
			m.cleaning = true
		case CleanEnds:
			m.cleaning = false
		case TamperStarts:
			m.tampered[e.ID] = true
		case TamperEnds:
			delete(m.tampered, e.ID)
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

// Causes of an exit.
const (
	byManager   = "manager"
	byDocker    = "Docker restart"
	byInjector  = "fault injector"
	byGenerator = "generator clean"
	byGivingUp  = "generator, failed start"
	byItself    = "exit (lifetime)"
	byUnknown   = "unknown"
)

// events attributes the Engine's events to causes.
func (c *checker) events() {
	c.follow(func(at int, e Entry, now *state) {
		if e.Note == StreamDropped {
			c.report.Checked[EventsArrived]++
			if !now.docker {
				c.violation(at, EventsArrived, "the stream ended")
			}
		}
		if e.Event == nil {
			return
		}
		id := e.Event.ID
		switch e.Event.Action {
		case "kill", "pause", "unpause", "restart", "update":
			now.killed[id] = c.cause(at, e, now)
		case "die":
			cause := now.killed[id]
			if cause == "" && now.docker {
				cause = byDocker
			}
			if cause == "" {
				cause = byItself
				if code := e.Event.Attributes["exitCode"]; code != "0" {
					cause = "exit code " + code
				}
				if c.protected(id) {
					c.report.Checked[Untouched]++
					c.violation(at, Untouched, "%s exited", c.names[id])
				}
			}
			delete(now.killed, id)
			if l := c.parsed(id); l.Managed && l.Kind != container.KindNone {
				c.report.Ends[cause]++
				if c.others(now, id, l.Kind, nil) == 0 {
					c.report.Emptied[cause]++
				}
			}
			for _, k := range c.of[id] {
				if k.killed >= 0 && k.exited < 0 {
					k.exited = at
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

// cause attributes an action on a container. It reports a violation if only the manager can
// be the cause and its audit log has no intent.
func (c *checker) cause(at int, e Entry, now *state) string {
	id, action := e.Event.ID, e.Event.Action
	l := c.parsed(id)
	protected := c.protected(id)
	if protected {
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
		if protected {
			c.violation(at, Untouched, "the manager killed %s", c.names[id])
		}
		return byManager
	case now.docker:
		return byDocker
	case now.tampered[id]:
		return byInjector
	case now.cleaning && l.Managed && c.labels[id][container.LabelGenerator] != "":
		return byGenerator
	case c.gaveUp[c.names[id]] && l.Managed && c.labels[id][container.LabelGenerator] != "":
		return byGivingUp
	case protected:
		c.violation(at, Untouched, "%s of %s without a known cause", action, c.names[id])
	default:
		c.report.Checked[IntentFirst]++
		c.violation(at, IntentFirst, "%s of %s (%s)", action, c.names[id], strings.Join(c.intents(id), "; "))
	}
	return byUnknown
}

// intents lists the intents for a container.
func (c *checker) intents(id string) []string {
	about := []string{fmt.Sprintf("%d intents", len(c.of[id]))}
	for _, k := range c.of[id] {
		about = append(about, fmt.Sprintf("%s at %s, outcome %q", k.KillID, c.history[k.at].At.Round(time.Millisecond), k.outcome))
	}
	return about
}

// times compares the times of intent and event, unless a clock step is near. The order of
// entries alone would hide an intent that was slightly late, as the audit log is read
// before the event is added.
func (c *checker) times(at int, e Event, k *kill) {
	for _, s := range c.steps {
		if s > c.history[k.at].At-nearStep && s < c.history[at].At+nearStep {
			return
		}
	}
	if k.Time.After(e.Wall) {
		c.violation(at, IntentFirst, "intent %s is at %s, the kill at %s", k.KillID, k.Time, e.Wall)
	}
}

// others counts the running managed containers of a kind except id and those in but.
func (c *checker) others(now *state, id string, kind container.Kind, but func(string) bool) int {
	n := 0
	for other := range now.running {
		if l := c.parsed(other); other != id && l.Managed && l.Kind == kind && (but == nil || !but(other)) {
			n++
		}
	}
	return n
}

// lastOfKind checks, for each container that the manager killed, that another one of its
// kind ran at some time between intent and exit and was not being killed by the manager as
// well. Exits with other causes after the manager's check do not count.
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
	c.follow(func(at int, _ Entry, now *state) {
		current = append(current, starts[at]...)
		left := current[:0]
		for _, k := range current {
			if !open[k] {
				taken := func(other string) bool {
					for _, o := range c.of[other] {
						if o.killed >= 0 && o.killed <= max(k.killed, k.exited) && (o.exited < 0 || o.exited >= k.at) {
							return true
						}
					}
					return false
				}
				open[k] = c.others(now, k.Container, c.parsed(k.Container).Kind, taken) > 0
			}
			if at <= max(k.killed, k.exited) {
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
