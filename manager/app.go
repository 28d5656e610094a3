package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/internal/web"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/enforce"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
	"github.com/estiba/estiba/manager/status"
	"github.com/estiba/estiba/manager/veto"
)

const (
	// recalled is how many outcomes of earlier runs are read back, for
	// cooldowns and the status page.
	recalled = 1000
	webGrace = 3 * time.Second
)

// App is the running manager.
type App struct {
	o        Options
	brain    *brain
	audit    *audit.Log
	enforcer *enforce.Enforcer
	metrics  *status.Metrics
	store    *status.Store
	server   *web.Server
	lock     io.Closer // nil in a dry run, which may run beside another manager
	policy   atomic.Pointer[loaded]

	reloading sync.Mutex

	mu     sync.Mutex // guards memory
	memory policy.Memory

	// Of the tick loop alone.
	unfinished []audit.Record // intents of an earlier run without outcome
	lastResult status.TickResult
	stopped    map[string]bool             // rules that have stopped themselves
	vetoed     map[policy.Candidate]string // recorded already: by which silences
}

func newBrain(o Options) (*brain, error) {
	client, err := promql.New(o.PrometheusURL, o.PrometheusHTTPConfig, o.Host, queryTimeout)
	if err != nil {
		return nil, err
	}
	var vetoes *veto.Client
	if o.AlertmanagerURL != "" {
		if vetoes, err = veto.New(o.AlertmanagerURL, o.AlertmanagerHTTPConfig, o.Host, queryTimeout); err != nil {
			return nil, err
		}
	}
	return &brain{
		vetoes: vetoes, engine: o.Engine, client: client, endpoints: newEndpoints(client, o.PrometheusURL),
		self: o.Self, dryRun: o.DryRun, now: o.Now,
	}, nil
}

// New reads the policy, opens the record and binds the listener, so that every
// mistake is found before anything runs. Run must be called to release them.
func New(o Options) (*App, error) {
	b, err := newBrain(o)
	if err != nil {
		return nil, err
	}
	a := &App{o: o, brain: b, metrics: status.NewMetrics(o.Host), store: status.NewStore(), lastResult: status.TickOK, stopped: map[string]bool{}}
	if err := a.Reload(); err != nil {
		return nil, err
	}
	if a.audit, err = audit.Open(o.AuditFile, audit.Options{Recent: recalled}); err != nil {
		return nil, err
	}
	if !o.DryRun {
		if a.lock, err = lockEngine(o.DockerHost); err != nil {
			a.audit.Close()
			return nil, err
		}
	}
	a.recall()
	eo := enforce.Options{Reader: o.Engine, Objections: b, Record: a.audit, Now: o.Now, Done: a.done}
	if !o.DryRun {
		eo.Live = enforce.Live{Reader: o.Engine, Actor: o.Engine}
	}
	a.enforcer = enforce.New(eo)
	if a.server, err = web.Listen(o.Web, a.handler(), o.Logger); err != nil {
		return nil, errors.Join(err, a.release())
	}
	return a, nil
}

// Addr is the address of the status page.
func (a *App) Addr() net.Addr { return a.server.Addr() }

// Reload reads the policy file again. A file with mistakes changes nothing.
func (a *App) Reload() error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	l, err := func() (*loaded, error) {
		c, err := loadPolicy(a.o.ConfigFile)
		if err != nil {
			return nil, err
		}
		return a.brain.load(c)
	}()
	a.metrics.Reloaded(err == nil)
	if err != nil {
		return err
	}
	names := make([]string, len(l.config.Rules))
	dry := true
	for i, r := range l.rules {
		names[i] = r.Name
		dry = dry && r.Mode == policy.DryRun
	}
	a.metrics.Rules(names, l.config.MaxKillsPerTick, dry)
	a.store.SetDryRun(dry)
	a.policy.Store(l)
	a.mu.Lock()
	a.memory.Resume() // whoever reloads has looked at rules that stopped themselves
	a.mu.Unlock()
	return nil
}

// recall takes over what the record knows of earlier runs.
func (a *App) recall() {
	a.memory = policy.NewMemory()
	for _, rec := range a.audit.Recent() {
		a.metrics.Remember(rec)
		a.store.Killed(rec)
		switch rec.Outcome {
		case audit.OutcomeDone, audit.OutcomeFailed, audit.OutcomeUnknown, audit.OutcomeDryRun:
			a.memory.Acted(rec.Rule, rec.Mode, rec.Time, "")
		}
		if rec.Outcome == audit.OutcomeDryRun {
			a.memory.DryKilled[policy.Candidate{Rule: rec.Rule, ID: rec.Container}] = rec.StartedAt
		}
		if rec.Mode == policy.Live {
			a.memory.Relieving[rec.Rule] = policy.Relieving{Unrelieved: rec.Unrelieved, StoppedAt: rec.Time}
		}
	}
	// Kills without relief count on over a restart, or a manager that is
	// restarted again and again would never stop; old ones say nothing.
	for _, r := range a.policy.Load().rules {
		s := a.memory.Relieving[r.Name]
		if rest := r.Relief.ResumeAfter; rest > 0 && a.o.Now().Sub(s.StoppedAt) > rest {
			delete(a.memory.Relieving, r.Name)
		}
	}
	a.unfinished = a.audit.Unfinished()
	if n := a.audit.Skipped(); n > 0 {
		level.Warn(a.o.Logger).Log("msg", "the audit file has lines that are no records", "file", a.o.AuditFile, "lines", n)
	}
}

