// Package prometheus tests rules, routes and dashboards with promtool, amtool and a
// running Prometheus.
package prometheus

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/grafana"
	"github.com/estiba/estiba/internal/testutil"
)

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(testutil.RepositoryRoot(t), filepath.FromSlash(pattern)))
	if err != nil || len(list) == 0 {
		t.Fatalf("no file matches %s (%v)", pattern, err)
	}
	return list
}

func TestConfigurationIsAccepted(t *testing.T) {
	dir := filepath.Join(testutil.RepositoryRoot(t), "prometheus")
	run(t, dir, testutil.Tool(t, "promtool"), "check", "config", "prometheus.yml")
	run(t, dir, testutil.Tool(t, "promtool"), append([]string{"check", "rules"}, files(t, "prometheus/rules/*.yml")...)...)
	run(t, dir, testutil.Tool(t, "amtool"), "check-config", "alertmanager.yml")
}

// TestExamplesAreAccepted checks the examples for Prometheus. test/system/notifications checks
// those for Alertmanager.
func TestExamplesAreAccepted(t *testing.T) {
	promtool := testutil.Tool(t, "promtool")
	for _, file := range files(t, "prometheus/examples/*.yml") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"check", "config", "--syntax-only", file}
		switch name := filepath.Base(file); {
		case strings.HasPrefix(name, "receivers-"):
			continue
		case strings.HasPrefix(name, "agent"):
			args = append(args, "--agent")
		case strings.Contains("\n"+string(data), "\ngroups:"):
			args = []string{"check", "rules", file}
		}
		run(t, ".", promtool, args...)
	}
}

// TestFleetExamplesAreAccepted checks configurations together with the files they name.
func TestFleetExamplesAreAccepted(t *testing.T) {
	for _, file := range files(t, "prometheus/examples/fleet/*.yml") {
		base := filepath.Base(file)
		switch {
		case strings.HasSuffix(base, ".rules.yml"):
			run(t, filepath.Dir(file), testutil.Tool(t, "promtool"), "check", "rules", base)
		case base != "hosts.yml": // used by scrape-file.yml
			run(t, filepath.Dir(file), testutil.Tool(t, "promtool"), "check", "config", base)
		}
	}
}

func TestRules(t *testing.T) {
	promtool := testutil.Tool(t, "promtool")
	for _, file := range files(t, "prometheus/tests/*.test.yml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			run(t, filepath.Dir(file), promtool, "test", "rules", filepath.Base(file))
		})
	}
}

// rule is one entry of a rules file.
type rule struct {
	Record, Alert, Expr, For string
	Labels, Annotations      map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	var all []rule
	for _, file := range append(files(t, "prometheus/rules/*.rules.yml"), files(t, "prometheus/examples/fleet/*.rules.yml")...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var content struct{ Groups []struct{ Rules []rule } }
		if err := yaml.Unmarshal(data, &content); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, g := range content.Groups {
			all = append(all, g.Rules...)
		}
	}
	return all
}

func alerts(t *testing.T) []rule {
	t.Helper()
	var all []rule
	for _, r := range rules(t) {
		if r.Alert != "" {
			all = append(all, r)
		}
	}
	return all
}

// runbooksURL is where the manager serves the runbooks on a single host.
const runbooksURL = "http://localhost:10121/runbooks/"

