package stack

import (
	"context"
	"sort"
	"testing"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
)

// Running lists the running and paused containers of the Engine by name.
func (s *Stack) Running(t *testing.T) map[string]dockerclient.Container {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	list, err := s.Docker.List(ctx, dockerclient.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]dockerclient.Container{}
	for _, c := range list {
		byName[c.Name] = c
	}
	return byName
}

// Inspect asks the Engine about one container.
func (s *Stack) Inspect(t *testing.T, id string) dockerclient.Container {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	c, err := s.Docker.Inspect(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Survived fails unless each container is in the same state since the same
// moment, with the same first process.
func (s *Stack) Survived(t *testing.T, list ...dockerclient.Container) {
	t.Helper()
	for _, c := range list {
		now := s.Inspect(t, c.ID)
		if now.State != c.State || !now.StartedAt.Equal(c.StartedAt) || now.PID != c.PID {
			t.Errorf("%s was %+v and is %+v", c.Name, c, now)
		}
	}
}

// Removable lists the containers that the default policy may remove, by kind,
// each kind sorted.
func (s *Stack) Removable(t *testing.T) map[container.Kind][]string {
	t.Helper()
	kinds := map[container.Kind][]string{}
	for name, c := range s.Running(t) {
		l := container.ParseLabels(c.Labels)
		if l.Managed && !l.Protected && l.Errors == nil {
			kinds[l.Kind] = append(kinds[l.Kind], name)
		}
	}
	for _, names := range kinds {
		sort.Strings(names)
	}
	return kinds
}

// HasSurplus fails unless there is something to remove of each kind.
func (s *Stack) HasSurplus(t *testing.T) {
	t.Helper()
	removable := s.Removable(t)
	for _, k := range container.Kinds() {
		if len(removable[k]) < 2 {
			t.Fatalf("nothing to remove of kind %s: %v", k, removable)
		}
	}
}

// OneOfEach reports whether exactly one removable container of each kind runs.
func (s *Stack) OneOfEach(t *testing.T) bool {
	t.Helper()
	removable := s.Removable(t)
	for _, k := range container.Kinds() {
		if len(removable[k]) != 1 {
			return false
		}
	}
	return true
}
