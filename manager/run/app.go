// Package run is the running manager: it decides at the policy's interval and carries
// out what was decided. Tests can embed it.
package run

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/internal/web"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/enforce"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/httpclient"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/status"
)

const (
	// restored is how many outcomes of earlier runs are restored for the status page.
	restored = 1000
	webGrace = 3 * time.Second
)

// App is the running manager.
type App struct {
	o        Options
	gatherer *gather.Gatherer
	audit    *audit.Log
	enforcer *enforce.Enforcer
	metrics  *status.Metrics
	store    *status.Store
	server   *web.Server
	lock     io.Closer // nil in a dry run, which may run beside another manager
	policy   atomic.Pointer[gather.Policy]
	stopping atomic.Bool
	life     heartbeat

	reloading sync.Mutex

	mu     sync.Mutex // guards memory
	memory policy.Memory

	unfinished unfinished
	// of the tick loop only
	lastResult gather.TickResult
	unresolved string                      // names that never resolved
	unrotated  bool                        // rotating the audit file failed
	stopped    map[string]bool             // rules that have stopped
	vetoed     map[policy.Candidate]string // recorded vetoes, by their silences
	vetoOf     func(ctx context.Context, silences []string) *audit.Veto
}

// New reads the policy, opens the audit log and binds the listener, so that all errors
// are found before anything runs. Run must be called to release them.
func New(o Options) (*App, error) {
	var lock io.Closer
	if !o.DryRun {
		var err error
		if lock, err = enforce.LockEngine(o.DockerHost); err != nil {
			return nil, err
		}
	}
	a, err := newApp(o)
	if err != nil {
		if lock != nil {
			lock.Close()
		}
		return nil, err
	}
	a.lock = lock
	pages := a.handler()
	if o.Web.ConfigFile == "" { // else clients are authenticated
		pages = status.OwnHost(pages, o.AllowedHosts)
	}
	if a.server, err = web.Listen(o.Web, pages, o.Logger); err != nil {
		return nil, errors.Join(err, a.release())
	}
	return a, nil
}

// newApp is New without the lock and the listener.
func newApp(o Options) (*App, error) {
	g, err := gather.New(o.Options)
	if err != nil {
		return nil, err
	}
	if o.GrafanaURL != "" {
		if _, err := httpclient.URL("grafana", o.GrafanaURL); err != nil {
			return nil, err
		}
	}
	a := &App{
		o: o, gatherer: g, vetoOf: g.VetoOf, metrics: status.NewMetrics(o.Host), store: status.NewStore(),
		lastResult: gather.TickOK, stopped: map[string]bool{},
	}
	p, err := a.read()
	if err != nil {
		return nil, err
	}
	if a.audit, err = audit.Open(o.AuditFile, audit.Options{Recent: restored, Now: o.Now}); err != nil {
		return nil, err
	}
	eo := enforce.Options{Reader: o.Engine, Vetoes: g, Record: a.audit, Now: o.Now, Done: a.killEnded}
	if !o.DryRun {
		eo.Live = enforce.Live{Reader: o.Engine, Actor: o.Engine}
	}
	a.enforcer = enforce.New(eo)
	a.memory = policy.NewMemory()
	a.adopt(p)
	a.restore()
	a.life.sign(o.Now())
	return a, nil
}

// Addr is the address of the status page.
func (a *App) Addr() net.Addr { return a.server.Addr() }

// Reload reads the policy file again. An invalid file changes nothing. After Reload no
// kill begins that the previous policy decided.
func (a *App) Reload() error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	p, err := a.read()
	if err != nil {
		return err
	}
	a.adopt(p)
	a.mu.Lock()
	a.memory.Resume() // a reload resumes stopped rules
	a.mu.Unlock()
	a.saveRelief()
	return nil
}

func (a *App) read() (*gather.Policy, error) {
	c, err := config.LoadOrBuiltIn(a.o.ConfigFile)
	var p *gather.Policy
	if err == nil {
		p, err = a.gatherer.Load(c)
	}
	a.metrics.Reloaded(err == nil)
	return p, err
}

// adopt sets the policy, and drops the state of rules that it changes.
func (a *App) adopt(p *gather.Policy) {
	names := make([]string, len(p.Rules))
	for i, r := range p.Rules {
		names[i] = r.Config.Name
	}
	a.metrics.Rules(names, p.Config.MaxKillsPerTick, p.DryRun())
	a.store.SetDryRun(p.DryRun())
	a.enforcer.Exclusively(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, name := range p.Changed(a.policy.Load()) {
			a.memory.Replaced(name)
		}
		a.policy.Store(p)
	})
}

// restore restores the state of earlier runs from the audit log.
func (a *App) restore() {
	for _, rec := range a.audit.Recent() {
		a.metrics.Remember(rec)
		a.store.Killed(rec)
	}
	known := a.audit.State()
	a.memory = known.Memory(a.o.Now())
	for id, at := range known.Signalled {
		a.enforcer.Signalled(id, at)
	}
	for _, rec := range a.audit.Unfinished() { // their lives are signalled
		if rec.Mode == policy.Live {
			a.memory.InFlight[rec.Container] = rec.Rule
		}
		a.unfinished.add(rec, a.o.Now())
	}
	if n := a.audit.Skipped(); n > 0 {
		level.Warn(a.o.Logger).Log("msg", "skipped invalid lines of the audit file", "file", a.o.AuditFile, "lines", n)
	}
}

// Run ticks and serves until ctx ends, then waits for kills in flight. Kills that have
// not begun by then are dropped.
func (a *App) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, a.stop)
	defer stop()
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		if err := a.server.Serve(ctx, webGrace); err != nil {
			cancel(err)
		}
	}()
	level.Info(a.o.Logger).Log("msg", "manager started", "address", a.Addr(), "prometheus", redacted(a.o.PrometheusURL),
		"policy", config.PolicyName(a.o.ConfigFile), "dry_run", a.store.DryRun(), "audit", a.o.AuditFile)
	a.loop(ctx)
	a.stop()
	a.enforcer.Wait(context.Background()) // each kill has its own time limit
	wg.Wait()
	err := a.release()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// stop prevents further kills.
func (a *App) stop() { a.enforcer.Exclusively(func() { a.stopping.Store(true) }) }

// release closes the audit log and the lock.
func (a *App) release() error {
	err := a.audit.Close()
	if a.lock != nil {
		err = errors.Join(err, a.lock.Close())
	}
	return err
}

func (a *App) handler() http.Handler {
	return status.Handler(status.Site{
		Store: a.store, Metrics: a.metrics, Now: a.o.Now, Healthy: a.healthy, Prometheus: a.gatherer.Prometheus(),
		Links: status.Links{
			Prometheus: a.o.PrometheusURL, Grafana: a.o.GrafanaURL, Contained: len(a.o.Self.IDs) > 0, Probe: status.NewProbe(),
		},
		Reload: func() error {
			err := a.Reload()
			a.logReload(err)
			return err
		},
	})
}
