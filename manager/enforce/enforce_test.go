package enforce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// fakeEngine is a Docker Engine with faults that a real one cannot be made to have.
type fakeEngine struct {
	mu         sync.Mutex
	containers map[string]dockerclient.Container
	calls      []string
	hang       map[string]bool // Stop of this id returns only with its context
	refuse     map[string]error
	takes      time.Duration
	listErr    error
	inspectErr error
	objection  policy.Reason // of Alertmanager
	onAct      func(what string)
	named      map[string]string // name to id: the Engine accepts both
	callTimes  []time.Time
}

// Veto implements Vetoes.
func (e *fakeEngine) Veto(context.Context, policy.Victim) (policy.Reason, *audit.Veto, error) {
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
	e.callTimes = append(e.callTimes, time.Now())
}

func (e *fakeEngine) Runtime(context.Context) (string, error) { return container.Docker, nil }

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
	if other, ok := e.named[id]; ok {
		id = other
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
	time.Sleep(e.takes) // the effect comes after the call
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.containers[id]; !ok {
		return fmt.Errorf("no such container: %w", cerrdefs.ErrNotFound)
	}
	if e.onAct != nil {
		e.onAct(what)
		if what == "stop" || what == "kill" || what == "pause" {
			return nil
		}
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

func (e *fakeEngine) RemoveKeepingVolumes(ctx context.Context, id string) error {
	return e.act(ctx, "remove but volumes", id, func() { delete(e.containers, id) })
}

// memoryRecord is an audit log that can fail.
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
	p := policy.Container{ID: c.ID, Name: c.Name, Kind: l.Kind, InScope: l.Managed, StartedAt: c.StartedAt, State: policy.InTransition}
	p.Foreign = c.Labels["io.kubernetes.pod.name"] != ""
	if c.State == dockerclient.StateRunning {
		p.State = policy.Running
	}
	if l.Protected || len(l.Errors) > 0 {
		p.Protected = []policy.Protection{policy.ProtectedByLabel}
	}
	return p
}

func (e *fakeEngine) order(n int, mode policy.Mode, action config.Action) Kill {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Kill{
		Victim: policy.Victim{Rule: policy.Rule{Name: "r", Mode: mode}, Container: classify(e.containers[id(n)])},
		Action: action, Keep: []policy.Keep{{Min: 1}}, Classify: classify, Holds: func() policy.Reason { return "" },
	}
}

// carry carries out kills and returns the results in the order in which they ended.
func carry(t testing.TB, e *fakeEngine, rec *memoryRecord, dry bool, orders ...Kill) []Result {
	var mu sync.Mutex
	var results []Result
	o := Options{Reader: e, Record: rec, Vetoes: e, Now: time.Now, Done: func(r Result) {
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
		config.ActionRemove: {"stop 0001", "remove but volumes 0001"},
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

// A rule that announces checks once more for vetoes just before the kill.
func TestVetoes(t *testing.T) {
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

// Changes between decision and kill are noticed.
func TestRecheck(t *testing.T) {
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
		{"of Kubernetes now", edit(func(c *dockerclient.Container) { c.Labels["io.kubernetes.pod.name"] = "web" }), audit.OutcomeRefused, policy.ForeignRuntime},
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

// A dry run makes no mutating call, whether of the rule or of the manager.
func TestDryRunNeverKills(t *testing.T) {
	for _, dryManager := range []bool{false, true} {
		mode := policy.DryRun
		if dryManager {
			mode = policy.Live // even then there is no live killer
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

// One victim hangs; the others are killed long before its timeout.
func TestSlowVictimDelaysNoOther(t *testing.T) {
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
			t.Fatal("the hanging victim delays the others")
		}
	}
	if !en.Busy(id(0)) || en.Start(context.Background(), e.order(0, policy.Live, config.ActionStop)) {
		t.Error("a second kill of the same victim was begun")
	}
}

// Of two containers of one image, killed at the same time by two rules, one stays; one
// whose image is unknown at the kill counts for none, and is spared itself.
func TestKeepByImageAtTheKill(t *testing.T) {
	for name, c := range map[string]struct {
		image  string // of the second container
		killed int
		guards []policy.Reason
	}{
		"the same image": {"nginx", 1, []policy.Reason{policy.LastOfGroup}},
		"another image":  {"redis", 0, []policy.Reason{policy.LastOfGroup, policy.LastOfGroup}},
		"unknown":        {"", 0, []policy.Reason{policy.LastOfGroup, policy.UnknownGroup}},
	} {
		t.Run(name, func(t *testing.T) {
			e, rec := newEngine("cpu", "cpu"), &memoryRecord{}
			for i, image := range []string{"nginx", c.image} {
				one := e.containers[id(i)]
				one.Image = image
				e.containers[id(i)] = one
			}
			orders := []Kill{e.order(0, policy.Live, config.ActionKill), e.order(1, policy.Live, config.ActionKill)}
			for i := range orders {
				orders[i].Victim.Rule.Name = fmt.Sprint("r", i)
				orders[i].Keep = []policy.Keep{{By: "image", Min: 1}}
				orders[i].Classify = func(c dockerclient.Container) policy.Container {
					p := classify(c)
					p.Groups = []policy.Group{{Known: c.Image != "", Name: c.Image}}
					return p
				}
			}
			var guards []policy.Reason
			killed := 0
			for _, r := range carry(t, e, rec, false, orders...) {
				if r.Record.Outcome == audit.OutcomeDone {
					killed++
				} else {
					guards = append(guards, r.Record.Guard)
				}
			}
			slices.Sort(guards)
			if killed != c.killed || !slices.Equal(guards, c.guards) || len(e.calls) != c.killed {
				t.Errorf("%d killed, spared by %v, calls %v", killed, guards, e.calls)
			}
		})
	}
}

// With any kills in parallel, and failing victims: one of each kind stays, and each
// intent has one outcome.
func TestKeepHoldsInParallel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "containers")
		kinds := make([]string, n)
		for i := range kinds {
			kinds[i] = rapid.SampledFrom([]string{"cpu", "ram"}).Draw(t, "kind")
		}
		e, rec := newEngine(kinds...), &memoryRecord{}
		e.takes = 2 * time.Millisecond
		var orders []Kill
		for i := range n {
			if rapid.IntRange(0, 5).Draw(t, "fails") == 0 {
				e.refuse[id(i)] = fmt.Errorf("busy: %w", cerrdefs.ErrUnavailable)
			}
			orders = append(orders, e.order(i, policy.Live, rapid.SampledFrom([]config.Action{
				config.ActionStop, config.ActionKill, config.ActionRemove,
				config.ActionPause,
			}).Draw(t, "action")))
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
				t.Errorf("no %s left of %v", k, kinds)
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
	e := newEngine("cpu", "cpu", "cpu", "cpu")
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
	for i, rec := range intents {
		got, err := Complete(context.Background(), e, rec, born)
		switch {
		case err != nil:
			t.Errorf("%d: %v", i, err)
		case i == len(want):
			if got.Outcome != audit.OutcomeDryRun || got.Acted || len(e.calls) != 0 {
				t.Errorf("the dry run: %+v, calls %v", got, e.calls)
			}
		case got.Outcome != audit.OutcomeUnknown || got.Found != want[i] || !got.Acted:
			t.Errorf("%d: %+v, want %s", i, got, want[i])
		}
	}
	e.inspectErr = errors.New("down")
	if _, err := Complete(context.Background(), e, intents[0], born); err == nil || !strings.Contains(err.Error(), "down") {
		t.Errorf("Complete without an engine: %v", err)
	}
}

// A void decision is not carried out: before the intent nothing is written, after it
// the outcome has the reason.
func TestVoidDecision(t *testing.T) {
	for asked, lines := range map[int]int{1: 0, 2: 2} {
		e, rec := newEngine("cpu", "cpu"), &memoryRecord{}
		order, n := e.order(0, policy.Live, config.ActionKill), 0
		order.Holds = func() policy.Reason {
			if n++; n >= asked {
				return policy.PolicyReplaced
			}
			return ""
		}
		r := carry(t, e, rec, false, order)[0]
		if r.Record.Outcome != audit.OutcomeRefused || r.Record.Guard != policy.PolicyReplaced || len(e.calls) != 0 || len(rec.lines) != lines ||
			!r.Begun.IsZero() || r.Record.Acted {
			t.Errorf("withdrawn at look %d: %+v, calls %v, record %+v", asked, r, e.calls, rec.lines)
		}
		if r.PassOver() {
			t.Error("a withdrawn decision says nothing about the container")
		}
	}
}

// After Exclusively, each kill that begins sees the change.
func TestExclusively(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "orders")
		kinds := slices.Repeat([]string{"cpu"}, n+1)
		e, rec := newEngine(kinds...), &memoryRecord{}
		var replaced atomic.Bool
		en := New(Options{Reader: e, Live: Live{Reader: e, Actor: e}, Record: rec, Now: time.Now, Done: func(Result) {}})
		for i := range n {
			order := e.order(i, policy.Live, config.ActionKill)
			order.Holds = func() policy.Reason {
				if replaced.Load() {
					return policy.PolicyReplaced
				}
				return ""
			}
			en.Start(context.Background(), order)
		}
		en.Exclusively(func() { replaced.Store(true) })
		at := time.Now()
		en.Wait(context.Background())
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, called := range e.callTimes {
			if called.Sub(at) > time.Second { // the call follows at once
				t.Errorf("an act was begun %s after the change", called.Sub(at))
			}
		}
	})
}

// The Engine takes an unknown id for a name. A container with such a name is not the
// victim.
func TestNamedLikeTheVictim(t *testing.T) {
	for _, action := range []config.Action{config.ActionRemove, config.ActionStop, config.ActionKill, config.ActionPause} {
		e, rec := newEngine("cpu", "cpu", "cpu"), &memoryRecord{}
		order := e.order(0, policy.Live, action)
		e.onAct = func(string) { // removed when it is signalled, as with --rm
			delete(e.containers, id(0))
			e.named = map[string]string{id(0): id(1)}
		}
		r := carry(t, e, rec, false, order)[0]
		if r.Record.Outcome != audit.OutcomeDone {
			t.Errorf("%s: %+v", action, r.Record)
		}
		if c := e.containers[id(1)]; c.State != dockerclient.StateRunning || len(e.calls) != 1 {
			t.Errorf("%s: the innocent one is %q, calls %v", action, c.State, e.calls)
		}
	}
}

// The Engine deletes an auto-remove container; another life is not deleted.
func TestRemovalLooksAgain(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*dockerclient.Container)
		outcome audit.Outcome
		calls   int
	}{
		"auto-remove": {func(c *dockerclient.Container) { c.AutoRemove, c.State = true, dockerclient.StateExited }, audit.OutcomeFailed, 1},
		"another life": {func(c *dockerclient.Container) {
			c.StartedAt, c.State = born.Add(time.Minute), dockerclient.StateRunning
		}, audit.OutcomeFailed, 1},
		"stopped": {func(c *dockerclient.Container) { c.State = dockerclient.StateExited }, audit.OutcomeDone, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, rec := newEngine("cpu", "cpu"), &memoryRecord{}
			order := e.order(0, policy.Live, config.ActionRemove)
			e.onAct = func(what string) {
				if what == "stop" {
					one := e.containers[id(0)]
					c.change(&one)
					e.containers[id(0)] = one
				}
			}
			r := carry(t, e, rec, false, order)[0]
			if r.Record.Outcome != c.outcome || len(e.calls) != c.calls {
				t.Errorf("%s: %+v, calls %v", name, r.Record, e.calls)
			}
		})
	}
}

