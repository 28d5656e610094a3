// Package replay decides over the past, from the history in Prometheus alone. It holds
// nothing that could kill.
package replay

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
)

// windowSamples limits the samples of one range query: containers times ticks.
const (
	windowTicks   = 360
	windowSamples = 1_000_000
)

// Kill is a kill that the policy would have made.
type Kill struct {
	Time  time.Time   `json:"ts"`
	Rule  string      `json:"rule"`
	Kind  string      `json:"kind"` // cpu, ram, io, disk or ""
	ID    string      `json:"container"`
	Name  string      `json:"name"`
	Image string      `json:"image"`
	Value float64     `json:"value"`
	Mode  policy.Mode `json:"mode"` // dry_run for rules with dry_run: true
	Start time.Time   `json:"-"`    // of the life
}

// Result is what the policy would have done.
type Result struct {
	Ticks   map[gather.TickResult]int `json:"ticks"`
	Kills   []Kill                    `json:"kills"`
	Stopped []Stop                    `json:"stopped"` // rules that would have stopped
	// Unusable counts the ticks of a rule with an unusable query result, and keeps the
	// last error.
	Unusable map[string]Unusable `json:"unusable"`
	// UnknownLabels are labels of keep rules that no container of the history has: the
	// exporter may not have published them.
	UnknownLabels []string `json:"unknown_labels,omitempty"`
}

// Stop is a rule that stops because its kills brought no relief.
type Stop struct {
	Time time.Time `json:"ts"`
	Rule string    `json:"rule"`
}

// Unusable counts ticks with the last of their errors.
type Unusable struct {
	Ticks int    `json:"ticks"`
	Error string `json:"error"`
}

// Replayer decides over the past. Containers that it would have killed are removed from
// later ticks.
type Replayer struct {
	client *promql.Client
	policy *gather.Policy
	engine string
	// Watch, if not nil, is called with each decision.
	Watch func(gather.Decision)
	// Recorded, if not nil, returns what is recorded of the kills before a tick, in place of
	// what the replay remembers of them; false: nothing that is newer. The replay makes no
	// kills then: what was killed is missing in the history.
	Recorded func(time.Time) (policy.Memory, bool)
	// Progress, if not nil, is called after each tick with the number of ticks and
	// kills so far.
	Progress func(done, kills int)
	// AllLabels: the exporter published all labels, so one that a container lacks in the
	// history it does not have.
	AllLabels bool

	published map[string]bool // labels of keep rules that are in the history
}

// New prepares a policy for the past. The mode of the policy is ignored; a rule with
// dry_run stays a dry run. A relief query is not evaluated, since the history does not
// show the effect of kills that were not made. engine is the runtime whose containers it
// could have killed, package container's Docker or Podman.
func New(client *promql.Client, c *config.Config, engine string) (*Replayer, error) {
	as := *c
	as.Mode = config.ModeLive
	as.Rules = append([]config.Rule(nil), c.Rules...)
	for i := range as.Rules {
		if as.Rules[i].Relief.By == config.ReliefByQuery {
			as.Rules[i].Relief = config.Relief{By: config.ReliefByCount}
		}
	}
	l, err := gather.Load(&as, client, false)
	if err != nil {
		return nil, err
	}
	return &Replayer{client: client, policy: l, engine: engine}, nil
}

// Run decides at each tick, in order.
func (r *Replayer) Run(ctx context.Context, m promql.Moments) (Result, error) {
	out := Result{Ticks: map[gather.TickResult]int{}, Kills: []Kill{}, Stopped: []Stop{}, Unusable: map[string]Unusable{}}
	var err error
	if out.UnknownLabels, err = r.findLabels(ctx, m); err != nil {
		return out, err
	}
	s := state{memory: policy.NewMemory(), dead: map[string]time.Time{}, stopped: map[string]bool{}}
	size := min(windowTicks, m.N)
	next := r.fetch(ctx, m, 0, size)
	for from := 0; from < m.N; {
		got := <-next
		if got.err != nil {
			return out, got.err
		}
		at := from
		from += got.window.N
		if from < m.N {
			// many containers make short windows
			if n, err := got.window.Containers(got.window.N - 1); err == nil && len(n) > 0 {
				size = max(1, min(windowTicks, windowSamples/len(n)))
			}
			next = r.fetch(ctx, m, from, min(size, m.N-from))
		}
		for i := range got.window.N {
			if err := ctx.Err(); err != nil {
				return out, err
			}
			r.tick(got.window, i, &s, &out)
			if r.Progress != nil {
				r.Progress(at+i+1, len(out.Kills))
			}
		}
	}
	return out, nil
}

type fetched struct {
	window *promql.RangeWindow
	err    error
}

// fetch queries a window while the previous one is being decided on.
func (r *Replayer) fetch(ctx context.Context, m promql.Moments, from, n int) <-chan fetched {
	c := make(chan fetched, 1)
	go func() {
		window, err := r.client.RangeWindow(ctx, r.policy.Queries(), promql.Moments{Start: m.At(from), Step: m.Step, N: n})
		c <- fetched{window, err}
	}()
	return c
}

type state struct {
	memory  policy.Memory
	flying  []policy.End         // the kills in flight
	dead    map[string]time.Time // id to start of the killed life
	stopped map[string]bool
}

// settle ends the kills whose time is over. How long a container would have taken to
// exit is unknown, so it takes all of its grace.
func (s *state) settle(at time.Time) {
	rest := s.flying[:0:0]
	for _, end := range s.flying {
		if end.At.After(at) {
			rest = append(rest, end)
			continue
		}
		s.dead[end.ID] = end.StartedAt
		s.memory.Finish(end)
	}
	s.flying = rest
}

