// Package enforce is the only code of Estiba that ends containers. It takes
// what the policy decided and, for each victim by itself: writes the intent,
// looks again, acts, looks whether it worked, writes the outcome.
package enforce

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/policy"
)

// maxParallel bounds the acts that are under way together. Each has its own
// time limit, so slow victims hold up others only beyond this number. More of
// them only wait inside the Engine: 64 removals at once on two busy cores took
// longer than their time limits, and were called failed though they were not.
const maxParallel = 32

// lookTime bounds one question to the Engine.
const lookTime = 5 * time.Second

// doubtTime is how long a container counts as gone after an act on it failed, or
// was begun by an earlier run of which nobody knows how far it came.
const doubtTime = time.Minute

// Record is where intents and outcomes go.
type Record interface {
	Intent(audit.Record) error
	Outcome(audit.Record) error
}

// Order is one victim with all that is needed to act on it.
type Order struct {
	Victim policy.Victim
	Action config.Action
	Grace  time.Duration
	Query  string
	Keep   []policy.Keep
	// Round and Unrelieved are the memory's; see policy.Memory.Open and
	// audit.Record.
	Round      uint64
	Unrelieved int
	// Classify turns the Engine's description into the policy's, as it was
	// done for the decision.
	Classify func(dockerclient.Container) policy.Container
}

// Result is one finished order: its outcome record, and what went wrong with
// recording it.
type Result struct {
	Record    audit.Record
	Round     uint64 // of the order
	RecordErr error
	Begun     time.Time // of the act; zero when nothing was done
	Ended     time.Time
}

// Objections knows who objects to an announced kill at this moment: Vetoed with
// whose veto it is, Announced if it is not announced any more, NoVetoAnswer with an
// error if nobody can say, and "" if nobody objects.
type Objections interface {
	To(ctx context.Context, v policy.Victim) (policy.Reason, *audit.Veto, error)
}

// Options is what an Enforcer works with.
type Options struct {
	Reader Reader
	// Objections is asked before live acts of rules that announce.
	Objections Objections
	// Live kills. It is nil when the whole manager makes a dry run: then there
	// is nothing in the process that could.
	Live   Killer
	Record Record
	Now    func() time.Time
	// Done is called once for each order, from the order's own goroutine.
	Done func(Result)
}

// Enforcer carries out orders. It is safe for concurrent use.
type Enforcer struct {
	o     Options
	slots chan struct{}
	wg    sync.WaitGroup

	mu   sync.Mutex
	busy map[string]bool // ids with an order under way
	// gone are the ids that count as gone already: while an act is under way
	// (zero time), and after one that failed until the time given, since what
	// the Engine would not confirm may happen yet.
	gone map[string]time.Time

	// reserve makes "look what runs, then take one away" one step.
	reserve sync.Mutex
}

// New returns an Enforcer without orders.
func New(o Options) *Enforcer {
	return &Enforcer{o: o, slots: make(chan struct{}, maxParallel), busy: map[string]bool{}, gone: map[string]time.Time{}}
}

// Busy tells whether an order for the container is under way.
func (e *Enforcer) Busy(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.busy[id]
}

// Start begins an order and returns at once; false means that one for the same
// container is under way already, and nothing was begun. ctx carries values
// only: an act that has begun is brought to its end also when ctx ends.
func (e *Enforcer) Start(ctx context.Context, order Order) bool {
	id := order.Victim.Container.ID
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy[id] {
		return false
	}
	e.busy[id] = true
	e.wg.Add(1)
	go func() {
		defer e.wg.Done()
		e.slots <- struct{}{}
		r := e.carryOut(context.WithoutCancel(ctx), order)
		r.Round = order.Round
		<-e.slots
		e.settle(id, r)
		e.o.Done(r)
	}()
	return true
}

// settle ends an order. It waits for whoever is counting: a list taken while
// the victim still ran must not be read when it no longer counts as gone, or
// it would be alive in the eyes of the next one.
func (e *Enforcer) settle(id string, r Result) {
	e.reserve.Lock()
	defer e.reserve.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.busy, id)
	delete(e.gone, id)
	if r.Record.Outcome == audit.OutcomeFailed && !r.Begun.IsZero() && r.Record.Mode == policy.Live {
		e.gone[id] = r.Ended.Add(doubtTime)
	}
}

// Doubt lets a container count as gone for a while, since an earlier run may
// have told the Engine to end it: one that is in its grace still runs.
func (e *Enforcer) Doubt(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone[id] = e.o.Now().Add(doubtTime)
}

