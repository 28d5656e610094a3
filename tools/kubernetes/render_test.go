// Package kubernetes checks the manifests and the chart of the exporter with the programs
// that render them and with the types of the API, in a module of its own: the product
// depends on none of them.
package kubernetes

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	operator "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

const (
	root      = "../.."
	manifests = root + "/exporter/packaging/kubernetes"
	chart     = manifests + "/chart"
	namespace = "estiba"
)

// tool is a program that tools/build.sh built. Without it these tests fail.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, "build/bin", name))
	if err == nil {
		_, err = exec.LookPath(path)
	}
	if err != nil {
		t.Fatalf("tools/build.sh %s makes it: %v", name, err)
	}
	return path
}

func run(t *testing.T, argv ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, problems.String())
	}
	return out, err
}

// kustomized returns the objects of a folder with a kustomization.
func kustomized(t *testing.T, folder string) objects {
	t.Helper()
	out, err := run(t, tool(t, "kustomize"), "build", filepath.Join(manifests, folder))
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, out)
}

// template runs the chart with values.
func template(t *testing.T, values ...string) ([]byte, error) {
	t.Helper()
	argv := []string{tool(t, "helm"), "template", "estiba-exporter", chart, "--namespace=" + namespace, "--kube-version=1.36.0"}
	for _, v := range values {
		argv = append(argv, "--set", v)
	}
	return run(t, argv...)
}

// charted returns the objects of the chart with values.
func charted(t *testing.T, values ...string) objects {
	t.Helper()
	out, err := template(t, values...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, out)
}

// objects are those of one rendering, by kind.
type objects map[string]runtime.Object

func of[T runtime.Object](t *testing.T, all objects, kind string) T {
	t.Helper()
	object, ok := all[kind].(T)
	if !ok {
		t.Fatalf("no %s among %d objects", kind, len(all))
	}
	return object
}

// decode decodes objects by the types of the API; a field that the API does not have, or
// one that is there twice, is an error.
func decode(t *testing.T, text []byte) objects {
	t.Helper()
	types := map[string]func() runtime.Object{
		"v1 Namespace":                            func() runtime.Object { return &core.Namespace{} },
		"v1 ServiceAccount":                       func() runtime.Object { return &core.ServiceAccount{} },
		"apps/v1 DaemonSet":                       func() runtime.Object { return &apps.DaemonSet{} },
		"monitoring.coreos.com/v1 PodMonitor":     func() runtime.Object { return &operator.PodMonitor{} },
		"monitoring.coreos.com/v1 PrometheusRule": func() runtime.Object { return &operator.PrometheusRule{} },
	}
	all := objects{}
	for document := range strings.SplitSeq("\n"+string(text), "\n---\n") {
		var is struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal([]byte(document), &is); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		if is.Kind == "" && strings.TrimSpace(document) == "" {
			continue
		}
		create := types[is.APIVersion+" "+is.Kind]
		if create == nil {
			t.Fatalf("an object of %s %s:\n%s", is.APIVersion, is.Kind, document)
		}
		object := create()
		if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
			t.Errorf("%s: %v", is.Kind, err)
		}
		if all[is.Kind] != nil {
			t.Errorf("two objects of kind %s", is.Kind)
		}
		all[is.Kind] = object
	}
	return all
}
