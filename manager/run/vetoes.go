package run

import (
	"context"
	"strings"

	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/enforce"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
)

// recordVetoes records each veto once: again only after it has ended in Alertmanager,
// or with other silences.
func (a *App) recordVetoes(ctx context.Context, p *gather.Policy, d gather.Decision) {
	notices := d.World.Notices
	if !notices.Known {
		return // whether the vetoes have ended is unknown
	}
	known := a.vetoed
	a.vetoed = map[policy.Candidate]string{}
	type veto struct {
		policy.Decision
		silences []string
		by       *audit.Veto
	}
	var anew []*veto
	for _, d := range d.Plan.Decisions {
		key := policy.Candidate{Rule: d.Rule, ID: d.Container.ID}
		silences := strings.Join(notices.Of[key].Silences, " ")
		if silences == "" {
			continue
		}
		switch was, recorded := known[key]; {
		case recorded && was == silences:
			a.vetoed[key] = silences
		case d.Reason == policy.Vetoed:
			a.vetoed[key] = silences
			anew = append(anew, &veto{Decision: d, silences: notices.Of[key].Silences})
		}
	}
	// in parallel: the slowest request limits the time
	gather.Parallel(anew, func(v *veto) { v.by = a.vetoOf(ctx, v.silences) })
	for _, v := range anew {
		r := p.Rule(v.Rule)
		rec := audit.Record{
			Time: d.Time.UTC(), KillID: enforce.KillID(), Rule: v.Rule, Kind: string(v.Container.Kind), Container: v.Container.ID,
			StartedAt: v.Container.StartedAt.UTC(), Name: v.Container.Name, Image: v.Container.Image, Value: v.Value,
			Query: r.Queries.Query.String(), Reason: v.Reason, Mode: policy.Live, Action: string(r.Config.Action),
			Veto: v.by,
		}
		if err := a.audit.Veto(rec); err != nil {
			a.auditFailed(err, "kill_id", rec.KillID)
			delete(a.vetoed, policy.Candidate{Rule: v.Rule, ID: v.Container.ID}) // retry in the next tick
		}
		level.Info(a.o.Logger).Log("msg", "kill vetoed", "kill_id", rec.KillID, "rule", rec.Rule, "container", rec.Container, "name", rec.Name,
			"silence", strings.Join(rec.Veto.Silences, " "), "created_by", rec.Veto.CreatedBy, "comment", rec.Veto.Comment)
	}
}
