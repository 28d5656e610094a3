package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// grafanaSource is a program that stands in for Grafana: at /inside it shows how it was
// started, and whether it reaches Prometheus.
const grafanaSource = `package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
)

func names(dir string) (all []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func main() {
	address := os.Getenv("GF_SERVER_HTTP_ADDR") + ":" + os.Getenv("GF_SERVER_HTTP_PORT")
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {})
	http.HandleFunc("/inside", func(w http.ResponseWriter, r *http.Request) {
		status := "unreachable"
		if resp, err := http.Get(os.Getenv("ESTIBA_PROMETHEUS_URL") + "/-/ready"); err == nil {
			status = resp.Status
		}
		password, _ := os.ReadFile(os.Getenv("GF_SECURITY_ADMIN_PASSWORD__FILE"))
		key, _ := os.ReadFile(os.Getenv("GF_SECURITY_SECRET_KEY__FILE"))
		kept := os.WriteFile("/var/lib/grafana/kept", []byte("x"), 0o600) == nil
		changed := os.WriteFile("/etc/grafana/provisioning/changed", nil, 0o600) == nil
		json.NewEncoder(w).Encode(map[string]any{
			"uid": os.Getuid(), "prometheus": status, "password": string(password), "key": len(key),
			"provisioning": names("/etc/grafana/provisioning"), "dashboards": names(os.Getenv("ESTIBA_DASHBOARDS")),
			"home": strings.HasPrefix(os.Getenv("GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"), os.Getenv("ESTIBA_DASHBOARDS")+"/"),
			"kept": kept, "changed": changed,
		})
	})
	panic(http.ListenAndServe(address, nil))
}
`

// launcher is a run of make run's program.
type launcher struct {
	cmd   *exec.Cmd
	ports map[string]string // by part
	state string

	mu  sync.Mutex
	out bytes.Buffer
}

func (l *launcher) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (l *launcher) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

func buildLauncher(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "run")
	build := exec.Command("go", "build", "-C", filepath.Join(testutil.RepositoryRoot(t), "tools"), "-buildvcs=false", "-trimpath", "-o", program, "./run")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the launcher: %v\n%s", err, out)
	}
	return program
}

var parts = []string{"exporter", "manager", "prometheus", "alertmanager", "grafana"}

// start runs the launcher with ports of its own until the test ends.
func start(t *testing.T, program, state, dockerHost string, env ...string) *launcher {
	t.Helper()
	l := &launcher{ports: map[string]string{}, state: state}
	var list []string
	for _, part := range parts {
		_, port, err := net.SplitHostPort(testutil.FreeAddress(t))
		if err != nil {
			t.Fatal(err)
		}
		l.ports[part] = port
		list = append(list, part+"="+port)
	}
	l.cmd = exec.Command(program, "--ports="+strings.Join(list, ","), "--state.dir="+state, "--no-module")
	l.cmd.Dir = testutil.RepositoryRoot(t)
	l.cmd.Env = append(os.Environ(), append(env, "DOCKER_HOST="+dockerHost)...)
	l.cmd.Stdout, l.cmd.Stderr = l, l
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the launcher said:\n%s", l.said())
		}
		if l.cmd.ProcessState == nil {
			l.cmd.Process.Signal(syscall.SIGINT)
			l.cmd.Wait()
		}
	})
	return l
}

// waitFor waits until the launcher has said text.
func (l *launcher) waitFor(t *testing.T, text string) {
	t.Helper()
	testutil.Eventually(t, 4*time.Minute, "the launcher says "+text, func() bool {
		if strings.Contains(l.said(), "FAILED") {
			t.Fatal("the launcher failed")
		}
		return strings.Contains(l.said(), text)
	})
}

// interrupt is Ctrl-C.
func (l *launcher) interrupt(t *testing.T) {
	t.Helper()
	l.cmd.Process.Signal(syscall.SIGINT)
	if err := l.cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	for part, port := range l.ports {
		if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			c.Close()
			t.Errorf("%s still listens on port %s", part, port)
		}
	}
}

// printedURLs are the addresses in what the launcher said, without those that are an
// option's value: they are where an API begins, not a page.
func printedURLs(said string) (urls []string) {
	for _, m := range regexp.MustCompile(`(\S*?)(http://[^\s']+)`).FindAllStringSubmatch(said, -1) {
		if !strings.HasSuffix(m[1], "=") {
			urls = append(urls, m[2])
		}
	}
	return urls
}

