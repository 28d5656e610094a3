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
		t.Fatalf("no file is called %s (%v)", pattern, err)
	}
	return list
}

func TestConfigurationIsAccepted(t *testing.T) {
	dir := filepath.Join(testutil.RepositoryRoot(t), "prometheus")
	run(t, dir, testutil.Tool(t, "promtool"), "check", "config", "prometheus.yml")
	run(t, dir, testutil.Tool(t, "promtool"), append([]string{"check", "rules"}, files(t, "prometheus/rules/*.yml")...)...)
	run(t, dir, testutil.Tool(t, "amtool"), "check-config", "alertmanager.yml")
}

// TestExamplesAreAccepted looks at the examples for Prometheus; those for
// Alertmanager are looked at in test/notifications.
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

// TestFleetExamplesAreAccepted looks at whole configurations, with the files they name.
func TestFleetExamplesAreAccepted(t *testing.T) {
	for _, file := range files(t, "prometheus/examples/fleet/*.yml") {
		base := filepath.Base(file)
		switch {
		case strings.HasSuffix(base, ".rules.yml"):
			run(t, filepath.Dir(file), testutil.Tool(t, "promtool"), "check", "rules", base)
		case base != "hosts.yml": // which scrape-file.yml reads
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

// TestAlertsAreWhole wants of each alert what makes it of use at night, and
// of each runbook and each dashboard link that it leads somewhere.
func TestAlertsAreWhole(t *testing.T) {
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
			t.Errorf("%s lacks for, severity, subject, summary or description", a.Alert)
		}
		want := "docs/runbooks/" + a.Alert + ".md"
		if a.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url is %q, want %q", a.Alert, a.Annotations["runbook_url"], want)
		}
		text, err := os.ReadFile(filepath.Join(root, want))
		if err != nil {
			t.Errorf("%s: %v", a.Alert, err)
		}
		for _, heading := range []string{"# " + a.Alert + "\n", "## Meaning\n", "## Impact\n", "## Diagnosis\n", "## Mitigation\n"} {
			if !strings.Contains(string(text), heading) {
				t.Errorf("%s lacks the heading %q", want, strings.TrimSpace(heading))
			}
		}
		runbooks[a.Alert+".md"] = true
		link := regexp.MustCompile(`^/d/([a-z-]+)/`).FindStringSubmatch(a.Annotations["dashboard_url"])
		if link == nil || !boards[link[1]] {
			t.Errorf("%s: dashboard_url %q leads to no dashboard", a.Alert, a.Annotations["dashboard_url"])
		}
	}
	for _, file := range files(t, "docs/runbooks/*.md") {
		if !runbooks[filepath.Base(file)] {
			t.Errorf("%s belongs to no alert", file)
		}
	}
}

// TestEachRuleIsTested wants each alert to fire in one unit test and to be
// silent in another, and each recorded series to be asked for.
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
			t.Errorf("no test asks for %s", r.Record)
		case r.Alert != "" && !firing[r.Alert]:
			t.Errorf("%s fires in no test", r.Alert)
		case r.Alert != "" && !silent[r.Alert] && r.Alert != "EstibaWatchdog":
			t.Errorf("%s is silent in no test", r.Alert)
		}
	}
}

// TestRoutes asks amtool for the receiver of each alert.
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
