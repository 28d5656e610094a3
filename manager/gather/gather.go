// Package gather collects what a decision needs, from the container runtime,
// Prometheus and Alertmanager, and makes the decision. It cannot act.
package gather

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/enforce"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
	"github.com/estiba/estiba/manager/silences"
)

// Time limits of requests.
const (
	QueryTimeout  = 5 * time.Second
	EngineTimeout = 5 * time.Second
	// maxLookups bounds the parallel requests to the Engine.
	maxLookups = 8
)

// Gatherer collects what decisions need. The running manager and `manager plan` share
// it.
type Gatherer struct {
	engine    enforce.Reader
	client    *promql.Client
	endpoints *endpoints
	silences  *silences.Client // nil without an Alertmanager
	self      Self
	images    images
	project   ownProject
	clockStep clockStep
	before    listing
	dryRun    bool
	now       func() time.Time
}

// New prepares a Gatherer. It does not connect.
func New(o Options) (*Gatherer, error) {
	client, err := promql.New(o.PrometheusURL, o.PrometheusHTTPConfig, o.Host, QueryTimeout)
	if err != nil {
		return nil, err
	}
	if o.Transport != nil {
		client.SetTransport(o.Transport)
	}
	g := &Gatherer{
		engine: o.Engine, client: client, endpoints: newEndpoints(client, o.PrometheusURL),
		self: o.Self, dryRun: o.DryRun, now: o.Now,
	}
	if o.LookupHost != nil {
		g.endpoints.resolver.lookup = o.LookupHost
	}
	if o.AlertmanagerURL != "" {
		if g.silences, err = silences.New(o.AlertmanagerURL, o.AlertmanagerHTTPConfig, o.Host, QueryTimeout); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// Prometheus is the client that decisions use.
func (g *Gatherer) Prometheus() *promql.Client { return g.client }

// Load prepares a policy for the Prometheus of this Gatherer.
func (g *Gatherer) Load(c *config.Config) (*Policy, error) { return Load(c, g.client, g.dryRun) }

// UnresolvedTargets are the names of scrape targets that have never resolved and are no
// container's. While there is one, each container that has a network is protected.
func (g *Gatherer) UnresolvedTargets() []string { return g.endpoints.unresolved() }

// Kills is what a decision has to know of kills in flight.
type Kills interface {
	// Busy reports whether a kill of the container is in flight.
	Busy(id string) bool
	// Review returns the containers on the list that may end at any time, because they
	// were sent a signal or the Engine was asked to end them.
	Review(ctx context.Context, list []dockerclient.Container) map[string]bool
}

// NoKills is the Kills of commands that cannot kill.
type NoKills struct{}

// Busy implements Kills.
func (NoKills) Busy(string) bool { return false }

// Review implements Kills.
func (NoKills) Review(context.Context, []dockerclient.Container) map[string]bool { return nil }

// TickResult is how a tick ended.
type TickResult string

// The results of a tick.
const (
	TickOK              TickResult = "ok"
	TickNoFreshData     TickResult = "no_fresh_data"
	TickPrometheusError TickResult = "prometheus_error"
	TickDockerError     TickResult = "docker_error"
	TickConfigError     TickResult = "config_error"
)

// Decision is one tick up to the point where its victims can be killed.
type Decision struct {
	Time     time.Time     // when the tick began
	Duration time.Duration // to the decision
	Result   TickResult
	Err      error // why the result is not TickOK

	Data promql.Freshness
	At   time.Time // time of Data.Age

	Decided bool // World, Plan and Rules are complete
	World   policy.World
	Plan    policy.Plan
	Rules   []RuleAnswer // of the policy's rule with the same index

	classifier classifier
}

// RuleAnswer is what one rule's query returned, beside policy.Answer.
type RuleAnswer struct {
	Age       time.Duration // of the oldest data in it, at Decision.At
	Err       error         // why the answer is unusable or stale
	VetoErr   error         // why the vetoes are unknown
	ReliefErr error         // why the relief value is unknown
}

// Classify describes a container as this decision did.
func (d *Decision) Classify(c dockerclient.Container) policy.Container {
	return d.classifier.classify(c)
}

// Fail notes why the tick is not ok. An error of the Engine outweighs others.
func (d *Decision) Fail(r TickResult, err error) {
	if d.Result == TickOK || r == TickDockerError {
		d.Result, d.Err = r, err
	}
}

// Measured sets the state of the measurements, or the error of getting it.
func (d *Decision) Measured(f promql.Freshness, err error) {
	switch {
	case errors.Is(err, promql.ErrUnusable):
		d.Fail(TickNoFreshData, err)
	case err != nil:
		d.Fail(TickPrometheusError, err)
	case !f.Fresh:
		d.Fail(TickNoFreshData, errors.New(f.Why))
	}
	f.Fresh = f.Fresh && err == nil
	d.Data = f
}

// Decide makes one tick's decision. It never fails: errors are in the decision, and the
// plan has no victims that they concern.
func (g *Gatherer) Decide(ctx context.Context, p *Policy, memory policy.Memory, kills Kills) (d Decision) {
	begun := g.now()
	g.clockStep.look(begun)
	d = Decision{Time: begun, Result: TickOK}
	defer func() { d.Duration = g.now().Sub(begun) }()

	engine, err := g.runtime(ctx)
	if err != nil {
		d.Fail(TickDockerError, err)
		return d
	}
	list, err := g.List(ctx)
	if err != nil {
		d.Fail(TickDockerError, err)
		return d
	}
	lists := []listing{g.before, newListing(begun, list)}
	g.before = lists[1]
	project, err := g.project.of(ctx, g.self, list, g.engine)
	if err != nil {
		d.Fail(TickDockerError, err)
		return d
	}
	d.classifier = classifier{
		config: p.Config, self: g.self, project: project, pod: podOf(g.self, list), endpoints: g.endpoints, images: g.images.snapshot(),
	}
	g.endpoints.setListed(list)
	at := g.now()
	d.At = at
	fresh, err := g.client.Fresh(ctx, at, p.Config.MaxSampleAge)
	if err == nil {
		g.clockStep.judge(&fresh, at)
	}
	d.Measured(fresh, err)
	// Protections are known even so, and shown.
	if err := g.endpoints.refresh(ctx, begun, fresh.Exporter); err != nil {
		d.Fail(TickPrometheusError, err)
		d.Data.Fresh = false
	}

	signalled := kills.Review(ctx, list)
	var containers []policy.Container
	for _, c := range list {
		one := d.Classify(c)
		one.Signalled = signalled[c.ID]
		if kills.Busy(c.ID) {
			one.State = policy.BeingKilled
		}
		containers = append(containers, one)
	}
	answers := g.query(ctx, p, &d)
	if d.Data.Known {
		markElsewhere(answers, d.Data.At, lists)
	}
	w := p.World(at, engine, d.Data, containers, answers, memory)
	w.ClockSet = d.Data.SetBack || g.clockStep.distrusts(at)
	if w.Notices, err = g.notices(ctx, w.Rules, containers); err != nil {
		for i, r := range w.Rules {
			if announces(r) {
				d.Rules[i].VetoErr = err
			}
		}
	}
	d.Plan = g.decide(ctx, &w)
	d.World, d.Decided = w, true
	return d
}

// query asks Prometheus for the answers of all rules, unless it has failed already.
func (g *Gatherer) query(ctx context.Context, p *Policy, d *Decision) []policy.Answer {
	answers := make([]policy.Answer, len(p.Rules))
	d.Rules = make([]RuleAnswer, len(p.Rules))
	if d.Result == TickPrometheusError {
		for i := range answers {
			answers[i].Unusable, d.Rules[i].Err = true, d.Err
		}
		return answers
	}
	for i, r := range g.client.Evaluate(ctx, p.Queries(), d.At, p.Config.MaxSampleAge) {
		a, about := &answers[i], &d.Rules[i]
		*a = r.Answer
		about.Age, about.ReliefErr = d.Data.Age, r.ReliefErr
		if !r.Evaluated.IsZero() {
			about.Age = max(about.Age, d.At.Round(0).Sub(r.Evaluated))
		}
		if !a.At.IsZero() && d.Data.SetBack {
			r.StaleErr = errors.New("clock was set back, and recorded series may be older")
			a.Stale = true
		}
		if about.Err = r.Err; r.Err != nil && r.Failed {
			d.Fail(TickPrometheusError, fmt.Errorf("rule %s: %w", p.Rules[i].Config.Name, r.Err))
		}
		if r.StaleErr != nil {
			about.Err = r.StaleErr
		}
	}
	return answers
}

// runtime asks what the Engine is.
func (g *Gatherer) runtime(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, EngineTimeout)
	defer cancel()
	return g.engine.Runtime(ctx)
}

// List returns the running containers, each once, with the image named at its creation.
func (g *Gatherer) List(ctx context.Context) ([]dockerclient.Container, error) {
	limited, cancel := context.WithTimeout(ctx, EngineTimeout)
	defer cancel()
	found, err := g.engine.List(limited, dockerclient.ListOptions{Pods: true})
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool, len(found))
	list := found[:0:0]
	for _, c := range found {
		if !seen[c.ID] {
			seen[c.ID] = true
			list = append(list, c)
		}
	}
	g.images.resolve(ctx, g.engine, list)
	return list, nil
}

