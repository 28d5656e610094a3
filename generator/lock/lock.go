// Package lock keeps runs of one generator from overlapping.
package lock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrHeld says that another process holds the lock.
var ErrHeld = errors.New("another run holds the lock")

// Lock is a lock that this process holds. The kernel releases it when the
// process ends, however it ends (flock(2)).
type Lock struct{ f *os.File }

// Acquire takes the lock file path, making the file if need be, without
// waiting. errors.Is(err, ErrHeld) tells that another process has it.
func Acquire(path string) (*Lock, error) {
	// Never through a symbolic link: the folder may be open to everybody.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w %s", ErrHeld, path)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return &Lock{f: f}, nil
}

// Mark writes into the lock file that a whole batch was made at that time.
func (l *Lock) Mark(at time.Time) error {
	// Always as many bytes, so that a reader finds the old time or the new one.
	if _, err := l.f.WriteAt([]byte(at.UTC().Format(time.RFC3339)+"\n"), 0); err != nil {
		return fmt.Errorf("marking the lock %s: %w", l.f.Name(), err)
	}
	return nil
}

// Marked is the time of the last mark in the lock file path; the zero time when
// it has none. It takes no lock.
func Marked(path string) (time.Time, error) {
	data, err := os.ReadFile(path)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("reading the lock file: %w", err)
	case len(data) == 0:
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339+"\n", string(data))
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the lock file %s: %w", path, err)
	}
	return at, nil
}

// Release gives the lock back. The file stays: removing it would let a third
// run lock a new file beside the one that a second run has just opened.
func (l *Lock) Release() error {
	if err := l.f.Close(); err != nil {
		return fmt.Errorf("releasing the lock %s: %w", l.f.Name(), err)
	}
	return nil
}

// DefaultPath is the lock file of the generator called name: in the system's
// folder for locks, or where there is none in the one for temporary files.
func DefaultPath(name string) string {
	dir := "/run/lock"
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "estiba-generator-"+name+".lock")
}
