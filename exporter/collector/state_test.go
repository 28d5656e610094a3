package collector

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
)

// ofState lists the state metrics of a container, by its short id.
func ofState(t *testing.T, c *Collector, id string) string {
	t.Helper()
	var samples []string
	text := get(t, c.Handler(prometheus.NewRegistry())).Body.String()
	for _, line := range strings.Split(text, "\n") {
		for _, of := range []string{"state", "exit_code", "restarts_total", "health", "not_understood", "oom_events_total"} {
			if rest, ok := strings.CutPrefix(line, "estiba_container_"+of+`{id="`+id[:12]+`",name="`); ok {
				_, rest, _ = strings.Cut(rest, `"`)
				samples = append(samples, of+strings.NewReplacer("}", "", ",", " ").Replace(rest))
			}
		}
	}
	return strings.Join(samples, "; ")
}

// TestState: the metrics in each state, with and without a row.
func TestState(t *testing.T) {
	at := time.Now()
	for name, tt := range map[string]struct {
		seen  bool
		state runtimes.State
		want  string
	}{
		"runs": {true, runs, `oom_events_total 0; state state="running" 1; restarts_total 1; health status="healthy" 1`},
		"paused, no check": {
			true,
			runtimes.State{Status: runtimes.StatePaused, Inspected: true},
			`oom_events_total 0; state state="paused" 1; restarts_total 0`,
		},
		"is only listed": {true, runtimes.State{Status: runtimes.StateRunning}, `oom_events_total 0; state state="running" 1`},
		"ended":          {false, exited(at), `state state="exited" 1; exit_code 137; restarts_total 0`},
		"ended well":     {false, runtimes.State{Status: runtimes.StateExited, Inspected: true}, `state state="exited" 1; exit_code 0; restarts_total 0`},
		"ended with a check": {
			false,
			runtimes.State{Status: runtimes.StateExited, Inspected: true, Health: "unhealthy"},
			`state state="exited" 1; exit_code 0; restarts_total 0`,
		},
		"ended, only listed":               {false, runtimes.State{Status: runtimes.StateExited}, `state state="exited" 1`},
		"crashes again":                    {false, runtimes.State{Status: runtimes.StateRestarting, Inspected: true, ExitCode: 1, Restarts: 9}, `state state="restarting" 1; exit_code 1; restarts_total 9`},
		"created":                          {false, runtimes.State{Status: runtimes.StateCreated, Inspected: true}, `state state="created" 1; restarts_total 0`},
		"could not be started":             {false, runtimes.State{Status: runtimes.StateCreated, Inspected: true, ExitCode: 127}, `state state="created" 1; exit_code 127; restarts_total 0`},
		"an exit code below 0":             {false, runtimes.State{Status: runtimes.StateDead, Inspected: true, ExitCode: -1}, `state state="dead" 1; exit_code -1; restarts_total 0`},
		"Kata, its helper seen":            {true, runtimes.State{Status: runtimes.StateRunning, Inspected: true, Runtime: "io.containerd.kata.v2"}, `oom_events_total 0; state state="running" 1; restarts_total 0; not_understood runtime="io.containerd.kata.v2" 1`},
		"gVisor, below a shim like runc's": {true, runtimes.State{Status: runtimes.StateRunning, Inspected: true, Runtime: "runsc"}, `oom_events_total 0; state state="running" 1; restarts_total 0`},
		"gVisor, at its end":               {false, runtimes.State{Status: runtimes.StateExited, Inspected: true, Runtime: "runsc"}, `state state="exited" 1; exit_code 0; restarts_total 0`},
	} {
		t.Run(name, func(t *testing.T) {
			snap, ns := world(2)
			id := snap.Containers[0].ID
			info := &runtimes.Info{ID: id, Name: "n", State: tt.state}
			ns.byID[id] = info
			if !tt.seen {
				snap.Containers = snap.Containers[1:]
				ns.idle = []*runtimes.Info{info}
			}
			c := newTest(Config{NameSet: Estiba}, &fakeSource{snap: snap}, ns)
			for range 2 { // the second time from the cache
				if got := ofState(t, c, id); got != tt.want {
					t.Errorf("got %s\nwant %s", got, tt.want)
				}
			}
		})
	}
}

// TestStateWhileDockerIsDown: the current state is absent, the past stays.
func TestStateWhileDockerIsDown(t *testing.T) {
	snap, ns := world(1)
	ns.byID[snap.Containers[0].ID].Name = "n"
	gone := &runtimes.Info{ID: strings.Repeat("e", 64), State: exited(time.Now())}
	ns.idle, ns.down = []*runtimes.Info{gone}, true
	c := newTest(Config{NameSet: Both}, &fakeSource{snap: snap}, ns)
	if got, want := ofState(t, c, gone.ID), "exit_code 137; restarts_total 0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := ofState(t, c, snap.Containers[0].ID), "oom_events_total 0; restarts_total 1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if text := get(t, c.Handler(prometheus.NewRegistry())).Body.String(); strings.Contains(text, "\ncontainer_health_state{") {
		t.Error("the health is exported")
	}
}

