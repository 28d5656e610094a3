package stack

import (
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Alert is one of the shipped ones, with the labels that its rule gives it.
type Alert struct {
	Name   string            `yaml:"alert"`
	Labels map[string]string `yaml:"labels"`
}

// Alerts are those of rules files, named by their paths in prometheus/.
func Alerts(t *testing.T, root string, paths ...string) (all []Alert) {
	t.Helper()
	for _, path := range paths {
		data, err := os.ReadFile(filepath.Join(root, "prometheus", path))
		if err != nil {
			t.Fatal(err)
		}
		var content struct{ Groups []struct{ Rules []Alert } }
		if err := yaml.Unmarshal(data, &content); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, g := range content.Groups {
			for _, r := range g.Rules {
				if r.Name != "" {
					all = append(all, r)
				}
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("%v have no alerts", paths)
	}
	return all
}
