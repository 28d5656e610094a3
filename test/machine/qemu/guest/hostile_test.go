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

// Names of cgroups can contain any byte except NUL, slash and newline. Escaped, such a
// path is six times as long.
func TestHostileCgroupNames(t *testing.T) {
	module(t, "min_interval_ms=1")
	names := map[string]string{
		`"},{"pid":"1`:                        "",
		"\x01\x02\x1b\x1f\x7f\\\"":            "",
		"\xff\xfe\xc3(":                       "\ufffd\ufffd\ufffd(",
		strings.Repeat("\x7f", 250):           "",
		strings.Repeat("\xf0\x9f\x98\x80", 5): "",
	}
	// The longest path that is included, and a longer one.
	long := strings.Repeat("\x01", 255) + "/" + strings.Repeat("\x02", 255)
	names[long] = ""
	longer := strings.Repeat("\x03", 255) + "/" + strings.Repeat("\x04", 254) + "/x"
	shims := map[string]*shim{}
	for name := range names {
		shims[name] = start(t, options{cgroup: name})
	}
	without := start(t, options{cgroup: longer})
	d := fresh(t)
	save(t, "hostile-cgroups", d.text)
	for name, want := range names {
		if want == "" {
			want = name
		}
		c := d.container(t, shims[name].id)
		if c["cgroup"] != "/"+want || c["cpu_source"] != "cgroup" {
			t.Errorf("cgroup %q, want %q: %v", c["cgroup"], "/"+want, c)
		}
	}
	c := d.container(t, without.id)
	if path, ok := c["cgroup"]; ok || c["cpu_source"] != "cgroup" {
		t.Errorf("too long: cgroup %q, cpu_source %q", path, c["cpu_source"])
	}
}

