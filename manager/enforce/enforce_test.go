package enforce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"pgregory.net/rapid"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/policy"
)

var born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func id(n int) string { return fmt.Sprintf("%064x", n+1) }

// fakeEngine is a Docker Engine that can fail in ways a real one cannot be
// made to.
type fakeEngine struct {
	mu         sync.Mutex
	containers map[string]dockerclient.Container
	calls      []string
	hang       map[string]bool // Stop of this id returns only with its context
	refuse     map[string]error
	takes      time.Duration
	listErr    error
	inspectErr error
	objection  policy.Reason // Alertmanager's
}

// To implements Objections.
func (e *fakeEngine) To(context.Context, policy.Victim) (policy.Reason, *audit.Veto, error) {
	switch e.objection {
	case policy.Vetoed:
		return policy.Vetoed, &audit.Veto{Silences: []string{"s"}, CreatedBy: "somebody"}, nil
	case policy.NoVetoAnswer:
		return policy.NoVetoAnswer, nil, errors.New("refused")
	}
	return e.objection, nil, nil
}

func newEngine(kinds ...string) *fakeEngine {
	e := &fakeEngine{containers: map[string]dockerclient.Container{}, hang: map[string]bool{}, refuse: map[string]error{}}
	for i, k := range kinds {
		e.containers[id(i)] = dockerclient.Container{
			ID: id(i), Name: fmt.Sprintf("c%d", i), State: dockerclient.StateRunning, StartedAt: born,
			Labels: map[string]string{container.LabelManaged: "true", container.LabelKind: k},
		}
	}
	return e
}

func (e *fakeEngine) called(what string) {
	e.calls = append(e.calls, what)
}

func (e *fakeEngine) List(context.Context, dockerclient.ListOptions) ([]dockerclient.Container, error) {
	e.mu.Lock()
	var list []dockerclient.Container
	for _, c := range e.containers {
		c.StartedAt = time.Time{} // as the Engine's list
		list = append(list, c)
	}
	e.mu.Unlock()
	time.Sleep(e.takes)
	return list, e.listErr
}

func (e *fakeEngine) Inspect(_ context.Context, id string) (dockerclient.Container, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.inspectErr != nil {
		return dockerclient.Container{}, e.inspectErr
	}
	c, ok := e.containers[id]
	if !ok {
		return c, fmt.Errorf("no such container: %w", cerrdefs.ErrNotFound)
	}
	return c, nil
}

func (e *fakeEngine) act(ctx context.Context, what, id string, then func()) error {
	e.mu.Lock()
	e.called(what + " " + id[60:])
	hang, refuse := e.hang[id], e.refuse[id]
	e.mu.Unlock()
	if hang && what == "stop" {
		<-ctx.Done()
		return ctx.Err()
	}
	if refuse != nil {
		return refuse
	}
	time.Sleep(e.takes) // the act's effect comes later than its call
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.containers[id]; !ok {
		return fmt.Errorf("no such container: %w", cerrdefs.ErrNotFound)
	}
	then()
	return nil
}

func (e *fakeEngine) state(id string, s string) {
	c := e.containers[id]
	c.State = dockerclient.Container{State: s}.State
	e.containers[id] = c
}

func (e *fakeEngine) Stop(ctx context.Context, id string, _ time.Duration) error {
	return e.act(ctx, "stop", id, func() { e.state(id, dockerclient.StateExited) })
}
func (e *fakeEngine) Kill(ctx context.Context, id string) error {
	return e.act(ctx, "kill", id, func() { e.state(id, dockerclient.StateExited) })
}
func (e *fakeEngine) Pause(ctx context.Context, id string) error {
	return e.act(ctx, "pause", id, func() { e.state(id, dockerclient.StatePaused) })
}
func (e *fakeEngine) Remove(ctx context.Context, id string) error {
	return e.act(ctx, "remove", id, func() { delete(e.containers, id) })
}

// memoryRecord is a record that can fail.
type memoryRecord struct {
	mu        sync.Mutex
	lines     []audit.Record
	noIntent  error
	noOutcome error
	onIntent  func()
}

func (r *memoryRecord) Intent(rec audit.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.noIntent != nil {
		return r.noIntent
	}
	rec.Phase = audit.Intent
	r.lines = append(r.lines, rec)
	if r.onIntent != nil {
		r.onIntent()
	}
	return nil
}

func (r *memoryRecord) Outcome(rec audit.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec.Phase = audit.Done
	r.lines = append(r.lines, rec)
	return r.noOutcome
}