// decide decides, looks up the start of each victim, which the Engine's list lacks, and
// decides again, until the start of all victims is known. Each round looks up at least
// one more container, so it ends. Looking up all candidates first would be one request
// for each container that a rule returns.
func (g *Gatherer) decide(ctx context.Context, w *policy.World) policy.Plan {
	// one limit for all: the Engine may hang
	ctx, cancel := context.WithTimeout(ctx, 2*EngineTimeout)
	defer cancel()
	for {
		plan := policy.Decide(*w)
		asked := map[string]bool{}
		for _, v := range plan.Victims {
			if v.Container.StartedAt.IsZero() {
				asked[v.Container.ID] = true
			}
		}
		if len(asked) == 0 {
			return plan
		}
		var unknown []*policy.Container
		for i := range w.Containers {
			if asked[w.Containers[i].ID] {
				unknown = append(unknown, &w.Containers[i])
			}
		}
		Parallel(unknown, func(c *policy.Container) {
			ctx, cancel := context.WithTimeout(ctx, EngineTimeout)
			defer cancel()
			found, err := g.engine.Inspect(ctx, c.ID)
			if err != nil || found.ID != c.ID || found.StartedAt.IsZero() {
				// gone, or unknown: do not kill it
				c.State = policy.InTransition
				return
			}
			c.StartedAt, c.EndedAt = found.StartedAt, found.EndedAt
		})
	}
}
