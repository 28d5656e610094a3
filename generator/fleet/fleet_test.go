package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/go-kit/log"

	"github.com/estiba/estiba/generator/batch"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
)

// faultyEngine is an Engine that fails on demand.
type faultyEngine struct {
	containers  map[string]dockerclient.Container // by id
	failCreate  map[string]bool                   // by name
	failStart   map[string]bool
	beforeStart func()
	failRemove  func(name string) error // nil: none fails
	removed     []string                // names
}

func (e *faultyEngine) List(_ context.Context, o dockerclient.ListOptions) ([]dockerclient.Container, error) {
	var list []dockerclient.Container
	for _, c := range e.containers {
		match := true
		for _, l := range o.Labels {
			key, value, _ := strings.Cut(l, "=")
			match = match && c.Labels[key] == value
		}
		if match {
			list = append(list, c)
		}
	}
	return list, nil
}

func (e *faultyEngine) Create(_ context.Context, s dockerclient.Spec) (string, error) {
	if e.failCreate[s.Name] {
		return "", errors.New("no space left on device")
	}
	e.containers["id-"+s.Name] = dockerclient.Container{ID: "id-" + s.Name, Name: s.Name, Labels: s.Labels, State: dockerclient.StateCreated}
	return "id-" + s.Name, nil
}

func (e *faultyEngine) Start(ctx context.Context, id string) error {
	if e.beforeStart != nil {
		e.beforeStart()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c := e.containers[id]
	if e.failStart[c.Name] {
		return errors.New("cannot start")
	}
	c.State = dockerclient.StateRunning
	e.containers[id] = c
	return nil
}

func (e *faultyEngine) Remove(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.failRemove != nil {
		if err := e.failRemove(e.containers[id].Name); err != nil {
			return err
		}
	}
	e.removed = append(e.removed, e.containers[id].Name)
	delete(e.containers, id)
	return nil
}

func (e *faultyEngine) add(name, state string, labels map[string]string) {
	e.containers["id-"+name] = dockerclient.Container{ID: "id-" + name, Name: name, State: state, Labels: labels}
}

func (e *faultyEngine) count(state string) int {
	n := 0
	for _, c := range e.containers {
		if c.State == state {
			n++
		}
	}
	return n
}

func mine() map[string]string {
	return map[string]string{container.LabelManaged: "true", container.LabelGenerator: "g"}
}

func testFleet() (*Fleet, *faultyEngine, *bytes.Buffer) {
	e := &faultyEngine{containers: map[string]dockerclient.Container{}, failCreate: map[string]bool{}, failStart: map[string]bool{}}
	var out bytes.Buffer
	return &Fleet{Engine: e, Logger: log.NewLogfmtLogger(&out), Name: "g", Image: "estiba/stress", Own: true, Lifetime: time.Minute, Max: 60}, e, &out
}

func TestOneFailureDoesNotStopTheBatch(t *testing.T) {
	f, e, out := testFleet()
	b := batch.New(batch.Seeded(1, 0), 10)
	e.failCreate[b.Items[2].Name] = true
	e.failStart[b.Items[5].Name] = true
	if err := f.Create(context.Background(), b); !errors.Is(err, ErrPartial) {
		t.Errorf("Create = %v, want ErrPartial", err)
	}
	if e.count(dockerclient.StateRunning) != 8 || e.count(dockerclient.StateCreated) != 0 {
		t.Errorf("%d running and %d only created, want 8 and none", e.count(dockerclient.StateRunning), e.count(dockerclient.StateCreated))
	}
	for _, want := range []string{b.Items[2].Name, "no space left", b.Items[5].Name, "cannot start", "created 8 containers", "failed=2"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, out)
		}
	}
}

func TestInterruptedBatch(t *testing.T) {
	f, e, _ := testFleet()
	ctx, cancel := context.WithCancel(context.Background())
	starts := 0
	e.beforeStart = func() {
		if starts++; starts == 3 {
			cancel()
		}
	}
	if err := f.Create(ctx, batch.New(batch.Seeded(1, 0), 10)); !errors.Is(err, ErrPartial) || !strings.Contains(err.Error(), "8 of batch") {
		t.Errorf("Create = %v, want ErrPartial for 8", err)
	}
	if e.count(dockerclient.StateRunning) != 2 || e.count(dockerclient.StateCreated) != 0 {
		t.Errorf("%d running, %d only created; want 2, none", e.count(dockerclient.StateRunning), e.count(dockerclient.StateCreated))
	}
}

