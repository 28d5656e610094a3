//go:build estiba_vm

package guest

import (
	"context"
	"fmt"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/prometheus"
)

// seedWithAllKinds makes the generator draw every kind in both loads.
const seedWithAllKinds = "10"

// TestWholeSystem goes from loading the module to a killed container, and
// beyond: each step finds the machine as the one before left it.
func TestWholeSystem(t *testing.T) {
	m := &machine{booted: time.Now()}
	m.say("test starts")
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
	m.say("containers of all sorts started: %d", len(m.running(t)))
	run(t, program("generator"), "once", "--batch=12", "--seed="+seedWithAllKinds)
	m.say("containers generated: %d in all", len(m.running(t)))
	for _, k := range container.Kinds() {
		if made := m.surplus(t); len(made[k]) < 2 {
			t.Fatalf("nothing to remove of kind %s: %v", k, made)
		}
	}

	step := func(name string, f func(t *testing.T)) {
		m.say("%s", name)
		if !t.Run(strings.ReplaceAll(name, " ", "_"), f) {
			m.say("FAILED: %s", name)
		}
	}
	step("exporter reads the module and names all", m.isPublished)
	step("odd containers are right in the document", o.check)
	step("module and cgroup source agree", m.sourcesAgree)
	step("docker stats agrees", m.dockerStatsAgrees)
	step("Prometheus has use and class of all", m.isMeasured)
	m.manager = start(t, "manager", "run", "--config.file="+filepath.Join(home, "manager/policies/one-of-each-kind.yml"),
		"--prometheus.url="+prometheusURL, "--audit.file="+auditFile)
	step("manager removes the surplus", m.surplusGoes)
	step("dashboards have data", dashboardsHaveData)
	step("module goes and comes while all runs", m.moduleGoesAndComes)
	step("nobody else was touched", o.survived)

	if m.exporter.Ended() || m.manager.Ended() {
		t.Error("exporter or manager ended")
	}
	step("module unloads", func(t *testing.T) {
		unloadModule(t)
		loaded = false
	})
	m.say("test ends")
}

// isPublished waits until the exporter has each running container by name, and
// says that it has them from the module.
func (m *machine) isPublished(t *testing.T) {
	missing := ""
	testutil.Eventually(t, patience, "every running container is in /metrics by name", func() bool {
		body, err := fetch(exporterURL + "/metrics")
		if err != nil {
			return false
		}
		missing = ""
		for name, c := range m.running(t) {
			found := false
			for _, line := range strings.Split(string(body), "\n") {
				found = found || strings.HasPrefix(line, "estiba_container_info{") &&
					strings.Contains(line, fmt.Sprintf("name=%q", name)) &&
					strings.Contains(line, fmt.Sprintf("kind=%q", c.Labels[container.LabelKind])) &&
					strings.Contains(line, fmt.Sprintf("container_id=%q", c.ID))
			}
			if !found {
				missing = name
			}
		}
		return missing == ""
	})
	for series, want := range map[string]float64{
		`estiba_source_active{source="kmod"}`: 1, `estiba_source_active{source="cgroup"}`: 0,
		"estiba_kernel_module_loaded": 1, "estiba_scrape_success": 1, "estiba_docker_up": 1,
		"estiba_containers": float64(len(m.running(t))), "estiba_containers_unnamed": 0,
	} {
		if got := scraped(t, exporterURL, series); got != want {
			t.Errorf("%s is %g, want %g", series, got, want)
		}
	}
}

