package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/estiba/estiba/exporter/source"
)

// youth is how long a process may take to become what it stays: until then its
// stat is read at each snapshot.
const youth = creation

// calmFor is in how many snapshots running a process must have been at rest
// before its statm is opened in the place of its stat.
const calmFor = 2

// known is a process that was there in the last snapshot. Of one at rest nothing
// but its memory can change: its statm says that, at a third of what its stat
// costs. Only one of the two files stays open.
type known struct {
	stat   file
	statm  file // open: it is this process', and its stat is not open
	last   process
	readAt time.Duration // when its stat was read last, …
	readIn uint64        // … and the sequence of the snapshot that did
	seen   uint64        // sequence of the snapshot that saw it last
	calm   int           // snapshots running in which its statm would have done
	owner  *state        // whose it was in the last snapshot; nil: no container's
}

// processes reads what there is to know of every process. One that ends
// meanwhile is left out. They are in the order in which the kernel lists them;
// the slice is valid until the next call.
func (s *Source) processes(now time.Duration) ([]process, error) {
	fresh, err := s.listed.due(s.config.ProcFS, now)
	if err != nil {
		return nil, err
	}
	if fresh {
		if err := s.listed.renew(s.config.ProcFS, now); err != nil {
			return nil, err
		}
	}
	for {
		lost, err := s.readListed(now)
		if err != nil {
			return nil, err
		}
		if !lost || fresh {
			break
		}
		// With one gone the number of processes says nothing.
		fresh = true
		if err := s.listed.renew(s.config.ProcFS, now); err != nil {
			return nil, err
		}
	}
	s.all = s.all[:0]
	left := s.listed.pids[:0]
	for _, pid := range s.listed.pids {
		if k := s.known[pid]; k != nil && k.seen == s.sequence {
			s.all = append(s.all, k.last)
			left = append(left, pid)
		}
	}
	s.listed.pids = left
	if len(s.known) != len(left) {
		for pid, k := range s.known {
			if k.seen != s.sequence {
				s.forget(k)
				delete(s.known, pid)
			}
		}
	}
	if s.known[1] == nil {
		return nil, fmt.Errorf("%s: %w: no process 1: processes of other users are hidden (mount option hidepid): run as root",
			s.config.ProcFS, source.ErrRefused)
	}
	return s.all, nil
}

// readListed reads every process that is listed and was not read yet. lost
// tells that one which was there before is not there any more.
func (s *Source) readListed(now time.Duration) (lost bool, err error) {
	for _, pid := range s.listed.pids {
		k := s.known[pid]
		if k != nil && k.seen == s.sequence {
			continue
		}
		if k == nil {
			k = &known{stat: file{path: s.config.procPath(pid, "stat")}}
		}
		was := k.last.identity
		if err := s.look(k, now); err != nil {
			if gone(err) {
				lost = true
				continue
			}
			if errors.Is(err, fs.ErrPermission) {
				err = fmt.Errorf("%w: processes of other users are hidden (mount option hidepid): run as root: %w", source.ErrRefused, err)
			}
			return false, fmt.Errorf("reading a process: %w", err)
		}
		lost = lost || was.pid != 0 && was != k.last.identity
		s.known[pid] = k
	}
	// Who was given another parent does not know it yet.
	for _, pid := range s.listed.pids {
		k := s.known[pid]
		if k == nil || k.seen != s.sequence || k.readIn == s.sequence || !s.orphaned(k) {
			continue
		}
		if err := s.readStat(k, now, false); err != nil && !gone(err) {
			return false, fmt.Errorf("reading a process: %w", err)
		} else if err != nil {
			k.seen, lost = 0, true
		}
	}
	return lost, nil
}

