package dockerclient_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

// A real Podman behind the client: what differs from the Docker Engine's API is the same
// for callers.
func TestPodman(t *testing.T) {
	p := testutil.StartPodman(t)
	c := p.Client(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if runtime, err := c.Runtime(ctx); err != nil || runtime != container.Podman {
		t.Fatalf("Runtime = %q, %v", runtime, err)
	}
	const ref = "localhost/estiba-test/idle:latest"
	testutil.IdleImage(t, c, ref)
	run := func(spec dockerclient.Spec) string {
		t.Helper()
		spec.Image = ref
		id, err := c.Create(ctx, spec)
		if err == nil {
			err = c.Start(ctx, id)
		}
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	look := func(id string) dockerclient.Container {
		t.Helper()
		found, err := c.Inspect(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	listed := func(o dockerclient.ListOptions) map[string]dockerclient.Container {
		t.Helper()
		list, err := c.List(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		by := map[string]dockerclient.Container{}
		for _, one := range list {
			by[one.Name] = one
		}
		return by
	}

	id := run(dockerclient.Spec{Name: "one", Labels: map[string]string{"estiba.managed": "true"}, Networkless: true})
	first := look("one")
	if first.ID != id || first.State != dockerclient.StateRunning || first.Image != ref || first.Labels["estiba.managed"] != "true" ||
		time.Since(first.StartedAt).Abs() > time.Minute || !first.EndedAt.IsZero() || first.PID == 0 || !first.Networkless {
		t.Errorf("Inspect = %+v", first)
	}
	if one := listed(dockerclient.ListOptions{Pods: true})["one"]; one.ID != id || one.State != dockerclient.StateRunning || one.Image != ref ||
		one.Labels["estiba.managed"] != "true" || one.Pod != "" || one.Infra {
		t.Errorf("List = %+v", one)
	}

	// Paused is listed, like Docker's, and a state that forbids a call is a conflict.
	if err := c.Pause(ctx, id); err != nil {
		t.Fatal(err)
	}
	if one := listed(dockerclient.ListOptions{})["one"]; one.State != dockerclient.StatePaused || look(id).State != dockerclient.StatePaused {
		t.Errorf("a paused container: List = %+v, Inspect = %+v", one, look(id))
	}
	if err := c.Pause(ctx, id); !dockerclient.IsConflict(err) {
		t.Errorf("Pause of a paused container: %v, want a conflict", err)
	}
	p.Run(t, "unpause", "one")
	if err := c.Kill(ctx, id); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, 10*time.Second, "the killed container has exited", func() bool { return look(id).State == dockerclient.StateExited })
	for what, err := range map[string]error{"Kill": c.Kill(ctx, id), "Pause": c.Pause(ctx, id)} {
		if !dockerclient.IsConflict(err) || dockerclient.IsNotFound(err) {
			t.Errorf("%s of an exited container: %v, want a conflict", what, err)
		}
	}
	if err := c.Stop(ctx, id, time.Second); err != nil {
		t.Errorf("Stop of an exited container: %v", err)
	}
	if _, there := listed(dockerclient.ListOptions{})["one"]; there {
		t.Error("an exited container is listed")
	}

	// Another life: the same id, the end of the first one is known.
	if err := c.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	if again := look(id); !again.StartedAt.After(first.StartedAt) || again.EndedAt.Before(first.StartedAt) || !again.EndedAt.Before(again.StartedAt) {
		t.Errorf("after a restart: started %s, ended %s; first started %s", again.StartedAt, again.EndedAt, first.StartedAt)
	}
	if err := c.Remove(ctx, id); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"Stop": c.Stop(ctx, id, 0), "Kill": c.Kill(ctx, id), "Pause": c.Pause(ctx, id), "Remove": c.Remove(ctx, id),
	} {
		if !dockerclient.IsNotFound(err) {
			t.Errorf("%s of a removed container: %v, want not found", what, err)
		}
	}
	if _, err := c.Inspect(ctx, id); !dockerclient.IsNotFound(err) {
		t.Errorf("Inspect of a removed container: %v, want not found", err)
	}

	// Removed by itself when it exits.
	id = run(dockerclient.Spec{Name: "brief", AutoRemove: true, Networkless: true})
	if !look(id).AutoRemove {
		t.Error("auto-remove is unknown")
	}
	if err := c.Kill(ctx, id); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, 15*time.Second, "the killed container is removed", func() bool {
		_, err := c.Inspect(ctx, id)
		return dockerclient.IsNotFound(err)
	})

	// A pod: one container holds its namespaces, and has the labels of the pod.
	pod := p.Run(t, "pod", "create", "--name=pod", "--network=none", "--label=estiba.managed=true")[:12]
	p.Run(t, "run", "--detach", "--pod=pod", "--name=inside", ref)
	by := listed(dockerclient.ListOptions{Pods: true})
	infra := by[pod+"-infra"]
	if !infra.Infra || infra.Pod != "pod" || infra.Labels["estiba.managed"] != "true" {
		t.Errorf("the pod's infra container: %+v", infra)
	}
	if inside := by["inside"]; inside.Infra || inside.Pod != "pod" || !slices.Equal(inside.Networks, infra.Networks) {
		t.Errorf("a container in the pod: %+v", inside)
	}
}