// isMeasured wants in Prometheus what the manager decides from: each container
// with CPU and memory use, the busy ones as high.
func (m *machine) isMeasured(t *testing.T) {
	for _, query := range []string{"estiba:container_cpu_usage:percent", "estiba:container_memory_usage:percent", "estiba:container_class"} {
		testutil.Eventually(t, patience, query+" of every container", func() bool {
			values := byName(t, query)
			for name := range m.running(t) {
				if _, ok := values[name]; !ok {
					return false
				}
			}
			return true
		})
	}
	over := func(query string, floor float64, who func(dockerclient.Container) bool) {
		t.Helper()
		testutil.Eventually(t, patience, fmt.Sprintf("%s over %g", query, floor), func() bool {
			values, n := byName(t, query), 0
			for name, c := range m.running(t) {
				if c.Labels[container.LabelLoad] == "high" && who(c) {
					if n++; values[name] <= floor {
						return false
					}
				}
			}
			return n > 0
		})
	}
	kind := func(k container.Kind) func(dockerclient.Container) bool {
		return func(c dockerclient.Container) bool { return c.Labels[container.LabelKind] == string(k) }
	}
	over("estiba:container_cpu_usage:percent", 5, kind(container.KindCPU))
	over("estiba_container_memory_rss_bytes", 32<<20, kind(container.KindRAM))
	over("estiba:container_io_activity:rate30s", 5, kind(container.KindIO))
	over("estiba:container_disk_io:bytes_rate30s", 128<<10, kind(container.KindDisk))
	over(`estiba:container_class{class="high"}`, 0, func(dockerclient.Container) bool { return true })
}

// surplus lists the containers that the policy may remove, by kind.
func (m *machine) surplus(t *testing.T) map[container.Kind][]string {
	t.Helper()
	kinds := map[container.Kind][]string{}
	for name, c := range m.running(t) {
		l := container.ParseLabels(c.Labels)
		if l.Managed && !l.Protected && l.Errors == nil {
			kinds[l.Kind] = append(kinds[l.Kind], name)
		}
	}
	for _, names := range kinds {
		sort.Strings(names)
	}
	return kinds
}

func (m *machine) oneOfEach(t *testing.T) bool {
	t.Helper()
	kinds := m.surplus(t)
	for _, k := range container.Kinds() {
		if len(kinds[k]) != 1 {
			return false
		}
	}
	return true
}

// surplusGoes waits until the manager, with the shipped default policy, has
// left one container of each kind.
func (m *machine) surplusGoes(t *testing.T) {
	testutil.Eventually(t, patience, "one container of each kind is left", func() bool { return m.oneOfEach(t) })
	m.say("one of each kind is left")
	m.recordIsWhole(t)
	testutil.Eventually(t, patience, "Alertmanager has the alert about killed containers", func() bool {
		body, err := fetch(alertmanagerURL + "/api/v2/alerts")
		return err == nil && strings.Contains(string(body), "EstibaContainerKilled")
	})
}

// recordIsWhole checks that each kill has one intent and, after it, one outcome.
func (m *machine) recordIsWhole(t *testing.T) {
	t.Helper()
	var faults []string
	testutil.Eventually(t, patience, "each intent in the record has its outcome", func() bool {
		intents, outcomes := map[string]int{}, map[string]int{}
		faults = nil
		for _, l := range audit(t) {
			switch l.Phase {
			case "intent":
				intents[l.KillID]++
				if l.ID == "" || l.Name == "" || intents[l.KillID] != 1 {
					faults = append(faults, fmt.Sprintf("intent without a container, or twice: %+v", l))
				}
			case "outcome":
				outcomes[l.KillID]++
				if intents[l.KillID] != 1 || outcomes[l.KillID] != 1 {
					faults = append(faults, fmt.Sprintf("outcome without its one intent before it: %+v", l))
				}
			}
		}
		return len(intents) > 0 && len(intents) == len(outcomes)
	})
	for _, f := range faults {
		t.Error(f)
	}
}

// dashboardsHaveData runs every query of every dashboard: all but those that
// may be empty have to answer with data.
func dashboardsHaveData(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var missing []string
	asked := 0
	// Rates need two scrapes of a manager that has only just started.
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Second) {
		answers, err := prometheus.CheckAgainst(ctx, prometheusURL)
		if err != nil {
			t.Fatal(err)
		}
		asked, missing = len(answers), nil
		for _, a := range answers {
			if a.Err != nil || a.Empty() {
				missing = append(missing, fmt.Sprintf("dashboard %s, %s: %d series, %v\n%s", a.Dashboard, a.Panel, a.Series, a.Err, a.Asked))
			}
		}
		if missing == nil || time.Now().After(deadline) {
			break
		}
	}
	if asked == 0 {
		t.Fatal("the dashboards have no queries")
	}
	for _, text := range missing {
		t.Error(text)
	}
	t.Logf("%d queries of the dashboards asked", asked)
}
