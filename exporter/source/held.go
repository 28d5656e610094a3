package source

import (
	"context"
	"sync"
)

// Held keeps the host's counters from decreasing. In the kernel idle and iowait can
// decrease: they are estimates for a sleeping CPU, corrected when it wakes
// (proc_stat(5)). A smaller value is replaced by the last one.
type Held struct {
	source Source

	mu   sync.Mutex
	last [NumHostFields]uint64
}

// NewHeld wraps a source.
func NewHeld(s Source) *Held { return &Held{source: s} }

// Name returns the name of the wrapped source.
func (h *Held) Name() string { return h.source.Name() }

// Snapshot collects a snapshot.
func (h *Held) Snapshot(ctx context.Context) (*Snapshot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, err := h.source.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range hostCounters() {
		if v, ok := s.Host.Get(f); ok {
			h.last[f] = max(h.last[f], v)
			s.Host.Set(f, h.last[f])
		}
	}
	return s, nil
}
