package ruleset

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the ready-made sets")

const rules = "../rules"

// The shipped rules are those for 5 s: adapting them to that changes nothing.
func TestShipped(t *testing.T) {
	files, err := Make(rules, Files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range files {
		want, err := os.ReadFile(filepath.Join(rules, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s changes, %v", name, err)
		}
	}
}

func TestReadyMade(t *testing.T) {
	files, err := ReadyMade(rules)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		path := filepath.Join("../..", name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is out of date: go run ./prometheus/generate", path)
		}
	}
}

// Every range has four scrapes, every wait three, and the texts say the same.
func TestAdapted(t *testing.T) {
	for _, scrape := range []time.Duration{time.Second, 7 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute} {
		files, err := Make(rules, Files, Options{Scrape: scrape})
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range files {
			for _, m := range regexp.MustCompile(`\[(\w+)\]`).FindAllStringSubmatch(string(b), -1) {
				if d := parse(t, m[1]); d < 4*scrape {
					t.Errorf("%s, %s: range %s", name, scrape, d)
				}
			}
			c, err := decode(files, name)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range c.Groups {
				for _, r := range g["rules"].([]any) {
					checkWaits(t, scrape, r.(map[string]any))
				}
			}
		}
	}
}

func checkWaits(t *testing.T, scrape time.Duration, rule map[string]any) {
	t.Helper()
	for _, key := range []string{"for", "keep_firing_for"} {
		text, ok := rule[key].(string)
		if !ok {
			continue
		}
		d := parse(t, text)
		if d != 0 && d < 3*scrape {
			t.Errorf("%v: %s is %s, a scrape %s", rule["alert"], key, d, scrape)
		}
		description := rule["annotations"].(map[string]any)["description"].(string)
		if key == "for" && d != 30*time.Second && strings.Contains(description, "for 30 s") {
			t.Errorf("%v waits for %s and says 30 s", rule["alert"], d)
		}
	}
}

func parse(t *testing.T, text string) time.Duration {
	t.Helper()
	if days, ok := strings.CutSuffix(text, "d"); ok {
		return 24 * parse(t, days+"h")
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestJobsAndParts(t *testing.T) {
	files, err := Make(rules, Operator, Options{Job: "boxes", ManagerJob: "keepers", NoStack: true, Runbooks: "https://wiki.example/estiba/"})
	if err != nil {
		t.Fatal(err)
	}
	text := string(files["prometheusrule.yml"])
	for _, gone := range []string{`job="estiba"`, `job="estiba-manager"`, "EstibaWatchdog", "runbook_url: docs/"} {
		if strings.Contains(text, gone) {
			t.Errorf("%s is still there", gone)
		}
	}
	for _, there := range []string{`up{job="boxes"}`, `up{job="keepers"}`, "https://wiki.example/estiba/EstibaExporterDown", "alert: EstibaContainerKilled", "kind: PrometheusRule"} {
		if !strings.Contains(text, there) {
			t.Errorf("%s is missing", there)
		}
	}
	files, err = Make(rules, Operator, Options{NoManager: true, Runbooks: "https://wiki.example/NAME.md"})
	if err != nil {
		t.Fatal(err)
	}
	alone := string(files["prometheusrule.yml"])
	if strings.Contains(alone, `job="estiba-manager"`) || !strings.Contains(alone, `job="estiba"`) || !strings.Contains(alone, "EstibaWatchdog") {
		t.Error("without the manager: its alerts are there, or others are not")
	}
	if !strings.Contains(alone, "runbook_url: https://wiki.example/EstibaExporterDown.md\n") {
		t.Error("the URL of a runbook is not that of the pattern")
	}
	var object struct {
		Spec struct {
			Groups []struct{ Name string }
		}
	}
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range object.Spec.Groups {
		names = append(names, g.Name)
	}
	if want := []string{"estiba", "estiba-exporter", "estiba-containers", "estiba-manager"}; !slices.Equal(names, want) {
		t.Errorf("groups %q, want %q", names, want)
	}
}

func TestRefused(t *testing.T) {
	for what, o := range map[string]Options{
		"a scrape in milliseconds": {Scrape: 500 * time.Millisecond},
		"a scrape in ten minutes":  {Scrape: 10 * time.Minute},
		"a job with a quote":       {Job: `a"b`},
		"a job with a brace":       {ManagerJob: `a{}`},
	} {
		if _, err := Make(rules, Files, o); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	if _, err := Make(rules, "toml", Options{}); err == nil {
		t.Error("format toml is accepted")
	}
}
