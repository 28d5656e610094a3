package compose

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// services that run in the test: all but Grafana, which cannot be built here.
var running = []string{"alertmanager", "exporter", "exporter-docker", "generator", "generator-docker", "manager", "manager-docker", "prometheus"}

// TestStack starts everything with make up, on real images, and looks from
// outside. Its parts build on each other.
func TestStack(t *testing.T) {
	if os.Getenv("ESTIBA_TEST_STACK") == "" {
		t.Skip("test/system/compose/run.sh runs it, with a Docker Engine of its own")
	}
	s := &stack{state: os.Getenv("ESTIBA_COMPOSE_STATE")}
	defer func() {
		if t.Failed() {
			for _, name := range running {
				out, _ := exec.Command("docker", "logs", "--tail", "8", container(name)).CombinedOutput()
				t.Logf("end of the log of %s:\n%s", name, out)
			}
		}
	}()
	for _, part := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"up leaves Grafana out by name", s.up},
		{"secrets are their owner's alone", s.secrets},
		{"every service is healthy", s.healthy},
		{"status and logs show every service", s.shown},
		{"every service is confined", s.confined},
		{"listeners are on loopback", s.loopback},
		{"Prometheus scrapes and evaluates", s.scrapes},
		{"the exporter sees names and other users' I/O", s.exporter},
		{"the surplus is killed through the proxy", s.kills},
		{"the proxies refuse what they must", s.refuses},
		{"the proxies answer their own client only", s.clients},
		{"a killed service comes back", s.comesBack},
		{"up again leaves alone what runs", s.upAgain},
		{"the stack survives a policy of scope all", s.survives},
		{"down leaves the history only", s.down},
		{"down --volumes leaves nothing", s.downVolumes},
	} {
		if !t.Run(part.name, part.run) {
			t.Fatalf("stopping at: %s", part.name)
		}
	}
}

// stack is what the parts hand on.
type stack struct {
	state     string
	said      string            // by up
	ids       map[string]string // container id by service
	bystander string
}

func container(service string) string { return "estiba-" + service + "-1" }

