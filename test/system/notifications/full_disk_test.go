package notifications

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// TestFullDisk fills the disk of a real Prometheus, so that it stores no more samples. The
// fault must be sent within two minutes, and no alert about missing targets. The lookback
// is one minute instead of five, so that all series have ended when the fault is sent.
func TestFullDisk(t *testing.T) {
	t.Parallel() // mostly waits
	testutil.Require(t, testutil.Root)
	root, dir := testutil.RepositoryRoot(t), t.TempDir()
	manager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "estiba_manager_last_success_timestamp_seconds %d\n", time.Now().Unix())
	}))
	t.Cleanup(manager.Close)
	addresses := stack.Addresses{
		Exporter: testutil.FreeAddress(t), Prometheus: testutil.FreeAddress(t), Alertmanager: testutil.FreeAddress(t),
		Manager: strings.TrimPrefix(manager.URL, "http://"),
	}
	inbox, hook := stack.WebInbox(t)
	secret := filepath.Join(dir, "webhook")
	if err := os.WriteFile(secret, []byte(hook), 0o600); err != nil {
		t.Fatal(err)
	}
	config := stack.AlertmanagerConfig(t, root, filepath.Join(dir, "am"), "receivers-webhook.yml", func(config map[string]any) {
		stack.WebhookAt(t, config, hook, secret)
	})
	testutil.StartProcess(t, "alertmanager", testutil.Tool(t, "alertmanager"), "--config.file="+config,
		"--storage.path="+filepath.Join(dir, "am", "data"), "--web.listen-address="+addresses.Alertmanager, "--cluster.listen-address=")
	testutil.StartProcess(t, "exporter", testutil.Build(t, "./exporter"), "--web.listen-address="+addresses.Exporter, "--docker.host=unix:///none")
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", data, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(data, syscall.MNT_DETACH) })
	testutil.StartProcess(t, "prometheus", testutil.Tool(t, "prometheus"),
		"--config.file="+stack.PrometheusConfig(t, root, filepath.Join(dir, "prometheus"), addresses),
		"--storage.tsdb.path="+data, "--query.lookback-delta=1m", "--web.listen-address="+addresses.Prometheus)
	prometheus := stack.Stack{Addresses: addresses, Patience: time.Minute}
	testutil.Eventually(t, time.Minute, "all four targets are up", func() bool {
		up, err := prometheus.Ask("up == 1")
		return err == nil && len(up) == 4
	})

	fill, err := os.Create(filepath.Join(data, "full"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = fill.Write(make([]byte, 4096))
	}
	fill.Close()
	filled := time.Now()
	testutil.Eventually(t, 2*time.Minute, "the fault is sent", func() bool {
		return len(firing(t, inbox)["EstibaPrometheusFailing: samples are not stored"]) > 0
	})
	t.Logf("sent %.0f s after the disk was full", time.Since(filled).Seconds())
	// A false alert would start one minute after the last sample and be sent 40 s later
	// (for: 30s, group_wait: 10s).
	testutil.Eventually(t, 2*time.Minute, "the last samples are outside the lookback", func() bool { return time.Since(filled) > 150*time.Second })
	if up, err := prometheus.Ask("up"); err != nil || len(up) > 0 {
		t.Fatalf("%v, %v: Prometheus still stores samples", up, err)
	}
	for name := range firing(t, inbox) {
		switch alert, _, _ := strings.Cut(name, ":"); alert {
		case "EstibaPrometheusFailing", "EstibaWatchdog", "EstibaKernelModuleMissing", "EstibaDockerDown":
		default:
			t.Errorf("%s was sent", name)
		}
	}
}

// firing returns the firing alerts in an inbox: their instances by name and problem.
func firing(t *testing.T, inbox *stack.Inbox) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, message := range inbox.All() {
		var m struct {
			Alerts []struct {
				Status string
				Labels map[string]string
			}
		}
		if err := json.Unmarshal([]byte(message), &m); err != nil {
			t.Fatalf("not a message: %v: %s", err, message)
		}
		for _, a := range m.Alerts {
			if a.Status != "firing" {
				continue
			}
			name := a.Labels["alertname"]
			if problem := a.Labels["problem"]; problem != "" {
				name += ": " + problem
			}
			all[name] = append(all[name], a.Labels["instance"])
		}
	}
	return all
}
