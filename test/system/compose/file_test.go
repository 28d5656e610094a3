package compose

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const (
	root = "../../.."
	// id is a container id as Docker writes it in full.
	id = "4f5e8c1d9b7a60235fd1c0ab93e7d2486b1f5c7a9e0d3b2846f1a5c7e9d0b3f2"
)

// load reads docker-compose.yml as compose does, all profiles included.
func load(t *testing.T, env ...string) *types.Project {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{root + "/docker-compose.yml"},
		cli.WithEnv(append([]string{"ESTIBA_DOCKER_GID=999"}, env...)), cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// eachService runs f as a subtest for every service.
func eachService(t *testing.T, f func(t *testing.T, s types.ServiceConfig)) {
	t.Helper()
	p := load(t)
	want := []string{"alertmanager", "exporter", "exporter-docker", "generator", "generator-docker", "grafana", "manager", "manager-docker", "prometheus"}
	names := p.ServiceNames()
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Fatalf("services %v, want %v", names, want)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) { f(t, p.Services[name]) })
	}
}

func isProxy(s types.ServiceConfig) bool { return strings.HasSuffix(s.Name, "-docker") }

func TestFileConfinesEveryService(t *testing.T) {
	eachService(t, func(t *testing.T, s types.ServiceConfig) {
		if !s.ReadOnly {
			t.Error("its root can be written to")
		}
		if !slices.Equal(s.CapDrop, []string{"ALL"}) {
			t.Errorf("drops the capabilities %v, want ALL", s.CapDrop)
		}
		if s.Privileged || len(s.Devices) > 0 || s.NetworkMode == "host" || s.Ipc == "host" {
			t.Error("is privileged, has devices, or the host's network or IPC")
		}
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("security options %v lack no-new-privileges", s.SecurityOpt)
		}
		if s.MemLimit <= 0 || s.PidsLimit <= 0 {
			t.Errorf("memory limit %d, process limit %d: want both", s.MemLimit, s.PidsLimit)
		}
		if s.Logging == nil || s.Logging.Options["max-size"] == "" || s.Logging.Options["max-file"] == "" {
			t.Error("its log is not rotated")
		}
		if s.Restart != "unless-stopped" {
			t.Errorf("restart %q", s.Restart)
		}
		if s.Build != nil {
			t.Error("is built by compose, which may pull")
		}
		user, _, _ := strings.Cut(s.User, ":")
		if s.Name == "exporter" {
			if !slices.Equal(s.CapAdd, []string{"DAC_READ_SEARCH", "SYS_PTRACE"}) || s.Pid != "host" || s.Cgroup != "host" {
				t.Errorf("capabilities %v, PID namespace %q, cgroup namespace %q", s.CapAdd, s.Pid, s.Cgroup)
			}
			return
		}
		if len(s.CapAdd) > 0 || s.Pid != "" || s.Cgroup != "" || slices.Contains(s.SecurityOpt, "apparmor:unconfined") {
			t.Errorf("capabilities %v, PID namespace %q, security %v: want nothing of it", s.CapAdd, s.Pid, s.SecurityOpt)
		}
		if user == "" || user == "0" || user == "root" {
			t.Errorf("runs as user %q", s.User)
		}
	})
}

func TestFileChecksEveryServicesHealth(t *testing.T) {
	eachService(t, func(t *testing.T, s types.ServiceConfig) {
		if s.HealthCheck == nil || s.HealthCheck.Disable || len(s.HealthCheck.Test) < 2 {
			t.Fatal("has no health check")
		}
		if kind := s.HealthCheck.Test[0]; kind != "CMD" {
			t.Errorf("its health check is a %s: most images have no shell", kind)
		}
	})
}

func TestFileMountsNothingWritableOfTheHost(t *testing.T) {
	eachService(t, func(t *testing.T, s types.ServiceConfig) {
		for _, v := range s.Volumes {
			if v.Type == "bind" && !v.ReadOnly {
				t.Errorf("can write to %s of the host", v.Source)
			}
			if socket := strings.HasSuffix(v.Source, "docker.sock"); socket != isProxy(s) {
				t.Errorf("mounts %s", v.Source)
			}
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("port %s is published on %q", p.Published, p.HostIP)
			}
			if isProxy(s) {
				t.Error("a proxy has a port on the host")
			}
		}
	})
}

