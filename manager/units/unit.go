// Package units finds the units of query results, and formats values for display: an
// age as 2d 2h, bytes as 476 MiB.
package units

import (
	"math"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Unit is the unit of a number. The zero Unit is a plain number.
type Unit struct {
	of        dimension
	perSecond bool
	scale     float64 // factor in the query; 0 is 1
}

type dimension uint8

const (
	plain   dimension = iota
	one               // always 1, such as info metrics
	ratio             // quotient of two amounts of the same unit
	percent           // 100 is all
	seconds           // duration
	moment            // a time, in seconds since 1970
	bytes
)

// Of is the unit of a query's values, as far as it follows from metric names and
// operations. A query that is not PromQL has plain numbers.
func Of(query string) Unit {
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		return Unit{}
	}
	return of(tree)
}

func of(e parser.Expr) Unit {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return of(e.Expr)
	case *parser.UnaryExpr:
		return of(e.Expr)
	case *parser.StepInvariantExpr:
		return of(e.Expr)
	case *parser.SubqueryExpr:
		return of(e.Expr)
	case *parser.MatrixSelector:
		return of(e.VectorSelector)
	case *parser.VectorSelector:
		return ofMetric(nameOf(e))
	case *parser.AggregateExpr:
		switch e.Op {
		case parser.GROUP:
			return Unit{of: one}
		case parser.COUNT, parser.COUNT_VALUES, parser.STDVAR:
			return Unit{}
		}
		u := of(e.Expr)
		if e.Op == parser.SUM && (u.of == moment || u.of == one) {
			return Unit{} // a sum of dates has no meaning
		}
		return u
	case *parser.Call:
		return ofCall(e)
	case *parser.BinaryExpr:
		return ofBinary(e)
	}
	return Unit{}
}

// nameOf is the metric name of s, "" if it may be several.
func nameOf(s *parser.VectorSelector) string {
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return s.Name
}

// ofMetric finds the unit in a metric's name, by Prometheus' conventions
// (https://prometheus.io/docs/practices/naming/).
func ofMetric(name string) Unit {
	// A recorded series is level:metric:operations.
	parts := strings.Split(name, ":")
	if last := parts[len(parts)-1]; len(parts) > 1 {
		switch {
		case strings.HasPrefix(last, "bytes_rate"):
			return Unit{of: bytes, perSecond: true}
		case last == "percent" || last == "ratio" || last == "bytes" || last == "seconds":
			name = "_" + last
		}
	}
	name = strings.TrimSuffix(name, "_total")
	for _, s := range []struct {
		suffix string
		of     dimension
	}{
		{"_info", one},
		{"_timestamp_seconds", moment},
		{"_time_seconds", moment},
		{"_seconds", seconds},
		{"_bytes", bytes},
		{"_percent", percent},
		{"_ratio", ratio},
	} {
		if strings.HasSuffix(name, s.suffix) {
			return Unit{of: s.of}
		}
	}
	return Unit{}
}

func ofCall(c *parser.Call) Unit {
	// The measured argument: quantile_over_time has another one before it.
	var measured Unit
	for _, arg := range c.Args {
		if t := arg.Type(); t == parser.ValueTypeVector || t == parser.ValueTypeMatrix {
			measured = of(arg)
			break
		}
	}
	switch c.Func.Name {
	case "time", "timestamp":
		return Unit{of: moment}
	case "vector":
		return of(c.Args[0])
	case "rate", "irate", "deriv":
		if measured.of == bytes {
			measured.perSecond = true
			return measured
		}
		return Unit{}
	case "abs", "ceil", "floor", "round", "clamp", "clamp_min", "clamp_max", "scalar", "sort", "sort_desc", "sort_by_label", "sort_by_label_desc",
		"label_replace", "label_join", "info", "predict_linear", "double_exponential_smoothing",
		"avg_over_time", "max_over_time", "min_over_time", "sum_over_time", "last_over_time", "first_over_time", "quantile_over_time":
		return measured
	case "increase", "delta", "idelta", "stddev_over_time", "mad_over_time":
		return measured.difference()
	}
	return Unit{}
}

func ofBinary(b *parser.BinaryExpr) Unit {
	left, right := of(b.LHS), of(b.RHS)
	a, leftNumber := constant(b.LHS)
	z, rightNumber := constant(b.RHS)
	switch {
	case b.Op.IsComparisonOperator():
		switch {
		case b.ReturnBool:
			return Unit{}
		case b.LHS.Type() == parser.ValueTypeScalar: // the vector's values
			return right
		}
		return left
	case b.Op == parser.LAND || b.Op == parser.LUNLESS || b.Op == parser.MOD:
		return left
	case leftNumber && rightNumber:
		return Unit{}
	}
	switch b.Op {
	case parser.LOR:
		if left == right {
			return left
		}
	case parser.ADD, parser.SUB:
		switch {
		case rightNumber:
			return left
		case leftNumber:
			return right
		// A time minus something is a time, whatever its name.
		case left.of == moment && (right.of == moment || right == Unit{}) && b.Op == parser.SUB:
			return Unit{of: seconds}
		case left.of == moment && right.of == seconds:
			return left
		case left == right:
			return left
		}
	case parser.MUL:
		switch {
		case rightNumber:
			return left.times(z)
		case leftNumber:
			return right.times(a)
		case right.of == one:
			return left
		case left.of == one:
			return right
		}
	case parser.DIV:
		switch {
		case rightNumber:
			return left.times(1 / z)
		case right.of == one:
			return left
		case left.of == right.of && left.perSecond == right.perSecond && left.of >= percent && left.of != moment:
			return Unit{of: ratio}.times(left.factor() / right.factor())
		}
	}
	return Unit{}
}

// constant is the value of a constant expression.
func constant(e parser.Expr) (float64, bool) {
	switch e := e.(type) {
	case *parser.NumberLiteral:
		return e.Val, true
	case *parser.ParenExpr:
		return constant(e.Expr)
	case *parser.StepInvariantExpr:
		return constant(e.Expr)
	case *parser.UnaryExpr:
		v, ok := constant(e.Expr)
		if e.Op == parser.SUB {
			v = -v
		}
		return v, ok
	case *parser.BinaryExpr:
		a, known := constant(e.LHS)
		b, also := constant(e.RHS)
		if !known || !also {
			return 0, false
		}
		switch e.Op {
		case parser.ADD:
			return a + b, true
		case parser.SUB:
			return a - b, true
		case parser.MUL:
			return a * b, true
		case parser.DIV:
			return a / b, true
		case parser.POW:
			return math.Pow(a, b), true
		}
	}
	return 0, false
}

func (u Unit) factor() float64 {
	if u.scale == 0 {
		return 1
	}
	return u.scale
}

// times is the unit of a product. The sign stays in the number: -1 * memory ranks by
// memory in reverse.
func (u Unit) times(by float64) Unit {
	by = math.Abs(by) * u.factor()
	if u.of == plain || u.of == one || u.of == moment && by != 1 || by == 0 || math.IsInf(by, 0) || math.IsNaN(by) {
		return Unit{}
	}
	if u.scale = by; by == 1 {
		u.scale = 0
	}
	return u
}

// difference is the unit of a difference.
func (u Unit) difference() Unit {
	if u.of == moment {
		return Unit{of: seconds}
	}
	return u
}
