package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
	"github.com/estiba/estiba/manager/status"
)

// chapterSamples bounds the samples that one question about the past may have:
// about this many containers times moments are asked for at once.
const (
	chapterTicks   = 360
	chapterSamples = 1_000_000
)

// PastKill is a kill that a policy would have made.
type PastKill struct {
	Time  time.Time   `json:"ts"`
	Rule  string      `json:"rule"`
	Kind  string      `json:"kind"` // cpu, ram, io, disk or ""
	ID    string      `json:"container"`
	Name  string      `json:"name"`
	Image string      `json:"image"`
	Value float64     `json:"value"`
	Mode  policy.Mode `json:"mode"` // dry_run for rules that say so
	start time.Time
}

// Replay is what a policy would have done.
type Replay struct {
	Ticks   map[status.TickResult]int `json:"ticks"`
	Kills   []PastKill                `json:"kills"`
	Stopped []PastStop                `json:"stopped"` // rules that would have stopped themselves
	// Unusable is how many ticks of a rule had no usable answer, and the last
	// reason for it.
	Unusable map[string]PastError `json:"unusable"`
}

// PastStop is a rule that stops itself because its kills brought no relief.
type PastStop struct {
	Time time.Time `json:"ts"`
	Rule string    `json:"rule"`
}

// PastError counts ticks with the last of their errors.
type PastError struct {
	Ticks int    `json:"ticks"`
	Error string `json:"error"`
}

// replayer makes decisions over the past. It has nothing that could act: what
// it decides is noted, and the victims are left out of the world from then on.
type replayer struct {
	client *promql.Client
	loaded *loaded
	// watch, if any, sees each decision.
	watch func(time.Time, policy.Plan)
	// progress, if any, is told how many ticks are done and kills made.
	progress func(done, kills int)
}

// newReplayer prepares a policy for the past. The policy's own mode does not
// matter: the question is what it would do. A rule that is a dry run stays one.
// A pressure that is a query is not judged, since history does not answer to
// kills that were not made.
func newReplayer(client *promql.Client, c *config.Config) (*replayer, error) {
	as := *c
	as.Mode = config.ModeLive
	as.Rules = append([]config.Rule(nil), c.Rules...)
	for i := range as.Rules {
		if as.Rules[i].Relief.By == config.ReliefByQuery {
			as.Rules[i].Relief = config.Relief{By: config.ReliefByCount}
		}
	}
	l, err := load(&as, client, false)
	if err != nil {
		return nil, err
	}
	return &replayer{client: client, loaded: l}, nil
}

// run decides at each moment, in order.
func (r *replayer) run(ctx context.Context, m promql.Moments) (Replay, error) {
	out := Replay{Ticks: map[status.TickResult]int{}, Kills: []PastKill{}, Stopped: []PastStop{}, Unusable: map[string]PastError{}}
	state := pastState{memory: policy.NewMemory(), dead: map[string]time.Time{}, stopped: map[string]bool{}}
	size := min(chapterTicks, m.N)
	next := r.fetch(ctx, m, 0, size)
	for from := 0; from < m.N; {
		got := <-next
		if got.err != nil {
			return out, got.err
		}
		at := from
		from += got.chapter.N
		if from < m.N {
			// Many containers make short chapters: what one needs is bounded.
			if n, err := got.chapter.Containers(got.chapter.N - 1); err == nil && len(n) > 0 {
				size = max(1, min(chapterTicks, chapterSamples/len(n)))
			}
			next = r.fetch(ctx, m, from, min(size, m.N-from))
		}
		for i := range got.chapter.N {
			if err := ctx.Err(); err != nil {
				return out, err
			}
			r.tick(got.chapter, i, &state, &out)
			if r.progress != nil {
				r.progress(at+i+1, len(out.Kills))
			}
		}
	}
	return out, nil
}

type fetched struct {
	chapter *promql.Chapter
	err     error
}

// fetch asks for a chapter while the one before it is decided on.
func (r *replayer) fetch(ctx context.Context, m promql.Moments, from, n int) <-chan fetched {
	c := make(chan fetched, 1)
	go func() {
		chapter, err := r.client.Chapter(ctx, r.loaded.questions, promql.Moments{Start: m.At(from), Step: m.Step, N: n})
		c <- fetched{chapter, err}
	}()
	return c
}

type pastState struct {
	memory  policy.Memory
	dead    map[string]time.Time // id to the start of the life that was ended
	stopped map[string]bool
}