func classify(c dockerclient.Container) policy.Container {
	l := container.ParseLabels(c.Labels)
	p := policy.Container{ID: c.ID, Name: c.Name, Kind: l.Kind, InScope: l.Managed, StartedAt: c.StartedAt, State: policy.Unsteady}
	if c.State == dockerclient.StateRunning {
		p.State = policy.Running
	}
	if l.Protected || len(l.Errors) > 0 {
		p.Protected = []policy.Why{policy.WhyLabel}
	}
	return p
}

func (e *fakeEngine) order(n int, mode policy.Mode, action config.Action) Order {
	return Order{
		Victim: policy.Victim{Rule: policy.Rule{Name: "r", Mode: mode}, Container: classify(e.containers[id(n)])},
		Action: action, Keep: []policy.Keep{{Min: 1}}, Classify: classify,
	}
}

// carry carries out orders and returns the results in the order they ended.
func carry(t testing.TB, e *fakeEngine, rec *memoryRecord, dry bool, orders ...Order) []Result {
	var mu sync.Mutex
	var results []Result
	o := Options{Reader: e, Record: rec, Objections: e, Now: time.Now, Done: func(r Result) {
		mu.Lock()
		defer mu.Unlock()
		results = append(results, r)
	}}
	if !dry {
		o.Live = Live{Reader: e, Actor: e}
	}
	en := New(o)
	for _, order := range orders {
		en.Start(context.Background(), order)
	}
	en.Wait(context.Background())
	if len(results) != len(orders) {
		t.Fatalf("%d results of %d orders", len(results), len(orders))
	}
	return results
}

func TestActions(t *testing.T) {
	for action, calls := range map[config.Action][]string{
		config.ActionStop:   {"stop 0001"},
		config.ActionKill:   {"kill 0001"},
		config.ActionPause:  {"pause 0001"},
		config.ActionRemove: {"stop 0001", "remove 0001"},
	} {
		e, rec := newEngine("cpu", "cpu"), &memoryRecord{}
		r := carry(t, e, rec, false, e.order(0, policy.Live, action))[0]
		if r.Record.Outcome != audit.OutcomeDone || !slices.Equal(e.calls, calls) {
			t.Errorf("%s: %+v, calls %v", action, r.Record, e.calls)
		}
		if len(rec.lines) != 2 || rec.lines[0].Phase != audit.Intent || rec.lines[0].KillID != rec.lines[1].KillID {
			t.Errorf("%s: record %+v", action, rec.lines)
		}
	}
}

// Who announces asks once more, and acts only if nobody objects.
func TestObjections(t *testing.T) {
	for _, objection := range []policy.Reason{"", policy.Vetoed, policy.NoVetoAnswer, policy.Announced} {
		for _, announce := range []time.Duration{0, time.Second} {
			for _, mode := range []policy.Mode{policy.Live, policy.DryRun} {
				e, rec := newEngine("cpu", "cpu"), &memoryRecord{}
				e.objection = objection
				order := e.order(0, mode, config.ActionKill)
				order.Victim.Rule.Announce = announce
				got := carry(t, e, rec, false, order)[0].Record
				want := audit.OutcomeDone
				if mode == policy.DryRun {
					want = audit.OutcomeDryRun
				} else if announce > 0 && objection != "" {
					want = audit.OutcomeRefused
				}
				if got.Outcome != want || (want == audit.OutcomeRefused) != (got.Guard != "") || (got.Veto != nil) != (got.Guard == policy.Vetoed) {
					t.Errorf("%q, announce %s, %s: %+v", objection, announce, mode, got)
				}
				if acted := len(e.calls) > 0; acted != (want == audit.OutcomeDone) {
					t.Errorf("%q, announce %s, %s: calls %v", objection, announce, mode, e.calls)
				}
			}
		}
	}
}

