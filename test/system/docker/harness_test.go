// Package docker_test runs all parts together: real containers in a Docker
// Engine of the test's own, the real generator, exporter, Prometheus,
// Alertmanager and manager with the repository's own configuration.
package docker_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/estiba/estiba/grafana/queries"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// world is one machine with everything on it.
type world struct {
	stack.Stack
	root   string
	dir    string // of this test
	engine *testutil.Engine

	exporterBin, managerBin, generatorBin string

	exporter, prometheus, alertmanager, manager *testutil.Process

	alertmanagerConfig string // the shipped one if empty
	managerDocker      string // where the manager finds Docker: the Engine's socket if empty
}

// newWorld builds our programs and starts everything but generator and manager.
// Each prepare changes what the world then starts with.
func newWorld(t *testing.T, prepare ...func(w *world)) *world {
	t.Helper()
	w := &world{
		Stack: stack.Stack{
			Addresses: stack.Addresses{
				Exporter: testutil.FreeAddress(t), Prometheus: testutil.FreeAddress(t),
				Alertmanager: testutil.FreeAddress(t), Manager: testutil.FreeAddress(t),
			},
			Patience: 2 * time.Minute,
		},
		root:         testutil.RepositoryRoot(t),
		dir:          t.TempDir(),
		exporterBin:  testutil.Build(t, "./exporter"),
		managerBin:   testutil.Build(t, "./manager"),
		generatorBin: testutil.Build(t, "./generator"),
	}
	w.Record = filepath.Join(w.dir, "audit.jsonl")
	w.engine = testutil.StartEngine(t)
	w.Docker = w.engine.Client(t)
	for _, f := range prepare {
		f(w)
	}
	w.startExporter(t)
	w.startAlertmanager(t)
	w.startPrometheus(t)
	return w
}

func (w *world) startExporter(t *testing.T) {
	t.Helper()
	w.exporter = testutil.StartProcess(t, "exporter", w.exporterBin,
		"--web.listen-address="+w.Exporter, "--docker.host="+w.engine.Host)
	w.Ready(t, w.Exporter)
}

func (w *world) startAlertmanager(t *testing.T) {
	t.Helper()
	config := w.alertmanagerConfig
	if config == "" {
		config = filepath.Join(w.root, "prometheus", "alertmanager.yml")
	}
	w.alertmanager = testutil.StartProcess(t, "alertmanager", testutil.Tool(t, "alertmanager"),
		"--config.file="+config,
		"--storage.path="+filepath.Join(w.dir, "alertmanager"),
		"--web.listen-address="+w.Alertmanager, "--cluster.listen-address=")
	w.Ready(t, w.Alertmanager)
}

func (w *world) startPrometheus(t *testing.T) {
	t.Helper()
	w.prometheus = testutil.StartProcess(t, "prometheus", testutil.Tool(t, "prometheus"),
		"--config.file="+w.prometheusConfig(t),
		"--storage.tsdb.path="+filepath.Join(w.dir, "prometheus"), "--web.listen-address="+w.Prometheus)
	w.Ready(t, w.Prometheus)
}

func (w *world) prometheusConfig(t *testing.T) string {
	t.Helper()
	return stack.PrometheusConfig(t, w.root, filepath.Join(w.dir, "prometheus-config"), w.Addresses)
}

// startManager starts the manager with the shipped default policy.
func (w *world) startManager(t *testing.T) {
	t.Helper()
	w.startManagerWith(t, w.policy("one-of-each-kind"))
}

func (w *world) startManagerWith(t *testing.T, policy string) {
	t.Helper()
	docker := w.managerDocker
	if docker == "" {
		docker = w.engine.Host
	}
	w.manager = testutil.StartProcess(t, "manager", w.managerBin, "run",
		"--config.file="+policy, "--alertmanager.url=http://"+w.Alertmanager, "--prometheus.url=http://"+w.Prometheus,
		"--docker.host="+docker, "--web.listen-address="+w.Manager, "--audit.file="+w.Record)
	testutil.Eventually(t, 20*time.Second, "the manager is healthy", func() bool {
		_, err := stack.Fetch("http://" + w.Manager + "/-/healthy")
		return err == nil
	})
}

func (w *world) policy(name string) string {
	return filepath.Join(w.root, "manager", "policies", name+".yml")
}

// generate runs the real generator once.
func (w *world) generate(t *testing.T, args ...string) {
	t.Helper()
	w.generator(t, append([]string{"once", "--lock-file=" + filepath.Join(w.dir, "generator.lock")}, args...)...)
}

// clean removes the generated containers with the generator.
func (w *world) clean(t *testing.T) {
	t.Helper()
	w.generator(t, "clean")
}

func (w *world) generator(t *testing.T, args ...string) {
	t.Helper()
	args = append(args, "--docker.host="+w.engine.Host)
	if out, err := exec.Command(w.generatorBin, args...).CombinedOutput(); err != nil {
		t.Fatalf("generator %v: %v\n%s", args, err, out)
	}
}

// shown are the answers to what a panel of the dashboard Container asks of c.
func (w *world) shown(t *testing.T, c dockerclient.Container, panel string) (answers []queries.Answer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), w.Patience)
	defer cancel()
	all, err := queries.CheckContainer(ctx, "http://"+w.Prometheus, c.ID[:12])
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if a.Dashboard == "estiba-container" && a.Panel == panel {
			if a.Err != nil {
				t.Errorf("%s of %s: %v", panel, c.Name, a.Err)
			}
			answers = append(answers, a)
		}
	}
	if len(answers) == 0 {
		t.Fatalf("no panel is called %q", panel)
	}
	return answers
}

// addContainer starts an idle container of the test's own.
func (w *world) addContainer(t *testing.T, name string, labels map[string]string) dockerclient.Container {
	t.Helper()
	return w.startContainer(t, dockerclient.Spec{Name: name, Image: idleImage, Labels: labels})
}

func (w *world) startContainer(t *testing.T, spec dockerclient.Spec) dockerclient.Container {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	spec.Networkless = true
	id, err := w.Docker.Create(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Docker.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	return w.Inspect(t, id)
}