// Wait returns when no order is under way, or when ctx ends.
func (e *Enforcer) Wait(ctx context.Context) {
	idle := make(chan struct{})
	go func() { e.wg.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

func (e *Enforcer) carryOut(ctx context.Context, order Order) Result {
	v := order.Victim
	begun := e.o.Now()
	rec := audit.Record{
		Time: begun.UTC(), KillID: KillID(), Rule: v.Rule.Name, Kind: string(v.Container.Kind),
		Container: v.Container.ID, StartedAt: v.Container.StartedAt.UTC(), Name: v.Container.Name, Image: v.Container.Image,
		Value: v.Value, Query: order.Query, Reason: policy.Chosen, Mode: v.Rule.Mode, Action: string(order.Action),
		Unrelieved: order.Unrelieved,
	}
	if err := e.o.Record.Intent(rec); err != nil {
		rec.Phase, rec.Outcome, rec.Error = audit.Done, audit.OutcomeNoRecord, err.Error()
		return Result{Record: rec, RecordErr: err, Ended: e.o.Now()}
	}
	r := Result{}
	var err error
	if v.Rule.Announce > 0 && v.Rule.Mode == policy.Live {
		if rec.Guard, rec.Veto, err = e.o.Objections.To(ctx, v); rec.Guard != "" {
			rec.Outcome = audit.OutcomeRefused
		}
	}
	if rec.Outcome == "" {
		rec.Outcome, rec.Guard, err = e.lookAgain(ctx, order)
	}
	if rec.Outcome == "" {
		r.Begun = e.o.Now()
		rec.Outcome, err = e.killer(v.Rule.Mode).Kill(ctx, Act{ID: v.Container.ID, Action: order.Action, Grace: order.Grace})
	}
	if err != nil {
		rec.Error = err.Error()
	}
	r.Ended = e.o.Now()
	rec.Phase, rec.Time, rec.Duration = audit.Done, r.Ended.UTC(), r.Ended.Sub(begun).Seconds()
	r.Record, r.RecordErr = rec, e.o.Record.Outcome(rec)
	return r
}

func (e *Enforcer) killer(mode policy.Mode) Killer {
	if mode == policy.Live && e.o.Live != nil {
		return e.o.Live
	}
	return Dry{}
}

// lookAgain asks at the last moment whether this is still the container that
// was decided on and whether every guard that needs no measurement agrees. An
// empty outcome means: act.
func (e *Enforcer) lookAgain(ctx context.Context, order Order) (audit.Outcome, policy.Reason, error) {
	v := order.Victim
	now, err := e.inspect(ctx, v.Container.ID)
	switch {
	case dockerclient.IsNotFound(err):
		return audit.OutcomeAlreadyGone, "", nil
	case err != nil:
		return audit.OutcomeFailed, "", err
	case now.ID != v.Container.ID:
		return audit.OutcomeRefused, policy.Restarted, nil
	case ended(now) || now.State == dockerclient.StateCreated:
		return audit.OutcomeAlreadyGone, "", nil
	case v.Container.StartedAt.IsZero() || !now.StartedAt.Equal(v.Container.StartedAt):
		return audit.OutcomeRefused, policy.Restarted, nil
	}
	again := order.Classify(now)
	if guard := policy.CheckNow(again, order.Keep); guard != "" {
		return audit.OutcomeRefused, guard, nil
	}
	return e.reserveOne(ctx, order, again)
}

// reserveOne checks the keep promises against what runs at this moment and
// counts the victim as gone from then on, as one step: of two victims that
// could each be spared alone, the second one sees that the first is taken. The
// container itself is not asked here, so one that makes the Engine hang holds
// up nobody else.
func (e *Enforcer) reserveOne(ctx context.Context, order Order, victim policy.Container) (audit.Outcome, policy.Reason, error) {
	e.reserve.Lock()
	defer e.reserve.Unlock()
	if len(order.Keep) > 0 {
		ctx, cancel := context.WithTimeout(ctx, lookTime)
		defer cancel()
		list, err := e.o.Reader.List(ctx, dockerclient.ListOptions{})
		if err != nil {
			return audit.OutcomeFailed, "", fmt.Errorf("counting what would be left: %w", err)
		}
		running := make([]policy.Container, len(list))
		for i, c := range list {
			running[i] = order.Classify(c)
		}
		if !policy.KeepHolds(running, victim, order.Keep, e.countsAsGone) {
			return audit.OutcomeRefused, policy.LastOfKind, nil
		}
	}
	if order.Victim.Rule.Mode == policy.Live && e.o.Live != nil {
		e.mu.Lock()
		e.gone[victim.ID] = time.Time{}
		e.mu.Unlock()
	}
	return "", "", nil
}

func (e *Enforcer) inspect(ctx context.Context, id string) (dockerclient.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	return e.o.Reader.Inspect(ctx, id)
}

func (e *Enforcer) countsAsGone(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	until, gone := e.gone[id]
	return gone && (until.IsZero() || e.o.Now().Before(until))
}

// KillID returns 16 random hexadecimal digits.
func KillID() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}