// What changes between decision and act is seen at the act.
func TestLastLook(t *testing.T) {
	edit := func(f func(*dockerclient.Container)) func(*fakeEngine) {
		return func(e *fakeEngine) {
			c := e.containers[id(0)]
			c.Labels = map[string]string{container.LabelManaged: "true", container.LabelKind: "cpu"}
			f(&c)
			e.containers[id(0)] = c
		}
	}
	cases := []struct {
		name    string
		change  func(*fakeEngine)
		outcome audit.Outcome
		guard   policy.Reason
	}{
		{"restarted", edit(func(c *dockerclient.Container) { c.StartedAt = born.Add(time.Second) }), audit.OutcomeRefused, policy.Restarted},
		{"protected now", edit(func(c *dockerclient.Container) { c.Labels[container.LabelProtect] = "ture" }), audit.OutcomeRefused, policy.Protected},
		{"not managed now", edit(func(c *dockerclient.Container) { c.Labels[container.LabelManaged] = "false" }), audit.OutcomeRefused, policy.OutOfScope},
		{"kind unknown now", edit(func(c *dockerclient.Container) { delete(c.Labels, container.LabelKind) }), audit.OutcomeRefused, policy.UnknownKind},
		{"paused", edit(func(c *dockerclient.Container) { c.State = dockerclient.StatePaused }), audit.OutcomeRefused, policy.Transitional},
		{"exited", edit(func(c *dockerclient.Container) { c.State = dockerclient.StateExited }), audit.OutcomeAlreadyGone, ""},
		{"gone", func(e *fakeEngine) { delete(e.containers, id(0)) }, audit.OutcomeAlreadyGone, ""},
		{"the other of its kind is gone", func(e *fakeEngine) { delete(e.containers, id(1)) }, audit.OutcomeRefused, policy.LastOfKind},
		{"the engine does not answer", func(e *fakeEngine) { e.inspectErr = errors.New("down") }, audit.OutcomeFailed, ""},
		{"the engine does not list", func(e *fakeEngine) { e.listErr = errors.New("down") }, audit.OutcomeFailed, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e, rec := newEngine("cpu", "cpu"), &memoryRecord{}
			order := e.order(0, policy.Live, config.ActionRemove)
			c.change(e)
			r := carry(t, e, rec, false, order)[0]
			if r.Record.Outcome != c.outcome || r.Record.Guard != c.guard {
				t.Errorf("outcome %s, guard %s, want %s, %s", r.Record.Outcome, r.Record.Guard, c.outcome, c.guard)
			}
			if len(e.calls) != 0 {
				t.Errorf("acted: %v", e.calls)
			}
			if len(rec.lines) != 2 {
				t.Errorf("record %+v", rec.lines)
			}
		})
	}
}

func TestNoRecordNoKill(t *testing.T) {
	e, rec := newEngine("cpu", "cpu"), &memoryRecord{noIntent: errors.New("disk full")}
	r := carry(t, e, rec, false, e.order(0, policy.Live, config.ActionKill))[0]
	if r.Record.Outcome != audit.OutcomeNoRecord || len(e.calls) != 0 || len(rec.lines) != 0 {
		t.Errorf("%+v, calls %v, record %+v", r.Record, e.calls, rec.lines)
	}
}

func TestIntentComesBeforeTheAct(t *testing.T) {
	e, rec := newEngine("cpu", "cpu"), &memoryRecord{}
	rec.onIntent = func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.calls) != 0 {
			t.Errorf("acted before the intent: %v", e.calls)
		}
	}
	carry(t, e, rec, false, e.order(0, policy.Live, config.ActionKill))
}

// A dry run makes no mutating call, asked for by the rule or by the manager.
func TestDryRunActsNever(t *testing.T) {
	for _, dryManager := range []bool{false, true} {
		mode := policy.DryRun
		if dryManager {
			mode = policy.Live // even then: there is no live killer
		}
		e, rec := newEngine("cpu", "cpu"), &memoryRecord{}
		r := carry(t, e, rec, dryManager, e.order(0, mode, config.ActionRemove))[0]
		if r.Record.Outcome != audit.OutcomeDryRun || len(e.calls) != 0 || len(rec.lines) != 2 {
			t.Errorf("%+v, calls %v", r.Record, e.calls)
		}
	}
}

func TestAlreadyGoneAndConflictAtDelete(t *testing.T) {
	e, rec := newEngine("cpu", "cpu"), &memoryRecord{}
	e.refuse[id(0)] = fmt.Errorf("no such container: %w", cerrdefs.ErrNotFound)
	if r := carry(t, e, rec, false, e.order(0, policy.Live, config.ActionRemove))[0]; r.Record.Outcome != audit.OutcomeAlreadyGone {
		t.Errorf("not found at stop: %+v", r.Record)
	}
	e = newEngine("cpu", "cpu")
	e.refuse[id(0)] = errors.New("the driver is broken")
	if r := carry(t, e, rec, false, e.order(0, policy.Live, config.ActionRemove))[0]; r.Record.Outcome != audit.OutcomeFailed || r.Record.Error == "" {
		t.Errorf("refused by the engine: %+v", r.Record)
	}
}

