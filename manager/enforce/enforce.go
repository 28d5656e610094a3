// Package enforce is the only code of Estiba that kills containers. For each victim it
// writes the intent, checks again, kills, confirms the effect and writes the outcome.
package enforce

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/policy"
)

// maxParallel bounds the kills in flight. Each has its own time limit, so slow victims
// delay others only beyond this number. More of them would only wait in the Engine:
// with 64 removals at once on two busy cores some took longer than their time limits,
// and counted as failed although they were not.
const maxParallel = 32

// requestTimeout limits one request to the Engine.
const requestTimeout = 5 * time.Second

// Record takes intents and outcomes.
type Record interface {
	Intent(audit.Record) error
	Outcome(audit.Record) error
}

// Kill is one victim with all that is needed to kill it.
type Kill struct {
	Victim policy.Victim
	Action config.Action
	Grace  time.Duration
	// RemoveVolumes: a removal deletes anonymous volumes as well.
	RemoveVolumes bool
	Query         string
	Keep          []policy.Keep
	// Holds returns why the decision is void: the data are stale, the policy was
	// replaced, the manager is stopping; "" while it is valid.
	Holds func() policy.Reason
	// Round and Unrelieved are explained at policy.Batch and audit.Record.
	Round      uint64
	Unrelieved int
	// Classify is the classification that the decision used.
	Classify func(dockerclient.Container) policy.Container
}

// Result is how a kill ended: its outcome, and the error of recording it.
type Result struct {
	Record    audit.Record
	Round     uint64 // of the kill
	RecordErr error
	Begun     time.Time // start of the kill; zero if nothing was done
	Ended     time.Time
}

// PassOver reports whether another kill of the same life would end the same way.
func (r Result) PassOver() bool {
	switch r.Record.Outcome {
	case audit.OutcomeFailed:
		return true
	case audit.OutcomeRefused:
		switch r.Record.Guard {
		case policy.StaleSample, policy.PolicyReplaced, policy.Stopping, policy.Vetoed, policy.Announced, policy.NoVetoAnswer,
			policy.OutOfSchedule, policy.ClockSet:
			return false // the next decision takes it into account
		}
		return true
	}
	return false
}

// Vetoes looks up whether an announced kill is vetoed at this moment: Vetoed with the
// veto, Announced if Alertmanager no longer holds the announcement, NoVetoAnswer with an
// error if that is unknown, and "" if there is no veto.
type Vetoes interface {
	Veto(ctx context.Context, v policy.Victim) (policy.Reason, *audit.Veto, error)
}

// Options are the parts of an Enforcer.
type Options struct {
	Reader Reader
	// Vetoes is asked before live kills of rules that announce.
	Vetoes Vetoes
	// Live kills. It is nil in a dry run of the whole manager: then nothing in the
	// process can kill.
	Live   Killer
	Record Record
	Now    func() time.Time
	// Done is called once for each kill, from the kill's own goroutine.
	Done func(Result)
}

// Enforcer carries out kills. It is safe for concurrent use.
type Enforcer struct {
	o     Options
	slots chan struct{}
	wg    sync.WaitGroup

	mu       sync.Mutex
	busy     map[string]bool // ids with a kill in flight
	reserved map[string]bool // ids that count as gone because of a kill in flight
	// signalled are lives, by id and start, that the Engine was asked to end and that
	// are not known to have ended. They may end at any time.
	signalled map[string]time.Time

	// reserve makes counting and reserving one step: the holder has put a value in. It
	// is held during a request to the Engine.
	reserve chan struct{}
	// begin is held for reading by kills that begin, for writing by Exclusively.
	begin sync.RWMutex
}

// New returns an Enforcer without kills.
func New(o Options) *Enforcer {
	return &Enforcer{
		o: o, slots: make(chan struct{}, maxParallel), reserve: make(chan struct{}, 1),
		busy: map[string]bool{}, reserved: map[string]bool{}, signalled: map[string]time.Time{},
	}
}

