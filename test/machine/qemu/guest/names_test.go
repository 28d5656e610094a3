//go:build estiba_guest

package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// monitor is the program of a shim under the name of another one.
func monitor(t *testing.T, name string) string {
	t.Helper()
	program := "/bin/" + name
	if err := os.Link(shimProgram, program); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	return program
}

// enter moves a process to a cgroup, which has only the controllers that it inherits.
func enter(t *testing.T, pid int, cgroup string) {
	t.Helper()
	dir := cgroupRoot + "/" + cgroup
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); err != nil {
		t.Fatal(err)
	}
}

// inCgroup starts a process that descends from no shim in a cgroup.
func inCgroup(t *testing.T, cgroup string, args ...string) int {
	t.Helper()
	dir, err := os.Open(makeCgroup(t, cgroup))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("/bin/load", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd.Process.Pid
}

// addUp checks that the containers and the rest are the host.
func addUp(t *testing.T, d *document) {
	t.Helper()
	for _, sum := range []struct{ host, part string }{
		{"host_processes", "processes_count"}, {"host_threads", "threads"}, {"host_rss_kb", "rss_kb"},
	} {
		total := d.unattributed.number(t, sum.part)
		for _, c := range d.containers {
			total += c.number(t, sum.part)
		}
		if want := d.host.number(t, sum.host); total != want {
			t.Errorf("%s: parts add up to %d, host has %d", sum.part, total, want)
		}
	}
	near(t, "processes in all parts", d.host.number(t, "host_processes"), uint64(len(allProcesses(t))), 3)
}

// has checks keys of a row; "" means that there must be none.
func (v values) has(t *testing.T, what string, want values) {
	t.Helper()
	for key, value := range want {
		if got, ok := v[key]; got != value || ok != (value != "") {
			t.Errorf("%s: %s %q, want %q: %v", what, key, got, value, v)
		}
	}
}

// One shim runs the containers of a pod: each is a row of its own.
func TestPods(t *testing.T) {
	module(t, "min_interval_ms=1")
	for _, form := range []struct{ name, cgroup string }{
		{"cgroupfs", "kubepods/besteffort/pod%d/%s"},
		{"systemd", "kubepods.slice/kubepods-pod%d.slice/cri-containerd-%s.scope"},
	} {
		sandbox, app, side := newID(), newID(), newID()
		path := func(id string) string { return fmt.Sprintf(form.cgroup, 1, id) }
		s := start(t, options{
			id: sandbox, cgroup: path(sandbox) + ";" + path(app) + ";" + path(side),
			load: "sleep;burst 300;threads 3", unshare: "n",
			args: []string{"-namespace", "k8s.io", "-id", sandbox},
		})
		pids := s.processes(t)
		settled(t, &shim{id: app})
		d := fresh(t)
		save(t, "pod-"+form.name, d.text)
		for i, id := range []string{sandbox, app, side} {
			pause := ""
			if id == sandbox {
				pause = "true"
			}
			c := d.container(t, id)
			c.has(t, form.name, values{
				"pid": strconv.Itoa(s.pid), "process_name": "containerd-shim", "namespace": "k8s.io",
				"runtime": "containerd", "pod": sandbox, "pause": pause, "user_id": "",
				"init_pid": strconv.Itoa(pids[i]), "command": "load", "cgroup": "/" + path(id),
				"cpu_source": "cgroup", "processes_count": "1", "threads": []string{"1", "1", "3"}[i],
			})
			dir := cgroupRoot + "/" + path(id)
			near(t, "cpu_ns", c.number(t, "cpu_ns")/1000, keyed(t, dir+"/cpu.stat", "usage_usec"), 1)
			near(t, "memory_cgroup_kb", c.number(t, "memory_cgroup_kb"), one(t, dir+"/memory.current")/1024, 512)
			c.number(t, "pressure_cpu_ns")
			if want := map[bool]string{true: "own", false: "shared"}[id == sandbox]; c["network"] != want {
				t.Errorf("%s: network %q, want %q", form.name, c["network"], want)
			}
		}
		if d.host["containers"] != "3" {
			t.Errorf("%s: containers %q, want 3", form.name, d.host["containers"])
		}
		addUp(t, d)

		// Without its shim a container goes on, if its cgroup's name suffices.
		before := d.container(t, app)
		s.cmd.Process.Kill()
		s.cmd.Wait()
		d = fresh(t)
		if form.name == "cgroupfs" {
			if len(d.containers) != 0 || len(d.ended) < 3 {
				t.Errorf("without the shim: %d running, %d ended", len(d.containers), len(d.ended))
			}
		} else {
			c := d.container(t, app)
			c.has(t, "without the shim", values{"pid": before["init_pid"], "pod": sandbox, "start_time_ns": before["start_time_ns"]})
			if c.number(t, "cpu_ns") < before.number(t, "cpu_ns") {
				t.Errorf("cpu_ns fell from %s to %s", before["cpu_ns"], c["cpu_ns"])
			}
			if d.find(sandbox) == nil || d.find(side) == nil {
				t.Errorf("without the shim:\n%s", d.text)
			}
			for _, e := range d.ended {
				if e["container_id"] == app {
					t.Errorf("ended and running: %v", e)
				}
			}
		}
		addUp(t, d)
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		eventually(t, "exit of the pod", func() bool { return len(fresh(t).containers) == 0 })
	}
}

// Containers of runtimes without shims, by the names of their cgroups.
func TestContainersWithoutShim(t *testing.T) {
	module(t, "min_interval_ms=1")
	pod := newID()
	for _, w := range []struct {
		what, monitor, home, cgroup string // %s: the id
		id                          string
		want                        values
	}{
		{"podman", "conmon", "machine.slice/libpod-conmon-%s.scope", "machine.slice/libpod-%s.scope/container", newID(), values{
			"runtime": "podman", "process_name": "conmon", "cgroup": "/machine.slice/libpod-%s.scope",
		}},
		{
			"podman pod", "conmon", "machine.slice/machine-libpod_pod_" + pod + ".slice/libpod-conmon-%s.scope",
			"machine.slice/machine-libpod_pod_" + pod + ".slice/libpod-%s.scope", newID(),
			values{"runtime": "podman", "process_name": "conmon", "pod": pod},
		},
		{
			"rootless podman", "conmon", "user.slice/user-1000.slice/user@1000.service/user.slice/libpod-conmon-%s.scope",
			"user.slice/user-1000.slice/user@1000.service/user.slice/libpod-%s.scope", newID(),
			values{"runtime": "podman", "user_id": "1000", "process_name": "conmon"},
		},
		{"cri-o", "conmon", "kubepods.slice/crio-conmon-%s.scope", "kubepods.slice/crio-%s.scope", newID(), values{"runtime": "cri-o", "process_name": "conmon"}},
		{"lxc", "lxc-start", "lxc.monitor.%s", "lxc.payload.%s", "my_web-1", values{"runtime": "lxc", "process_name": "lxc-start"}},
		{"nspawn", "systemd-nspawn", "machine.slice/machine-%s.scope/supervisor", "machine.slice/machine-%s.scope/payload", "deb", values{
			"runtime": "systemd-nspawn", "process_name": "systemd-nspawn", "cgroup": "/machine.slice/machine-%s.scope/payload",
		}},
		{"another parent", "sleeper", "system.slice/sleeper.service", "system.slice/docker-%s.scope", newID(), values{"runtime": "docker", "process_name": "load"}},
	} {
		if strings.Contains(w.home, "%s") {
			w.home = fmt.Sprintf(w.home, w.id)
		}
		w.cgroup = fmt.Sprintf(w.cgroup, w.id)
		s := start(t, options{
			id: w.id, program: monitor(t, w.monitor), args: []string{"-c", w.id},
			home: w.home, cgroup: w.cgroup, load: "burst 100;sleep", unshare: "pn",
		})
		c := settled(t, s)
		d := fresh(t)
		save(t, "name-"+strings.ReplaceAll(w.what, " ", "-"), d.text)
		pids := s.processes(t)
		want := values{
			"container_id": w.id, "pid": strconv.Itoa(s.pid), "namespace": "", "pause": "", "pod": "", "user_id": "",
			"init_pid": strconv.Itoa(pids[0]), "command": "load", "cgroup": "/" + w.cgroup, "cpu_source": "cgroup",
			"processes_count": "2", "threads": "2", "network": "own",
		}
		if w.monitor == "sleeper" {
			want["pid"] = want["init_pid"]
		}
		for key, value := range w.want {
			if key == "cgroup" {
				value = fmt.Sprintf(value, w.id)
			}
			want[key] = value
		}
		c.has(t, w.what, want)
		dir := cgroupRoot + "/" + w.cgroup
		near(t, w.what+": cpu_ns", c.number(t, "cpu_ns")/1000, keyed(t, dir+"/cpu.stat", "usage_usec"), 1)
		near(t, w.what+": memory_cgroup_kb", c.number(t, "memory_cgroup_kb"), one(t, dir+"/memory.current")/1024, 512)
		if len(d.containers) != 1 {
			t.Errorf("%s: %d containers:\n%s", w.what, len(d.containers), d.text)
		}
		addUp(t, d)
		// It ends with its last process, with its last totals.
		s.end(t)
		d = fresh(t)
		ended := false
		for _, e := range d.ended {
			ended = ended || e["container_id"] == w.id && e.number(t, "cpu_ns") >= c.number(t, "cpu_ns")
		}
		if len(d.containers) != 0 || !ended {
			t.Errorf("%s: after its end %v, ended %v", w.what, d.containers, d.ended)
		}
	}
}

// A plugin of Docker, and a process in a monitor's cgroup, belong to no container.
func TestHelpers(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	start(t, options{id: id, cgroup: "plugins.moby/" + id, args: []string{"-namespace", "plugins.moby", "-id", id}})
	inCgroup(t, "machine.slice/libpod-conmon-"+newID()+".scope")
	// Only a shim makes a container of such a name.
	inCgroup(t, "mine/"+newID())
	d := fresh(t)
	if len(d.containers) != 0 {
		t.Errorf("%s", d.text)
	}
	addUp(t, d)
}

// A user's container with the id of root's has a row of its own, and root's keeps its numbers.
func TestSameIDOfAnotherUser(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	user := func(n int, service string) string {
		return fmt.Sprintf("user.slice/user-%d.slice/%s/libpod-%s.scope", n, service, id)
	}
	inCgroup(t, user(1000, "user@1000.service/user.slice"), "threads", "5")
	inCgroup(t, user(1001, "session-2.scope"), "threads", "7")
	s := start(t, options{id: id, cgroup: "docker/" + id, load: "threads 3"})
	eventually(t, "the threads", func() bool {
		d := fresh(t)
		threads := map[string]string{}
		for _, c := range d.containers {
			if c["container_id"] != id {
				t.Fatalf("%v", c)
			}
			threads[c["user_id"]] = c["threads"]
		}
		if len(d.containers) != 3 {
			t.Fatalf("%d containers:\n%s", len(d.containers), d.text)
		}
		return threads[""] == "3" && threads["1000"] == "5" && threads["1001"] == "7"
	})
	d := fresh(t)
	save(t, "same-id", d.text)
	// Root's come first, also where the list is cut.
	d.containers[0].has(t, "root's", values{"pid": strconv.Itoa(s.pid), "user_id": "", "runtime": "docker"})
	d.containers[1].has(t, "the first user's", values{"user_id": "1000", "runtime": "podman"})
	addUp(t, d)
	s.end(t)
	if d := fresh(t); len(d.containers) != 2 || d.containers[0]["user_id"] == "" {
		t.Errorf("without root's:\n%s", d.text)
	}
}

// The virtual machine of Kata Containers does not descend from its shim.
func TestVirtualMachine(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	overhead, sandbox := "kata_overhead/"+id, "kubepods/pod1/kata_"+id
	s := start(t, options{id: id, cgroup: overhead, args: []string{"-namespace", "k8s.io", "-id", id}})
	inCgroup(t, sandbox, "burst", "300")
	inCgroup(t, overhead, "burst", "200")
	// The shim may be in there, too, but is never counted.
	enter(t, s.pid, overhead)
	c := settled(t, s)
	d := fresh(t)
	save(t, "kata", d.text)
	c.has(t, "kata", values{
		"pid": strconv.Itoa(s.pid), "processes_count": "3", "runtime": "kata", "pod": id, "pause": "",
		"init_pid": strconv.Itoa(s.processes(t)[0]), "cpu_source": "tasks", "cgroup": "",
	})
	if got := c.number(t, "cpu_ns"); got < 500e6 {
		t.Errorf("cpu_ns %d of 500 ms", got)
	}
	if len(d.containers) != 1 {
		t.Errorf("%s", d.text)
	}
	addUp(t, d)
}

// Names made inside a container, and processes that are moved.
func TestNamesInside(t *testing.T) {
	module(t, "min_interval_ms=1")
	outer, other := newID(), newID()
	s := start(t, options{id: outer, cgroup: "docker/" + outer, load: "sleep;sleep;sleep;sleep;sleep"})
	podman := "machine.slice/libpod-" + newID() + ".scope"
	inCgroup(t, podman)
	start(t, options{id: other, cgroup: "docker/" + other})
	pids := s.processes(t)
	inside := "docker/" + outer
	count := func(id, want string) {
		t.Helper()
		d := fresh(t)
		if got := d.container(t, id)["processes_count"]; got != want {
			t.Errorf("%s has %s processes, want %s:\n%s", id, got, want, d.text)
		}
		if len(d.containers) != 3 {
			t.Errorf("%d containers, want 3:\n%s", len(d.containers), d.text)
		}
		addUp(t, d)
	}
	nested := []string{inside + "/docker/" + newID(), inside + "/machine.slice/libpod-" + newID() + ".scope", inside + "/plugins.moby/" + newID()}
	for i, cgroup := range nested {
		enter(t, pids[i], cgroup)
	}
	t.Cleanup(func() {
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, cgroup := range nested {
			eventually(t, "removal of "+cgroup, func() bool { return os.Remove(cgroupRoot+"/"+cgroup) == nil })
			os.Remove(filepath.Dir(cgroupRoot + "/" + cgroup))
		}
	})
	count(outer, "5")
	// Into the cgroup of another shim: it stays with its own.
	enter(t, pids[3], "docker/"+other)
	count(outer, "5")
	count(other, "1")
	// Out of all containers.
	enter(t, pids[3], "system.slice/nothing.service")
	count(outer, "5")
	// One without a shim moves from container to container.
	stray := inCgroup(t, "system.slice/cron.service", "threads", "2")
	count(other, "1")
	enter(t, stray, "docker/"+other)
	count(other, "2")
	enter(t, stray, podman)
	count(other, "1")
	count(strings.TrimSuffix(strings.TrimPrefix(podman, "machine.slice/libpod-"), ".scope"), "2")
}

// Containers in a container: what has a shim of its own is not the outer one's, and the
// outer one's runtime is.
func TestContainersInContainers(t *testing.T) {
	module(t, "min_interval_ms=1")
	inner, outer := newID(), "lxc.payload.outer"
	s := start(t, options{
		id: inner, home: outer + "/docker.service", cgroup: outer + "/docker/" + inner,
		load: "burst 200", runtime: "sleep",
	})
	settled(t, s)
	d := fresh(t)
	save(t, "nested", d.text)
	d.container(t, inner).has(t, "inner", values{"processes_count": "1", "cgroup": "/" + outer + "/docker/" + inner, "cpu_source": "cgroup"})
	// The shim and the runtime it called. Its cgroup contains the inner one's.
	d.container(t, "outer").has(t, "outer", values{"processes_count": "2", "runtime": "lxc", "cpu_source": "tasks", "pod": ""})
	addUp(t, d)
}

// Restarted with the same id, a container has a new cgroup and counts from zero.
func TestRestartWithoutShim(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	o := options{
		id: id, program: monitor(t, "conmon"), args: []string{"-c", id}, unshare: "p",
		home: "machine.slice/libpod-conmon-" + id + ".scope", cgroup: "machine.slice/libpod-" + id + ".scope",
	}
	o.load = "burst 400"
	first := start(t, o)
	before := settled(t, first)
	first.end(t)
	// Nobody read in between.
	o.load = "burst 100"
	second := start(t, o)
	after := settled(t, second)
	d := fresh(t)
	save(t, "restart", d.text)
	if after["start_time_ns"] == before["start_time_ns"] || after["pid"] == before["pid"] {
		t.Errorf("the same life: %v", after)
	}
	near(t, "cpu_ns after a restart", after.number(t, "cpu_ns")/1000, keyed(t, second.cgroup+"/cpu.stat", "usage_usec"), 1)
	if len(d.ended) != 1 || d.ended[0]["container_id"] != id || d.ended[0].number(t, "cpu_ns") < before.number(t, "cpu_ns") {
		t.Errorf("ended: %v", d.ended)
	}
	if len(d.containers) != 1 {
		t.Errorf("%s", d.text)
	}
}

// Cgroups of other things, of which there may be many, cost little and are forgotten.
func TestManyOtherCgroups(t *testing.T) { manyOtherCgroups(t, 200) }

// More than the table of cgroups has at first. Forks and moves take minutes.
func TestLongOtherCgroups(t *testing.T) { manyOtherCgroups(t, 2000) }

func manyOtherCgroups(t *testing.T, many int) {
	t.Helper()
	module(t, "min_interval_ms=1")
	s := start(t, options{load: "orphans " + strconv.Itoa(many-1)})
	// A busy machine forks slowly.
	for begin := time.Now(); ; time.Sleep(time.Second) {
		got := fresh(t).container(t, s.id)["processes_count"]
		if got == strconv.Itoa(many) {
			break
		}
		if time.Since(begin) > 2*time.Minute {
			t.Fatalf("%s of %d processes", got, many)
		}
	}
	pids := s.processes(t)
	for i, pid := range pids {
		enter(t, pid, fmt.Sprintf("system.slice/service-%d.service", i))
	}
	for range 3 {
		if got := fresh(t).container(t, s.id)["processes_count"]; got != strconv.Itoa(many) {
			t.Errorf("processes_count %s, want %d", got, many)
		}
	}
	podman := newID()
	enter(t, pids[many-1], "machine.slice/libpod-"+podman+".scope")
	d := fresh(t)
	save(t, "other-cgroups", d.text)
	d.container(t, podman).has(t, "one of them", values{"processes_count": "1", "pod": s.id})
	addUp(t, d)
	s.end(t)
	for range 2 {
		if d := fresh(t); len(d.containers) != 0 {
			t.Errorf("%s", d.text)
		}
	}
	for i := range many {
		os.Remove(fmt.Sprintf("%s/system.slice/service-%d.service", cgroupRoot, i))
	}
}

// Containers and cgroups vanish while they are read.
func TestNamesVanish(t *testing.T) {
	module(t, "min_interval_ms=1")
	stop := reading(func() {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		} else if _, err := parse(text); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	})
	for begin := time.Now(); time.Since(begin) < 4*time.Second; {
		cgroup := makeCgroup(t, "machine.slice/libpod-"+newID()+".scope")
		cmd := exec.Command("/bin/load", "exits", "8")
		dir, err := os.Open(cgroup)
		if err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		dir.Close()
		time.Sleep(20 * time.Millisecond)
		os.WriteFile(cgroup+"/cgroup.kill", []byte("1"), 0)
		cmd.Process.Kill()
		cmd.Wait()
		eventually(t, "removal of "+cgroup, func() bool {
			// Kernels before 5.14 lack cgroup.kill.
			procs, _ := os.ReadFile(cgroup + "/cgroup.procs")
			for _, pid := range strings.Fields(string(procs)) {
				n, _ := strconv.Atoi(pid)
				syscall.Kill(n, syscall.SIGKILL)
			}
			return os.Remove(cgroup) == nil
		})
	}
	stop()
	d := fresh(t)
	if len(d.containers) != 0 || d.host["containers"] != "0" {
		t.Errorf("%s", d.text)
	}
	addUp(t, d)
}

