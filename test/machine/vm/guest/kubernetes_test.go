//go:build estiba_vm

package guest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/estiba/estiba/test/system/kubernetes"
	"github.com/estiba/estiba/test/system/runtimes"
)

// TestKubernetes runs the exporter's pod on a node with cgroup v2 alone, where each
// container has a cgroup namespace of its own: without the module, and with it.
func TestKubernetes(t *testing.T) {
	m := &machine{booted: time.Now()}
	manifests := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(home, "kubernetes", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	n := kubernetes.Start(t, kubernetes.Options{
		Options:  runtimes.Options{Program: program("generator"), Patience: patience, Emulated: true, Say: m.say},
		Exporter: program("exporter"), WithoutNames: manifests("base"), WithNames: manifests("kube-prometheus-stack"),
	})
	n.Check(t)
	m.say("the same with the module")
	loadModule(t)
	t.Cleanup(func() { unloadModule(t) })
	n.CheckModule(t)
	document, err := os.ReadFile(moduleFile)
	if err != nil {
		t.Fatal(err)
	}
	save(t, "kubernetes", document)
	m.say("test finished")
}
