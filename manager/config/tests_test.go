package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var someReasons = []string{"protected", "not_selected"}

// Each mistake of a file of policy tests is named with its path.
func TestMistakesInPolicyTests(t *testing.T) {
	const head = "tests:\n  - name: a\n    kills: []\n"
	for text, want := range map[string]string{
		"":                                  "the file is empty",
		"tests: []":                         "tests: holds no case",
		"policy: x":                         "tests: is missing; it has no default",
		head + "    color: red":             "tests[0].color: unknown key",
		"tests: [{name: a}]":                "tests[0].kills: is missing",
		head + "  - name: a\n    kills: []": `tests[1].name: another case is called "a"`,
		head + "    containers: [{name: x, kind: gpu}]":                                               `"gpu" is not one of cpu, ram, io, disk`,
		head + "    containers: [{name: x}, {name: x}]":                                               "another container is called x",
		head + "    containers: [{name: x, start: 20s, end: 10s}]":                                    "tests[0].containers[0].end: is not after its start",
		head + "    spared: [{at: 0s, container: x, reason: protected}]":                              "no container of the case is called x",
		head + "    containers: [{name: x}]\n    spared: [{at: 0s, container: x, reason: bored}]":     `"bored" is not one of protected, not_selected`,
		head + "    containers: [{name: x}]\n    spared: [{at: 2m, container: x, reason: protected}]": "tests[0].spared[0].at: is after the end of the case",
		head + "    input_series: [{series: up}]":                                                     "tests[0].input_series[0].values: is missing",
		head + "    input_series: [{series: up, values: [1]}]":                                        "want values such as 0+1x20",
		"scrape_interval: 0s\n" + head:                                                                "scrape_interval: 0s is less than 1s",
		"tests: [{name: a, kills: [{at: 0s}]}]":                                                       "tests[0].kills[0].container: is missing",
		head + "---\n" + head:                                                                         "more than one document",
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
	if c := f.Cases[0]; c.Duration != time.Minute || !c.Containers[0].Managed || c.Containers[0].Age != time.Hour || f.Scrape != 5*time.Second {
		t.Errorf("defaults %+v", c)
	}
}
