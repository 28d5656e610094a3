package audit

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func outcome(id string, o Outcome) Record {
	rec := record(id)
	rec.Outcome, rec.Acted = o, true
	return rec
}

// onDisk counts the records of a kill by phase.
func onDisk(t *testing.T, path, id string) map[Phase]int {
	t.Helper()
	n := map[Phase]int{}
	for _, rec := range lines(t, path) {
		if rec.KillID == id {
			n[rec.Phase]++
		}
	}
	return n
}

func TestOneOutcomeForOneIntent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path, Options{})
	must(t, l.Intent(record("1")))
	must(t, l.Outcome(outcome("1", OutcomeUnknown)))
	must(t, l.Outcome(outcome("1", OutcomeDone)))
	if got := onDisk(t, path, "1"); got[Done] != 1 || l.Waiting() != 0 {
		t.Errorf("lines = %v, %d waiting", got, l.Waiting())
	}
	if got := lines(t, path); got[2].Outcome != OutcomeUnknown {
		t.Errorf("the first outcome was replaced: %+v", got[2])
	}
}

// The directory is missing, as a volume can be, while an interrupted kill is completed
// again and again.
func TestOneOutcomeAfterRetries(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "volume")
	path := filepath.Join(dir, "audit.jsonl")
	l := open(t, path, Options{})
	must(t, l.Intent(record("1")))
	must(t, l.Close())
	l = open(t, path, Options{})
	must(t, os.Rename(dir, dir+".away"))
	for range 3 {
		if err := l.Outcome(outcome("1", OutcomeUnknown)); err == nil {
			t.Fatal("written without a directory")
		}
	}
	if l.Waiting() != 1 || len(l.Unfinished()) != 0 {
		t.Errorf("%d waiting, unfinished %+v", l.Waiting(), l.Unfinished())
	}
	must(t, os.Rename(dir+".away", dir))
	must(t, l.Outcome(outcome("1", OutcomeUnknown)))
	must(t, l.Close())
	if got := onDisk(t, path, "1"); got[Done] != 1 {
		t.Errorf("lines = %v", got)
	}
}

func TestOutcomeWhoseWriteFails(t *testing.T) {
	for name, c := range map[string]struct {
		fault disk
		lines int
	}{
		"write":                       {disk{write: 1}, 1},
		"fsync":                       {disk{sync: 1}, 1},
		"write and truncate":          {disk{write: 1, truncate: 1}, 1}, // half a line is no record
		"fsync and truncate":          {disk{sync: 1, truncate: 1}, 2},
		"fsync, also of the truncate": {disk{sync: 2}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			d := &disk{}
			l, err := openWith(path, Options{}, d.open)
			must(t, err)
			must(t, l.Intent(record("1")))
			*d = c.fault
			if err := l.Outcome(outcome("1", OutcomeFailed)); !errors.Is(err, unix.EIO) {
				t.Errorf("err = %v", err)
			}
			if l.Waiting() != 1 {
				t.Errorf("%d wait", l.Waiting())
			}
			must(t, l.Flush())
			must(t, l.Close())
			data, err := os.ReadFile(path)
			must(t, err)
			n := 0
			again := open(t, path, Options{Recent: 10})
			must(t, scan(path, func(rec Record, ok bool) {
				if ok && rec.Phase == Done {
					n++
				}
			}))
			if n != c.lines {
				t.Errorf("%d outcome lines, want %d:\n%s", n, c.lines, data)
			}
			if len(again.Unfinished()) != 0 || len(again.Recent()) != 1 {
				t.Errorf("unfinished %+v, recent %+v", again.Unfinished(), again.Recent())
			}
		})
	}
}

// The container of an intent that could not be written was not touched, and the next
// start must know that.
func TestIntentWhoseWriteFails(t *testing.T) {
	for name, fault := range map[string]disk{
		"write":                       {write: 1},
		"fsync":                       {sync: 1},
		"write and truncate":          {write: 1, truncate: 1},
		"fsync and truncate":          {sync: 1, truncate: 1},
		"fsync, also of the truncate": {sync: 2},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			d := &disk{}
			l, err := openWith(path, Options{}, d.open)
			must(t, err)
			must(t, l.Intent(record("1")))
			must(t, l.Outcome(outcome("1", OutcomeDone)))
			want := l.State()
			*d = fault
			if err := l.Intent(record("2")); !errors.Is(err, unix.EIO) {
				t.Errorf("err = %v", err)
			}
			must(t, l.Close())
			again := open(t, path, Options{Recent: 10})
			if len(again.Unfinished()) != 0 {
				t.Errorf("unfinished = %+v", again.Unfinished())
			}
			same(t, again.State(), want)
			for _, rec := range again.Recent() {
				if rec.KillID == "2" && rec.Outcome != OutcomeNoRecord {
					t.Errorf("an outcome that was not: %+v", rec)
				}
			}
		})
	}
}

// A file with a duplicate outcome, as older versions can have written.
func TestDoubledOutcomeIsTakenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	rec := outcome("1", OutcomeDone)
	rec.Phase = Done
	line, err := encode(rec)
	must(t, err)
	must(t, os.WriteFile(path+".1", line, 0o640))
	must(t, os.WriteFile(path, append(line, line...), 0o640))
	if l := open(t, path, Options{Recent: 10}); len(l.Recent()) != 1 {
		t.Errorf("recent = %+v", l.Recent())
	}
	// Nor does it restore later ones.
	path = filepath.Join(t.TempDir(), "audit.jsonl")
	failed, done := act{outcome: OutcomeFailed, acted: true}.records(1), act{outcome: OutcomeDone, acted: true}.records(2)
	var data []byte
	for _, rec := range []Record{failed[0], failed[1], done[0], done[1], failed[1]} {
		line, err := encode(rec)
		must(t, err)
		data = append(data, line...)
	}
	must(t, os.WriteFile(path, data, 0o640))
	if s := open(t, path, Options{}).State(); len(s.Signalled) != 0 {
		t.Errorf("signalled = %v", s.Signalled)
	}
}

// An outcome is in the file before the checkpoint with its intent open: its fsync
// failed, it could not be removed, and the manager exited right after the checkpoint of
// the next file.
func TestOutcomeBeforeTheCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	h := emptyHistory()
	in, out := record("1"), outcome("1", OutcomeDone)
	in.Phase, out.Phase = Intent, Done
	h.apply(in)
	write := func(path string, list ...Record) {
		var data []byte
		for _, rec := range list {
			line, err := encode(rec)
			must(t, err)
			data = append(data, line...)
		}
		must(t, os.WriteFile(path, data, 0o640))
	}
	write(path+".1", in, out)
	write(path, Record{Phase: Checkpoint, State: h.checkpoint()})
	if l := open(t, path, Options{}); len(l.Unfinished()) != 0 {
		t.Errorf("unfinished = %+v", l.Unfinished())
	}
}

// The lock is released: later records must not be written beside another manager.
func TestNothingIsWrittenAfterClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path, Options{})
	must(t, l.Intent(record("1")))
	must(t, l.Close())
	open(t, path, Options{})
	if err := l.Outcome(outcome("1", OutcomeDone)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("outcome after Close: %v", err)
	}
	if got := onDisk(t, path, "1"); got[Done] != 0 {
		t.Errorf("lines = %v", got)
	}
}
