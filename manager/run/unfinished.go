package run

import (
	"context"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/enforce"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
)

// unfinished are the intents of earlier runs without an outcome. Each spares its
// container until the Engine has described it.
type unfinished struct {
	mu   sync.Mutex
	list []interrupted
}

type interrupted struct {
	audit.Record
	read   time.Time // when this run found it in the audit log
	retry  time.Time // earliest time
	warned bool
}

// maxInFlight is how long, beyond its grace, a kill may still be in flight in the Engine
// although its manager has ended. It is counted from the start of this run, not from the
// intent: the wall clock may have been set in between.
const maxInFlight = time.Minute

// retryInterval is the pause after a failed inspection: a container that makes the
// Engine hang would delay each tick.
const retryInterval = 30 * time.Second

func (u *unfinished) add(rec audit.Record, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.list = append(u.list, interrupted{Record: rec, read: now})
}

func (u *unfinished) has(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, rec := range u.list {
		if rec.Container == id {
			return true
		}
	}
	return false
}

// take returns those that are due.
func (u *unfinished) take(now time.Time) (due []interrupted) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, rec := range u.list {
		if !now.Before(rec.retry) {
			due = append(due, rec)
		}
	}
	return due
}

// settle replaces one, or removes it if later is nil.
func (u *unfinished) settle(killID string, later *interrupted) {
	u.mu.Lock()
	defer u.mu.Unlock()
	rest := u.list[:0:0]
	for _, rec := range u.list {
		if rec.KillID != killID {
			rest = append(rest, rec)
		} else if later != nil {
			rest = append(rest, *later)
		}
	}
	u.list = rest
}

// finish completes intents that an earlier run or a full disk left without outcome.
func (a *App) finish(ctx context.Context) {
	gather.Parallel(a.unfinished.take(a.o.Now()), func(open interrupted) { a.complete(ctx, open) })
	if err := a.audit.Flush(); err != nil {
		a.metrics.AuditFailed()
	}
}

func (a *App) complete(ctx context.Context, open interrupted) {
	rec, err := enforce.Complete(ctx, a.o.Engine, open.Record, a.o.Now())
	if err != nil {
		if !open.warned {
			level.Warn(a.o.Logger).Log("msg", "outcome of an interrupted kill unknown, sparing its container", "kill_id", open.KillID,
				"container", open.Container, "name", open.Name, "err", err)
		}
		open.warned, open.retry = true, a.o.Now().Add(retryInterval)
		a.unfinished.settle(open.KillID, &open)
		return
	}
	if rec.Found == audit.FoundRunning && a.o.Now().Sub(open.read) < maxInFlight+a.graceOf(rec.Rule) {
		return // perhaps within its grace: try later
	}
	a.unfinished.settle(open.KillID, nil)
	// An outcome that cannot be written is kept, and no kill begins before it is.
	if err := a.audit.Outcome(rec); err != nil {
		a.auditFailed(err, "kill_id", rec.KillID, "outcome", rec.Outcome)
	}
	level.Warn(a.o.Logger).Log(append([]any{"msg", "completed the audit log of an interrupted kill"}, keyvals(rec)...)...)
	a.metrics.Killed(rec)
	a.store.Killed(rec)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.memory.Finish(policy.End{
		Rule: rec.Rule, ID: rec.Container, StartedAt: rec.StartedAt, Mode: rec.Mode, At: a.o.Now(),
		Begun: true, Killed: rec.Outcome == audit.OutcomeDryRun,
	})
}

// graceOf is the kill time of a rule, 0 if there is no such rule.
func (a *App) graceOf(rule string) time.Duration {
	if r := a.policy.Load().Rule(rule); r != nil {
		return r.Config.KillTime()
	}
	return 0
}

// saveRelief records changes of the rules' relief state, so that stopped rules stay
// stopped after a restart.
func (a *App) saveRelief() {
	rules := a.policy.Load().Rules
	known := make([]policy.ReliefState, len(rules))
	a.mu.Lock()
	for i, r := range rules {
		known[i] = a.memory.ReliefState[r.Policy.Name]
	}
	a.mu.Unlock()
	for i, rule := range rules {
		r, s, stoppedAt := rule.Policy, known[i], time.Time{}
		if r.Relief.Stopped(s) {
			stoppedAt = s.StoppedAt
		}
		if err := a.audit.Relief(r.Name, s.Unrelieved+len(s.Rounds), stoppedAt); err != nil {
			a.auditFailed(err, "rule", r.Name)
		}
	}
}
