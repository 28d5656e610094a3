// Package scan splits text of the kernel into lines, words and numbers, on bytes and
// without allocations. Unknown text is not an error: it is reported as not found.
package scan

import (
	"bytes"
	"math"
)

// Line returns the first line of b and the remaining text.
func Line(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// Word returns the first word of b, empty at the end, and the remaining text. NUL
// separates words as well: some FUSE file systems pad files with it.
func Word(b []byte) (word, rest []byte) {
	start := 0
	for start < len(b) && space(b[start]) {
		start++
	}
	end := start
	for end < len(b) && !space(b[end]) {
		end++
	}
	return b[start:end], b[end:]
}

func space(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == 0
}

// Uint parses b as an unsigned decimal number.
func Uint(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || v > math.MaxUint64/10 || v*10 > math.MaxUint64-d {
			return 0, false
		}
		v = v*10 + d
	}
	return v, true
}

// Counter parses a counter. The kernel has some in signed fields that corrections can
// make negative: these are zero.
func Counter(b []byte) (uint64, bool) {
	if len(b) > 1 && b[0] == '-' {
		_, ok := Uint(b[1:])
		return 0, ok
	}
	return Uint(b)
}

// Amount parses a number of bytes or nanoseconds. The kernel has these in signed 64-bit
// fields: a larger number is a negative one.
func Amount(b []byte) (uint64, bool) {
	v, ok := Uint(b)
	if !ok || v > math.MaxInt64 {
		return 0, false
	}
	return v, true
}

// Times multiplies an amount by its unit; false on overflow.
func Times(v, unit uint64) (uint64, bool) {
	if unit != 0 && v > math.MaxInt64/unit {
		return 0, false
	}
	return v * unit, true
}

// Value finds the number after a key at the start of a line: "key 123", "key: 123 kB",
// "key:123kB". found is true if the key exists, ok if an Amount follows it. The first
// valid line counts.
func Value(b []byte, key string) (v uint64, found, ok bool) {
	for len(b) > 0 {
		var line []byte
		line, b = Line(b)
		if len(line) < len(key) || string(line[:len(key)]) != key {
			continue
		}
		rest := line[len(key):]
		if len(rest) > 0 && rest[0] == ':' {
			rest = rest[1:]
		} else if len(rest) > 0 && !space(rest[0]) {
			continue // a longer key
		}
		word, _ := Word(rest)
		if v, ok = Amount(bytes.TrimSuffix(word, []byte("kB"))); ok {
			return v, true, true
		}
		found = true
	}
	return 0, found, false
}
