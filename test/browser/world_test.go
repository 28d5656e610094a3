//go:build browser

// Package browser draws the dashboards with Grafana's own components in a real
// browser, from the data of the real programs. run.sh is the way in.
package browser

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// world is a host with everything on it, on ports of its own.
type world struct {
	root, dir string
	engine    *testutil.Engine
	stack.Stack
	generatorBin string
}

// newWorld starts every part with the repository's own configuration. Nothing runs
// yet: see populate.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		root: testutil.RepositoryRoot(t), dir: t.TempDir(),
		Stack: stack.Stack{
			Addresses: stack.Addresses{
				Exporter: testutil.FreeAddress(t), Prometheus: testutil.FreeAddress(t),
				Alertmanager: testutil.FreeAddress(t), Manager: testutil.FreeAddress(t),
			},
			Patience: time.Minute,
		},
		generatorBin: testutil.Tool(t, "generator"),
	}
	w.engine = testutil.StartEngine(t)
	w.Docker = w.engine.Client(t)

	t.Log("starting exporter, Alertmanager, Prometheus and manager")
	testutil.StartProcess(t, "exporter", testutil.Tool(t, "exporter"),
		"--web.listen-address="+w.Exporter, "--docker.host="+w.engine.Host)
	testutil.StartProcess(t, "alertmanager", testutil.Tool(t, "alertmanager"),
		"--config.file="+filepath.Join(w.root, "prometheus", "alertmanager.yml"), "--storage.path="+filepath.Join(w.dir, "alertmanager"),
		"--web.listen-address="+w.Alertmanager, "--cluster.listen-address=")
	testutil.StartProcess(t, "prometheus", testutil.Tool(t, "prometheus"),
		"--config.file="+stack.PrometheusConfig(t, w.root, filepath.Join(w.dir, "prometheus-config"), w.Addresses),
		"--storage.tsdb.path="+filepath.Join(w.dir, "prometheus"),
		"--web.listen-address="+w.Prometheus, "--web.cors.origin=.*")
	for _, address := range []string{w.Exporter, w.Alertmanager, w.Prometheus} {
		w.Ready(t, address)
	}
	testutil.StartProcess(t, "manager", testutil.Tool(t, "manager"), "run",
		"--config.file="+filepath.Join(w.root, "manager", "policies", "one-of-each-kind.yml"), "--prometheus.url=http://"+w.Prometheus,
		"--docker.host="+w.engine.Host, "--web.listen-address="+w.Manager, "--audit.file="+filepath.Join(w.dir, "audit.jsonl"))
	testutil.Eventually(t, w.Patience, "the manager has decided, and all is scraped", func() bool {
		return len(w.Query(t, "up == 1")) == 4 && len(w.Query(t, "increase(estiba_manager_tick_duration_seconds_count[30s]) > 0")) == 1
	})
	return w
}

// populate starts containers of every sort that the dashboards distinguish.
func (w *world) populate(t *testing.T) {
	t.Helper()
	testutil.StartProcess(t, "generator", w.generatorBin, "run", "--batch=10", "--docker.host="+w.engine.Host,
		"--lock-file="+filepath.Join(w.dir, "generator.lock"))
	w.residents(t)
}

// stressImage is made by the generator out of its own program.
const stressImage = "estiba/stress"

// hungryImage is that of a container whose processes the kernel kills.
const hungryImage = "shop/import"

// residents are the containers that stay, of one compose project: one without a limit of
// memory and throttled, one that is protected, one near its memory limit, one with a label
// that is misspelt, one that is restarted, and one whose processes the kernel kills for
// want of memory.
func (w *world) residents(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, 90*time.Second, "the generator has made its image", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		list, err := w.Docker.List(ctx, dockerclient.ListOptions{})
		return err == nil && len(list) > 0
	})
	load := func(args ...string) []string { return append([]string{"--lifetime=2h"}, args...) }
	for _, s := range []dockerclient.Spec{
		{Name: "shop-web", Command: load("--kind=cpu", "--share=0.03"), CPUs: 0.025},
		{Name: "shop-mail", Command: []string{"--lifetime=20s", "--kind=cpu", "--share=0.01"}, Restart: "always"},
		{
			Name: "shop-database", Command: load("--kind=io", "--bytes=4194304", "--rate=30", "--block=4096", "--dir=/data"), Volumes: []string{"/data"},
			MemoryBytes: 256 << 20, Labels: map[string]string{container.LabelProtect: "true"},
		},
		{Name: "shop-cache", Command: load("--kind=ram", "--bytes=130023424", "--rate=1"), MemoryBytes: 140 << 20},
		{
			Name: "shop-report", Command: load("--kind=ram", "--bytes=67108864", "--rate=1"), MemoryBytes: 128 << 20,
			Labels: map[string]string{container.LabelManaged: "true", container.LabelKind: "ram", container.LabelProtect: "ture"},
		},
	} {
		s.Image, s.Networkless, s.Labels = stressImage, true, ofShop(s.Labels)
		w.run(t, s)
	}
	testutil.HungryImage(t, w.Docker, hungryImage)
	w.run(t, dockerclient.Spec{Name: "shop-import", Image: hungryImage, MemoryBytes: 48 << 20, Networkless: true, Labels: ofShop(nil)})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	time.Sleep(5 * time.Second) // one that cannot live is dead by then
	list, err := w.Docker.List(ctx, dockerclient.ListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if strings.HasPrefix(c.Name, "shop-") && c.State != dockerclient.StateRunning {
			t.Fatalf("%s does not run: %s", c.Name, c.State)
		}
	}
}

// ofShop adds the label of the compose project.
func ofShop(labels map[string]string) map[string]string {
	all := map[string]string{"com.docker.compose.project": "shop"}
	maps.Copy(all, labels)
	return all
}

func (w *world) run(t *testing.T, s dockerclient.Spec) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	id, err := w.Docker.Create(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Docker.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
}

// TestDashboards has draw.mjs draw every dashboard and look at every panel: while
// nothing runs, and when the world has run for a while.
//
// ESTIBA_BROWSER_FOR is how long the world runs before; it ends sooner when
// the file named by ESTIBA_BROWSER_UNTIL appears.
func TestDashboards(t *testing.T) {
	runs := 150 * time.Second
	if text := os.Getenv("ESTIBA_BROWSER_FOR"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		runs = d
	}
	w := newWorld(t)
	draw := func(args ...string) {
		t.Helper()
		cmd := exec.Command("node", append([]string{"draw.mjs", "--prometheus=http://" + w.Prometheus}, args...)...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			t.Errorf("drawing the dashboards: %v", err)
		}
	}
	t.Log("nothing runs")
	draw("--nothing")

	started := time.Now()
	w.populate(t)
	t.Logf("Prometheus answers at http://%s; the world runs for %s", w.Prometheus, runs)
	for end := started.Add(runs); time.Now().Before(end); {
		time.Sleep(min(30*time.Second, time.Until(end)))
		t.Logf("%s of %s", time.Since(started).Round(time.Second), runs)
		if _, err := os.Stat(os.Getenv("ESTIBA_BROWSER_UNTIL")); err == nil {
			break
		}
	}
	lookAtStatusPage(t, "http://"+w.Manager, "manager", nil, "shop-web", "surplus")
	draw("--since=" + started.UTC().Format(time.RFC3339))
}
