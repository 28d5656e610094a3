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
)

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

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
		records = append(records, r)
	}
	return records
}

// The shipped default against real containers: the newest of each kind stays,
// and nothing else is touched that is not the manager's business.
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
	// Some quiet ticks more: nobody else may go.
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
