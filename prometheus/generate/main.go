// Command generate adapts the rules to another Prometheus: its scrape interval, its job
// names, and the form in which it takes rules.
//
//	go run ./prometheus/generate -scrape 30s -job containers -format operator -output FOLDER
//
// Without flags it writes all that is shipped: the ready-made sets and the mixin of
// prometheus/examples, and the rules for the exporter on Kubernetes.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/estiba/estiba/prometheus/ruleset"
)

func main() {
	var o ruleset.Options
	flag.DurationVar(&o.Scrape, "scrape", ruleset.Shipped, "Scrape interval of the exporter.")
	flag.StringVar(&o.Job, "job", "estiba", "Job of the exporters.")
	flag.StringVar(&o.ManagerJob, "manager-job", "estiba-manager", "Job of the managers.")
	flag.StringVar(&o.Alertmanager, "alertmanager-job", "alertmanager", "Job of the Alertmanagers.")
	flag.BoolVar(&o.NoStack, "no-stack", false, "Leave out the alerts about Prometheus and Alertmanager.")
	flag.BoolVar(&o.NoManager, "no-manager", false, "Leave out the alerts about managers.")
	flag.StringVar(&o.Runbooks, "runbooks", "", "URL of the folder with the runbooks, or of one runbook with NAME for its name.")
	rules := flag.String("rules", "prometheus/rules", "Folder with the rules to adapt.")
	format := flag.String("format", "files", "Form: files (rule_files), operator (a PrometheusRule), mixin (mixin.libsonnet).")
	output := flag.String("output", "", "Folder to write to; empty: the ready-made sets, where they are in the repository.")
	flag.Usage = func() { // without the path that go run compiles to
		fmt.Fprintln(os.Stderr, "Usage: generate [flags]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		fail(fmt.Errorf("unexpected argument %q", flag.Arg(0)))
	}
	// The package takes what is not set for the default; here it is a mistake.
	flag.Visit(func(f *flag.Flag) {
		if value := f.Value.String(); f.Name != "output" && f.Name != "runbooks" && (value == "" || value == "0s") {
			fail(fmt.Errorf("-%s %q: must not be empty or zero", f.Name, value))
		}
	})
	var files map[string][]byte
	var err error
	if *output == "" {
		files, err = ruleset.ReadyMade(*rules)
		*output = filepath.Join(*rules, "../..")
	} else {
		files, err = ruleset.Make(*rules, ruleset.Format(*format), o)
	}
	if err != nil {
		fail(err)
	}
	for name, content := range files {
		path := filepath.Join(*output, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			fail(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			fail(err)
		}
		fmt.Println(path)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "generate:", err)
	os.Exit(1)
}
