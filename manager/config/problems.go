package config

import (
	"fmt"
	"strings"
)

// Problem is one error in a policy file.
type Problem struct {
	Path    string // "rules[1].for"; empty for the file as a whole
	Line    int    // 1-based; 0 if unknown
	Message string
}

// String returns "rules[1].for: 5s is shorter than interval 10s (line 14)".
func (p Problem) String() string {
	var b strings.Builder
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	if p.Line > 0 {
		fmt.Fprintf(&b, " (line %d)", p.Line)
	}
	return b.String()
}

// Problems are all errors of a file, in the order of the file.
type Problems []Problem

// Error lists the errors, one per line if there are several.
func (p Problems) Error() string {
	if len(p) == 1 {
		return p[0].String()
	}
	lines := make([]string, 0, len(p)+1)
	lines = append(lines, fmt.Sprintf("%d errors:", len(p)))
	for _, one := range p {
		lines = append(lines, "  "+one.String())
	}
	return strings.Join(lines, "\n")
}
