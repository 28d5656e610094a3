package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/estiba/estiba/exporter/source"
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

// statFile is the stat of a process that was there in the last snapshot.
type statFile struct {
	file file
	last process
	seen uint64 // sequence of the snapshot that read it last
}

// processes reads the stat of every process. One that ends meanwhile is left out.
func (s *Source) processes() ([]process, error) {
	dir, err := os.Open(s.config.ProcFS)
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	defer dir.Close()
	list := make([]process, 0, len(s.stats)+16)
	first := false
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if name[0] < '1' || name[0] > '9' {
				continue
			}
			pid, err := strconv.Atoi(name)
			if err != nil {
				continue
			}
			p, err := s.process(pid)
			if err != nil {
				if gone(err) {
					continue
				}
				if errors.Is(err, fs.ErrPermission) {
					err = fmt.Errorf("%w: processes of other users are hidden (mount option hidepid): run as root: %w", source.ErrRefused, err)
				}
				return nil, fmt.Errorf("reading a process: %w", err)
			}
			first = first || pid == 1
			list = append(list, *p)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("listing processes: %w", err)
		}
	}
	if !first {
		return nil, fmt.Errorf("%s: %w: no process 1: processes of other users are hidden (mount option hidepid): run as root",
			s.config.ProcFS, source.ErrRefused)
	}
	for pid, f := range s.stats {
		if f.seen != s.sequence {
			s.reader.close(&f.file)
			delete(s.stats, pid)
		}
	}
	return list, nil
}

// process reads the stat of one process.
func (s *Source) process(pid int) (*process, error) {
	f := s.stats[pid]
	if f == nil {
		f = &statFile{file: file{path: s.procPath(pid, "stat")}}
	}
	b, err := s.reader.again(&f.file)
	if err != nil {
		return nil, err
	}
	p, err := parseStat(b, f.last.comm)
	if err != nil {
		s.reader.close(&f.file)
		return nil, fmt.Errorf("%s: %w", f.file.path, err)
	}
	f.last, f.seen = p, s.sequence
	s.stats[pid] = f
	return &f.last, nil
}

// procPath is the path of a file of a process.
func (s *Source) procPath(pid int, file string) string {
	return filepath.Join(s.config.ProcFS, strconv.Itoa(pid), file)
}
