// Package cgroupfile parses files of cgroup v1 and v2: pure functions on bytes
// (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/).
package cgroupfile

import (
	"bytes"

	"github.com/estiba/estiba/exporter/source/scan"
)

// Number parses a file with a single number.
func Number(b []byte) (uint64, bool) {
	word, rest := scan.Word(b)
	if more, _ := scan.Word(rest); len(more) > 0 {
		return 0, false
	}
	return scan.Amount(word)
}

// unlimited is above any real v1 limit: the kernel writes "no limit" as the largest
// multiple of a page in 63 bits.
const unlimited = 1 << 62

// Limit parses a file with a single limit. limited is false for no limit: a huge number
// or -1 in v1, "max" in v2.
func Limit(b []byte) (v uint64, limited, ok bool) {
	word, rest := scan.Word(b)
	if more, _ := scan.Word(rest); len(more) > 0 {
		return 0, false, false
	}
	if string(word) == "max" || string(word) == "-1" {
		return 0, false, true
	}
	v, ok = scan.Uint(word)
	return v, ok && v < unlimited, ok
}

// Value finds "key 123" at the start of a line and multiplies it by a unit. found is
// false if the key is missing: kernels differ.
func Value(b []byte, key string, unit uint64) (v uint64, found, ok bool) {
	v, found, ok = scan.Value(b, key)
	if !ok {
		return 0, found, false
	}
	v, ok = scan.Times(v, unit)
	return v, true, ok
}

// Throttled returns the throttled time from cpu.stat in ns: v2 has µs, v1
// (scheduler/sched-bwc.rst) ns.
func Throttled(b []byte) (v uint64, found, ok bool) {
	if v, found, ok = Value(b, "throttled_usec", 1000); found {
		return v, found, ok
	}
	return Value(b, "throttled_time", 1)
}

// Waited returns the total of the first valid line "some" of a PSI file, in ns
// (accounting/psi.rst).
func Waited(b []byte) (uint64, bool) {
	for len(b) > 0 {
		var line []byte
		line, b = scan.Line(b)
		word, rest := scan.Word(line)
		if string(word) != "some" {
			continue
		}
		for len(rest) > 0 {
			word, rest = scan.Word(rest)
			total, is := bytes.CutPrefix(word, []byte("total="))
			if !is {
				continue
			}
			v, ok := scan.Uint(total)
			if ns, fits := scan.Times(v, 1000); ok && fits {
				return ns, true
			}
		}
	}
	return 0, false
}
