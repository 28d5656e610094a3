package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/estiba/estiba/internal/testutil"
)

// The tests of the shipped policies hold, on a real Prometheus.
func TestShippedPolicyTests(t *testing.T) {
	files, err := filepath.Glob("policies/tests/*.test.yml")
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	var out bytes.Buffer
	if err := testPolicies(context.Background(), files, testutil.Tool(t, "prometheus"), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if n := strings.Count(out.String(), "\n  ok "); n != 7 {
		t.Errorf("%d cases held, want 7:\n%s", n, &out)
	}
}

// A test of a policy must be able to fail, and say what is wrong.
func TestPolicyTestsFail(t *testing.T) {
	prometheus := testutil.Tool(t, "prometheus")
	dir := t.TempDir()
	policy, err := filepath.Abs("policies/one-of-each-kind.yml")
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
		"killed, and should not be: cpu-old by surplus at 0s",
		"not killed: cpu-new by surplus at 0s; it is not_selected",
		"not killed: cpu-new by surplus at 5s; there is no tick at that time",
		"at 10s db should be spared as protected, but is not_selected",
		"at 10s cpu-old should be spared as no_data, but is not there",
		"no tick at 5s: they come each 10s",
		"ok      this one holds",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, &out)
		}
	}
	if err := testPolicies(context.Background(), []string{file}, filepath.Join(dir, "no-such-program"), &out); err == nil || !strings.Contains(err.Error(), "--prometheus.binary") {
		t.Errorf("without a Prometheus: %v", err)
	}
	if err := testPolicies(context.Background(), []string{file}, "/bin/false", &out); err == nil || !strings.Contains(err.Error(), "ended at once") {
		t.Errorf("with a program that is none: %v", err)
	}
}
