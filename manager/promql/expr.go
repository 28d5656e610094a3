package promql

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Expr is a parsed query.
type Expr struct {
	text   string
	line   *Threshold    // nil if the query is no comparison
	scalar bool          // the result is a number, not a vector
	reads  []selector    // what it reads, without label matchers
	reach  time.Duration // how far into the past it looks by itself
	// oldest is the oldest time that it reads because of @; zero is none.
	oldest time.Time
	edge   bool // it has @ start() or @ end()
}

// selector is the part of a vector selector that matches metric names. If empty, it
// matches all.
type selector []*labels.Matcher

func (s selector) matches(name string) bool {
	for _, m := range s {
		if !m.Matches(name) {
			return false
		}
	}
	return true
}

// exact is the only name that it matches, if there is one.
func (s selector) exact() string {
	for _, m := range s {
		if m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

// reachAt is how far into the past it looks by itself when evaluated at a time.
func (e Expr) reachAt(at time.Time) time.Duration {
	if e.oldest.IsZero() {
		return e.reach
	}
	return max(e.reach, at.Sub(e.oldest))
}

// String is the query as sent to Prometheus.
func (e Expr) String() string { return e.text }

// ParseExpr parses query and, with a host, adds the matcher host="…" to each selector,
// so that it reads that host only.
func ParseExpr(query, host string) (Expr, error) {
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		return Expr{}, fmt.Errorf("parsing query: %w", err)
	}
	if host != "" {
		if err := onlyHost(tree, host); err != nil {
			return Expr{}, err
		}
	}
	e := Expr{text: strings.TrimSpace(query), scalar: tree.Type() == parser.ValueTypeScalar}
	if host != "" {
		e.text = tree.String()
	}
	e.line = thresholdOf(tree)
	parser.Inspect(tree, func(n parser.Node, path []parser.Node) error {
		s, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		e.reads = append(e.reads, selectorOf(s))
		// From the outside in: each range and offset goes further back from the
		// evaluation time of the inner part, unless @ sets that time.
		var pinned time.Time
		reach := time.Duration(0)
		at := func(stamp *int64, edge parser.ItemType) {
			if stamp != nil {
				pinned, reach = time.UnixMilli(*stamp), 0
			} else if edge != 0 {
				pinned, reach, e.edge = time.Time{}, 0, true
			}
		}
		for _, above := range path {
			if a, ok := above.(*parser.SubqueryExpr); ok {
				at(a.Timestamp, a.StartOrEnd)
				reach += a.Range + a.OriginalOffset
			}
		}
		at(s.Timestamp, s.StartOrEnd)
		reach += s.OriginalOffset
		if len(path) > 0 {
			if a, ok := path[len(path)-1].(*parser.MatrixSelector); ok {
				reach += a.Range
			}
		}
		if pinned.IsZero() {
			e.reach = max(e.reach, reach)
		} else if first := pinned.Add(-reach); e.oldest.IsZero() || first.Before(e.oldest) {
			e.oldest = first
		}
		return nil
	})
	return e, nil
}

// Threshold is the threshold of a query that compares with a number, such as usage >
// 90.
type Threshold struct {
	Left  Expr    // what is compared
	Value float64 // what it is compared with
	Below bool    // it selects values below
}

// Threshold is the query's threshold; nil if it has none.
func (e Expr) Threshold() *Threshold { return e.line }

func thresholdOf(tree parser.Expr) *Threshold {
	for {
		p, ok := tree.(*parser.ParenExpr)
		if !ok {
			break
		}
		tree = p.Expr
	}
	b, ok := tree.(*parser.BinaryExpr)
	if !ok || b.ReturnBool || b.LHS.Type() != parser.ValueTypeVector {
		return nil
	}
	number, ok := b.RHS.(*parser.NumberLiteral)
	if !ok || math.IsNaN(number.Val) || math.IsInf(number.Val, 0) {
		return nil
	}
	l := &Threshold{Left: Expr{text: b.LHS.String()}, Value: number.Val}
	switch b.Op {
	case parser.GTR, parser.GTE:
	case parser.LSS, parser.LTE:
		l.Below = true
	default:
		return nil
	}
	return l
}

// onlyHost adds the matcher to each selector. Existing matchers stay, so a query for
// another host has no result.
func onlyHost(tree parser.Expr, host string) error {
	want, err := labels.NewMatcher(labels.MatchEqual, "host", host)
	if err != nil {
		return fmt.Errorf("host %q: %w", host, err)
	}
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			s.LabelMatchers = append(s.LabelMatchers, want)
		}
		return nil
	})
	return nil
}

// selectorOf keeps the matchers of the name; a name before the braces is one of them.
func selectorOf(s *parser.VectorSelector) selector {
	var list selector
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel {
			list = append(list, m)
		}
	}
	return list
}