// tick makes one decision as brain.decide does, with history in place of the
// Engine. Acts are taken to end in the moment they are decided.
func (r *replayer) tick(ch *promql.Chapter, i int, s *pastState, out *Replay) {
	l, at, result := r.loaded, ch.At(i), status.TickOK
	fresh, err := ch.Fresh(i, l.config.MaxSampleAge)
	switch {
	case err == nil && !fresh.Fresh, errors.Is(err, promql.ErrUnusable):
		result = status.TickNoFreshData
	case err != nil:
		result = status.TickPrometheusError
	}
	fresh.Fresh = fresh.Fresh && err == nil
	seen, err := ch.Containers(i)
	if err != nil {
		result, fresh.Fresh = status.TickPrometheusError, false
	}
	containers := make([]policy.Container, 0, len(seen))
	for _, c := range seen {
		if life, dead := s.dead[c.ID]; dead && c.Start.Sub(life).Abs() <= policy.StartTolerance {
			continue
		}
		containers = append(containers, r.classify(c))
	}
	answers := make([]policy.Answer, len(l.rules))
	for k, a := range ch.Answers(i) {
		answers[k] = a.Answer
		if a.Err != nil {
			was := out.Unusable[l.rules[k].Name]
			out.Unusable[l.rules[k].Name] = PastError{was.Ticks + 1, a.Err.Error()}
			if a.Failed {
				result = status.TickPrometheusError
			}
		}
	}
	out.Ticks[result]++
	w := l.world(at, fresh, containers, answers, s.memory.At(at))
	w.Notices.Waived = true
	plan := policy.Decide(w)
	if r.watch != nil {
		r.watch(at, plan)
	}
	s.memory.Held, s.memory.Announced = plan.Held, plan.Announced
	s.memory.Forget(containers)
	s.memory.Measured(plan.Measured, l.rules, at)
	for _, rule := range l.rules {
		now := rule.Relief.Stopped(s.memory.Relieving[rule.Name])
		if now && !s.stopped[rule.Name] {
			out.Stopped = append(out.Stopped, PastStop{at.UTC(), rule.Name})
		}
		s.stopped[rule.Name] = now
	}
	for _, rule := range l.rules {
		var victims []policy.Victim
		for _, v := range plan.Victims {
			if v.Rule.Name == rule.Name {
				victims = append(victims, v)
			}
		}
		if len(victims) == 0 {
			continue
		}
		s.memory.Acted(rule.Name, rule.Mode, at, fresh.Sequence)
		var round uint64
		if p, live := plan.Rounds[rule.Name]; live {
			round = s.memory.Open(rule.Name, p, len(victims))
		}
		for _, v := range victims {
			c := v.Container
			out.Kills = append(out.Kills, PastKill{at.UTC(), rule.Name, string(c.Kind), c.ID, c.Name, c.Image, v.Value, rule.Mode, c.StartedAt})
			if rule.Mode == policy.DryRun {
				s.memory.DryKilled[policy.Candidate{Rule: rule.Name, ID: c.ID}] = c.StartedAt
				continue
			}
			s.dead[c.ID] = c.StartedAt
			s.memory.Ended(rule.Name, round, c.ID, true, at)
		}
	}
}

// classify is what classifier does, on what the history knows. Of what a
// container's labels and addresses protect it by, that is the manager's own
// word at the time.
func (r *replayer) classify(c promql.PastContainer) policy.Container {
	kind, _ := container.ParseKind(c.Kind)
	p := policy.Container{
		ID: c.ID, Name: c.Name, Image: c.Image, Kind: kind, StartedAt: c.Start, State: policy.Running,
		InScope: r.loaded.config.Scope == config.ScopeAll || c.Managed,
	}
	because := func(yes bool, why policy.Why) {
		if yes && !slices.Contains(p.Protected, why) {
			p.Protected = append(p.Protected, why)
		}
	}
	because(c.Protected, policy.WhyLabel)
	because(c.LabelError, policy.WhyLabelError)
	because(matchesAny(r.loaded.config.Protect.Names, c.Name), policy.WhyPolicyName)
	because(matchesImage(r.loaded.config.Protect.Images, c.Image), policy.WhyPolicyImage)
	for _, why := range c.Why {
		switch w := policy.Why(why); w {
		case policy.WhyPolicyName, policy.WhyPolicyImage: // this policy's own, above
		case policy.WhyPolicyLabel:
			because(len(r.loaded.config.Protect.Labels) > 0, w)
		default:
			because(true, w)
		}
	}
	return p
}

// moments are the ticks of a policy between two times; the last one is at until.
func moments(since, until time.Time, interval time.Duration) (promql.Moments, error) {
	n := int(until.Sub(since)/interval) + 1
	if n < 1 {
		return promql.Moments{}, fmt.Errorf("from %s to %s there is no tick", since.Format(time.RFC3339), until.Format(time.RFC3339))
	}
	return promql.Moments{Start: until.Add(-time.Duration(n-1) * interval), Step: interval, N: n}, nil
}
