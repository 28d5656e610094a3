package gather

import (
	"fmt"
	"slices"
	"time"

	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
)

// Policy is an accepted policy file with its parsed queries.
type Policy struct {
	Config *config.Config
	Rules  []Rule
}

// Rule is one rule of a policy: its configuration, its queries, and its view for
// decisions.
type Rule struct {
	Config  config.Rule
	Queries promql.Queries
	Policy  policy.Rule
}

// Load prepares a policy. With dryRun each rule is a dry run.
func Load(c *config.Config, client *promql.Client, dryRun bool) (*Policy, error) {
	p := &Policy{Config: c}
	for _, r := range c.Rules {
		q, err := client.Parse(r.Query)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.Name, err)
		}
		queries := promql.Queries{Query: q}
		if r.Relief.By == config.ReliefByQuery {
			value, err := client.ParseNumber(r.Relief.Query)
			if err != nil {
				return nil, fmt.Errorf("rule %s: relief: %w", r.Name, err)
			}
			queries.Relief = &value
		}
		p.Rules = append(p.Rules, Rule{Config: r, Queries: queries, Policy: policy.Rule{
			Name: r.Name, For: r.For, Announce: r.Announce, Cooldown: r.Cooldown, MaxKills: r.MaxKills, MaxPerHour: r.MaxKillsPerHour,
			Action: string(r.Action),
			Mode:   policy.Mode(c.EffectiveMode(r, dryRun)), Schedule: scheduleOf(r.Schedule),
			Relief: policy.Relief{
				By: policy.ReliefBy(r.Relief.By), AtLeast: r.Relief.AtLeast, After: r.Relief.After,
				StopAfter: r.Relief.StopAfter, ResumeAfter: r.Relief.ResumeAfter,
			},
		}})
	}
	return p, nil
}

// scheduleOf is a schedule's view for decisions.
func scheduleOf(s *config.Schedule) *policy.Schedule {
	if s == nil {
		return nil
	}
	view := &policy.Schedule{Location: s.Location}
	for _, w := range s.Windows {
		view.Windows = append(view.Windows, policy.Window(w))
	}
	return view
}

// Rule finds a rule by its name; nil if there is none.
func (p *Policy) Rule(name string) *Rule {
	for i := range p.Rules {
		if p.Rules[i].Config.Name == name {
			return &p.Rules[i]
		}
	}
	return nil
}

// DryRun reports whether no rule kills.
func (p *Policy) DryRun() bool {
	return !slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Policy.Mode != policy.DryRun })
}

// Queries are the queries of the rules, in their order.
func (p *Policy) Queries() []promql.Queries {
	list := make([]promql.Queries, len(p.Rules))
	for i, r := range p.Rules {
		list[i] = r.Queries
	}
	return list
}

// Changed names the rules whose query, action or announce differs from before, and
// those that are gone: a rule of that name may come back as another.
func (p *Policy) Changed(before *Policy) []string {
	if before == nil {
		return nil
	}
	var names []string
	for _, was := range before.Rules {
		r := p.Rule(was.Config.Name)
		if r == nil || was.Queries.Query.String() != r.Queries.Query.String() ||
			was.Config.Action != r.Config.Action || was.Config.Announce != r.Config.Announce {
			names = append(names, was.Config.Name)
		}
	}
	return names
}

// World is the input of a decision, live or over the past. engine is package container's
// Docker or Podman.
func (p *Policy) World(
	at time.Time, engine string, fresh promql.Freshness, containers []policy.Container, answers []policy.Answer, memory policy.Memory,
) policy.World {
	c := p.Config
	w := policy.World{
		Now: at, Engine: engine, Containers: containers, Answers: answers, Memory: memory,
		Data:   policy.Data{Fresh: fresh.Fresh, At: fresh.At, Sequence: fresh.Sequence},
		Budget: c.MaxKillsPerTick, MaxPerHour: c.MaxKillsPerHour,
		MaxGap: max(2*c.Interval, c.MaxSampleAge),
	}
	for _, r := range p.Rules {
		w.Rules = append(w.Rules, r.Policy)
	}
	for _, k := range c.Keep {
		w.Keep = append(w.Keep, keepOf(k))
	}
	return w
}
