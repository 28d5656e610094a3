package procfile

import (
	"github.com/estiba/estiba/exporter/source/scan"
)

// Meminfo has the used values of /proc/meminfo (proc_meminfo(5)), in kB.
type Meminfo struct {
	Total, Free, Available, SwapTotal, SwapFree Number
}

// Number is an optional value.
type Number struct {
	Value uint64
	Known bool
}

// ParseMeminfo parses /proc/meminfo. bad is the number of used lines that were not
// parsable. A total of 0 is invalid.
func ParseMeminfo(b []byte) (m Meminfo, bad int) {
	for _, line := range []struct {
		key string
		to  *Number
	}{{"MemTotal", &m.Total}, {"MemFree", &m.Free}, {"MemAvailable", &m.Available}, {"SwapTotal", &m.SwapTotal}, {"SwapFree", &m.SwapFree}} {
		v, found, ok := scan.Value(b, line.key)
		if _, fits := scan.Times(v, 1024); found && !(ok && fits) || ok && v == 0 && line.to == &m.Total {
			bad++
			continue
		}
		*line.to = Number{v, ok}
	}
	return m, bad
}

// The columns of the line "cpu" of /proc/stat, in order.
const (
	User = iota
	Nice
	System
	Idle
	IOWait
	IRQ
	SoftIRQ
	Steal
	Guest
	GuestNice

	NumModes
)

// HostStat has the used values of /proc/stat (proc_stat(5)).
type HostStat struct {
	Modes [NumModes]Number // ticks, of all CPUs
	CPUs  int              // number of CPU lines; 0: unknown
	Boot  Number           // seconds since the Unix epoch
}

// ParseHostStat parses /proc/stat. bad is the number of used values that were not
// parsable. Old kernels have fewer columns. In a duplicate line the first valid value of
// each column counts.
func ParseHostStat(b []byte) (s HostStat, bad int) {
	var odd [NumModes]bool
	oddBoot := false
	for len(b) > 0 {
		var line []byte
		line, b = scan.Line(b)
		key, rest := scan.Word(line)
		switch {
		case string(key) == "cpu":
			for i := range s.Modes {
				var word []byte
				if word, rest = scan.Word(rest); len(word) == 0 {
					break
				}
				if s.Modes[i].Known {
					continue
				}
				v, ok := scan.Counter(word)
				if _, fits := scan.Times(v, TickNS); !ok || !fits {
					odd[i] = true
					continue
				}
				s.Modes[i] = Number{v, true}
			}
		case len(key) > 3 && string(key[:3]) == "cpu":
			if _, ok := scan.Uint(key[3:]); ok {
				s.CPUs++
			}
		case string(key) == "btime" && !s.Boot.Known:
			word, _ := scan.Word(rest)
			v, ok := scan.Uint(word)
			if _, fits := scan.Times(v, 1e9); !ok || !fits || v == 0 {
				oddBoot = true
				continue
			}
			s.Boot = Number{v, true}
		}
	}
	for i := range odd {
		if odd[i] && !s.Modes[i].Known {
			bad++
		}
	}
	if oddBoot && !s.Boot.Known {
		bad++
	}
	return s, bad
}

// The unit of times in /proc/PID/stat and /proc/stat: 100 per second on every
// architecture (times(2)).
const (
	TicksPerSecond        = 100
	TickNS         uint64 = 1e9 / TicksPerSecond
)
