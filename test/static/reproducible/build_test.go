// Package reproducible tests that what `make build` makes depends on the commit
// alone. test/system/packages has the same for the Debian packages.
package reproducible

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/estiba/estiba/internal/testutil"
)

// run is a command in dir, and what it printed.
func run(t *testing.T, dir string, env []string, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

// clone is the repository's folder, where it is one.
func clone(t *testing.T) string {
	t.Helper()
	root := testutil.RepositoryRoot(t)
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		t.Skip("these sources are no clone, so they say of no commit")
	}
	return root
}

// TestOneCommitMakesTheSameBytes builds the last commit twice: in folders of
// other names and depths, on other branches, in other time zones.
func TestOneCommitMakesTheSameBytes(t *testing.T) {
	testutil.Require(t, "git", "make")
	root := clone(t)
	programs := []string{"exporter", "manager", "generator"}
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "another folder", "two")
	for dir, how := range map[string]struct{ branch, zone string }{one: {"first", "UTC"}, two: {"second", "Asia/Kathmandu"}} {
		// Its own objects: a clone that shares files is fine, its worktree is not ours.
		run(t, root, nil, "git", "clone", "--quiet", root, dir)
		run(t, dir, nil, "git", "checkout", "--quiet", "-B", how.branch)
		run(t, dir, []string{"TZ=" + how.zone}, "make", "--silent", "build")
	}
	for _, name := range programs {
		a, err := os.ReadFile(filepath.Join(one, "build", "bin", name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(two, "build", "bin", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s: two builds of one commit differ", name)
		}
		if bytes.Contains(a, []byte(one)) {
			t.Errorf("%s contains the folder it was built in", name)
		}
	}

	// What they say is the commit's.
	commit := run(t, one, nil, "git", "rev-parse", "HEAD")
	date := run(t, one, []string{"TZ=UTC"}, "git", "log", "-1", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", "--format=%cd")
	version := strings.TrimPrefix(run(t, one, nil, "git", "describe", "--tags", "--always", "--abbrev=12"), "v")
	for _, name := range programs {
		said := run(t, one, nil, filepath.Join(one, "build", "bin", name), "--version")
		for _, want := range []string{", version " + version + " ", "revision: " + commit, "build date:       " + date + "\n"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s --version does not say %q: %s", name, want, said)
			}
		}
	}
}

// TestOneVersionOfGo: each module of this repository names the same toolchain, so
// that `make` builds with one version of Go whatever is installed.
func TestOneVersionOfGo(t *testing.T) {
	testutil.Require(t, "git")
	root := clone(t)
	named := map[string][]string{}
	for _, file := range strings.Fields(run(t, root, nil, "git", "ls-files", "go.mod", "*/go.mod")) {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		name := "none"
		if m := regexp.MustCompile(`(?m)^toolchain (\S+)$`).FindSubmatch(text); m != nil {
			name = string(m[1])
		}
		named[name] = append(named[name], file)
	}
	if len(named) != 1 || named["none"] != nil {
		t.Errorf("want one toolchain in all, have %v", named)
	}
}
