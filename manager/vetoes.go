package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/enforce"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/status"
)

// announces tells whether a rule asks for objections.
func announces(r policy.Rule) bool { return r.Announce > 0 && r.Mode == policy.Live }

// notices is what Alertmanager holds of the announcements of rules. It is not
// asked if no rule announces.
func (b *brain) notices(ctx context.Context, rules []policy.Rule, containers []policy.Container) (policy.Notices, error) {
	if !slices.ContainsFunc(rules, announces) {
		return policy.Notices{}, nil
	}
	if b.vetoes == nil {
		return policy.Notices{}, errors.New("there is no Alertmanager to ask")
	}
	list, err := b.vetoes.Announced(ctx)
	if err != nil {
		return policy.Notices{}, err
	}
	full := make(map[string]string, len(containers))
	for _, c := range containers {
		full[container.ShortID(c.ID)] = c.ID
	}
	n := policy.Notices{Known: true, Of: make(map[policy.Candidate]policy.Notice, len(list))}
	for _, one := range list {
		if id, listed := full[one.ID]; listed {
			key := policy.Candidate{Rule: one.Rule, ID: id}
			known := n.Of[key] // another Prometheus may have sent the same
			n.Of[key] = policy.Notice{Silences: append(known.Silences, one.Silences...), Inhibited: known.Inhibited || one.Muted}
		}
	}
	return n, nil
}

// To implements enforce.Objections.
func (b *brain) To(ctx context.Context, v policy.Victim) (policy.Reason, *audit.Veto, error) {
	n, err := b.notices(ctx, []policy.Rule{v.Rule}, []policy.Container{v.Container})
	if err != nil {
		return policy.NoVetoAnswer, nil, err
	}
	notice, there := n.Of[policy.Candidate{Rule: v.Rule.Name, ID: v.Container.ID}]
	switch {
	case len(notice.Silences) > 0:
		return policy.Vetoed, b.whose(ctx, notice.Silences), nil
	case !there || notice.Inhibited:
		return policy.Announced, nil, nil
	}
	return "", nil, nil
}

var _ enforce.Objections = (*brain)(nil)

// whose tells who made the first of some silences.
func (b *brain) whose(ctx context.Context, silences []string) *audit.Veto {
	v := &audit.Veto{Silences: silences}
	if s, err := b.vetoes.Silence(ctx, silences[0]); err == nil {
		v.CreatedBy, v.Comment = s.CreatedBy, s.Comment
	}
	return v
}

// recordVetoes writes down each veto once.
func (a *App) recordVetoes(ctx context.Context, l *loaded, t status.Tick, notices policy.Notices) {
	known := a.vetoed
	a.vetoed = map[policy.Candidate]string{}
	for _, d := range t.Plan.Decisions {
		if d.Reason != policy.Vetoed {
			continue
		}
		key := policy.Candidate{Rule: d.Rule, ID: d.Container.ID}
		silences := notices.Of[key].Silences
		a.vetoed[key] = strings.Join(silences, " ")
		if a.vetoed[key] == known[key] {
			continue
		}
		i := slices.IndexFunc(l.config.Rules, func(r config.Rule) bool { return r.Name == d.Rule })
		rec := audit.Record{
			Time: t.Time.UTC(), KillID: enforce.KillID(), Rule: d.Rule, Kind: string(d.Container.Kind), Container: d.Container.ID,
			StartedAt: d.Container.StartedAt.UTC(), Name: d.Container.Name, Image: d.Container.Image, Value: d.Value,
			Query: l.questions[i].Query.String(), Reason: d.Reason, Mode: policy.Live, Action: string(l.config.Rules[i].Action),
			Veto: a.brain.whose(ctx, silences),
		}
		if err := a.audit.Veto(rec); err != nil {
			a.metrics.AuditFailed()
			level.Error(a.o.Logger).Log("msg", "could not write the audit file", "kill_id", rec.KillID, "err", err)
			delete(a.vetoed, key) // again at the next tick
		}
		level.Info(a.o.Logger).Log("msg", "a kill was vetoed", "kill_id", rec.KillID, "rule", rec.Rule, "container", rec.Container, "name", rec.Name,
			"silence", a.vetoed[key], "created_by", rec.Veto.CreatedBy, "comment", rec.Veto.Comment)
	}
}