// dying reports whether a kill of the container is in flight.
func (s *state) dying(id string) bool {
	return slices.ContainsFunc(s.flying, func(e policy.End) bool { return e.ID == id })
}

// tick decides as gather.Gatherer.Decide does, with the history in place of the Engine.
func (r *Replayer) tick(ch *promql.RangeWindow, i int, s *state, out *Result) {
	l, at := r.policy, ch.At(i)
	s.settle(at)
	r.remember(s, at)
	d := gather.Decision{Time: at, At: at, Result: gather.TickOK}
	defer func() {
		out.Ticks[d.Result]++
		if r.Watch != nil {
			r.Watch(d)
		}
	}()
	d.Measured(ch.Fresh(i, l.Config.MaxSampleAge))
	seen, err := ch.Containers(i)
	if err != nil { // as an error of the Engine in a live tick: nothing is decided
		d.Fail(gather.TickPrometheusError, err)
		return
	}
	containers := make([]policy.Container, 0, len(seen))
	for _, c := range seen {
		if life, dead := s.dead[c.ID]; dead && c.Start.Sub(life).Abs() <= policy.StartTolerance {
			continue
		}
		p := r.classify(c)
		if s.dying(c.ID) {
			p.State = policy.BeingKilled
		}
		containers = append(containers, p)
	}
	answers := make([]policy.Answer, len(l.Rules))
	d.Rules = make([]gather.RuleAnswer, len(l.Rules))
	for k, a := range ch.Answers(i) {
		answers[k], d.Rules[k].Err = a.Answer, a.Err
		if a.Err != nil {
			was := out.Unusable[l.Rules[k].Config.Name]
			out.Unusable[l.Rules[k].Config.Name] = Unusable{was.Ticks + 1, a.Err.Error()}
			if a.Failed {
				d.Fail(gather.TickPrometheusError, a.Err)
			}
		}
	}
	w := l.World(at, r.engine, d.Data, containers, answers, s.memory.At(at))
	w.Notices.Waived = true
	plan := policy.Decide(w)
	d.World, d.Plan, d.Decided = w, plan, true
	s.memory.Advance(w, plan)
	if r.Recorded != nil {
		return
	}
	for _, rule := range w.Rules {
		now := rule.Relief.Stopped(s.memory.ReliefState[rule.Name])
		if now && !s.stopped[rule.Name] {
			out.Stopped = append(out.Stopped, Stop{at.UTC(), rule.Name})
		}
		s.stopped[rule.Name] = now
	}
	for _, b := range s.memory.Start(w, plan, at) {
		rule := l.Rules[b.Rule]
		for _, v := range b.Victims {
			c := v.Container
			out.Kills = append(out.Kills, Kill{at.UTC(), rule.Policy.Name, string(c.Kind), c.ID, c.Name, c.Image, v.Value, rule.Policy.Mode, c.StartedAt})
			end := policy.End{
				Rule: rule.Policy.Name, ID: c.ID, StartedAt: c.StartedAt, Mode: rule.Policy.Mode, Round: b.Round, At: at, Begun: true, Killed: true,
			}
			if end.Mode == policy.DryRun {
				s.memory.Finish(end)
				continue
			}
			end.At = at.Add(rule.Config.KillTime())
			s.flying = append(s.flying, end)
		}
	}
	s.settle(at) // kills without grace have ended
}

// remember replaces what is remembered of kills by what is recorded of them.
func (r *Replayer) remember(s *state, at time.Time) {
	if r.Recorded == nil {
		return
	}
	if m, newer := r.Recorded(at); newer {
		m.Held, m.Announced = s.memory.Held, s.memory.Announced
		s.memory = m
	}
}

// classify describes a container. Protection by labels and addresses is known from the
// metrics of the manager of that time.
func (r *Replayer) classify(c promql.PastContainer) policy.Container {
	kind, _ := container.ParseKind(c.Kind)
	f := gather.Facts{Managed: c.Managed, Described: c.LabelsKnown, Container: policy.Container{
		ID: c.ID, Name: c.Name, Image: c.Image, Kind: kind, StartedAt: c.Start, State: policy.Running,
		Foreign: c.Kubernetes || policy.Foreign(c.Runtime, r.engine), Runtime: c.Runtime,
		Protected: gather.LabelProtection(container.Labels{Protected: c.Protected}),
	}}
	f.ComposeService = gather.ComposeService(c.ComposeProject, c.ComposeService)
	f.Label = func(name string) (string, bool) {
		return c.Labels[promql.LabelName(name)], c.LabelsKnown && (r.AllLabels || r.published[name])
	}
	if c.LabelError {
		f.Protected = append(f.Protected, policy.ProtectedByLabelError)
	}
	for _, word := range c.Why {
		switch why := policy.Protection(word); why {
		case policy.ProtectedByPolicyName, policy.ProtectedByPolicyImage: // of the policy of that time
		case policy.ProtectedByPolicyLabel:
			if len(r.policy.Config.Protect.Labels) > 0 {
				f.Protected = append(f.Protected, why)
			}
		default:
			f.Protected = append(f.Protected, why)
		}
	}
	return gather.Apply(r.policy.Config, f)
}

// Moments are the ticks of a policy between two times; the last one is at until.
func Moments(since, until time.Time, interval time.Duration) (promql.Moments, error) {
	n := int(until.Sub(since)/interval) + 1
	if n < 1 {
		return promql.Moments{}, fmt.Errorf("no tick between %s and %s", since.Format(time.RFC3339), until.Format(time.RFC3339))
	}
	return promql.Moments{Start: until.Add(-time.Duration(n-1) * interval), Step: interval, N: n}, nil
}
