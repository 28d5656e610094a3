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
	self      Self
	dryRun    bool
	now       func() time.Time
}

// loaded is a policy file that has been accepted, with its queries ready.
type loaded struct {
	config  *config.Config
	queries []promql.Expr
}

func (b *brain) load(c *config.Config) (*loaded, error) {
	l := &loaded{config: c}
	for _, r := range c.Rules {
		q, err := b.client.Parse(r.Query)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.Name, err)
		}
		l.queries = append(l.queries, q)
	}
	return l, nil
}

// decided is one tick up to the point where somebody could act on it.
type decided struct {
	tick     status.Tick
	sequence string // of the snapshot that was decided on
	classify classifier
	keep     []policy.Keep
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

	w := policy.World{
		Now:    at,
		Data:   policy.Data{Fresh: fresh.Fresh && err == nil, At: fresh.At, Sequence: fresh.Sequence},
		Budget: l.config.MaxKillsPerTick,
		MaxGap: max(2*l.config.Interval, l.config.MaxSampleAge),
		Memory: memory,
	}
	for _, k := range l.config.Keep {
		w.Keep = append(w.Keep, policy.Keep{Min: k.Min})
	}
	d.keep = w.Keep
	for _, c := range list {
		p := d.classify.classify(c)
		if busy(c.ID) {
			p.State = policy.Dying
		}
		w.Containers = append(w.Containers, p)
	}
	var answers []promql.Result
	if t.Result != status.TickPrometheusError {
		answers = b.client.Ask(ctx, l.queries, at)
	}
	for i, r := range l.config.Rules {
		mode := policy.Mode(l.config.EffectiveMode(r, b.dryRun))
		w.Rules = append(w.Rules, policy.Rule{
			Name: r.Name, For: r.For, Cooldown: r.Cooldown, MaxKills: r.MaxKills, Mode: mode, Action: string(r.Action),
		})
		state := status.RuleState{Name: r.Name, Query: l.queries[i].String(), Mode: mode, Action: string(r.Action)}
		answer := policy.Answer{Unusable: true}
		if answers != nil {
			answer = answers[i].Answer
			if err := answers[i].Err; err != nil {
				state.Error = err.Error()
				if answers[i].Failed {
					fail(status.TickPrometheusError, fmt.Errorf("rule %s: %w", r.Name, err))
				}
			}
		} else {
			state.Error = t.Error
		}
		w.Answers = append(w.Answers, answer)
		t.Rules = append(t.Rules, state)
	}
	t.Plan = b.settle(ctx, &w)
	t.Containers, t.Listed, t.Decided = w.Containers, true, true
	return d
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
				c.StartedAt = found.StartedAt
			}()
		}
		wg.Wait()
	}
}