// Run ticks and serves until ctx ends, then waits for acts under way.
func (a *App) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		if err := a.server.Serve(ctx, webGrace); err != nil {
			cancel(err)
		}
	}()
	level.Info(a.o.Logger).Log("msg", "manager started", "address", a.Addr(), "prometheus", redacted(a.o.PrometheusURL),
		"policy", policyName(a.o.ConfigFile), "dry_run", a.store.DryRun(), "audit", a.o.AuditFile)
	a.loop(ctx)
	a.enforcer.Wait(context.Background()) // each act has a time limit of its own
	wg.Wait()
	err := a.release()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// redacted is an address without the password that it may hold.
func redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Redacted()
}

// release gives the record and the Engine free for the next manager.
func (a *App) release() error {
	err := a.audit.Close()
	if a.lock != nil {
		err = errors.Join(err, a.lock.Close())
	}
	return err
}

func policyName(path string) string {
	if path == "" {
		return "built-in one-of-each-kind"
	}
	return path
}

// loop ticks at the policy's interval, measured from start to start. A tick
// that takes longer is followed by the next one at once.
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
		timer.Reset(max(0, a.policy.Load().config.Interval-time.Since(begun)))
	}
}

// tick decides once and starts what was decided. It does not wait for the
// acts: a slow victim holds up nobody.
func (a *App) tick(ctx context.Context) {
	l := a.policy.Load()
	d := decided{tick: status.Tick{Time: a.o.Now(), Result: status.TickOK}}
	if err := a.finish(ctx); err != nil {
		d.tick.Result, d.tick.Error = status.TickDockerError, err.Error()
	} else {
		d = a.brain.decide(ctx, l, a.snapshot(), a.enforcer.Busy)
	}
	if ctx.Err() != nil {
		return // half a tick proves nothing
	}
	if d.tick.Decided {
		a.mu.Lock()
		a.memory.Held, a.memory.Announced = d.tick.Plan.Held, d.tick.Plan.Announced
		a.memory.Forget(d.tick.Containers)
		a.memory.Measured(d.tick.Plan.Measured, d.rules, d.tick.Time)
		a.mu.Unlock()
		a.logRelief(d.tick)
		a.recordVetoes(ctx, l, d.tick, d.notices)
		a.orderAll(ctx, l, d)
	}
	d.tick.Usage, _ = a.brain.client.Usage(ctx, d.tick.Time) // for showing only
	a.metrics.Tick(d.tick)
	a.store.Tick(d.tick)
	a.logTick(d.tick)
}

// orderAll starts what was decided, each rule's kills as one round.
func (a *App) orderAll(ctx context.Context, l *loaded, d decided) {
	for i, r := range l.config.Rules {
		var victims []policy.Victim
		for _, v := range d.tick.Plan.Victims {
			if v.Rule.Name == r.Name {
				victims = append(victims, v)
			}
		}
		if len(victims) == 0 {
			continue
		}
		now := a.o.Now()
		order := enforce.Order{Action: r.Action, Grace: r.Grace, Query: l.questions[i].Query.String(), Keep: d.keep, Classify: d.classify.classify}
		a.mu.Lock()
		if round, live := d.tick.Plan.Rounds[r.Name]; live {
			order.Round = a.memory.Open(r.Name, round, len(victims))
			known := a.memory.Relieving[r.Name]
			order.Unrelieved = known.Unrelieved + len(known.Rounds) - 1 // without this one
		}
		a.memory.Acted(r.Name, victims[0].Rule.Mode, now, d.sequence)
		a.mu.Unlock()
		for _, v := range victims {
			order.Victim = v
			if !a.enforcer.Start(ctx, order) {
				a.mu.Lock()
				a.memory.Ended(r.Name, order.Round, v.Container.ID, false, now)
				a.mu.Unlock()
			}
		}
	}
}

// finish completes what an earlier run, or a full disk, left open in the
// record. Until it is complete nobody is acted on.
func (a *App) finish(ctx context.Context) error {
	if len(a.unfinished) > 0 {
		completed, err := enforce.Recover(ctx, a.o.Engine, a.audit, a.unfinished, a.o.Now())
		for _, rec := range completed {
			level.Warn(a.o.Logger).Log(append([]any{"msg", "completed the record of a kill that an earlier run left open"}, keyvals(rec)...)...)
			a.metrics.Killed(rec)
			a.store.Killed(rec)
			if rec.Mode == policy.Live && (rec.Found == audit.FoundRunning || rec.Found == audit.FoundPaused) {
				a.enforcer.Doubt(rec.Container)
			}
			a.mu.Lock()
			a.memory.Acted(rec.Rule, rec.Mode, rec.Time, "")
			a.mu.Unlock()
		}
		a.unfinished = a.unfinished[len(completed):]
		if err != nil {
			return fmt.Errorf("completing the record: %w", err)
		}
	}
	if err := a.audit.Flush(); err != nil {
		a.metrics.AuditFailed()
	}
	return nil
}

