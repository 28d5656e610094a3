package top

import (
	"encoding/json"
	"math"
)

// Value is a number that can be unknown; the zero Value is. JSON leaves out unknown
// values (with omitzero).
type Value struct {
	number float64
	known  bool
}

// Known returns a known value. A number that is not finite is unknown.
func Known(v float64) Value {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Value{}
	}
	return Value{v, true}
}

// Get returns the number; false if unknown.
func (v Value) Get() (float64, bool) { return v.number, v.known }

// MarshalJSON writes the number.
func (v Value) MarshalJSON() ([]byte, error) {
	if !v.known {
		return []byte("null"), nil
	}
	return json.Marshal(v.number)
}

// plus adds the known ones of two values; unknown if both are.
func (v Value) plus(o Value) Value {
	if !v.known {
		return o
	}
	if !o.known {
		return v
	}
	return Known(v.number + o.number)
}

// percentOf is v in percent of whole.
func (v Value) percentOf(whole Value) Value {
	if !v.known || !whole.known || whole.number <= 0 {
		return Value{}
	}
	return Known(100 * v.number / whole.number)
}

// larger returns the larger of two values, and the known one if the other is unknown.
func (v Value) larger(o Value) Value {
	if !v.known || o.known && o.number > v.number {
		return o
	}
	return v
}