// run is what a person types in the repository's root; it returns what that
// printed.
func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// script runs tools/compose/compose.sh.
func script(t *testing.T, env []string, args ...string) {
	t.Helper()
	run(t, env, "tools/compose/compose.sh", args...)
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// inspect is one value of docker inspect, by its template.
func inspect(t *testing.T, name, template string) string {
	t.Helper()
	return docker(t, "inspect", "-f", "{{"+template+"}}", name)
}

func eventually(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(500 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// page is what a listener on loopback answers, "" when it does not.
func page(url string) string {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}

// sum adds up the samples of url whose line matches pattern, and counts them.
func sum(url, pattern string) (total float64, samples int) {
	re := regexp.MustCompile("(?m)^" + pattern + `.* ([0-9.e+]+)$`)
	for _, m := range re.FindAllStringSubmatch(page(url), -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err == nil {
			total, samples = total+v, samples+1
		}
	}
	return total, samples
}

const (
	exporterMetrics = "http://127.0.0.1:10120/metrics"
	managerMetrics  = "http://127.0.0.1:10121/metrics"
	prometheusAPI   = "http://127.0.0.1:9090/api/v1"
)

func (s *stack) up(t *testing.T) {
	s.said = run(t, nil, "make", "-s", "up", "ARGS=--demo")
	for _, want := range []string{
		"pulling grafana/grafana:13.2.3", "starting without Grafana",
		"building prometheus here instead", "building alertmanager here instead", "building socket-proxy here instead",
		"WARNING: the socket proxy is the stand-in of this repository",
		"http://localhost:10121", "http://localhost:9090",
	} {
		if !strings.Contains(s.said, want) {
			t.Errorf("up does not say %q", want)
		}
	}
	s.ids = map[string]string{}
	for _, name := range running {
		s.ids[name] = inspect(t, container(name), ".Id")
	}
	t.Log(s.said)
}

func (s *stack) secrets(t *testing.T) {
	for _, name := range []string{"grafana_admin_password", "grafana_secret_key"} {
		path := filepath.Join(s.state, "secrets", name)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		data, _ := os.ReadFile(path)
		if info.Mode().Perm() != 0o600 || len(data) != 32 {
			t.Errorf("%s has mode %v and %d bytes", name, info.Mode(), len(data))
		}
		if strings.Contains(s.said, string(data)) {
			t.Errorf("up printed %s", name)
		}
	}
}

func (s *stack) healthy(t *testing.T) {
	for _, name := range running {
		if got := inspect(t, container(name), "if .State.Health}}{{.State.Health.Status}}{{else}}none{{end"); got != "healthy" {
			t.Errorf("%s is %s, want healthy", name, got)
		}
		if n := inspect(t, container(name), ".RestartCount"); n != "0" {
			t.Errorf("%s was restarted %s times", name, n)
		}
	}
}

func (s *stack) shown(t *testing.T) {
	status := run(t, nil, "make", "-s", "status")
	if !strings.Contains(status, "WARNING: the socket proxy is the stand-in") {
		t.Errorf("status does not warn of the stand-in: %s", status)
	}
	for _, name := range running {
		if !regexp.MustCompile(`(?m)^` + name + ` .*\(healthy\)`).MatchString(status) {
			t.Errorf("status does not say that %s is healthy: %s", name, status)
		}
	}
	// The logs are followed until somebody stops that.
	logs, err := os.Create(filepath.Join(t.TempDir(), "logs"))
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	follow := exec.Command("make", "-s", "logs")
	follow.Dir, follow.Stdout, follow.Stderr = root, logs, logs
	follow.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		follow.Wait()
		close(ended)
	}()
	defer func() {
		syscall.Kill(-follow.Process.Pid, syscall.SIGINT)
		<-ended
	}()
	for _, name := range running {
		line := regexp.MustCompile(`(?m)^` + name + `-1 +\| \S`)
		eventually(t, time.Minute, "the logs have a line of "+name, func() bool {
			data, _ := os.ReadFile(logs.Name())
			return line.Match(data)
		})
	}
	select {
	case <-ended:
		t.Error("logs does not follow")
	default:
	}
}

// What the kernel says of each first process, not what was asked for.
func (s *stack) confined(t *testing.T) {
	for _, name := range running {
		status, err := os.ReadFile("/proc/" + inspect(t, container(name), ".State.Pid") + "/status")
		if err != nil {
			t.Fatal(err)
		}
		field := func(key string) string {
			m := regexp.MustCompile(`(?m)^` + key + `:\s+(\S+)`).FindSubmatch(status)
			if m == nil {
				t.Fatalf("%s: no %s", name, key)
			}
			return string(m[1])
		}
		capabilities, user := "0000000000000000", "no other user"
		if name == "exporter" { // CAP_DAC_READ_SEARCH is 2, CAP_SYS_PTRACE 19 (capabilities(7))
			capabilities, user = "0000000000080004", "0"
		}
		for _, set := range []string{"CapEff", "CapPrm", "CapBnd", "CapInh"} {
			want := capabilities
			if set == "CapInh" {
				if got := field(set); got != "0000000000000000" && got != want {
					t.Errorf("%s: %s %s", name, set, got)
				}
				continue
			}
			if got := field(set); got != want {
				t.Errorf("%s: %s %s, want %s", name, set, got, want)
			}
		}
		if got := field("NoNewPrivs"); got != "1" {
			t.Errorf("%s: NoNewPrivs %s", name, got)
		}
		if got := field("Uid"); (got == "0") != (user == "0") {
			t.Errorf("%s runs as user %s", name, got)
		}
		if got := inspect(t, container(name), ".HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged"); got != "true false" {
			t.Errorf("%s: read-only and privileged are %s", name, got)
		}
		socket := strings.Contains(inspect(t, container(name), "json .Mounts"), "docker.sock")
		if socket != strings.HasSuffix(name, "-docker") {
			t.Errorf("%s has the Engine's socket: %v", name, socket)
		}
	}
}

func (s *stack) loopback(t *testing.T) {
	out, err := exec.Command("ss", "-Hltn").CombinedOutput()
	if err != nil {
		t.Fatalf("ss: %v\n%s", err, out)
	}
	var ports []string
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		local := strings.Fields(line)[3]
		if !strings.HasPrefix(local, "127.0.0.1:") && !strings.HasPrefix(local, "[::1]:") {
			t.Errorf("something listens on %s", local)
		}
		ports = append(ports, local[strings.LastIndex(local, ":")+1:])
	}
	for _, port := range []string{"10120", "10121", "9090", "9093"} {
		if !slices.Contains(ports, port) {
			t.Errorf("nothing listens on port %s", port)
		}
	}
}

func (s *stack) scrapes(t *testing.T) {
	var last string
	eventually(t, time.Minute, "all targets are up", func() bool {
		last = page(prometheusAPI + "/targets?state=active")
		var answer struct {
			Data struct{ ActiveTargets []struct{ Health string } }
		}
		if json.Unmarshal([]byte(last), &answer) != nil || len(answer.Data.ActiveTargets) != 4 {
			return false
		}
		for _, target := range answer.Data.ActiveTargets {
			if target.Health != "up" {
				return false
			}
		}
		return true
	})
	if got := page(prometheusAPI + "/alertmanagers"); !strings.Contains(got, "alertmanager:9093") {
		t.Errorf("Prometheus notifies %s", got)
	}
	eventually(t, time.Minute, "every rule is evaluated without an error", func() bool {
		rules := page(prometheusAPI + "/rules")
		return strings.Contains(rules, `"health":"ok"`) && !strings.Contains(rules, `"health":"err"`) && !strings.Contains(rules, `"health":"unknown"`)
	})
	eventually(t, time.Minute, "the watchdog's alert reaches Alertmanager", func() bool {
		return strings.Contains(page("http://127.0.0.1:9093/api/v2/alerts"), "EstibaWatchdog")
	})
}

func (s *stack) exporter(t *testing.T) {
	eventually(t, time.Minute, "the exporter follows Docker", func() bool {
		up, _ := sum(exporterMetrics, "estiba_docker_up")
		return up == 1
	})
	// A process of user 65534, of another service and in no capability of ours.
	eventually(t, time.Minute, "I/O of Prometheus is seen", func() bool {
		written, n := sum(exporterMetrics, `estiba_container_io_written_bytes_total\{[^}]*name="estiba-prometheus-1"`)
		return n == 1 && written > 0
	})
	eventually(t, time.Minute, "network of Prometheus is seen", func() bool {
		received, n := sum(exporterMetrics, `estiba_container_network_receive_bytes_total\{[^}]*name="estiba-prometheus-1"`)
		return n == 1 && received > 0
	})
}

func (s *stack) kills(t *testing.T) {
	eventually(t, 2*time.Minute, "generated containers are exported as managed", func() bool {
		_, n := sum(exporterMetrics, `estiba_container_info\{[^}]*managed="true"`)
		return n >= 4
	})
	eventually(t, 2*time.Minute, "five kills are done", func() bool {
		done, _ := sum(managerMetrics, `estiba_manager_kills_total\{[^}]*outcome="done"`)
		return done >= 5
	})
	for _, outcome := range []string{"failed", "unknown", "no_record"} {
		if n, _ := sum(managerMetrics, `estiba_manager_kills_total\{[^}]*outcome="`+outcome+`"`); n > 0 {
			t.Errorf("%g kills have the outcome %s", n, outcome)
		}
	}
	// The Engine's own word: what the manager says it removed is not there.
	there, removed := docker(t, "ps", "-aq", "--no-trunc"), 0
	for _, k := range killed(t) {
		if k.Outcome != "done" {
			continue
		}
		removed++
		if strings.Contains(there, k.Container) {
			t.Errorf("%s is still there", k.Name)
		}
	}
	if removed < 5 {
		t.Errorf("the manager reports %d removed containers", removed)
	}
	if left := docker(t, "ps", "-q", "--filter", "label=estiba.managed=true"); left == "" {
		t.Error("nothing managed is left")
	}
}

// kill is one row of the manager's list of kills.
type kill struct{ Container, Name, Outcome string }

func killed(t *testing.T) []kill {
	t.Helper()
	var answer struct{ Kills []kill }
	if err := json.Unmarshal([]byte(page("http://127.0.0.1:10121/api/v1/kills")), &answer); err != nil {
		t.Fatalf("the manager's kills: %v", err)
	}
	return answer.Kills
}

// ask sends a request from within a service's network and gives the status,
// 0 when there is no way there.
func ask(t *testing.T, from, method, address, path string) int {
	t.Helper()
	pid, err := exec.Command("docker", "inspect", "-f", "{{.State.Pid}}", container(from)).Output()
	if err != nil {
		t.Errorf("the process of %s: %v", from, err)
	}
	out, _ := exec.Command("nsenter", "-t", strings.TrimSpace(string(pid)), "-n",
		"curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is", "--max-time", "5", "-X", method, "http://"+address+":2375"+path).Output()
	status, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Errorf("asking %s: %q", address, out)
	}
	return status
}

