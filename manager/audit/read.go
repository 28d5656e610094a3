package audit

import (
	"fmt"
	"os"
	"time"

	"github.com/estiba/estiba/manager/policy"
)

// Past is what an audit log has recorded.
type Past struct {
	Records []Record // of kills, vetoes and relief, oldest first, one outcome of each kill
	// State and Unfinished are those of the time that was asked for. As in a manager that
	// starts then, live kills in flight count as carried out.
	State      State
	Unfinished []Record
	Skipped    int // lines that could not be parsed
}

// readAttempts limits how often Read begins anew because files were rotated.
const readAttempts = 5

// Read reads an audit log that another program may be writing: it takes no lock and
// changes nothing. os.ErrNotExist: there is none.
func Read(path string, at time.Time) (Past, error) {
	path, err := resolve(path)
	if err != nil {
		return Past{}, fmt.Errorf("reading the audit file: %w", err)
	}
	l := &Log{path: path, keep: DefaultKeep}
	for range readAttempts {
		before := identities(l.files())
		p, err := readFiles(l.files(), at)
		if err != nil {
			return Past{}, err
		}
		if sameFiles(before, identities(l.files())) {
			if noFiles(before) {
				return Past{}, fmt.Errorf("reading the audit file: %w", &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist})
			}
			return p, nil
		}
	}
	return Past{}, fmt.Errorf("reading the audit file %s: it is rotated all the time", path)
}

// readFiles reads files, oldest first.
func readFiles(files []string, at time.Time) (Past, error) {
	var p Past
	past, done := emptyHistory(), map[string]bool{}
	var lost unreadLines
	for _, path := range files {
		err := scanLines(path, func(line []byte, _ int64) error {
			rec, ok := parse(line)
			if !ok {
				p.Skipped++
			}
			again := done[rec.KillID] && (rec.Phase == Intent || rec.Phase == Done)
			if ok && rec.Phase == Done {
				done[rec.KillID] = true
			}
			if ok && rec.Phase != Checkpoint && !again {
				p.Records = append(p.Records, rec)
			}
			if ok && rec.Time.After(at) {
				return nil // lines before it that cannot be read may be of before at
			}
			if _, open := past.open[rec.KillID]; ok && (!again || rec.Phase == Done && open) {
				past.apply(rec)
			}
			past.Unread = later(past.Unread, lost.until(line, rec, ok))
			return nil
		})
		if err != nil {
			return Past{}, err
		}
	}
	if lost.open {
		past.Unread = later(past.Unread, at)
	}
	p.State, p.Unfinished = past.now(), past.unfinished()
	return p, nil
}

// identities are the files by name; nil for a missing one.
func identities(files []string) []os.FileInfo {
	list := make([]os.FileInfo, len(files))
	for i, path := range files {
		if info, err := os.Stat(path); err == nil {
			list[i] = info
		}
	}
	return list
}

func sameFiles(a, b []os.FileInfo) bool {
	for i := range a {
		if (a[i] == nil) != (b[i] == nil) || a[i] != nil && !os.SameFile(a[i], b[i]) {
			return false
		}
	}
	return true
}

func noFiles(files []os.FileInfo) bool {
	for _, f := range files {
		if f != nil {
			return false
		}
	}
	return true
}

// Memory is what decisions after now need of the records. Kills of the last hour are
// distances from now: the wall clock may be set later.
func (s State) Memory(now time.Time) policy.Memory {
	m := policy.NewMemory()
	m.LastLiveKill = s.LastLiveKill
	for name, r := range s.Rules {
		if !r.LastKill.IsZero() {
			m.LastKill[name] = r.LastKill
		}
		relief := policy.ReliefState{Unrelieved: r.Unrelieved, StoppedAt: r.StoppedAt}
		if relief.StoppedAt.IsZero() {
			relief.StoppedAt = r.LastKill // approximately, if the kills stop the rule now
		}
		m.ReliefState[name] = relief
	}
	for life, at := range s.DryRun {
		m.DryKilled[life] = at
	}
	since := func(at time.Time) time.Time { return now.Add(-max(0, now.Round(0).Sub(at))) }
	for _, k := range s.Kills {
		m.Kills = append(m.Kills, policy.PastKill{Rule: k.Rule, Mode: k.Mode, At: since(k.At)})
	}
	if !s.Unread.IsZero() {
		m.Unread = since(s.Unread)
	}
	return m
}
