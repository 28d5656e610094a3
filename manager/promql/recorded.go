package promql

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// recordedTTL is how long Prometheus' list of recording rules is believed.
const recordedTTL = time.Minute

// recorded knows how far back recording rules look: a query over a recorded
// 30 s rate needs 30 s of history, though its own text has no range.
type recorded struct {
	mu    sync.Mutex
	at    time.Time
	reach map[string]time.Duration // by recorded name
}

// reachOf is how far into the past e looks, recording rules included. An
// error means that it cannot be known.
func (r *recorded) reachOf(ctx context.Context, api API, e Expr, now time.Time) (time.Duration, error) {
	asks := false
	for _, n := range e.names {
		asks = asks || strings.Contains(n, ":")
	}
	if !asks {
		return e.reach, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reach == nil || now.Sub(r.at) > recordedTTL {
		found, err := loadRecorded(ctx, api)
		if err != nil {
			return 0, err
		}
		r.reach, r.at = found, now
	}
	deepest := time.Duration(0)
	for _, n := range e.names {
		deepest = max(deepest, r.reach[n])
	}
	return e.reach + deepest, nil
}

// loadRecorded reads the rules and adds up those that are built on others.
func loadRecorded(ctx context.Context, api API) (map[string]time.Duration, error) {
	answer, err := api.Rules(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("asking Prometheus for its recording rules: %w", err)
	}
	exprs := map[string][]Expr{} // one name may be recorded by several rules
	for _, g := range answer.Groups {
		for _, rule := range g.Rules {
			rec, ok := rule.(v1.RecordingRule)
			if !ok {
				continue
			}
			e, err := ParseExpr(rec.Query, "")
			if err != nil {
				return nil, fmt.Errorf("recording rule %s: %w", rec.Name, err)
			}
			exprs[rec.Name] = append(exprs[rec.Name], e)
		}
	}
	reach := make(map[string]time.Duration, len(exprs))
	var resolve func(name string, depth int) time.Duration
	resolve = func(name string, depth int) time.Duration {
		if d, ok := reach[name]; ok || depth > len(exprs) { // a circle ends here
			return d
		}
		deepest := time.Duration(0)
		for _, e := range exprs[name] {
			below := time.Duration(0)
			for _, n := range e.names {
				below = max(below, resolve(n, depth+1))
			}
			deepest = max(deepest, e.reach+below)
		}
		reach[name] = deepest
		return deepest
	}
	for name := range exprs {
		resolve(name, 0)
	}
	return reach, nil
}