func address(t *testing.T, service string) string {
	t.Helper()
	return inspect(t, container(service), "range .NetworkSettings.Networks}}{{.IPAddress}}{{end")
}

func (s *stack) refuses(t *testing.T) {
	// Neither labelled nor of the project: only a proxy that lets through too
	// much, or a manager that errs, could end it.
	s.bystander = docker(t, "run", "-d", "--name", "bystander", "--network", "none", "estiba/stress", "--kind=cpu", "--share=0.01", "--lifetime=1h")
	full, short := s.bystander, s.bystander[:12]
	of := func(id, rest string) string { return "/v1.41/containers/" + id + rest }
	exporter, manager, generator := address(t, "exporter-docker"), address(t, "manager-docker"), address(t, "generator-docker")
	for _, c := range []struct {
		from, to, method, path string
		passes                 bool
	}{
		{"exporter", exporter, "GET", "/v1.41/containers/json", true},
		{"exporter", exporter, "GET", of(full, "/json"), true},
		{"exporter", exporter, "GET", of(full, "/logs?stdout=1"), false},
		{"exporter", exporter, "GET", of(full, "/archive?path=/"), false},
		{"exporter", exporter, "GET", of(full, "/export"), false},
		{"exporter", exporter, "GET", "/v1.41/info", false},
		{"exporter", exporter, "GET", "/v1.41/volumes", false},
		{"exporter", exporter, "POST", of(full, "/kill"), false},
		{"exporter", exporter, "DELETE", of(full, "?force=1"), false},
		{"exporter", exporter, "POST", "/v1.41/containers/create", false},

		{"manager", manager, "GET", "/v1.41/containers/json", true},
		{"manager", manager, "GET", of(short, "/json"), false},
		{"manager", manager, "GET", of(full, "/logs?stdout=1"), false},
		{"manager", manager, "GET", of(full, "/archive?path=/"), false},
		{"manager", manager, "POST", of(short, "/kill"), false},
		{"manager", manager, "POST", of("bystander", "/kill"), false},
		{"manager", manager, "POST", of(strings.ToUpper(full), "/kill"), false},
		{"manager", manager, "POST", of(full[:63]+"%"+fmt.Sprintf("%02x", full[63]), "/kill"), false},
		{"manager", manager, "POST", of(full, "/../"+full+"/kill"), false},
		{"manager", manager, "POST", "/" + of(full, "/kill"), false},
		{"manager", manager, "POST", of(full, "/exec"), false},
		{"manager", manager, "POST", of(full, "/update"), false},
		{"manager", manager, "POST", of(full, "/restart"), false},
		{"manager", manager, "POST", of(full, "/start"), false},
		{"manager", manager, "POST", of(full, "/rename?name=x"), false},
		{"manager", manager, "POST", of(full, "/attach"), false},
		{"manager", manager, "POST", "/v1.41/containers/create", false},
		{"manager", manager, "POST", "/v1.41/containers/prune", false},
		{"manager", manager, "POST", "/v1.41/build", false},
		{"manager", manager, "POST", "/v1.41/images/create?fromImage=x", false},
		{"manager", manager, "DELETE", of(short, "?force=1"), false},
		{"manager", manager, "DELETE", of("bystander", "?force=1"), false},
		{"manager", manager, "DELETE", "/v1.41/images/estiba/stress", false},
		{"manager", manager, "DELETE", "/v1.41/volumes/estiba_manager", false},
		{"manager", manager, "PUT", of(full, "/archive?path=/"), false},

		{"generator", generator, "GET", "/v1.41/containers/json", true},
		{"generator", generator, "POST", of(full, "/exec"), false},
		{"generator", generator, "POST", of(full, "/kill"), false},
		{"generator", generator, "GET", of(full, "/json"), false},
	} {
		status := ask(t, c.from, c.method, c.to, c.path)
		if passes := status == 200; passes != c.passes || (!passes && status != 403 && status != 405) {
			t.Errorf("%s through the proxy of %s: %d, want it to pass: %v", c.method+" "+c.path, c.from, status, c.passes)
		}
	}
	if got := inspect(t, s.bystander, ".State.Running}} {{.RestartCount}} {{.Name"); got != "true 0 /bystander" {
		t.Errorf("the container that was asked about is now %q", got)
	}
}

