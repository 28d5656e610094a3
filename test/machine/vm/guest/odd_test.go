//go:build estiba_vm

package guest

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/kmod"
	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

// oddOnes are containers with unusual properties. Only this test may act on them.
type oddOnes struct {
	m          *machine
	containers map[string]dockerclient.Container
	restarted  dockerclient.Container // before its restart
}

const forever = "exec sleep 86400"

// spin uses all available CPU time.
const spin = "while :; do :; done"

func (m *machine) startOddOnes(t *testing.T) *oddOnes {
	t.Helper()
	o := &oddOnes{m: m, containers: map[string]dockerclient.Container{}}
	host := func(pairs ...any) options {
		o := options{host: map[string]any{}}
		for i := 0; i < len(pairs); i += 2 {
			o.host[pairs[i].(string)] = pairs[i+1]
		}
		return o
	}
	for _, c := range []struct {
		name, script string
		options      options
	}{
		{"steady", spin, host("NanoCpus", int64(0.3e9))},
		{"paused", spin, host("NanoCpus", int64(0.1e9))},
		{"host", forever, host("PidMode", "host", "NetworkMode", "host")},
		{"execed", forever, options{}},
		{"restarted", forever, options{}},
		{"pings", "exec ping -q -i 1 172.17.0.1", options{}},
		// Starts a process for each write.
		{"writes", "while :; do dd if=/dev/zero of=/data/file bs=64k count=16 conv=fsync; sleep 2; done", host("Binds", []string{"data:/data"})},
		{"oom", "dd if=/dev/zero of=/dev/null bs=100M count=1; " + forever, host("Memory", 24<<20, "MemorySwap", 24<<20)},
		{"protected", forever, options{labels: labels("true")}},
		{"misspelt", forever, options{labels: labels("ture")}},
	} {
		m.box(t, c.name, c.script, c.options)
	}
	// The OOM kill hits its init process.
	m.box(t, "oomdead", "exec dd if=/dev/zero of=/dev/null bs=100M count=1", host("Memory", 24<<20, "MemorySwap", 24<<20))
	if err := m.Docker.Pause(context.Background(), "paused"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m.exec(t, "execed", "sleep", "86400")
	}
	o.restarted = m.Inspect(t, "restarted")
	call(t, "POST", "/containers/restarted/restart?t=0", nil)
	for name := range m.Running(t) {
		o.containers[name] = m.Inspect(t, name)
	}
	return o
}

func labels(protect string) map[string]string {
	return map[string]string{container.LabelManaged: "true", container.LabelKind: "cpu", container.LabelProtect: protect}
}

// module takes a snapshot from the kernel module.
func module(t *testing.T) *source.Snapshot {
	t.Helper()
	return taken(t, kmod.New(moduleFile))
}

// taken is a snapshot of a source, without ended containers.
func taken(t *testing.T, from source.Source) *source.Snapshot {
	t.Helper()
	s, err := from.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return alive(s)
}

// alive removes ended containers, which the module lists for a few more seconds and the
// cgroup source does not.
func alive(s *source.Snapshot) *source.Snapshot {
	var left []source.Container
	for _, c := range s.Containers {
		ended := false
		for f := range source.NumFields {
			if source.Field(f).Info().Key == "ended_time_ns" {
				_, ended = c.Get(source.Field(f))
			}
		}
		if !ended {
			left = append(left, c)
		}
	}
	s.Containers = left
	return s
}

// find returns the row of a container, or nil.
func find(t *testing.T, s *source.Snapshot, id string) *source.Container {
	t.Helper()
	var found *source.Container
	for i := range s.Containers {
		if s.Containers[i].ID == id {
			if found != nil {
				t.Errorf("%s is listed twice", id)
			}
			found = &s.Containers[i]
		}
	}
	return found
}

func (o *oddOnes) check(t *testing.T) {
	wanted := map[string]map[source.Field]uint64{
		"steady":    {source.Processes: 1, source.OOMKills: 0},
		"paused":    {source.Processes: 1},
		"host":      {source.Processes: 1, source.Threads: 1},
		"execed":    {source.Processes: 4, source.Threads: 4},
		"restarted": {source.Processes: 1, source.OOMKills: 0},
		"oom":       {source.OOMKills: 1, source.MemoryLimit: 24 << 10},
		"pings":     {source.Processes: 1},
		"writes":    nil, "protected": nil, "misspelt": nil,
	}
	if len(o.containers) != len(wanted) {
		t.Errorf("%d containers running, want %d: %v", len(o.containers), len(wanted), o.containers)
	}
	// It takes a moment to use up the memory.
	var s *source.Snapshot
	testutil.Eventually(t, patience, "OOM kill in the container oom", func() bool {
		s = module(t)
		c := find(t, s, o.containers["oom"].ID)
		if c == nil {
			return false
		}
		kills, ok := c.Get(source.OOMKills)
		return ok && kills > 0
	})
	for name, c := range o.containers {
		got := find(t, s, c.ID)
		if got == nil {
			t.Errorf("no %s in the document", name)
			continue
		}
		for field, want := range wanted[name] {
			if v, ok := got.Get(field); !ok || v != want {
				t.Errorf("%s: %s is %d (known: %t), want %d", name, field.Info().Key, v, ok, want)
			}
		}
		o.identity(t, name, c, got, s)
	}
	o.network(t, s)
	o.outOfMemory(t, s)
	o.pausedStandsStill(t)
	o.startedAgain(t, s)
}

