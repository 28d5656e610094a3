//go:build estiba_guest

package guest

import (
	"bufio"
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

// Cgroups are named by whoever makes them, with any byte but NUL, slash and
// newline: escaped, such a path is six times as long as the largest one.
func TestHostileCgroupNames(t *testing.T) {
	module(t, "min_interval_ms=1")
	names := map[string]string{
		`"},{"pid":"1`:                        "",
		"\x01\x02\x1b\x1f\x7f\\\"":            "",
		"\xff\xfe\xc3(":                       "\ufffd\ufffd\ufffd(",
		strings.Repeat("\x7f", 250):           "",
		strings.Repeat("\xf0\x9f\x98\x80", 5): "",
	}
	// The longest path that is still told, and one that is longer.
	long := strings.Repeat("\x01", 250) + "/" + strings.Repeat("\x02", 254)
	names[long] = ""
	longer := strings.Repeat("\x03", 255) + "/" + strings.Repeat("\x04", 255) + "/x"
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

// Whoever calls himself a shim without being one, in all the ways one can.
func TestFakeShims(t *testing.T) {
	module(t, "min_interval_ms=1")
	nobody := &syscall.Credential{Uid: 1000, Gid: 1000}
	// Real root, but only since it was started, by a link with the name.
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
	eventually(t, "root by a link", func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", linked.Process.Pid))
		children := (&shim{pid: linked.Process.Pid}).processes(t)
		return strings.Contains(string(b), "\nUid:\t0\t0\t0\t0\n") && comm(linked.Process.Pid) == "containerd-shim" && len(children) > 0
	})

	fake := func() string { return "-namespace moby -id " + newID() }
	containers := map[*shim]int{
		victim: 1,
		// Root inside a container with namespaces of its own.
		start(t, options{unshare: "p", load: "exec " + shimProgram + " " + fake()}): 2,
		// Root inside a container in the host's pid namespace.
		start(t, options{load: "exec " + shimProgram + " " + fake()}): 2,
		// The same in the other's grandchild, in a user and pid namespace below.
		start(t, options{load: "exec unshare -Urpf " + shimProgram + " " + fake()}): 3,
	}
	// A container in the host's pid namespace whose fake shim left its parents.
	orphan := start(t, options{load: "exec sh -c (setsid${IFS}" + shimProgram + "${IFS}-id${IFS}" + newID() + "&)&&exec${IFS}sleep${IFS}1000"})
	containers[orphan] = 3
	// On their way there the shells have other processes.
	for s, processes := range containers {
		eventually(t, "the processes of "+s.id, func() bool {
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

// What the README says of containers in the host's pid namespace: who is real
// root there and outlives his shim can pass for one.
func TestRootOfTheHostCanPassForAShim(t *testing.T) {
	module(t, "min_interval_ms=1")
	id := newID()
	// What it starts must live elsewhere than it does, too.
	s := start(t, options{load: "exec env SHIM_UNSHARE=p " + shimProgram + " -namespace moby -id " + id})
	eventually(t, "the shim inside", func() bool { return len(s.processes(t)) == 2 })
	left := s.processes(t)
	defer func() {
		for _, pid := range left {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}()
	if d := fresh(t); d.find(id) != nil {
		t.Errorf("believed below its shim:\n%s", d.text)
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	if d := fresh(t); d.find(id) == nil {
		t.Errorf("not believed without its shim, the README is wrong:\n%s", d.text)
	}
}

// A user keeps a number of documents, and nobody else is the worse for it.
func TestFilesOfAUser(t *testing.T) {
	module(t, "min_interval_ms=1")
	opens := func(credential *syscall.Credential, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(line)
	}
	alice, bob := &syscall.Credential{Uid: 1000, Gid: 1000}, &syscall.Credential{Uid: 1001, Gid: 1001}
	// Runs after those of the steps.
	t.Cleanup(func() {
		if got := opens(alice, "/bin/load", "open", "1", file); got != "1" {
			t.Errorf("after all are closed: %s", got)
		}
	})
	for _, step := range []struct {
		who       *syscall.Credential
		namespace bool
		n, want   string
	}{
		{alice, false, "40", "40"},
		{alice, false, "40", "24 Too many open files"},
		{alice, true, "1", "0 Too many open files"}, // as root of her own namespace
		{bob, true, "30", "30"},
		{bob, true, "50", "34 Too many open files"}, // another namespace of his
		{nil, false, "200", "200"},
	} {
		args := []string{"/bin/load", "open", step.n, file}
		if step.namespace {
			args = append([]string{"unshare", "-Ur"}, args...)
		}
		if got := opens(step.who, args[0], args[1:]...); got != step.want {
			t.Errorf("%v, own namespace %v: opened %s times: %s, want %s", step.who, step.namespace, step.n, got, step.want)
		}
	}
	read(t)
}

// Containers that die while they are read, all at once and again and again.
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
		// What was forked meanwhile.
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

// A container may have any number of interfaces and send them away while they
// are counted.
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
	// Back and forth, those at which the counting rests among them.
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
			t.Errorf("net_tx_bytes fell from %d to %d", last, now)
		}
		last = now
	}
	syscall.Kill(-move.Process.Pid, syscall.SIGKILL)
	move.Wait()
	if want, _ := strconv.ParseUint(sent, 10, 64); last != want {
		t.Errorf("net_tx_bytes %d, want %d", last, want)
	}
}

// 10,000 containers: the document is whole, and each is in it once.
func TestLongManyContainers(t *testing.T) {
	const many = 10000
	id := newID()
	for name, value := range map[string]string{"pid_max": "4000000", "threads-max": "1000000"} {
		if err := os.WriteFile("/proc/sys/kernel/"+name, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	module(t)
	cmd := exec.Command(shimProgram, "-namespace", "moby", "-id", id)
	cmd.Env = append(apart(t), "SHIM_MANY="+strconv.Itoa(many))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
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