func TestRun(t *testing.T) {
	testutil.Require(t, testutil.Root, "dockerd", "make")
	testutil.Tool(t, "prometheus") // compiled already
	testutil.Tool(t, "amtool")
	root := testutil.RepositoryRoot(t)
	program := buildLauncher(t)
	engine := testutil.StartEngine(t)
	docker := engine.Client(t)
	testutil.ProgramImage(t, docker, grafanaImage(t, root), grafanaSource)

	l := start(t, program, t.TempDir(), engine.Host)
	l.waitFor(t, "Ctrl-C stops it all")
	l.waitFor(t, "user admin")

	t.Run("each printed address answers", func(t *testing.T) {
		urls := printedURLs(l.said())
		if len(urls) < 7 {
			t.Errorf("only %d addresses: %q", len(urls), urls)
		}
		for _, url := range urls {
			if _, err := stack.Fetch(url); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("Prometheus scrapes the chosen ports", func(t *testing.T) {
		testutil.Eventually(t, time.Minute, "all targets are up", func() bool {
			up := upTargets(t, l.ports["prometheus"])
			return slices.Equal(up, sorted(l.ports["exporter"], l.ports["manager"], l.ports["prometheus"], l.ports["alertmanager"]))
		})
		var answer struct {
			Data struct {
				ActiveAlertmanagers []struct{ URL string }
			}
		}
		fetchJSON(t, "http://127.0.0.1:"+l.ports["prometheus"]+"/api/v1/alertmanagers", &answer)
		if a := answer.Data.ActiveAlertmanagers; len(a) != 1 || !strings.Contains(a[0].URL, ":"+l.ports["alertmanager"]+"/") {
			t.Errorf("alertmanagers: %v", a)
		}
	})
	t.Run("messages link to the chosen Grafana", func(t *testing.T) {
		links, err := os.ReadFile(filepath.Join(l.state, "config", "templates", "links.tmpl"))
		if err != nil || !bytes.Contains(links, []byte(":"+l.ports["grafana"]+"{{")) {
			t.Errorf("links.tmpl: %v\n%s", err, links)
		}
	})
	t.Run("Grafana has our provisioning and reaches Prometheus", func(t *testing.T) { checkGrafana(t, l) })
	t.Run("the manager decides", func(t *testing.T) {
		s := &stack.Stack{Addresses: stack.Addresses{Manager: "127.0.0.1:" + l.ports["manager"]}}
		testutil.Eventually(t, time.Minute, "a good tick", func() bool { return s.Ticks(t, "ok") > 0 })
	})

	l.interrupt(t)
	left, err := docker.List(context.Background(), dockerclient.ListOptions{All: true})
	if err != nil || len(left) > 0 {
		t.Errorf("containers after the end: %v, %v", left, err)
	}

	t.Run("without Grafana", func(t *testing.T) {
		l := start(t, program, l.state, engine.Host, "ESTIBA_GRAFANA_IMAGE=nowhere.invalid/grafana:1")
		l.waitFor(t, "Ctrl-C stops it all")
		l.waitFor(t, "without Grafana: nowhere.invalid/grafana:1 is not on the Engine and cannot be pulled")
		if n := strings.Count(l.said(), "without Grafana"); n != 1 {
			t.Errorf("said %d times that there is no Grafana", n)
		}
		for _, url := range printedURLs(l.said()) {
			if strings.Contains(url, ":"+l.ports["grafana"]) {
				t.Errorf("%s is printed", url)
			}
		}
		l.interrupt(t)
	})
}

func checkGrafana(t *testing.T, l *launcher) {
	var inside struct {
		UID, Key                 int
		Prometheus, Password     string
		Provisioning, Dashboards []string
		Home, Kept, Changed      bool
	}
	fetchJSON(t, "http://127.0.0.1:"+l.ports["grafana"]+"/inside", &inside)
	if inside.UID == 0 || inside.Prometheus != "200 OK" || inside.Key != 32 || !inside.Home || !inside.Kept || inside.Changed {
		t.Errorf("inside: %+v", inside)
	}
	if !slices.Equal(inside.Provisioning, []string{"dashboards", "datasources"}) || !slices.Contains(inside.Dashboards, "estiba-overview.json") {
		t.Errorf("inside: provisioning %v, dashboards %v", inside.Provisioning, inside.Dashboards)
	}
	if len(inside.Password) != 32 || strings.Count(l.said(), inside.Password) != 1 {
		t.Errorf("password %q is to be printed once", inside.Password)
	}
	info, err := os.Stat(filepath.Join(l.state, "grafana_admin_password"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of the password: %v, %v", info, err)
	}
}

// grafanaImage is the pinned image.
func grafanaImage(t *testing.T, root string) string {
	t.Helper()
	compose, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	image := regexp.MustCompile(`grafana/grafana:[0-9.]+`).Find(compose)
	if image == nil {
		t.Fatal("docker-compose.yml has no image of Grafana")
	}
	return string(image)
}

// upTargets are the ports of the targets that are up, sorted.
func upTargets(t *testing.T, port string) []string {
	t.Helper()
	var answer struct {
		Data struct {
			ActiveTargets []struct{ ScrapeURL, Health string }
		}
	}
	fetchJSON(t, "http://127.0.0.1:"+port+"/api/v1/targets", &answer)
	var up []string
	for _, target := range answer.Data.ActiveTargets {
		if target.Health == "up" {
			up = append(up, regexp.MustCompile(`:(\d+)/`).FindStringSubmatch(target.ScrapeURL)[1])
		}
	}
	return sorted(up...)
}

func fetchJSON(t *testing.T, url string, to any) {
	t.Helper()
	body, err := stack.Fetch(url)
	if err == nil {
		err = json.Unmarshal(body, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func sorted(all ...string) []string {
	slices.Sort(all)
	return all
}

// TestPortInUse wants the port, its holder, and what to type.
func TestPortInUse(t *testing.T) {
	testutil.Require(t, testutil.Root)
	program := buildLauncher(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	run := exec.Command(program, "--port.prometheus="+port, "--port.exporter="+freePort(t), "--port.manager="+freePort(t), "--port.alertmanager="+freePort(t), "--state.dir="+t.TempDir())
	run.Dir = testutil.RepositoryRoot(t)
	out, err := run.CombinedOutput()
	if err == nil {
		t.Fatal("the launcher runs")
	}
	want := fmt.Sprintf("port %s of prometheus is taken by launch.test (pid %d)", port, os.Getpid())
	if !strings.Contains(string(out), want) || !strings.Contains(string(out), "make run PORTS=prometheus=") {
		t.Errorf("said %s, want %q and what to type", out, want)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(testutil.FreeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}
