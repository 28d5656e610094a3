package collector

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/container"
)

// several is Names with containers of users, as runtimes.Set has them.
type several struct {
	fakeNames
	unexpected []string // runtimes of containers that nobody is to name
}

func (s several) Find(user uint32, id, runtime, _ string) (*runtimes.Info, bool) {
	i := s.byID[container.Key(user, id)]
	return i, i != nil || !slices.Contains(s.unexpected, runtime)
}

// one returns a container with a few values.
func one(id string, user uint32, cpu uint64) source.Container {
	c := source.Container{ID: id, Runtime: container.Podman, Cgroup: "/c/" + container.Key(user, id)}
	c.Set(source.CPU, cpu*1e9)
	if user != 0 {
		c.Set(source.User, uint64(user))
	}
	return c
}

// sampled returns the samples of a metric by their labels as written, without container_id.
func sampled(t *testing.T, c *Collector, metric string) map[string]string {
	t.Helper()
	all := map[string]string{}
	text := get(t, c.Handler(prometheus.NewRegistry())).Body.String()
	parse(t, []byte(text)) // no duplicate series
	for _, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(line, metric+"{"); ok {
			labels, value, _ := strings.Cut(rest, "} ")
			if _, twice := all[labels]; twice {
				t.Errorf("two samples %s{%s}", metric, labels)
			}
			all[labels] = value
		}
	}
	return all
}

