package docs

import (
	"path"
	"sort"
	"strings"
	"testing"
)

// TestLinksLeadSomewhere checks the target of each link and picture in the
// repository, and its heading. Other addresses are not checked.
func TestLinksLeadSomewhere(t *testing.T) {
	tr := readTree(t)
	all := tr.pages(t)
	pages := byPath(all)
	for _, p := range all {
		for _, link := range p.links() {
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			file, anchor, anchored := strings.Cut(link, "#")
			target := p.path
			if file != "" {
				target = path.Join(p.dir(), file)
			}
			to, isPage := pages[target]
			switch {
			case strings.HasPrefix(file, "/"):
				t.Errorf("%s: %s: absolute path in a link", p.path, link)
			case !tr.exists(target):
				t.Errorf("%s: %s: no such file: %s", p.path, link, target)
			case anchored && !isPage:
				t.Errorf("%s: %s: anchor in a file that is not a document", p.path, link)
			case anchored && !to.anchors()[anchor]:
				t.Errorf("%s: %s: no heading #%s, only %s", p.path, target, anchor, names(to.anchors()))
			}
		}
	}
}

// TestEverythingIsReached follows the links from README.md to every document and
// every file in docs/.
func TestEverythingIsReached(t *testing.T) {
	tr := readTree(t)
	pages := byPath(tr.pages(t))
	reached := map[string]bool{}
	var follow func(string)
	follow = func(name string) {
		if reached[name] {
			return
		}
		reached[name] = true
		if file, ok := tr.files[name]; ok && !file {
			follow(path.Join(name, "README.md")) // what a web page shows of a folder
		}
		if p, ok := pages[name]; ok {
			for _, link := range p.links() {
				file, _, _ := strings.Cut(link, "#")
				if file != "" && !strings.Contains(link, "://") {
					follow(path.Join(p.dir(), file))
				}
			}
		}
	}
	follow("README.md")
	for _, name := range tr.names {
		_, isPage := pages[name]
		if strings.HasPrefix(name, ".github/") {
			continue // shown by the forge
		}
		if (isPage || tr.files[name] && strings.HasPrefix(name, "docs/") && !strings.HasSuffix(name, ".go")) && !reached[name] {
			t.Errorf("%s: no links lead to it from README.md; add it to docs/README.md", name)
		}
	}
}

func names(set map[string]bool) string {
	var list []string
	for name := range set {
		list = append(list, "#"+name)
	}
	sort.Strings(list)
	return strings.Join(list, " ")
}
