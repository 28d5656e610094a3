package cgroup

import (
	"bytes"
	"errors"
	"math"
	"path/filepath"
	"strconv"
)

// userHZ is the unit of times in /proc/PID/stat and /proc/stat: fixed at 100
// on every architecture that Linux shows to user space today (times(2)).
const (
	userHZ = 100
	tickNS = 1e9 / userHZ
)

// identity tells two processes with the same PID apart.
type identity struct {
	pid   int
	start uint64 // ticks of the boot clock, /proc/PID/stat field 22
}

// process is what /proc/PID/stat says (proc_pid_stat(5)).
type process struct {
	identity
	comm    string
	parent  int
	threads uint64
	vsz     uint64 // bytes
	rss     uint64 // pages
	cpu     uint64 // ticks: own and of reaped children
	minor   uint64 // faults: own and of reaped children
	major   uint64
}

var errStat = errors.New("not the format of proc_pid_stat(5)")

// parseStat reads /proc/PID/stat. comm may hold any byte, brackets too: the
// fields begin behind the last one. A comm equal to the one given shares its
// memory.
func parseStat(b []byte, comm string) (process, error) {
	var p process
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 2 || b[open-1] != ' ' || end < open || end+2 > len(b) || b[end+1] != ' ' {
		return p, errStat
	}
	pid, ok := number(b[:open-1])
	if !ok || pid > math.MaxInt32 {
		return p, errStat
	}
	p.pid = int(pid)
	if p.comm = comm; string(b[open+1:end]) != comm {
		p.comm = string(b[open+1 : end])
	}
	field := 3
	for rest := b[end+2:]; len(rest) > 0; field++ {
		word := rest
		if i := bytes.IndexByte(rest, ' '); i >= 0 {
			word, rest = rest[:i], rest[i+1:]
		} else {
			rest = nil
		}
		var to *uint64
		switch field {
		case 4:
			v, ok := number(word)
			if !ok || v > math.MaxInt32 {
				return p, errStat
			}
			p.parent = int(v)
			continue
		case 10, 11:
			to = &p.minor
		case 12, 13:
			to = &p.major
		case 14, 15, 16, 17:
			to = &p.cpu
		case 20:
			to = &p.threads
		case 22:
			to = &p.start
		case 23:
			to = &p.vsz
		case 24:
			to = &p.rss
		default:
			continue
		}
		v, ok := number(word)
		if !ok {
			return p, errStat
		}
		*to += v
		if field == 24 {
			return p, nil
		}
	}
	return p, errStat
}

// parseStatm reads /proc/PID/statm (proc_pid_statm(5)): virtual and resident
// memory in pages, both 0 of a process that has none (any more).
func parseStatm(b []byte) (size, resident uint64, ok bool) {
	first, rest, _ := bytes.Cut(b, []byte(" "))
	second, _, found := bytes.Cut(rest, []byte(" "))
	size, ok1 := number(first)
	resident, ok2 := number(second)
	return size, resident, found && ok1 && ok2
}

// number reads an unsigned decimal number.
func number(b []byte) (uint64, bool) {
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

// value finds "key 123" (or "key: 123") at the start of a line.
func value(b []byte, key string) (uint64, bool) {
	for len(b) > 0 {
		line := b
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		if len(line) <= len(key) || string(line[:len(key)]) != key {
			continue
		}
		rest := line[len(key):]
		if rest[0] != ' ' && rest[0] != ':' && rest[0] != '\t' {
			continue
		}
		return number(bytes.Trim(rest, ": \t"))
	}
	return 0, false
}

// procPath is the path of a file of a process.
func (c Config) procPath(pid int, file string) string {
	return filepath.Join(c.ProcFS, strconv.Itoa(pid), file)
}
