package gather

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/promql"
)

func TestProtections(t *testing.T) {
	self := Self{IDs: []string{strings.Repeat("a", 64)}}
	e := newEndpoints(nil, "http://localhost:9090")
	e.setListed([]dockerclient.Container{{Name: "exporter"}})
	e.take(promql.Endpoints{Scraped: []string{"exporter"}, Notified: []string{"10.0.0.9"}}, true, time.Unix(1_800_000_000, 0))
	e.publish()
	k := classifier{self: self, project: "estiba", pod: "mine", endpoints: e, config: &config.Config{
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
		want []policy.Protection
	}{
		{"nothing", dockerclient.Container{Name: "x", Image: "stress"}, nil},
		{"label", dockerclient.Container{Labels: labels("estiba.protect", "true")}, []policy.Protection{policy.ProtectedByLabel}},
		{"explicitly not", dockerclient.Container{Labels: labels("estiba.protect", "false")}, nil},
		{
			"misspelt value",
			dockerclient.Container{Labels: labels("estiba.protect", "ture")},
			[]policy.Protection{policy.ProtectedByLabel, policy.ProtectedByLabelError},
		},
		{"misspelt key", dockerclient.Container{Labels: labels("estiba.protekt", "true")}, []policy.Protection{policy.ProtectedByLabelError}},
		{"misspelt kind", dockerclient.Container{Labels: labels("estiba.kind", "gpu")}, []policy.Protection{policy.ProtectedByLabelError}},
		{"monitoring", dockerclient.Container{Labels: labels("org.label-schema.group", "monitoring")}, []policy.Protection{policy.ProtectedByMonitoring}},
		{"itself", dockerclient.Container{ID: strings.Repeat("a", 64)}, []policy.Protection{policy.ProtectedBySelf}},
		{"its project", dockerclient.Container{Labels: labels("com.docker.compose.project", "estiba")}, []policy.Protection{policy.ProtectedByComposeProject}},
		{"its pod", dockerclient.Container{Pod: "mine"}, []policy.Protection{policy.ProtectedByPod}},
		{"another pod", dockerclient.Container{Pod: "theirs"}, nil},
		{"infra of another pod", dockerclient.Container{Pod: "theirs", Infra: true}, []policy.Protection{policy.ProtectedByPodInfra}},
		{"another project", dockerclient.Container{Labels: labels("com.docker.compose.project", "shop")}, nil},
		{"scraped by name", dockerclient.Container{Name: "Exporter"}, []policy.Protection{policy.ProtectedByScrapeTarget}},
		{
			"scraped by service",
			dockerclient.Container{Labels: labels("com.docker.compose.service", "exporter")},
			[]policy.Protection{policy.ProtectedByScrapeTarget},
		},
		{"notified by address", dockerclient.Container{Networks: []string{"10.0.0.9"}}, []policy.Protection{policy.ProtectedByAlertmanager}},
		{"name", dockerclient.Container{Name: "db-1"}, []policy.Protection{policy.ProtectedByPolicyName}},
		{
			"image with registry and tag",
			dockerclient.Container{Image: "registry.example:5000/lib/postgres:16"},
			[]policy.Protection{policy.ProtectedByPolicyImage},
		},
		{"image by digest", dockerclient.Container{Image: "postgres@sha256:00"}, []policy.Protection{policy.ProtectedByPolicyImage}},
		{"another image", dockerclient.Container{Image: "postgres-exporter:1"}, nil},
		{"label of the policy", dockerclient.Container{Labels: labels("tier", "gold")}, []policy.Protection{policy.ProtectedByPolicyLabel}},
		{"label with any value", dockerclient.Container{Labels: labels("keep", "")}, []policy.Protection{policy.ProtectedByPolicyLabel}},
		{"label with another value", dockerclient.Container{Labels: labels("tier", "tin")}, nil},
	}
	for _, c := range cases {
		if c.c.ID == "" {
			c.c.ID = strings.Repeat("b", 64)
		}
		if c.c.Image == "" {
			c.c.Image = "stress"
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
	if p := k.classify(managed); p.InScope || p.State != policy.InTransition {
		t.Errorf("%+v", p)
	}
	k.config = &config.Config{Scope: config.ScopeAll}
	if p := k.classify(managed); !p.InScope {
		t.Errorf("%+v", p)
	}
}

// What a kubelet runs on the Engine is foreign, and the infra container of a pod has the
// labels of the pod, which do not mean it.
func TestForeign(t *testing.T) {
	k := classifier{config: &config.Config{Scope: config.ScopeManaged}}
	c := dockerclient.Container{State: dockerclient.StateRunning, Labels: map[string]string{"estiba.managed": "true", "estiba.kind": "cpu"}}
	if p := k.classify(c); p.Foreign || !p.InScope || p.Kind != container.KindCPU {
		t.Errorf("%+v", p)
	}
	infra := c
	infra.Pod, infra.Infra = "pod", true
	if p := k.classify(infra); p.InScope || p.Kind != container.KindNone {
		t.Errorf("infra: %+v", p)
	}
	c.Labels["io.kubernetes.pod.namespace"] = "default"
	if p := k.classify(c); !p.Foreign || p.InScope || p.Runtime != "kubernetes" {
		t.Errorf("pod: %+v", p)
	}
}

// A container runs elsewhere if it ran at a time at which the Engine did not list it. One
// that has exited since, or was just starting, did not.
func TestElsewhere(t *testing.T) {
	ids := make([]string, 6)
	for i := range ids {
		ids[i] = strings.Repeat(string(rune('a'+i)), 64)
	}
	earlier := time.Unix(1_800_000_000, 0)
	list := func(of ...string) (list []dockerclient.Container) {
		for _, id := range of {
			list = append(list, dockerclient.Container{ID: id})
		}
		return list
	}
	lists := []listing{newListing(earlier, list(ids[0], ids[1])), newListing(earlier.Add(10*time.Second), list(ids[0], ids[2]))}
	mark := func(snapshot time.Time, recorded time.Time, lists []listing) (marked string) {
		a := policy.Answer{At: recorded}
		for _, id := range ids {
			a.Samples = append(a.Samples, policy.Sample{ID: container.ShortID(id), Start: earlier.Add(-time.Minute)})
		}
		a.Samples[4].Start = earlier.Add(-time.Second)
		a.Samples[5].Start = time.Time{}
		answers := []policy.Answer{a}
		markElsewhere(answers, snapshot, lists)
		for _, s := range answers[0].Samples {
			if s.Measured.Elsewhere {
				marked += s.ID[:1]
			}
		}
		return marked
	}
	after := earlier.Add(8 * time.Second)
	for name, c := range map[string]struct{ got, want string }{
		"on no list":             {mark(after, time.Time{}, lists), "d"},
		"an old snapshot":        {mark(earlier, time.Time{}, lists), ""},
		"recorded from an older": {mark(after, earlier.Add(-time.Second), lists), ""},
		"the first tick":         {mark(after, time.Time{}, []listing{{}, lists[1]}), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q run elsewhere, want %q", name, c.got, c.want)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true},
		{"a", "ab", false},
		{"a*", "ab", true},
		{"*b", "ab", true},
		{"a*b*c", "axxbyyc", true},
		{"a*b*c", "ac", false},
		{"*", "", true},
		{"a*a", "a", false},
		{"", "a", false},
		{"**", "x", true},
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
		"Podman":           {"cgroup": "0::/machine.slice/libpod-" + id + ".scope/container\n"},
		"rootless Podman":  {"cgroup": "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope/container\n"},
		"escaped":          {"cgroup": `0::/machine.slice/libpod\x2d` + id + ".scope\n"},
		"CRI-O":            {"cgroup": "0::/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope\n"},
		"Kubernetes":       {"cgroup": "4:memory:/kubepods/burstable/pod1/" + id + "\n"},
		"cgroup namespace": {"cgroup": "0::/\n", "mountinfo": "1 2 8:1 /var/lib/docker/containers/" + id + "/hostname /etc/hostname rw - ext4 /dev/sda rw\n"},
	} {
		if s := findSelf(t, files); len(s.IDs) != 1 || s.IDs[0] != id {
			t.Errorf("%s: %+v", name, s)
		}
	}
	// In a pod of Podman's with the cgroupfs driver, and in a container in a container,
	// each id in the path can be the Engine's.
	inner := strings.Repeat("1b", 32)
	for name, files := range map[string]map[string]string{
		"pod":                       {"cgroup": "0::/libpod_parent/" + inner + "/libpod-" + id + "\n"},
		"container in a container":  {"cgroup": "0::/docker/" + inner + "/docker/" + id + "\n"},
		"pod in a cgroup namespace": {"cgroup": "0::/\n", "mountinfo": "1 2 0:1 /run/overlay-containers/" + inner + "/userdata/hosts /etc/hosts rw - tmpfs x rw\n3 2 0:1 /run/overlay-containers/" + id + "/userdata/.containerenv /run/.containerenv rw - tmpfs x rw\n"},
	} {
		s := findSelf(t, files)
		for _, one := range []string{id, inner} {
			if !s.is(dockerclient.Container{ID: one}) {
				t.Errorf("%s: %s is not among %+v", name, one, s)
			}
		}
		if s.is(dockerclient.Container{ID: strings.Repeat("2c", 32)}) {
			t.Errorf("%s: another container is taken for the manager's own", name)
		}
	}
	// A host that mounts containers' folders is in no container.
	mounts := "1 2 8:1 /var/lib/docker/containers/" + id + "/shm /mnt rw - ext4 /dev/sda rw\n"
	if s := findSelf(t, map[string]string{"mountinfo": mounts}); len(s.IDs) > 0 {
		t.Errorf("a host took itself for container %s", s.IDs)
	}
	// conmon runs the container, and is in none.
	if s := findSelf(t, map[string]string{"cgroup": "0::/machine.slice/libpod-conmon-short.scope\n"}); len(s.IDs) > 0 {
		t.Errorf("a cgroup without an id became %s", s.IDs)
	}
}

func findSelf(t *testing.T, files map[string]string) Self {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "self"), 0o755); err != nil {
		t.Fatal(err)
	}
	for f, text := range files {
		if err := os.WriteFile(filepath.Join(dir, "self", f), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return FindSelf(dir)
}
