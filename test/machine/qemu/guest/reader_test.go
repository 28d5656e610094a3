//go:build estiba_guest

package guest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Hostile readers: the priority, limits, memory and files of a reader must not affect
// others.

var nobody = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}

// begin starts a program, which is killed after the test.
func begin(t *testing.T, attr *syscall.SysProcAttr, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = attr
	beginCmd(t, cmd)
	return cmd
}

// beginCmd starts cmd and kills it after the test, with its process group if it leads one.
func beginCmd(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pid := cmd.Process.Pid
		if cmd.SysProcAttr != nil && cmd.SysProcAttr.Setpgid {
			pid = -pid
		}
		syscall.Kill(pid, syscall.SIGKILL)
		cmd.Wait()
	})
}

// firstLine starts cmd and returns its first line of output.
func firstLine(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	beginCmd(t, cmd)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %q, exited without output: %v", cmd.Args, line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// opens returns the output of /bin/load open, which keeps the files open until the test
// ends: how often open worked, and the error.
func opens(t *testing.T, attr *syscall.SysProcAttr, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = attr
	return strings.TrimSpace(firstLine(t, cmd))
}

// longestOpen opens the file repeatedly, on the first CPU, and returns the longest time
// and the age of the oldest document.
func longestOpen(t *testing.T, times int) (took, age time.Duration) {
	t.Helper()
	for range times {
		begun := time.Now()
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		took = max(took, time.Since(begun))
		now := boottime(t)
		text, err := io.ReadAll(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		d, err := parse(text)
		if err != nil {
			t.Fatal(err)
		}
		age = max(age, time.Duration(now-d.host.number(t, "boottime_ns")))
		time.Sleep(20 * time.Millisecond)
	}
	return took, age
}

// limits creates a cgroup with limits, to be joined by "echo 0 >" in a shell.
func limits(t *testing.T, name string, limits map[string]string) (procs string) {
	t.Helper()
	dir := makeCgroup(t, name)
	for file, value := range limits {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		eventually(t, "removal of "+name, func() bool { return os.Remove(dir) == nil })
	})
	return dir + "/cgroup.procs"
}

// in returns a command that joins a cgroup and then runs another command.
func in(procs, command string) []string {
	return []string{"sh", "-c", "echo 0 > " + procs + " && exec " + command}
}

// as returns the start of a command: /bin/load as another user.
func as(user int) string { return fmt.Sprintf("/bin/load as %d ", user) }

// unload removes the module. It waits for a reader that was preempted within a call, and
// one with a thousandth of a CPU can take 20 s for some milliseconds of work: after a while
// end gives readers their CPU back. The module may wait for nothing else.
func unload(t *testing.T, end func()) {
	t.Helper()
	begun := time.Now()
	done := make(chan error, 1)
	go func() {
		out, err := exec.Command("rmmod", "estiba").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		done <- err
	}()
	var err error
	select {
	case err = <-done:
	case <-time.After(10 * time.Second):
		end()
		select {
		case err = <-done:
		case <-time.After(20 * time.Second):
			err = errors.New("no reader is starved, and it still waits")
		}
	}
	if err != nil {
		t.Fatalf("rmmod: %v", err)
	}
	t.Logf("rmmod took %s", time.Since(begun))
}

func TestStarvedReaders(t *testing.T) {
	module(t, "min_interval_ms=1")
	for range 20 {
		start(t, options{load: "threads 10"})
	}
	quiet, _ := longestOpen(t, 50)
	idle := "taskset 2 /bin/load idle openagain " + file
	for name, attack := range map[string]func(t *testing.T) (end func()){
		"idle priority": func(t *testing.T) (end func()) {
			var busy []*exec.Cmd
			for range 2 {
				busy = append(busy, begin(t, nobody, "taskset", "2", "/bin/load", "cpu", "1"))
			}
			for range 4 {
				begin(t, nobody, "sh", "-c", "exec "+idle)
			}
			return func() {
				for _, cmd := range busy {
					cmd.Process.Kill()
				}
			}
		},
		"CPU limit": func(t *testing.T) (end func()) {
			procs := limits(t, "slow", map[string]string{"cpu.max": "1000 1000000"})
			for range 4 {
				args := in(procs, as(1000)+"openagain "+file)
				begin(t, nil, args[0], args[1:]...)
			}
			return func() { os.WriteFile(filepath.Dir(procs)+"/cpu.max", []byte("max"), 0) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			end := attack(t)
			// Starved readers exit as slowly as they run.
			t.Cleanup(end)
			time.Sleep(time.Second)
			took, age := longestOpen(t, 80)
			t.Logf("longest open %s, %s without other readers; oldest document %s", took, quiet, age)
			// An emulated machine on a busy host is slow: this is a
			// tenth of the time it took when readers did the walk.
			if took > quiet+time.Second {
				t.Errorf("open took %s, %s without other readers", took, quiet)
			}
			if age > 3*time.Second {
				t.Errorf("a document was %s old", age)
			}
			unload(t, end)
			if out, err := insmod("min_interval_ms=1"); err != nil {
				t.Fatalf("insmod: %v: %s", err, out)
			}
		})
	}
}

// manyContainers starts containers; the last eight digits of the id are their number.
func manyContainers(t *testing.T, id string, many int) {
	t.Helper()
	cmd := exec.Command(shimProgram, "-namespace", "moby", "-id", id)
	cmd.Env = append(apart(t), "SHIM_MANY="+strconv.Itoa(many))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if line := firstLine(t, cmd); line != "ready" {
		t.Fatalf("%q", line)
	}
}

// Memory of a document is charged to the reader. At its limit open fails; the reader is
// not killed.
func TestReadersPayForWhatTheyKeep(t *testing.T) {
	module(t, "min_interval_ms=1")
	manyContainers(t, newID(), 500)
	size := len(read(t).text)
	victim := filepath.Dir(limits(t, "victim", map[string]string{"memory.max": strconv.Itoa(16 * size)}))
	groups := []string{victim}
	t.Logf("documents of %d bytes", size)
	stop := reading(func() { // a reader with a memory limit, like an exporter
		args := in(victim+"/cgroup.procs", "/bin/load cat "+file+" >/dev/null")
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Errorf("the other reader: %v: %s", err, out)
		}
	})
	defer stop()
	for i := range 3 {
		procs := limits(t, fmt.Sprint("small", i), map[string]string{"memory.max": strconv.Itoa(10 * size)})
		groups = append(groups, filepath.Dir(procs))
		args := in(procs, as(1000)+"open 60 "+file)
		got := opens(t, nil, args...)
		n, err := strconv.Atoi(strings.Fields(got)[0])
		if err != nil || !strings.HasSuffix(got, "Cannot allocate memory") || n > 10 {
			t.Errorf("with a limit of ten documents: opened %s", got)
		}
	}
	// Users without a memory limit do not affect others.
	for user := range 3 {
		t.Logf("user %d: opened %s", 2000+user, opens(t, nil, "sh", "-c", "exec "+as(2000+user)+"open 60 "+file))
	}
	for range 20 {
		read(t)
	}
	for _, dir := range groups {
		if n := keyed(t, dir+"/memory.events", "oom_kill"); n > 0 {
			t.Errorf("%s: %d processes were killed", dir, n)
		}
	}
}

