package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

const idleRef = "estiba-test/idle:latest"

// realWorld is a Docker Engine or Podman, a Prometheus and a fake exporter, which
// publishes what the Engine lists and can be made to publish something else.
type realWorld struct {
	engine     *testutil.Engine // nil with Podman
	runtime    string
	host       string // URL of the Engine
	docker     *dockerclient.Client
	prometheus string // URL

	mu       sync.Mutex
	frozen   string // if not empty, what the exporter repeats
	down     bool
	more     string // what the exporter publishes in addition
	sequence int
	manager  string // URL; its metrics are scraped with the exporter's
}

// newRealWorld starts all parts; rules are rule files for Prometheus.
func newRealWorld(t *testing.T, rules ...string) *realWorld {
	t.Helper()
	return newAlertingWorld(t, "", rules...)
}

// newAlertingWorld sends alerts to the Alertmanager at an address, HOST:PORT; "" is
// none.
func newAlertingWorld(t *testing.T, alertmanager string, rules ...string) *realWorld {
	t.Helper()
	t.Parallel() // such a test mostly waits
	w := &realWorld{engine: testutil.StartEngine(t), runtime: container.Docker}
	w.host, w.docker = w.engine.Host, w.engine.Client(t)
	w.observe(t, alertmanager, rules)
	return w
}

