// Package policies holds the shipped policy files.
package policies

import _ "embed" // the default policy is part of the program

// OneOfEachKind is the built-in policy.
//
//go:embed one-of-each-kind.yml
var OneOfEachKind []byte

// HighLow keeps the two busiest high and the three busiest low containers.
//
//go:embed high-low.yml
var HighLow []byte
