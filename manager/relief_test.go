package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/manager/audit"
)

// putBack restarts each container that exits, under the same name, as a supervisor
// does, until the test or the returned function ends it.
func (w *realWorld) putBack(t *testing.T, kind string, names ...string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			running := w.running(t)
			for _, n := range names {
				if !running[n] {
					w.tryStart(n, "managed=true", "kind="+kind) // until the old one is removed
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
		}
	}
	t.Cleanup(stop)
	return stop
}

// Killed containers are started again, so the rule stops, logs it, and resumes after a
// reload of the policy.
func TestRuleWithoutReliefStopsItself(t *testing.T) {
	w := newRealWorld(t)
	w.start(t, "cpu-a", "managed=true", "kind=cpu")
	w.start(t, "cpu-b", "managed=true", "kind=cpu")
	stop := w.putBack(t, "cpu", "cpu-a", "cpu-b")

	policy := shipped(t, "one-of-each-kind.yml", "dry_run: false", "dry_run: false\n    relief: {after: 8s, stop_after: 3, resume_after: 0s}", "cooldown: 0s",
		"cooldown: 8s")
	process, url, auditFile := w.startManager(t, policy)
	testutil.Eventually(t, 180*time.Second, "the rule has stopped itself", func() bool {
		return strings.Contains(get(t, url+"/metrics"), `estiba_manager_rule_stopped{rule="surplus"} 1`)
	})
	kills := len(readAudit(t, auditFile))
	if n := kills / 2; n != 3 {
		t.Errorf("%d kills, want the three without relief", n)
	}
	testutil.Eventually(t, 30*time.Second, "the reason is given", func() bool {
		return strings.Contains(get(t, url+"/api/v1/decisions"), `"reason": "no_relief"`)
	})
	for _, want := range []string{
		`estiba_manager_kill_relief_ratio{kind="cpu",rule="surplus"} 0`, `estiba_manager_kills_without_relief{rule="surplus"} 3`,
	} {
		if !strings.Contains(get(t, url+"/metrics"), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if !strings.Contains(get(t, url+"/"), "brought no relief") {
		t.Error("the page does not explain the missing kills")
	}
	// a restart does not resume it
	process.Stop(t)
	process, url, _ = w.startManager(t, policy, "--audit.file="+auditFile)
	testutil.Eventually(t, 120*time.Second, "the rule has stopped itself again", func() bool {
		return strings.Contains(get(t, url+"/metrics"), `estiba_manager_rule_stopped{rule="surplus"} 1`)
	})
	if n := len(readAudit(t, auditFile))/2 - 3; n != 0 {
		t.Errorf("%d kills after the restart, want none", n)
	}

	stop()
	post(t, url+"/-/reload")
	testutil.Eventually(t, 120*time.Second, "the rule goes on and its kill helps", func() bool {
		return strings.Contains(get(t, url+"/metrics"), `estiba_manager_kill_relief_ratio{kind="cpu",rule="surplus"} 1`)
	})
	if n := len(w.running(t)); n != 1 {
		t.Errorf("%d containers run, want one", n)
	}
	for _, r := range readAudit(t, auditFile) {
		if r.Phase == audit.Done && r.Outcome != audit.OutcomeDone {
			t.Errorf("%+v", r)
		}
	}
	process.Stop(t)
	if log := process.Log(t); !strings.Contains(log, "rule stopped") || !strings.Contains(log, "rule resumed") {
		t.Errorf("missing in the log:\n%s", log)
	}
}
