//go:build browser

package browser

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
	"github.com/estiba/estiba/manager/status"
)

// Names that containers could choose for themselves if the Engine let them.
const (
	hostileName = `<img src=x onerror=alert(1)>"'&amp;`
	hostileRule = `up{a="</pre><script>alert(2)</script>"}`
)

// TestStatusPage has status.mjs look at the manager's page, with names that try to
// be more than text, everything that the page can show, and a tick each second.
func TestStatusPage(t *testing.T) {
	store := status.NewStore()
	begun := time.Now()
	tick := func() {
		now := time.Now()
		use, resumes := 73.25, now.Add(time.Minute)
		list := []policy.Container{
			{ID: strings.Repeat("a1", 32), Name: hostileName, Image: `x"><b>image</b>`, Kind: container.KindCPU, InScope: true},
			{ID: strings.Repeat("b2", 32), Name: strings.Repeat("without-a-break", 12), Image: strings.Repeat("i", 200), Kind: container.KindRAM, InScope: true, Protected: []policy.Why{policy.WhyLabel, policy.WhyScrapeTarget}},
			{ID: strings.Repeat("c3", 32), Name: "announced", Kind: container.KindIO, InScope: true},
			{ID: strings.Repeat("d4", 32), Name: "dying", Kind: container.KindDisk, InScope: true, State: policy.Dying},
			{ID: strings.Repeat("e5", 32), Name: "somebody-else"},
		}
		rule := policy.Rule{Name: "surplus", Mode: policy.Live, Action: "remove"}
		store.Tick(status.Tick{
			Time: now, Duration: 20 * time.Millisecond, Result: status.TickPrometheusError, Error: `<i>rule</i> surplus: "timeout"`,
			DataKnown: true, DataAge: 1500 * time.Millisecond, Listed: true, Decided: true, Containers: list,
			Plan: policy.Plan{
				BudgetLeft: 3, Victims: []policy.Victim{{Rule: rule, Container: list[0], Value: 12}},
				Decisions: []policy.Decision{
					{Rule: "surplus", Verdict: policy.Kill, Reason: policy.Chosen, Container: list[0], Value: 12, Rank: 1},
					{Rule: "surplus", Verdict: policy.Spare, Reason: policy.Protected, Container: list[1], Value: 1e30, Rank: 2},
					{Rule: "surplus", Verdict: policy.Spare, Reason: policy.Announced, Container: list[2], Value: 3, Rank: 3, Wait: 12 * time.Second},
					{Rule: "surplus", Verdict: policy.Spare, Reason: policy.Transitional, Container: list[3], Value: 2, Rank: 4},
					{Verdict: policy.Spare, Reason: policy.NotSelected, Container: list[4]},
				},
			},
			Rules: []status.RuleState{
				{Name: "surplus", Query: hostileRule, Mode: policy.Live, Action: "remove", VetoError: "asking <b>Alertmanager</b>: refused",
					Relief: status.ReliefState{By: "count", Unrelieved: 5, StopAfter: 5, Stopped: true, ResumesAt: &resumes}},
				{Name: "broken", Query: strings.Repeat("x", 500), Mode: policy.DryRun, Action: "stop", Error: "no answer", Relief: status.ReliefState{By: "sum"}},
			},
			Usage: map[string]promql.Usage{container.ShortID(list[0].ID): {Class: "high", CPUPercent: &use, MemoryPercent: &use}},
		})
	}
	for i, outcome := range audit.Outcomes() {
		store.Killed(audit.Record{
			Time: begun.Add(time.Duration(i-60) * time.Minute), KillID: "0123456789abcdef", Rule: "surplus", Kind: "cpu", Container: strings.Repeat("f6", 32),
			Name: hostileName, Action: "remove", Mode: policy.Live, Outcome: outcome, Error: "<u>error</u>",
		})
	}
	tick()
	dryRun := false
	server := httptest.NewServer(status.Handler(status.Site{Store: store, Metrics: status.NewMetrics(""), Now: time.Now}))
	defer server.Close()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for every := time.NewTicker(time.Second); ; {
			select {
			case <-ended:
				every.Stop()
				return
			case n := <-every.C:
				if n.Unix()%10 == 0 {
					dryRun = !dryRun
					store.SetDryRun(dryRun)
				}
				tick()
			}
		}
	}()
	lookAtStatusPage(t, server.URL, "status", []string{"--changing-mode"}, hostileName, "without-a-break", "asking <b>Alertmanager</b>: refused", "12.0 s left", "dying",
		"out of scope", "protected by label, scrape target", "stopped itself", `<i>rule</i>`)
}

// lookAtStatusPage wants the texts to be on the page.
func lookAtStatusPage(t *testing.T, url, pictures string, options []string, texts ...string) {
	t.Helper()
	args := append([]string{"status.mjs", "--url=" + url, "--pictures=../../build/browser/" + pictures}, options...)
	for _, text := range texts {
		args = append(args, "--expect="+text)
	}
	look := exec.Command("node", args...)
	look.Stdout, look.Stderr = os.Stdout, os.Stderr
	if err := look.Run(); err != nil {
		t.Errorf("looking at the status page: %v", err)
	}
}