// A restart policy starts another life: the intended one is over.
func TestRestartPolicyIsNoFailure(t *testing.T) {
	e, rec := newEngine("cpu", "cpu"), &memoryRecord{}
	order := e.order(0, policy.Live, config.ActionKill)
	e.onAct = func(string) {
		one := e.containers[id(0)]
		one.EndedAt, one.StartedAt, one.State = born.Add(time.Minute), born.Add(time.Minute), dockerclient.StateRunning
		e.containers[id(0)] = one
	}
	if r := carry(t, e, rec, false, order)[0]; r.Record.Outcome != audit.OutcomeDone {
		t.Errorf("%+v", r.Record)
	}
}

// A life that was sent a signal never counts as alive again; the container does in
// another life, and is dropped when it is gone.
func TestSignalledLife(t *testing.T) {
	e, rec := newEngine("io", "io", "io"), &memoryRecord{}
	e.refuse[id(0)] = errors.New("did not receive an exit event")
	clock := born
	results := make(chan Result, 1)
	en := New(Options{Reader: e, Live: Live{Reader: e, Actor: e}, Record: rec, Now: func() time.Time { return clock }, Done: func(r Result) { results <- r }})
	do := func(n int) audit.Record {
		t.Helper()
		en.Start(context.Background(), e.order(n, policy.Live, config.ActionKill))
		r := <-results
		en.Wait(context.Background())
		return r.Record
	}
	if r := do(0); r.Outcome != audit.OutcomeFailed || !r.Acted {
		t.Fatalf("%+v", r)
	}
	clock = clock.Add(1000 * time.Hour)
	if r := do(1); r.Outcome != audit.OutcomeDone { // one is left
		t.Fatalf("%+v", r)
	}
	if r := do(2); r.Outcome != audit.OutcomeRefused || r.Guard != policy.LastOfKind {
		t.Errorf("the last one that no signal waits for: %+v", r)
	}
	list := func() []dockerclient.Container {
		l, _ := e.List(context.Background(), dockerclient.ListOptions{})
		return l
	}
	if left, _ := en.Review(context.Background(), list()); !left[id(0)] || len(left) != 1 {
		t.Errorf("signalled: %v", left)
	}
	e.inspectErr = errors.New("down")
	if left, _ := en.Review(context.Background(), list()); !left[id(0)] {
		t.Error("dropped after a failed inspection")
	}
	e.inspectErr = nil
	again := e.containers[id(0)]
	again.StartedAt = clock
	e.containers[id(0)] = again
	if left, _ := en.Review(context.Background(), list()); len(left) != 0 {
		t.Errorf("another life is signalled: %v", left)
	}
	en.Signalled(id(2), born)
	delete(e.containers, id(2))
	if left, _ := en.Review(context.Background(), list()); len(left) != 0 {
		t.Errorf("one that is gone is signalled: %v", left)
	}
}
