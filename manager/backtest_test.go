package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/cli"
	"github.com/estiba/estiba/manager/gather"
)

// runBacktest runs a back-test and returns its JSON output.
func (w *realWorld) runBacktest(t *testing.T, policy string, b cli.BacktestOptions) cli.Backtest {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yml")
	if err := os.WriteFile(file, []byte(policy), 0o644); err != nil {
		t.Fatal(err)
	}
	b.Policy, b.Output = file, "json"
	var out bytes.Buffer
	if err := cli.RunBacktest(context.Background(), gather.Options{PrometheusURL: w.prometheus, Now: time.Now}, b, &out, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	var result cli.Backtest
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		t.Fatal(err)
	}
	return result
}

// A live run on real containers is recorded; the replay of its history has the same
// kills in the same order, within a tick or two.
func TestBacktestMatchesLiveRun(t *testing.T) {
	w := newRealWorld(t)
	w.start(t, "cpu-0", "managed=true", "kind=cpu")
	w.start(t, "io-only", "managed=true", "kind=io")
	w.start(t, "protected", "managed=true", "kind=cpu", "protect=true")
	w.start(t, "misspelt", "managed=true", "kind=cpu", "protekt=true")
	// in a replay a kill takes all of its grace
	policy := shipped(t, "one-of-each-kind.yml", "grace: 2s", "grace: 0s")
	process, url, auditFile := w.startManager(t, policy)
	get(t, url+"/-/healthy")
	w.mu.Lock()
	w.manager = url // from now on its metrics are in the history
	w.mu.Unlock()
	begun := time.Now()
	for _, name := range []string{"ram-0", "cpu-1", "ram-1", "cpu-2"} {
		kind, _, _ := strings.Cut(name, "-")
		w.start(t, name, "managed=true", "kind="+kind)
	}
	testutil.Eventually(t, 60*time.Second, "the surplus is gone", func() bool {
		r := w.running(t)
		return !r["cpu-0"] && !r["cpu-1"] && !r["ram-0"]
	})
	testutil.Eventually(t, 20*time.Second, "the outcomes are recorded", func() bool { return len(readAudit(t, auditFile)) == 6 })
	time.Sleep(3 * time.Second) // ticks without kills
	// Once it is gone, its metrics no longer protect the misspelt container in the past.
	ended := time.Now()
	process.Stop(t)

	live := map[string]time.Time{}
	for _, r := range readAudit(t, auditFile) {
		if r.Phase == audit.Intent {
			live[r.Name] = r.Time
		}
	}
	b := w.runBacktest(t, policy, cli.BacktestOptions{Since: ended.Sub(begun) + time.Second, Until: ended})
	past := b.Policies[0]
	if len(past.Kills) != len(live) {
		t.Errorf("the live run killed %v, the past %+v", live, past.Kills)
	}
	for _, k := range past.Kills {
		at, killed := live[k.Name]
		if !killed || k.Rule != "surplus" {
			t.Errorf("the live run did not kill %+v", k)
		} else if d := k.Time.Sub(at).Abs(); d > 2500*time.Millisecond {
			t.Errorf("%s: %s from the live kill", k.Name, d)
		}
	}
	if len(past.Totals) != 2 || past.Totals[0].Kills != 2 || past.Totals[1].Kills != 1 {
		t.Errorf("totals %+v", past.Totals)
	}

	// A policy that keeps two of each kind kills less.
	other := filepath.Join(t.TempDir(), "two.yml")
	if err := os.WriteFile(other, []byte(strings.NewReplacer("min: 1", "min: 2", "(1,", "(2,").Replace(policy)), 0o644); err != nil {
		t.Fatal(err)
	}
	d := w.runBacktest(t, policy, cli.BacktestOptions{Since: ended.Sub(begun) + time.Second, Until: ended, Other: other}).Difference
	var only []string
	for _, k := range d.OnlyFirst {
		only = append(only, k.Name)
	}
	slices.Sort(only)
	if d == nil || len(d.OnlySecond) != 0 || !slices.Contains(only, "ram-0") || d.Both+len(only) != 3 {
		t.Errorf("difference %+v", d)
	}
}
