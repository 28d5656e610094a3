package audit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/estiba/estiba/manager/policy"
)

// kill ends the log as kill -9 does: without a flush, and with the lock released.
func kill(l *Log) {
	if l.file != nil {
		l.file.Close()
	}
	l.lock.Close()
}

// twins are two audit logs of the same events: one with files so small that it rotates
// all the time, on a disk that may fail, and one with a single file on a disk that does
// not.
type twins struct {
	dir          string
	d            *disk
	small, whole *Log
	options      Options // of the small one
	n            int
	open         []Record
}

func newTwins(t *rapid.T) *twins {
	dir, err := os.MkdirTemp(memory(), "estiba-audit")
	if err != nil {
		t.Fatal(err)
	}
	w := &twins{dir: dir, d: &disk{}, options: Options{
		MaxBytes: int64(rapid.IntRange(1, 4000).Draw(t, "max bytes")),
		Keep:     rapid.IntRange(1, 3).Draw(t, "keep"), Recent: 5,
	}}
	w.start(t)
	return w
}

// memory is a folder in which syncing is cheap, if there is one.
func memory() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

func (w *twins) end() {
	kill(w.small)
	kill(w.whole)
	os.RemoveAll(w.dir)
}

func (w *twins) path() string { return filepath.Join(w.dir, "small.jsonl") }

func (w *twins) start(t *rapid.T) {
	var err error
	if w.small, err = openWith(w.path(), w.options, w.d.open); err != nil {
		t.Fatal(err)
	}
	if w.whole, err = Open(filepath.Join(w.dir, "whole.jsonl"), Options{MaxBytes: 1 << 40, Recent: 5}); err != nil {
		t.Fatal(err)
	}
}

func (w *twins) compare(t *rapid.T) {
	t.Helper()
	same(t, w.small.State(), w.whole.State())
	if got, want := ids(w.small.Unfinished()), ids(w.whole.Unfinished()); got != want {
		t.Errorf("unfinished = %s, want %s", got, want)
	}
}

func ids(list []Record) string {
	var ids []string
	for _, rec := range list {
		ids = append(ids, rec.KillID)
	}
	return fmt.Sprint(ids)
}

// intent writes an intent to both, and to neither an outcome if the small one fails.
func (w *twins) intent(t *rapid.T) error {
	w.n++
	started := noon.Add(time.Duration(rapid.IntRange(0, 1).Draw(t, "life")) * time.Minute)
	rec := Record{
		Time: noon.Add(time.Duration(w.n) * time.Second), KillID: fmt.Sprint(w.n),
		Rule: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "rule"), Container: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "container"),
		StartedAt: started, Mode: rapid.SampledFrom([]policy.Mode{policy.Live, policy.DryRun}).Draw(t, "mode"),
		Action: rapid.SampledFrom([]string{"kill", "pause"}).Draw(t, "action"),
	}
	rec.Unrelieved = w.level(rec.Rule)
	if err := w.small.Intent(rec); err != nil {
		return err
	}
	w.open = append(w.open, rec)
	return w.whole.Intent(rec)
}

// level is Unrelieved of a rule's kills at this time.
func (w *twins) level(rule string) int {
	h := w.whole.all()
	if before, raised := h.before[rule]; raised {
		return before
	}
	return h.Rules[rule].Unrelieved
}

func (w *twins) outcome(t *rapid.T) error {
	i := rapid.IntRange(0, len(w.open)-1).Draw(t, "which")
	rec := w.open[i]
	w.open = append(w.open[:i:i], w.open[i+1:]...)
	w.n++
	rec.Time = noon.Add(time.Duration(w.n) * time.Second)
	rec.Outcome, rec.Acted = rapid.SampledFrom(Outcomes()).Draw(t, "outcome"), rapid.Bool().Draw(t, "acted")
	if rec.Outcome == OutcomeUnknown {
		rec.Found = rapid.SampledFrom([]Found{FoundGone, FoundRunning, FoundRestarted, FoundPaused}).Draw(t, "found")
	}
	if err := w.whole.Outcome(rec); err != nil {
		return err
	}
	err := w.small.Outcome(rec)
	if rapid.Bool().Draw(t, "again") {
		rec.Outcome = OutcomeUnknown
		w.whole.Outcome(rec)
		err = w.small.Outcome(rec)
	}
	return err
}

func (w *twins) relief(t *rapid.T) error {
	rule, n := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "rule"), rapid.IntRange(0, 3).Draw(t, "unrelieved")
	var at time.Time
	if n == 3 {
		at = noon
	}
	if err := w.whole.Relief(rule, n, at); err != nil {
		return err
	}
	return w.small.Relief(rule, n, at)
}

