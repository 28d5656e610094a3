package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// Sizes that bound the record.
const (
	DefaultMaxBytes = 16 << 20 // of one file
	DefaultKeep     = 5        // rotated files: file.1 is the youngest
	maxLine         = 1 << 20
)

// ErrLocked says that another manager writes this record.
var ErrLocked = errors.New("another manager holds the audit file")

// Log is the open record. It is safe for concurrent use.
type Log struct {
	path     string
	maxBytes int64
	keep     int
	lock     *os.File

	mu      sync.Mutex
	file    *os.File
	size    int64
	torn    bool     // the file may end in half a line
	waiting []Record // outcomes that could not be written yet
	open    map[string]Record
	recent  []Record // outcomes, oldest first
	skipped int
}

// Options bounds the record; zero values are the defaults.
type Options struct {
	MaxBytes int64
	Keep     int
	// Recent is how many outcomes Open remembers for Recent.
	Recent int
}

// Open locks and opens the record at path, creating it and its directory, and
// reads what an earlier run left behind. ErrLocked: another manager runs.
func Open(path string, o Options) (*Log, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Keep <= 0 {
		o.Keep = DefaultKeep
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("audit directory: %w", err)
	}
	// The lock has a file of its own: the record's own is renamed away.
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o640)
	if err != nil {
		return nil, fmt.Errorf("audit lock: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrLocked, path)
		}
		return nil, fmt.Errorf("locking %s.lock: %w", path, err)
	}
	l := &Log{path: path, maxBytes: o.MaxBytes, keep: o.Keep, lock: lock, open: map[string]Record{}}
	// An intent may stand in the file before, its outcome in this one.
	for _, p := range []string{path + ".1", path} {
		if err := l.replay(p, o.Recent); err != nil {
			lock.Close()
			return nil, err
		}
	}
	if err := l.reopen(); err != nil {
		lock.Close()
		return nil, err
	}
	return l, nil
}

// replay reads one file's records. Lines that are not records (half of one,
// written when the machine went down) are counted and passed over: an intent
// that was not whole was never acted on.
func (l *Log) replay(path string, recent int) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the audit file: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, maxLine)
	for {
		line, err := r.ReadBytes('\n')
		if text := bytes.TrimSpace(line); len(text) > 0 {
			var rec Record
			switch {
			case json.Unmarshal(text, &rec) != nil || rec.KillID == "":
				l.skipped++
			case rec.Phase == Vetoed: // nothing was done
			case rec.Phase == Intent:
				l.open[rec.KillID] = rec
			default:
				delete(l.open, rec.KillID)
				l.remember(rec, recent)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the audit file %s: %w", path, err)
		}
	}
}

func (l *Log) remember(rec Record, limit int) {
	l.recent = append(l.recent, rec)
	if over := len(l.recent) - limit; over > 0 {
		l.recent = append(l.recent[:0:0], l.recent[over:]...)
	}
}

// reopen opens the file for appending and makes its directory entry durable.
func (l *Log) reopen() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR|os.O_APPEND|syscall.O_CLOEXEC, 0o640)
	if err != nil {
		return fmt.Errorf("opening the audit file: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return fmt.Errorf("opening the audit file %s: %w", l.path, err)
	}
	l.torn = false
	if size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err != nil {
			f.Close()
			return fmt.Errorf("opening the audit file %s: %w", l.path, err)
		}
		l.torn = last[0] != '\n'
	}
	if err := syncDir(filepath.Dir(l.path)); err != nil {
		f.Close()
		return err
	}
	l.file, l.size = f, size
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("audit directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing the audit directory %s: %w", dir, err)
	}
	return nil
}

// Intent writes an intent and returns when it is on the disk. After an error
// nothing may be done to the container. Outcomes that could not be written
// before go first: while they cannot be, there are no new intents.
func (l *Log) Intent(rec Record) error {
	rec.Phase = Intent
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.flush(); err != nil {
		return err
	}
	if err := l.append(rec); err != nil {
		return err
	}
	l.open[rec.KillID] = rec
	return nil
}

// Outcome writes what became of an intent. When that fails it is kept and
// tried again before anything else is written.
func (l *Log) Outcome(rec Record) error {
	rec.Phase = Done
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, rec.KillID)
	l.waiting = append(l.waiting, rec)
	return l.flush()
}

// Veto writes that a kill was announced and somebody objected.
func (l *Log) Veto(rec Record) error {
	rec.Phase = Vetoed
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.flush(); err != nil {
		return err
	}
	return l.append(rec)
}

// Flush writes outcomes that are waiting.
func (l *Log) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flush()
}

func (l *Log) flush() error {
	for len(l.waiting) > 0 {
		if err := l.append(l.waiting[0]); err != nil {
			return err
		}
		l.waiting = l.waiting[1:]
	}
	return nil
}

// append writes one line and syncs it.
func (l *Log) append(rec Record) error {
	line, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("audit record of kill %s: %w", rec.KillID, err)
	}
	line = append(line, '\n')
	if err := l.repair(); err != nil {
		return err
	}
	if l.size > 0 && l.size+int64(len(line)) > l.maxBytes {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := l.file.Write(line)
	l.size += int64(n)
	if err != nil {
		l.torn = l.torn || n > 0
		return fmt.Errorf("writing the audit file %s: %w", l.path, err)
	}
	l.torn = false
	if err := l.file.Sync(); err != nil {
		// What the kernel could not write may be dropped from its cache and a
		// second fsync would then lie, so this descriptor is not used again.
		l.file.Close()
		l.file = nil
		return fmt.Errorf("syncing the audit file %s: %w", l.path, err)
	}
	return nil
}

// repair reopens the file after a failure, or after somebody moved it away:
// a record written to a file without a name is no record.
func (l *Log) repair() error {
	if l.file != nil {
		here, err1 := l.file.Stat()
		there, err2 := os.Stat(l.path)
		if err1 == nil && err2 == nil && os.SameFile(here, there) {
			return nil
		}
		l.file.Close()
		l.file = nil
	}
	return l.reopen()
}

// rotate makes the file file.1, file.1 file.2, and so on.
func (l *Log) rotate() error {
	for i := l.keep - 1; i >= 1; i-- {
		err := os.Rename(l.path+"."+strconv.Itoa(i), l.path+"."+strconv.Itoa(i+1))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("rotating the audit file: %w", err)
		}
	}
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		return fmt.Errorf("rotating the audit file: %w", err)
	}
	l.file.Close()
	l.file = nil
	return l.reopen()
}

// Unfinished returns the intents that have no outcome, of this run and of
// earlier ones.
func (l *Log) Unfinished() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Record, 0, len(l.open))
	for _, rec := range l.open {
		list = append(list, rec)
	}
	return list
}

// Recent returns the last outcomes that Open found, oldest first.
func (l *Log) Recent() []Record { return append([]Record(nil), l.recent...) }

// Skipped is how many lines Open could not read.
func (l *Log) Skipped() int { return l.skipped }

// Waiting is how many outcomes are not on the disk yet.
func (l *Log) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// Close writes what waits and gives the record free for the next manager.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.flush()
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
		l.file = nil
	}
	return errors.Join(err, l.lock.Close())
}
