package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/enforce"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
	"github.com/estiba/estiba/manager/status"
	"github.com/estiba/estiba/manager/veto"
)

// Bounds of what a decision waits for.
const (
	queryTimeout  = 5 * time.Second
	engineTimeout = 5 * time.Second
	// maxLookups bounds the questions to the Engine that are open together.
	maxLookups = 8
)

// brain gathers what a decision needs and has it made. It cannot act: run and
// plan share it.
type brain struct {
	engine    enforce.Reader
	client    *promql.Client
	endpoints *endpoints
	vetoes    *veto.Client // nil where nobody is asked
	self      Self
	dryRun    bool
	now       func() time.Time
}

// loaded is a policy file that has been accepted, with its queries ready.
type loaded struct {
	config    *config.Config
	questions []promql.Question // of the rule with the same index
	rules     []policy.Rule
}

func (b *brain) load(c *config.Config) (*loaded, error) { return load(c, b.client, b.dryRun) }

func load(c *config.Config, client *promql.Client, dryRun bool) (*loaded, error) {
	l := &loaded{config: c}
	for _, r := range c.Rules {
		q, err := client.Parse(r.Query)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.Name, err)
		}
		question := promql.Question{Query: q}
		if r.Relief.By == config.ReliefByQuery {
			pressure, err := client.ParseNumber(r.Relief.Query)
			if err != nil {
				return nil, fmt.Errorf("rule %s: relief: %w", r.Name, err)
			}
			question.Pressure = &pressure
		}
		l.questions = append(l.questions, question)
		l.rules = append(l.rules, policy.Rule{
			Name: r.Name, For: r.For, Announce: r.Announce, Cooldown: r.Cooldown, MaxKills: r.MaxKills, Action: string(r.Action),
			Mode: policy.Mode(c.EffectiveMode(r, dryRun)),
			Relief: policy.Relief{
				By: policy.ReliefBy(r.Relief.By), AtLeast: r.Relief.AtLeast, After: r.Relief.After,
				StopAfter: r.Relief.StopAfter, ResumeAfter: r.Relief.ResumeAfter,
			},
		})
	}
	return l, nil
}

// decided is one tick up to the point where somebody could act on it.
type decided struct {
	tick     status.Tick
	sequence string // of the snapshot that was decided on
	classify classifier
	keep     []policy.Keep
	rules    []policy.Rule
	notices  policy.Notices
}

// decide makes one tick's decision. busy are the containers that the manager
// is acting on. It never fails: what went wrong is in the tick, and then the
// plan has no victims for whom it mattered.
func (b *brain) decide(ctx context.Context, l *loaded, memory policy.Memory, busy func(id string) bool) (d decided) {
	begun := b.now()
	d = decided{tick: status.Tick{Time: begun, Result: status.TickOK}}
	t := &d.tick
	defer func() { t.Duration = b.now().Sub(begun) }()
	fail := func(r status.TickResult, err error) {
		if t.Result == status.TickOK || r == status.TickDockerError {
			t.Result, t.Error = r, err.Error()
		}
	}

	list, err := b.list(ctx)
	if err != nil {
		fail(status.TickDockerError, err)
		return d
	}
	d.classify = classifier{config: l.config, self: b.self, project: projectOf(b.self, list), endpoints: b.endpoints}
	if err := b.endpoints.refresh(ctx, begun); err != nil {
		fail(status.TickPrometheusError, err)
		return d
	}
	at := b.now()
	fresh, err := b.client.Fresh(ctx, at, l.config.MaxSampleAge)
	if errors.Is(err, promql.ErrUnusable) {
		fail(status.TickNoFreshData, err)
	} else if err != nil {
		fail(status.TickPrometheusError, err)
	} else if !fresh.Fresh {
		fail(status.TickNoFreshData, errors.New(fresh.Why))
	}
	t.DataKnown, t.DataAge, d.sequence = fresh.Known, fresh.Age, fresh.Sequence

	var containers []policy.Container
	for _, c := range list {
		p := d.classify.classify(c)
		if busy(c.ID) {
			p.State = policy.Dying
		}
		containers = append(containers, p)
	}
	var results []promql.Result
	if t.Result != status.TickPrometheusError {
		results = b.client.Ask(ctx, l.questions, at)
	}
	answers := make([]policy.Answer, len(l.config.Rules))
	for i, r := range l.config.Rules {
		state := status.RuleState{
			Name: r.Name, Query: l.questions[i].Query.String(), Action: string(r.Action),
			Mode: policy.Mode(l.config.EffectiveMode(r, b.dryRun)),
		}
		answers[i] = policy.Answer{Unusable: true}
		if results != nil {
			answers[i] = results[i].Answer
			if err := results[i].Err; err != nil {
				state.Error = err.Error()
				if results[i].Failed {
					fail(status.TickPrometheusError, fmt.Errorf("rule %s: %w", r.Name, err))
				}
			}
			if err := results[i].PressureErr; err != nil {
				state.Relief.Error = err.Error()
			}
		} else {
			state.Error = t.Error
		}
		t.Rules = append(t.Rules, state)
	}
	fresh.Fresh = fresh.Fresh && err == nil
	w := l.world(at, fresh, containers, answers, memory)
	if w.Notices, err = b.notices(ctx, l.rules, containers); err != nil {
		for i, r := range l.rules {
			if announces(r) {
				t.Rules[i].VetoError = err.Error()
			}
		}
	}
	d.keep, d.rules, d.notices = w.Keep, w.Rules, w.Notices
	t.Plan = b.settle(ctx, &w)
	t.Containers, t.Listed, t.Decided = w.Containers, true, true
	l.relief(t, w)
	return d
}