func expect(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// TestSameIDs: a rootless container never has the row, name or label id of root's.
func TestSameIDs(t *testing.T) {
	id := strings.Repeat("a", 64)
	near := strings.Repeat("a", 12) + strings.Repeat("b", 52) // the same first digits
	ns := several{fakeNames: fakeNames{byID: map[string]*runtimes.Info{
		id:           {ID: id, Name: "roots", State: runs, Labels: container.Labels{Protected: true}},
		id + "@1000": {ID: id, User: 1000, Name: "users", State: runs, Labels: container.Labels{Managed: true}},
	}, sizes: map[string]int64{}}}
	src := &fakeSource{}
	snap := func(all ...source.Container) *source.Snapshot {
		return &source.Snapshot{Source: source.Kmod, Containers: all}
	}
	const metric = "estiba_container_cpu_seconds_total"
	c := newTest(Config{NameSet: Both}, src, ns)
	roots, users, another := one(id, 0, 1), one(id, 1000, 2), one(near, 1001, 3)

	src.set(snap(users), nil)
	expect(t, "the user's alone", sampled(t, c, metric), map[string]string{`id="aaaaaaaaaaaa",name="users"`: "2"})
	both := map[string]string{`id="aaaaaaaaaaaa",name="roots"`: "1", `id="aaaaaaaaaaaa@1000",name="users"`: "2"}
	src.set(snap(users, roots), nil)
	expect(t, "root's comes", sampled(t, c, metric), both)
	src.set(snap(roots, users), nil)
	expect(t, "in another order", sampled(t, c, metric), both)
	src.set(snap(another, users, roots), nil)
	three := map[string]string{`id="aaaaaaaaaaaa",name="roots"`: "1", `id="aaaaaaaaaaaa@1000",name="users"`: "2", `id="aaaaaaaaaaaa@1001",name=""`: "3"}
	expect(t, "a third one", sampled(t, c, metric), three)
	for labels := range sampled(t, c, "estiba_container_info") {
		user := strings.HasPrefix(labels, `id="aaaaaaaaaaaa@1000"`)
		if strings.Contains(labels, `managed="true"`) != user || strings.Contains(labels, `protected="true"`) != strings.HasPrefix(labels, `id="aaaaaaaaaaaa"`) {
			t.Errorf("labels of another one: %s", labels)
		}
	}
	// The limit is root's first.
	c.config.Limit = 1
	src.set(snap(another, users, roots), nil)
	expect(t, "with a limit", sampled(t, c, metric), map[string]string{`id="aaaaaaaaaaaa",name="roots"`: "1"})
	c.config.Limit = 20000
	for range entryScrapes + 1 {
		src.set(snap(), nil)
		sampled(t, c, metric)
	}
	if len(c.entries) != 0 || len(c.labelOwner) != 0 {
		t.Errorf("%d entries and %d label ids are kept", len(c.entries), len(c.labelOwner))
	}
}

// TestSameIDsAtTheEnd: root's container that has exited keeps its label id, too.
func TestSameIDsAtTheEnd(t *testing.T) {
	id := strings.Repeat("a", 64)
	ended := &runtimes.Info{ID: id, Name: "roots", State: exited(time.Now().Add(-time.Hour))}
	users := &runtimes.Info{ID: id, User: 1000, Name: "users", State: runs}
	other := &runtimes.Info{ID: id, User: 1001, Name: "others", State: exited(time.Now())}
	ns := several{fakeNames: fakeNames{byID: map[string]*runtimes.Info{users.Key(): users}, idle: []*runtimes.Info{other, ended}}}
	c := newTest(Config{NameSet: Both}, &fakeSource{snap: &source.Snapshot{Source: source.Kmod, Containers: []source.Container{one(id, 1000, 2)}}}, ns)
	for range 3 {
		expect(t, "exit codes", sampled(t, c, "estiba_container_exit_code"), map[string]string{
			`id="aaaaaaaaaaaa",name="roots"`: "137", `id="aaaaaaaaaaaa@1001",name="others"`: "137",
		})
		expect(t, "CPU time", sampled(t, c, "estiba_container_cpu_seconds_total"), map[string]string{`id="aaaaaaaaaaaa@1000",name="users"`: "2"})
	}
}

// TestUsersCrowdOutNobody: the last containers that ended are root's first.
func TestUsersCrowdOutNobody(t *testing.T) {
	var ns several
	for i := range endedLimit {
		ns.idle = append(ns.idle, &runtimes.Info{ID: fmt.Sprintf("%012x%052x", i+1, 0), User: 1000, State: exited(time.Now())})
	}
	roots := &runtimes.Info{ID: strings.Repeat("f", 64), State: exited(time.Now().Add(-time.Hour))}
	ns.idle = append([]*runtimes.Info{roots}, ns.idle...) // as View has them
	ns.ooms = map[string]runtimes.OOM{}
	for i := range 50 {
		of := &runtimes.Info{ID: fmt.Sprintf("%012x%052x", i+1000, 0), User: 1000, State: exited(time.Now())}
		ns.ooms[of.Key()] = runtimes.OOM{Info: of, Events: 1, Last: time.Now()}
	}
	c := newTest(Config{NameSet: Estiba}, &fakeSource{snap: &source.Snapshot{Source: source.Kmod}}, ns)
	if all := sampled(t, c, "estiba_container_exit_code"); len(all) != endedLimit || all[`id="ffffffffffff",name=""`] != "137" {
		t.Errorf("%d, and root's is %q", len(all), all[`id="ffffffffffff",name=""`])
	}
}

// info returns the labels of the info metric from runtime on, and of one of cAdvisor's.
func infoOf(t *testing.T, c *Collector, id string) (info, cadvisor string) {
	t.Helper()
	for labels := range sampled(t, c, "estiba_container_info") {
		if strings.HasPrefix(labels, `id="`+id+`"`) {
			_, info, _ = strings.Cut(labels, `namespace=`)
		}
	}
	for labels := range sampled(t, c, "container_last_seen") {
		if strings.HasPrefix(labels, `id="/c/`+id) {
			cadvisor = labels
		}
	}
	return info, cadvisor
}

// TestPodLabels: of containers of pods, their pause containers, and others.
func TestPodLabels(t *testing.T) {
	pod := func(runtime, container string, sandbox bool) *runtimes.Info {
		return &runtimes.Info{Runtime: runtime, Name: "shop/web", Image: "i", Pod: "web", PodNamespace: "shop", PodContainer: container, Sandbox: sandbox, State: runs}
	}
	for name, tt := range map[string]struct {
		runtime, pause string
		info           *runtimes.Info
		want, cadvisor string
	}{
		"a container": {
			"containerd", "", pod("containerd", "app", false),
			`"",runtime="containerd",compose_project="",compose_service="",pod="web",pod_namespace="shop",pod_container="app"`,
			`,container="app",namespace="shop",pod="web"`,
		},
		"containerd's pause": {
			"containerd", "true", pod("containerd", "POD", true),
			`"",runtime="containerd",compose_project="",compose_service="",pod="web",pod_namespace="shop",pod_container="POD"`,
			`,namespace="shop",pod="web"`,
		},
		"CRI-O's pause": {
			"cri-o", "", pod("cri-o", "POD", true),
			`"",runtime="cri-o",compose_project="",compose_service="",pod="web",pod_namespace="shop",pod_container="POD"`,
			`,container="POD",namespace="shop",pod="web"`,
		},
		"pause without the CRI": {
			"containerd", "true", nil,
			`"",runtime="containerd",compose_project="",compose_service="",pod="",pod_namespace="",pod_container="POD"`, ``,
		},
		"Podman's pod": {
			"podman", "", &runtimes.Info{Runtime: "podman", Name: "app", Image: "i", Pod: "web", PodContainer: "app", State: runs},
			`"",runtime="podman",compose_project="",compose_service="",pod="web",pod_namespace="",pod_container="app"`,
			`,container="app",pod="web"`,
		},
		"Docker's": {
			"", "", &runtimes.Info{Runtime: "docker", Name: "app", Image: "i", State: runs},
			`"",runtime="docker",compose_project="",compose_service="",pod="",pod_namespace="",pod_container=""`, ``,
		},
	} {
		id := strings.Repeat("a", 64)
		each := one(id, 0, 1)
		each.Runtime, each.Pause = tt.runtime, tt.pause
		ns := several{fakeNames: fakeNames{byID: map[string]*runtimes.Info{}}}
		name1, image := "", ""
		if tt.info != nil {
			tt.info.ID = id
			ns.byID[id] = tt.info
			name1, image = tt.info.Name, "i"
		}
		c := newTest(Config{NameSet: Both}, &fakeSource{snap: &source.Snapshot{Source: source.Kmod, Containers: []source.Container{each}}}, ns)
		info, cadvisor := infoOf(t, c, "aaaaaaaaaaaa")
		if info != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", name, info, tt.want)
		}
		if want := fmt.Sprintf(`id="/c/%s",name=%q,image=%q%s`, id, name1, image, tt.cadvisor); cadvisor != want {
			t.Errorf("%s, cAdvisor:\n got %s\nwant %s", name, cadvisor, want)
		}
	}
}

