package audit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/internal/testutil"
)

// older writes five distinguishable rotated files.
func older(t *testing.T, path string) {
	t.Helper()
	for i := 1; i <= DefaultKeep; i++ {
		rec := outcome(fmt.Sprint("history", i), OutcomeDone)
		rec.Phase = Done
		line, err := encode(rec)
		must(t, err)
		must(t, os.WriteFile(fmt.Sprint(path, ".", i), line, 0o640))
	}
}

// kept fails unless the older files are unchanged.
func kept(t *testing.T, path string) {
	t.Helper()
	for i := 1; i <= DefaultKeep; i++ {
		if got := lines(t, fmt.Sprint(path, ".", i)); len(got) != 1 || got[0].KillID != fmt.Sprint("history", i) {
			t.Errorf("file .%d = %+v", i, got)
		}
	}
}

// A file that cannot be renamed is appended to, the older ones stay, and kills
// continue.
func TestFileThatCannotBeRenamed(t *testing.T) {
	testutil.Require(t, testutil.Root)
	for name, pin := range map[string]func(t *testing.T, path string) func(){
		"mounted": func(t *testing.T, path string) func() {
			source := filepath.Join(t.TempDir(), "source")
			must(t, os.WriteFile(source, nil, 0o640))
			must(t, unix.Mount(source, path, "", unix.MS_BIND, ""))
			free := func() { unix.Unmount(path, unix.MNT_DETACH) }
			t.Cleanup(free)
			return free
		},
		"append only": func(t *testing.T, path string) func() {
			if out, err := exec.Command("chattr", "+a", path).CombinedOutput(); err != nil {
				t.Skipf("needs a file system that knows chattr +a: %s", out)
			}
			free := func() { exec.Command("chattr", "-a", path).Run() }
			t.Cleanup(free)
			return free
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			older(t, path)
			must(t, os.WriteFile(path, nil, 0o640))
			free := pin(t, path)
			l := open(t, path, Options{MaxBytes: 1000, Recent: 100})
			for i := range 10 {
				must(t, l.Intent(record(fmt.Sprint(i))))
				must(t, l.Outcome(outcome(fmt.Sprint(i), OutcomeDone)))
			}
			kept(t, path)
			if got := acts(t, path); len(got) != 20 || l.RotationError() == nil {
				t.Errorf("%d lines, rotation error %v", len(got), l.RotationError())
			}
			want := l.State()
			must(t, l.Close())
			l = open(t, path, Options{MaxBytes: 1000})
			same(t, l.State(), want)
			if name == "mounted" {
				return // without the mount it is another file
			}
			free()
			must(t, l.Intent(record("later")))
			if got := acts(t, path); len(got) != 1 || l.RotationError() != nil {
				t.Errorf("%d lines after it can be renamed, rotation error %v", len(got), l.RotationError())
			}
		})
	}
}

// An older file is in the way.
func TestOlderFileThatCannotBeReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path, Options{MaxBytes: 1000, Keep: 2})
	must(t, os.MkdirAll(filepath.Join(path+".2", "full"), 0o750))
	for i := range 20 {
		must(t, l.Intent(record(fmt.Sprint(i))))
		must(t, l.Outcome(outcome(fmt.Sprint(i), OutcomeDone)))
	}
	if l.RotationError() == nil {
		t.Error("no rotation error")
	}
	want := l.State()
	must(t, l.Close())
	must(t, os.RemoveAll(path+".2"))
	l = open(t, path, Options{MaxBytes: 1000, Keep: 2, Recent: 100})
	same(t, l.State(), want)
	if len(l.Recent()) != 20 || l.RotationError() != nil {
		t.Errorf("%d recent, rotation error %v", len(l.Recent()), l.RotationError())
	}
}

// In this directory the full file can be renamed and no new one created.
func TestNewFileThatCannotBeMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	full := false
	l, err := openWith(path, Options{MaxBytes: 1000}, func(path string) (file, error) {
		if full {
			return nil, unix.ENOSPC
		}
		return openAppend(path)
	})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	full = true
	for i := range 10 {
		must(t, l.Intent(record(fmt.Sprint(i))))
		must(t, l.Outcome(outcome(fmt.Sprint(i), OutcomeDone)))
	}
	if got := acts(t, path); len(got) != 20 || l.RotationError() == nil {
		t.Errorf("%d lines, rotation error %v", len(got), l.RotationError())
	}
	full = false
	must(t, l.Intent(record("later")))
	if got := acts(t, path); len(got) != 1 || l.RotationError() != nil {
		t.Errorf("%d lines, rotation error %v", len(got), l.RotationError())
	}
}

