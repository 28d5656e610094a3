package procfile

import (
	"bytes"
	"fmt"
	"math"

	"github.com/estiba/estiba/exporter/source/scan"
)

// Stat has the used fields of /proc/PID/stat (proc_pid_stat(5)).
type Stat struct {
	PID     int
	Start   uint64 // ticks of the boot clock, field 22
	Comm    string
	State   byte
	Parent  int
	Exiting bool // has begun to exit: /proc/PID/cgroup says "/" for v1 hierarchies
	Threads uint64
	VSZ     uint64 // bytes
	RSS     uint64 // pages
	User    uint64 // ticks, including reaped children
	System  uint64
	Minor   uint64 // faults, including reaped children
	Major   uint64
	Unknown uint8 // set of unknown counters
}

// The counters of a Stat, for Unknown.
const (
	StatThreads uint8 = 1 << iota
	StatVSZ
	StatRSS
	StatUser
	StatSystem
	StatMinor
	StatMajor
)

// ParseStat parses /proc/PID/stat. comm may contain any byte, including brackets: the
// fields follow the last bracket. A comm equal to the argument shares its memory. An
// invalid counter is Unknown and 0. An error means that the process is not identified;
// if State is set nevertheless, Parent is valid.
func ParseStat(b []byte, comm string) (Stat, error) {
	var p Stat
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 2 || b[open-1] != ' ' || end < open || end+2 > len(b) || b[end+1] != ' ' {
		return p, fmt.Errorf("proc_pid_stat(5): %w", ErrFormat)
	}
	pid, ok := scan.Uint(b[:open-1])
	if !ok || pid > math.MaxInt32 {
		return p, fmt.Errorf("proc_pid_stat(5): %w: pid", ErrFormat)
	}
	p.PID = int(pid)
	if p.Comm = comm; string(b[open+1:end]) != comm {
		p.Comm = string(b[open+1 : end])
	}
	rest := b[end+2:]
	var state byte
	for field := 3; field <= 24; field++ {
		var word []byte
		word, rest = scan.Word(rest)
		whole := len(word) > 0 && len(rest) > 0 // not truncated
		switch field {
		case 3:
			if !whole {
				return p, fmt.Errorf("proc_pid_stat(5): %w: no state", ErrFormat)
			}
			state = word[0]
			continue
		case 4:
			v, ok := scan.Counter(word)
			if !whole || !ok || v > math.MaxInt32 {
				return p, fmt.Errorf("proc_pid_stat(5): %w: ppid", ErrFormat)
			}
			p.State, p.Parent = state, int(v)
			continue
		case 9:
			flags, _ := scan.Uint(word)
			p.Exiting = flags&exiting != 0
			continue
		case 22:
			v, ok := scan.Uint(word)
			if !whole || !ok || v > maxTicks {
				return p, fmt.Errorf("proc_pid_stat(5): %w: starttime", ErrFormat)
			}
			p.Start = v
			continue
		}
		to, which, most := p.number(field)
		if to == nil {
			continue
		}
		if v, ok := scan.Counter(word); !whole || !ok || v > most || *to > most-v {
			p.Unknown |= which
		} else {
			*to += v
		}
	}
	if p.Unknown != 0 {
		p.Keep(&Stat{})
	}
	return p, nil
}

// exiting is PF_EXITING (include/linux/sched.h).
const exiting = 0x4

// Keep copies the unknown counters from o.
func (p *Stat) Keep(o *Stat) {
	for _, each := range [...]struct {
		which uint8
		to    *uint64
		from  uint64
	}{
		{StatThreads, &p.Threads, o.Threads},
		{StatVSZ, &p.VSZ, o.VSZ},
		{StatRSS, &p.RSS, o.RSS},
		{StatUser, &p.User, o.User},
		{StatSystem, &p.System, o.System},
		{StatMinor, &p.Minor, o.Minor},
		{StatMajor, &p.Major, o.Major},
	} {
		if p.Unknown&each.which != 0 {
			*each.to = each.from
		}
	}
}

// Upper limits of valid counters: threads by PID_MAX_LIMIT, virtual memory by 57-bit
// addresses, resident memory by 2^64 bytes, times by 2^63 ns, faults by 2^63.
const (
	maxThreads = 1 << 22
	maxSize    = 1 << 57
	maxPages   = math.MaxUint64 >> 16
	maxTicks   = math.MaxInt64 / TickNS
	maxFaults  = math.MaxInt64
)