// Each Docker client has a proxy of its own on a network of its own, without
// a way out; no other service is on it.
func TestFileKeepsDockerClientsApart(t *testing.T) {
	p := load(t)
	on := map[string][]string{}
	for _, s := range p.Services {
		for n := range s.Networks {
			on[n] = append(on[n], s.Name)
		}
	}
	for _, client := range []string{"exporter", "manager", "generator"} {
		proxy := client + "-docker"
		slices.Sort(on[proxy])
		if !slices.Equal(on[proxy], []string{client, proxy}) {
			t.Errorf("on the network %s are %v", proxy, on[proxy])
		}
		if !p.Networks[proxy].Internal {
			t.Errorf("the network %s has a way out", proxy)
		}
		if len(p.Services[proxy].Networks) != 1 {
			t.Errorf("%s is on more networks than its own", proxy)
		}
		if got := flag(t, p.Services[proxy], "allowfrom"); got != client {
			t.Errorf("%s answers %q", proxy, got)
		}
	}
	for _, s := range p.Services {
		demo := strings.HasPrefix(s.Name, "generator")
		if demo != slices.Equal(s.Profiles, []string{"demo"}) {
			t.Errorf("%s has the profiles %v", s.Name, s.Profiles)
		}
	}
}

// flag is the value of a proxy's -name=value; "" when it is not given.
func flag(t *testing.T, s types.ServiceConfig, name string) string {
	t.Helper()
	for _, arg := range s.Command {
		if v, ok := strings.CutPrefix(arg, "-"+name+"="); ok {
			return v
		}
	}
	return ""
}

// The patterns as the proxy compiles them: held at both ends, one a method.
func TestFileAllowsOnlyWhatTheClientsNeed(t *testing.T) {
	p := load(t)
	allowed := func(proxy, method, path string) bool {
		pattern := flag(t, p.Services[proxy], "allow"+method)
		return pattern != "" && regexp.MustCompile("^"+pattern+"$").MatchString(path)
	}
	both := []string{"exporter-docker", "manager-docker"}
	for _, c := range []struct {
		method, path string
		by           []string // who lets it through
	}{
		{"HEAD", "/_ping", append(both, "generator-docker")},
		{"GET", "/_ping", append(both, "generator-docker")},
		{"GET", "/v1.41/containers/json", append(both, "generator-docker")},
		{"GET", "/v1.51/containers/" + id + "/json", both},
		{"GET", "/v1.41/events", []string{"exporter-docker"}},
		{"POST", "/v1.41/containers/" + id + "/stop", []string{"manager-docker"}},
		{"POST", "/v1.41/containers/" + id + "/kill", []string{"manager-docker"}},
		{"POST", "/v1.41/containers/" + id + "/pause", []string{"manager-docker"}},
		{"DELETE", "/v1.41/containers/" + id, []string{"manager-docker", "generator-docker"}},
		{"POST", "/v1.41/containers/create", []string{"generator-docker"}},
		{"POST", "/v1.41/images/create", []string{"generator-docker"}},
		{"POST", "/v1.41/containers/" + id + "/start", []string{"generator-docker"}},

		{"GET", "/v1.41/containers/" + id[:12] + "/json", nil},
		{"GET", "/v1.41/containers/" + id + "/archive", nil},
		{"GET", "/v1.41/containers/" + id + "/export", nil},
		{"GET", "/v1.41/containers/" + id + "/logs", nil},
		{"GET", "/v1.41/containers/" + id + "/json/../logs", nil},
		{"GET", "/v1.41/info", nil},
		{"GET", "/v1.41/secrets", nil},
		{"POST", "/v1.41/containers/" + id[:12] + "/kill", nil},
		{"POST", "/v1.41/containers/name/kill", nil},
		{"POST", "/v1.41/containers/" + id + id + "/kill", nil},
		{"POST", "/v1.41/containers/" + strings.ToUpper(id) + "/kill", nil},
		{"POST", "/v1.41/containers/" + id + "/exec", nil},
		{"POST", "/v1.41/containers/" + id + "/update", nil},
		{"POST", "/v1.41/containers/" + id + "/unpause", nil},
		{"POST", "/v1.41/containers/prune", nil},
		{"POST", "/v1.41/exec/" + id + "/start", nil},
		{"POST", "/v1.41/build", nil},
		{"POST", "/x/containers/" + id + "/kill", nil},
		{"DELETE", "/v1.41/containers/" + id[:12], nil},
		{"DELETE", "/v1.41/volumes/x", nil},
		{"PUT", "/v1.41/containers/" + id + "/archive", nil},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			for _, proxy := range []string{"exporter-docker", "manager-docker", "generator-docker"} {
				if got, want := allowed(proxy, c.method, c.path), slices.Contains(c.by, proxy); got != want {
					t.Errorf("through %s: allowed %v, want %v", proxy, got, want)
				}
			}
		})
	}
}

