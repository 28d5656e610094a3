package source

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Shared shares one snapshot between concurrent callers. Each returns when its own
// context ends, even if the source hangs in the kernel. At most one collection runs at
// a time.
type Shared struct {
	source  Source
	timeout time.Duration

	mu      sync.Mutex
	running *flight
}

type flight struct {
	done     chan struct{}
	snapshot *Snapshot
	err      error
}

// NewShared wraps a source; a collection is cancelled after timeout.
func NewShared(s Source, timeout time.Duration) *Shared {
	return &Shared{source: s, timeout: timeout}
}

// Name returns the name of the wrapped source.
func (s *Shared) Name() string { return s.source.Name() }

// Snapshot joins the running collection or starts one.
func (s *Shared) Snapshot(ctx context.Context) (*Snapshot, error) {
	s.mu.Lock()
	f := s.running
	if f == nil {
		f = &flight{done: make(chan struct{})}
		s.running = f
		go s.collect(f)
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.snapshot, f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a snapshot: %w", ctx.Err())
	}
}

func (s *Shared) collect(f *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	f.snapshot, f.err = s.source.Snapshot(ctx)
	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
	close(f.done)
}
