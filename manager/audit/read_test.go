package audit

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/estiba/estiba/manager/policy"
)

// reads: a reader beside the manager finds the sum that the manager has.
func (w *twins) reads(t *rapid.T) {
	t.Helper()
	p, err := Read(w.path(), time.Now().AddDate(1, 0, 0))
	if errors.Is(err, os.ErrNotExist) {
		return // nothing was written yet
	}
	if err != nil {
		t.Fatal(err)
	}
	same(t, p.State, w.whole.State())
	if got, want := ids(p.Unfinished), ids(w.whole.Unfinished()); got != want {
		t.Errorf("unfinished = %s, want %s", got, want)
	}
}

func TestReadWhileItIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if _, err := Read(path, noon); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	l := open(t, path, Options{MaxBytes: 1, Keep: 3})
	for i, id := range []string{"1", "2"} {
		rec := record(id)
		rec.Time = noon.Add(time.Duration(i) * time.Minute)
		must(t, l.Intent(rec))
		rec.Time, rec.Outcome, rec.Acted = rec.Time.Add(time.Second), OutcomeDone, true
		must(t, l.Outcome(rec))
	}
	p, err := Read(path, noon.Add(30*time.Second))
	must(t, err)
	if len(p.Records) != 4 || p.Records[0].KillID != "1" || p.Records[3].KillID != "2" {
		t.Errorf("records %+v", p.Records)
	}
	// The second kill is later.
	if got := p.State.Rules["r"].LastKill; !got.Equal(noon.Add(time.Second)) || len(p.Unfinished) != 0 {
		t.Errorf("last kill at %s, unfinished %+v", got, p.Unfinished)
	}
	if p, err = Read(path, noon); err != nil || len(p.Unfinished) != 1 {
		t.Errorf("between intent and outcome: %+v, %v", p.Unfinished, err)
	}
}

// Files are renamed while they are read: no record is missing between two others.
func TestReadWhileItRotates(t *testing.T) {
	dir, err := os.MkdirTemp(memory(), "estiba-audit")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "audit.jsonl")
	l := open(t, path, Options{MaxBytes: 2000})
	ended := make(chan error)
	go func() {
		for i := range 1000 {
			rec := record(strconv.Itoa(i))
			if err := l.Veto(rec); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	consecutive := func() error {
		p, err := Read(path, time.Now())
		for i := 1; i < len(p.Records); i++ {
			before, _ := strconv.Atoi(p.Records[i-1].KillID)
			if got, _ := strconv.Atoi(p.Records[i].KillID); got != before+1 {
				t.Fatalf("record %d after %d", got, before)
			}
		}
		return err
	}
	for {
		select {
		case err := <-ended:
			must(t, err)
			must(t, consecutive())
			return
		default:
			_ = consecutive() // not written yet, or rotated all the time
		}
	}
}

// An outcome that was written twice counts once.
func TestReadOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	rec := record("1")
	rec.Phase, rec.Outcome, rec.Acted = Done, OutcomeDone, true
	line, err := encode(rec)
	must(t, err)
	must(t, os.WriteFile(path, append(append(line, line...), "garbage\n"...), 0o600))
	p, err := Read(path, noon.AddDate(1, 0, 0))
	if err != nil || len(p.Records) != 1 || p.Skipped != 1 || !p.State.Unread.Equal(noon.AddDate(1, 0, 0)) {
		t.Errorf("%+v, %v", p, err)
	}
}

// What a restarted manager remembers.
func TestMemory(t *testing.T) {
	now := time.Now()
	s := emptyState()
	s.Rules["r"] = RuleState{LastKill: now.Add(-time.Minute).Round(0), Unrelieved: 2}
	s.Kills = []PastKill{{Rule: "r", Mode: policy.Live, At: now.Add(-time.Minute).Round(0)}, {Rule: "r", At: now.Add(time.Hour).Round(0)}}
	s.Unread = now.Add(-time.Second).Round(0)
	m := s.Memory(now)
	if !m.LastKill["r"].Equal(s.Rules["r"].LastKill) || m.ReliefState["r"].Unrelieved != 2 || !m.ReliefState["r"].StoppedAt.Equal(m.LastKill["r"]) {
		t.Errorf("memory %+v", m)
	}
	if len(m.Kills) != 2 || now.Sub(m.Kills[0].At) != time.Minute || !m.Kills[1].At.Equal(now) || now.Sub(m.Unread) != time.Second {
		t.Errorf("kills %+v, unread %s", m.Kills, m.Unread)
	}
}