// world is what a decision is made on. A decision over the past is made on the
// same.
func (l *loaded) world(at time.Time, fresh promql.Freshness, containers []policy.Container, answers []policy.Answer, memory policy.Memory) policy.World {
	c := l.config
	w := policy.World{
		Now: at, Containers: containers, Answers: answers, Rules: l.rules, Memory: memory,
		Data:   policy.Data{Fresh: fresh.Fresh, At: fresh.At, Sequence: fresh.Sequence},
		Budget: c.MaxKillsPerTick,
		MaxGap: max(2*c.Interval, c.MaxSampleAge),
	}
	for _, k := range c.Keep {
		w.Keep = append(w.Keep, policy.Keep{Min: k.Min})
	}
	return w
}

// relief shows what is known of the effect of each rule's kills.
func (l *loaded) relief(t *status.Tick, w policy.World) {
	memory := w.Memory.At(w.Now)
	memory.Measured(t.Plan.Measured, w.Rules, w.Now)
	for i, r := range w.Rules {
		s, known := &t.Rules[i].Relief, memory.Relieving[r.Name]
		s.By, s.StopAfter, s.Unrelieved, s.Stopped = string(r.Relief.By), r.Relief.StopAfter, known.Unrelieved, r.Relief.Stopped(known)
		if q := l.questions[i].Pressure; q != nil {
			s.Query = q.String()
		}
		if known.Measured {
			s.Ratio = &known.Ratio
		}
		if a := w.Answers[i]; a.PressureKnown {
			s.Pressure = &a.Pressure
		}
		if s.Stopped && r.Relief.ResumeAfter > 0 {
			at := known.StoppedAt.Add(r.Relief.ResumeAfter).UTC()
			s.ResumesAt = &at
		}
	}
}

func (b *brain) list(ctx context.Context) ([]dockerclient.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	return b.engine.List(ctx, dockerclient.ListOptions{})
}

// settle decides, looks up the start of each victim that is not known yet,
// and decides again, until every victim's life is known: the Engine's list
// does not say when a container was started. Each round looks up at least one
// container that was not looked up before, so it ends.
func (b *brain) settle(ctx context.Context, w *policy.World) policy.Plan {
	for {
		plan := policy.Decide(*w)
		unknown := map[string]*policy.Container{}
		for _, v := range plan.Victims {
			if v.Container.StartedAt.IsZero() {
				unknown[v.Container.ID] = nil
			}
		}
		if len(unknown) == 0 {
			return plan
		}
		for i := range w.Containers {
			if _, asked := unknown[w.Containers[i].ID]; asked {
				unknown[w.Containers[i].ID] = &w.Containers[i]
			}
		}
		var wg sync.WaitGroup
		slots := make(chan struct{}, maxLookups)
		for _, c := range unknown {
			wg.Add(1)
			slots <- struct{}{}
			go func() {
				defer func() { <-slots; wg.Done() }()
				ctx, cancel := context.WithTimeout(ctx, engineTimeout)
				defer cancel()
				found, err := b.engine.Inspect(ctx, c.ID)
				if err != nil || found.ID != c.ID || found.StartedAt.IsZero() {
					// Gone, going, or the Engine cannot say: nothing to act on.
					c.State = policy.Unsteady
					return
				}
				c.StartedAt, c.EndedAt = found.StartedAt, found.EndedAt
			}()
		}
		wg.Wait()
	}
}
