// Package imports holds the borders between the parts, by reading the source.
package imports

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/estiba/estiba/internal/testutil"
)

const module = "github.com/estiba/estiba/"

// source is one Go file.
type source struct {
	path    string // from the root, slashes
	test    bool
	imports []string
	tree    *ast.File
}

func (s source) in(folder string) bool { return strings.HasPrefix(s.path, folder+"/") }

// under reports whether an import is the package or one below it.
func under(imported, pkg string) bool {
	return imported == pkg || strings.HasPrefix(imported, pkg+"/")
}

// rule is a border: files it holds for, and what they must not import.
type rule struct {
	name    string
	holds   func(source) bool
	forbids func(string) bool
}

func borders() []rule {
	outside := func(folder string) func(source) bool {
		return func(s source) bool { return !s.in(folder) }
	}
	product := func(folder string) func(source) bool { return func(s source) bool { return s.in(folder) } }
	of := func(pkgs ...string) func(string) bool {
		return func(imported string) bool {
			for _, p := range pkgs {
				if under(imported, p) {
					return true
				}
			}
			return false
		}
	}
	return []rule{
		{"the exporter knows neither manager nor generator", product("exporter"), of(module+"manager", module+"generator")},
		{"the manager knows neither exporter nor generator", product("manager"), of(module+"exporter", module+"generator")},
		{"the generator knows neither exporter nor manager", product("generator"), of(module+"exporter", module+"manager")},
		{"what is shared knows no part", product("internal"), of(module+"exporter", module+"manager", module+"generator")},
		{"the dashboards know no part", product("grafana"), of(module+"exporter", module+"manager", module+"generator")},
		{"docker/docker is for internal/dockerclient", outside("internal/dockerclient"), of("github.com/docker/docker", "github.com/docker/go-connections")},
		{
			"gRPC and the CRI are for internal/criclient, for the test's server, and for the tests that start pods",
			func(s source) bool {
				return !s.in("internal/criclient") && !s.in("internal/testutil/criserver") && !s.in("test/system/runtimes") && !s.in("test/system/kubernetes")
			},
			of("k8s.io/cri-api", "google.golang.org/grpc"),
		},
		{
			"procfs fails on lines that are not used: it reads the exporter's own process, exporter/source/cgroup/procfile the others",
			func(s source) bool { return s.path != "exporter/collector/process.go" }, of("github.com/prometheus/procfs"),
		},
		{"the parsers of the kernel's files are pure", func(s source) bool {
			return !s.test && (s.in("exporter/source/cgroup/procfile") || s.in("exporter/source/cgroup/cgroupfile") || s.in("exporter/source/scan"))
		}, of("os", "io", "syscall", "time", "context", module+"internal", module+"exporter/source/kmod")},
		{
			"manager/policy decides on values alone: no I/O, no network, no log, no chance",
			func(s source) bool { return s.in("manager/policy") && !s.test },
			of("os", "io", "net", "log", "bufio", "syscall", "embed", "context", "math/rand", "crypto/rand", "golang.org/x/sys",
				"github.com/go-kit/log", "github.com/docker/docker", "github.com/prometheus/client_golang", module+"internal/dockerclient",
				module+"internal/logging", module+"internal/web", module+"manager"),
		},
		{
			"tests' helpers stay out of the programs",
			func(s source) bool {
				return !s.test && !s.in("internal/testutil") && !s.in("test")
			},
			of("testing", module+"internal/testutil", module+"test"),
		},
	}
}

// clocks are what asks or waits for the time, of package time.
var clocks = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true,
	"Tick": true, "NewTimer": true, "NewTicker": true,
}

func TestBorders(t *testing.T) {
	all := sources(t, testutil.RepositoryRoot(t))
	for _, b := range borders() {
		held := 0
		for _, s := range all {
			if !b.holds(s) {
				continue
			}
			held++
			for _, imported := range s.imports {
				if b.forbids(imported) {
					t.Errorf("%s: %s imports %s", b.name, s.path, imported)
				}
			}
		}
		if held == 0 {
			t.Errorf("%s: no file is held to it any more", b.name)
		}
	}
}