func TestMaxCountsOwnLiveContainersOnly(t *testing.T) {
	tests := []struct {
		max, live, want int
		limited         bool
	}{{60, 0, 10, false}, {10, 0, 10, false}, {9, 0, 9, true}, {12, 5, 7, true}, {5, 5, 0, true}, {5, 9, 0, true}}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("max %d live %d", tt.max, tt.live), func(t *testing.T) {
			f, e, out := testFleet()
			f.Max = tt.max
			for n := range tt.live {
				e.add(fmt.Sprint("live", n), []string{dockerclient.StateRunning, dockerclient.StatePaused, dockerclient.StateRestarting}[n%3], mine())
			}
			e.add("other", dockerclient.StateRunning, map[string]string{container.LabelManaged: "true", container.LabelGenerator: "other"})
			e.add("unlabelled", dockerclient.StateRunning, nil)
			e.add("removing", dockerclient.StateRemoving, mine())
			before := len(e.containers)
			if err := f.Create(context.Background(), batch.New(batch.Seeded(1, 0), 10)); err != nil {
				t.Fatal(err)
			}
			if got := len(e.containers) - before; got != tt.want {
				t.Errorf("created %d, want %d", got, tt.want)
			}
			if n := strings.Count(out.String(), "maximum of live containers reached"); (n == 1) != tt.limited || n > 1 {
				t.Errorf("%d messages about the limit:\n%s", n, out)
			}
		})
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	f, e, _ := testFleet()
	e.add("created", dockerclient.StateCreated, mine())
	e.add("exited", dockerclient.StateExited, mine())
	e.add("dead", dockerclient.StateDead, mine())
	e.add("running", dockerclient.StateRunning, mine())
	e.add("others", dockerclient.StateExited, map[string]string{container.LabelManaged: "true", container.LabelGenerator: "other"})
	e.add("unlabelled", dockerclient.StateCreated, nil)
	if err := f.Create(context.Background(), batch.New(batch.Seeded(1, 0), 1)); err != nil {
		t.Fatal(err)
	}
	if len(e.removed) != 3 || e.count(dockerclient.StateRunning) != 2 || e.containers["id-others"].ID == "" || e.containers["id-unlabelled"].ID == "" {
		t.Errorf("removed %v, left %v", e.removed, e.containers)
	}
}

func TestCleanRemovesOwnOnly(t *testing.T) {
	f, e, _ := testFleet()
	e.add("others", dockerclient.StateRunning, map[string]string{container.LabelManaged: "true", container.LabelGenerator: "g2"})
	e.add("unmanaged", dockerclient.StateRunning, map[string]string{container.LabelGenerator: "g"})
	e.add("created", dockerclient.StateCreated, mine())
	if n, err := f.Clean(context.Background()); n != 1 || err != nil {
		t.Errorf("Clean = %d, %v; want 1", n, err)
	}
	if len(e.containers) != 2 {
		t.Errorf("left %v", e.containers)
	}
	if n, err := f.Clean(context.Background()); n != 0 || err != nil {
		t.Errorf("Clean of nothing = %d, %v", n, err)
	}
}

// A removal by another client may fail.
func TestCleanRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, e, _ := testFleet()
		e.add("one", dockerclient.StateRunning, mine())
		tries := 0
		e.failRemove = func(string) error {
			if tries++; tries < 3 {
				return errdefs.ErrConflict // removal is already in progress
			}
			return nil
		}
		if n, err := f.Clean(context.Background()); n != 1 || err != nil || tries != 3 {
			t.Errorf("Clean = %d, %v after %d attempts; want 1 after 3", n, err, tries)
		}
		e.add("stuck", dockerclient.StateDead, mine())
		e.failRemove = func(string) error { return errdefs.ErrConflict }
		n, err := f.Clean(context.Background())
		if n != 0 || !errors.Is(err, ErrPartial) || !strings.Contains(err.Error(), "stuck (dead)") {
			t.Errorf("Clean = %d, %v; want 0 and the name of the container", n, err)
		}
	})
}

// Containers of every kind are isolated, as in the README.
func TestSpecs(t *testing.T) {
	for _, own := range []bool{true, false} {
		f, _, _ := testFleet()
		f.Own = own
		for _, item := range batch.New(batch.Seeded(9, 0), 100).Items {
			s := f.spec("b", item)
			if !s.Networkless || !s.AutoRemove || !s.NoNewPrivs || !s.DropAllCaps || s.CPUs <= 0 || s.MemoryBytes <= 0 || s.PIDs <= 0 {
				t.Fatalf("%+v is not isolated", s)
			}
			if !s.ReadOnly && (own || item.Params.Kind != container.KindDisk) {
				t.Fatalf("%+v can write to its root", s)
			}
			l := container.ParseLabels(s.Labels)
			if !l.Managed || l.Kind != item.Params.Kind || l.Load != string(item.Level) || l.Errors != nil || l.Protected {
				t.Fatalf("labels %v parsed as %+v", s.Labels, l)
			}
			if command := strings.Join(s.Command, " "); own != strings.Contains(command, "--lifetime=1m0s") || own == strings.Contains(command, "stress") {
				t.Fatalf("own %v: command %q", own, command)
			}
		}
	}
}