// snapshot copies the memory for one decision.
func (a *App) snapshot() policy.Memory {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.memory.At(a.o.Now())
}

// done takes the end of one order. It runs in the order's goroutine.
func (a *App) done(r enforce.Result) {
	rec := r.Record
	a.mu.Lock()
	if !r.Begun.IsZero() {
		a.memory.Acted(rec.Rule, rec.Mode, r.Ended, "")
	}
	a.memory.Ended(rec.Rule, r.Round, rec.Container, rec.Outcome == audit.OutcomeDone, r.Ended)
	if rec.Outcome == audit.OutcomeDryRun {
		a.memory.DryKilled[policy.Candidate{Rule: rec.Rule, ID: rec.Container}] = rec.StartedAt
	}
	a.mu.Unlock()
	a.metrics.Killed(rec)
	a.store.Killed(rec)
	if r.RecordErr != nil {
		a.metrics.AuditFailed()
		level.Error(a.o.Logger).Log("msg", "could not write the audit file", "kill_id", rec.KillID, "outcome", rec.Outcome, "err", r.RecordErr)
	}
	kv := keyvals(rec)
	switch rec.Outcome {
	case audit.OutcomeDone:
		level.Info(a.o.Logger).Log(append([]any{"msg", "killed"}, kv...)...)
	case audit.OutcomeDryRun:
		level.Info(a.o.Logger).Log(append([]any{"msg", "would have killed"}, kv...)...)
	case audit.OutcomeAlreadyGone:
		level.Info(a.o.Logger).Log(append([]any{"msg", "was gone before the kill"}, kv...)...)
	default:
		level.Warn(a.o.Logger).Log(append([]any{"msg", "did not kill"}, kv...)...)
	}
}

func keyvals(rec audit.Record) []any {
	kv := []any{"kill_id", rec.KillID, "outcome", rec.Outcome, "mode", rec.Mode, "action", rec.Action, "rule", rec.Rule,
		"kind", rec.Kind, "container", rec.Container, "name", rec.Name, "image", rec.Image, "value", rec.Value, "reason", rec.Reason}
	if rec.Guard != "" {
		kv = append(kv, "guard", rec.Guard)
	}
	if rec.Veto != nil {
		kv = append(kv, "silence", strings.Join(rec.Veto.Silences, " "), "created_by", rec.Veto.CreatedBy)
	}
	if rec.Found != "" {
		kv = append(kv, "found", rec.Found)
	}
	if rec.Error != "" {
		kv = append(kv, "err", rec.Error)
	}
	return append(kv, "duration", rec.Duration)
}

// logRelief says when a rule begins to be stopped, and when no longer.
func (a *App) logRelief(t status.Tick) {
	for _, r := range t.Rules {
		if r.Relief.Stopped == a.stopped[r.Name] {
			continue
		}
		a.stopped[r.Name] = r.Relief.Stopped
		if r.Relief.Stopped {
			level.Warn(a.o.Logger).Log("msg", "a rule has stopped itself: its kills brought no relief", "rule", r.Name, "kills_without_relief", r.Relief.Unrelieved)
		} else {
			level.Info(a.o.Logger).Log("msg", "a rule that had stopped itself goes on", "rule", r.Name)
		}
	}
}

// logTick says when ticks begin to end otherwise than before, not each time.
func (a *App) logTick(t status.Tick) {
	for _, r := range t.Rules {
		if r.Error != "" {
			level.Debug(a.o.Logger).Log("msg", "a rule's answer is of no use", "rule", r.Name, "err", r.Error)
		}
	}
	if t.Result == a.lastResult {
		return
	}
	a.lastResult = t.Result
	if t.Result == status.TickOK {
		level.Info(a.o.Logger).Log("msg", "ticks are ok again")
		return
	}
	level.Warn(a.o.Logger).Log("msg", "nobody is killed", "result", t.Result, "err", t.Error)
}

func (a *App) handler() http.Handler {
	return status.Handler(status.Site{
		Store: a.store, Metrics: a.metrics, Now: a.o.Now,
		Reload: func() error {
			err := a.Reload()
			a.logReload(err)
			return err
		},
	})
}

func (a *App) logReload(err error) {
	if err != nil {
		level.Error(a.o.Logger).Log("msg", "the policy was not reloaded; the one before it holds", "err", err)
		return
	}
	level.Info(a.o.Logger).Log("msg", "policy reloaded", "policy", policyName(a.o.ConfigFile))
}

// ReloadAndLog is what SIGHUP does.
func (a *App) ReloadAndLog() { a.logReload(a.Reload()) }