func (s *stack) clients(t *testing.T) {
	var asked sync.WaitGroup // side by side: what is dropped is waited for
	for _, proxy := range []string{"exporter-docker", "manager-docker", "generator-docker"} {
		to := address(t, proxy)
		for _, from := range []string{"exporter", "manager", "generator", "prometheus", "alertmanager"} {
			want := 0
			if from+"-docker" == proxy {
				want = 200
			}
			asked.Go(func() {
				if got := ask(t, from, "GET", to, "/_ping"); got != want {
					t.Errorf("%s asks %s: %d, want %d", from, proxy, got, want)
				}
			})
		}
		// The host itself, as any user on it, reaches the address and is refused.
		asked.Go(func() {
			out, _ := exec.Command("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5", "http://"+to+":2375/_ping").Output()
			if string(out) != "403" {
				t.Errorf("the host asks %s: %s, want 403", proxy, out)
			}
		})
	}
	asked.Wait()
}

func (s *stack) comesBack(t *testing.T) {
	for _, name := range []string{"exporter", "manager-docker"} {
		before := inspect(t, container(name), ".State.Pid")
		if out, err := exec.Command("kill", "-9", before).CombinedOutput(); err != nil {
			t.Fatalf("kill: %v\n%s", err, out)
		}
		eventually(t, time.Minute, name+" runs again and is healthy", func() bool {
			got := inspect(t, container(name), ".State.Pid}} {{.State.Health.Status")
			return got != before+" healthy" && strings.HasSuffix(got, " healthy") && !strings.HasPrefix(got, "0 ")
		})
	}
	var before float64
	eventually(t, time.Minute, "the manager decides again", func() bool {
		ok, _ := sum(managerMetrics, `estiba_manager_ticks_total\{result="ok"`)
		if before == 0 {
			before = ok
		}
		return before > 0 && ok >= before+2
	})
}

