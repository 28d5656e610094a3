package top

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Machine is what a snapshot lacks of its host.
type Machine struct {
	Name     string
	Load     [3]Value // of 1, 5 and 15 minutes
	Pressure [3]Value // ns that some task waited for CPU, memory and I/O
}

// ReadMachine reads below the host's /proc. What cannot be read is unknown: kernels
// without pressure stall information have no such files.
func ReadMachine(procfs string) Machine {
	read := func(name ...string) string {
		b, err := os.ReadFile(filepath.Join(append([]string{procfs}, name...)...))
		if err != nil {
			return ""
		}
		return string(b)
	}
	m := Machine{Name: strings.TrimSpace(read("sys", "kernel", "hostname")), Load: parseLoad(read("loadavg"))}
	for i, resource := range []string{"cpu", "memory", "io"} {
		m.Pressure[i] = parsePressure(read("pressure", resource))
	}
	return m
}

// parseLoad parses /proc/loadavg (proc_loadavg(5)).
func parseLoad(text string) (load [3]Value) {
	fields := strings.Fields(text)
	if len(fields) < len(load) {
		return load
	}
	for i := range load {
		if v, err := strconv.ParseFloat(fields[i], 64); err == nil && v >= 0 {
			load[i] = Known(v)
		}
	}
	return load
}

// parsePressure returns the total of the line "some" in ns; the kernel writes µs
// (Documentation/accounting/psi.rst).
func parsePressure(text string) Value {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "some ")
		if !ok {
			continue
		}
		for _, field := range strings.Fields(rest) {
			total, ok := strings.CutPrefix(field, "total=")
			if v, err := strconv.ParseUint(total, 10, 64); ok && err == nil {
				return Known(float64(v) * 1000)
			}
		}
	}
	return Value{}
}
