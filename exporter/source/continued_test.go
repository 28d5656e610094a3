package source_test

import (
	"context"
	"errors"
	"testing"

	"github.com/estiba/estiba/exporter/source"
)

// scripted hands out snapshots made of one number each for the container a and
// for the host.
type scripted struct {
	steps []step
	next  int
}

type step struct {
	source string
	shim   uint64 // of the container
	cpu    uint64 // of the container; 0: no container
	idle   uint64 // of the host
	rss    uint64
}

func (s *scripted) Name() string { return source.Kmod }

func (s *scripted) Snapshot(context.Context) (*source.Snapshot, error) {
	now := s.steps[s.next]
	s.next++
	if now.source == "" {
		return nil, errors.New("broken")
	}
	snap := &source.Snapshot{Source: now.source}
	snap.Host.Set(source.HostCPUIdle, now.idle)
	if now.cpu > 0 {
		snap.Containers = make([]source.Container, 1)
		c := &snap.Containers[0]
		c.ID = "a"
		c.Set(source.PID, now.shim)
		c.Set(source.CPU, now.cpu)
		c.Set(source.RSS, now.rss)
	}
	return snap, nil
}

// Counters continue after a change of source; gauges and new containers do not.
func TestContinued(t *testing.T) {
	kmod, cgroup := source.Kmod, source.Cgroup
	tests := map[string]struct {
		steps []step
		cpu   []uint64 // one per step; 0: no container
		idle  []uint64
	}{
		"one source": {
			[]step{{kmod, 1, 100, 50, 9}, {kmod, 1, 90, 60, 9}}, // a decrease within one source stays
			[]uint64{100, 90}, []uint64{50, 60},
		},
		"coarser clock": {
			[]step{{kmod, 1, 1999, 19, 9}, {cgroup, 1, 1000, 10, 9}, {cgroup, 1, 3000, 20, 9}},
			[]uint64{1999, 1999, 3999},
			[]uint64{19, 19, 29},
		},
		"it says more": {
			[]step{{cgroup, 1, 1000, 10, 9}, {kmod, 1, 1500, 15, 9}, {kmod, 1, 1600, 16, 9}},
			[]uint64{1000, 1500, 1600},
			[]uint64{10, 15, 16},
		},
		"there and back": {
			[]step{{kmod, 1, 100, 1, 9}, {cgroup, 1, 40, 1, 9}, {cgroup, 1, 50, 1, 9}, {kmod, 1, 105, 1, 9}, {kmod, 1, 106, 1, 9}},
			[]uint64{100, 100, 110, 110, 111},
			[]uint64{1, 1, 1, 1, 1},
		},
		"a new start is a new counter": {
			[]step{{kmod, 1, 100, 1, 9}, {cgroup, 1, 40, 1, 9}, {cgroup, 2, 5, 1, 9}, {kmod, 2, 6, 1, 9}},
			[]uint64{100, 100, 5, 6},
			[]uint64{1, 1, 1, 1},
		},
		"an end is an end": {
			[]step{{kmod, 1, 100, 1, 9}, {cgroup, 1, 40, 1, 9}, {cgroup, 0, 0, 1, 9}, {cgroup, 1, 40, 1, 9}},
			[]uint64{100, 100, 0, 40},
			[]uint64{1, 1, 1, 1},
		},
		"an error between": {
			[]step{{kmod, 1, 100, 9, 9}, {"", 0, 0, 0, 0}, {cgroup, 1, 40, 8, 9}},
			[]uint64{100, 0, 100},
			[]uint64{9, 0, 9},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := source.NewContinued(&scripted{steps: test.steps})
			for i := range test.steps {
				s, err := c.Snapshot(context.Background())
				if err != nil {
					if test.steps[i].source != "" {
						t.Fatal(err)
					}
					continue
				}
				if idle, _ := s.Host.Get(source.HostCPUIdle); idle != test.idle[i] {
					t.Errorf("step %d: host says %d, want %d", i, idle, test.idle[i])
				}
				if test.cpu[i] == 0 {
					continue
				}
				cpu, _ := s.Containers[0].Get(source.CPU)
				if rss, _ := s.Containers[0].Get(source.RSS); cpu != test.cpu[i] || rss != 9 {
					t.Errorf("step %d: CPU %d, rss %d, want %d, 9", i, cpu, rss, test.cpu[i])
				}
			}
		})
	}
}
