// Package docker_test runs all parts together: real containers in a Docker
// Engine of the test's own, the real generator, exporter, Prometheus,
// Alertmanager and manager with the repository's own configuration.
package docker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

// world is one machine with everything on it.
type world struct {
	root   string
	dir    string // of this test
	engine *testutil.Engine
	docker *dockerclient.Client

	exporterBin, managerBin, generatorBin string

	exporter, prometheus, alertmanager, manager                 *testutil.Process
	exporterAddr, prometheusAddr, alertmanagerAddr, managerAddr string
	auditFile                                                   string
}

// newWorld builds our programs and starts everything but generator and manager.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		root:             testutil.RepositoryRoot(t),
		dir:              t.TempDir(),
		exporterBin:      testutil.Build(t, "./exporter"),
		managerBin:       testutil.Build(t, "./manager"),
		generatorBin:     testutil.Build(t, "./generator"),
		exporterAddr:     testutil.FreeAddress(t),
		prometheusAddr:   testutil.FreeAddress(t),
		alertmanagerAddr: testutil.FreeAddress(t),
		managerAddr:      testutil.FreeAddress(t),
	}
	w.auditFile = filepath.Join(w.dir, "audit.jsonl")
	w.engine = testutil.StartEngine(t)
	w.docker = w.engine.Client(t)
	w.startExporter(t)
	w.startAlertmanager(t)
	w.startPrometheus(t)
	return w
}

func (w *world) startExporter(t *testing.T) {
	t.Helper()
	w.exporter = testutil.StartProcess(t, "exporter", w.exporterBin,
		"--web.listen-address="+w.exporterAddr, "--docker.host="+w.engine.Host)
	w.ready(t, w.exporterAddr)
}

func (w *world) startAlertmanager(t *testing.T) {
	t.Helper()
	w.alertmanager = testutil.StartProcess(t, "alertmanager", testutil.Tool(t, "alertmanager"),
		"--config.file="+filepath.Join(w.root, "prometheus", "alertmanager.yml"),
		"--storage.path="+filepath.Join(w.dir, "alertmanager"),
		"--web.listen-address="+w.alertmanagerAddr, "--cluster.listen-address=")
	w.ready(t, w.alertmanagerAddr)
}

func (w *world) startPrometheus(t *testing.T) {
	t.Helper()
	w.prometheus = testutil.StartProcess(t, "prometheus", testutil.Tool(t, "prometheus"),
		"--config.file="+w.prometheusConfig(t), "--storage.tsdb.path="+filepath.Join(w.dir, "prometheus"),
		"--web.listen-address="+w.prometheusAddr)
	w.ready(t, w.prometheusAddr)
}

// prometheusConfig copies the repository's configuration, with this world's
// addresses in place of the usual ones: nothing else differs.
func (w *world) prometheusConfig(t *testing.T) string {
	t.Helper()
	from, to := filepath.Join(w.root, "prometheus"), filepath.Join(w.dir, "prometheus-config")
	config := filepath.Join(to, "prometheus.yml")
	if _, err := os.Stat(config); err == nil {
		return config
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	replaced := map[string]bool{}
	err := filepath.Walk(to, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() || !strings.HasSuffix(path, ".yml") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text := string(data)
		for port, address := range map[string]string{"10120": w.exporterAddr, "10121": w.managerAddr, "9090": w.prometheusAddr, "9093": w.alertmanagerAddr} {
			for _, host := range []string{"localhost:", "127.0.0.1:"} {
				if strings.Contains(text, host+port) {
					text, replaced[port] = strings.ReplaceAll(text, host+port, address), true
				}
			}
		}
		return os.WriteFile(path, []byte(text), 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(replaced) != 4 {
		t.Fatalf("the configuration in prometheus/ does not name all four usual ports: %v", replaced)
	}
	return config
}

// startManager starts the manager with the shipped default policy.
func (w *world) startManager(t *testing.T) {
	t.Helper()
	w.manager = testutil.StartProcess(t, "manager", w.managerBin, "run",
		"--config.file="+w.policy("one-of-each-kind"), "--prometheus.url=http://"+w.prometheusAddr,
		"--docker.host="+w.engine.Host, "--web.listen-address="+w.managerAddr, "--audit.file="+w.auditFile)
	testutil.Eventually(t, 20*time.Second, "the manager is healthy", func() bool {
		return get("http://"+w.managerAddr+"/-/healthy") == nil
	})
}

func (w *world) policy(name string) string {
	return filepath.Join(w.root, "manager", "policies", name+".yml")
}

// generate runs the real generator once.
func (w *world) generate(t *testing.T, args ...string) {
	t.Helper()
	argv := append([]string{"once", "--docker.host=" + w.engine.Host, "--lock-file=" + filepath.Join(w.dir, "generator.lock")}, args...)
	if out, err := exec.Command(w.generatorBin, argv...).CombinedOutput(); err != nil {
		t.Fatalf("generator %v: %v\n%s", argv, err, out)
	}
}

// running lists the running containers of the Engine by name.
func (w *world) running(t *testing.T) map[string]dockerclient.Container {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	list, err := w.docker.List(ctx, dockerclient.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]dockerclient.Container{}
	for _, c := range list {
		byName[c.Name] = c
	}
	return byName
}

// surplus lists the running containers that the default policy may remove, by kind.
func (w *world) surplus(t *testing.T) map[container.Kind][]string {
	t.Helper()
	kinds := map[container.Kind][]string{}
	for name, c := range w.running(t) {
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

// oneOfEach tells whether exactly one removable container of each kind runs.
func (w *world) oneOfEach(t *testing.T) bool {
	t.Helper()
	kinds := w.surplus(t)
	for _, k := range container.Kinds() {
		if len(kinds[k]) != 1 {
			return false
		}
	}
	return true
}

func (w *world) ready(t *testing.T, address string) {
	t.Helper()
	testutil.Eventually(t, 30*time.Second, "http://"+address+"/-/ready", func() bool {
		return get("http://"+address+"/-/ready") == nil
	})
}

// query asks Prometheus and returns value by the given label ("" for none).
func (w *world) query(t *testing.T, promql, label string) map[string]float64 {
	t.Helper()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	body, err := fetch("http://" + w.prometheusAddr + "/api/v1/query?" + url.Values{"query": {promql}}.Encode())
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil || answer.Status != "success" {
		t.Logf("query %s: %v %s", promql, err, answer.Error)
		return nil
	}
	values := map[string]float64{}
	for _, r := range answer.Data.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			t.Fatalf("query %s: value %v", promql, r.Value[1])
		}
		values[r.Metric[label]] = v
	}
	return values
}

// auditLine is what the tests look at of a line of the manager's record.
type auditLine struct {
	KillID  string `json:"kill_id"`
	Phase   string `json:"phase"`
	ID      string `json:"container"`
	Name    string `json:"name"`
	Outcome string `json:"outcome"`
}

func (w *world) audit(t *testing.T) []auditLine {
	t.Helper()
	data, err := os.ReadFile(w.auditFile)
	if err != nil {
		t.Fatal(err)
	}
	var lines []auditLine
	for _, text := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		if text == "" {
			continue
		}
		var l auditLine
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("record line %q: %v", text, err)
		}
		lines = append(lines, l)
	}
	return lines
}

func get(url string) error {
	_, err := fetch(url)
	return err
}

func fetch(url string) ([]byte, error) {
	client := &http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %s", url, resp.Status, body)
	}
	return body, nil
}
