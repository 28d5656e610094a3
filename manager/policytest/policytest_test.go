package policytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/promql"
	"github.com/estiba/estiba/manager/replay"
)

var errCases = errors.New("cases failed")

// testPolicies runs test files and writes the cases to out, one per line.
func testPolicies(ctx context.Context, files []string, binary string, out *bytes.Buffer) error {
	failed := false
	for _, file := range files {
		err := Run(ctx, file, binary, func(c Case) {
			word := "ok    "
			if len(c.Mistakes) > 0 {
				word, failed = "FAILED", true
			}
			fmt.Fprintf(out, "\n  %s  %s\n%s", word, c.Name, strings.Join(c.Mistakes, "\n"))
		})
		if err != nil {
			return err
		}
	}
	if failed {
		return errCases
	}
	return nil
}

// The tests of the shipped policies pass, on a real Prometheus.
func TestShippedPolicyTests(t *testing.T) {
	files, err := filepath.Glob("../policies/tests/*.test.yml")
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	var out bytes.Buffer
	if err := testPolicies(context.Background(), files, testutil.Tool(t, "prometheus"), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if n := strings.Count(out.String(), "\n  ok "); n != 9 {
		t.Errorf("%d cases held, want 9:\n%s", n, &out)
	}
}

// A policy test must be able to fail, with a message.
func TestPolicyTestsFail(t *testing.T) {
	prometheus := testutil.Tool(t, "prometheus")
	dir := t.TempDir()
	policy, err := filepath.Abs("../policies/one-of-each-kind.yml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "wrong.test.yml")
	text := "policy: " + policy + `
tests:
  - name: everything is wrong
    containers:
      - {name: cpu-old, kind: cpu, age: 2h}
      - {name: cpu-new, kind: cpu, age: 1h}
      - {name: db, kind: ram, protected: true}
    kills:
      - {at: 0s, rule: surplus, container: cpu-new}
      - {at: 5s, rule: surplus, container: cpu-new}
    spared:
      - {at: 10s, container: db, reason: protected}
      - {at: 10s, container: cpu-old, reason: no_data}
      - {at: 5s, container: db, reason: protected}
  - name: this one holds
    duration: 3h
    containers: [{name: alone, kind: cpu}]
    kills: []
`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = testPolicies(context.Background(), []string{file}, prometheus, &out)
	if !errors.Is(err, errCases) {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{
		"FAILED  everything is wrong",
		"killed, expected spared: cpu-old by surplus at 0s",
		"not killed: cpu-new by surplus at 0s; found not_selected",
		"not killed: cpu-new by surplus at 5s; no tick at that time",
		"at 10s: db: expected spared as protected, found not_selected",
		"at 10s: cpu-old: expected spared as no_data, found no container",
		"no tick at 5s: the interval is 10s",
		"ok      this one holds",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, &out)
		}
	}
	if err := testPolicies(context.Background(), []string{file}, filepath.Join(dir, "no-such-program"), &out); err == nil ||
		!strings.Contains(err.Error(), "--prometheus.binary") {
		t.Errorf("without a Prometheus: %v", err)
	}
	if err := testPolicies(context.Background(), []string{file}, "/bin/false", &out); err == nil || !strings.Contains(err.Error(), "exited") {
		t.Errorf("with a program that is none: %v", err)
	}
}

// Keep rules by image, name, compose service and label hold in the past as they do live.
func TestKeep(t *testing.T) {
	var out bytes.Buffer
	if err := testPolicies(context.Background(), []string{"testdata/keep.test.yml"}, testutil.Tool(t, "prometheus"), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
}

// A schedule is followed in the past as it is live.
func TestScheduleInThePast(t *testing.T) {
	var out bytes.Buffer
	if err := testPolicies(context.Background(), []string{"testdata/nights.test.yml"}, testutil.Tool(t, "prometheus"), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
}

// Limits per hour count kills in the past as they do live.
func TestKillsPerHourInThePast(t *testing.T) {
	var out bytes.Buffer
	if err := testPolicies(context.Background(), []string{"testdata/hourly.test.yml"}, testutil.Tool(t, "prometheus"), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
}

// A label that no container of the history has may be one that the exporter did not
// publish: each container may be the last with it.
func TestKeepByLabelOutsideTheHistory(t *testing.T) {
	file, err := config.ParseTests([]byte(`
tests:
  - name: one
    duration: 10s
    containers: [{name: a, labels: {team: blue}}, {name: b, labels: {team: blue}}, {name: c}]
    kills: []
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	h := host{binary: testutil.Tool(t, "prometheus"), bounded: true}
	t.Cleanup(func() { h.close() })
	one := testCase{TestCase: file.Cases[0], from: testEpoch, scrape: file.Scrape, evaluation: file.Evaluation}
	client, server, err := h.prometheus(t.Context(), span{one.from, one.from.Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	for i, label := range []string{"team", "tier"} {
		want := []int{2, 0}[i] // a or b, and c
		c, err := config.Parse([]byte("mode: live\nscope: all\nkeep: [{by: label:" + label + ", min: 1}]\nrules:\n" +
			"  - {name: all, action: kill, query: max by (id) (estiba_container_start_time_seconds)}\n"))
		if err != nil {
			t.Fatal(err)
		}
		series, err := one.series(c)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := server.Write(t.Context(), series); err != nil {
				t.Fatal(err)
			}
		}
		r, err := replay.New(client, c, container.Docker)
		if err != nil {
			t.Fatal(err)
		}
		out, err := r.Run(t.Context(), promql.Moments{Start: one.from, Step: c.Interval, N: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Kills) != want || slices.Contains(out.UnknownLabels, label) != (want == 0) {
			t.Errorf("%s: %d kills, want %d; unknown labels %v", label, len(out.Kills), want, out.UnknownLabels)
		}
	}
}

// A rule over two hours kills nothing that was not seen for two hours.
func TestWindows(t *testing.T) {
	var out bytes.Buffer
	if err := testPolicies(context.Background(), []string{"testdata/windows.test.yml"}, testutil.Tool(t, "prometheus"), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
}

// runTests runs a test file beside its policy, and returns the output.
func runTests(t *testing.T, policy, tests string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"p.yml": "mode: live\nscope: all\nkeep: []\n" + policy, "p.test.yml": "policy: p.yml\n" + tests,
		"r.yml": "groups: [{name: g, rules: [{record: 'a:b', expr: 'max by (id) (a)'}]}]",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	err := testPolicies(context.Background(), []string{filepath.Join(dir, "p.test.yml")}, testutil.Tool(t, "prometheus"), &out)
	return out.String(), err
}

// wantHeld runs a test file in which all cases pass.
func wantHeld(t *testing.T, policy, tests string) {
	t.Helper()
	out, err := runTests(t, policy, tests)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got, want := strings.Count(out, "\n  ok "), strings.Count(tests, "- name: "); got != want {
		t.Errorf("%d cases held, want %d:\n%s", got, want, out)
	}
}

// A container's labels protect it as in a live run, and are in its info series under
// the exporter's names.
func TestLabelsInPolicyTests(t *testing.T) {
	wantHeld(t, `
protect: {labels: {keep: "*", com.docker.compose.project: db}}
rules:
  - name: old
    query: time() - max by (id) (estiba_container_start_time_seconds * on (id) group_right () estiba_container_info{container_label_my_team!="x"})
    action: kill
`, `
tests:
  - name: labels
    containers:
      - {name: old, labels: {my.team: y}}
      - {name: excepted, labels: {my.team: x}}
      - {name: kept, labels: {keep: 1}}
      - {name: database, labels: {com.docker.compose.project: db}}
      - {name: protected, labels: {estiba.protect: true}}
      - {name: misspelt, labels: {estiba.protekt: true}}
      - {name: grafana, labels: {org.label-schema.group: monitoring}}
    kills: [{at: 0s, rule: old, container: old}]
    spared:
      - {at: 0s, container: excepted, reason: not_selected}
      - {at: 0s, rule: old, container: kept, reason: protected}
      - {at: 0s, rule: old, container: database, reason: protected}
      - {at: 0s, rule: old, container: protected, reason: protected}
      - {at: 0s, rule: old, container: misspelt, reason: protected}
      - {at: 0s, rule: old, container: grafana, reason: protected}
`)
}

// A container whose labels the exporter does not know is spared, and protection in a
// live run counts.
func TestLabelsUnknownInPolicyTests(t *testing.T) {
	wantHeld(t, `
protect: {labels: {keep: "*"}}
rules:
  - {name: old, query: 'max by (id) (time() - estiba_container_start_time_seconds unless on (id) estiba_container_info{container_label_stay="1"})',
	action: kill}
`, `
tests:
  - name: labels are not known
    containers:
      - {name: known}
      - {name: unknown, labels_known: false, labels: {stay: "1"}}
      - {name: kept, labels_known: false, labels: {keep: "1"}}
    kills: [{at: 0s, rule: old, container: known}]
    spared:
      - {at: 0s, rule: old, container: unknown, reason: labels_unknown}
      - {at: 0s, rule: old, container: kept, reason: protected}
`)
}

// A case begins at begin, by default at midnight.
func TestBeginOfPolicyTests(t *testing.T) {
	policy := "rules: [{name: night, query: 'max by (id) (a) and on () (hour() >= 0 < 6)', action: kill}]"
	wantHeld(t, policy, `
tests:
  - name: midnight
    duration: 1s
    containers: [{name: x}]
    input_series: [{series: 'a{name="x"}', values: 1}]
    kills: [{at: 0s, rule: night, container: x}]
  - name: noon of a winter long ago
    begin: 1999-12-01T12:00:00Z
    containers: [{name: x}]
    input_series: [{series: 'a{name="x"}', values: 1x20}]
    kills: []
  - name: before midnight, in another zone
    begin: 2024-06-01T01:59:40+02:00
    containers: [{name: x}]
    input_series: [{series: 'a{name="x"}', values: 1x20}]
    kills: [{at: 20s, rule: night, container: x}]
`)
	if out, err := runTests(t, policy, "tests: [{name: later, begin: 2190-01-01T00:00:00Z, kills: []}]"); err == nil ||
		!strings.Contains(err.Error(), "accepts no samples from the future") {
		t.Errorf("a case in the future: %v\n%s", err, out)
	}
}

// A case does not see the earlier ones, however long they are and however far its
// queries look.
func TestCasesDoNotSeeEachOther(t *testing.T) {
	for name, c := range map[string]struct{ query, duration, values string }{
		"the case is long":    {"max by (id) (a)", "49h", "5x2940"},
		"the query looks far": {"max by (id) (max_over_time(a[3d]))", "1m", "5"},
		"the query is offset": {"max by (id) (a offset 1d)", "1h", "5x1500"},
		"it names a moment":   {"max by (id) (a @ 1704067200)", "1m", "5"},
		"the series goes on":  {"max by (id) (a)", "1m", "5x3000"},
		"it uses a recording": {"max_over_time(a:b[3d])", "1m", "5"},
		"it uses a subquery":  {"max by (id) (max_over_time(a[1d:1h] offset 1d))", "1m", "5"},
	} {
		t.Run(name, func(t *testing.T) {
			tests := fmt.Sprintf(`
rule_files: [r.yml]
scrape_interval: 1m
evaluation_interval: 1m
tests:
  - name: has high values
    duration: %s
    containers: [{name: x, age: 3000d}]
    input_series: [{series: 'a{name="x"}', values: '%s'}]
    kills: []
  - name: has none
    duration: 1m
    containers: [{name: x, age: 3000d}]
    kills: []
    spared: [{at: 0s, container: x, reason: not_selected}]
`, c.duration, c.values)
			// A candidate of a dry run is neither killed nor spared as not_selected.
			out, err := runTests(t, "rules: [{name: r, for: 1h, query: '"+c.query+"', action: kill}]\ninterval: 1m\nmax_sample_age: 2m\n", tests)
			if !strings.Contains(out, "ok      has none") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// A recording rule is evaluated at more times than a range query allows, and its series
// continues where the parts meet.
func TestLongRecordings(t *testing.T) {
	wantHeld(t, "rules: [{name: r, query: 'max by (id) (count_over_time(a:b[4h]) >= 14400)', action: kill}]", `
rule_files: [r.yml]
scrape_interval: 10s
evaluation_interval: 1s
tests:
  - name: four hours
    duration: 4h
    containers: [{name: x, age: 5h}]
    input_series: [{series: 'a{name="x"}', values: 5x1440}]
    kills: [{at: 4h, rule: r, container: x}]
`)
}
