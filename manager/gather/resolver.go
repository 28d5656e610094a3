package gather

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Limits of name lookups.
const (
	maxNames    = 8               // parallel lookups
	nameTimeout = 2 * time.Second // per lookup
	nameWait    = time.Second     // per refresh, for names that have never resolved
	nameRetry   = 5 * time.Second // after a failure
)

// resolver caches the addresses of names. After a failed lookup the previous addresses
// stay. Lookups run in the background, so reading an address never waits.
type resolver struct {
	lookup  func(ctx context.Context, host string) ([]string, error)
	changed func() // called after each lookup
	slots   chan struct{}

	mu    sync.Mutex
	names map[string]*name
}

// name is one name's state.
type name struct {
	addresses map[string]*absence
	resolved  bool          // at least once
	next      time.Time     // time of the next lookup
	pending   chan struct{} // closed after the current lookup; nil: none
}

func newResolver(lookup func(ctx context.Context, host string) ([]string, error), changed func()) *resolver {
	return &resolver{lookup: lookup, changed: changed, slots: make(chan struct{}, maxNames), names: map[string]*name{}}
}

// of returns the addresses of a name, and whether it has ever resolved.
func (r *resolver) of(host string) (addresses []string, resolved bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.names[host]
	if n == nil {
		return nil, false
	}
	for a := range n.addresses {
		addresses = append(addresses, a)
	}
	return addresses, n.resolved
}

// refresh looks up the names that are due and drops the names that are not in hosts. It
// waits shortly for names that have never resolved.
func (r *resolver) refresh(ctx context.Context, now time.Time, hosts map[string]bool) {
	begun := time.Now()
	var wait []chan struct{}
	r.mu.Lock()
	for host := range r.names {
		if !hosts[host] {
			delete(r.names, host)
		}
	}
	for host := range hosts {
		n := r.names[host]
		if n == nil {
			n = &name{addresses: map[string]*absence{}}
			r.names[host] = n
		}
		due := !now.Before(n.next) || n.next.Sub(now) > derivedTTL // the clock was set back
		if n.pending == nil && due {
			n.pending = make(chan struct{})
			go r.look(host, n, now, begun)
		}
		if n.pending != nil && !n.resolved {
			wait = append(wait, n.pending)
		}
	}
	r.mu.Unlock()
	patience := time.NewTimer(nameWait)
	defer patience.Stop()
	for _, done := range wait {
		select {
		case <-done:
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// look looks up one name. It was due at now on the caller's clock, which was begun on
// the local clock.
func (r *resolver) look(host string, n *name, now, begun time.Time) {
	r.slots <- struct{}{}
	ctx, cancel := context.WithTimeout(context.Background(), nameTimeout)
	found, err := r.lookup(ctx, host)
	cancel()
	<-r.slots
	now = now.Add(time.Since(begun))

	r.mu.Lock()
	done := n.pending
	n.pending = nil
	if err != nil || len(found) == 0 {
		n.next = now.Add(nameRetry)
	} else {
		n.resolved, n.next = true, now.Add(derivedTTL)
		for i := range found {
			found[i] = normal(found[i])
			n.addresses[found[i]] = &absence{}
		}
		for a, f := range n.addresses {
			if !slices.Contains(found, a) && f.missing(now) {
				delete(n.addresses, a)
			}
		}
	}
	r.mu.Unlock()
	r.changed()
	close(done)
}
