package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/cli"
	"github.com/estiba/estiba/manager/enforce"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/run"
	"github.com/estiba/estiba/manager/status"
)

// podmanPolicy has a rule for each action. The containers named like the action are its
// candidates.
const podmanPolicy = `
mode: live
interval: 1s
max_sample_age: 30s
max_kills_per_tick: 20
scope: managed
keep: [{by: kind, min: 1}]
protect: {names: [], images: [], labels: {}}
rules:
`

func podmanRules() string {
	var b strings.Builder
	b.WriteString(podmanPolicy)
	for _, action := range []string{"stop", "kill", "pause", "remove"} {
		fmt.Fprintf(&b, "  - {name: %[1]s, query: 'time() - estiba_container_start_time_seconds{name=~\"%[1]s-.*\"}', action: %[1]s, grace: 1s, max_kills: 20, relief: {stop_after: 0}}\n", action)
	}
	// What must never be killed.
	b.WriteString("  - {name: never, query: 'time() - estiba_container_start_time_seconds{name=~\".*-infra|never-.*|\"}', action: remove, max_kills: 20, relief: {stop_after: 0}}\n")
	return b.String()
}

// The manager behind Podman's service: every action works and is confirmed, and neither
// the container that holds a pod's namespaces nor one of another runtime is touched.
func TestRunOnPodman(t *testing.T) {
	t.Parallel()
	p := testutil.StartPodman(t)
	w := &realWorld{runtime: container.Podman, host: p.Host, docker: p.Client(t)}
	const foreign = "ffffffffffff"
	started := time.Now().Add(-time.Hour).Unix()
	w.more = fmt.Sprintf("estiba_container_info{id=%[1]q,name=\"never-foreign\",container_id=%[2]q,image=\"app\",kind=\"cpu\",managed=\"true\",protected=\"false\",runtime=\"docker\"} 1\n"+
		"estiba_container_start_time_seconds{id=%[1]q,name=\"never-foreign\"} %[3]d\n", foreign, foreign+strings.Repeat("0", 52), started)
	w.observe(t, "", nil)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()

	for _, name := range []string{"stop-one", "kill-one", "pause-one", "remove-one"} {
		w.start(t, name, "managed=true", "kind=ram")
	}
	w.start(t, "ram-stays", "managed=true", "kind=ram")
	id, err := w.docker.Create(ctx, dockerclient.Spec{
		Name: "remove-itself", Image: idleRef, AutoRemove: true, Networkless: true, Labels: map[string]string{"estiba.managed": "true", "estiba.kind": "ram"},
	})
	if err == nil {
		err = w.docker.Start(ctx, id)
	}
	if err != nil {
		t.Fatal(err)
	}
	// The only cpu container: neither the pod's infra container, which has the pod's
	// labels, nor the one of another runtime lets it go.
	w.start(t, "remove-last", "managed=true", "kind=cpu")
	pod := p.Run(t, "pod", "create", "--name=pod", "--network=none", "--label=estiba.managed=true", "--label=estiba.kind=cpu")[:12]
	p.Run(t, "run", "--detach", "--pod=pod", "--name=remove-inside", "--label=estiba.managed=true", "--label=estiba.kind=ram", idleRef)

	// One that is killed by the API is not started again, as with Docker.
	p.Run(t, "run", "--detach", "--restart=always", "--network=none", "--name=kill-always", "--label=estiba.managed=true", "--label=estiba.kind=ram", idleRef)

	rules := podmanRules()
	_, url, file := w.startManager(t, rules)
	ended := []string{"stop-one", "kill-one", "kill-always", "pause-one", "remove-one", "remove-itself", "remove-inside"}
	testutil.Eventually(t, 90*time.Second, "no candidate runs", func() bool {
		running := w.running(t)
		return !slices.ContainsFunc(ended, func(name string) bool { return running[name] })
	})
	testutil.Eventually(t, 30*time.Second, "all outcomes are recorded", func() bool {
		done := outcomes(t, file)
		return !slices.ContainsFunc(ended, func(name string) bool { return done[name].Outcome == "" })
	})
	for name, r := range outcomes(t, file) {
		if r.Outcome != audit.OutcomeDone || !r.Acted {
			t.Errorf("%s: %+v", name, r)
		}
	}
	states := map[string]string{}
	list, err := w.docker.List(ctx, dockerclient.ListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		states[c.Name] = c.State
	}
	for name, want := range map[string]string{
		"stop-one": dockerclient.StateExited, "kill-one": dockerclient.StateExited, "kill-always": dockerclient.StateExited, "pause-one": dockerclient.StatePaused,
		"remove-one": "", "remove-itself": "", "remove-inside": "",
		"ram-stays": dockerclient.StateRunning, "remove-last": dockerclient.StateRunning, pod + "-infra": dockerclient.StateRunning,
	} {
		if states[name] != want {
			t.Errorf("%s is %q, want %q", name, states[name], want)
		}
	}

	rows := map[string]status.Row{}
	testutil.Eventually(t, 20*time.Second, "the last one of its kind is spared, the paused one is left alone", func() bool {
		var d status.Decisions
		if err := json.Unmarshal([]byte(get(t, url+"/api/v1/decisions")), &d); err != nil {
			t.Fatal(err)
		}
		for _, r := range d.Containers {
			rows[r.Name] = r
		}
		return rows["remove-last"].Reason == policy.LastOfKind && rows["pause-one"].Reason == policy.Transitional
	})
	if r := rows[pod+"-infra"]; r.Reason != policy.Protected && r.Reason != policy.OutOfScope || len(r.Protected) != 1 || r.Protected[0] != policy.ProtectedByPodInfra {
		t.Errorf("the pod's infra container: %+v", r)
	}
	if r := rows["never-foreign"]; r.Reason != policy.ForeignRuntime || r.Runtime != container.Docker || r.State != "foreign" || r.ShortID != foreign {
		t.Errorf("one of another runtime: %+v", r)
	}
	if page := get(t, url); !strings.Contains(page, "never-foreign") || !strings.Contains(page, "run by docker") {
		t.Error("the page does not show the container of another runtime")
	}

	o := gather.Options{PrometheusURL: w.prometheus, Engine: w.docker, Now: time.Now}
	var plan, report bytes.Buffer
	policyFile := t.TempDir() + "/policy.yml"
	if err := os.WriteFile(policyFile, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := cli.Plan(ctx, o, policyFile, "table", &plan); err != nil || !strings.Contains(plan.String(), "foreign_runtime (docker)") {
		t.Errorf("plan: %v\n%s", err, &plan)
	}
	if err := cli.PrintReport(ctx, o, policyFile, "table", &report); err != nil || !strings.Contains(report.String(), "Of another runtime: 1") {
		t.Errorf("report: %v\n%s", err, &report)
	}

	// The lock is by the socket, whatever serves it.
	_, err = run.New(run.Options{Options: o, DockerHost: p.Host, AuditFile: t.TempDir() + "/audit.jsonl", Logger: log.NewNopLogger()})
	if err == nil || !strings.Contains(err.Error(), enforce.ErrEngineLocked.Error()) {
		t.Errorf("a second manager on the same Podman: %v", err)
	}
}
