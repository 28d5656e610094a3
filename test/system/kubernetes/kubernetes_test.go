package kubernetes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/runtimes"
)

// TestNode has cgroups as this host has them.
func TestNode(t *testing.T) { onNode(t, false) }

// TestPrivateCgroups has containers in cgroup namespaces of their own, as they are on each
// node with cgroup v2. A host with v1 and v2 gives them one if asked to.
func TestPrivateCgroups(t *testing.T) { onNode(t, true) }

func onNode(t *testing.T, private bool) {
	t.Helper()
	testutil.Require(t, runtimes.NodeTools...)
	kustomize, prometheus := testutil.Tool(t, "kustomize"), testutil.Tool(t, "prometheus")
	if testutil.Alone(t) {
		return
	}
	began := time.Now()
	o := Options{
		Exporter: testutil.Build(t, "./exporter"),
		Options: runtimes.Options{Program: testutil.Build(t, "./generator"), Patience: time.Minute, Say: func(format string, args ...any) {
			t.Logf("%5.1f s  %s", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
		}},
		WithoutNames: rendered(t, kustomize, "base"), WithNames: rendered(t, kustomize, "overlays/kube-prometheus-stack"),
		Private: private,
	}
	o.Say("programs built")
	n := Start(t, o)
	n.Check(t)
	if !private {
		n.CheckPrometheus(t, prometheus)
	}
}

// rendered is what kubectl would apply.
func rendered(t *testing.T, kustomize, folder string) []byte {
	t.Helper()
	out, err := exec.Command(kustomize, "build", filepath.Join(testutil.RepositoryRoot(t), "exporter/packaging/kubernetes", folder)).Output()
	if err != nil {
		t.Fatalf("%s: %v", folder, err)
	}
	return out
}

// TestImage compares the image of the other tests with the one that is built.
func TestImage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testutil.RepositoryRoot(t), "exporter/packaging/Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"FROM scratch\n", "\nCOPY exporter /exporter\n", "\nENTRYPOINT [\"/exporter\"]\n"} {
		if !strings.Contains(string(text), line) {
			t.Errorf("the Dockerfile lacks %q", line)
		}
	}
	for _, line := range []string{"\nUSER ", "\nENV ", "\nCMD ", "\nWORKDIR "} {
		if strings.Contains(string(text), line) {
			t.Errorf("the image of the tests has nothing of %q", line)
		}
	}
}
