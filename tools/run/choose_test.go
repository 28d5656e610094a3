package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		args string
		want map[string]int // ports other than the usual ones
		err  string
	}{
		{"", nil, ""},
		{"--ports=prometheus=19090,grafana=13000", map[string]int{"prometheus": 19090, "grafana": 13000}, ""},
		{"--port.exporter=1 --port.manager=2", map[string]int{"exporter": 1, "manager": 2}, ""},
		{"--ports=prometheus=9091 --port.prometheus=9092", map[string]int{"prometheus": 9092}, ""},
		{"--ports=promtheus=9091", nil, "want one of exporter, manager, prometheus, alertmanager, grafana"},
		{"--ports=9091", nil, "want PART=PORT"},
		{"--port.manager=99999", nil, "want a number from 1 to 65535"},
		{"--port.manager=9090", nil, "manager and prometheus cannot both listen on port 9090"},
		{"--nonsense", nil, "ARGS=--help"},
		{"more", nil, `unexpected argument "more"`},
	} {
		t.Run(tt.args, func(t *testing.T) {
			o, err := parseOptions(strings.Fields(tt.args), func(string) string { return "" })
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for part, port := range usualPorts() {
				if other, ok := tt.want[part]; ok {
					port = other
				}
				if o.ports[part] != port {
					t.Errorf("port of %s is %d, want %d", part, o.ports[part], port)
				}
			}
		})
	}
}

func TestDockerHost(t *testing.T) {
	host := func(value string) func(string) string {
		return func(string) string { return value }
	}
	if o, err := parseOptions(nil, host("unix:///run/other.sock")); err != nil || o.docker != "/run/other.sock" || !o.own {
		t.Errorf("%v, %+v", err, o)
	}
	if _, err := parseOptions(nil, host("tcp://elsewhere:2375")); err == nil {
		t.Error("an Engine on another machine is accepted")
	}
}

// TestOtherPortsReachTheConfiguration wants no usual port of a changed part in what
// Prometheus and Alertmanager read, and what is not changed to be the repository's own file.
func TestOtherPortsReachTheConfiguration(t *testing.T) {
	root, err := repositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	s := &system{dirs: newDirs(root, t.TempDir()), ports: usualPorts()}
	if dir, err := s.configuration(); err != nil || dir != filepath.Join(root, "prometheus") {
		t.Errorf("with the usual ports: %s, %v", dir, err)
	}
	for _, l := range listeners {
		s.ports[l.part] = l.port + 20000
	}
	var dir string
	for range 2 { // a later run makes it anew
		if dir, err = s.configuration(); err != nil {
			t.Fatal(err)
		}
	}
	found := map[string]bool{}
	for _, pattern := range []string{"targets/*.yml", "templates/*.tmpl"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?:localhost|127\.0\.0\.1):(\d+)`).FindAllStringSubmatch(string(data), -1) {
				found[m[1]] = true
			}
		}
	}
	for _, l := range listeners {
		if found[strconv.Itoa(l.port)] || !found[strconv.Itoa(l.port+20000)] {
			t.Errorf("%s: the ports in the configuration are %v", l.part, found)
		}
	}
	link, err := filepath.EvalSymlinks(filepath.Join(dir, "rules"))
	if err != nil || link != filepath.Join(root, "prometheus", "rules") {
		t.Errorf("rules are at %s, %v", link, err)
	}
}

// TestGrafanaIsAsInCompose wants each of Grafana's settings in docker-compose.yml in the
// container of make run, too.
func TestGrafanaIsAsInCompose(t *testing.T) {
	root, err := repositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: secrets are given to Grafana's user")
	}
	s := &system{dirs: newDirs(root, t.TempDir()), ports: usualPorts(), grafana: &grafana{}}
	c, err := s.grafanaSpec("grafana/grafana:1")
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]string{}
	for _, variable := range c.Env {
		name, value, _ := strings.Cut(variable, "=")
		own[name] = value
	}
	compose, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	settings := regexp.MustCompile(`(?m)^      ((?:GF|ESTIBA)_[A-Z_]+): "?([^"\n]+)"?$`).FindAllStringSubmatch(string(compose), -1)
	if len(settings) < 10 {
		t.Fatalf("only %d settings in docker-compose.yml", len(settings))
	}
	for _, m := range settings {
		value, ok := own[m[1]]
		switch {
		case !ok:
			t.Errorf("%s is not set", m[1])
		case m[1] == "ESTIBA_PROMETHEUS_URL" || m[1] == "GF_SERVER_ROOT_URL": // addresses differ
		case value != m[2]:
			t.Errorf("%s=%s, want %s as in docker-compose.yml", m[1], value, m[2])
		}
	}
	// A second start keeps the password, so it is not printed again.
	password, _ := os.ReadFile(s.grafanaSecret(adminPassword))
	if s.grafana.newPassword == "" || s.grafana.newPassword != string(password) {
		t.Errorf("new password %q, in the file %q", s.grafana.newPassword, password)
	}
	if _, err := s.grafanaSpec("grafana/grafana:1"); err != nil || s.grafana.newPassword != "" {
		t.Errorf("at the second start: %v, new password %q", err, s.grafana.newPassword)
	}
}

func TestListening(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2382 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:2382 0100007F:A001 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 100 0 0 10 0
   2: 00000000:2383 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 100 0 0 10 0
`
	if got := listening([]byte(table), 9090); len(got) != 1 || got[0] != "socket:[4711]" {
		t.Errorf("sockets %v", got)
	}
	if got := listening([]byte(table), 80); got != nil {
		t.Errorf("sockets %v", got)
	}
}