func (s *stack) upAgain(t *testing.T) {
	run(t, nil, "make", "-s", "up", "ARGS=--demo")
	for _, name := range running {
		if got := inspect(t, container(name), ".Id"); got != s.ids[name] {
			t.Errorf("%s was replaced though nothing had changed", name)
		}
	}
}

const removeAll = `# Everything that is measured is a candidate.
mode: live
interval: 5s
max_sample_age: 20s
max_kills_per_tick: 20
scope: all
keep: []
protect: {names: [], images: [], labels: {}}
rules:
  - name: everything
    query: estiba_container_threads
    for: 0s
    action: remove
    grace: 2s
    cooldown: 0s
    max_kills: 20
    dry_run: false
`

func (s *stack) survives(t *testing.T) {
	policies := filepath.Join(s.state, "policies")
	if err := os.MkdirAll(policies, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(policies, "all.yml"), []byte(removeAll), 0o644); err != nil {
		t.Fatal(err)
	}
	script(t, nil, "stop", "generator")
	script(t, []string{"ESTIBA_POLICIES=" + policies, "ESTIBA_POLICY=all.yml"}, "up", "-d", "--wait", "--no-deps", "manager")
	s.ids["manager"] = inspect(t, container("manager"), ".Id")
	eventually(t, 90*time.Second, "the unlabelled container is removed", func() bool {
		return docker(t, "ps", "-aq", "--filter", "name=^bystander$") == ""
	})
	// Several more ticks in which everything that is left was a candidate.
	spared := func() float64 {
		n, _ := sum(managerMetrics, `estiba_manager_decisions_total\{decision="spare",reason="protected",rule="everything"`)
		return n
	}
	before := spared()
	alive := len(running) - 1 // without the generator, which was stopped
	eventually(t, time.Minute, "every service was spared three times more", func() bool { return spared() >= before+float64(3*alive) })
	for _, name := range running {
		if name == "generator" {
			continue
		}
		if got := inspect(t, container(name), ".Id}} {{.State.Running}} {{.State.Health.Status"); got != s.ids[name]+" true healthy" {
			t.Errorf("%s is now %q", name, got)
		}
		why := "compose_project"
		if name == "manager" {
			why = "self"
		}
		if _, n := sum(managerMetrics, `estiba_manager_protected\{[^}]*name="`+container(name)+`",why="`+why+`"`); n != 1 {
			t.Errorf("%s is not protected as %s", name, why)
		}
	}
	for _, k := range killed(t) {
		if strings.HasPrefix(k.Name, "estiba-") {
			t.Errorf("the manager tried to kill %s: %s", k.Name, k.Outcome)
		}
	}
}