// identity compares the identity of the container with Docker and /proc.
func (o *oddOnes) identity(t *testing.T, name string, c dockerclient.Container, got *source.Container, s *source.Snapshot) {
	t.Helper()
	if pid, _ := got.Get(source.InitPID); pid != uint64(c.PID) {
		t.Errorf("%s: init_pid %d, Docker has %d", name, pid, c.PID)
	}
	comm, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(c.PID), "comm"))
	if err != nil || got.Command != strings.TrimSpace(string(comm)) {
		t.Errorf("%s: command %q, /proc has %q, %v", name, got.Command, comm, err)
	}
	if got.Namespace != "moby" || got.Cgroup != "/docker/"+c.ID || got.CPUSource != "cgroup" || !strings.HasPrefix(got.ProcessName, "containerd-shim") {
		t.Errorf("%s: namespace %q, cgroup %q, CPU from %q, process %q", name, got.Namespace, got.Cgroup, got.CPUSource, got.ProcessName)
	}
	// Docker records the start later than the process starts, on a busy host much later.
	boot, _ := got.Get(source.StartTime)
	wall, ok := s.Started(boot)
	if before := c.StartedAt.Sub(time.Unix(0, int64(wall))); !ok || before < 0 || before > time.Minute {
		t.Errorf("%s: started %s before Docker's time", name, before)
	}
}

func (o *oddOnes) network(t *testing.T, s *source.Snapshot) {
	t.Helper()
	for name, c := range o.containers {
		got := find(t, s, c.ID)
		if got == nil {
			continue
		}
		want := "own"
		if name == "host" {
			want = "host"
		}
		received, counted := got.Get(source.NetRxBytes)
		if got.Network != want || counted != (want == "own") {
			t.Errorf("%s: network %q, with counters: %t, want %q", name, got.Network, counted, want)
		}
		if name == "pings" && received == 0 {
			t.Errorf("%s received nothing", name)
		}
	}
}

// outOfMemory checks that a container whose init process was killed is no longer listed,
// and that one with another process killed stays and counts the OOM kill.
func (o *oddOnes) outOfMemory(t *testing.T, s *source.Snapshot) {
	t.Helper()
	var dead struct {
		ID    string `json:"Id"`
		State struct{ OOMKilled, Running bool }
	}
	if err := json.Unmarshal(call(t, "GET", "/containers/oomdead/json", nil), &dead); err != nil {
		t.Fatal(err)
	}
	if !dead.State.OOMKilled || dead.State.Running {
		t.Errorf("oomdead: %+v", dead)
	}
	if find(t, s, dead.ID) != nil {
		t.Error("oomdead is still listed")
	}
	events, err := os.ReadFile("/sys/fs/cgroup/docker/" + o.containers["oom"].ID + "/memory.events")
	if err != nil || !strings.Contains(string(events), "oom_kill 1\n") {
		t.Errorf("memory.events of oom: %q, %v", events, err)
	}
}

// pausedStandsStill checks that a paused container is listed and uses no CPU time while a
// busy one does.
func (o *oddOnes) pausedStandsStill(t *testing.T) {
	t.Helper()
	cpu := func(s *source.Snapshot, name string) uint64 {
		c := find(t, s, o.containers[name].ID)
		if c == nil {
			t.Fatalf("no %s in the document", name)
		}
		v, _ := c.Get(source.CPU)
		return v
	}
	before := module(t)
	var after *source.Snapshot
	testutil.Eventually(t, patience, "the steady container uses 300 ms of CPU time", func() bool {
		after = module(t)
		return cpu(after, "steady") > cpu(before, "steady")+uint64(300*time.Millisecond)
	})
	if cpu(after, "paused") != cpu(before, "paused") || cpu(after, "paused") == 0 {
		t.Errorf("paused: CPU time changed from %d to %d ns", cpu(before, "paused"), cpu(after, "paused"))
	}
}

// startedAgain checks that a restarted container has the old id and new counters.
func (o *oddOnes) startedAgain(t *testing.T, s *source.Snapshot) {
	t.Helper()
	was, is := o.restarted, o.containers["restarted"]
	if was.ID != is.ID || was.PID == is.PID || !is.StartedAt.After(was.StartedAt) {
		t.Fatalf("the container was not restarted: %+v, %+v", was, is)
	}
	got := find(t, s, is.ID)
	boot, _ := got.Get(source.StartTime)
	wall, _ := s.Started(boot)
	if !time.Unix(0, int64(wall)).After(was.StartedAt) {
		t.Errorf("restarted: start_time_ns is unchanged")
	}
}

// survived checks that each of them still runs, or is paused, in the same life.
func (o *oddOnes) survived(t *testing.T) {
	for _, c := range o.containers {
		o.m.Survived(t, c)
	}
}