// A container keeps its own cgroup, wherever below it the processes move and however deep
// it is itself.
func TestDeepCgroups(t *testing.T) {
	module(t, "min_interval_ms=1")
	long := strings.Repeat("l", 255)
	for _, c := range []struct {
		name, above, below string
		untold             bool
	}{
		{name: "a long path below", above: "docker", below: strings.Repeat("/"+long, 4)},
		{name: "many levels below", above: "docker", below: strings.Repeat("/d", 600)},
		{name: "a long path above", above: long + "/" + long, below: "/" + long, untold: true},
		{name: "many levels above", above: "docker" + strings.Repeat("/u", 40), below: strings.Repeat("/d", 300)},
	} {
		id := newID()
		s := start(t, options{id: id, cgroup: c.above + "/" + id, load: "mem 8"})
		eventually(t, "the memory", func() bool { return one(t, s.cgroup+"/memory.current") >= 8<<20 })
		// Without controllers below, memory is that of the own cgroup.
		dir := s.cgroup + c.below
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		move := func(to string) {
			for _, pid := range s.processes(t) {
				if err := os.WriteFile(to+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, where := range []string{s.cgroup, dir} {
			move(where)
			row := fresh(t).container(t, id)
			want := "/" + c.above + "/" + id
			if c.untold {
				want = ""
			}
			if row["cgroup"] != want || row["cpu_source"] != "cgroup" {
				t.Errorf("%s: cgroup %q, want %q, cpu_source %q", c.name, row["cgroup"], want, row["cpu_source"])
			}
			if _, ok := row["memory_cgroup_kb"]; !ok {
				t.Errorf("%s: no memory cgroup: %v", c.name, row)
			} else {
				near(t, c.name+": memory_cgroup_kb", row.number(t, "memory_cgroup_kb"), one(t, s.cgroup+"/memory.current")/1024, 512)
			}
		}
		move(s.cgroup)
		for ; dir != s.cgroup; dir = filepath.Dir(dir) {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
		}
		s.end(t)
	}
}

// Processes that look like a shim, in every way.
func TestFakeShims(t *testing.T) {
	module(t, "min_interval_ms=1")
	nobody := &syscall.Credential{Uid: 1000, Gid: 1000}
	// A setuid program, started through a link with the name of a shim.
	dir := "/tmp/links"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod("/bin/suid", 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "containerd-shim-runc-v2")
	if err := os.Symlink("/bin/suid", link); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	victim := start(t, options{})
	linked := exec.Command(link, "-namespace", "moby", "-id", victim.id)
	linked.SysProcAttr = &syscall.SysProcAttr{Credential: nobody}
	if err := linked.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		linked.Process.Kill()
		linked.Wait()
	}()
	eventually(t, "setuid program", func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", linked.Process.Pid))
		children := (&shim{pid: linked.Process.Pid}).processes(t)
		return strings.Contains(string(b), "\nUid:\t0\t0\t0\t0\n") && comm(linked.Process.Pid) == "containerd-shim" && len(children) > 0
	})

	fake := func() string { return "-namespace moby -id " + newID() }
	containers := map[*shim]int{
		victim: 1,
		// Root in a container with its own namespaces.
		start(t, options{unshare: "p", load: "exec " + shimProgram + " " + fake()}): 2,
		// Root in a container in the host's pid namespace.
		start(t, options{load: "exec " + shimProgram + " " + fake()}): 2,
		// The same, in a grandchild in a nested user and pid namespace.
		start(t, options{load: "exec unshare -Urpf " + shimProgram + " " + fake()}): 3,
	}
	// A container in the host's pid namespace whose fake shim is orphaned.
	orphan := start(t, options{load: "exec sh -c (setsid${IFS}" + shimProgram + "${IFS}-id${IFS}" + newID() + "&)&&exec${IFS}sleep${IFS}1000"})
	containers[orphan] = 3
	// The shells have other processes before.
	for s, processes := range containers {
		eventually(t, "processes of "+s.id, func() bool {
			c := fresh(t).find(s.id)
			return len(s.processes(t)) == processes && c != nil && c.number(t, "processes_count") == uint64(processes)
		})
	}
	d := fresh(t)
	save(t, "fake-shims", d.text)
	if len(d.containers) != len(containers) {
		t.Errorf("%d containers, want %d:\n%s", len(d.containers), len(containers), d.text)
	}
}

// An id can be a single letter. A cgroup is named after it only if the whole name matches.
func TestShortIDs(t *testing.T) {
	module(t, "min_interval_ms=1")
	for _, c := range []struct{ id, cgroup, own string }{
		{"d", "default/x1", "/default/x1"},
		{"e", "e/inner", "/e"},
		{"f", "system/docker-f.scope/init", "/system/docker-f.scope"},
		{"b", "system/docker-a-b.scope/init", "/system/docker-a-b.scope/init"},
		{"g", "system/cri-containerd-g.scope/init", "/system/cri-containerd-g.scope"},
		{"containerd-h", "system/cri-containerd-h.scope/init", "/system/cri-containerd-h.scope/init"},
		{"i", "pods/kubepods.slice:cri-containerd:i/init", "/pods/kubepods.slice:cri-containerd:i"},
		{"j", "docker-j.scope.d/x2", "/docker-j.scope.d/x2"},
		{"k", "k.slice/x3", "/k.slice/x3"},
	} {
		s := start(t, options{id: c.id, cgroup: c.cgroup})
		if got := fresh(t).container(t, c.id)["cgroup"]; got != c.own {
			t.Errorf("container %s in %s: own cgroup %s, want %s", c.id, c.cgroup, got, c.own)
		}
		s.end(t)
	}
	// An id that is also the name of a parent cgroup.
	e := start(t, options{id: "e", cgroup: "e/e"})
	whose := func(when, outer, source string) {
		t.Helper()
		row := fresh(t).container(t, "e")
		if row["cgroup"] != outer || row["cpu_source"] != source {
			t.Errorf("container e %s: own cgroup %q, want %q, cpu_source %q", when, row["cgroup"], outer, row["cpu_source"])
		}
		// The CPU time of the other container.
		if got := row.number(t, "cpu_ns"); got > 500e6 {
			t.Errorf("container e %s: cpu_ns %d", when, got)
		}
	}
	whose("alone", "/e", "cgroup")
	x := start(t, options{id: "x", cgroup: "e/x", load: "burst 1000"})
	eventually(t, "CPU time of x", func() bool {
		row := fresh(t).container(t, "x")
		if row["cgroup"] != "/e/x" || row["cpu_source"] != "cgroup" {
			t.Fatalf("container x next to e: own cgroup %q", row["cgroup"])
		}
		return row.number(t, "cpu_ns") >= 900e6 // less what it used before it was in its cgroup
	})
	whose("beside x", "", "tasks")
	x.end(t)
	whose("after x", "", "tasks")
	e.end(t)
}

// A shim with the id of another container does not replace it, not even if it is older.
func TestTakenIDs(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	rows := func() (found []values) {
		for _, c := range fresh(t).containers {
			if c["container_id"] == id && c["state"] == "running" {
				found = append(found, c)
			}
		}
		return found
	}
	thief := start(t, options{id: id, args: []string{"-namespace", "other", "-id", id}})
	if found := rows(); len(found) != 1 || found[0]["pid"] != strconv.Itoa(thief.pid) {
		t.Fatalf("%v", found)
	}
	owner := start(t, options{id: id, cgroup: "docker/" + id, load: "threads 3"})
	if found := rows(); len(found) != 1 || found[0]["pid"] != strconv.Itoa(owner.pid) {
		t.Errorf("of the shims %d and %d, in cgroup %s: %v", thief.pid, owner.pid, owner.cgroup, found)
	}
	near(t, "processes in all parts", fresh(t).host.number(t, "host_processes"), uint64(len(allProcesses(t))), 3)
	// Two namespaces may each have a container with the same id.
	for _, namespace := range []string{"one", "two"} {
		start(t, options{id: "redis", cgroup: namespace + "/redis", args: []string{"-namespace", namespace, "-id", "redis"}})
	}
	n := 0
	for _, c := range fresh(t).containers {
		if c["container_id"] == "redis" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d containers in two namespaces, want 2", n)
	}
	// Root without capabilities is not a shim.
	fake := newID()
	cmd := exec.Command(shimProgram, "-namespace", "moby", "-id", fake)
	cmd.Env = append(apart(t), "SHIM_NOCAPS=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, pid := range (&shim{pid: cmd.Process.Pid}).processes(t) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		cmd.Process.Kill()
		cmd.Wait()
	}()
	eventually(t, "root without capabilities", func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		return strings.Contains(string(b), "\nCapEff:\t0000000000000000\n") && len((&shim{pid: cmd.Process.Pid}).processes(t)) == 1
	})
	if c := fresh(t).find(fake); c != nil {
		t.Errorf("listed without capabilities: %v", c)
	}
}