// In v1, where cgroups can be renamed, the names count if that of v2 is not a container's.
func TestNamesInV1(t *testing.T) {
	const hierarchy = "/tmp/v1"
	if err := os.MkdirAll(hierarchy, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("cgroup", hierarchy, "cgroup", 0, "pids"); err != nil {
		t.Fatalf("mount the v1 hierarchy of pids: %v", err)
	}
	module(t, "min_interval_ms=1")
	id, renamed := newID(), newID()
	dir := filepath.Join(hierarchy, "docker", id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	pid := inCgroup(t, "v1test", "threads", "4")
	t.Cleanup(func() {
		syscall.Kill(pid, syscall.SIGKILL)
		eventually(t, "removal of the v1 hierarchy", func() bool {
			os.Remove(hierarchy + "/docker/" + renamed)
			os.Remove(hierarchy + "/docker/" + id)
			os.Remove(hierarchy + "/docker")
			return syscall.Unmount(hierarchy, 0) == nil
		})
	})
	if len(fresh(t).containers) != 0 {
		t.Errorf("%s", fresh(t).text)
	}
	if err := os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); err != nil {
		t.Fatal(err)
	}
	d := fresh(t)
	save(t, "v1", d.text)
	d.container(t, id).has(t, "v1", values{
		"runtime": "docker", "processes_count": "1", "cpu_source": "tasks", "cgroup": "", "init_pid": strconv.Itoa(pid), "pid": strconv.Itoa(pid),
	})
	addUp(t, d)
	// The name in v2 counts first.
	podman := newID()
	enter(t, pid, "machine.slice/libpod-"+podman+".scope")
	if d := fresh(t); len(d.containers) != 1 || d.find(podman) == nil {
		t.Errorf("named in v2, too:\n%s", d.text)
	}
	enter(t, pid, "v1test")
	// A new name is known after a while.
	if err := os.Rename(dir, filepath.Join(hierarchy, "docker", renamed)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new name", func() bool {
		d := fresh(t)
		time.Sleep(100 * time.Millisecond)
		return len(d.containers) == 1 && d.find(renamed) != nil
	})
}
