package config

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var someReasons = []string{"protected", "not_selected"}

// Each error in a file of policy tests has its path.
func TestMistakesInPolicyTests(t *testing.T) {
	const head = "tests:\n  - name: a\n    kills: []\n"
	for text, want := range map[string]string{
		"":                                  "the file is empty",
		"tests: []":                         "tests: has no cases",
		"policy: x":                         "tests: is required",
		head + "    color: red":             "tests[0].color: unknown key",
		"tests: [{name: a}]":                "tests[0].kills: is required",
		head + "  - name: a\n    kills: []": `tests[1].name: another case is named "a"`,
		head + "    containers: [{name: x, kind: gpu}]":                                               `"gpu" is not one of cpu, ram, io, disk`,
		head + "    containers: [{name: x}, {name: x}]":                                               "another container is named x",
		head + "    containers: [{name: x, start: 20s, end: 10s}]":                                    "tests[0].containers[0].end: is not after its start",
		head + "    spared: [{at: 0s, container: x, reason: protected}]":                              "no container of the case is named x",
		head + "    containers: [{name: x}]\n    spared: [{at: 0s, container: x, reason: bored}]":     `"bored" is not one of protected, not_selected`,
		head + "    containers: [{name: x}]\n    spared: [{at: 2m, container: x, reason: protected}]": "tests[0].spared[0].at: is after the end of the case",
		head + "    input_series: [{series: up}]":                                                     "tests[0].input_series[0].values: is required",
		head + "    input_series: [{series: up, values: [1]}]":                                        "expected values such as 0+1x20",

		head + "    begin: tonight":                                          "tests[0].begin: expected a time such as 2024-01-01T22:00:00Z",
		head + "    begin: 1024-01-01T22:00:00Z":                             "tests[0].begin: 1024-01-01T22:00:00Z is not in the years",
		head + "    duration: 292y":                                          "tests[0].duration: 292y is more than 366d",
		head + "    input_series: [{series: up, values: 1x1000000000}]":      "tests[0].input_series[0].values: gives more than 1000000 samples",
		head + "    input_series: [{series: up, values: 1x600000 2x600000}]": "tests[0].input_series[0].values: gives more than 1000000 samples",

		head + "    containers: [{name: x, managed: true, labels: {estiba.managed: false}}]": `tests[0].containers[0].managed: contradicts labels, where estiba.managed is "false"`,
		head + "    containers: [{name: x, labels: {estiba.kind: ram}, kind: cpu}]":          `tests[0].containers[0].kind: contradicts labels, where estiba.kind is "ram"`,

		head + "    containers: [{name: x, labels: [a]}]":        "tests[0].containers[0].labels: expected a mapping, found a list",
		head + "    duration: 366d\n    containers: [{name: x}]": "tests[0]: has more than 5000000 samples",
		"scrape_interval: 10m\n" + head:                          "scrape_interval: 10m is more than 5m",
		"scrape_interval: 0s\n" + head:                           "scrape_interval: 0s is less than 1s",
		"tests: [{name: a, kills: [{at: 0s}]}]":                  "tests[0].kills[0].container: is required",
		head + "---\n" + head:                                    "more than one document",
	} {
		_, err := ParseTests([]byte(text), someReasons)
		var problems Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives %v, want %s", text, err, want)
		}
	}
}

func TestPathsOfPolicyTestsAreBesideTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.test.yml")
	text := "policy: p.yml\nrule_files: [r.yml, /abs.yml]\ntests: [{name: a, kills: [], containers: [{name: x}]}]"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := LoadTests(file, someReasons)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(file)
	if f.Policy != filepath.Join(dir, "p.yml") || f.RuleFiles[0] != filepath.Join(dir, "r.yml") || f.RuleFiles[1] != "/abs.yml" {
		t.Errorf("%+v", f)
	}
	if c := f.Cases[0]; c.Duration != time.Minute || c.Containers[0].Labels["estiba.managed"] != "true" || !c.Containers[0].LabelsKnown ||
		c.Containers[0].Age != time.Hour || f.Scrape != 5*time.Second {
		t.Errorf("defaults %+v", c)
	}
}

// Labels and their shorthands are equivalent.
func TestLabelsOfTestContainers(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"{name: x}":                 {"estiba.managed": "true"},
		"{name: x, managed: false}": {"estiba.managed": "false"},
		"{name: x, labels: {estiba.managed: yes, a: 1}}":                                     {"estiba.managed": "yes", "a": "1"},
		"{name: x, labels: {estiba.managed: false}}":                                         {"estiba.managed": "false"},
		"{name: x, kind: cpu, protected: true, labels: {estiba.kind: cpu, keep: 'no more'}}": {"estiba.managed": "true", "estiba.kind": "cpu", "estiba.protect": "true", "keep": "no more"},
	} {
		f, err := ParseTests([]byte("tests: [{name: a, kills: [], containers: ["+text+"]}]"), nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := f.Cases[0].Containers[0].Labels; !maps.Equal(got, want) {
			t.Errorf("%s has labels %v, want %v", text, got, want)
		}
	}
}

func FuzzParseTests(f *testing.F) {
	f.Add([]byte("policy: x\ntests: [{name: a, kills: []}]"))
	f.Add([]byte("tests: [{name: a, begin: 2024-01-01T22:00:00Z, duration: 1d, kills: [], containers: [{name: x, labels: {a: b}, labels_known: false}], input_series: [{series: up, values: 1+1x20}]}]"))
	files, _ := filepath.Glob("../policies/tests/*.yml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tests, err := ParseTests(data, someReasons)
		if (tests == nil) == (err == nil) {
			t.Fatalf("ParseTests = %v, %v", tests, err)
		}
		if tests != nil && (len(tests.Cases) == 0 || tests.Scrape <= 0 || tests.Evaluation <= 0) {
			t.Fatalf("accepted %+v", tests)
		}
	})
}
