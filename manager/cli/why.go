package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/enforce"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/replay"
	"github.com/estiba/estiba/manager/status"
	"github.com/estiba/estiba/manager/why"
)

// WhyOptions are the options of `manager why`.
type WhyOptions struct {
	Container string    // name, id, or the beginning of an id
	At        time.Time // zero is now
	Policy    string    // the policy file; "" is the built-in policy
	Audit     string    // the audit file
	Output    string    // text or json
}

// ErrIncomplete means that the answer was printed, and that part of it is unknown.
var ErrIncomplete = errors.New("the answer is incomplete")

// longestPast limits the ticks before that of a past decision.
const longestPast = 24 * time.Hour

// Why prints why a container lives, was killed or would be killed next, from the audit
// log, the Engine's list, and a decision as of `manager plan`, or as of `manager backtest`
// if a time is asked for. It holds nothing that could kill. ErrIncomplete: something that
// the answer needs could not be read.
func Why(ctx context.Context, o gather.Options, w WhyOptions, stdout io.Writer) error {
	now := o.Now()
	if w.At.After(now) {
		return fmt.Errorf("--at: %s is in the future", w.At.Format(time.RFC3339))
	}
	g, c, err := prepare(o, w.Policy)
	if err != nil {
		return err
	}
	p, err := g.Load(c)
	if err != nil {
		return err
	}
	a := asker{Options: o, gatherer: g, policy: p, name: config.PolicyName(w.Policy)}
	q, err := a.find(ctx, w)
	if err != nil {
		return err
	}
	switch {
	case !q.Life.RunsAt(w.At):
	case w.At.IsZero():
		q.Tick, err = a.live(ctx)
	default:
		q.Tick, err = a.past(ctx, w)
	}
	if err != nil {
		q.Unknown = append(q.Unknown, "what is decided about it, "+strings.TrimSpace(err.Error()))
	}
	answer := why.Explain(q)
	if w.Output == "json" {
		err = printJSON(stdout, answer)
	} else {
		_, err = fmt.Fprintln(stdout, printable(answer.Text))
	}
	if err == nil && len(answer.Unknown) > 0 {
		err = fmt.Errorf("%w: %d unknown", ErrIncomplete, len(answer.Unknown))
	}
	return err
}

// asker reads what an answer needs.
type asker struct {
	gather.Options
	gatherer *gather.Gatherer
	policy   *gather.Policy
	name     string // of the policy
	recorded audit.Past
}

// find reads the audit log and the Engine's list, and chooses the life.
func (a *asker) find(ctx context.Context, w WhyOptions) (q why.Question, err error) {
	q.At = w.At
	var failed []error
	if a.recorded, err = readAudit(w.Audit, a.Now()); err != nil {
		failed = append(failed, err)
		q.Unknown = append(q.Unknown, "kills of it before now, "+err.Error())
	}
	listed, err := a.list(ctx)
	answered := err == nil
	if err != nil {
		failed = append(failed, err)
		q.Unknown = append(q.Unknown, "what runs, "+err.Error())
	}
	m, err := why.Find(w.Container, a.recorded.Records, listed)
	if err != nil {
		return q, besides(err, failed)
	}
	var inspected []dockerclient.Container
	for _, c := range m.Listed(listed) {
		one, err := a.inspect(ctx, c.ID)
		switch {
		case dockerclient.IsNotFound(err):
		case err != nil:
			return q, err
		default:
			inspected = append(inspected, one)
		}
	}
	q.Lives = m.Lives(a.recorded.Records, inspected, answered)
	found := false
	if q.Life, found = why.At(q.Lives, w.At); !found {
		return q, besides(noLife(w, q.Lives), failed)
	}
	return q, nil
}

// besides is an error with others that may be its cause.
func besides(err error, others []error) error {
	for _, other := range others {
		err = fmt.Errorf("%w; %w", err, other)
	}
	return err
}

// noLife: the container is known, but not at that time.
func noLife(w WhyOptions, lives []why.Life) error {
	if len(lives) == 0 {
		return fmt.Errorf("%w: %s", why.ErrUnknown, w.Container)
	}
	return fmt.Errorf("no life of %s at %s is known: the first one began at %s",
		w.Container, w.At.UTC().Format(time.RFC3339), lives[0].StartedAt.UTC().Format(time.RFC3339))
}

func readAudit(path string, at time.Time) (audit.Past, error) {
	if path == "" {
		return audit.Past{}, errors.New("no audit file is given")
	}
	p, err := audit.Read(path, at)
	if err == nil && p.Skipped > 0 {
		err = fmt.Errorf("audit file %s: %d lines cannot be read", path, p.Skipped)
	}
	return p, err
}

