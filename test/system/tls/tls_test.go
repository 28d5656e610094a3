// Package tls_test runs the four programs with the examples of docs/security.md:
// every listener with TLS and a password, and all of them still working together.
package tls_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

const (
	user, password = "prometheus", "secret"
	hash           = "$2y$04$NKMi8NS8vmY6zPConUvDjOVG.ISCdVxcL.Yt7yy5HMXH3Zg1eVi9K" // of it, by bcrypt
	placeholder    = "$2y$10$…"                                                     // for it, in the document
	patience       = 2 * time.Minute
)

// example is the block of docs/security.md that begins with the comment named.
func example(t *testing.T, root, comment string) string {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), "```yaml\n"+comment+"\n")
	block, _, closed := strings.Cut(rest, "```\n")
	if !found || !closed {
		t.Fatalf("docs/security.md has no example %q", comment)
	}
	return block
}

// world is the four programs on one host.
type world struct {
	stack.Addresses
	dir    string
	client *http.Client
}

// get asks as somebody, and returns status 0 with the error's text where
// there is no answer.
func (w *world) get(url, user, password string) (int, string) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// page is what an allowed client gets.
func (w *world) page(address, path string) string {
	_, body := w.get("https://"+address+path, user, password)
	return body
}

// asks is the flags with which a manager says to Prometheus and to Alertmanager that
// it is user with a password, by the example.
func (w *world) asks(t *testing.T, toPrometheus, toAlertmanager string) (flags []string) {
	t.Helper()
	for server, password := range map[string]string{"prometheus": toPrometheus, "alertmanager": toAlertmanager} {
		dir := t.TempDir()
		file := filepath.Join(dir, "client.yml")
		for path, content := range map[string]string{
			file:                           example(t, testutil.RepositoryRoot(t), "# client.yml"),
			filepath.Join(dir, "password"): password,
		} {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(filepath.Join(w.dir, "ca.crt"), filepath.Join(dir, "ca.crt")); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, "--"+server+".http.config.file="+file)
	}
	return append(flags, "--prometheus.url=https://"+w.Prometheus, "--alertmanager.url=https://"+w.Alertmanager)
}

// manager starts one that so asks.
func (w *world) manager(t *testing.T, bin, address, password string) *testutil.Process {
	t.Helper()
	return testutil.StartProcess(t, "manager", append([]string{
		bin, "run", "--dry-run",
		"--web.listen-address=" + address, "--web.config.file=" + filepath.Join(w.dir, "web.yml"),
		"--audit.file=" + filepath.Join(t.TempDir(), "audit.jsonl"),
	}, w.asks(t, password, password)...)...)
}

func (w *world) ticks(address, result string) string {
	m := regexp.MustCompile(`(?m)^estiba_manager_ticks_total\{result="` + result + `"\} (\S+)$`).FindStringSubmatch(w.page(address, "/metrics"))
	if m == nil {
		return ""
	}
	return m[1]
}

