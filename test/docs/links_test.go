package docs

import (
	"path"
	"sort"
	"strings"
	"testing"
)

// TestLinksLeadSomewhere wants the target of each link and picture to be here,
// with the heading that it names. Addresses of others are not asked.
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
				t.Errorf("%s: %s is a path from the root, which leads nowhere on a web page", p.path, link)
			case !tr.exists(target):
				t.Errorf("%s: %s leads nowhere: there is no %s", p.path, link, target)
			case anchored && !isPage:
				t.Errorf("%s: %s has a heading's name, but leads to no document", p.path, link)
			case anchored && !to.anchors()[anchor]:
				t.Errorf("%s: %s has no heading #%s; it has %s", p.path, target, anchor, names(to.anchors()))
			}
		}
	}
}

// TestEverythingIsReached follows the links from README.md: what is in docs/
// and cannot be found that way is read by nobody.
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
		if (isPage || tr.files[name] && strings.HasPrefix(name, "docs/")) && !reached[name] {
			t.Errorf("%s is not reached by links from README.md: link it from there, or add it to the list in docs/README.md", name)
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
