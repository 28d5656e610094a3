package docs

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/estiba/estiba/internal/testutil"
)

// tree is the repository: files and folders by their paths from the root, with
// slashes, without build products.
type tree struct {
	root  string
	names []string        // in order
	files map[string]bool // true: a file, false: a folder
}

func readTree(t *testing.T) tree {
	t.Helper()
	tr := tree{root: testutil.RepositoryRoot(t), files: map[string]bool{}}
	err := filepath.WalkDir(tr.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(tr.root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() && (rel == "build" || rel == ".run" || rel == ".git" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		tr.names = append(tr.names, rel)
		tr.files[rel] = !d.IsDir()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func (tr tree) exists(name string) bool { _, ok := tr.files[name]; return ok }

func (tr tree) read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(tr.root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// page is one document.
type page struct {
	path  string
	text  string
	prose []string // paragraphs, without code
	code  []string // code spans, and the lines of code blocks
}

// dir is the folder that the page's links are relative to.
func (p page) dir() string { return path.Dir(p.path) }

// pages are all documents of the repository, in order.
func (tr tree) pages(t *testing.T) []page {
	t.Helper()
	var all []page
	for _, name := range tr.names {
		if tr.files[name] && strings.HasSuffix(name, ".md") {
			all = append(all, newPage(name, tr.read(t, name)))
		}
	}
	if len(all) < 30 {
		t.Fatalf("only %d documents were found", len(all))
	}
	return all
}

// byPath finds pages by their paths.
func byPath(pages []page) map[string]page {
	found := map[string]page{}
	for _, p := range pages {
		found[p.path] = p
	}
	return found
}