// TestCAdvisorHealth: cAdvisor's numbers.
func TestCAdvisorHealth(t *testing.T) {
	for health, want := range map[string]float64{"healthy": 1, "unhealthy": 0, "starting": 0, "": -1} {
		snap, ns := world(1)
		id := snap.Containers[0].ID
		ns.byID[id] = &runtimes.Info{ID: id, State: runtimes.State{Status: runtimes.StateRunning, Inspected: true, Health: health}}
		values := exposed(t, newTest(Config{NameSet: CAdvisor}, &fakeSource{snap: snap}, ns))
		if v, ok := values[`container_health_state{id="/docker/0",image="",name=""}`]; !ok || v != want {
			t.Errorf("health %q: %v, %v, want %v", health, v, ok, want)
		}
	}
}

// TestIdleAreBounded: the last ones that stopped running stay.
func TestIdleAreBounded(t *testing.T) {
	var ns fakeNames
	for i := range endedLimit + 50 {
		ns.idle = append(ns.idle, &runtimes.Info{ID: fmt.Sprintf("%012x%052x", i, i), State: exited(time.Now().Add(-time.Duration(i) * time.Hour))})
	}
	c := newTest(Config{NameSet: Estiba}, &fakeSource{snap: &source.Snapshot{Source: source.Kmod}}, ns)
	text := get(t, c.Handler(prometheus.NewRegistry())).Body.String()
	if n := strings.Count(text, "\nestiba_container_state{"); n != endedLimit {
		t.Errorf("%d containers, want %d", n, endedLimit)
	}
	if !strings.Contains(text, fmt.Sprintf(`id="%012x"`, endedLimit-1)) || strings.Contains(text, fmt.Sprintf(`id="%012x"`, endedLimit)) {
		t.Error("not the ones that ended last")
	}
	if len(c.gone) != endedLimit {
		t.Errorf("%d labels are kept, want %d", len(c.gone), endedLimit)
	}
	ns.idle = nil
	c.names = ns
	get(t, c.Handler(prometheus.NewRegistry()))
	if len(c.gone) != 0 {
		t.Errorf("%d labels are kept of containers that are forgotten", len(c.gone))
	}
}

// TestUnsupported: a container in a virtual machine has its state and info, without the
// usage of its helper processes.
func TestUnsupported(t *testing.T) {
	snap, ns := world(2)
	id := snap.Containers[0].ID
	ns.byID[id].State.Runtime = "kata"
	snap.Interfaces = map[string][]source.Interface{id: {{Name: "eth0"}}}
	snap.Containers[0].HasOpenFiles = true
	c := newTest(Config{NameSet: Both, Interfaces: true, OpenFiles: true}, &fakeSource{snap: snap}, ns)
	text := get(t, c.Handler(prometheus.NewRegistry())).Body.String()
	for _, metric := range []string{
		"cpu_seconds_total", "memory_rss_bytes", "processes", "start_time_seconds", "network_receive_bytes_total",
		"interface_receive_bytes_total", "open_files",
	} {
		if strings.Contains(text, "\nestiba_container_"+metric+`{id="`+id[:12]) {
			t.Errorf("%s of its helpers is exported", metric)
		}
	}
	if !strings.Contains(text, "\nestiba_container_info{id=\""+id[:12]) || !strings.Contains(text, "\nestiba_containers 2\n") {
		t.Error("the container is missing")
	}
}

// TestUnsupportedWithoutDocker: the shim alone reveals the virtual machine.
func TestUnsupportedWithoutDocker(t *testing.T) {
	snap, ns := world(1)
	each := &snap.Containers[0]
	ns.byID, ns.down, each.Machine = nil, true, "containerd-shim-kata-v2"
	c := newTest(Config{NameSet: Estiba}, &fakeSource{snap: snap}, ns)
	if got, want := ofState(t, c, each.ID), `not_understood runtime="containerd-shim-kata-v2" 1`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if text := get(t, c.Handler(prometheus.NewRegistry())).Body.String(); strings.Contains(text, "\nestiba_container_memory_rss_bytes{") {
		t.Error("the usage of its helpers is exported")
	}
}

// TestPlugins: Docker does not list its plugins as containers, so they are not looked up.
func TestPlugins(t *testing.T) {
	snap, ns := world(3)
	snap.Containers[1].Namespace = "plugins.moby"
	delete(ns.byID, snap.Containers[1].ID)
	delete(ns.byID, snap.Containers[2].ID)
	c := newTest(Config{NameSet: Estiba}, &fakeSource{snap: snap}, ns)
	if v := exposed(t, c); v[`estiba_containers{}`] != 3 || v[`estiba_containers_unnamed{}`] != 1 {
		t.Errorf("%v containers, %v unnamed, want 3 and the 1 that is no plugin", v[`estiba_containers{}`], v[`estiba_containers_unnamed{}`])
	}
}