// One victim hangs; the others are gone long before it gives up.
func TestSlowVictimHoldsUpNobody(t *testing.T) {
	e, rec := newEngine("cpu", "cpu", "cpu", "cpu"), &memoryRecord{}
	e.hang[id(0)] = true
	done := make(chan Result, 4)
	en := New(Options{Reader: e, Live: Live{Reader: e, Actor: e}, Record: rec, Now: time.Now, Done: func(r Result) { done <- r }})
	for n := range 3 {
		en.Start(context.Background(), e.order(n, policy.Live, config.ActionStop))
	}
	for range 2 {
		select {
		case r := <-done:
			if r.Record.Container == id(0) || r.Record.Outcome != audit.OutcomeDone {
				t.Errorf("%+v", r.Record)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("the hanging victim holds up the others")
		}
	}
	if !en.Busy(id(0)) || en.Start(context.Background(), e.order(0, policy.Live, config.ActionStop)) {
		t.Error("a second order for a victim under way was begun")
	}
}

// Whatever is ordered, in parallel, with victims that fail: one of each kind
// stays, and every intent has one outcome.
func TestKeepHoldsInParallel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "containers")
		kinds := make([]string, n)
		for i := range kinds {
			kinds[i] = rapid.SampledFrom([]string{"cpu", "ram"}).Draw(t, "kind")
		}
		e, rec := newEngine(kinds...), &memoryRecord{}
		e.takes = 2 * time.Millisecond
		var orders []Order
		for i := range n {
			if rapid.IntRange(0, 5).Draw(t, "fails") == 0 {
				e.refuse[id(i)] = fmt.Errorf("busy: %w", cerrdefs.ErrUnavailable)
			}
			orders = append(orders, e.order(i, policy.Live, rapid.SampledFrom([]config.Action{config.ActionStop, config.ActionKill, config.ActionRemove, config.ActionPause}).Draw(t, "action")))
		}
		var mu sync.Mutex
		ended := 0
		en := New(Options{Reader: e, Live: Live{Reader: e, Actor: e}, Record: rec, Now: time.Now, Done: func(Result) { mu.Lock(); ended++; mu.Unlock() }})
		for _, o := range orders {
			en.Start(context.Background(), o)
		}
		en.Wait(context.Background())
		left := map[string]int{}
		for _, c := range e.containers {
			if c.State == dockerclient.StateRunning {
				left[c.Labels[container.LabelKind]]++
			}
		}
		for _, k := range kinds {
			if left[k] == 0 {
				t.Errorf("no %s is left of %v", k, kinds)
			}
		}
		open := map[string]int{}
		for _, l := range rec.lines {
			if l.Phase == audit.Intent {
				open[l.KillID]++
			} else {
				open[l.KillID]--
			}
		}
		for _, balance := range open {
			if balance != 0 {
				t.Errorf("intents and outcomes do not match: %v", open)
			}
		}
		if ended != n {
			t.Errorf("%d of %d orders ended", ended, n)
		}
	})
}

func TestRecover(t *testing.T) {
	e, rec := newEngine("cpu", "cpu", "cpu", "cpu"), &memoryRecord{}
	delete(e.containers, id(0))
	restarted := e.containers[id(2)]
	restarted.StartedAt = born.Add(time.Minute)
	e.containers[id(2)] = restarted
	e.state(id(3), dockerclient.StatePaused)
	want := []audit.Found{audit.FoundGone, audit.FoundRunning, audit.FoundRestarted, audit.FoundPaused}
	var intents []audit.Record
	for i := range want {
		intents = append(intents, audit.Record{KillID: fmt.Sprint(i), Container: id(i), StartedAt: born, Mode: policy.Live})
	}
	intents = append(intents, audit.Record{KillID: "dry", Container: id(1), Mode: policy.DryRun})
	completed, err := Recover(context.Background(), e, rec, intents, born)
	if err != nil || len(completed) != 5 {
		t.Fatalf("Recover = %+v, %v", completed, err)
	}
	for i, w := range want {
		if completed[i].Outcome != audit.OutcomeUnknown || completed[i].Found != w {
			t.Errorf("%d: %+v, want %s", i, completed[i], w)
		}
	}
	if completed[4].Outcome != audit.OutcomeDryRun || len(e.calls) != 0 {
		t.Errorf("%+v, calls %v", completed[4], e.calls)
	}
	e.inspectErr = errors.New("down")
	if _, err := Recover(context.Background(), e, rec, intents, born); err == nil || !strings.Contains(err.Error(), "down") {
		t.Errorf("Recover without an engine: %v", err)
	}
}