// The total of all users is bounded, and each user can still read.
func TestAllUsersTogether(t *testing.T) {
	module(t, "min_interval_ms=1")
	manyContainers(t, newID(), 1500)
	size := len(read(t).text)
	total := 0
	for user := 2000; user < 2010; user++ {
		got := opens(t, nil, "sh", "-c", "exec "+as(user)+"open 60 "+file)
		n, err := strconv.Atoi(strings.Fields(got)[0])
		if err != nil || n == 0 {
			t.Fatalf("user %d: %s", user, got)
		}
		total += n * size
		if n*size > 18<<20 || !strings.HasSuffix(got, "Too many open files in system") {
			t.Errorf("user %d, %d MiB held: %s", user, total>>20, got)
		}
	}
	if total < 56<<20 {
		t.Errorf("%d MiB held", total>>20)
	}
	// Each later user has one.
	if total > 64<<20+10*(size+size/8) {
		t.Errorf("%d MiB held", total>>20)
	}
	for user := 3000; user < 3003; user++ {
		if got := opens(t, nil, "sh", "-c", "exec "+as(user)+"open 2 "+file); got != "1 Too many open files in system" {
			t.Errorf("another user: %s", got)
		}
	}
	if got := opens(t, nil, "/bin/load", "open", "100", file); got != "100" {
		t.Errorf("root: %s", got)
	}
}

// Root without capabilities is limited like any user.
func TestCapabilitiesNotRoot(t *testing.T) {
	module(t)
	if got := opens(t, nil, "/bin/load", "nocaps", "open", "100", file); got != "64 Too many open files" {
		t.Errorf("root without capabilities: opened %s", got)
	}
}

var ofIO = regexp.MustCompile(`"(io|disk)_(read|write)_(bytes|calls)"`)