func TestEveryListener(t *testing.T) {
	testutil.Require(t, testutil.Docker)
	root := testutil.RepositoryRoot(t)
	prometheus, alertmanager := testutil.Tool(t, "prometheus"), testutil.Tool(t, "alertmanager")
	exporter, manager := testutil.Build(t, "./exporter"), testutil.Build(t, "./manager")
	w := &world{dir: t.TempDir(), Addresses: stack.Addresses{
		Exporter: testutil.FreeAddress(t), Prometheus: testutil.FreeAddress(t), Alertmanager: testutil.FreeAddress(t), Manager: testutil.FreeAddress(t),
	}}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: testutil.Authority(t, w.dir)}}
	t.Cleanup(transport.CloseIdleConnections)
	w.client = &http.Client{Transport: transport, Timeout: 10 * time.Second}

	// The examples, with a real password.
	webConfig := filepath.Join(w.dir, "web.yml")
	text := example(t, root, "# web.yml")
	if !strings.Contains(text, placeholder) {
		t.Fatalf("the example has no %s: %s", placeholder, text)
	}
	if err := os.WriteFile(webConfig, []byte(strings.Replace(text, placeholder, hash, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	asks := map[string]any{}
	if err := yaml.Unmarshal([]byte(example(t, root, "# prometheus.yml")), &asks); err != nil || len(asks) != 3 {
		t.Fatalf("the example for Prometheus: %v, %v", asks, err)
	}
	config := stack.PrometheusConfig(t, root, filepath.Join(w.dir, "prometheus"), w.Addresses)
	stack.RewriteYAML(t, config, func(root map[string]any) {
		jobs := append(root["scrape_configs"].([]any), root["alerting"].(map[string]any)["alertmanagers"].([]any)...)
		if len(jobs) != 5 {
			t.Fatalf("prometheus.yml has %d jobs and Alertmanagers, want 5", len(jobs))
		}
		for _, job := range jobs {
			for key, value := range asks {
				job.(map[string]any)[key] = value
			}
		}
	})
	ca, err := os.ReadFile(filepath.Join(w.dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"ca.crt": ca, "password": []byte(password)} {
		if err := os.WriteFile(filepath.Join(w.dir, "prometheus", name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	testutil.StartProcess(t, "exporter", exporter, "--source=cgroup", "--web.listen-address="+w.Exporter, "--web.config.file="+webConfig)
	testutil.StartProcess(t, "alertmanager", alertmanager, "--config.file="+filepath.Join(w.dir, "prometheus", "alertmanager.yml"),
		"--storage.path="+t.TempDir(), "--cluster.listen-address=", "--web.listen-address="+w.Alertmanager, "--web.config.file="+webConfig)
	testutil.StartProcess(t, "prometheus", prometheus, "--config.file="+config, "--storage.tsdb.path="+t.TempDir(),
		"--web.listen-address="+w.Prometheus, "--web.config.file="+webConfig)
	running := w.manager(t, manager, w.Manager, password)

	for name, at := range map[string]string{
		"exporter": w.Exporter + "/metrics", "manager": w.Manager + "/api/v1/decisions",
		"prometheus": w.Prometheus + "/api/v1/query?query=up", "alertmanager": w.Alertmanager + "/api/v2/alerts",
	} {
		serves := t.Run(name, func(t *testing.T) {
			url := "https://" + at
			testutil.Eventually(t, patience, name+" serves who has the password", func() bool {
				status, _ := w.get(url, user, password)
				return status == http.StatusOK
			})
			for _, as := range [][2]string{{"", ""}, {user, ""}, {user, "wrong"}, {"other", password}} {
				if status, body := w.get(url, as[0], as[1]); status != http.StatusUnauthorized {
					t.Errorf("as %q with %q: %d, want 401; %.200s", as[0], as[1], status, body)
				}
			}
			if status, body := w.get("http://"+at, user, password); status != http.StatusBadRequest && status != 0 {
				t.Errorf("without TLS: %d, %.200s", status, body)
			}
			stranger := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			if resp, err := stranger.Get(url); err == nil {
				resp.Body.Close()
				t.Error("who does not know the authority was not warned")
			}
		})
		if !serves {
			return // the rest would wait for what does not come
		}
	}

	t.Run("health checks", func(t *testing.T) {
		for bin, address := range map[string]string{exporter: w.Exporter, manager: w.Manager} {
			out, err := exec.Command(bin, "healthcheck", "--web.listen-address="+address, "--web.config.file="+webConfig).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v, %s", filepath.Base(bin), err, out)
			}
		}
	})

	t.Run("Prometheus scrapes all four", func(t *testing.T) {
		var last string
		defer func() {
			if t.Failed() {
				t.Log(last)
			}
		}()
		testutil.Eventually(t, patience, "four targets are up", func() bool {
			last = w.page(w.Prometheus, "/api/v1/targets?state=active")
			var answer struct {
				Data struct {
					ActiveTargets []struct{ Health, ScrapeURL string }
				}
			}
			if json.Unmarshal([]byte(last), &answer) != nil || len(answer.Data.ActiveTargets) != 4 {
				return false
			}
			for _, target := range answer.Data.ActiveTargets {
				if target.Health != "up" || !strings.HasPrefix(target.ScrapeURL, "https://") {
					return false
				}
			}
			return true
		})
	})
	t.Run("alerts arrive", func(t *testing.T) {
		testutil.Eventually(t, patience, "the watchdog's is there", func() bool {
			return strings.Contains(w.page(w.Alertmanager, "/api/v2/alerts"), "EstibaWatchdog")
		})
	})
	t.Run("the manager decides", func(t *testing.T) {
		testutil.Eventually(t, patience, "two ticks are well", func() bool {
			n := w.ticks(w.Manager, "ok")
			return n != "" && n != "0" && n != "1"
		})
		for _, said := range []string{running.Log(t), w.page(w.Manager, "/"), w.page(w.Manager, "/api/v1/decisions"), w.page(w.Manager, "/metrics")} {
			if strings.Contains(said, password) {
				t.Errorf("the manager prints the password: %.2000s", said)
			}
		}
	})
	t.Run("the manager asks for objections", func(t *testing.T) {
		policy := filepath.Join(t.TempDir(), "policy.yml")
		if err := os.WriteFile(policy, []byte("mode: live\nkeep: []\nrules:\n  - {name: announced, query: 'up == 2', announce: 1m, action: stop}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for toAlertmanager, refused := range map[string]bool{password: false, "mistaken": true} {
			args := append([]string{"plan", "--output=json", "--config.file=" + policy}, w.asks(t, password, toAlertmanager)...)
			out, err := exec.Command(manager, args...).Output()
			var plan struct {
				Rules []struct {
					VetoError string `json:"veto_error"`
				}
			}
			if wrong := json.Unmarshal(out, &plan); err != nil || wrong != nil || len(plan.Rules) != 1 {
				t.Fatalf("with %q: %v, %v, %s", toAlertmanager, err, wrong, out)
			}
			if said := plan.Rules[0].VetoError; strings.Contains(said, "401") != refused || (said == "") == refused {
				t.Errorf("with %q Alertmanager's answer is: %q", toAlertmanager, said)
			}
		}
	})
	t.Run("a manager with a wrong password does not", func(t *testing.T) {
		address := testutil.FreeAddress(t)
		refused := w.manager(t, manager, address, "mistaken")
		testutil.Eventually(t, patience, "it says that Prometheus refuses it", func() bool {
			n := w.ticks(address, "prometheus_error")
			return n != "" && n != "0"
		})
		if n := w.ticks(address, "ok"); n != "0" {
			t.Errorf("%s ticks were well", n)
		}
		if log := refused.Log(t); strings.Contains(log, "mistaken") || !strings.Contains(log, "401") {
			t.Errorf("its log has the password, or not what is wrong: %s", log)
		}
	})
}

// A file of which nothing can be used has to stop the start, not open the door.
func TestABadFileIsNoListener(t *testing.T) {
	prometheus, alertmanager := testutil.Tool(t, "prometheus"), testutil.Tool(t, "alertmanager")
	dir := t.TempDir()
	bad := filepath.Join(dir, "web.yml")
	if err := os.WriteFile(bad, []byte("basic_auth_user: {prometheus: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "alertmanager.yml"), []byte("route: {receiver: a}\nreceivers: [{name: a}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, argv := range map[string][]string{
		"prometheus":   {prometheus, "--config.file=" + dir + "/prometheus.yml", "--storage.tsdb.path=" + dir + "/data"},
		"alertmanager": {alertmanager, "--config.file=" + dir + "/alertmanager.yml", "--storage.path=" + dir + "/state", "--cluster.listen-address="},
		"exporter":     {testutil.Build(t, "./exporter"), "--source=cgroup"},
		"manager":      {testutil.Build(t, "./manager"), "run", "--dry-run", "--audit.file=" + dir + "/audit.jsonl"},
	} {
		t.Run(name, func(t *testing.T) {
			address := testutil.FreeAddress(t)
			var out bytes.Buffer
			cmd := exec.Command(argv[0], append(argv[1:], "--web.listen-address="+address, "--web.config.file="+bad)...)
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case err := <-ended:
				if err == nil || !strings.Contains(out.String(), "basic_auth_user") {
					t.Errorf("ends with %v and says: %s", err, &out)
				}
			case <-time.After(time.Minute):
				cmd.Process.Kill()
				<-ended
				t.Errorf("it listens with a file that it cannot read: %s", &out)
			}
		})
	}
}