// number returns the counter to which a field is added and its upper limit; nil for an
// unused field.
func (p *Stat) number(field int) (to *uint64, which uint8, most uint64) {
	switch field {
	case 10, 11:
		return &p.Minor, StatMinor, maxFaults
	case 12, 13:
		return &p.Major, StatMajor, maxFaults
	case 14, 16:
		return &p.User, StatUser, maxTicks
	case 15, 17:
		return &p.System, StatSystem, maxTicks
	case 20:
		return &p.Threads, StatThreads, maxThreads
	case 23:
		return &p.VSZ, StatVSZ, maxSize
	case 24:
		return &p.RSS, StatRSS, maxPages
	}
	return nil, 0, 0
}

// ParseStatm parses /proc/PID/statm (proc_pid_statm(5)): virtual and resident memory in
// pages, both 0 for a process without memory.
func ParseStatm(b []byte) (size, resident uint64, err error) {
	first, rest := scan.Word(b)
	second, _ := scan.Word(rest)
	size, ok1 := scan.Uint(first)
	resident, ok2 := scan.Uint(second)
	if !ok1 || !ok2 {
		return 0, 0, fmt.Errorf("proc_pid_statm(5): %w", ErrFormat)
	}
	return size, resident, nil
}

// The counters of /proc/PID/io, in the order of IO.
const (
	ReadChars = iota
	WriteChars
	ReadCalls
	WriteCalls
	ReadBytes
	WriteBytes

	NumIO
)

// ioKeys returns their names.
func ioKeys() [NumIO]string {
	return [NumIO]string{"rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes"}
}

// ParseIO parses /proc/PID/io (proc_pid_io(5)).
func ParseIO(b []byte) (counts [NumIO]uint64, err error) {
	for i, key := range ioKeys() {
		v, _, ok := scan.Value(b, key)
		if !ok {
			return counts, fmt.Errorf("proc_pid_io(5): %w: no %s", ErrFormat, key)
		}
		counts[i] = v
	}
	return counts, nil
}

// Status has the used values of /proc/PID/status (proc_pid_status(5)).
type Status struct {
	UID      uint64 // real
	HasUID   bool
	PIDSpace int // number of PID namespaces from the reader's down; 0: unknown
	Name     string
	Parent   int
	HasPPid  bool
	Threads  uint64 // 0: unknown
}

// ParseStatus parses /proc/PID/status. For a duplicate key the first valid value
// counts.
func ParseStatus(b []byte) Status {
	var s Status
	for len(b) > 0 {
		var line []byte
		line, b = scan.Line(b)
		key, rest, _ := bytes.Cut(line, []byte(":"))
		switch string(key) {
		case "Uid":
			real, _ := scan.Word(rest)
			if v, ok := scan.Uint(real); ok && !s.HasUID {
				s.UID, s.HasUID = v, true
			}
		case "Name":
			if s.Name == "" {
				s.Name = string(bytes.TrimSpace(rest))
			}
		case "PPid":
			word, _ := scan.Word(rest)
			if v, ok := scan.Uint(word); ok && v <= math.MaxInt32 && !s.HasPPid {
				s.Parent, s.HasPPid = int(v), true
			}
		case "Threads":
			word, _ := scan.Word(rest)
			if v, ok := scan.Uint(word); ok && v <= maxThreads && s.Threads == 0 {
				s.Threads = v
			}
		case "NSpid":
			for word, rest := scan.Word(rest); len(word) > 0; word, rest = scan.Word(rest) {
				s.PIDSpace++
			}
		}
	}
	return s
}

// ParseMembership parses /proc/PID/cgroup (cgroups(7)) into controller → path. The v2
// hierarchy has the empty name. A path may contain colons.
func ParseMembership(b []byte) map[string]string {
	m := map[string]string{}
	for len(b) > 0 {
		var line []byte
		line, b = scan.Line(b)
		_, rest, ok1 := bytes.Cut(line, []byte(":"))
		controllers, path, ok2 := bytes.Cut(rest, []byte(":"))
		path = bytes.Trim(path, "\x00\r")
		if !ok1 || !ok2 || len(path) == 0 || path[0] != '/' {
			continue
		}
		at := string(path)
		for {
			controller, more, found := bytes.Cut(controllers, []byte(","))
			if _, seen := m[string(controller)]; !seen { // the first line wins
				m[string(controller)] = at
			}
			if !found {
				break
			}
			controllers = more
		}
	}
	return m
}

// ParseArguments parses /proc/PID/cmdline (proc_pid_cmdline(5)).
func ParseArguments(b []byte) []string {
	b = bytes.TrimRight(b, "\x00")
	if len(b) == 0 {
		return nil
	}
	var args []string
	for _, arg := range bytes.Split(b, []byte{0}) {
		args = append(args, string(arg))
	}
	return args
}
