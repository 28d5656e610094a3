package gather

import (
	"context"
	"errors"
	"slices"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/enforce"
	"github.com/estiba/estiba/manager/policy"
)

// announces reports whether kills of the rule need a check for vetoes.
func announces(r policy.Rule) bool { return r.Announce > 0 && r.Mode == policy.Live }

// notices is what Alertmanager holds of the rules' announcements. It is not queried if
// no rule announces.
func (g *Gatherer) notices(ctx context.Context, rules []policy.Rule, containers []policy.Container) (policy.Notices, error) {
	if !slices.ContainsFunc(rules, announces) {
		return policy.Notices{}, nil
	}
	if g.silences == nil {
		return policy.Notices{}, errors.New("no Alertmanager configured")
	}
	list, err := g.silences.Announced(ctx)
	if err != nil {
		return policy.Notices{}, err
	}
	ids := make([]string, len(containers))
	for i, c := range containers {
		ids[i] = c.ID
	}
	index := container.NewIndex(ids)
	n := policy.Notices{Known: true, Of: make(map[policy.Candidate]policy.Notice, len(list))}
	for _, one := range list {
		if id, listed := index.Find(one.ID); listed {
			key := policy.Candidate{Rule: one.Rule, ID: id}
			known := n.Of[key] // another Prometheus may have sent the same alert
			n.Of[key] = policy.Notice{Silences: append(known.Silences, one.Silences...), Inhibited: known.Inhibited || one.Muted}
		}
	}
	return n, nil
}

// Veto implements enforce.Vetoes.
func (g *Gatherer) Veto(ctx context.Context, v policy.Victim) (policy.Reason, *audit.Veto, error) {
	n, err := g.notices(ctx, []policy.Rule{v.Rule}, []policy.Container{v.Container})
	if err != nil {
		return policy.NoVetoAnswer, nil, err
	}
	notice, there := n.Of[policy.Candidate{Rule: v.Rule.Name, ID: v.Container.ID}]
	switch {
	case len(notice.Silences) > 0:
		return policy.Vetoed, g.VetoOf(ctx, notice.Silences), nil
	case !there || notice.Inhibited:
		return policy.Announced, nil, nil
	}
	return "", nil, nil
}

var _ enforce.Vetoes = (*Gatherer)(nil)

// VetoOf describes a veto by its silences, with the creator of the first one if known.
func (g *Gatherer) VetoOf(ctx context.Context, silences []string) *audit.Veto {
	v := &audit.Veto{Silences: silences}
	if s, err := g.silences.Silence(ctx, silences[0]); err == nil {
		v.CreatedBy, v.Comment = s.CreatedBy, s.Comment
	}
	return v
}
