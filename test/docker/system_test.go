package docker_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/prometheus"
)

// idleImage is the image of the containers that the generator did not make.
const idleImage = "estiba-test/idle:latest"

// seedWithAllKinds makes the generator draw every kind in both loads.
const seedWithAllKinds = "10"

// TestTheWholeWay follows the data once around: containers of all four kinds
// → exporter → Prometheus → manager → Docker, until one of each kind is left,
// and then breaks each of the parts in between.
func TestTheWholeWay(t *testing.T) {
	w := newWorld(t)
	testutil.IdleImage(t, w.docker, idleImage)
	bystander := w.addContainer(t, "bystander", nil)
	protected := w.addContainer(t, "protected", map[string]string{
		container.LabelManaged: "true", container.LabelKind: "cpu", container.LabelProtect: "true"})
	misspelt := w.addContainer(t, "misspelt", map[string]string{
		container.LabelManaged: "true", container.LabelKind: "cpu", container.LabelProtect: "ture"})
	w.generate(t, "--batch=12", "--seed="+seedWithAllKinds)

	t.Log("the exporter publishes all of them")
	w.isPublished(t)

	t.Log("Prometheus has their use, class and kind")
	w.isMeasured(t)

	t.Log("the surplus goes, one of each kind stays")
	before := w.surplus(t)
	for _, k := range container.Kinds() {
		if len(before[k]) < 2 {
			t.Fatalf("the batch leaves nothing to remove of kind %s: %v", k, before)
		}
	}
	w.startManager(t)
	testutil.Eventually(t, 90*time.Second, "one container of each kind is left", func() bool { return w.oneOfEach(t) })
	w.survive(t, bystander, protected, misspelt)
	w.recordIsWhole(t)

	if sum := metric(t, "http://"+w.managerAddr+"/metrics", "estiba_manager_tick_duration_seconds_sum"); sum <= 0 {
		t.Errorf("the ticks took %v s", sum)
	}

	t.Log("every dashboard query has data")
	w.dashboardsHaveData(t)

	t.Log("the kills are notified")
	testutil.Eventually(t, 60*time.Second, "Alertmanager has the alert about killed containers", func() bool {
		body, err := fetch("http://" + w.alertmanagerAddr + "/api/v2/alerts")
		return err == nil && strings.Contains(string(body), "EstibaContainerKilled")
	})

	t.Log("nobody dies while Prometheus is away")
	w.prometheus.Stop(t)
	w.generate(t, "--batch=8")
	count := len(w.running(t))
	failed := w.managerTicks(t, "prometheus_error")
	testutil.Eventually(t, 60*time.Second, "two ticks without Prometheus", func() bool {
		return w.managerTicks(t, "prometheus_error") >= failed+2
	})
	if got := len(w.running(t)); got != count {
		t.Errorf("%d containers run, %d did before: somebody died on no data", got, count)
	}
	w.startPrometheus(t)
	testutil.Eventually(t, 120*time.Second, "one of each kind again", func() bool { return w.oneOfEach(t) })

	t.Log("a Docker Engine that comes back is used again")
	w.engine.Stop(t)
	testutil.Eventually(t, 30*time.Second, "the exporter says that Docker is down", func() bool {
		return w.exporterValue(t, "estiba_docker_up") == 0
	})
	started := time.Now()
	if err := get("http://" + w.exporterAddr + "/metrics"); err != nil {
		t.Errorf("scrape without Docker: %v", err)
	}
	if took := time.Since(started); took > 3*time.Second {
		t.Errorf("a scrape without Docker took %s", took)
	}
	w.engine.Start(t)
	w.generate(t, "--batch=12", "--seed="+seedWithAllKinds)
	testutil.Eventually(t, 30*time.Second, "the exporter sees Docker again", func() bool {
		return w.exporterValue(t, "estiba_docker_up") == 1
	})
	testutil.Eventually(t, 120*time.Second, "one of each kind again", func() bool { return w.oneOfEach(t) })
	w.recordIsWhole(t)

	t.Log("none of our programs had to be started again")
	for _, p := range []*testutil.Process{w.exporter, w.manager} {
		if p.Ended() {
			t.Errorf("%s ended", p.Name)
		}
	}

	t.Log("clean removes the generated containers and no other")
	w.clean(t)
	for _, c := range w.running(t) {
		if c.Labels[container.LabelGenerator] != "" {
			t.Errorf("%s is left", c.Name)
		}
	}
}

// isPublished waits until the exporter shows each running container by name,
// with its kind.
func (w *world) isPublished(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, 30*time.Second, "every running container is in /metrics by name", func() bool {
		body, err := fetch("http://" + w.exporterAddr + "/metrics")
		if err != nil {
			t.Logf("scrape: %v", err)
			return false
		}
		for name, c := range w.running(t) {
			info := infoLine(string(body), name)
			if info == "" || !strings.Contains(info, fmt.Sprintf("kind=%q", c.Labels[container.LabelKind])) ||
				!strings.Contains(info, fmt.Sprintf("container_id=%q", c.ID)) {
				return false
			}
		}
		return true
	})
}

func infoLine(metrics, name string) string {
	for _, line := range strings.Split(metrics, "\n") {
		if strings.HasPrefix(line, "estiba_container_info{") && strings.Contains(line, fmt.Sprintf("name=%q", name)) {
			return line
		}
	}
	return ""
}

