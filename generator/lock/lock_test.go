package lock

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOneHolderAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	// flock(2) locks the open file, so a second open in this process is like one in
	// another process.
	if _, err := Acquire(path); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), path) {
		t.Fatalf("second Acquire = %v, want ErrHeld with the path", err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	second, err := Acquire(path)
	if err != nil {
		t.Fatalf("Acquire after Release: %v", err)
	}
	if err := second.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestSymlinkIsRejected(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(link); err == nil || errors.Is(err, ErrHeld) {
		t.Errorf("Acquire of a symlink = %v, want an error", err)
	}
	if _, err := os.Stat(target); err == nil {
		t.Error("the target of the symlink was created")
	}
}

func TestMissingDirectory(t *testing.T) {
	if _, err := Acquire(filepath.Join(t.TempDir(), "none", "lock")); err == nil || errors.Is(err, ErrHeld) {
		t.Errorf("Acquire = %v, want another error than ErrHeld", err)
	}
}

func TestDefaultPath(t *testing.T) {
	if a, b := DefaultPath("a"), DefaultPath("b"); a == b || !filepath.IsAbs(a) {
		t.Errorf("DefaultPath = %q and %q", a, b)
	}
}

func TestMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if _, err := Marked(path); err == nil {
		t.Error("Marked of a missing file succeeded")
	}
	l, err := Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := Marked(path); err != nil || !at.IsZero() {
		t.Errorf("before the first mark: %v, %v", at, err)
	}
	// In any time zone; the second replaces the first.
	for _, want := range []time.Time{time.Unix(1700000000, 0), time.Unix(1700000030, 0).In(time.FixedZone("", 3600))} {
		if err := l.Mark(want); err != nil {
			t.Fatal(err)
		}
		if at, err := Marked(path); err != nil || !at.Equal(want) {
			t.Errorf("Marked = %v, %v, want %v", at, err, want)
		}
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	// The mark of the last run stays.
	if l, err = Acquire(path); err != nil {
		t.Fatal(err)
	}
	if at, err := Marked(path); err != nil || at.Unix() != 1700000030 {
		t.Errorf("after another Acquire: %v, %v", at, err)
	}
	l.Release()
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if at, err := Marked(path); err == nil {
		t.Errorf("invalid content parsed as %v", at)
	}
}