// TestSystemContainers: their id is their name, and no runtime is to name them.
func TestSystemContainers(t *testing.T) {
	all := []source.Container{one("web", 0, 1), one("db", 1000, 2), one("other", 0, 3)}
	all[0].Runtime, all[1].Runtime, all[2].Runtime = container.LXC, container.Nspawn, container.Containerd
	ns := several{unexpected: []string{container.LXC, container.Nspawn, container.Containerd}}
	c := newTest(Config{NameSet: Both}, &fakeSource{snap: &source.Snapshot{Source: source.Kmod, Containers: all}}, ns)
	expect(t, "names", sampled(t, c, "estiba_container_cpu_seconds_total"), map[string]string{
		`id="web",name="web"`: "1", `id="db",name="db"`: "2", `id="other",name=""`: "3",
	})
	if n := exposed(t, c)[`estiba_containers_unnamed{}`]; n != 0 {
		t.Errorf("%v are unnamed", n)
	}
	for labels := range sampled(t, c, "estiba_container_info") {
		if strings.Contains(labels, `managed="false"`) {
			t.Errorf("not reported yet: %s", labels)
		}
	}
}

// TestWhatTheCRILacks: no health, but state and restarts.
func TestWhatTheCRILacks(t *testing.T) {
	id := strings.Repeat("a", 64)
	info := &runtimes.Info{ID: id, Name: "n", State: runtimes.State{Status: runtimes.StateRunning, Inspected: true, NoHealth: true, Restarts: 2}}
	ns := several{fakeNames: fakeNames{byID: map[string]*runtimes.Info{id: info}}}
	c := newTest(Config{NameSet: Both}, &fakeSource{snap: &source.Snapshot{Source: source.Kmod, Containers: []source.Container{one(id, 0, 1)}}}, ns)
	if got, want := ofState(t, c, id), `oom_events_total 0; state state="running" 1; restarts_total 2`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := sampled(t, c, "container_health_state"); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// TestPodsInMachines: the containers of a pod in a virtual machine are not unseen while
// the pod's sandbox has their usage.
func TestPodsInMachines(t *testing.T) {
	sandbox, id := strings.Repeat("a", 64), strings.Repeat("b", 64)
	now := time.Now()
	for _, tt := range []struct {
		handler, runtime, shim string
		seen                   bool // the sandbox has a row
		unseen                 float64
		usage                  int
	}{
		{"kata", container.Kata, "containerd-shim-kata-v2", true, 0, 1},
		{"kata", container.Containerd, "containerd-shim-kata-v2", true, 1, 0}, // helpers only
		{"kata", container.Kata, "", false, 1, 0},
		{"runsc", container.Containerd, "", true, 0, 1},
		{"runsc", container.Containerd, "", false, 1, 0},
		{"", container.Containerd, "", true, 1, 1},
	} {
		state := runs
		state.Runtime = tt.handler
		one1 := &runtimes.Info{ID: id, Name: "n/p/c", Pod: "p", SandboxID: sandbox, State: state}
		pause := &runtimes.Info{ID: sandbox, Name: "n/p", Pod: "p", Sandbox: true, PodContainer: "POD", State: state}
		ns := several{fakeNames: fakeNames{
			byID: map[string]*runtimes.Info{id: one1, sandbox: pause}, view: &runtimes.View{Running: []*runtimes.Info{one1}},
		}}
		snap := &source.Snapshot{Source: source.Kmod}
		if tt.seen {
			each := one(sandbox, 0, 1)
			each.Runtime, each.Machine = tt.runtime, tt.shim
			snap.Containers = append(snap.Containers, each)
		}
		c := newTest(Config{NameSet: Estiba}, &fakeSource{snap: snap}, ns)
		c.now = func() time.Time { return now }
		sampled(t, c, "estiba_container_info")
		now = now.Add(unseenAfter)
		if got := exposed(t, c)[`estiba_containers_unseen{}`]; got != tt.unseen {
			t.Errorf("%+v: %v are unseen", tt, got)
		}
		if got := sampled(t, c, "estiba_container_cpu_seconds_total"); len(got) != tt.usage {
			t.Errorf("%+v: usage of %v", tt, got)
		}
		if got := sampled(t, c, "estiba_container_state"); got[`id="bbbbbbbbbbbb",name="n/p/c",state="running"`] != "1" {
			t.Errorf("%+v: states %v", tt, got)
		}
	}
}

// TestRuntimeUp: for each runtime that is configured or found.
func TestRuntimeUp(t *testing.T) {
	snap, ns := world(1)
	c := newTest(Config{NameSet: Estiba}, &fakeSource{snap: snap}, statuses{ns, []runtimes.Status{{Kind: "docker", Up: true}, {Kind: "cri"}}})
	expect(t, "runtimes", sampled(t, c, "estiba_runtime_up"), map[string]string{`runtime="docker"`: "1", `runtime="cri"`: "0"})
	c.names = statuses{ns, []runtimes.Status{{Kind: "podman", Up: true}}}
	expect(t, "without Docker", sampled(t, c, "estiba_runtime_up"), map[string]string{`runtime="podman"`: "1"})
	if v := exposed(t, c)[`estiba_docker_up{}`]; v != 0 {
		t.Errorf("estiba_docker_up %v", v)
	}
}

type statuses struct {
	fakeNames
	all []runtimes.Status
}

func (s statuses) Status() []runtimes.Status { return s.all }