// isMeasured checks in Prometheus that the loads are what they are called:
// each high one shows in the metric of its kind, and the low ones are low.
func (w *world) isMeasured(t *testing.T) {
	t.Helper()
	type load struct{ kind, load string }
	names := map[load][]string{}
	for name, c := range w.running(t) {
		if level := c.Labels[container.LabelLoad]; level != "" {
			key := load{c.Labels[container.LabelKind], level}
			names[key] = append(names[key], name)
		}
	}
	high := func(kind string) []string { return names[load{kind, "high"}] }
	over := func(query string, floor float64, who []string) bool {
		values := w.query(t, query, "name")
		for _, name := range who {
			if values[name] <= floor {
				return false
			}
		}
		return true
	}
	testutil.Eventually(t, 90*time.Second, "each high container shows in the metric of its kind", func() bool {
		return over("estiba:container_cpu_usage:percent", 5, high("cpu")) &&
			over("estiba_container_memory_rss_bytes", 32<<20, high("ram")) &&
			over("estiba:container_io_activity:rate30s", 50, high("io")) &&
			over("estiba:container_disk_io:bytes_rate30s", 1<<20, high("disk"))
	})
	testutil.Eventually(t, 60*time.Second, "each high container has class high, each low one class low", func() bool {
		highNow := w.query(t, `estiba:container_class{class="high"}`, "name")
		lowNow := w.query(t, `estiba:container_class{class="low"}`, "name")
		for key, who := range names {
			for _, name := range who {
				_, isHigh := highNow[name]
				_, isLow := lowNow[name]
				if isHigh == isLow || isHigh != (key.load == "high") {
					return false
				}
			}
		}
		return true
	})
	testutil.Eventually(t, 30*time.Second, "the observed kind of each container is the declared one where it is high", func() bool {
		for _, k := range container.Kinds() {
			got := w.query(t, fmt.Sprintf(`estiba:container_kind{kind=%q}`, k), "name")
			for _, name := range high(string(k)) {
				if _, ok := got[name]; !ok {
					return false
				}
			}
		}
		return true
	})
}

// addContainer starts an idle container of the test's own.
func (w *world) addContainer(t *testing.T, name string, labels map[string]string) dockerclient.Container {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	id, err := w.docker.Create(ctx, dockerclient.Spec{Name: name, Image: idleImage, Labels: labels, Networkless: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.docker.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	c, err := w.docker.Inspect(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// survive fails unless each container still runs since the same moment.
func (w *world) survive(t *testing.T, list ...dockerclient.Container) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, c := range list {
		now, err := w.docker.Inspect(ctx, c.ID)
		if err != nil || now.State != dockerclient.StateRunning || !now.StartedAt.Equal(c.StartedAt) {
			t.Errorf("%s did not survive: %+v, %v", c.Name, now, err)
		}
	}
}

// recordIsWhole checks that each kill has one intent and, after it, one
// outcome. A container is gone a moment before that is written.
func (w *world) recordIsWhole(t *testing.T) {
	t.Helper()
	var faults []string
	testutil.Eventually(t, 10*time.Second, "each intent in the record has its outcome", func() bool {
		intents, outcomes := map[string]int{}, map[string]int{}
		faults = nil
		for _, l := range w.audit(t) {
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

func (w *world) managerTicks(t *testing.T, result string) float64 {
	t.Helper()
	return metric(t, "http://"+w.managerAddr+"/metrics", fmt.Sprintf("estiba_manager_ticks_total{result=%q}", result))
}

func (w *world) exporterValue(t *testing.T, series string) float64 {
	t.Helper()
	return metric(t, "http://"+w.exporterAddr+"/metrics", series)
}

// metric reads one series off a metrics page; -1 when it is not there.
func metric(t *testing.T, url, series string) float64 {
	t.Helper()
	body, err := fetch(url)
	if err != nil {
		t.Logf("%v", err)
		return -1
	}
	for _, line := range strings.Split(string(body), "\n") {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			var v float64
			if _, err := fmt.Sscanf(value, "%g", &v); err == nil {
				return v
			}
		}
	}
	return -1
}

// clean removes the generated containers with the generator.
func (w *world) clean(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(w.generatorBin, "clean", "--docker.host="+w.engine.Host).CombinedOutput(); err != nil {
		t.Fatalf("generator clean: %v\n%s", err, out)
	}
}

// dashboardsHaveData runs every query of every dashboard: all but those that
// may be empty have to answer with data.
func (w *world) dashboardsHaveData(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var missing []string
	asked := 0
	complete := func() bool {
		answers, err := prometheus.CheckAgainst(ctx, "http://"+w.prometheusAddr)
		if err != nil {
			t.Fatal(err)
		}
		asked, missing = len(answers), nil
		for _, a := range answers {
			if a.Err != nil || a.Empty() {
				missing = append(missing, fmt.Sprintf("dashboard %s, %s: %d series, %v\n%s", a.Dashboard, a.Panel, a.Series, a.Err, a.Asked))
			}
		}
		return asked > 0 && missing == nil
	}
	// Rates need two scrapes of a manager that has only just started.
	for deadline := time.Now().Add(45 * time.Second); !complete() && time.Now().Before(deadline); {
		time.Sleep(time.Second)
	}
	if asked == 0 {
		t.Fatal("the dashboards have no queries")
	}
	for _, m := range missing {
		t.Error(m)
	}
	t.Logf("%d queries of the dashboards asked", asked)
}
