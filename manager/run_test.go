package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/policy"
)

// get requests a page, and waits for the server to start.
func get(t *testing.T, url string) string {
	t.Helper()
	var resp *http.Response
	testutil.Eventually(t, 20*time.Second, url+" answers", func() (ok bool) {
		var err error
		resp, err = http.Get(url)
		return err == nil
	})
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func post(t *testing.T, url string) {
	t.Helper()
	resp, err := http.Post(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s answered %d: %s", url, resp.StatusCode, body)
	}
}

// readAudit reads intents, outcomes and vetoes from the audit log.
func readAudit(t *testing.T, path string) []audit.Record {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var records []audit.Record
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if r.Phase != audit.Checkpoint && r.Phase != audit.Relief {
			records = append(records, r)
		}
	}
	return records
}

// The shipped default policy on real containers: the newest of each kind stays, and no
// other container is touched.
func TestRunOnRealContainers(t *testing.T) {
	w := newRealWorld(t)
	w.start(t, "cpu-old", "managed=true", "kind=cpu")
	w.start(t, "cpu-mid", "managed=true", "kind=cpu")
	w.start(t, "ram-old", "managed=true", "kind=ram")
	w.start(t, "io-only", "managed=true", "kind=io")
	stay := []string{"io-only", "stranger", "unmanaged", "protected", "misspelt", "cpu-new", "ram-new"}
	w.start(t, "stranger")
	w.start(t, "unmanaged", "managed=false", "kind=cpu")
	w.start(t, "protected", "managed=true", "kind=cpu", "protect=true")
	w.start(t, "misspelt", "managed=true", "kind=cpu", "protekt=true")
	w.start(t, "cpu-new", "managed=true", "kind=cpu")
	w.start(t, "ram-new", "managed=true", "kind=ram")

	process, url, auditFile := w.startManager(t, shipped(t, "one-of-each-kind.yml"))
	testutil.Eventually(t, 60*time.Second, "the surplus is gone", func() bool {
		r := w.running(t)
		return !r["cpu-old"] && !r["cpu-mid"] && !r["ram-old"]
	})
	testutil.Eventually(t, 10*time.Second, "three outcomes are recorded", func() bool {
		n := 0
		for _, r := range readAudit(t, auditFile) {
			if r.Phase == audit.Done && r.Outcome == audit.OutcomeDone {
				n++
			}
		}
		return n == 3
	})
	// more ticks, without kills
	time.Sleep(3 * time.Second)
	w.mustRun(t, stay...)

	intents := map[string]bool{}
	for _, r := range readAudit(t, auditFile) {
		switch {
		case r.Phase == audit.Intent:
			intents[r.KillID] = true
		case !intents[r.KillID]:
			t.Errorf("outcome without an intent before it: %+v", r)
		}
	}
	metrics := get(t, url+"/metrics")
	for _, want := range []string{
		`estiba_manager_kills_total{kind="cpu",mode="live",outcome="done",rule="surplus"} 2`,
		`estiba_manager_kills_total{kind="disk",mode="live",outcome="done",rule="surplus"} 0`,
		`estiba_manager_containers{kind="io",state="running"} 1`,
		`why="label_error"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if page := get(t, url+"/"); !strings.Contains(page, "io-only") || !strings.Contains(page, "cpu-old") {
		t.Error("the status page shows neither the living nor the dead")
	}
	process.Stop(t)
	if log := process.Log(t); strings.Count(log, "msg=killed") != 3 || strings.Count(log, "\n") > 12 {
		t.Errorf("want three kills and few other lines, got:\n%s", log)
	}
}

// Stale data kill nothing, nor does a dry run; with fresh data the manager continues.
func TestStaleDataAndDryRun(t *testing.T) {
	w := newRealWorld(t)
	w.start(t, "cpu-old", "managed=true", "kind=cpu")
	w.start(t, "cpu-new", "managed=true", "kind=cpu")

	process, url, auditFile := w.startManager(t, shipped(t, "one-of-each-kind.yml"), "--dry-run")
	testutil.Eventually(t, 60*time.Second, "the dry run has recorded its victim", func() bool {
		return strings.Contains(get(t, url+"/metrics"), `estiba_manager_kills_total{kind="cpu",mode="dry_run",outcome="dry_run",rule="surplus"} 1`)
	})
	testutil.Eventually(t, 20*time.Second, "the next tick knows that", func() bool {
		return strings.Contains(get(t, url+"/api/v1/decisions"), `"reason": "dry_run_done"`)
	})
	w.mustRun(t, "cpu-old", "cpu-new")
	process.Stop(t)
	if got := readAudit(t, auditFile); len(got) != 2 || got[1].Outcome != audit.OutcomeDryRun {
		t.Errorf("record of the dry run: %+v", got)
	}

	// Prometheus keeps returning the same snapshot.
	w.freeze(t)
	time.Sleep(5 * time.Second) // longer than max_sample_age
	_, url, auditFile = w.startManager(t, shipped(t, "one-of-each-kind.yml"))
	testutil.Eventually(t, 20*time.Second, "stale ticks are counted", func() bool {
		m := get(t, url+"/metrics")
		return strings.Contains(m, `estiba_manager_ticks_total{result="no_fresh_data"} 3`) && strings.Contains(m, `estiba_manager_ticks_total{result="ok"} 0`)
	})
	if !strings.Contains(get(t, url+"/api/v1/decisions"), `"reason": "stale_sample"`) {
		t.Error("no decision says stale_sample")
	}
	w.mustRun(t, "cpu-old", "cpu-new")
	if data, err := os.ReadFile(auditFile); err != nil || len(data) != 0 {
		t.Errorf("something was recorded: %s, %v", data, err)
	}

	w.mu.Lock()
	w.frozen = ""
	w.mu.Unlock()
	testutil.Eventually(t, 30*time.Second, "the surplus is gone after all", func() bool { return !w.running(t)["cpu-old"] })
	w.mustRun(t, "cpu-new")
}

// interrupted is the audit log of a manager that exited between intent and outcome of a
// removal.
func (w *realWorld) interrupted(t *testing.T, id string) (file string) {
	t.Helper()
	c, err := w.docker.Inspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	file = t.TempDir() + "/audit.jsonl"
	l, err := audit.Open(file, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Intent(audit.Record{
		KillID: "cut", Rule: "surplus", Kind: "cpu", Container: id, StartedAt: c.StartedAt, Mode: "live",
		Action: "remove",
	}); err != nil {
		t.Fatal(err)
	}
	l.Close()
	return file
}

// The container of an interrupted kill still runs when the next manager starts, but may
// exit at any time: keep rules do not count it.
func TestInterruptedKillCountsAsGone(t *testing.T) {
	w := newRealWorld(t)
	w.start(t, "cpu-old", "managed=true", "kind=cpu")
	id := w.start(t, "cpu-new", "managed=true", "kind=cpu")
	file := w.interrupted(t, id)
	_, url, _ := w.startManager(t, shipped(t, "one-of-each-kind.yml"), "--audit.file="+file)
	testutil.Eventually(t, 60*time.Second, "the other one is spared as the last of its kind", func() bool {
		return reasonOf(t, url, "cpu-old") == policy.LastOfKind
	})
	// Until a minute has passed the kill may still be in flight.
	testutil.Eventually(t, 100*time.Second, "the record is complete", func() bool { return len(readAudit(t, file)) == 2 })
	w.mustRun(t, "cpu-old", "cpu-new")
}

// The next manager completes the audit log of one that was killed between intent and
// outcome; a second one beside it refuses to start.
func TestRecordIsCompletedAfterACrash(t *testing.T) {
	w := newRealWorld(t)
	id := w.start(t, "cpu-only", "managed=true", "kind=cpu")
	file := w.interrupted(t, id)
	_, url, _ := w.startManager(t, shipped(t, "one-of-each-kind.yml"), "--audit.file="+file)
	testutil.Eventually(t, 100*time.Second, "the record is complete", func() bool { return len(readAudit(t, file)) == 2 })
	if got := readAudit(t, file)[1]; got.KillID != "cut" || got.Outcome != audit.OutcomeUnknown || got.Found != audit.FoundRunning {
		t.Errorf("completed as %+v", got)
	}
	second, _, _ := w.startManager(t, shipped(t, "one-of-each-kind.yml"), "--audit.file="+file)
	testutil.Eventually(t, 20*time.Second, "the second manager refuses", second.Ended)
	if !strings.Contains(second.Log(t), "another manager") {
		t.Errorf("it said: %s", second.Log(t))
	}
	if !strings.Contains(get(t, url+"/metrics"), `outcome="unknown",rule="surplus"} 1`) {
		t.Error("the completed kill is not counted")
	}
}
