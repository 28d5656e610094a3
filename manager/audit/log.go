package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Limits of the audit log.
const (
	DefaultMaxBytes = 16 << 20 // of one file
	DefaultKeep     = 5        // rotated files: file.1 is the newest
)

// ErrLocked means that another manager writes this audit log.
var ErrLocked = errors.New("audit file is locked by another manager")

// errMaybeWritten: a record that could not be written may be in the file nevertheless.
var errMaybeWritten = errors.New("removing the incomplete record failed")

// Log is an open audit log. It is safe for concurrent use.
type Log struct {
	path     string // of the file itself: no symbolic link
	maxBytes int64
	keep     int
	clock    func() time.Time
	lock     *os.File
	openFile func(path string) (file, error)

	mu        sync.Mutex
	closed    bool
	file      file        // nil after a failure
	known     os.FileInfo // identity of the open file
	size      int64       // offset of the next record
	head      int64       // length of the checkpoint at its beginning
	headed    bool        // the file has its checkpoint, or needs none
	torn      bool        // the file ends in an incomplete line
	past      history     // sum of the records on disk
	waiting   []Record    // outcomes and measurements that could not be written yet
	unrotated error

	recent  []Record // outcomes, oldest first
	skipped int
}

// Options limits the audit log; zero values are the defaults.
type Options struct {
	// MaxBytes is the size at which the file is rotated. A file whose checkpoint alone
	// is that large may grow by as much again.
	MaxBytes int64
	Keep     int
	// Recent is how many outcomes Open keeps for Recent.
	Recent int
	// Now is the time of records that belong to no kill.
	Now func() time.Time
}

// Open locks and opens the audit log at path, creates it and its directory, and reads
// the records of earlier runs. ErrLocked: another manager has it open.
func Open(path string, o Options) (*Log, error) {
	return openWith(path, o, openAppend)
}

// openWith takes the function that opens files for appending, for tests of failing
// disks.
func openWith(path string, o Options, openFile func(string) (file, error)) (*Log, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Keep <= 0 {
		o.Keep = DefaultKeep
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("audit directory: %w", err)
	}
	path, err := resolve(path)
	if err != nil {
		return nil, err
	}
	// The lock is a separate file: the log itself is renamed by rotation.
	lock, err := openRegular(path+".lock", os.O_CREATE|os.O_RDWR)
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
	l := &Log{path: path, maxBytes: o.MaxBytes, keep: o.Keep, clock: o.Now, lock: lock, openFile: openFile, past: emptyHistory()}
	if err := l.load(o.Recent); err != nil {
		lock.Close()
		return nil, err
	}
	return l, nil
}

// load reads the records and opens the file.
func (l *Log) load(recent int) error {
	l.unrotated = l.settle()
	if err := l.replay(recent); err != nil {
		return err
	}
	size, headed, err := head(l.path)
	if err != nil {
		return err
	}
	if err := l.reopen(); err != nil {
		return err
	}
	l.headed = size > 0 // a file of an older version continues without a checkpoint
	if headed {
		l.head = size
	}
	return nil
}

// reopen opens the file for appending and syncs its directory entry.
func (l *Log) reopen() error {
	f, err := l.openFile(l.path)
	if err != nil {
		return fmt.Errorf("opening the audit file: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("opening the audit file %s: %w", l.path, err)
	}
	torn := false
	if info.Size() > 0 {
		end := make([]byte, 1)
		if _, err := f.ReadAt(end, info.Size()-1); err != nil {
			f.Close()
			return fmt.Errorf("opening the audit file %s: %w", l.path, err)
		}
		torn = end[0] != '\n'
	}
	if err := syncDir(filepath.Dir(l.path)); err != nil {
		f.Close()
		return err
	}
	if l.known == nil || !os.SameFile(l.known, info) || l.size != info.Size() {
		// new, replaced or truncated: begin with a checkpoint
		l.headed, l.head = false, 0
	}
	l.file, l.known, l.size, l.torn = f, info, info.Size(), torn
	return nil
}

// Intent writes an intent and returns when it is on disk. After an error the container
// must not be killed. Records that could not be written before go first: until then
// there are no new intents.
func (l *Log) Intent(rec Record) error {
	rec.Phase = Intent
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.flush(); err != nil {
		return err
	}
	err := l.append(rec)
	if errors.Is(err, errMaybeWritten) {
		// the next start must not take it for a kill
		rec.Phase, rec.Outcome, rec.Error = Done, OutcomeNoRecord, err.Error()
		l.waiting = append(l.waiting, rec)
	}
	return err
}

// Outcome writes the outcome of an intent. After an error it is kept and retried before
// anything else is written. A second outcome of an intent is dropped.
func (l *Log) Outcome(rec Record) error {
	rec.Phase = Done
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.past.open[rec.KillID]; !open {
		return nil
	}
	if !slices.ContainsFunc(l.waiting, func(w Record) bool { return w.KillID == rec.KillID }) {
		if _, err := encode(rec); err != nil {
			return err
		}
		l.waiting = append(l.waiting, rec)
	}
	return l.flush()
}

// Veto writes that an announced kill was vetoed.
func (l *Log) Veto(rec Record) error {
	rec.Phase = Vetoed
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.flush(); err != nil {
		return err
	}
	return l.append(rec)
}

// Relief writes the consecutive kills of a rule without relief, and since when they
// stop it; zero: they do not. Unchanged values are not written. After an error it is
// kept and retried, unless the rule is measured again first.
func (l *Log) Relief(rule string, unrelieved int, stoppedAt time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if was := l.all().Rules[rule]; was.Unrelieved == unrelieved && was.StoppedAt.Equal(stoppedAt) {
		return nil
	}
	rec := Record{Time: l.clock().UTC(), Phase: Relief, Rule: rule, Unrelieved: unrelieved}
	if !stoppedAt.IsZero() {
		at := stoppedAt.UTC()
		rec.StoppedAt = &at
	}
	if _, err := encode(rec); err != nil {
		return err
	}
	l.waiting = slices.DeleteFunc(l.waiting, func(w Record) bool { return w.Phase == Relief && w.Rule == rule })
	l.waiting = append(l.waiting, rec)
	return l.flush()
}

// Flush writes what is waiting.
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

func encode(rec Record) ([]byte, error) {
	line, err := json.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("encoding the audit record of rule %s, kill %q: %w", rec.Rule, rec.KillID, err)
	}
	return append(line, '\n'), nil
}