func left(t *testing.T) string {
	t.Helper()
	return docker(t, "ps", "-aq") + docker(t, "network", "ls", "-q", "--filter", "type=custom")
}

func (s *stack) down(t *testing.T) {
	// Started again, so that there are generated containers to remove; its
	// folder for locks has to be its own the second time too.
	script(t, nil, "start", "generator")
	eventually(t, time.Minute, "containers are generated", func() bool {
		return docker(t, "ps", "-q", "--filter", "label=estiba.generator=compose") != ""
	})
	run(t, nil, "make", "-s", "down")
	if l := left(t); l != "" {
		t.Errorf("containers or networks are left: %s", l)
	}
	for _, v := range []string{"estiba_prometheus", "estiba_manager", "estiba_alertmanager"} {
		docker(t, "volume", "inspect", v)
	}
}

func (s *stack) downVolumes(t *testing.T) {
	run(t, nil, "make", "-s", "down", "ARGS=--volumes")
	if l := left(t); l != "" {
		t.Errorf("containers or networks are left: %s", l)
	}
	if v := docker(t, "volume", "ls", "-q"); v != "" {
		t.Errorf("volumes are left: %s", v)
	}
	if _, err := os.Stat(s.state); !os.IsNotExist(err) {
		t.Errorf("secrets are left in %s", s.state)
	}
}
