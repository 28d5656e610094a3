package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// identity is the label that identifies a sample's container.
const identity = "id"

// neverHasID is why no sample of an expression can have the label id, and what to write
// instead; "" if a sample may have it. The labels of metrics are unknown here, so it
// only returns what is certain.
func neverHasID(e parser.Expr) string {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return neverHasID(e.Expr)
	case *parser.UnaryExpr:
		return neverHasID(e.Expr)
	case *parser.StepInvariantExpr:
		return neverHasID(e.Expr)
	case *parser.SubqueryExpr:
		return neverHasID(e.Expr)
	case *parser.MatrixSelector:
		return neverHasID(e.VectorSelector)
	case *parser.VectorSelector:
		return selectorHasNoID(e)
	case *parser.AggregateExpr:
		return aggregateHasNoID(e)
	case *parser.BinaryExpr:
		return binaryHasNoID(e)
	case *parser.Call:
		return callHasNoID(e)
	}
	return "a number has no labels"
}

func selectorHasNoID(s *parser.VectorSelector) string {
	for _, m := range s.LabelMatchers {
		if m.Name == identity && m.Value == "" && (m.Type == labels.MatchEqual || m.Type == labels.MatchRegexp) {
			return fmt.Sprintf("%s selects the series without it", m)
		}
	}
	return ""
}

func aggregateHasNoID(a *parser.AggregateExpr) string {
	switch a.Op {
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO: // these select samples and do not change them
		return neverHasID(a.Expr)
	case parser.COUNT_VALUES:
		if isText(a.Param, identity) {
			return ""
		}
	}
	listed := slices.Contains(a.Grouping, identity)
	switch {
	case a.Without && listed:
		return fmt.Sprintf("%s without (id) drops it; leave id out of the parentheses", a.Op)
	case !a.Without && !listed:
		by := strings.Join(append([]string{identity}, a.Grouping...), ", ")
		return fmt.Sprintf("%s drops it; write %s by (%s) (…)", a.Op, a.Op, by)
	}
	return neverHasID(a.Expr)
}

func binaryHasNoID(b *parser.BinaryExpr) string {
	switch {
	case b.LHS.Type() == parser.ValueTypeScalar:
		return neverHasID(b.RHS)
	case b.RHS.Type() == parser.ValueTypeScalar:
		return neverHasID(b.LHS)
	}
	left, right := neverHasID(b.LHS), neverHasID(b.RHS)
	if b.VectorMatching == nil {
		return firstOf(left, right)
	}
	m := b.VectorMatching
	matched := slices.Contains(m.MatchingLabels, identity) == m.On
	switch b.Op {
	case parser.LOR:
		return both(left, right)
	case parser.LUNLESS:
		return left
	case parser.LAND:
		if matched {
			// A sample without id only matches samples without id on the other side.
			return firstOf(left, right)
		}
		return left
	}
	filled := m.FillValues.LHS != nil || m.FillValues.RHS != nil
	if m.Card == parser.CardOneToOne {
		switch {
		case !matched && m.On:
			return fmt.Sprintf("on (%s) keeps no other label; write on (id), or on (%s) group_left if the left side has it", strings.Join(m.MatchingLabels, ", "), strings.Join(m.MatchingLabels, ", "))
		case !matched:
			return "ignoring (id) drops it; write ignoring (…) group_left if the left side has it"
		case filled: // an unmatched sample stays
			return both(left, right)
		}
		return firstOf(left, right)
	}
	many, one := left, right
	if m.Card == parser.CardOneToMany {
		many, one = right, left
	}
	switch {
	case filled:
		return both(many, one)
	case matched:
		return firstOf(many, one)
	case slices.Contains(m.Include, identity):
		return one
	}
	return many
}

func callHasNoID(c *parser.Call) string {
	switch c.Func.Name {
	case "vector":
		return "vector() has no labels; ask for a metric that has it"
	case "info": // adds labels of other series
		return ""
	case "absent", "absent_over_time":
		if absentHasID(c.Args[0]) {
			return ""
		}
		return fmt.Sprintf("%s() has only those labels that its selector names with =", c.Func.Name)
	}
	why := fmt.Sprintf("%s() has no labels", c.Func.Name)
	for i, arg := range c.Args {
		switch arg.Type() {
		case parser.ValueTypeVector, parser.ValueTypeMatrix:
			if why = neverHasID(arg); why == "" {
				return ""
			}
		case parser.ValueTypeString:
			// label_replace, label_join: the second argument is the written label.
			if i == 1 && isText(arg, identity) {
				return ""
			}
		}
	}
	return why
}

// absentHasID reports whether absent() takes an id from its selector's matchers.
func absentHasID(e parser.Expr) bool {
	has := false
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			for _, m := range s.LabelMatchers {
				has = has || m.Name == identity && m.Type == labels.MatchEqual && m.Value != ""
			}
		}
		return nil
	})
	return has
}

func isText(e parser.Expr, want string) bool {
	for {
		p, ok := e.(*parser.ParenExpr)
		if !ok {
			break
		}
		e = p.Expr
	}
	s, ok := e.(*parser.StringLiteral)
	return ok && s.Val == want
}

// firstOf is the first reason.
func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// both is a reason only if there are two.
func both(a, b string) string {
	if a == "" || b == "" {
		return ""
	}
	return a
}
