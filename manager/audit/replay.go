package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// maxLine limits the length of a line. Longer ones are skipped.
const maxLine = 64 << 20

// replay reads the records of earlier runs: their sum, from the newest file that begins
// with a checkpoint, and the last outcomes.
func (l *Log) replay(limit int) error {
	files := l.files()
	start := 0
	for i := len(files) - 1; i > 0; i-- {
		_, headed, err := head(files[i])
		if err != nil {
			return err
		}
		if headed {
			start = i
			break
		}
	}
	done := map[string]bool{} // kill ids whose outcome was read
	var lost unreadLines
	for _, path := range files[start:] {
		err := scanLines(path, func(line []byte, _ int64) error {
			rec, ok := parse(line)
			_, open := l.past.open[rec.KillID]
			switch {
			case !ok:
				l.skipped++
			case rec.Phase == Intent && done[rec.KillID]:
			case rec.Phase == Done && done[rec.KillID] && !open: // written twice, after an error
			default:
				l.past.apply(rec)
			}
			if ok && rec.Phase == Done && !done[rec.KillID] {
				done[rec.KillID] = true
				l.recent = last(append(l.recent, rec), limit)
			}
			l.past.Unread = later(l.past.Unread, lost.until(line, rec, ok)) // a checkpoint replaces it
			return nil
		})
		if err != nil {
			return err
		}
	}
	if lost.open {
		l.past.Unread = later(l.past.Unread, l.clock())
	}
	// A checkpoint has no outcomes: the earlier ones are in older files.
	for i := start - 1; i >= 0 && len(l.recent) < limit; i-- {
		var older []Record
		err := scan(files[i], func(rec Record, ok bool) {
			switch {
			case !ok:
				l.skipped++
			case rec.Phase == Done && !done[rec.KillID]:
				done[rec.KillID] = true
				older = last(append(older, rec), limit)
			}
		})
		if err != nil {
			return err
		}
		l.recent = last(append(older, l.recent...), limit)
	}
	return l.settleOpen(files)
}

// unreadLines finds out from when the records are at most that cannot be read: records
// are in the order of time, so one is not younger than the next that can be read, nor, if
// the clock was set back, than the latest before it.
type unreadLines struct {
	open   bool // since the last record that could be read
	latest time.Time
}

// until takes the next line. It returns the latest time of the records before it that
// could not be read; zero if there are none, or if a checkpoint has their sum.
func (u *unreadLines) until(line []byte, rec Record, ok bool) time.Time {
	if !ok {
		u.open = u.open || !incomplete(line)
		return time.Time{}
	}
	u.latest = later(u.latest, rec.Time)
	was := u.open
	u.open = false
	if !was || rec.Phase == Checkpoint {
		return time.Time{}
	}
	return u.latest
}

// incomplete reports whether a line is the beginning of a record. Its end was never on
// disk: an incomplete intent was never carried out, and the intent of an incomplete
// outcome is open.
func incomplete(line []byte) bool {
	var syntax *json.SyntaxError
	err := json.Unmarshal(line, new(Record))
	return line[0] == '{' && errors.As(err, &syntax) && syntax.Offset == int64(len(line)) && err.Error() == "unexpected end of JSON input"
}

// settleOpen looks for outcomes of open intents before the checkpoint that has them
// open: such a record could neither be synced nor removed, and the manager exited
// before it was written again.
func (l *Log) settleOpen(files []string) error {
	for i := len(files) - 1; i >= 0 && len(l.past.open) > 0; i-- {
		err := scan(files[i], func(rec Record, ok bool) {
			if _, open := l.past.open[rec.KillID]; ok && open && rec.Phase == Done {
				l.past.apply(rec)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// last returns the last n records.
func last(list []Record, n int) []Record {
	if over := len(list) - n; over > 0 {
		return append(list[:0:0], list[over:]...)
	}
	return list
}

// head reports whether the first record of a file is a checkpoint, and where that
// record ends; 0 if there is none.
func head(path string) (size int64, headed bool, err error) {
	found := errors.New("found")
	err = scanLines(path, func(line []byte, end int64) error {
		rec, ok := parse(line)
		if !ok {
			return nil
		}
		size, headed = end, rec.Phase == Checkpoint
		return found
	})
	if errors.Is(err, found) {
		err = nil
	}
	return size, headed, err
}

func scan(path string, each func(rec Record, ok bool)) error {
	return scanLines(path, func(line []byte, _ int64) error {
		each(parse(line))
		return nil
	})
}

// parse reads one line. Lines that are not records are skipped, such as half a line
// after a power failure: an incomplete intent was never carried out.
func parse(line []byte) (Record, bool) {
	var rec Record
	if json.Unmarshal(line, &rec) != nil {
		return Record{}, false
	}
	switch rec.Phase {
	case Intent, Done, Vetoed:
		return rec, rec.KillID != ""
	case Relief:
		return rec, rec.Rule != ""
	case Checkpoint:
		return rec, rec.State != nil
	}
	return Record{}, false
}

// scanLines calls each for every non-empty line of a file, with the offset of its end,
// until each returns an error. A missing file has no lines.
func scanLines(path string, each func(line []byte, end int64) error) error {
	f, err := openRegular(path, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the audit file: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	var (
		line []byte
		end  int64
	)
	for {
		part, err := r.ReadSlice('\n')
		end += int64(len(part))
		if len(line) <= maxLine { // the rest of a longer line is dropped
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the audit file %s: %w", path, err)
		}
		if text := bytes.TrimSpace(line); len(text) > 0 {
			if len(text) > maxLine {
				text = []byte("too long") // counted as an invalid line
			}
			if err := each(text, end); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
		line = line[:0]
	}
}
