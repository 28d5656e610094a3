package run

import (
	"context"
	"time"

	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/enforce"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
)

// startKills starts the kills of a plan, by rule.
func (a *App) startKills(ctx context.Context, p *gather.Policy, d gather.Decision) {
	holds := func(age time.Duration, schedule *policy.Schedule) func() policy.Reason {
		return func() policy.Reason {
			now := a.o.Now()
			switch {
			case a.stopping.Load():
				return policy.Stopping
			case a.policy.Load() != p:
				return policy.PolicyReplaced
			case now.Sub(d.At)+age > p.Config.MaxSampleAge:
				return policy.StaleSample
			case schedule != nil && gather.ClockWasSet(d.At, now):
				return policy.ClockSet
			case !schedule.Open(now):
				return policy.OutOfSchedule
			}
			return ""
		}
	}
	now := a.o.Now()
	a.mu.Lock()
	batches := a.memory.Start(d.World, d.Plan, now)
	a.mu.Unlock()
	for _, b := range batches {
		r := p.Rules[b.Rule]
		k := enforce.Kill{
			Action: r.Config.Action, Grace: r.Config.Grace, RemoveVolumes: r.Config.RemoveVolumes, Query: r.Queries.Query.String(),
			Keep: d.World.Keep, Classify: d.Classify, Holds: holds(d.Rules[b.Rule].Age, r.Policy.Schedule), Round: b.Round, Unrelieved: b.Unrelieved,
		}
		for _, v := range b.Victims {
			k.Victim = v
			if !a.enforcer.Start(ctx, k) { // a dry run of this tick is in flight
				a.mu.Lock()
				a.memory.Finish(policy.End{Rule: r.Policy.Name, ID: v.Container.ID, Mode: r.Policy.Mode, Round: b.Round, At: now})
				a.mu.Unlock()
			}
		}
	}
}

// snapshot copies the memory for one decision.
func (a *App) snapshot() policy.Memory {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.memory.At(a.o.Now())
}

// killEnded takes the result of a kill. It runs in the kill's goroutine.
func (a *App) killEnded(r enforce.Result) {
	rec := r.Record
	a.mu.Lock()
	a.memory.Finish(policy.End{
		Rule: rec.Rule, ID: rec.Container, StartedAt: rec.StartedAt, Mode: rec.Mode, Round: r.Round, At: r.Ended,
		Begun:  !r.Begun.IsZero(),
		Killed: rec.Outcome == audit.OutcomeDone || rec.Outcome == audit.OutcomeDryRun, PassOver: r.PassOver(),
	})
	a.mu.Unlock()
	a.saveRelief()
	a.metrics.Killed(rec)
	a.store.Killed(rec)
	if r.RecordErr != nil {
		a.auditFailed(r.RecordErr, "kill_id", rec.KillID, "outcome", rec.Outcome)
	}
	kv := keyvals(rec)
	switch rec.Outcome {
	case audit.OutcomeDone:
		level.Info(a.o.Logger).Log(append([]any{"msg", "killed"}, kv...)...)
	case audit.OutcomeDryRun:
		level.Info(a.o.Logger).Log(append([]any{"msg", "would have killed"}, kv...)...)
	case audit.OutcomeAlreadyGone:
		level.Info(a.o.Logger).Log(append([]any{"msg", "container exited before the kill"}, kv...)...)
	default:
		level.Warn(a.o.Logger).Log(append([]any{"msg", "not killed"}, kv...)...)
	}
}
