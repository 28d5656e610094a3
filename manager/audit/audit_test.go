package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func record(id string) Record {
	return Record{
		Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), KillID: id, Rule: "r", Kind: "cpu", Container: strings.Repeat("a", 64), Mode: "live",
		Action: "remove",
	}
}

func open(t *testing.T, path string, o Options) *Log {
	t.Helper()
	l, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func lines(t *testing.T, path string) []Record {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	var list []Record
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		if line == "" {
			continue
		}
		var r Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		list = append(list, r)
	}
	return list
}

// acts are the records without checkpoints.
func acts(t *testing.T, path string) []Record {
	t.Helper()
	return slices.DeleteFunc(lines(t, path), func(r Record) bool { return r.Phase == Checkpoint })
}

func TestIntentAndOutcome(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "audit.jsonl")
	l := open(t, path, Options{Recent: 10})
	must(t, l.Intent(record("1")))
	must(t, l.Intent(record("2")))
	done := record("1")
	done.Outcome = OutcomeDone
	must(t, l.Outcome(done))
	if u := l.Unfinished(); len(u) != 1 || u[0].KillID != "2" {
		t.Errorf("unfinished = %+v", u)
	}
	must(t, l.Close())
	got := acts(t, path)
	if len(got) != 3 || got[0].Phase != Intent || got[2].Phase != Done || got[2].Outcome != OutcomeDone {
		t.Errorf("file = %+v", got)
	}
	again := open(t, path, Options{Recent: 10})
	if u := again.Unfinished(); len(u) != 1 || u[0].KillID != "2" {
		t.Errorf("unfinished after reopening = %+v", u)
	}
	if r := again.Recent(); len(r) != 1 || r[0].KillID != "1" {
		t.Errorf("recent = %+v", r)
	}
}

// A veto counts neither as a kill nor as one in flight.
func TestVeto(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path, Options{})
	rec := record("1")
	rec.Veto = &Veto{Silences: []string{"s"}, CreatedBy: "somebody", Comment: "why"}
	must(t, l.Veto(rec))
	must(t, l.Close())
	if got := acts(t, path); len(got) != 1 || got[0].Phase != Vetoed || got[0].Veto.CreatedBy != "somebody" {
		t.Errorf("file = %+v", got)
	}
	l = open(t, path, Options{Recent: 10})
	if len(l.Unfinished()) != 0 || len(l.Recent()) != 0 || l.Skipped() != 0 {
		t.Errorf("unfinished %+v, recent %+v, skipped %d", l.Unfinished(), l.Recent(), l.Skipped())
	}
}

func TestSecondManagerIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	first := open(t, path, Options{})
	if _, err := Open(path, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second Open: %v, want ErrLocked", err)
	}
	must(t, first.Close())
	open(t, path, Options{})
}

func TestHalfALineIsPassedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path, Options{})
	must(t, l.Intent(record("1")))
	must(t, l.Close())
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	fmt.Fprint(f, `{"ts":"2026-01-01T00:00:00Z","kill_id":"2","phase":"int`)
	must(t, f.Close())
	l = open(t, path, Options{Recent: 10})
	if l.Skipped() != 1 || len(l.Unfinished()) != 1 {
		t.Errorf("skipped %d, unfinished %+v", l.Skipped(), l.Unfinished())
	}
	must(t, l.Intent(record("3")))
	must(t, l.Close())
	if l = open(t, path, Options{}); len(l.Unfinished()) != 2 {
		t.Errorf("the record after half a line is lost: %+v", l.Unfinished())
	}
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path, Options{MaxBytes: 2000, Keep: 3})
	for i := range 60 {
		must(t, l.Intent(record(fmt.Sprint(i))))
		must(t, l.Outcome(record(fmt.Sprint(i))))
	}
	must(t, l.Intent(record("open")))
	for before := int64(0); l.size > before; { // until it rotates
		before = l.size
		must(t, l.Intent(record("filler")))
		must(t, l.Outcome(record("filler")))
	}
	must(t, l.Close())
	files, _ := filepath.Glob(path + "*")
	if len(files) != 5 { // the file, three rotated ones, the lock
		t.Errorf("files = %v", files)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > 2000 {
			t.Errorf("%s: %v, %v", f, info.Size(), err)
		}
	}
	if l = open(t, path, Options{}); len(l.Unfinished()) != 1 || l.Unfinished()[0].KillID != "open" {
		t.Errorf("an intent before the rotation is lost: %+v", l.Unfinished())
	}
}

func TestMovedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path, Options{})
	must(t, l.Intent(record("1")))
	must(t, os.Rename(path, path+".old"))
	must(t, l.Intent(record("2")))
	if got := acts(t, path); len(got) != 1 || got[0].KillID != "2" {
		t.Errorf("file = %+v", got)
	}
}

// A full disk: the intent fails, an outcome waits, both are correct afterwards.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		if os.Geteuid() == 0 && os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs a small file system: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	path := filepath.Join(dir, "audit.jsonl")
	l := open(t, path, Options{Recent: 10})
	must(t, l.Intent(record("1")))
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	must(t, err)
	for {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			break
		}
	}
	f.Close()
	var failed error
	tries := 0
	for failed == nil && tries < 100 { // the last page has room for some
		tries++
		failed = l.Intent(record(fmt.Sprintf("more%d", tries)))
	}
	if !errors.Is(failed, unix.ENOSPC) {
		t.Fatalf("intent on a full disk: %v", failed)
	}
	done := record("1")
	done.Outcome = OutcomeDone
	if err := l.Outcome(done); err == nil || l.Waiting() != 1 {
		t.Fatalf("outcome on a full disk: %v, %d waiting", err, l.Waiting())
	}
	must(t, os.Remove(ballast))
	must(t, l.Intent(record("after")))
	if l.Waiting() != 0 {
		t.Error("the outcome still waits")
	}
	must(t, l.Close())
	again := open(t, path, Options{Recent: 10})
	left := map[string]bool{}
	for _, u := range again.Unfinished() {
		left[u.KillID] = true
	}
	if left["1"] || !left["after"] || left[fmt.Sprintf("more%d", tries)] {
		t.Errorf("unfinished = %v", left)
	}
}

func TestReadOnlyDirectoryIsAnErrorAtOpen(t *testing.T) {
	if _, err := Open("/proc/estiba-audit/audit.jsonl", Options{}); err == nil {
		t.Error("Open in a place that cannot be written succeeded")
	}
}

func TestManyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path, Options{})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if l.Intent(record(fmt.Sprint(i))) != nil || l.Outcome(record(fmt.Sprint(i))) != nil {
				t.Error("a record was lost")
			}
		}()
	}
	wg.Wait()
	if got := acts(t, path); len(got) != 32 || len(l.Unfinished()) != 0 {
		t.Errorf("%d lines, %d unfinished", len(got), len(l.Unfinished()))
	}
}

// TestMain runs the process that is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("ESTIBA_AUDIT_HELPER"); path != "" {
		l, err := Open(path, Options{})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		if err := l.Intent(record("cut short")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("written")
		// Without a goroutine to wake it, select {} would end the process.
		time.Sleep(time.Minute)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// kill -9 between intent and outcome leaves the intent, and no lock.
func TestKilledBetweenIntentAndOutcome(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ESTIBA_AUDIT_HELPER="+path)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	said := make([]byte, 7)
	if _, err := out.Read(said); err != nil || string(said) != "written" {
		t.Fatalf("helper said %q, %v", said, err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("Open beside a living manager: %v", err)
	}
	must(t, cmd.Process.Kill())
	cmd.Wait()
	l := open(t, path, Options{})
	if u := l.Unfinished(); len(u) != 1 || u[0].KillID != "cut short" || u[0].Phase != Intent {
		t.Errorf("unfinished = %+v", u)
	}
}
