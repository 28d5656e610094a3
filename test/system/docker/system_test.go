package docker_test

import (
	"testing"
	"time"

	"github.com/estiba/estiba/grafana"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// idleImage is the image of the containers that the generator did not make.
const idleImage = "estiba-test/idle:latest"

// hungryImage is that of a container with too little memory.
const hungryImage = "estiba-test/hungry:latest"

// TestTheWholeWay follows the data once around: containers of all four kinds
// → exporter → Prometheus → manager → Docker, until one of each kind is left,
// and then breaks each of the parts in between.
func TestTheWholeWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	testutil.IdleImage(t, w.Docker, idleImage)
	bystander := w.addContainer(t, "bystander", nil)
	protected := w.addContainer(t, "protected", map[string]string{
		container.LabelManaged: "true", container.LabelKind: "cpu", container.LabelProtect: "true",
	})
	misspelt := w.addContainer(t, "misspelt", map[string]string{
		container.LabelManaged: "true", container.LabelKind: "cpu", container.LabelProtect: "ture",
	})
	testutil.HungryImage(t, w.Docker, hungryImage)
	hungry := w.startContainer(t, dockerclient.Spec{Name: "hungry", Image: hungryImage, MemoryBytes: 48 << 20})
	w.generate(t, "--batch=12", "--seed="+stack.SeedWithAllKinds)

	t.Log("the exporter publishes all of them")
	w.IsPublished(t)

	t.Log("Prometheus has their use, class and kind")
	w.IsMeasured(t, stack.Floors{CPUPercent: 5, RSSBytes: 32 << 20, IORate: 50, DiskBytesRate: 1 << 20})
	w.AreToldApart(t)

	t.Log("the surplus goes, one of each kind stays")
	w.HasSurplus(t)
	w.startManager(t)
	testutil.Eventually(t, 90*time.Second, "one container of each kind is left", func() bool { return w.OneOfEach(t) })
	w.Survived(t, bystander, protected, misspelt, hungry)
	w.RecordIsWhole(t)

	if sum := stack.Scraped(t, w.Manager, "estiba_manager_tick_duration_seconds_sum"); sum <= 0 {
		t.Errorf("the ticks took %v s", sum)
	}

	t.Log("every dashboard query has data")
	w.DashboardsHaveData(t)

	t.Log("the dashboard Container has the kernel's kills, and no limit where there is none")
	testutil.Eventually(t, 60*time.Second, "OOM kills are shown", func() bool {
		kills := w.shown(t, hungry, "OOM kills")
		return kills[0].Series == 1 && kills[0].Last >= 1
	})
	for _, c := range []struct {
		of     dockerclient.Container
		limits int
	}{{hungry, 1}, {bystander, 0}} {
		memory := w.shown(t, c.of, "Memory") // working set, resident, swapped, cgroup, limit
		share := w.shown(t, c.of, "Memory limit used")[0]
		if memory[0].Series != 1 || memory[4].Series != c.limits || share.Series != 1 || (share.Last == grafana.NoLimit) != (c.limits == 0) {
			t.Errorf("%s: memory %+v, share of its limit %+v", c.of.Name, memory, share)
		}
	}

	t.Log("the kills are notified")
	w.KillsAreNotified(t)

	t.Log("no container is killed while Prometheus is down")
	w.prometheus.Stop(t)
	w.generate(t, "--batch=8")
	count := len(w.Running(t))
	failed := w.Ticks(t, "prometheus_error")
	testutil.Eventually(t, 60*time.Second, "two ticks without Prometheus", func() bool {
		return w.Ticks(t, "prometheus_error") >= failed+2
	})
	if got := len(w.Running(t)); got != count {
		t.Errorf("%d containers run, %d did before: somebody died on no data", got, count)
	}
	w.startPrometheus(t)
	testutil.Eventually(t, 120*time.Second, "one of each kind again", func() bool { return w.OneOfEach(t) })

	t.Log("a Docker Engine that comes back is used again")
	w.engine.Stop(t)
	testutil.Eventually(t, 30*time.Second, "the exporter says that Docker is down", func() bool {
		return stack.Scraped(t, w.Exporter, "estiba_docker_up") == 0
	})
	started := time.Now()
	if _, err := stack.Fetch("http://" + w.Exporter + "/metrics"); err != nil {
		t.Errorf("scrape without Docker: %v", err)
	}
	if took := time.Since(started); took > 3*time.Second {
		t.Errorf("a scrape without Docker took %s", took)
	}
	w.engine.Start(t)
	w.generate(t, "--batch=12", "--seed="+stack.SeedWithAllKinds)
	testutil.Eventually(t, 30*time.Second, "the exporter sees Docker again", func() bool {
		return stack.Scraped(t, w.Exporter, "estiba_docker_up") == 1
	})
	testutil.Eventually(t, 120*time.Second, "one of each kind again", func() bool { return w.OneOfEach(t) })
	w.RecordIsWhole(t)

	t.Log("none of our programs had to be started again")
	for _, p := range []*testutil.Process{w.exporter, w.manager} {
		if p.Ended() {
			t.Errorf("%s ended", p.Name)
		}
	}

	t.Log("clean removes the generated containers and no other")
	w.clean(t)
	for _, c := range w.Running(t) {
		if c.Labels[container.LabelGenerator] != "" {
			t.Errorf("%s is left", c.Name)
		}
	}
}
