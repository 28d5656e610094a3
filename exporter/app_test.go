package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/estiba/estiba/exporter/collector"
	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/internal/testutil/hosttree"
	"github.com/estiba/estiba/internal/web"
)

// testConfig is an exporter of the hybrid fixture without Docker.
func testConfig(t *testing.T) Config {
	t.Helper()
	return Config{
		Web: web.Config{ListenAddress: "127.0.0.1:0"}, TelemetryPath: "/metrics", Source: sourceAuto,
		KmodFile: filepath.Join(t.TempDir(), "none"), ProcFS: "testdata/hybrid/proc", CgroupFS: "testdata/hybrid/cgroup",
		DockerHost: "unix://" + filepath.Join(t.TempDir(), "none.sock"),
		Names:      collector.Estiba, Limit: 20000, Timeout: 5 * time.Second,
	}
}

func startApp(t *testing.T, c Config) string {
	t.Helper()
	a, err := New(c, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("after the stop: %v", err)
			}
		case <-time.After(15 * time.Second):
			t.Error("the exporter does not stop")
		}
	})
	return a.Addr().String()
}

func status(url string) int {
	resp, err := http.Get(url)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func TestAppServes(t *testing.T) {
	address := startApp(t, testConfig(t))
	testutil.Eventually(t, 5*time.Second, "ready", func() bool { return status("http://"+address+"/-/ready") == http.StatusOK })
	for path, want := range map[string]int{"/": 200, "/-/healthy": 200, "/metrics": 200, "/nothing": 404} {
		if got := status("http://" + address + path); got != want {
			t.Errorf("%s answers %d, want %d", path, got, want)
		}
	}
	if err := web.Healthcheck(context.Background(), web.Config{ListenAddress: address}); err != nil {
		t.Errorf("healthcheck: %v", err)
	}
	text, err := scrape(address)
	if err != nil || !strings.Contains(text, "\nestiba_docker_up 0\n") || !strings.Contains(text, "\nestiba_containers_unnamed 1\n") ||
		!strings.Contains(text, "\nestiba_scrape_success 1\n") {
		t.Errorf("without docker: %v\n%s", err, text)
	}
}

// TestModuleComesAndBreaks changes the document while the exporter runs.
func TestModuleComesAndBreaks(t *testing.T) {
	c := testConfig(t)
	address := startApp(t, c)
	good, err := os.ReadFile("../kmod/schema/samples/full.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name    string
		content []byte
		want    []string
	}{
		{"absent", nil, []string{`estiba_source_active{source="cgroup"} 1`, "estiba_kernel_module_loaded 0", "estiba_scrape_success 1"}},
		{"loaded", good, []string{`estiba_source_active{source="kmod"} 1`, "estiba_kernel_module_loaded 1", "estiba_containers 2"}},
		{"broken", good[:100], []string{
			`estiba_source_active{source="cgroup"} 0`, "estiba_kernel_module_loaded 1", "estiba_scrape_success 0",
			`estiba_source_errors_total{reason="cut",source="kmod"} 1`, "estiba_containers 0", "estiba_snapshot_sequence 42",
		}},
		{"valid again", good, []string{"estiba_scrape_success 1", `estiba_source_errors_total{reason="cut",source="kmod"} 1`}},
	} {
		if step.content != nil {
			if err := os.WriteFile(c.KmodFile, step.content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := scrape(address)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range step.want {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("module %s: no line %s", step.name, line)
			}
		}
	}
}

// TestNotReadyWithoutSnapshot: the only source is absent.
func TestNotReadyWithoutSnapshot(t *testing.T) {
	c := testConfig(t)
	c.Source = "kmod"
	address := startApp(t, c)
	if got := status("http://" + address + "/-/ready"); got != http.StatusServiceUnavailable {
		t.Errorf("ready answers %d, want 503", got)
	}
	text, err := scrape(address)
	if err != nil || !strings.Contains(text, `estiba_source_errors_total{reason="absent",source="kmod"}`) ||
		!strings.Contains(text, "\nestiba_scrape_success 0\n") {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestHangingEngineSlowsNoScrape: the Engine accepts connections and never answers.
func TestHangingEngineSlowsNoScrape(t *testing.T) {
	c := testConfig(t)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c.DockerHost = "unix://" + socket
	address := startApp(t, c)
	testutil.Eventually(t, 5*time.Second, "ready", func() bool { return status("http://"+address+"/-/ready") == http.StatusOK })
	for range 10 {
		began := time.Now()
		text, err := scrape(address)
		if took := time.Since(began); err != nil || took > time.Second || !strings.Contains(text, "\nestiba_docker_up 0\n") {
			t.Fatalf("a scrape took %s, %v", took, err)
		}
	}
}

// TestNewContainerIsNamed: a new container has its name soon after its start.
func TestNewContainerIsNamed(t *testing.T) {
	testutil.Require(t, testutil.Docker, testutil.Root)
	docker, err := dockerclient.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	testutil.IdleImage(t, docker, "estiba-test/exporter:1")
	c := testConfig(t)
	c.ProcFS, c.CgroupFS, c.DockerHost, c.DockerLabels = "/proc", "/sys/fs/cgroup", runtimes.Auto, []string{"team"}
	address := startApp(t, c)
	testutil.Eventually(t, 10*time.Second, "docker up", func() bool {
		text, err := scrape(address)
		return err == nil && strings.Contains(text, "\nestiba_docker_up 1\n")
	})
	const name = "estiba-test-exporter"
	ctx := context.Background()
	docker.Remove(ctx, name)
	id, err := docker.Create(ctx, dockerclient.Spec{
		Name: name, Image: "estiba-test/exporter:1", Networkless: true,
		Labels: map[string]string{"estiba.managed": "true", "estiba.kind": "io", "estiba.protect": "ture", "team": "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Remove(context.Background(), id) })
	if err := docker.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	prefix := `{id="` + id[:12] + `",name="` + name + `"`
	testutil.Eventually(t, time.Second, "the container with its name and labels", func() bool {
		text, err := scrape(address)
		return err == nil && strings.Contains(text, "estiba_container_info"+prefix+`,container_id="`+id+`",image="estiba-test/exporter:1",kind="io",managed="true",protected="true",namespace="moby",runtime="docker",compose_project="",compose_service="",pod="",pod_namespace="",pod_container="",container_label_team="x"} 1`) &&
			strings.Contains(text, "estiba_container_label_errors"+prefix+`,label="estiba.protect"} 1`)
	})
	if err := docker.Remove(ctx, id); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, 5*time.Second, "the removed container is gone", func() bool {
		text, err := scrape(address)
		return err == nil && !strings.Contains(text, id[:12])
	})
}

// TestTelemetryPath: an unusable path is an error.
func TestTelemetryPath(t *testing.T) {
	for path, good := range map[string]bool{
		"/metrics": true, "/a/b.c": true, "/~x/metrics_v1-2": true, "/metrics/": true,
		"": false, "/": false, "metrics": false, "/a//b": false, "/a/../b": false, "/./a": false,
		"/{": false, "/{x}": false, "/a b": false, "GET /metrics": false, "/a?b": false, "/a#b": false, "/a%20b": false, "/ä": false, "/a\n": false,
		"/-/healthy": false, "/-/ready": false,
	} {
		c := testConfig(t)
		c.TelemetryPath = path
		if !good {
			if _, err := New(c, log.NewNopLogger()); err == nil || !strings.Contains(err.Error(), "--web.telemetry-path") {
				t.Errorf("%q: error %v, want one that names the flag", path, err)
			}
			continue
		}
		resp, err := http.Get("http://" + startApp(t, c) + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(text), "\nestiba_scrape_success ") {
			t.Errorf("%q: %s, %v, want metrics", path, resp.Status, err)
		}
	}
}

func TestConfigMistakes(t *testing.T) {
	for says, change := range map[string]func(*Config){
		"--limit.containers":   func(c *Config) { c.Limit = 0 },
		"--scrape.timeout":     func(c *Config) { c.Timeout = 0 },
		"--web.telemetry-path": func(c *Config) { c.TelemetryPath = "metrics" },
		"container_label_a_b":  func(c *Config) { c.DockerLabels = []string{"a.b", "a_b"} },
		"unknown source":       func(c *Config) { c.Source = "proc" },
		"cgroup source":        func(c *Config) { c.ProcFS = "testdata/none" },
		"docker host":          func(c *Config) { c.DockerHost = "no scheme" },
	} {
		c := testConfig(t)
		change(&c)
		if _, err := New(c, log.NewNopLogger()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want one that says %s", err, says)
		}
	}
}

// Each path is either rejected or serves metrics; none panics in the router.
func TestTelemetryPaths(t *testing.T) {
	for path, ok := range map[string]bool{
		"/metrics": true, "/metrics/": true, "/a/b.c-d_e~f": true,
		"": false, "/": false, "//": false, "///": false, "/.": false, "/..": false, "/./": false, ".": false, "metrics": false, "//metrics": false,
		"/metrics//": false, "/a//b": false, "/a/../b": false, "/./a": false, "/a b": false,
		"/{x}": false, "/{": false, "/{x...}": false, "/a?b": false, "/a#b": false, "/%zz": false, "GET /metrics": false, "/\x00": false,
		"/-/healthy": false, "/-/ready": false, "/-/healthy/": false, "/ü": false, "/a\\b": false,
	} {
		c := testConfig(t)
		c.TelemetryPath = path
		a, err := New(c, log.NewNopLogger())
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "--web.telemetry-path") {
			t.Errorf("%q: %v, want it accepted: %t", path, err, ok)
			continue
		}
		if err != nil {
			continue
		}
		w := httptest.NewRecorder()
		a.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "\nestiba_scrape_success ") {
			t.Errorf("%q: status %d", path, w.Code)
		}
		a.runtimes.Close()
	}
}

// An absurd scrape timeout does not shorten the exporter's.
func TestTimeoutHeaders(t *testing.T) {
	a, err := New(testConfig(t), log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer a.runtimes.Close()
	for _, text := range []string{"Inf", "+Inf", "-Inf", "NaN", "1e300", "1e10", "-5", "0", "x", ""} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", text)
		a.handler.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), "\nestiba_scrape_success 1\n") {
			t.Errorf("timeout %q: no snapshot", text)
		}
	}
}

// The start time is computed again after the clock was set: a host without a battery
// boots in 1970.
func TestClockIsSet(t *testing.T) {
	tr, err := hosttree.New(t.TempDir(), hosttree.Layouts()["v2-systemd"])
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Add(hosttree.Numbered(0)); err != nil {
		t.Fatal(err)
	}
	c := testConfig(t)
	c.ProcFS, c.CgroupFS = tr.Proc, tr.Cgroup
	address := startApp(t, c)
	testutil.Eventually(t, 20*time.Second, "the first snapshot, which the exporter takes by itself", func() bool { return status("http://"+address+"/-/ready") == http.StatusOK })
	started := func() string {
		text, err := scrape(address)
		if err != nil {
			t.Fatal(err)
		}
		_, value, _ := strings.Cut(text, `estiba_container_start_time_seconds{id="`+hosttree.Numbered(0).ID[:12]+`",name=""} `)
		value, _, _ = strings.Cut(value, "\n")
		return value
	}
	for boot, want := range map[string]string{"btime 1780000000\n": "1780001000", "btime 1780000500\n": "1780001500", "btime 1779000000\n": "1779001000"} {
		stat, err := os.ReadFile(filepath.Join(tr.Proc, "stat"))
		if err != nil {
			t.Fatal(err)
		}
		text := regexp.MustCompile("btime [0-9]+\n").ReplaceAllString(string(stat), boot)
		if err := os.WriteFile(filepath.Join(tr.Proc, "stat"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := started(); got != want {
			t.Errorf("%q: started at %s, want %s", boot, got, want)
		}
	}
}