// A power failure between any two steps of a rotation.
func TestRotationThatIsCutShort(t *testing.T) {
	for steps := range DefaultKeep + 2 {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		l := open(t, path, Options{})
		must(t, l.Intent(record("1")))
		must(t, l.Relief("r", 3, noon))
		want := l.State()
		must(t, l.Close())
		for i := 1; i < DefaultKeep; i++ { // the last number is free
			rec := outcome(fmt.Sprint("history", i), OutcomeDone)
			rec.Phase = Done
			line, err := encode(rec)
			must(t, err)
			must(t, os.WriteFile(fmt.Sprint(path, ".", i), line, 0o640))
		}
		aside := path + ".rotating"
		moves := [][2]string{{path, aside}}
		for i := DefaultKeep; i > 1; i-- {
			moves = append(moves, [2]string{fmt.Sprint(path, ".", i-1), fmt.Sprint(path, ".", i)})
		}
		moves = append(moves, [2]string{aside, path + ".1"})
		for _, m := range moves[:steps] {
			must(t, os.Rename(m[0], m[1]))
		}
		l = open(t, path, Options{Recent: 10})
		same(t, l.State(), want)
		if len(l.Recent()) != DefaultKeep-1 || len(l.Unfinished()) != 1 {
			t.Errorf("cut after %d steps: %d recent, unfinished %+v", steps, len(l.Recent()), l.Unfinished())
		}
		if _, err := os.Stat(path + ".rotating"); err == nil {
			t.Errorf("cut after %d steps: not finished", steps)
		}
	}
}

// The audit log is a symbolic link: it stays one, and all files are at its target.
func TestSymbolicLink(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	path, real := filepath.Join(dir, "audit.jsonl"), filepath.Join(other, "real.jsonl")
	must(t, os.Symlink(real, path))
	l := open(t, path, Options{MaxBytes: 1000})
	must(t, os.Chmod(real, 0o600))
	for i := range 10 {
		must(t, l.Intent(record(fmt.Sprint(i))))
		must(t, l.Outcome(record(fmt.Sprint(i))))
	}
	if target, err := os.Readlink(path); err != nil || target != real {
		t.Errorf("link = %q, %v", target, err)
	}
	if got, _ := filepath.Glob(dir + "/*"); len(got) != 1 {
		t.Errorf("beside the link: %v", got)
	}
	for _, name := range []string{real, real + ".1", real + ".2"} {
		if info, err := os.Lstat(name); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	// Each name of it is locked.
	must(t, os.Symlink(other, filepath.Join(dir, "folder")))
	must(t, os.Symlink("audit.jsonl", filepath.Join(dir, "second")))
	t.Chdir(other)
	for _, name := range []string{real, filepath.Join(dir, "folder", "real.jsonl"), filepath.Join(dir, "second"), "real.jsonl"} {
		if second, err := Open(name, Options{}); err == nil {
			second.Close()
			t.Errorf("%s is a second lock on the same record", name)
		}
	}
}

func TestSymbolicLinkInACircle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	must(t, os.Symlink("audit.jsonl", path))
	if _, err := Open(path, Options{}); err == nil {
		t.Error("opened")
	}
}

// A file that is not regular is an error at once: opening a FIFO can block forever.
func TestNoRegularFile(t *testing.T) {
	testutil.Require(t, testutil.Root)
	for kind, create := range map[string]func(path string) error{
		"FIFO":      func(path string) error { return unix.Mkfifo(path, 0o640) },
		"socket":    func(path string) error { return unix.Mknod(path, unix.S_IFSOCK|0o640, 0) },
		"device":    func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o640, int(unix.Mkdev(1, 3))) },
		"directory": func(path string) error { return os.Mkdir(path, 0o750) },
	} {
		for _, suffix := range []string{"", ".lock", ".1", ".5", ".rotating"} {
			t.Run(kind+suffix, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "audit.jsonl")
				must(t, create(path+suffix))
				ended := make(chan error, 1)
				go func() {
					l, err := Open(path, Options{})
					if err == nil {
						l.Close()
					}
					ended <- err
				}()
				select {
				case err := <-ended:
					if err == nil || !strings.Contains(err.Error(), path+suffix) {
						t.Errorf("err = %v", err)
					}
				case <-time.After(10 * time.Second):
					t.Fatal("hangs")
				}
			})
		}
	}
	// Also while the manager runs.
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path, Options{})
	must(t, os.Remove(path))
	must(t, unix.Mkfifo(path, 0o640))
	if err := l.Intent(record("1")); err == nil {
		t.Error("written into a FIFO")
	}
	must(t, os.Remove(path))
	must(t, l.Intent(record("2")))
}

// The checkpoint alone exceeds the size limit: rotating at each record would drop the
// older files for nothing.
func TestCheckpointLongerThanAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path, Options{MaxBytes: 1000})
	for i := range 100 {
		must(t, l.Intent(record(fmt.Sprint(i))))
	}
	for i := 1; i <= DefaultKeep; i++ {
		name := fmt.Sprint(path, ".", i)
		size, headed, err := head(name)
		must(t, err)
		info, err := os.Stat(name)
		must(t, err)
		if !headed || info.Size() < 2*size {
			t.Errorf("%s: %d bytes, the checkpoint %d", name, info.Size(), size)
		}
	}
}