// TestAlertsAreComplete checks that each alert has a severity, a subject, texts, and links
// to an existing runbook and dashboard.
func TestAlertsAreComplete(t *testing.T) {
	root := testutil.RepositoryRoot(t)
	severities := map[string]bool{"critical": true, "warning": true, "info": true, "none": true}
	subjects := map[string]bool{"container": true, "exporter": true, "manager": true, "stack": true}
	boards := map[string]bool{}
	for _, d := range grafana.All() {
		boards[d.UID] = true
	}
	runbooks := map[string]bool{}
	for _, a := range alerts(t) {
		if a.For == "" || !severities[a.Labels["severity"]] || !subjects[a.Labels["subject"]] ||
			a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s: for, severity, subject, summary or description is missing", a.Alert)
		}
		if served := runbooksURL + a.Alert; a.Annotations["runbook_url"] != served {
			t.Errorf("%s: runbook_url is %q, want %q", a.Alert, a.Annotations["runbook_url"], served)
		}
		want := "docs/runbooks/" + a.Alert + ".md"
		text, err := os.ReadFile(filepath.Join(root, want))
		if err != nil {
			t.Errorf("%s: %v", a.Alert, err)
		}
		for _, heading := range []string{"# " + a.Alert + "\n", "## Meaning\n", "## Impact\n", "## Diagnosis\n", "## Mitigation\n"} {
			if !strings.Contains(string(text), heading) {
				t.Errorf("%s: no heading %q", want, strings.TrimSpace(heading))
			}
		}
		runbooks[a.Alert+".md"] = true
		link := regexp.MustCompile(`^/d/([a-z-]+)/`).FindStringSubmatch(a.Annotations["dashboard_url"])
		if link == nil || !boards[link[1]] {
			t.Errorf("%s: dashboard_url %q: no such dashboard", a.Alert, a.Annotations["dashboard_url"])
		}
	}
	for _, file := range files(t, "docs/runbooks/*.md") {
		if !runbooks[filepath.Base(file)] {
			t.Errorf("%s: no such alert", file)
		}
	}
}

// TestEachRuleIsTested checks that each alert fires in one unit test and does not fire in
// another, and that each recorded series is queried.
func TestEachRuleIsTested(t *testing.T) {
	firing, silent, asked := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, file := range files(t, "prometheus/tests/*.test.yml") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var content struct {
			Tests []struct {
				PromqlExprTest []struct {
					Expr       string
					ExpSamples []any `yaml:"exp_samples"`
				} `yaml:"promql_expr_test"`
			}
		}
		if err := yaml.Unmarshal(data, &content); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		name := regexp.MustCompile(`alertname="(\w+)"`)
		for _, one := range content.Tests {
			for _, e := range one.PromqlExprTest {
				if m := name.FindStringSubmatch(e.Expr); m == nil {
					asked[strings.SplitN(e.Expr, "{", 2)[0]] = asked[strings.SplitN(e.Expr, "{", 2)[0]] || len(e.ExpSamples) > 0
				} else if len(e.ExpSamples) > 0 {
					firing[m[1]] = true
				} else {
					silent[m[1]] = true
				}
			}
		}
	}
	for _, r := range rules(t) {
		switch {
		case r.Record != "" && !asked[r.Record]:
			t.Errorf("%s: no test queries it", r.Record)
		case r.Alert != "" && !firing[r.Alert]:
			t.Errorf("%s: no test in which it fires", r.Alert)
		case r.Alert != "" && !silent[r.Alert] && r.Alert != "EstibaWatchdog":
			t.Errorf("%s: no test in which it does not fire", r.Alert)
		}
	}
}

// TestRoutes checks the receiver of each alert with amtool.
func TestRoutes(t *testing.T) {
	amtool := testutil.Tool(t, "amtool")
	config := filepath.Join(testutil.RepositoryRoot(t), "prometheus", "alertmanager.yml")
	bySeverity := map[string]string{"critical": "operators", "warning": "operators", "info": "information"}
	for _, a := range alerts(t) {
		want := bySeverity[a.Labels["severity"]]
		if a.Alert == "EstibaWatchdog" {
			want = "watchdog"
		}
		args := []string{"config", "routes", "test", "--config.file=" + config, "--verify.receivers=" + want, "alertname=" + a.Alert}
		var labels []string
		for k, v := range a.Labels {
			labels = append(labels, fmt.Sprintf("%s=%s", k, v))
		}
		sort.Strings(labels)
		run(t, ".", amtool, append(args, labels...)...)
	}
}