// Users who may not read /proc/PID/io of others do not get these counters here either.
func TestByteCountsAreRestricted(t *testing.T) {
	module(t, "min_interval_ms=600000")
	ids := []string{}
	for range 3 {
		ids = append(ids, start(t, options{load: "io 10"}).id)
	}
	whole := read(t)
	if n := len(ofIO.FindAll(whole.text, -1)); n != 6*len(ids) {
		t.Errorf("root reads %d byte counts, want %d", n, 6*len(ids))
	}
	for name, args := range map[string][]string{
		"nobody":                    {"sh", "-c", "exec " + as(1000) + "cat " + file},
		"root without capabilities": {"/bin/load", "nocaps", "cat", file},
	} {
		text, err := exec.Command(args[0], args[1:]...).Output()
		if err != nil {
			t.Fatal(err)
		}
		d, err := parse(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d.host["sequence"] != whole.host["sequence"] {
			t.Errorf("%s: different snapshot", name)
		}
		if found := ofIO.FindAll(text, -1); found != nil {
			t.Errorf("%s reads %q", name, found)
		}
		for _, id := range ids {
			c := d.container(t, id)
			if c["cpu_ns"] == "" || c["minor_faults"] == "" {
				t.Errorf("%s: %v", name, c)
			}
		}
		if without := regexp.MustCompile(`,"(io|disk)_(read|write)_(bytes|calls)":"\d+"`).ReplaceAll(whole.text, nil); !bytes.Equal(text, without) {
			t.Errorf("%s: more is missing:\n%s", name, text)
		}
		save(t, "without-byte-counts", text)
	}
}

// A mount of /proc with hidepid= also hides the file.
func TestHiddenProcesses(t *testing.T) {
	module(t)
	start(t, options{})
	for _, step := range []struct {
		options string
		gid     uint32
		allowed bool
	}{
		{"hidepid=0", 1000, true},
		{"hidepid=1", 1000, false},
		{"hidepid=2", 1000, false},
		{"hidepid=2,gid=1000", 1000, true},
		{"hidepid=2,gid=1001", 1000, false},
		{"hidepid=4", 1000, false},
		{"hidepid=4,gid=1000", 1000, false},
	} {
		const dir = "/tmp/hidden"
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mount", "-t", "proc", "-o", step.options, "proc", dir).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", step.options, err, out)
		}
		for _, name := range []string{"estiba", "sysinfo_202200075"} {
			cmd := exec.Command("cat", filepath.Join(dir, name))
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: step.gid}}
			out, err := cmd.CombinedOutput()
			if (err == nil) != step.allowed || strings.Contains(string(out), "schema") != step.allowed {
				t.Errorf("%s, %s: %v: %.100s", step.options, name, err, out)
			}
			if out, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Contains(out, []byte("schema")) {
				t.Errorf("%s: root: %v", step.options, err)
			}
		}
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// A mount of another pid namespace, which any user can make, refuses all readers.
func TestMountOfAnotherNamespace(t *testing.T) {
	module(t)
	cmd := begin(t, nil, "unshare", "-mpf", "sh", "-c", "mount -t proc proc /proc && exec sleep 1000")
	eventually(t, "the mount", func() bool {
		for _, pid := range (&shim{pid: cmd.Process.Pid}).processes(t) {
			root := fmt.Sprintf("/proc/%d/root/proc/", pid)
			if _, err := os.Stat(root + "1/comm"); err != nil || comm(pid) != "sleep" {
				continue
			}
			text, err := os.ReadFile(root + "estiba")
			if !os.IsPermission(err) {
				t.Errorf("read through %s: %d bytes, %v", root, len(text), err)
			}
			return true
		}
		return false
	})
	for _, pid := range (&shim{pid: cmd.Process.Pid}).processes(t) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// splice(2) and sendfile(2) read the same document.
func TestSplice(t *testing.T) {
	module(t, "min_interval_ms=600000")
	for range 10 {
		start(t, options{})
	}
	want := read(t).text
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []byte
	for {
		n, err := syscall.Splice(int(f.Fd()), nil, int(w.Fd()), nil, 3000, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		chunk := make([]byte, n)
		if _, err := io.ReadFull(r, chunk); err != nil {
			t.Fatal(err)
		}
		got = append(got, chunk...)
	}
	w.Close()
	if !bytes.Equal(got, want) {
		t.Errorf("splice: %d bytes, want %d", len(got), len(want))
	}
	to, err := os.Create(filepath.Join(t.TempDir(), "copy"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	offset := int64(0)
	for offset < int64(len(want)) {
		if n, err := syscall.Sendfile(int(to.Fd()), int(f.Fd()), &offset, 5000); err != nil || n == 0 {
			t.Fatalf("sendfile: %d, %v", n, err)
		}
	}
	if got, err := os.ReadFile(to.Name()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("sendfile: %d bytes, want %d: %v", len(got), len(want), err)
	}
}

// insmod detects an existing name even in a root directory without /proc.
func TestInsmodInAnotherRoot(t *testing.T) {
	root := t.TempDir()
	for from, to := range map[string]string{"/bin/busybox": "busybox", "/estiba.ko": "estiba.ko"} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, to), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("chroot", root, "/busybox", "insmod", "/estiba.ko", "aliases=version").CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "busy") {
		t.Errorf("existing name: %v: %s", err, out)
		exec.Command("rmmod", "estiba").Run()
	}
	if out, err := exec.Command("chroot", root, "/busybox", "insmod", "/estiba.ko").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("rmmod", "estiba").CombinedOutput(); err != nil {
		t.Errorf("rmmod: %v: %s", err, out)
	}
}