// list lists all containers, also those that do not run.
func (a *asker) list(ctx context.Context) ([]dockerclient.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, gather.EngineTimeout)
	defer cancel()
	return a.Engine.List(ctx, dockerclient.ListOptions{All: true})
}

func (a *asker) inspect(ctx context.Context, id string) (dockerclient.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, gather.EngineTimeout)
	defer cancel()
	return a.Engine.Inspect(ctx, id)
}

// live decides once, now, with the memory that a manager has when it starts.
func (a *asker) live(ctx context.Context) (*why.Tick, error) {
	memory := remembered(a.recorded, a.Now())
	d := a.gatherer.Decide(ctx, a.policy, memory.At(a.Now()), recordedKills{a})
	if !d.Decided {
		return nil, fmt.Errorf("%s: %w", d.Result, d.Err)
	}
	return a.tick(d), nil
}

// remembered is what a manager knows of the recorded kills at a time.
func remembered(p audit.Past, at time.Time) policy.Memory {
	memory := p.State.Memory(at)
	for _, r := range p.Unfinished {
		if r.Mode == policy.Live {
			memory.InFlight[r.Container] = r.Rule
		}
	}
	for _, r := range p.Records {
		if r.Phase == audit.Done && !r.Time.After(at) && (enforce.Result{Record: r}).PassOver() {
			memory.Passed[policy.Candidate{Rule: r.Rule, ID: r.Container}] = policy.Passed{StartedAt: r.StartedAt, At: r.Time}
		}
	}
	return memory
}

// tick describes a decision.
func (a *asker) tick(d gather.Decision) *why.Tick {
	t := &why.Tick{
		Time: d.Time, Name: a.name, Policy: a.policy, Plan: d.Plan, Errors: map[string]string{}, Resumes: map[string]time.Time{},
	}
	if d.Result != gather.TickOK {
		t.Error = fmt.Sprintf("%s: %v", d.Result, d.Err)
	}
	for i, r := range status.NewTick(a.policy, d).Rules {
		if d.Rules[i].Err != nil {
			t.Errors[r.Name] = d.Rules[i].Err.Error()
		}
		if r.Relief.ResumesAt != nil {
			t.Resumes[r.Name] = *r.Relief.ResumesAt
		}
	}
	return t
}

// past decides at a time over the history in Prometheus. The ticks before it are those
// that for and announce count; kills are those of the record.
func (a *asker) past(ctx context.Context, w WhyOptions) (*why.Tick, error) {
	engine, err := a.Engine.Runtime(ctx)
	if err != nil {
		engine = "" // unknown
	}
	r, err := replay.New(a.gatherer.Prometheus(), a.policy.Config, cmp.Or(engine, container.Docker))
	if err != nil {
		return nil, err
	}
	m, err := replay.Moments(w.At.Add(-lookBack(a.policy.Config)), w.At, a.policy.Config.Interval)
	if err != nil {
		return nil, err
	}
	r.Recorded = func(at time.Time) (policy.Memory, bool) {
		if !at.Equal(m.Start) && !at.Equal(w.At) {
			return policy.Memory{}, false
		}
		p, err := audit.Read(w.Audit, at)
		return remembered(p, at), err == nil
	}
	var last gather.Decision
	r.Watch = func(d gather.Decision) { last = d }
	if _, err = r.Run(ctx, m); err != nil {
		return nil, err
	}
	if !last.Decided {
		return nil, fmt.Errorf("%s: %w", last.Result, last.Err)
	}
	t := a.tick(last)
	t.Past, t.From = true, m.Start
	return t, nil
}

// lookBack is how long before a decision the first tick has to be.
func lookBack(c *config.Config) time.Duration {
	longest := time.Duration(0)
	for _, r := range c.Rules {
		if counts := r.For + r.Announce; counts > 0 {
			longest = max(longest, counts+2*c.Interval)
		}
	}
	return min(longest, longestPast)
}

// recordedKills is what the audit log has of kills in flight.
type recordedKills struct{ *asker }

// Busy implements gather.Kills.
func (k recordedKills) Busy(id string) bool {
	for _, r := range k.recorded.Unfinished {
		if r.Mode == policy.Live && r.Container == id {
			return true
		}
	}
	return false
}

// Review implements gather.Kills.
func (k recordedKills) Review(ctx context.Context, list []dockerclient.Container) map[string]bool {
	signalled := map[string]bool{}
	for _, c := range list {
		at, known := k.recorded.State.Signalled[c.ID]
		if !known {
			continue
		}
		now, err := k.inspect(ctx, c.ID)
		signalled[c.ID] = err != nil || now.StartedAt.Equal(at)
	}
	return signalled
}
