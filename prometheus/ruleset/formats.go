package ruleset

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"
)

// Format is the form of a set of rules.
type Format string

// Formats.
const (
	Files    Format = "files"    // for rule_files of prometheus.yml
	Operator Format = "operator" // a PrometheusRule of prometheus-operator
	Mixin    Format = "mixin"    // mixin.libsonnet, for those who build with Jsonnet
)

// sources are the files in prometheus/rules.
var sources = []string{"recording.rules.yml", "alerts.rules.yml"}

// Make adapts the rules in a folder. The result is file contents by file name.
func Make(folder string, format Format, o Options) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range sources {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		text, err := Adapt(string(b), o)
		if err != nil {
			return nil, err
		}
		files[name] = []byte(text)
	}
	switch format {
	case Files:
		return files, nil
	case Operator:
		return operator(files)
	case Mixin:
		return mixin(files)
	}
	return nil, fmt.Errorf("format %q: must be files, operator or mixin", format)
}

// Kubernetes are the folders with a PrometheusRule for the exporter on Kubernetes: Kustomize
// reads no file outside of its folder, and neither does Helm.
func Kubernetes() []string {
	const folder = "exporter/packaging/kubernetes"
	return []string{folder + "/components/prometheus-operator", folder + "/chart/files"}
}

const (
	examples = "prometheus/examples"
	runbooks = "https://github.com/estiba/estiba/blob/main/docs/runbooks"
)

// ReadyMade are the sets that are shipped, by their path in the repository: rules for other
// scrape intervals than 5 s, the mixin, and the rules for Kubernetes.
func ReadyMade(folder string) (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, scrape := range Intervals()[1:] {
		files, err := Make(folder, Files, Options{Scrape: scrape})
		if err != nil {
			return nil, err
		}
		for name, b := range files {
			note := fmt.Sprintf("# Generated from prometheus/rules for a scrape every %s: go run ./prometheus/generate\n#\n", short(scrape))
			all[filepath.Join(examples, "rules-"+short(scrape), name)] = append([]byte(note), b...)
		}
	}
	files, err := Make(folder, Mixin, Options{Scrape: 30 * time.Second})
	if err != nil {
		return nil, err
	}
	for name, b := range files {
		all[filepath.Join(examples, "mixin", name)] = b
	}
	// No manager runs there, and the operator brings alerts about Prometheus of its own.
	files, err = Make(folder, Operator, Options{
		Scrape: 30 * time.Second, Job: "estiba-exporter", NoManager: true, NoStack: true,
		Runbooks: runbooks + "/NAME.md",
	})
	if err != nil {
		return nil, err
	}
	for _, b := range files {
		for _, to := range Kubernetes() {
			all[filepath.Join(to, "prometheusrule.yaml")] = append([]byte("# Generated from prometheus/rules for a scrape every 30 s: go run ./prometheus/generate\n"), b...)
		}
	}
	return all, nil
}

// content is a rules file, with its values as they are.
type content struct {
	Groups []map[string]any `yaml:"groups" json:"groups"`
}

func decode(files map[string][]byte, name string) (content, error) {
	var c content
	if err := yaml.Unmarshal(files[name], &c); err != nil {
		return c, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// operator makes one object of both files.
// https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.PrometheusRule
func operator(files map[string][]byte) (map[string][]byte, error) {
	var spec content
	for _, name := range sources {
		c, err := decode(files, name)
		if err != nil {
			return nil, err
		}
		spec.Groups = append(spec.Groups, c.Groups...)
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	err := e.Encode(map[string]any{
		"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
		"metadata": map[string]any{"name": "estiba", "labels": map[string]string{"app.kubernetes.io/name": "estiba"}},
		"spec":     spec,
	})
	return map[string][]byte{"prometheusrule.yml": b.Bytes()}, err
}

// dashboards are the files in grafana/dashboards.
var dashboards = []string{"estiba-container.json", "estiba-fleet.json", "estiba-manager.json", "estiba-overview.json", "estiba-stack.json"}

// mixin makes the object that a mixin exports: JSON is Jsonnet.
// https://monitoring.mixins.dev
func mixin(files map[string][]byte) (map[string][]byte, error) {
	object := "{\n"
	for _, part := range []struct{ field, file string }{{"prometheusRules", sources[0]}, {"prometheusAlerts", sources[1]}} {
		c, err := decode(files, part.file)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("  ", "  ")
		if err := e.Encode(c); err != nil {
			return nil, err
		}
		object += "  " + part.field + "+:: " + string(bytes.TrimSpace(b.Bytes())) + ",\n"
	}
	object += "  grafanaDashboards+:: {\n"
	for _, name := range dashboards {
		object += fmt.Sprintf("    %q: import '../../../grafana/dashboards/%s',\n", name, name)
	}
	return map[string][]byte{"mixin.libsonnet": []byte("// Generated from prometheus/rules, for a scrape every 30 s: go run ./prometheus/generate\n" + object + "  },\n}\n")}, nil
}
