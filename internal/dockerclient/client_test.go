package dockerclient_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

func TestContainerLifecycle(t *testing.T) {
	testutil.Require(t, testutil.Docker)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, err := dockerclient.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const ref = "estiba-test/idle:latest"
	testutil.IdleImage(t, c, ref)
	if img, err := c.Image(ctx, ref); err != nil || img.Labels["made.by"] != "test" {
		t.Fatalf("Image = %+v, %v", img, err)
	}

	events, _ := c.Events(ctx)
	spec := dockerclient.Spec{
		Name: "estiba-test-life", Image: ref, Labels: map[string]string{"estiba.test": "life"},
		CPUs: 0.5, MemoryBytes: 32 << 20, PIDs: 20, Networkless: true, ReadOnly: true, NoNewPrivs: true, DropAllCaps: true,
	}
	c.Remove(ctx, spec.Name)
	id, err := c.Create(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Remove(context.Background(), id) })
	if _, err := c.Create(ctx, spec); !dockerclient.IsConflict(err) {
		t.Errorf("second Create of one name: %v, want a conflict", err)
	}
	if err := c.Start(ctx, id); err != nil {
		t.Fatal(err)
	}

	for {
		select {
		case e := <-events:
			if e.ID != id || e.Action != "start" {
				continue
			}
			if e.Name != spec.Name {
				t.Errorf("event = %+v, want name %s", e, spec.Name)
			}
		case <-ctx.Done():
			t.Fatal("no start event")
		}
		break
	}

	got, err := c.Inspect(ctx, spec.Name)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != id || got.Name != spec.Name || got.State != dockerclient.StateRunning || got.PID == 0 ||
		time.Since(got.StartedAt) > time.Minute || got.Image != ref {
		t.Errorf("Inspect = %+v", got)
	}
	list, err := c.List(ctx, dockerclient.ListOptions{Labels: []string{"estiba.test=life"}, Sizes: true})
	if err != nil || len(list) != 1 || list[0].ID != id || list[0].Name != spec.Name || list[0].WritableBytes < 0 {
		t.Fatalf("List = %+v, %v", list, err)
	}

	if err := c.Stop(ctx, id, time.Second); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(ctx, id); !dockerclient.IsConflict(err) {
		t.Errorf("Kill of a stopped container: %v, want a conflict", err)
	}
	if err := c.Remove(ctx, id); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Inspect(ctx, id); !dockerclient.IsNotFound(err) {
		t.Errorf("Inspect after Remove: %v, want not found", err)
	}
}

func TestNoEngine(t *testing.T) {
	c, err := dockerclient.New("unix://" + filepath.Join(t.TempDir(), "none.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.Ping(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ping = %v, want an immediate error", err)
	}
	_, failed := c.Events(ctx)
	if err := <-failed; err == nil {
		t.Error("Events of an absent engine did not fail")
	}
	if _, err := dockerclient.New("no scheme"); err == nil {
		t.Error("New accepted a host without a scheme")
	}
}

func TestHosts(t *testing.T) {
	for host, valid := range map[string]bool{"": true, "unix:///run/d.sock": true, "tcp://h:2375": true, "ssh://me@h": false, "h": false} {
		c, err := dockerclient.New(host)
		if (err == nil) != valid {
			t.Errorf("%q: %v", host, err)
		}
		if err == nil {
			c.Close()
		}
	}
}
