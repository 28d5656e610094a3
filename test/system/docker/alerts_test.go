package docker_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// strict is a policy that removes one container a tick, and whose kills bring no
// relief to what it measures.
const strict = `
mode: live
interval: 6s
max_sample_age: 20s
max_kills_per_tick: 1
scope: managed
keep:
  - {by: kind, min: 1}
protect: {names: [], images: [], labels: {}}
rules:
  - name: one_by_one
    query: time() - estiba_container_start_time_seconds
    action: remove
    grace: 1s
    announce: ANNOUNCE
    relief: {by: query, query: scalar(vector(1)), stop_after: 5, resume_after: 0s}
`

// TestAlertsFire brings about what each alert is for, with real containers and the
// real programs, and waits until it fires. The rules are the shipped ones, in a hurry;
// the one about disks fires at a thousandth of the bytes.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	if testutil.Alone(t) {
		return
	}
	inbox, hook := stack.WebInbox(t)
	w := newWorld(t, func(w *world) {
		w.notify(t, hook)
		config := w.prometheusConfig(t)
		inAHurry(t, config)
		replaceIn(t, filepath.Join(filepath.Dir(config), "rules", "alerts.rules.yml"), "> 1e9", "> 1e6")
	})
	seen := map[string]bool{}
	fires := func(alert string) {
		t.Helper()
		testutil.Eventually(t, 5*time.Minute, alert+" fires", func() bool {
			return len(w.Query(t, fmt.Sprintf(`ALERTS{alertname=%q, alertstate="firing"}`, alert))) > 0
		})
		t.Logf("%s fires", alert)
		seen[alert] = true
	}
	// The record has a disk of its own that can be filled.
	disk := filepath.Join(w.dir, "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	w.Record = filepath.Join(disk, "audit.jsonl")
	policy := filepath.Join(w.dir, "policy.yml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(policy, strings.Replace(strict, "ANNOUNCE", "0s", 1))

	t.Log("containers that give cause")
	w.generate(t, "--batch=1") // makes the image
	w.clean(t)
	testutil.IdleImage(t, w.Docker, idleImage)
	testutil.HungryImage(t, w.Docker, hungryImage)
	w.startContainer(t, dockerclient.Spec{Name: "hungry", Image: hungryImage, MemoryBytes: 48 << 20})
	// The main processes of these are killed, and with them the containers end: the
	// Engine misses the event of one or the other.
	for i := range 5 {
		w.startContainer(t, dockerclient.Spec{Name: fmt.Sprint("devoured-", i), Image: hungryImage, Command: []string{"eat"}, MemoryBytes: 32 << 20})
	}
	w.startContainer(t, dockerclient.Spec{
		Name: "cache", Image: "estiba/stress", MemoryBytes: 140 << 20,
		Command: []string{"--lifetime=2h", "--kind=ram", "--bytes=130023424", "--rate=1"},
	})
	w.startContainer(t, dockerclient.Spec{
		Name: "throttled", Image: "estiba/stress", CPUs: 0.1,
		Command: []string{"--lifetime=2h", "--kind=cpu", "--share=0.9"},
	})
	w.startContainer(t, dockerclient.Spec{Name: "elsewhere", Image: idleImage, Runtime: testutil.Kata})
	w.addContainer(t, "misspelt", map[string]string{container.LabelProtect: "ture"})
	managed := func(kind container.Kind) map[string]string {
		return map[string]string{container.LabelManaged: "true", container.LabelKind: string(kind)}
	}
	last := w.addContainer(t, "last-of-its-kind", managed(container.KindDisk))
	for i := range 12 {
		// A long name fills the record faster.
		w.addContainer(t, fmt.Sprintf("surplus-%d-%s", i, strings.Repeat("x", 150)), managed(container.KindCPU))
	}
	w.IsPublished(t)
	testutil.Eventually(t, w.Patience, "Prometheus has them", func() bool { return len(w.Query(t, `estiba_container_info{name="last-of-its-kind"}`)) > 0 })
	if err := w.Docker.Remove(context.Background(), last.ID); err != nil {
		t.Fatal(err)
	}
	proxy := newSocketProxy(t, w.engine.Host)
	proxy.start(t)
	w.managerDocker = proxy.host()
	w.startManagerWith(t, policy)
	for _, alert := range []string{
		"EstibaWatchdog", "EstibaContainerKilled", "EstibaKillBudgetExhausted", "EstibaRuleStopped", "EstibaContainerLabelMisspelt",
		"EstibaNoManagedContainerOfKind", "EstibaContainerOOMKilled", "EstibaContainerNearMemoryLimit", "EstibaContainerThrottled",
	} {
		fires(alert)
	}
	for _, name := range []string{"hungry", "devoured-.*"} {
		if len(w.Query(t, fmt.Sprintf(`last_over_time(ALERTS{alertname="EstibaContainerOOMKilled", alertstate="firing", name=~%q}[10m])`, name))) == 0 {
			t.Errorf("EstibaContainerOOMKilled did not fire for %s", name)
		}
	}

	t.Log("a kill is announced")
	write(policy, strings.Replace(strict, "ANNOUNCE", "10m", 1))
	w.manager.Signal(syscall.SIGHUP)
	fires("EstibaKillPending")

	t.Log("the socket proxy refuses every act")
	proxy.startToLookOnly(t)
	write(policy, strings.Replace(strict, "ANNOUNCE", "0s", 1))
	w.manager.Signal(syscall.SIGHUP)
	fires("EstibaManagerCannotKill")
	w.isRefused(t, await(t, inbox, "EstibaManagerCannotKill", "firing"))

	t.Log("the record's disk is full")
	full, err := os.Create(filepath.Join(disk, "full"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = full.Write(make([]byte, 512))
	}
	full.Close()
	w.manager.Signal(syscall.SIGHUP)
	fires("EstibaManagerCannotRecord")

	t.Log("a policy with a mistake")
	write(policy, "mode: perhaps\n")
	w.manager.Signal(syscall.SIGHUP)
	fires("EstibaManagerPolicyRejected")

	// These take longest.
	fires("EstibaContainerDiskFilling")
	fires("EstibaKernelModuleMissing")
	fires("EstibaContainersUnseen")

	t.Log("an exporter that cannot read its source, without a runtime")
	w.exporter.Stop(t)
	garbage := filepath.Join(w.dir, "garbage")
	write(garbage, "{")
	w.exporter = testutil.StartProcess(t, "exporter", w.exporterBin, "--web.listen-address="+w.Exporter, "--docker.host="+w.engine.Host,
		"--source=kmod", "--source.kmod-file="+garbage, "--podman.host=unix:///nobody-there")
	w.engine.Stop(t)
	for _, alert := range []string{"EstibaScrapeFailing", "EstibaDockerDown", "EstibaRuntimeDown", "EstibaManagerStale"} {
		fires(alert)
	}

	t.Log("everything else ends")
	write(w.prometheusConfig(t), "scrape_interval: often\n")
	w.prometheus.Signal(syscall.SIGHUP)
	w.exporter.Kill()
	w.manager.Kill()
	w.alertmanager.Kill()
	for _, alert := range []string{"EstibaPrometheusFailing", "EstibaExporterDown", "EstibaManagerDown", "EstibaAlertmanagerFailing"} {
		fires(alert)
	}

	// A refusal takes a container that changes between plan and act, three times in half
	// an hour and each time anew: prometheus/tests has its samples.
	seen["EstibaManagerKillRefused"] = true
	// Slow scrapes take a quarter of an hour: TestIntervals.
	seen["EstibaScrapedTooSeldom"] = true
	for _, a := range stack.Alerts(t, w.root, "rules/alerts.rules.yml") {
		if !seen[a.Name] {
			t.Errorf("%s did not fire", a.Name)
		}
	}
}

// isRefused checks the message of a refused removal: the record has it as
// failed, and the container runs.
func (w *world) isRefused(t *testing.T, m message) {
	t.Helper()
	if m.Labels["rule"] != "one_by_one" || m.Labels["kind"] != string(container.KindCPU) || m.Labels["severity"] != "critical" {
		t.Errorf("message is %+v", m)
	}
	running, failed := w.Running(t), 0
	for _, line := range w.RecordLines(t) {
		if line.Outcome != "failed" {
			continue
		}
		failed++
		if !strings.Contains(line.Error, "Method Not Allowed") || running[line.Name].ID != line.ID {
			t.Errorf("the record has %+v, and there runs %+v", line, running[line.Name])
		}
	}
	if failed == 0 {
		t.Error("the record has nothing that failed")
	}
}

func replaceIn(t *testing.T, path, old, with string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		t.Fatalf("%s does not have %q", path, old)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(data), old, with)), 0o644); err != nil {
		t.Fatal(err)
	}
}