// As in the README: real root in a container in the host's pid namespace that outlives its
// shim can pass for one.
func TestHostRootCanForgeShim(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	// Its child must be in another cgroup than itself, too.
	s := start(t, options{load: "exec env SHIM_UNSHARE=p " + shimProgram + " -namespace moby -id " + id})
	eventually(t, "the nested shim", func() bool { return len(s.processes(t)) == 2 })
	left := s.processes(t)
	defer func() {
		for _, pid := range left {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}()
	if d := fresh(t); d.find(id) != nil {
		t.Errorf("listed below its shim:\n%s", d.text)
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	if d := fresh(t); d.find(id) == nil {
		t.Errorf("not listed without its shim, unlike in the README:\n%s", d.text)
	}
}

// A user may have a number of files open, without an effect on other users.
func TestFilesOfAUser(t *testing.T) {
	module(t, "min_interval_ms=1")
	alice := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	bob := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1001, Gid: 1001}}
	// Runs after the clean-ups of the steps.
	t.Cleanup(func() {
		if got := opens(t, alice, "/bin/load", "open", "1", file); got != "1" {
			t.Errorf("after closing all: %s", got)
		}
	})
	for _, step := range []struct {
		who       *syscall.SysProcAttr
		namespace bool
		n, want   string
	}{
		{alice, false, "40", "40"},
		{alice, false, "40", "24 Too many open files"},
		{alice, true, "1", "0 Too many open files"}, // as root of a user namespace
		{bob, true, "30", "30"},
		{bob, true, "50", "34 Too many open files"}, // another namespace of the same user
		{nil, false, "200", "200"},
	} {
		args := []string{"/bin/load", "open", step.n, file}
		if step.namespace {
			args = append([]string{"unshare", "-Ur"}, args...)
		}
		if got := opens(t, step.who, args...); got != step.want {
			t.Errorf("%v, user namespace %v: opened %s times: %s, want %s", step.who, step.namespace, step.n, got, step.want)
		}
	}
	read(t)
}

