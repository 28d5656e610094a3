//go:build estiba_vm

package guest

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// seedOfEight is a seed whose batch of eight has every kind with both loads.
const seedOfEight = "298"

// TestWholeSystem tests everything from loading the module to killing containers. Each step
// continues where the previous one left the machine.
func TestWholeSystem(t *testing.T) {
	m := &machine{booted: time.Now(), Stack: stack.Stack{
		Addresses: stack.Usual(), Record: "/var/lib/estiba-audit.jsonl", Patience: patience,
	}}
	m.say("test started")
	m.startDocker(t)
	m.importBox(t)
	loadModule(t)
	loaded := true
	t.Cleanup(func() {
		if loaded {
			unloadModule(t)
		}
	})
	m.exporter = start(t, "exporter", "--source=auto")
	start(t, "alertmanager", "--config.file="+filepath.Join(home, "prometheus/alertmanager.yml"),
		"--storage.path=/var/lib/alertmanager", "--cluster.listen-address=")
	start(t, "prometheus", "--config.file="+filepath.Join(home, "prometheus/prometheus.yml"),
		"--storage.tsdb.path=/var/lib/prometheus")
	m.say("programs started")

	o := m.startOddOnes(t)
	m.say("odd containers started: %d", len(m.Running(t)))
	run(t, program("generator"), "once", "--batch=8", "--seed="+seedOfEight)
	m.say("containers generated: %d in total", len(m.Running(t)))
	m.HasSurplus(t)

	step := func(name string, f func(t *testing.T)) {
		m.say("%s", name)
		if !t.Run(strings.ReplaceAll(name, " ", "_"), f) {
			m.say("FAILED: %s", name)
		}
	}
	step("exporter reads the module and names all containers", m.isPublished)
	step("document is correct for odd containers", o.check)
	step("sources agree", m.sourcesAgree)
	step("docker stats agrees", m.dockerStatsAgrees)
	step("Prometheus has usage and class of all containers", m.isMeasured)
	m.manager = start(t, "manager", "run", "--config.file="+filepath.Join(home, "manager/policies/one-of-each-kind.yml"),
		"--prometheus.url=http://"+m.Prometheus, "--audit.file="+m.Record)
	step("manager removes the surplus", m.surplusIsRemoved)
	step("dashboards have data", m.DashboardsHaveData)
	step("module is unloaded and loaded while all programs run", m.moduleIsReloaded)
	step("odd containers still run", o.survived)

	if m.exporter.Ended() || m.manager.Ended() {
		t.Error("exporter or manager exited")
	}
	step("module unloads", func(t *testing.T) {
		unloadModule(t)
		loaded = false
	})
	m.say("test finished")
}

// isPublished waits until the exporter has each running container, with the module as its
// source.
func (m *machine) isPublished(t *testing.T) {
	m.IsPublished(t)
	for series, want := range map[string]float64{
		`estiba_source_active{source="kmod"}`: 1, `estiba_source_active{source="bpf"}`: 0, `estiba_source_active{source="cgroup"}`: 0,
		"estiba_kernel_module_loaded": 1, "estiba_scrape_success": 1, "estiba_docker_up": 1,
		"estiba_containers": float64(len(m.Running(t))), "estiba_containers_unnamed": 0,
	} {
		if got := stack.Scraped(t, m.Exporter, series); got != want {
			t.Errorf("%s is %g, want %g", series, got, want)
		}
	}
}

// isMeasured checks the data in Prometheus from which the manager decides: CPU and memory
// usage and class of each container, with high values for the busy ones.
func (m *machine) isMeasured(t *testing.T) {
	for _, query := range []string{"estiba:container_cpu_usage:percent", "estiba:container_memory_usage:percent", "estiba:container_class"} {
		testutil.Eventually(t, patience, query+" of every container", func() bool {
			values := m.ByName(t, query)
			for name := range m.Running(t) {
				if _, ok := values[name]; !ok {
					return false
				}
			}
			return true
		})
	}
	m.IsMeasured(t, stack.Floors{CPUPercent: 5, RSSBytes: 32 << 20, IORate: 5, DiskBytesRate: 128 << 10})
}

// surplusIsRemoved waits until the manager, with the default policy, has left one container
// of each kind.
func (m *machine) surplusIsRemoved(t *testing.T) {
	defer func() {
		if t.Failed() {
			why, err := stack.Fetch("http://" + m.Manager + "/api/v1/decisions")
			t.Logf("last decisions: %s, %v", why, err)
		}
	}()
	testutil.Eventually(t, patience, "one container of each kind is left", func() bool { return m.OneOfEach(t) })
	m.say("one container of each kind is left")
	m.RecordIsWhole(t)
	m.KillsAreNotified(t)
}
