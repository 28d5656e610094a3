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

// ErrHeld means that another process holds the lock.
var ErrHeld = errors.New("another run holds the lock")

// Lock is a lock held by this process. The kernel releases it when the process exits
// (flock(2)).
type Lock struct{ f *os.File }

// Acquire locks the file path, and creates it if necessary. It does not wait: the error
// is ErrHeld if another process holds the lock.
func Acquire(path string) (*Lock, error) {
	// O_NOFOLLOW, because the directory may be world-writable.
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

// Mark stores the time of a complete batch in the lock file.
func (l *Lock) Mark(at time.Time) error {
	// Always the same length, so that a reader finds the old or the new time.
	if _, err := l.f.WriteAt([]byte(at.UTC().Format(time.RFC3339)+"\n"), 0); err != nil {
		return fmt.Errorf("writing the lock file %s: %w", l.f.Name(), err)
	}
	return nil
}

// Marked returns the time stored in the lock file path, or the zero time if there is
// none. It takes no lock.
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

// Release releases the lock. The file stays: after removing it, a third run could lock a
// new file while a second one locks the old file that it has just opened.
func (l *Lock) Release() error {
	if err := l.f.Close(); err != nil {
		return fmt.Errorf("closing the lock file %s: %w", l.f.Name(), err)
	}
	return nil
}

// DefaultPath is the lock file of the generator called name: in /run/lock, or if that does
// not exist in the directory for temporary files.
func DefaultPath(name string) string {
	dir := "/run/lock"
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "estiba-generator-"+name+".lock")
}
