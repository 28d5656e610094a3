package source_test

import (
	"context"
	"testing"

	"github.com/estiba/estiba/exporter/source"
)

// A decreasing counter of the host keeps its value until it is exceeded.
func TestHeld(t *testing.T) {
	h := source.NewHeld(&scripted{steps: []step{
		{source.Cgroup, 1, 100, 80_000, 9}, {source.Cgroup, 1, 90, 79_999, 8}, {"", 0, 0, 0, 0}, {source.Cgroup, 1, 95, 80_000, 9}, {
			source.Cgroup, 1,
			96, 80_001, 9,
		},
	}})
	for i, want := range []uint64{80_000, 80_000, 0, 80_000, 80_001} {
		s, err := h.Snapshot(context.Background())
		if err != nil {
			if want != 0 {
				t.Fatal(err)
			}
			continue
		}
		if v, ok := s.Host.Get(source.HostCPUIdle); !ok || v != want {
			t.Errorf("step %d: %d, known %t, want %d", i, v, ok, want)
		}
		if _, ok := s.Host.Get(source.HostCPUIOWait); ok {
			t.Errorf("step %d: a counter that the source does not have", i)
		}
	}
}