// Exclusively runs change while no kill begins: each kill that begins later sees the
// change.
func (e *Enforcer) Exclusively(change func()) {
	e.begin.Lock()
	defer e.begin.Unlock()
	change()
}

// Busy reports whether a kill of the container is in flight.
func (e *Enforcer) Busy(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.busy[id]
}

// Start begins a kill and returns at once; false means that one of the same container
// is in flight, and nothing was begun. ctx carries values only: a kill that has begun
// is completed even if ctx ends.
func (e *Enforcer) Start(ctx context.Context, k Kill) bool {
	id := k.Victim.Container.ID
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
		r := e.run(context.WithoutCancel(ctx), k)
		r.Round = k.Round
		<-e.slots
		e.settle(id, r)
		e.o.Done(r)
	}()
	return true
}

// settle ends a kill. It waits for a count in progress: a list that was taken while the
// victim ran must not be evaluated after the victim no longer counts as gone.
func (e *Enforcer) settle(id string, r Result) {
	e.reserve <- struct{}{}
	defer func() { <-e.reserve }()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.busy, id)
	delete(e.reserved, id)
	if r.Record.Acted && r.Record.Outcome == audit.OutcomeFailed {
		e.signalled[id] = r.Record.StartedAt
	}
}

// Signalled lets a life count as gone: an earlier run may have asked the Engine to end
// it.
func (e *Enforcer) Signalled(id string, startedAt time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.signalled[id] = startedAt
}