func TestDecisionsHaveNoClock(t *testing.T) {
	for _, s := range sources(t, testutil.RepositoryRoot(t)) {
		if !s.in("manager/policy") || s.test {
			continue
		}
		for _, use := range clockUses(s.tree) {
			t.Errorf("%s uses time.%s: the time is a value that is passed in", s.path, use)
		}
	}
}

// floors are the packages of the manager, the lowest first. A package may import those
// of lower floors only.
var floors = [][]string{
	{"httpclient", "policies", "policy", "policytest/promtest", "units"},
	{"audit", "config", "promql", "silences"},
	{"enforce"},
	{"gather"},
	{"replay", "status"},
	{"policytest", "run", "why"},
	{"cli"},
	{""},
}

// TestManagerFloors keeps imports in the manager from running back up.
func TestManagerFloors(t *testing.T) {
	floor := map[string]int{}
	for n, packages := range floors {
		for _, p := range packages {
			floor[p] = n
		}
	}
	for _, s := range sources(t, testutil.RepositoryRoot(t)) {
		if !s.in("manager") || s.test {
			continue
		}
		pkg := strings.TrimPrefix(strings.TrimPrefix(path.Dir(s.path), "manager"), "/")
		own, known := floor[pkg]
		if !known {
			t.Errorf("%s: package manager/%s is on no floor", s.path, pkg)
			continue
		}
		for _, imported := range s.imports {
			other, ok := strings.CutPrefix(imported, module+"manager/")
			if !ok {
				continue
			}
			if at, known := floor[other]; !known || at >= own {
				t.Errorf("%s imports manager/%s, which is not below manager/%s", s.path, other, pkg)
			}
		}
	}
}

// TestTheModuleIsNotGo allows Go for the document's schema and for tests.
func TestTheModuleIsNotGo(t *testing.T) {
	for _, s := range sources(t, testutil.RepositoryRoot(t)) {
		if s.in("kmod") && !s.in("kmod/schema") && !s.test {
			t.Errorf("%s: the kernel module is C", s.path)
		}
	}
}

// TestClockUsesAreFound keeps the search itself honest.
func TestClockUsesAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"call":             {"package p\nimport \"time\"\nvar _ = time.Now()", 1},
		"renamed import":   {"package p\nimport c \"time\"\nvar f = c.Since", 1},
		"dot import":       {"package p\nimport . \"time\"\nvar _ = 1", 1},
		"duration":         {"package p\nimport \"time\"\nvar d time.Duration = time.Second", 0},
		"method of a time": {"package p\nimport \"time\"\nfunc f(t time.Time) { t.After(t.Local())}", 0},
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := parser.ParseFile(token.NewFileSet(), "p.go", c.text, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := clockUses(tree); len(got) != c.want {
				t.Errorf("found %v, want %d", got, c.want)
			}
		})
	}
}

// clockUses lists the functions of package time that ask or wait for it.
func clockUses(tree *ast.File) []string {
	var name string
	for _, i := range tree.Imports {
		if i.Path.Value == `"time"` {
			name = "time"
			if i.Name != nil {
				name = i.Name.Name
			}
		}
	}
	if name == "." {
		return []string{"* without its name"}
	}
	var uses []string
	ast.Inspect(tree, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && clocks[s.Sel.Name] {
			// The object distinguishes a method of a value called time.
			if x, ok := s.X.(*ast.Ident); ok && x.Name == name && x.Obj == nil {
				uses = append(uses, s.Sel.Name)
			}
		}
		return true
	})
	return uses
}

func sources(t *testing.T, root string) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel == "build" || rel == "tools" || d.Name() == "testdata" || d.Name() == "node_modules" || (rel != "." && strings.HasPrefix(d.Name(), ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		tree, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		s := source{path: rel, test: strings.HasSuffix(rel, "_test.go"), tree: tree}
		for _, i := range tree.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, p)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
