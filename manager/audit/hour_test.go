package audit

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/manager/policy"
)

// The kills that were carried out, or may have been, are known after a restart.
func TestKillsOfTheHour(t *testing.T) {
	for name, c := range map[string]struct {
		act  act
		want policy.Mode // "" is no kill
	}{
		"done":                          {act{outcome: OutcomeDone, acted: true}, policy.Live},
		"unknown":                       {act{outcome: OutcomeUnknown, acted: true, found: FoundRunning}, policy.Live},
		"failed after a signal":         {act{outcome: OutcomeFailed, acted: true}, policy.Live},
		"gone during the kill":          {act{outcome: OutcomeAlreadyGone, acted: true}, policy.Live},
		"failed before one":             {act{outcome: OutcomeFailed}, ""},
		"gone before":                   {act{outcome: OutcomeAlreadyGone}, ""},
		"refused":                       {act{outcome: OutcomeRefused}, ""},
		"no record":                     {act{outcome: OutcomeNoRecord}, ""},
		"in flight, counted as such":    {act{}, ""},
		"dry run":                       {act{mode: policy.DryRun, outcome: OutcomeDryRun}, policy.DryRun},
		"dry run of the whole manager":  {act{outcome: OutcomeDryRun}, policy.DryRun},
		"of a version without acted":    {act{outcome: OutcomeDone}, policy.Live},
		"paused":                        {act{action: "pause", outcome: OutcomeDone, acted: true}, policy.Live},
		"interrupted, found in a retry": {act{outcome: OutcomeUnknown, acted: true, found: FoundGone}, policy.Live},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			l := open(t, path, Options{})
			for _, rec := range c.act.records(0) {
				if rec.Phase == Intent {
					must(t, l.Intent(rec))
				} else {
					must(t, l.Outcome(rec))
				}
			}
			var want []PastKill
			if c.want != "" {
				want = []PastKill{{Rule: "r", Mode: c.want, At: noon.Add(time.Second)}}
			}
			for range 2 {
				if got := l.State(); !slices.Equal(got.Kills, want) || !got.Unread.IsZero() {
					t.Errorf("%+v, want %+v; unread %s", got.Kills, want, got.Unread)
				}
				must(t, l.Close())
				l = open(t, path, Options{})
			}
		})
	}
}

// Older kills are dropped, others outlive rotations and restarts.
func TestKillsLeaveTheHour(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, path, Options{MaxBytes: 2000})
	for n := range 100 { // one a minute
		for i, rec := range (act{outcome: OutcomeDone, acted: true}).records(n) {
			if i == 0 {
				must(t, l.Intent(rec))
			} else {
				must(t, l.Outcome(rec))
			}
		}
	}
	for range 2 {
		got := l.State().Kills
		if first := noon.Add(40*time.Minute + time.Second); len(got) != 60 || !got[0].At.Equal(first) {
			t.Fatalf("%d kills, the first at %v, want 60 from %s", len(got), got, first)
		}
		must(t, l.Close())
		l = open(t, path, Options{MaxBytes: 2000})
	}
}

// A record that cannot be read may be one of a kill, not younger than the next record. A
// checkpoint after it has the sum of all records, and the beginning of a record hides
// none.
func TestUnreadRecords(t *testing.T) {
	line := func(rec Record) string {
		data, err := encode(rec)
		must(t, err)
		return string(data)
	}
	kill := func(n int) string {
		recs := act{outcome: OutcomeDone, acted: true}.records(n)
		return line(recs[0]) + line(recs[1])
	}
	h := emptyHistory()
	h.Unread = noon.Add(-time.Minute)
	state := line(Record{Phase: Checkpoint, Time: noon.Add(time.Hour), State: h.checkpoint()})
	now := noon.Add(24 * time.Hour)
	for name, c := range map[string]struct {
		text string
		want time.Time
	}{
		"none":                               {kill(1), time.Time{}},
		"before a record":                    {kill(1) + "\x00\x00\n" + kill(3) + kill(9), noon.Add(3 * time.Minute)},
		"at the end":                         {kill(1) + "?\n", now},
		"before and at the end":              {"?\n" + kill(1) + "?", now},
		"the clock was set back":             {kill(9) + "?\n" + kill(3), noon.Add(9*time.Minute + time.Second)},
		"of another form":                    {kill(1) + `{"phase":"outcome"}` + "\n" + kill(3), noon.Add(3 * time.Minute)},
		"of another type":                    {kill(1) + `{"phase":"outcome","kill_id":5}` + "\n" + kill(3), noon.Add(3 * time.Minute)},
		"an incomplete one":                  {kill(1) + kill(2)[:40] + "\n" + kill(3), time.Time{}},
		"an incomplete one at the end":       {kill(1) + kill(2)[:40], time.Time{}},
		"before a checkpoint":                {kill(1) + "?\n" + state + kill(90), noon.Add(-time.Minute)},
		"after a checkpoint":                 {state + "?\n" + kill(90), noon.Add(90 * time.Minute)},
		"a checkpoint of an earlier version": {strings.Replace(state, `"kills":[]`, `"rules":{}`, 1) + kill(90), noon.Add(time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			must(t, os.WriteFile(path, []byte(c.text), 0o640))
			l := open(t, path, Options{Now: func() time.Time { return now }, MaxBytes: 1})
			if got := l.State().Unread; !got.Equal(c.want) {
				t.Errorf("unread until %s, want %s", got, c.want)
			}
			must(t, l.Veto(Record{KillID: "v", Time: now})) // in a new file
			must(t, l.Close())
			l = open(t, path, Options{Now: func() time.Time { return now.Add(time.Hour) }})
			if got := l.State().Unread; !got.Equal(c.want) {
				t.Errorf("after a rotation: unread until %s, want %s", got, c.want)
			}
		})
	}
}