// look brings what is known of a process up to date: from its statm where that
// says all that can have changed, else from its stat.
func (s *Source) look(k *known, now time.Duration) error {
	quiet := k.quiet(now)
	if !quiet {
		k.calm = 0
		s.reader.close(&k.statm)
		return s.readStat(k, now, true)
	}
	if k.statm.fd == 0 {
		if k.calm++; k.calm < calmFor || s.reader.kept >= s.reader.max {
			return s.readStat(k, now, true)
		}
		return s.openStatm(k, now)
	}
	same, err := s.readStatm(k)
	if err == nil && same && now-k.readAt < recheck {
		k.seen = s.sequence
		return nil
	}
	if err != nil {
		s.reader.close(&k.statm)
	}
	rss, exact := k.last.rss, err == nil
	if err := s.readStat(k, now, false); err != nil {
		return err
	}
	if exact && k.statm.fd > 0 {
		k.last.rss = rss
	}
	return nil
}

// quiet tells whether nothing but the memory of a process can have changed, as
// far as its statm would not show it. Of a container's that is so while the
// container rests. Of others only who they are, whose children and how large is
// asked: a program that is started in the place of another is of another size,
// and a new parent is looked for apart.
func (k *known) quiet(now time.Duration) bool {
	if k.last.pid == 0 || k.readAt-time.Duration(k.last.start*tickNS) < youth {
		return false
	}
	return k.owner == nil || k.owner.rest.still
}

// orphaned tells whether a process may have another parent than is known: its
// own has ended, or is about to.
func (s *Source) orphaned(k *known) bool {
	if k.last.parent == 0 {
		return false
	}
	parent := s.known[k.last.parent]
	if parent == nil || parent.seen != s.sequence {
		return true
	}
	// One without memory is a kernel thread, which has no children but for the
	// first, or has ended and was not waited for yet.
	return parent.last.vsz == 0 && parent.last.comm != "kthreadd"
}

// openStatm opens the statm of a process at rest and lets go of its stat.
func (s *Source) openStatm(k *known, now time.Duration) error {
	k.statm.path = s.config.procPath(k.last.pid, "statm")
	_, statmErr := s.readStatm(k)
	rss := k.last.rss
	// Read after the statm was opened, its stat says whether this is the process
	// which it was before. If another has its PID now, the statm is closed.
	if err := s.readStat(k, now, true); err != nil {
		s.reader.close(&k.statm)
		return err
	}
	if statmErr != nil || k.statm.fd == 0 {
		s.reader.close(&k.statm)
		return nil
	}
	k.last.rss = rss
	s.reader.close(&k.stat)
	return nil
}

// readStatm reads memory from the statm of a process. same tells whether its
// virtual memory is as large as before.
func (s *Source) readStatm(k *known) (same bool, err error) {
	var b []byte
	if k.statm.fd > 0 {
		b, err = s.reader.whole(&k.statm)
	} else {
		b, err = s.reader.again(&k.statm)
	}
	if err != nil {
		return false, err
	}
	size, resident, ok := parseStatm(b)
	if !ok {
		return false, fmt.Errorf("%s: %w", k.statm.path, errStatm)
	}
	same = size*s.pageKB*1024 == k.last.vsz
	k.last.vsz, k.last.rss = size*s.pageKB*1024, resident
	return same, nil
}

// readStat reads the stat of a process, and keeps it open or not.
func (s *Source) readStat(k *known, now time.Duration, keep bool) error {
	read := func() ([]byte, error) { return s.reader.again(&k.stat) }
	if !keep && k.stat.fd == 0 {
		read = func() ([]byte, error) { return s.reader.read(k.stat.path) }
	}
	b, err := read()
	if err != nil {
		return err
	}
	p, err := parseStat(b, k.last.comm)
	if err != nil {
		s.reader.close(&k.stat)
		return fmt.Errorf("%s: %w", k.stat.path, err)
	}
	if p.identity != k.last.identity {
		s.reader.close(&k.statm)
		k.calm, k.owner = 0, nil
	}
	k.last, k.readAt, k.readIn, k.seen = p, now, s.sequence, s.sequence
	return nil
}

// forget closes what is open of a process.
func (s *Source) forget(k *known) {
	s.reader.close(&k.stat)
	s.reader.close(&k.statm)
}

var errStatm = errors.New("not the format of proc_pid_statm(5)")
