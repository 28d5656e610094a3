package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/policy"
)

func TestWhatProtects(t *testing.T) {
	self := Self{ContainerID: strings.Repeat("a", 64)}
	e := &endpoints{known: true, hosts: map[string]policy.Why{"exporter": policy.WhyScrapeTarget, "10.0.0.9": policy.WhyAlertmanager}}
	k := classifier{self: self, project: "estiba", endpoints: e, config: &config.Config{
		Scope: config.ScopeManaged,
		Protect: config.Protect{
			Names: []string{"db-*"}, Images: []string{"postgres"}, Labels: map[string]string{"tier": "gold", "keep": "*"},
		},
	}}
	labels := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	cases := []struct {
		name string
		c    dockerclient.Container
		want []policy.Why
	}{
		{"nothing", dockerclient.Container{Name: "x", Image: "stress"}, nil},
		{"label", dockerclient.Container{Labels: labels("estiba.protect", "true")}, []policy.Why{policy.WhyLabel}},
		{"explicitly not", dockerclient.Container{Labels: labels("estiba.protect", "false")}, nil},
		{"misspelt value", dockerclient.Container{Labels: labels("estiba.protect", "ture")}, []policy.Why{policy.WhyLabel, policy.WhyLabelError}},
		{"misspelt key", dockerclient.Container{Labels: labels("estiba.protekt", "true")}, []policy.Why{policy.WhyLabelError}},
		{"misspelt kind", dockerclient.Container{Labels: labels("estiba.kind", "gpu")}, []policy.Why{policy.WhyLabelError}},
		{"monitoring", dockerclient.Container{Labels: labels("org.label-schema.group", "monitoring")}, []policy.Why{policy.WhyMonitoring}},
		{"itself", dockerclient.Container{ID: strings.Repeat("a", 64)}, []policy.Why{policy.WhySelf}},
		{"its project", dockerclient.Container{Labels: labels("com.docker.compose.project", "estiba")}, []policy.Why{policy.WhyComposeProject}},
		{"another project", dockerclient.Container{Labels: labels("com.docker.compose.project", "shop")}, nil},
		{"scraped by name", dockerclient.Container{Name: "Exporter"}, []policy.Why{policy.WhyScrapeTarget}},
		{"scraped by service", dockerclient.Container{Labels: labels("com.docker.compose.service", "exporter")}, []policy.Why{policy.WhyScrapeTarget}},
		{"notified by address", dockerclient.Container{Networks: []string{"10.0.0.9"}}, []policy.Why{policy.WhyAlertmanager}},
		{"name", dockerclient.Container{Name: "db-1"}, []policy.Why{policy.WhyPolicyName}},
		{"image with registry and tag", dockerclient.Container{Image: "registry.example:5000/lib/postgres:16"}, []policy.Why{policy.WhyPolicyImage}},
		{"image by digest", dockerclient.Container{Image: "postgres@sha256:00"}, []policy.Why{policy.WhyPolicyImage}},
		{"another image", dockerclient.Container{Image: "postgres-exporter:1"}, nil},
		{"label of the policy", dockerclient.Container{Labels: labels("tier", "gold")}, []policy.Why{policy.WhyPolicyLabel}},
		{"label with any value", dockerclient.Container{Labels: labels("keep", "")}, []policy.Why{policy.WhyPolicyLabel}},
		{"label with another value", dockerclient.Container{Labels: labels("tier", "tin")}, nil},
	}
	for _, c := range cases {
		if c.c.ID == "" {
			c.c.ID = strings.Repeat("b", 64)
		}
		if got := k.classify(c.c).Protected; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: protected by %v, want %v", c.name, got, c.want)
		}
	}
}

func TestScopeAndState(t *testing.T) {
	managed := dockerclient.Container{ID: strings.Repeat("b", 64), State: dockerclient.StateRunning, Labels: map[string]string{"estiba.managed": "true"}}
	k := classifier{config: &config.Config{Scope: config.ScopeManaged}}
	if p := k.classify(managed); !p.InScope || p.State != policy.Running {
		t.Errorf("%+v", p)
	}
	managed.State = dockerclient.StateRestarting
	managed.Labels = map[string]string{"estiba.managed": "True"}
	if p := k.classify(managed); p.InScope || p.State != policy.Unsteady {
		t.Errorf("%+v", p)
	}
	k.config = &config.Config{Scope: config.ScopeAll}
	if p := k.classify(managed); !p.InScope {
		t.Errorf("%+v", p)
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"a*", "ab", true}, {"*b", "ab", true}, {"a*b*c", "axxbyyc", true},
		{"a*b*c", "ac", false}, {"*", "", true}, {"a*a", "a", false}, {"", "a", false}, {"**", "x", true},
	} {
		if got := glob(c.pattern, c.s); got != c.want {
			t.Errorf("glob(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}

func TestFindSelf(t *testing.T) {
	id := strings.Repeat("0a", 32)
	for name, files := range map[string]map[string]string{
		"cgroup v1":        {"cgroup": "12:pids:/docker/" + id + "\n"},
		"systemd":          {"cgroup": "0::/system.slice/docker-" + id + ".scope\n"},
		"cgroup namespace": {"cgroup": "0::/\n", "mountinfo": "1 2 8:1 /var/lib/docker/containers/" + id + "/hostname /etc/hostname rw - ext4 /dev/sda rw\n"},
	} {
		dir := t.TempDir()
		os.Mkdir(filepath.Join(dir, "self"), 0o755)
		for f, text := range files {
			os.WriteFile(filepath.Join(dir, "self", f), []byte(text), 0o644)
		}
		if s := FindSelf(dir); s.ContainerID != id {
			t.Errorf("%s: %+v", name, s)
		}
	}
	// A host whose own mounts lie in containers' folders is in none.
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "self"), 0o755)
	os.WriteFile(filepath.Join(dir, "self", "mountinfo"), []byte("1 2 8:1 /var/lib/docker/containers/"+id+"/shm /mnt rw - ext4 /dev/sda rw\n"), 0o644)
	if s := FindSelf(dir); s.ContainerID != "" {
		t.Errorf("a host took itself for container %s", s.ContainerID)
	}
}

func TestEndpointsUnknownMeansNobody(t *testing.T) {
	b, err := newBrain(Options{PrometheusURL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	b.endpoints.resolve = func(context.Context, string) ([]string, error) { return nil, errors.New("no names here") }
	if err := b.endpoints.refresh(context.Background(), time.Unix(1_800_000_000, 0)); err == nil {
		t.Error("targets that were never known are no error")
	}
}