// TestUnseen: a container counts after running for a while without visible processes.
func TestUnseen(t *testing.T) {
	snap, ns := world(4)
	ns.byID[snap.Containers[0].ID].Name = "n"
	var logged bytes.Buffer
	src := &fakeSource{}
	c := newTest(Config{NameSet: Estiba}, src, &ns)
	c.logger = log.NewLogfmtLogger(&logged)
	now := time.Now()
	c.now = func() time.Time { return now }
	lost, kata := snap.Containers[0], snap.Containers[3]
	step := func(what string, after time.Duration, want float64) {
		t.Helper()
		now = now.Add(after)
		if v, ok := exposed(t, c)[`estiba_containers_unseen{}`]; !ok || v != want {
			t.Errorf("%s: %v, %v, want %v", what, v, ok, want)
		}
	}
	lines := func(what string, n int) {
		t.Helper()
		if got := strings.Count(logged.String(), "visible"); got < n || strings.Count(logged.String(), "msg=") != n+1 {
			t.Errorf("%s: want %d lines on it, and the one on snapshots:\n%s", what, n, logged.String())
		}
	}
	without := func(mutate func(*source.Snapshot)) *source.Snapshot {
		s := *snap
		s.Containers = append([]source.Container(nil), snap.Containers[1:]...)
		s.Host.Set(source.ContainersFound, uint64(len(s.Containers)))
		if mutate != nil {
			mutate(&s)
		}
		return &s
	}
	src.set(snap, nil)
	step("all are seen", time.Hour, 0)
	src.set(without(nil), nil)
	step("not seen yet", 0, 0)
	step("not for long", unseenAfter-time.Second, 0)
	src.set(snap, nil)
	step("seen", time.Second, 0)
	src.set(without(nil), nil)
	step("not seen yet again", unseenAfter, 0)
	lines("before", 0)
	step("unseen", unseenAfter, 1)
	if got, want := ofState(t, c, lost.ID), `state state="running" 1; restarts_total 1; health status="healthy" 1`; got != want {
		t.Errorf("of the unseen one: %s, want %s", got, want)
	}
	step("still", time.Hour, 1)
	lines("unseen", 1)
	src.set(nil, errors.New("broken"))
	step("no snapshot", time.Minute, 1)
	logged.Reset()
	src.set(without(nil), nil)
	step("a snapshot again", time.Minute, 1)
	src.set(snap, nil)
	step("seen in the end", time.Second, 0)
	lines("seen in the end", 1)

	for what, mutate := range map[string]func(*source.Snapshot){
		"the source has a limit":   func(s *source.Snapshot) { s.Truncated = true },
		"more were found":          func(s *source.Snapshot) { s.Host.Set(source.ContainersFound, 99) },
		"a document without an id": func(s *source.Snapshot) { s.Containers[0].ID = "" },
	} {
		src.set(without(mutate), nil)
		step(what, time.Hour, 0)
		step(what, time.Hour, 0)
	}
	src.set(without(nil), nil)
	ns.down = true
	step("Docker is down", time.Hour, 0)
	step("Docker is down", time.Hour, 0)
	ns.down = false
	step("Docker is back", time.Hour, 0)
	step("Docker is back for a while", time.Hour, 1)

	src.set(snap, nil)
	step("seen", 0, 0)
	c.config.Limit = 2
	step("above our own limit", time.Hour, 0)
	step("above our own limit", time.Hour, 0)
	c.config.Limit = 20000
	ended := without(func(s *source.Snapshot) {
		s.Containers = append(s.Containers, lost)
		s.Containers[len(s.Containers)-1].State = source.Ended
	})
	src.set(ended, nil)
	step("it ended, and is said to run", time.Hour, 0)
	step("it ended, and is said to run", time.Hour, 1)
	src.set(snap, nil)
	step("seen", 0, 0)
	ns.byID[kata.ID].State.Runtime = "kata-runtime"
	step("in a virtual machine", time.Hour, 0)
	step("in a virtual machine", time.Hour, 1)
	ns.byID[kata.ID].State.Runtime = "by any name"
	step("not in a virtual machine", time.Hour, 0)
	snap.Containers[3].Machine = "containerd-shim-kata-v2"
	step("in one, by its shim", time.Hour, 0)
	step("in one, by its shim", time.Hour, 1)
	snap.Containers[3].Machine = ""
	src.set(without(nil), nil)
	ns.byID[lost.ID] = &runtimes.Info{ID: lost.ID, Name: "n", State: runtimes.State{Status: runtimes.StateRunning, Inspected: true, Runtime: "io.containerd.runsc.v1"}}
	step("gVisor with its own shim", time.Hour, 0)
	step("gVisor with its own shim", time.Hour, 1)
	if got, want := ofState(t, c, lost.ID), `state state="running" 1; restarts_total 0; not_understood runtime="io.containerd.runsc.v1" 1`; got != want {
		t.Errorf("of gVisor's: %s, want %s", got, want)
	}
}
