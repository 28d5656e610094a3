// Package imports_test holds the borders between the parts, so that the
// architecture stays what the folders say it is.
package imports_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/estiba/estiba/internal/testutil"
)

const module = "github.com/estiba/estiba/"

// file is one Go file of the product.
type file struct {
	path    string // from the repository's root, with slashes
	imports []string
	syntax  *ast.File
}

func (f file) in(folder string) bool { return strings.HasPrefix(f.path, folder+"/") }
func (f file) isTest() bool          { return strings.HasSuffix(f.path, "_test.go") }

func (f file) importsAny(prefixes ...string) string {
	for _, i := range f.imports {
		for _, p := range prefixes {
			if i == p || strings.HasPrefix(i, p+"/") {
				return i
			}
		}
	}
	return ""
}

// border is one rule of the architecture.
type border struct {
	name      string
	applies   func(f file) bool
	forbidden []string
}

var borders = []border{
	{"the exporter knows nothing of manager and generator",
		func(f file) bool { return f.in("exporter") },
		[]string{module + "manager", module + "generator"}},
	{"the manager knows nothing of exporter and generator",
		func(f file) bool { return f.in("manager") },
		[]string{module + "exporter", module + "generator"}},
	{"the generator knows nothing of exporter and manager",
		func(f file) bool { return f.in("generator") },
		[]string{module + "exporter", module + "manager"}},
	{"what is shared knows nothing of the parts",
		func(f file) bool { return f.in("internal") },
		[]string{module + "exporter", module + "manager", module + "generator"}},
	{"only internal/dockerclient speaks to the Docker library",
		func(f file) bool { return !f.in("internal/dockerclient") },
		[]string{"github.com/docker/docker", "github.com/moby/moby"}},
	{"only the cgroup source reads /proc with procfs",
		func(f file) bool { return !f.in("exporter/source/cgroup") },
		[]string{"github.com/prometheus/procfs"}},
	{"the manager decides from PromQL and reads no /proc",
		func(f file) bool { return f.in("manager") && !f.isTest() },
		[]string{"golang.org/x/sys"}},
	{"decisions have no input, output, logger or randomness",
		func(f file) bool { return f.in("manager/policy") && !f.isTest() },
		[]string{"os", "io", "net", "bufio", "log", "syscall", "context", "math/rand", "crypto", "runtime",
			"github.com/go-kit", "github.com/prometheus", "github.com/docker",
			module + "internal/dockerclient", module + "internal/logging", module + "internal/web"}},
}

func TestBorders(t *testing.T) {
	files := productFiles(t)
	for _, b := range borders {
		t.Run(b.name, func(t *testing.T) {
			applied := 0
			for _, f := range files {
				if !b.applies(f) {
					continue
				}
				applied++
				if i := f.importsAny(b.forbidden...); i != "" {
					t.Errorf("%s imports %s", f.path, i)
				}
			}
			if applied == 0 {
				t.Error("the rule applies to no file: have the folders moved?")
			}
		})
	}
}

// TestDecisionsHaveNoClock forbids asking for the time in the decision code;
// times as values are what it works on.
func TestDecisionsHaveNoClock(t *testing.T) {
	clock := map[string]bool{"Now": true, "Since": true, "Until": true, "After": true, "AfterFunc": true,
		"Sleep": true, "Tick": true, "NewTimer": true, "NewTicker": true}
	for _, f := range productFiles(t) {
		if !f.in("manager/policy") || f.isTest() {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && clock[s.Sel.Name] {
				t.Errorf("%s uses time.%s", f.path, s.Sel.Name)
			}
			return true
		})
	}
}

// TestNoInit forbids init functions: what a program does starts in main.
func TestNoInit(t *testing.T) {
	for _, f := range productFiles(t) {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s has an init function", f.path)
			}
		}
	}
}

// productFiles parses every Go file of this module; tools/ is modules of its own.
func productFiles(t *testing.T) []file {
	t.Helper()
	root := testutil.RepositoryRoot(t)
	fset := token.NewFileSet()
	var files []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "build" || name == "tools" || name == "testdata" || name == "node_modules") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		f := file{path: filepath.ToSlash(rel), syntax: syntax}
		for _, i := range syntax.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, p)
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
