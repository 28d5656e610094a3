package docs

import (
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ours are the folders in which a path of this repository begins.
var ours = regexp.MustCompile(`^(\./|\.\./)*(exporter|manager|generator|internal|kmod|prometheus|grafana|docs|test|tools|\.ci)/`)

// TestPathsAreHere checks each word of code that looks like a path of this
// repository, relative to its root or to the document's folder.
func TestPathsAreHere(t *testing.T) {
	tr := readTree(t)
	ignored := strings.Split(tr.read(t, ".gitignore"), "\n")
	seen := 0
	for _, p := range tr.pages(t) {
		for _, code := range p.code {
			for _, word := range strings.FieldsFunc(code, func(r rune) bool { return strings.ContainsRune(" \t,;|()'\"<>=", r) }) {
				// An image may have the name of a folder, but has a tag.
				if !ours.MatchString(word) || strings.Contains(word, ":") {
					continue
				}
				seen++
				if !tr.has(p, word, ignored) {
					t.Errorf("%s: no such path: %s", p.path, word)
				}
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d paths were found in the documents", seen)
	}
}

// has also accepts patterns, the folder of {a,b}, and what Git ignores.
func (tr tree) has(p page, word string, ignored []string) bool {
	name := strings.TrimSuffix(strings.TrimRight(word, "."), "/") // exporter/... is what go calls all below
	if name, _, braces := strings.Cut(name, "{"); braces {
		return tr.exists(path.Dir(name))
	}
	for _, candidate := range []string{path.Clean(name), path.Join(p.dir(), name)} {
		if tr.exists(candidate) {
			return true
		}
		for _, line := range ignored {
			if line = strings.Trim(line, "/"); line != "" && (candidate == line || strings.HasPrefix(candidate, line+"/")) {
				return true
			}
		}
		if found, err := filepath.Glob(filepath.Join(tr.root, filepath.FromSlash(candidate))); err == nil && len(found) > 0 {
			return true
		}
	}
	return false
}

// mention is the path of a document or picture in another file.
var mention = regexp.MustCompile(`\bdocs/[A-Za-z0-9_./-]+\.(?:md|png)(?:#[a-z0-9_-]+)?`)

// TestMentionedDocumentsAreHere checks the documents that other files name: runbooks
// in alerts, pages in messages and comments.
func TestMentionedDocumentsAreHere(t *testing.T) {
	tr := readTree(t)
	pages := byPath(tr.pages(t))
	seen := 0
	for _, name := range tr.names {
		switch {
		case !tr.files[name], strings.HasPrefix(name, "test/static/docs/"):
			continue
		case path.Base(name) == "Makefile":
		default:
			switch path.Ext(name) {
			case ".go", ".sh", ".yml", ".tmpl", ".html", ".mjs", ".c", ".h", ".service", ".default", ".json":
			default:
				continue
			}
		}
		for _, found := range mention.FindAllString(tr.read(t, name), -1) {
			seen++
			target, anchor, anchored := strings.Cut(found, "#")
			if !tr.exists(target) {
				t.Errorf("%s names %s, which is not there", name, target)
			} else if anchored && !pages[target].anchors()[anchor] {
				t.Errorf("%s names %s, which has no such heading", name, found)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d documents are named by other files", seen)
	}
}

// TestLayout wants each folder of the first two levels in the layout of
// docs/architecture.md.
func TestLayout(t *testing.T) {
	tr := readTree(t)
	const layout = "docs/architecture.md"
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+)/` \\| (.*) \\|$").FindAllStringSubmatch(tr.read(t, layout), -1) {
		rows[m[1]] = m[2]
	}
	for _, name := range tr.names {
		parts := strings.Split(name, "/")
		if tr.files[name] || strings.HasPrefix(name, ".") || len(parts) > 2 || parts[len(parts)-1] == "testdata" {
			continue
		}
		row, ok := rows[parts[0]]
		switch {
		case !ok:
			t.Errorf("%s has no row for the folder %s/", layout, parts[0])
		case len(parts) == 2 && !strings.Contains(row, "`"+parts[1]+"/`") && !strings.Contains(row, "`"+name+"`"):
			t.Errorf("%s: the row of %s/ does not name %s/", layout, parts[0], parts[1])
		}
	}
	for folder := range rows {
		if !tr.exists(folder) {
			t.Errorf("%s has a row for %s/, which is not there", layout, folder)
		}
	}
}
