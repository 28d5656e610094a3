package stack

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// PrometheusConfig copies the repository's configuration of Prometheus into the
// folder to, with addresses in place of the usual ones, and returns the path of
// its main file. Nothing else differs. A copy that is there is taken as it is.
func PrometheusConfig(t *testing.T, root, to string, addresses Addresses) string {
	t.Helper()
	config := filepath.Join(to, "prometheus.yml")
	if _, err := os.Stat(config); err == nil {
		return config
	}
	if err := os.CopyFS(to, os.DirFS(filepath.Join(root, "prometheus"))); err != nil {
		t.Fatal(err)
	}
	targets, err := filepath.Glob(filepath.Join(to, "targets", "*.yml"))
	if err != nil || len(targets) != 4 {
		t.Fatalf("prometheus/targets has %v, %v: want one file for each of the four parts", targets, err)
	}
	for _, path := range targets {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		for port, address := range map[string]string{
			"10120": addresses.Exporter, "10121": addresses.Manager, "9090": addresses.Prometheus, "9093": addresses.Alertmanager,
		} {
			for _, host := range []string{"localhost:", "127.0.0.1:"} {
				text = strings.ReplaceAll(text, host+port, address)
			}
		}
		if text == string(data) {
			t.Fatalf("%s names no usual address of ours", path)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return config
}

// RewriteYAML changes a file.
func RewriteYAML(t *testing.T, path string, change func(root map[string]any)) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	root := map[string]any{}
	if err := yaml.Unmarshal(data, &root); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	change(root)
	if data, err = yaml.Marshal(root); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// AddYAML adds the settings of another file to one, as a person does by hand.
func AddYAML(t *testing.T, path, other string) {
	t.Helper()
	data, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	more := map[string]any{}
	if err := yaml.Unmarshal(data, &more); err != nil {
		t.Fatalf("%s: %v", other, err)
	}
	RewriteYAML(t, path, func(root map[string]any) {
		for key, value := range more {
			there, ok := root[key].(map[string]any)
			if !ok {
				root[key] = value
				continue
			}
			maps.Copy(there, value.(map[string]any))
		}
	})
}
