package collector

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
)

// exposed is one exposition's samples.
func exposed(t *testing.T, c *Collector) map[string]float64 {
	t.Helper()
	return flat(parse(t, get(t, c.Handler(prometheus.NewRegistry())).Body.Bytes()))
}

// TestOOMEvents: the counter starts at 0 as soon as Docker reports the container, and
// stays after its exit.
func TestOOMEvents(t *testing.T) {
	snap, ns := world(3)
	victim, calm, unreported := snap.Containers[0], snap.Containers[1], snap.Containers[2]
	for id, name := range map[string]string{victim.ID: "victim", calm.ID: "calm"} {
		ns.byID[id] = &runtimes.Info{ID: id, Name: name, Image: "app:1"}
	}
	delete(ns.byID, unreported.ID)
	for i := range snap.Containers {
		snap.Containers[i].Set(source.OOMKills, 0)
		snap.Containers[i].Cgroup = "/system.slice/docker-" + snap.Containers[i].ID + ".scope"
	}
	ns.ooms = map[string]runtimes.OOM{}
	src := &fakeSource{snap: snap}
	c := newTest(Config{NameSet: Both}, src, ns)
	series := func(each source.Container, name string) string {
		return fmt.Sprintf(`estiba_container_oom_events_total{id=%q,name=%q}`, each.ID[:12], name)
	}
	cadvisor := fmt.Sprintf(`container_oom_events_total{id="/system.slice/docker-%s.scope",image="app:1",name="victim"}`, victim.ID)
	want := func(when string, key string, value float64) {
		t.Helper()
		if v, ok := exposed(t, c)[key]; !ok || v != value {
			t.Errorf("%s: %s = %v, %v, want %v", when, key, v, ok, value)
		}
	}
	without := func(when string, key string) {
		t.Helper()
		if v, ok := exposed(t, c)[key]; ok {
			t.Errorf("%s: %s = %v, want none", when, key, v)
		}
	}
	want("no event", series(victim, "victim"), 0)
	want("no event", series(calm, "calm"), 0)
	want("no event", cadvisor, 0)
	without("not reported by Docker", series(unreported, ""))

	// The kernel kills its init process. A scrape may come before the event.
	ended := *snap
	ended.Containers = snap.Containers[1:]
	src.set(&ended, nil)
	without("ended", series(victim, "victim"))
	ns.ooms[victim.ID] = runtimes.OOM{Info: ns.byID[victim.ID], Events: 1, Last: time.Now()}
	for range entryScrapes + 3 {
		want("ended by an OOM kill", series(victim, "victim"), 1)
		want("ended by an OOM kill", cadvisor, 1)
	}
	without("ended", fmt.Sprintf(`estiba_container_processes{id=%q,name="victim"}`, victim.ID[:12]))
	if v := exposed(t, c)[`estiba_containers{}`]; v != 2 {
		t.Errorf("%v containers, want the two that run", v)
	}
	src.set(nil, fmt.Errorf("no snapshot: %w", source.ErrCut))
	want("the source fails", series(victim, "victim"), 1)

	src.set(snap, nil) // restarted
	want("started again", series(victim, "victim"), 1)
	want("started again", cadvisor, 1)

	src.set(&ended, nil)
	ns.ooms[victim.ID] = runtimes.OOM{Info: ns.byID[victim.ID], Events: 1, Last: time.Now().Add(-endedFor)}
	without("long after the end", series(victim, "victim"))
	src.set(snap, nil)
	want("started again after long", series(victim, "victim"), 1)
	for range entryScrapes + 1 {
		src.set(&source.Snapshot{Source: source.Kmod}, nil)
		exposed(t, c)
	}
	if len(c.entries) != 0 || len(c.labelOwner) != 0 {
		t.Errorf("%d entries and %d labels are kept of containers that ended", len(c.entries), len(c.labelOwner))
	}
}

// TestEndedAreBounded: the containers with the last events stay.
func TestEndedAreBounded(t *testing.T) {
	ns := fakeNames{ooms: map[string]runtimes.OOM{}}
	for i := range endedLimit + 50 {
		id := fmt.Sprintf("%012x%052x", i, i)
		ns.ooms[id] = runtimes.OOM{Info: &runtimes.Info{ID: id, Name: "n"}, Events: 1, Last: time.Now().Add(-time.Duration(i) * time.Second)}
	}
	c := newTest(Config{NameSet: Estiba}, &fakeSource{snap: &source.Snapshot{Source: source.Kmod}}, ns)
	text := get(t, c.Handler(prometheus.NewRegistry())).Body.String()
	if n := strings.Count(text, "\nestiba_container_oom_events_total{"); n != endedLimit {
		t.Errorf("%d ended containers, want %d", n, endedLimit)
	}
	for i, want := range map[int]bool{0: true, endedLimit - 1: true, endedLimit: false} {
		if got := strings.Contains(text, fmt.Sprintf(`id="%012x"`, i)); got != want {
			t.Errorf("the container with the %dth last event: exported %v, want %v", i+1, got, want)
		}
	}
}

// TestUnnamedIsEmpty: until Docker reports a container, the labels from Docker are
// empty.
func TestUnnamedIsEmpty(t *testing.T) {
	snap, ns := world(2)
	reported, unknown := snap.Containers[0], snap.Containers[1]
	ns.byID[reported.ID] = &runtimes.Info{ID: reported.ID, Name: "reported"} // without labels
	delete(ns.byID, unknown.ID)
	c := newTest(Config{NameSet: Both, DockerLabels: []string{"team"}}, &fakeSource{snap: snap}, ns)
	values := exposed(t, c)
	for _, tt := range []struct{ id, name, flag string }{{reported.ID, "reported", "false"}, {unknown.ID, "", ""}} {
		key := fmt.Sprintf(`estiba_container_info{compose_project="",compose_service="",container_id=%q,container_label_team="",id=%q,image="",kind="",managed=%q,name=%q,namespace="moby",pod="",pod_container="",pod_namespace="",protected=%q,runtime=""}`,
			tt.id, tt.id[:12], tt.flag, tt.name, tt.flag)
		if _, ok := values[key]; !ok {
			t.Errorf("no %s", key)
		}
	}
	// With a report, they are set.
	ns.byID[unknown.ID] = &runtimes.Info{ID: unknown.ID, Name: "late"}
	for key := range exposed(t, c) {
		if strings.Contains(key, unknown.ID) && strings.HasPrefix(key, "estiba_container_info") && !strings.Contains(key, `managed="false"`) {
			t.Errorf("exported: %s", key)
		}
	}
}