// append writes one record and syncs it.
func (l *Log) append(rec Record) error {
	if l.closed {
		return fmt.Errorf("writing the audit file %s: %w", l.path, os.ErrClosed)
	}
	line, err := encode(rec)
	if err != nil {
		return err
	}
	if err := l.repair(); err != nil {
		return err
	}
	if l.size > 0 && l.size >= 2*l.head && l.size+int64(len(line)) > l.maxBytes {
		l.unrotated = l.rotate()
		if err := l.repair(); err != nil {
			return err
		}
	}
	if err := l.write(line); err != nil {
		return err
	}
	l.past.apply(rec)
	return nil
}

// write appends a record, after a checkpoint if the file has none, and syncs both.
func (l *Log) write(line []byte) error {
	var data []byte
	if l.torn {
		data = append(data, '\n')
	}
	head := l.head
	if !l.headed {
		c, err := encode(Record{Time: l.clock().UTC(), Phase: Checkpoint, State: l.past.checkpoint()})
		if err != nil {
			return err
		}
		data = append(data, c...)
		head = l.size + int64(len(data))
	}
	data = append(data, line...)
	n, err := l.file.Write(data)
	if err == nil {
		if err = l.file.Sync(); err == nil {
			l.size += int64(n)
			l.head, l.headed, l.torn = head, true, false
			return nil
		}
	}
	err = fmt.Errorf("writing the audit file %s: %w", l.path, err)
	if n > 0 {
		// it is written again later, and must not be there twice
		undo := l.file.Truncate(l.size)
		if undo == nil {
			undo = l.file.Sync()
		}
		if undo != nil {
			err = fmt.Errorf("%w; %w: %w", err, errMaybeWritten, undo)
		}
	}
	// The kernel may drop data that it could not write, and a second fsync would
	// succeed without them: do not use this descriptor again.
	l.file.Close()
	l.file = nil
	return err
}

// repair reopens the file after a failure, or after it was moved or truncated: records
// in a file without a name are lost.
func (l *Log) repair() error {
	if l.file != nil {
		here, err1 := l.file.Stat()
		there, err2 := os.Stat(l.path)
		if err1 == nil && err2 == nil && os.SameFile(here, there) && here.Size() == l.size {
			return nil
		}
		l.file.Close()
		l.file = nil
	}
	return l.reopen()
}

// State returns the sum of the records, including those that wait. Live kills in flight
// count as carried out until their outcome is known.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all().now()
}

// all is the history with what waits. It is read-only.
func (l *Log) all() history {
	if len(l.waiting) == 0 {
		return l.past
	}
	h := l.past.clone()
	for _, rec := range l.waiting {
		h.apply(rec)
	}
	return h
}

// Forget drops containers that the Engine no longer lists. Nothing is written: what a
// later start reads is dropped again.
func (l *Log) Forget(listed func(id string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.past.Signalled {
		if !listed(id) {
			delete(l.past.Signalled, id)
		}
	}
	for k := range l.past.DryRun {
		if !listed(k.ID) {
			delete(l.past.DryRun, k)
		}
	}
}

// LifeEnded drops a signalled life: the container runs in another one. Nothing is
// written, as with Forget.
func (l *Log) LifeEnded(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.past.Signalled, id)
}

// Unfinished returns the intents without outcome, of this run and of earlier ones,
// oldest first.
func (l *Log) Unfinished() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all().unfinished()
}

// Recent returns the last outcomes that Open found, oldest first, one per kill.
func (l *Log) Recent() []Record { return append([]Record(nil), l.recent...) }

// Skipped is the number of lines that Open could not parse.
func (l *Log) Skipped() int { return l.skipped }

// Waiting is the number of records that are not on disk yet.
func (l *Log) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// Close writes what waits and unlocks the audit log. Later writes fail: the file may
// belong to another manager.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	err := l.flush()
	l.closed = true
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
		l.file = nil
	}
	return errors.Join(err, l.lock.Close())
}
