package policytest

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policytest/promtest"
	"github.com/estiba/estiba/manager/promql"
)

// Cases without begin are a day apart, from this day on.
var testEpoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	testDistance = 24 * time.Hour
	testDays     = 366
)

func beginOf(c config.TestCase, i int) time.Time {
	if !c.Begin.IsZero() {
		return c.Begin
	}
	return testEpoch.Add(time.Duration(i%testDays) * testDistance)
}

const (
	lookBack    = 5 * time.Minute      // of Prometheus
	farthest    = 366 * 24 * time.Hour // between two cases: more needs too many blocks
	stepsAtOnce = 10_000               // query_range allows 11,000
)

// span is a time range.
type span struct{ from, to time.Time }

func (s span) wider(by time.Duration) span { return span{s.from.Add(-by), s.to.Add(by)} }

func (s span) meets(o span) bool { return !s.to.Before(o.from) && !o.to.Before(s.from) }

// host runs the Prometheus that the cases of a file use.
type host struct {
	binary  string
	rules   []byte
	reach   time.Duration // how far queries of the policy look, in both directions
	bounded bool          // false: they can look at any time

	server  *promtest.Server
	client  *promql.Client
	written []span
}

// prometheus returns a Prometheus without data that a case over whole can read. It is
// that of earlier cases, if they are far enough.
func (h *host) prometheus(ctx context.Context, whole span) (*promql.Client, *promtest.Server, error) {
	if now := time.Now(); whole.to.After(now) {
		return nil, nil, fmt.Errorf("ends at %s: Prometheus accepts no samples from the future", whole.to.Format(time.RFC3339))
	}
	fresh := h.server == nil
	for _, w := range h.written {
		fresh = fresh || !h.bounded || w.meets(whole.wider(h.reach+lookBack)) || !w.meets(whole.wider(farthest))
	}
	if fresh {
		if err := h.close(); err != nil {
			return nil, nil, err
		}
		server, err := promtest.Start(ctx, h.binary, h.rules)
		if err != nil {
			return nil, nil, err
		}
		h.server = server
		if h.client, err = promql.New(server.URL, "", "", gather.QueryTimeout); err != nil {
			return nil, nil, err
		}
	}
	h.written = append(h.written, whole)
	return h.client, h.server, nil
}

func (h *host) close() error {
	if h.server == nil {
		return nil
	}
	server := h.server
	h.server, h.written = nil, nil
	return server.Close()
}

// reachOf is how far queries of the policy look from the time of a tick, recording
// rules included, as if each one read all others. It is unbounded if a query has a time
// with @.
func reachOf(c *config.Config, rules recordingRules) (reach time.Duration, bounded bool, err error) {
	bounded = true
	look := func(query string) (time.Duration, error) {
		tree, err := parser.NewParser(parser.Options{}).ParseExpr(query)
		if err != nil {
			return 0, err
		}
		sum := time.Duration(0)
		parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
			switch n := n.(type) {
			case *parser.VectorSelector:
				sum += n.OriginalOffset.Abs()
				bounded = bounded && n.Timestamp == nil && n.StartOrEnd == 0
			case *parser.MatrixSelector:
				sum += n.Range
			case *parser.SubqueryExpr:
				sum += n.Range + n.OriginalOffset.Abs()
				bounded = bounded && n.Timestamp == nil && n.StartOrEnd == 0
			}
			return nil
		})
		return sum, nil
	}
	for _, r := range c.Rules {
		one, err := look(r.Query)
		if err != nil {
			return 0, false, fmt.Errorf("rule %s: %w", r.Name, err)
		}
		reach = max(reach, one)
	}
	for _, r := range rules {
		one, err := look(r.Expr)
		if err != nil {
			return 0, false, fmt.Errorf("recording rule %s: %w", r.Record, err)
		}
		reach += one
	}
	return reach, bounded, nil
}