// With any rotations, moves, truncations, kills and restarts of the manager, the audit
// log has the same sum as a single file.
func TestReplayAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newTwins(t)
		defer w.end()
		fail := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		actions := map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				w.compare(t)
				w.reads(t)
			},
			"intent": func(t *rapid.T) {
				fail(w.intent(t))
			},
			"outcome": func(t *rapid.T) {
				if len(w.open) == 0 {
					t.Skip()
				}
				fail(w.outcome(t))
			},
			"relief": func(t *rapid.T) { fail(w.relief(t)) },
			"veto": func(*rapid.T) {
				fail(w.small.Veto(Record{KillID: "v", Rule: "a"}))
			},
			"lose the file": func(t *rapid.T) {
				if rapid.Bool().Draw(t, "cut") {
					fail(os.Truncate(w.path(), 0))
				} else {
					fail(os.Rename(w.path(), w.path()+".moved"))
				}
				fail(w.small.Veto(Record{KillID: "v", Rule: "a"}))
			},
			"restart": func(t *rapid.T) {
				kill(w.small)
				kill(w.whole)
				w.start(t)
				if w.small.Skipped() != 0 {
					t.Errorf("%d lines skipped", w.small.Skipped())
				}
			},
		}
		t.Repeat(actions)
	})
}

// On a disk that fails at any call and recovers later, the sum matches the events: no
// outcome is lost or counts twice, and no failed intent remains.
func TestReplayAddsUpAfterFaults(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newTwins(t)
		defer w.end()
		t.Repeat(map[string]func(*rapid.T){
			"intent": func(t *rapid.T) {
				w.intent(t)
			},
			"outcome": func(t *rapid.T) {
				if len(w.open) == 0 {
					t.Skip()
				}
				w.outcome(t)
			},
			"relief": func(t *rapid.T) {
				if len(w.open) > 0 {
					t.Skip()
				}
				w.relief(t)
			},
			"fail": func(t *rapid.T) {
				*w.d = disk{
					write: rapid.IntRange(0, 2).Draw(t, "write"), sync: rapid.IntRange(0, 2).Draw(t, "sync"),
					truncate: rapid.IntRange(0, 2).Draw(t, "truncate"),
				}
			},
			"restart": func(t *rapid.T) {
				*w.d = disk{}
				if err := w.small.Flush(); err != nil {
					t.Fatal(err)
				}
				kill(w.small)
				kill(w.whole)
				w.start(t)
				w.compare(t)
				once(t, w.small)
			},
		})
	})
}

func once(t failer, l *Log) {
	t.Helper()
	seen := map[string]bool{}
	for _, rec := range l.Recent() {
		if seen[rec.KillID] {
			t.Errorf("kill %s is twice among the recent ones", rec.KillID)
		}
		seen[rec.KillID] = true
	}
}

// With any content, files are read to their end, and no intent is unfinished if its
// outcome is in one of them.
func FuzzReplay(f *testing.F) {
	line := func(rec Record) []byte {
		data, err := encode(rec)
		if err != nil {
			f.Fatal(err)
		}
		return data
	}
	in, out := act{outcome: OutcomeFailed, acted: true}.records(1)[0], act{outcome: OutcomeFailed, acted: true}.records(1)[1]
	h := emptyHistory()
	h.apply(in)
	h.apply(act{mode: policy.DryRun, outcome: OutcomeDryRun}.records(2)[1])
	state := line(Record{Phase: Checkpoint, State: h.checkpoint()})
	relief := line(Record{Phase: Relief, Rule: "r", Unrelieved: 2, StoppedAt: &noon})
	f.Add([]byte{}, []byte{}, []byte{})
	f.Add(append(line(in), line(out)...), state, line(out))
	f.Add(append(line(out), line(in)...), append(state, relief...), append(state, state...))
	f.Add(line(out), append(state, line(in)...), state)
	f.Add(state, bytes.Repeat(line(out), 2), append(line(in), `{"kill_id":"1","phase":"outco`...))
	f.Add([]byte(`{"phase":"state","state":{"rules":null,"open":[{},{"phase":"intent"}],"signalled":null}}`), []byte("null\n[]\n\x00\n"), []byte(`{"phase":"state","state":null}`))
	f.Fuzz(func(t *testing.T, second, first, current []byte) {
		dir, err := os.MkdirTemp(memory(), "estiba-audit")
		must(t, err)
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "audit.jsonl")
		outcomes := map[string]bool{}
		for name, data := range map[string][]byte{path + ".2": second, path + ".1": first, path: current} {
			must(t, os.WriteFile(name, data, 0o640))
			must(t, scan(name, func(rec Record, ok bool) {
				if ok && rec.Phase == Done {
					outcomes[rec.KillID] = true
				}
			}))
		}
		now := func() time.Time { return noon }
		l := open(t, path, Options{Recent: 3, Now: now})
		for _, rec := range l.Unfinished() {
			if outcomes[rec.KillID] {
				t.Errorf("kill %q is unfinished and has an outcome", rec.KillID)
			}
		}
		once(t, l)
		// It can continue, with the same sum afterwards.
		must(t, l.Veto(Record{KillID: "v"}))
		want, unfinished := l.State(), ids(l.Unfinished())
		must(t, l.Close())
		l = open(t, path, Options{Recent: 3, Now: now})
		same(t, l.State(), want)
		if got := ids(l.Unfinished()); got != unfinished {
			t.Errorf("unfinished = %s, before %s", got, unfinished)
		}
	})
}