// observe starts the exporter and Prometheus.
func (w *realWorld) observe(t *testing.T, alertmanager string, rules []string) {
	t.Helper()
	prometheus := testutil.Tool(t, "prometheus")
	testutil.IdleImage(t, w.docker, idleRef)
	exporter := httptest.NewServer(http.HandlerFunc(w.scrape))
	t.Cleanup(exporter.Close)

	dir := t.TempDir()
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
scrape_configs:
  - job_name: estiba
    static_configs: [{targets: [%q]}]
`, strings.TrimPrefix(exporter.URL, "http://"))
	for i, r := range rules {
		path, err := filepath.Abs(r)
		if err != nil {
			t.Fatal(err)
		}
		rules[i] = path
	}
	if alertmanager != "" {
		config += fmt.Sprintf("alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}\n", alertmanager)
	}
	config += fmt.Sprintf("rule_files: [%s]\n", strings.Join(rules, ", "))
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	address := testutil.FreeAddress(t)
	w.prometheus = "http://" + address
	testutil.StartProcess(t, "prometheus", prometheus, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
}

// scrape is the exporter: the metrics that the shipped policies use.
func (w *realWorld) scrape(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		http.Error(rw, "down", http.StatusInternalServerError)
		return
	}
	if w.frozen != "" {
		fmt.Fprint(rw, w.frozen)
		return
	}
	text, err := w.exposition(r.Context())
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprint(rw, text)
}

func (w *realWorld) exposition(ctx context.Context) (string, error) {
	list, err := w.docker.List(ctx, dockerclient.ListOptions{})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	w.sequence++
	fmt.Fprintln(&b, "estiba_host_memory_total_bytes 1e9")
	fmt.Fprintf(&b, "estiba_scrape_success 1\nestiba_snapshot_sequence %d\nestiba_snapshot_timestamp_seconds %.6f\n",
		w.sequence, float64(time.Now().UnixMicro())/1e6)
	for _, c := range list {
		c, err := w.docker.Inspect(ctx, c.ID)
		if err != nil {
			continue
		}
		l, id := container.ParseLabels(c.Labels), container.ShortID(c.ID)
		fmt.Fprintf(&b, "estiba_container_info{id=%q,name=%q,container_id=%q,image=%q,kind=%q,managed=\"%t\",protected=\"%t\",runtime=%q} 1\n",
			id, c.Name, c.ID, c.Image, l.Kind, l.Managed, l.Protected, w.runtime)
		// made-up load: high-3 uses 3 % of a core, low-3 0.003 %
		load, name := 0.0, strings.SplitN(c.Name, "-", 3)
		if len(name) > 1 && (name[0] == "high" || name[0] == "low") {
			fmt.Sscan(name[1], &load)
			if load /= 100; name[0] == "low" {
				load /= 1000
			}
		}
		fmt.Fprintf(&b, "estiba_container_cpu_seconds_total{id=%q,name=%q} %.9f\n", id, c.Name, load*time.Since(c.StartedAt).Seconds())
		fmt.Fprintf(&b, "estiba_container_memory_rss_bytes{id=%q,name=%q} 1000\n", id, c.Name)
		fmt.Fprintf(&b, "estiba_container_start_time_seconds{id=%q,name=%q} %.3f\n", id, c.Name, float64(c.StartedAt.UnixMilli())/1e3)
	}
	if w.manager != "" {
		if resp, err := http.Get(w.manager + "/metrics"); err == nil {
			defer resp.Body.Close()
			lines := bufio.NewScanner(resp.Body)
			for lines.Scan() {
				if strings.HasPrefix(lines.Text(), "estiba_manager_protected{") ||
					strings.HasPrefix(lines.Text(), "estiba_manager_kill_pending_timestamp_seconds{") {
					fmt.Fprintln(&b, lines.Text())
				}
			}
		}
	}
	b.WriteString(w.more)
	return b.String(), nil
}

// freeze makes the exporter repeat its current metrics.
func (w *realWorld) freeze(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	text, err := w.exposition(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	w.frozen = text
}

// start runs a container with Estiba's labels given as kind=cpu, managed=true.
func (w *realWorld) start(t *testing.T, name string, labels ...string) string {
	t.Helper()
	id, err := w.tryStart(name, labels...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (w *realWorld) tryStart(name string, labels ...string) (string, error) {
	m := map[string]string{}
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		m["estiba."+k] = v
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	id, err := w.docker.Create(ctx, dockerclient.Spec{Name: name, Image: idleRef, Labels: m, Networkless: true, MemoryBytes: 32 << 20, PIDs: 20})
	if err != nil {
		return "", err
	}
	return id, w.docker.Start(ctx, id)
}

// running returns the names of running containers.
func (w *realWorld) running(t *testing.T) map[string]bool {
	t.Helper()
	list, err := w.docker.List(context.Background(), dockerclient.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range list {
		if c.State == dockerclient.StateRunning {
			names[c.Name] = true
		}
	}
	return names
}

func (w *realWorld) mustRun(t *testing.T, names ...string) {
	t.Helper()
	running := w.running(t)
	for _, n := range names {
		if !running[n] {
			t.Errorf("%s does not run any more", n)
		}
	}
}

// startManager runs the manager as a process.
func (w *realWorld) startManager(t *testing.T, policy string, flags ...string) (process *testutil.Process, url, auditFile string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "policy.yml")
	if err := os.WriteFile(file, []byte(policy), 0o644); err != nil {
		t.Fatal(err)
	}
	address := testutil.FreeAddress(t)
	auditFile = filepath.Join(dir, "audit.jsonl")
	for i, f := range flags {
		if own, ok := strings.CutPrefix(f, "--audit.file="); ok {
			auditFile, flags = own, append(flags[:i:i], flags[i+1:]...)
			break
		}
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{
		"env", asManager + "=1", program, "run", "--config.file=" + file, "--prometheus.url=" + w.prometheus,
		"--docker.host=" + w.host, "--web.listen-address=" + address, "--audit.file=" + auditFile,
	}, flags...)
	return testutil.StartProcess(t, "manager", args...), "http://" + address, auditFile
}

// shipped is a shipped policy with shorter intervals.
func shipped(t *testing.T, name string, replace ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("policies", name))
	if err != nil {
		t.Fatal(err)
	}
	replace = append(replace, "interval: 10s", "interval: 1s", "max_sample_age: 20s", "max_sample_age: 4s")
	return strings.NewReplacer(replace...).Replace(string(data))
}
