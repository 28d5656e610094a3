package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/silences"
	"github.com/estiba/estiba/manager/status"
)

// alertmanagerOf is a real Alertmanager with the shipped configuration.
type alertmanagerOf struct {
	t       *testing.T
	address string
	process *testutil.Process
}

func startAlertmanager(t *testing.T) *alertmanagerOf {
	t.Helper()
	a := &alertmanagerOf{t: t, address: testutil.FreeAddress(t)}
	a.process = testutil.StartProcess(t, "alertmanager", testutil.Tool(t, "alertmanager"),
		"--config.file="+filepath.Join(testutil.RepositoryRoot(t), "prometheus", "alertmanager.yml"),
		"--storage.path="+t.TempDir(), "--web.listen-address="+a.address, "--cluster.listen-address=")
	return a
}

func (a *alertmanagerOf) tool(args ...string) string {
	a.t.Helper()
	out, err := exec.Command(testutil.Tool(a.t, "amtool"), append(args, "--alertmanager.url=http://"+a.address)...).CombinedOutput()
	if err != nil {
		a.t.Fatalf("amtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// announced are the names in Alertmanager's announcements.
func (a *alertmanagerOf) announced() map[string]bool {
	var alerts []struct{ Labels map[string]string }
	out := a.tool("alert", "query", "--output=json", "--silenced", "--active", "alertname="+silences.Alert)
	if err := json.Unmarshal([]byte(out), &alerts); err != nil {
		a.t.Fatalf("%v: %s", err, out)
	}
	names := map[string]bool{}
	for _, one := range alerts {
		names[one.Labels["name"]] = true
	}
	return names
}

// reasonOf is the reason for a container in the last tick.
func reasonOf(t *testing.T, url, name string) policy.Reason {
	t.Helper()
	var d status.Decisions
	if err := json.Unmarshal([]byte(get(t, url+"/api/v1/decisions")), &d); err != nil {
		t.Fatal(err)
	}
	for _, c := range d.Containers {
		if c.Name == name {
			return c.Reason
		}
	}
	return ""
}

// A real Alertmanager announces a kill before it is made, a silence vetoes it, and
// without Alertmanager the container is spared.
func TestAnnouncedKillsAndVetoes(t *testing.T) {
	am := startAlertmanager(t)
	w := newAlertingWorld(t, am.address, "../prometheus/rules/alerts.rules.yml")
	for _, name := range []string{"oldest", "older", "newest"} {
		w.start(t, name, "managed=true", "kind=cpu")
		time.Sleep(1100 * time.Millisecond) // so that their ages differ
	}
	vetoed := am.tool("silence", "add", "alertname="+silences.Alert, "name=older", "--comment=needs it until noon", "--author=night shift", "--duration=1h")
	rule := shipped(t, "one-of-each-kind.yml", "action: remove", "announce: 3s\n    action: remove")
	_, url, record := w.startManager(t, rule, "--alertmanager.url=http://"+am.address)
	w.mu.Lock()
	w.manager = url
	w.mu.Unlock()

	vetoesOf := func(name string) (list []audit.Record) {
		for _, r := range readAudit(t, record) {
			if r.Phase == audit.Vetoed && r.Name == name {
				list = append(list, r)
			}
		}
		return list
	}
	testutil.Eventually(t, 60*time.Second, "the oldest is announced", func() bool { return am.announced()["oldest"] })
	announced := time.Now()
	w.mustRun(t, "oldest", "older", "newest")
	testutil.Eventually(t, 60*time.Second, "it is killed after that", func() bool { return !w.running(t)["oldest"] })
	if took := time.Since(announced); took < 2*time.Second {
		t.Errorf("killed %s after it was announced", took)
	}
	testutil.Eventually(t, 30*time.Second, "the veto stands in the record", func() bool { return len(vetoesOf("older")) > 0 })
	if v := vetoesOf("older"); len(v) != 1 || v[0].Veto == nil || v[0].Veto.CreatedBy != "night shift" || v[0].Veto.Comment != "needs it until noon" ||
		len(v[0].Veto.Silences) != 1 || v[0].Veto.Silences[0] != vetoed {
		t.Errorf("vetoes = %+v", v)
	}
	// without Alertmanager vetoes are unknown
	am.process.Signal(syscall.SIGSTOP)
	testutil.Eventually(t, 60*time.Second, "no answer", func() bool { return reasonOf(t, url, "older") == policy.NoVetoAnswer })
	am.process.Signal(syscall.SIGCONT)
	testutil.Eventually(t, 60*time.Second, "the veto holds again", func() bool { return reasonOf(t, url, "older") == policy.Vetoed })
	w.mustRun(t, "older", "newest")
	am.tool("silence", "expire", vetoed)
	testutil.Eventually(t, 60*time.Second, "announced anew", func() bool { return reasonOf(t, url, "older") == policy.Announced })
	testutil.Eventually(t, 60*time.Second, "and killed", func() bool { return !w.running(t)["older"] })
	w.mustRun(t, "newest")
	for name, r := range outcomes(t, record) {
		if r.Outcome != audit.OutcomeDone {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
