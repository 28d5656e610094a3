package main

import (
	"context"
	"testing"

	"github.com/estiba/estiba/exporter/source"
)

// arriving has one more container in each of its first snapshots; each has its CPU
// percentage from its second snapshot.
type arriving struct{ round, until int }

func (a *arriving) Name() string { return source.Cgroup }

func (a *arriving) Snapshot(context.Context) (*source.Snapshot, error) {
	snap := &source.Snapshot{Source: source.Cgroup}
	for i := range min(a.round, a.until) + 1 {
		c := source.Container{ID: string(rune('a' + i))}
		if i < a.round {
			c.Set(source.CPUPercent, 1)
		}
		snap.Containers = append(snap.Containers, c)
	}
	a.round++
	return snap, nil
}

// TestCompleted: a dumped document has the CPU percentage of each container.
func TestCompleted(t *testing.T) {
	for until, want := range map[int]struct {
		containers int
		truncated  bool
	}{0: {1, false}, 1: {2, false}, 100: {3, true}} {
		s := &sources{chosen: &arriving{until: until}}
		snap, err := s.completed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(snap.Containers) != want.containers || snap.Truncated != want.truncated || !measuredAll(snap) {
			t.Errorf("%d more containers come: %d in the end, truncated %v, want %+v", until, len(snap.Containers), snap.Truncated, want)
		}
	}
}
