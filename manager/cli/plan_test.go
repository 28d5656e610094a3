package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/replay"
	"github.com/estiba/estiba/manager/status"
)

// Ages and bytes are formatted, not 1.8e+05.
func TestPrintPlan(t *testing.T) {
	number := func(v float64) *float64 { return &v }
	opens := time.Date(2026, 11, 30, 22, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	printPlan(&out, status.Decisions{
		Result: gather.TickOK, DataAge: number(4.2),
		Rules: []status.RuleState{
			{Name: "old", Query: "time() - estiba_container_start_time_seconds > 86400"},
			{
				Name: "large", Query: "topk(3, estiba_container_memory_rss_bytes)", Action: "stop", Mode: policy.Live,
				Schedule: &status.ScheduleState{TimeZone: "UTC", OpensAt: &opens},
			},
		},
		Containers: []status.Row{
			{Name: "a", Rule: "old", Value: number(180000), Distance: number(93600)},
			{Name: "b", Rule: "large", Value: number(499122176), Distance: number(0), Reason: policy.CoolingDown, Wait: 89.2},
			{Name: "c", Value: number(3600), Distance: number(-82800)},
			{Name: "d", Rule: "large", Value: number(1), Reason: policy.LastOfGroup, Detail: "label:team a\x1b[31m"},
		},
	})
	for _, want := range []string{
		"data age 4.2 s", "last_of_group (label:team a?[31m)", "rule large: stop, live, outside its schedule until Mon 2026-11-30 22:00 UTC (UTC)\n", " 2d 2h ", " +1d 2h ", " 476 MiB ", " +0 B ", "cooling_down (1m 30s left)", " 1h ", " -23h ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the plan lacks %q:\n%s", want, &out)
		}
	}
	// Values beside thresholds of several units are plain numbers.
	unit := unitsOf([]status.RuleState{{Name: "a", Query: "my_bytes > 5"}, {Name: "b", Query: "my_seconds > 5"}})
	if got := unit[""].Format(86400); got != "86400" {
		t.Errorf("between two lines: %s", got)
	}
}

func TestPrintBacktest(t *testing.T) {
	c := &config.Config{Rules: []config.Rule{{Name: "old", Query: "time() - estiba_container_start_time_seconds"}}}
	var out bytes.Buffer
	kills := []replay.Kill{{Time: time.Now(), Rule: "old", Name: "a", Value: 180000}}
	printBacktest(&out, Backtest{Policies: []BacktestPolicy{{Result: replay.Result{Kills: kills}}}}, []*config.Config{c}, false)
	if !strings.Contains(out.String(), " 2d 2h ") {
		t.Errorf("no age in it:\n%s", &out)
	}
}

// Without a decision there is one error, and no table that looks like one.
func TestPlanWithoutDocker(t *testing.T) {
	engine, err := dockerclient.New("unix:///nonexistent/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	o := gather.Options{PrometheusURL: "http://127.0.0.1:1", Engine: engine, Now: time.Now}
	var out bytes.Buffer
	err = Plan(context.Background(), o, "", "table", &out)
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/docker.sock") || out.Len() > 0 {
		t.Errorf("error %v, output %q", err, &out)
	}
	if err := Plan(context.Background(), o, "", "json", &out); err == nil || !strings.Contains(out.String(), `"docker_error"`) {
		t.Errorf("error %v, JSON %s", err, &out)
	}
}