// Containers that exit while they are read, all at once, repeatedly.
func TestExitStorm(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	stays := []*shim{
		start(t, options{id: id, cgroup: "docker/" + id, load: "exits 16"}),
		start(t, options{load: "exits 16", unshare: "p"}),
	}
	stop := reading(func() {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		} else if _, err := parse(text); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	})
	for begin := time.Now(); time.Since(begin) < 4*time.Second; {
		var victims []int
		var cmds []*exec.Cmd
		for i := range 6 {
			cmd := exec.Command(shimProgram, "-namespace", "moby", "-id", newID())
			cmd.Env = append(apart(t), "SHIM_LOAD=chain 20;threads 20", "SHIM_UNSHARE="+[]string{"", "p", "pn"}[i%3])
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			cmds = append(cmds, cmd)
		}
		for _, cmd := range cmds {
			victims = append(victims, (&shim{pid: cmd.Process.Pid}).processes(t)...)
		}
		for i, pid := range victims {
			if i%2 == 0 {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		for _, cmd := range cmds {
			cmd.Process.Kill()
			cmd.Wait()
		}
		for _, pid := range victims {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		// Processes forked in between.
		for _, pid := range allProcesses(t) {
			if f := stat(pid); comm(pid) == "load" && len(f) > 1 && f[1] == "1" {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	stop()
	d := fresh(t)
	save(t, "exit-storm", d.text)
	for _, s := range stays {
		d.container(t, s.id)
	}
	if got := d.host["containers"]; got != strconv.Itoa(len(stays)) {
		t.Errorf("containers %s, want %d", got, len(stays))
	}
}

// A container may have any number of interfaces and move them away while they are read.
func TestManyInterfaces(t *testing.T) {
	module(t, "min_interval_ms=1")
	const interfaces = 150
	a := start(t, options{unshare: "n"})
	b := start(t, options{unshare: "n"})
	d := fresh(t)
	from, to := d.container(t, a.id)["init_pid"], d.container(t, b.id)["init_pid"]
	inside := func(pid, script string) *exec.Cmd {
		return exec.Command("nsenter", "-t", pid, "-n", "sh", "-c", script)
	}
	script := `i=0; while [ $i -lt ` + strconv.Itoa(interfaces) + ` ]; do ip link add d$i type dummy || exit 1; i=$((i+1)); done
ip addr add 10.99.0.1/24 dev d140; ip link set d140 up; ping -c 3 -A -W 1 -q 10.99.0.2 >/dev/null; ip link set d140 down`
	if out, err := inside(from, script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dev, err := os.ReadFile("/proc/" + from + "/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(dev), "d140:")
	sent := strings.Fields(line)[8]
	if got := fresh(t).container(t, a.id)["net_tx_bytes"]; got != sent || sent == "0" {
		t.Errorf("net_tx_bytes %s, want %s", got, sent)
	}
	once := "ip link set d60 netns " + to + " && nsenter -t " + to + " -n ip link set d60 netns " + from
	if out, err := inside(from, once).CombinedOutput(); err != nil {
		t.Fatalf("move an interface: %v: %s", err, out)
	}
	// Back and forth, including those at which the module reschedules.
	move := inside(from, `while :; do for i in 60 61 62 63 64 65 126 127 128; do ip link set d$i netns `+to+
		`; nsenter -t `+to+` -n ip link set d$i netns `+from+`; done; done`)
	move.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := move.Start(); err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for begin := time.Now(); time.Since(begin) < 4*time.Second; {
		now := fresh(t).container(t, a.id).number(t, "net_tx_bytes")
		if now < last {
			t.Errorf("net_tx_bytes decreased from %d to %d", last, now)
		}
		last = now
	}
	syscall.Kill(-move.Process.Pid, syscall.SIGKILL)
	move.Wait()
	if want, _ := strconv.ParseUint(sent, 10, 64); last != want {
		t.Errorf("net_tx_bytes %d, want %d", last, want)
	}
}

// 10,000 containers: the document is complete and lists each once.
func TestLongManyContainers(t *testing.T) {
	const many = 10000
	id := newID()
	for name, value := range map[string]string{"pid_max": "4000000", "threads-max": "1000000"} {
		if err := os.WriteFile("/proc/sys/kernel/"+name, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	module(t)
	manyContainers(t, id, many)
	for round := range 3 {
		d := fresh(t)
		seen := map[string]bool{}
		for _, c := range d.containers {
			seen[c["container_id"]] = true
			if c["processes_count"] != "1" {
				t.Fatalf("%v", c)
			}
		}
		for i := range many {
			if want := fmt.Sprintf("%s%08d", id[:len(id)-8], i); !seen[want] {
				t.Fatalf("container %s is missing", want)
			}
		}
		if len(seen) != many || d.host["containers"] != strconv.Itoa(many) || d.host["truncated"] != "" {
			t.Errorf("%d containers, containers %s, truncated %q", len(seen), d.host["containers"], d.host["truncated"])
		}
		t.Logf("round %d: %d bytes, collect_ns %s", round, len(d.text), d.host["collect_ns"])
	}
	if d := fresh(t); len(d.text) > 0 {
		save(t, "many", d.text)
	}
}