// Review drops signalled lives that are over: the container is no longer listed, or
// restarted. It returns the ids of the remaining ones and of those dropped. One that
// cannot be inspected remains.
func (e *Enforcer) Review(ctx context.Context, list []dockerclient.Container) (signalled map[string]bool, over []string) {
	listed := make(map[string]bool, len(list))
	for _, c := range list {
		listed[c.ID] = true
	}
	e.mu.Lock()
	lives := maps.Clone(e.signalled)
	e.mu.Unlock()
	var looks errgroup.Group
	looks.SetLimit(maxParallel)
	for id, startedAt := range lives {
		looks.Go(func() error {
			if listed[id] {
				now, err := e.inspect(ctx, id)
				if err == nil && now.ID == id && now.StartedAt.Equal(startedAt) || err != nil && !dockerclient.IsNotFound(err) {
					return nil
				}
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.signalled[id].Equal(startedAt) { // else another life is signalled by now
				delete(e.signalled, id)
				over = append(over, id)
			}
			return nil
		})
	}
	looks.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	signalled = make(map[string]bool, len(e.signalled))
	for id := range e.signalled {
		signalled[id] = true
	}
	return signalled, over
}

// Wait returns when no kill is in flight, or when ctx ends.
func (e *Enforcer) Wait(ctx context.Context) {
	idle := make(chan struct{})
	go func() { e.wg.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

func (e *Enforcer) run(ctx context.Context, k Kill) Result {
	v := k.Victim
	begun := e.o.Now()
	rec := audit.Record{
		Time: begun.UTC(), KillID: KillID(), Rule: v.Rule.Name, Kind: string(v.Container.Kind),
		Container: v.Container.ID, StartedAt: v.Container.StartedAt.UTC(), Name: v.Container.Name, Image: v.Container.Image,
		Value: v.Value, Query: k.Query, Reason: policy.Chosen, Mode: v.Rule.Mode, Action: string(k.Action),
		Unrelieved: k.Unrelieved,
	}
	if guard := k.Holds(); guard != "" {
		// no intent, so no record
		rec.Phase, rec.Outcome, rec.Guard = audit.Done, audit.OutcomeRefused, guard
		return Result{Record: rec, Ended: e.o.Now()}
	}
	if err := e.o.Record.Intent(rec); err != nil {
		rec.Phase, rec.Outcome, rec.Error = audit.Done, audit.OutcomeNoRecord, err.Error()
		return Result{Record: rec, RecordErr: err, Ended: e.o.Now()}
	}
	r := Result{}
	var err error
	if v.Rule.Announce > 0 && v.Rule.Mode == policy.Live {
		if rec.Guard, rec.Veto, err = e.o.Vetoes.Veto(ctx, v); rec.Guard != "" {
			rec.Outcome = audit.OutcomeRefused
		}
	}
	if rec.Outcome == "" {
		rec.Outcome, rec.Guard, err = e.recheck(ctx, k)
	}
	if rec.Outcome == "" {
		if r.Begun, rec.Guard = e.begun(k); rec.Guard != "" {
			rec.Outcome = audit.OutcomeRefused
		} else {
			rec.Acted = v.Rule.Mode == policy.Live && e.o.Live != nil
			rec.Outcome, err = e.killer(v.Rule.Mode).Kill(ctx, Command{
				ID: v.Container.ID, StartedAt: v.Container.StartedAt, Action: k.Action, Grace: k.Grace, RemoveVolumes: k.RemoveVolumes,
			})
		}
	}
	if err != nil {
		rec.Error = err.Error()
	}
	r.Ended = e.o.Now()
	rec.Phase, rec.Time, rec.Duration = audit.Done, r.Ended.UTC(), r.Ended.Sub(begun).Seconds()
	r.Record, r.RecordErr = rec, e.o.Record.Outcome(rec)
	return r
}

// begun is the last moment at which a decision can be withdrawn: Exclusively runs
// either before it or after the kill has begun.
func (e *Enforcer) begun(k Kill) (time.Time, policy.Reason) {
	e.begin.RLock()
	defer e.begin.RUnlock()
	if guard := k.Holds(); guard != "" {
		return time.Time{}, guard
	}
	return e.o.Now(), ""
}

func (e *Enforcer) killer(mode policy.Mode) Killer {
	if mode == policy.Live && e.o.Live != nil {
		return e.o.Live
	}
	return Dry{}
}

// recheck checks just before the kill that this is the container of the decision and
// that all guards without measurements agree. An empty outcome: kill it.
func (e *Enforcer) recheck(ctx context.Context, k Kill) (audit.Outcome, policy.Reason, error) {
	v := k.Victim
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
	again := k.Classify(now)
	if guard := policy.CheckNow(again, k.Keep); guard != "" {
		return audit.OutcomeRefused, guard, nil
	}
	return e.reserveVictim(ctx, k, again)
}

// reserveVictim checks the keep rules against the current list and reserves the victim in
// one step: of two victims that could each be spared alone, the second sees the
// reservation of the first. The victim itself is not inspected here, so one that makes
// the Engine hang delays no other.
func (e *Enforcer) reserveVictim(ctx context.Context, k Kill, victim policy.Container) (audit.Outcome, policy.Reason, error) {
	e.reserve <- struct{}{}
	defer func() { <-e.reserve }()
	if len(k.Keep) > 0 {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		list, err := e.o.Reader.List(ctx, dockerclient.ListOptions{Pods: true})
		if err != nil {
			return audit.OutcomeFailed, "", fmt.Errorf("counting remaining containers: %w", err)
		}
		running := make([]policy.Container, len(list))
		for i, c := range list {
			running[i] = k.Classify(c)
		}
		if guard := policy.CheckKeep(running, victim, k.Keep, e.countsAsGone); guard != "" {
			return audit.OutcomeRefused, guard, nil
		}
	}
	if k.Victim.Rule.Mode == policy.Live && e.o.Live != nil {
		e.mu.Lock()
		e.reserved[victim.ID] = true
		e.mu.Unlock()
	}
	return "", "", nil
}

func (e *Enforcer) inspect(ctx context.Context, id string) (dockerclient.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return e.o.Reader.Inspect(ctx, id)
}

func (e *Enforcer) countsAsGone(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, signalled := e.signalled[id]
	return signalled || e.reserved[id]
}

// KillID returns 16 random hexadecimal digits.
func KillID() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}
