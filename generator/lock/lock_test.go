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
	// flock(2) binds to the open file, so a second open in this process is as
	// good as another process.
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

func TestLockIsNotTakenThroughALink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(link); err == nil || errors.Is(err, ErrHeld) {
		t.Errorf("Acquire through a link = %v, want a refusal", err)
	}
	if _, err := os.Stat(target); err == nil {
		t.Error("the link's target was made")
	}
}

func TestFolderThatIsNotThere(t *testing.T) {
	if _, err := Acquire(filepath.Join(t.TempDir(), "none", "lock")); err == nil || errors.Is(err, ErrHeld) {
		t.Errorf("Acquire = %v, want an error that is not ErrHeld", err)
	}
}

func TestDefaultPathNamesTheGenerator(t *testing.T) {
	if a, b := DefaultPath("a"), DefaultPath("b"); a == b || !filepath.IsAbs(a) {
		t.Errorf("DefaultPath = %q and %q", a, b)
	}
}

func TestMark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if _, err := Marked(path); err == nil {
		t.Error("a file that is not there has a mark")
	}
	l, err := Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := Marked(path); err != nil || !at.IsZero() {
		t.Errorf("before the first mark: %v, %v", at, err)
	}
	// In whatever zone; the second replaces the first.
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
	// The next run begins with the mark of the last one.
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
		t.Errorf("something else is the mark %v", at)
	}
}
