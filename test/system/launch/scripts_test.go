package launch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/estiba/estiba/internal/testutil"
)

// newcomer is a machine as the scripts see it: a root folder, and a PATH without Go.
type newcomer struct {
	root string
	path string
}

func newNewcomer(t *testing.T, osRelease string) newcomer {
	t.Helper()
	m := newcomer{root: t.TempDir(), path: t.TempDir()}
	write(t, filepath.Join(m.root, "etc", "os-release"), osRelease, 0o644)
	for _, name := range []string{
		"bash", "cat", "cut", "dirname", "env", "getent", "head", "id", "sed", "sh", "sort", "stat", "uname",
	} {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(program, filepath.Join(m.path, name)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// addGo puts a Go of a version into <root>/dir/bin. It prints its folder.
func (m newcomer) addGo(t *testing.T, dir, version string) {
	t.Helper()
	root := filepath.Join(m.root, dir)
	write(t, filepath.Join(root, "bin", "go"), fmt.Sprintf(`#!/bin/sh
case $1 in
version) echo "go version go%s linux/amd64" ;;
env) echo %s ;;
*) echo "go %s: $* ($GOTOOLCHAIN)" ;;
esac
`, version, root, version), 0o755)
}

// run runs a script of the repository on that machine.
func (m newcomer) run(t *testing.T, script string, args []string, env ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(filepath.Join(testutil.RepositoryRoot(t), script), args...)
	cmd.Env = append([]string{"PATH=" + m.path, "HOME=/", "ESTIBA_ROOT=" + m.root}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestGoIsFound(t *testing.T) {
	for _, tt := range []struct {
		name string
		has  map[string]string // folder: version
		want string
	}{
		{"from its own site", map[string]string{"usr/local/go": "1.26.8"}, "1.26.8"},
		{"of the distribution, the newest", map[string]string{"usr/lib/go-1.9": "1.9", "usr/lib/go-1.22": "1.22.2", "usr/lib/go-1.23": "1.23.1"}, "1.23.1"},
		{"after one that is too old", map[string]string{"usr/local/go": "1.19.8", "usr/lib/go-1.21": "1.21.0"}, "1.21.0"},
		{"of Fedora", map[string]string{"usr/lib/golang": "1.24"}, "1.24"},
		{"a snap", map[string]string{"snap": "1.25.1"}, "1.25.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newNewcomer(t, "ID=debian\nVERSION_ID=13\n")
			for dir, version := range tt.has {
				m.addGo(t, dir, version)
			}
			out, err := m.run(t, "tools/go.sh", []string{"build", "./x y"})
			if want := "go " + tt.want + ": build ./x y (auto)\n"; err != nil || out != want {
				t.Errorf("%v, %q, want %q", err, out, want)
			}
		})
	}
	t.Run("in PATH first", func(t *testing.T) {
		m := newNewcomer(t, "")
		m.addGo(t, "usr/local/go", "1.25.0")
		m.addGo(t, "opt/mine", "1.24.0")
		m.path = filepath.Join(m.root, "opt/mine/bin") + ":" + m.path
		if out, err := m.run(t, "tools/go.sh", nil, "GOTOOLCHAIN=local"); err != nil || !strings.HasPrefix(out, "go 1.24.0:") || !strings.Contains(out, "(local)") {
			t.Errorf("%v, %q", err, out)
		}
	})
	t.Run("by GO", func(t *testing.T) {
		m := newNewcomer(t, "")
		m.addGo(t, "usr/local/go", "1.25.0")
		m.addGo(t, "opt/mine", "1.24.0")
		if out, err := m.run(t, "tools/go.sh", nil, "GO="+filepath.Join(m.root, "opt/mine/bin/go")); err != nil || !strings.HasPrefix(out, "go 1.24.0:") {
			t.Errorf("%v, %q", err, out)
		}
		m.addGo(t, "opt/mine", "1.20")
		if out, err := m.run(t, "tools/go.sh", nil, "GO="+filepath.Join(m.root, "opt/mine/bin/go")); err == nil || !strings.Contains(out, "is Go 1.20") {
			t.Errorf("%v, %q", err, out)
		}
	})
}

// TestGoIsNotFound wants one line that says what to type.
func TestGoIsNotFound(t *testing.T) {
	for osRelease, want := range map[string]string{
		"ID=debian\nVERSION_ID=\"12\"\n":    "install -t bookworm-backports golang-go",
		"ID=debian\nVERSION_ID=\"13\"\n":    "apt-get install golang-go",
		"ID=ubuntu\nVERSION_ID=\"22.04\"\n": "apt-get install golang-1.23-go",
		"ID=ubuntu\nVERSION_ID=\"24.04\"\n": "apt-get install golang-go",
		"ID=fedora\nVERSION_ID=43\n":        "dnf install golang",
		"ID=other\n":                        "https://go.dev/dl",
	} {
		for _, old := range []bool{false, true} {
			m := newNewcomer(t, osRelease)
			reason := "Go is not installed"
			if old {
				m.addGo(t, "usr/lib/go-1.19", "1.19.8")
				reason = "is Go 1.19.8, and 1.21 or newer is needed"
			}
			out, err := m.run(t, "tools/go.sh", []string{"build"})
			if err == nil || strings.Count(out, "\n") != 1 || !strings.Contains(out, reason) || !strings.Contains(out, want) {
				t.Errorf("%q, old %v: %v, %q, want %q and %q", osRelease, old, err, out, reason, want)
			}
		}
	}
}

// TestScriptsFindGo wants every script that calls go to source tools/go.sh.
func TestScriptsFindGo(t *testing.T) {
	root := testutil.RepositoryRoot(t)
	out, err := exec.Command("git", "-C", root, "grep", "-lE", `^[^#]*(^|[ (;&|=])go (build|env|list|mod|run|test|tool|vet|-C) ?`, "--", "*.sh").Output()
	if err != nil {
		t.Fatal(err)
	}
	scripts := strings.Fields(string(out))
	if len(scripts) < 10 {
		t.Errorf("only %d scripts call go: %v", len(scripts), scripts)
	}
	for _, script := range scripts {
		text, err := os.ReadFile(filepath.Join(root, script))
		if err != nil {
			t.Fatal(err)
		}
		if script != "tools/go.sh" && !strings.Contains(string(text), "go.sh\"\n") && !strings.Contains(string(text), "go.sh\n") {
			t.Errorf("%s calls go without tools/go.sh", script)
		}
	}
}

// TestFilesAreTheCallers runs tools/own.sh as under sudo, in a repository of its own.
func TestFilesAreTheCallers(t *testing.T) {
	testutil.Require(t, testutil.Root)
	const caller = 54321
	own, err := os.ReadFile(filepath.Join(testutil.RepositoryRoot(t), "tools", "own.sh"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		clone int // who owns the sources
		sudo  string
		want  map[string]int
	}{
		{"a clone of the caller", caller, strconv.Itoa(caller), map[string]int{
			"build": caller, "build/bin/exporter": caller, ".run/logs/x.log": caller, ".run/data": caller, "kmod/estiba.ko": caller,
			"state/a": caller, "build/cache/root/bin/sh": 0, "elsewhere": 0, ".run/grafana/theirs": 472,
		}},
		{"a clone of root", 0, strconv.Itoa(caller), map[string]int{"build/bin/exporter": caller, "kmod/estiba.ko": 0}},
		{"without sudo", caller, "", map[string]int{"build/bin/exporter": 0, ".run/logs/x.log": 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name := range map[string]bool{
				"build/bin/exporter": true, ".run/logs/x.log": true, ".run/data": true, "kmod/estiba.ko": true, "state/a": true,
				"build/cache/root/bin/sh": true, "elsewhere": true, ".run/grafana/theirs": true,
			} {
				write(t, filepath.Join(dir, name), "", 0o600)
			}
			write(t, filepath.Join(dir, "tools", "own.sh"), string(own), 0o755)
			// A link in the caller's folder does not give him what it points to.
			if err := os.Symlink("../elsewhere", filepath.Join(dir, ".run", "link")); err != nil {
				t.Fatal(err)
			}
			for name, uid := range map[string]int{"kmod": tt.clone, ".run/grafana/theirs": 472} {
				if err := os.Chown(filepath.Join(dir, name), uid, uid); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(filepath.Join(dir, "tools", "own.sh"), filepath.Join(dir, "state"))
			cmd.Env = append(os.Environ(), "SUDO_UID="+tt.sudo, "SUDO_GID="+tt.sudo)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for name, want := range tt.want {
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if got := info.Sys().(*syscall.Stat_t).Uid; got != uint32(want) {
					t.Errorf("%s belongs to %d, want %d", name, got, want)
				}
			}
		})
	}
}

// TestPlan wants `make test` to begin with what a machine cannot run.
func TestPlan(t *testing.T) {
	const module, whole = "kernel module in QEMU: needs Debian 12 on amd64", "the whole way of the data, on real containers: needs root"
	for _, tt := range []struct {
		name, osRelease, machine, uid string
		env                           []string
		want                          []string
		fails                         bool
	}{
		{"Debian 12, root", "ID=debian\nVERSION_ID=12\n", "x86_64", "0", nil, nil, false},
		{"arm64", "ID=debian\nVERSION_ID=12\n", "aarch64", "0", nil, []string{module}, false},
		{"Ubuntu", "ID=ubuntu\nVERSION_ID=24.04\n", "x86_64", "0", nil, []string{module}, false},
		{"no root", "ID=ubuntu\nVERSION_ID=24.04\n", "x86_64", "1000", nil, []string{module, whole}, false},
		{"Fedora with nothing installed", "ID=fedora\nVERSION_ID=43\n", "x86_64", "0", nil, []string{module, "needs a Docker Engine", "needs gcc"}, false},
		{"in CI", "ID=ubuntu\nVERSION_ID=24.04\n", "x86_64", "0", []string{"CI=true"}, []string{module, "FAILED"}, true},
		{"all asked for", "ID=ubuntu\nVERSION_ID=24.04\n", "x86_64", "0", []string{"ESTIBA_TEST_ALL=1"}, []string{module, "FAILED"}, true},
		{"in CI, with everything", "ID=debian\nVERSION_ID=12\n", "x86_64", "0", []string{"CI=true"}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newNewcomer(t, tt.osRelease)
			for name, answer := range map[string]string{"uname": tt.machine, "id": tt.uid} {
				if err := os.Remove(filepath.Join(m.path, name)); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(m.path, name), "#!/bin/sh\necho "+answer+"\n", 0o755)
			}
			out, err := m.run(t, "test/run.sh", []string{"--plan"}, tt.env...)
			if (err != nil) != tt.fails {
				t.Errorf("%v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("said %q, want %q", out, want)
				}
			}
			if len(tt.want) == 0 && out != "" {
				t.Errorf("said %q, want nothing", out)
			}
		})
	}
}
