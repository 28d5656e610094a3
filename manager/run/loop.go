package run

import (
	"context"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/status"
)

// loop ticks at the policy's interval, measured from start to start. A tick that takes
// longer is followed by the next one at once.
func (a *App) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		begun := time.Now()
		a.tick(ctx)
		a.life.sign(a.o.Now())
		timer.Reset(max(0, a.policy.Load().Config.Interval-time.Since(begun)))
	}
}

// tick decides once and starts the kills. It does not wait for them.
func (a *App) tick(ctx context.Context) {
	p := a.policy.Load()
	a.finish(ctx)
	d := a.gatherer.Decide(ctx, p, a.snapshot(), a)
	if ctx.Err() != nil {
		return // an interrupted tick is void
	}
	t := status.NewTick(p, d)
	if d.Decided && a.remember(p, d) {
		a.saveRelief()
		a.logRelief(t)
		a.startKills(ctx, p, d)
		a.recordVetoes(ctx, p, d)
	}
	t.Usage, _ = a.gatherer.Prometheus().Usage(ctx, t.Time) // display only
	a.metrics.Tick(t)
	a.store.Tick(t)
	a.logTick(t)
	a.logOnce()
}

// remember keeps what a decision leaves for the next tick; false means that its policy
// has been replaced, so it is void.
func (a *App) remember(p *gather.Policy, d gather.Decision) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.policy.Load() != p {
		return false
	}
	a.memory.Advance(d.World, d.Plan)
	a.audit.Forget(policy.Listed(d.World.Containers))
	return true
}

// Busy implements gather.Kills: a kill of the container is in flight, or was
// interrupted and its outcome is unknown.
func (a *App) Busy(id string) bool { return a.enforcer.Busy(id) || a.unfinished.has(id) }

// Review implements gather.Kills.
func (a *App) Review(ctx context.Context, list []dockerclient.Container) map[string]bool {
	signalled, over := a.enforcer.Review(ctx, list)
	for _, id := range over {
		a.audit.LifeEnded(id)
	}
	return signalled
}
