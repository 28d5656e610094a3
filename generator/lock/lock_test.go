package lock

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
