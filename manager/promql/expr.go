package promql

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Expr is a query that has been parsed once.
type Expr struct {
	text   string
	line   *Line         // nil when the query is no comparison
	scalar bool          // gives a number, not a vector
	names  []string      // metric names that its selectors ask for
	reach  time.Duration // how far into the past it looks on its own
}

// String is the query as it is sent to Prometheus.
func (e Expr) String() string { return e.text }

// ParseExpr parses query and, with a host, puts the matcher host="…" into
// every selector of it, so that it can see that host alone.
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
	e.line = lineOf(tree)
	parser.Inspect(tree, func(n parser.Node, path []parser.Node) error {
		s, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		e.names = append(e.names, metricName(s))
		reach := s.OriginalOffset
		for _, above := range path {
			switch a := above.(type) {
			case *parser.MatrixSelector:
				reach += a.Range
			case *parser.SubqueryExpr:
				reach += a.Range + a.OriginalOffset
			}
		}
		e.reach = max(e.reach, reach)
		return nil
	})
	return e, nil
}

// Line is the threshold of a query that compares something with a number, as
// usage > 90 does.
type Line struct {
	Left  Expr    // what is compared
	Value float64 // what it is compared with
	Below bool    // it selects what lies below
}

// Line is the query's threshold; nil when it has none.
func (e Expr) Line() *Line { return e.line }

func lineOf(tree parser.Expr) *Line {
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
	if !ok {
		return nil
	}
	l := &Line{Left: Expr{text: b.LHS.String()}, Value: number.Val}
	switch b.Op {
	case parser.GTR, parser.GTE:
	case parser.LSS, parser.LTE:
		l.Below = true
	default:
		return nil
	}
	return l
}

// onlyHost adds the matcher to each selector. Matchers that stand there stay and
// must hold too, so a query that names another host finds nothing.
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

func metricName(s *parser.VectorSelector) string {
	if s.Name != "" {
		return s.Name
	}
	for _, m := range s.LabelMatchers {
		if m.Name == labels.MetricName && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}
