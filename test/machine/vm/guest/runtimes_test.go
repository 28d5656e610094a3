//go:build estiba_vm

package guest

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source/kmod"
	"github.com/estiba/estiba/test/system/runtimes"
	"github.com/estiba/estiba/test/system/stack"
)

// TestRuntimes runs containers of all runtimes at once, on cgroup v2, and checks what
// the module, the cgroup source and the exporter see of them.
func TestRuntimes(t *testing.T) {
	m := &machine{booted: time.Now(), Stack: stack.Stack{Addresses: stack.Usual(), Patience: patience}}
	m.startDocker(t)
	loadModule(t)
	t.Cleanup(func() { unloadModule(t) })
	host := runtimes.Start(t, runtimes.Options{Program: program("generator"), Docker: m.Docker, Patience: patience, Emulated: true, Say: m.say})
	w := host.Populate(t)
	files, programs := otherSources(t)
	step := func(name string, f func(t *testing.T)) {
		m.say("%s", name)
		if !t.Run(strings.ReplaceAll(name, " ", "_"), f) {
			m.say("FAILED: %s", name)
		}
	}
	document, err := os.ReadFile(moduleFile)
	if err != nil {
		t.Fatal(err)
	}
	save(t, "runtimes", document)
	step("module sees all runtimes", func(t *testing.T) { w.CheckSource(t, kmod.New(moduleFile)) })
	step("cgroup source sees all runtimes", func(t *testing.T) { w.CheckSource(t, files) })
	step("bpf source sees all runtimes", func(t *testing.T) { w.CheckSource(t, programs) })
	m.exporter = start(t, "exporter", append(host.Flags(), "--source=auto")...)
	m.Ready(t, m.Exporter)
	step("exporter names all containers", func(t *testing.T) { w.CheckMetrics(t, m.Exporter) })
	step("ends and restarts are seen", func(t *testing.T) { w.CheckEnds(t, m.Exporter) })
	step("module sees what is left", func(t *testing.T) { w.CheckSource(t, kmod.New(moduleFile)) })
	step("the same without the module", func(t *testing.T) {
		unloadModule(t)
		w.CheckMetrics(t, m.Exporter)
		w.CheckSource(t, files)
		w.CheckSource(t, programs)
		loadModule(t)
	})
	m.say("test finished")
}