func TestFilePinsImages(t *testing.T) {
	p := load(t)
	pin := regexp.MustCompile(`^[a-z]+/[a-z-]+:v?\d+\.\d+\.\d+$`)
	for _, s := range p.Services {
		own := slices.Contains([]string{"exporter", "manager", "generator"}, s.Name)
		switch {
		case own && (s.Image != "estiba/"+s.Name+":local" || s.PullPolicy != "never"):
			t.Errorf("%s: image %s, pull policy %q", s.Name, s.Image, s.PullPolicy)
		case !own && !pin.MatchString(s.Image):
			t.Errorf("%s: %s is not one release", s.Name, s.Image)
		}
	}
	for service, variable := range map[string]string{
		"exporter": "ESTIBA_EXPORTER_IMAGE", "manager": "ESTIBA_MANAGER_IMAGE", "generator": "ESTIBA_GENERATOR_IMAGE",
		"prometheus": "ESTIBA_PROMETHEUS_IMAGE", "alertmanager": "ESTIBA_ALERTMANAGER_IMAGE", "grafana": "ESTIBA_GRAFANA_IMAGE",
		"exporter-docker": "ESTIBA_SOCKET_PROXY_IMAGE", "manager-docker": "ESTIBA_SOCKET_PROXY_IMAGE", "generator-docker": "ESTIBA_SOCKET_PROXY_IMAGE",
	} {
		if got := load(t, variable+"=other/x:1").Services[service].Image; got != "other/x:1" {
			t.Errorf("%s=other/x:1 gives %s the image %s", variable, service, got)
		}
	}
}

// Nothing is pulled for an image of ours: no base, and no frontend either.
func TestFileImagesAreFromScratch(t *testing.T) {
	files, err := filepath.Glob(root + "/tools/compose/*.Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"exporter", "manager", "generator"} {
		files = append(files, filepath.Join(root, part, "packaging", "Dockerfile"))
	}
	if len(files) != 6 {
		t.Errorf("%d Dockerfiles, want 6: %v", len(files), files)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(data), "\n") {
			word, rest, _ := strings.Cut(line, " ")
			if (word == "FROM" && rest != "scratch") || word == "RUN" || word == "ADD" || strings.HasPrefix(line, "# syntax") {
				t.Errorf("%s: %s", f, line)
			}
		}
	}
}

// Prometheus has the same jobs here as elsewhere, with services of this file.
func TestFileTargetsAreServices(t *testing.T) {
	p := load(t)
	names := func(dir string) []string {
		files, err := filepath.Glob(filepath.Join(root, "prometheus", dir, "*.yml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no targets in %s (%v)", dir, err)
		}
		for i := range files {
			files[i] = filepath.Base(files[i])
		}
		return files
	}
	if a, b := names("targets"), names("targets-compose"); !slices.Equal(a, b) {
		t.Errorf("targets has %v, targets-compose %v", a, b)
	}
	address := regexp.MustCompile(`"([a-z-]+):(\d+)"`)
	for _, name := range names("targets-compose") {
		data, err := os.ReadFile(filepath.Join(root, "prometheus", "targets-compose", name))
		if err != nil {
			t.Fatal(err)
		}
		found := address.FindAllStringSubmatch(string(data), -1)
		if len(found) != 1 {
			t.Errorf("%s names %d addresses", name, len(found))
		}
		for _, m := range found {
			published := false
			for _, port := range p.Services[m[1]].Ports {
				published = published || port.Target == parsePort(m[2])
			}
			if _, on := p.Services[m[1]].Networks["monitoring"]; !on || !published {
				t.Errorf("%s: %s:%s is no service's port on the network monitoring", name, m[1], m[2])
			}
		}
	}
}

func parsePort(s string) (port uint32) {
	for _, digit := range s {
		port = port*10 + uint32(digit-'0')
	}
	return port
}
