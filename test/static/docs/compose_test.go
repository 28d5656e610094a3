package docs

import (
	"regexp"
	"strings"
	"testing"
)

// TestComposeVariables compares the table of variables with docker-compose.yml, in
// both directions, defaults included.
func TestComposeVariables(t *testing.T) {
	tr := readTree(t)
	file, table := map[string]string{}, map[string]string{}
	for _, m := range regexp.MustCompile(`\$\{(ESTIBA_[A-Z_]+)(?::?-([^}]*)|:?\?[^}]*)?\}`).FindAllStringSubmatch(tr.read(t, "docker-compose.yml"), -1) {
		if before, twice := file[m[1]]; twice && before != m[2] {
			t.Errorf("docker-compose.yml gives %s two defaults: %q and %q", m[1], before, m[2])
		}
		file[m[1]] = m[2]
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(ESTIBA_[A-Z_]+)` \\| (?:`([^`]*)`)? *\\|").FindAllStringSubmatch(tr.read(t, configuration), -1) {
		if _, twice := table[m[1]]; twice {
			t.Errorf("%s has two rows for %s", configuration, m[1])
		}
		table[m[1]] = m[2]
	}
	if len(file) < 20 {
		t.Errorf("only %d variables were found in docker-compose.yml", len(file))
	}
	for name, fallback := range file {
		if got, ok := table[name]; !ok {
			t.Errorf("%s has no row for %s, with the default %q", configuration, name, fallback)
		} else if got != fallback {
			t.Errorf("%s: %s has the default %q, not %q", configuration, name, fallback, got)
		}
	}
	for name := range table {
		if _, ok := file[name]; !ok {
			t.Errorf("%s has a row for %s, which docker-compose.yml does not read", configuration, name)
		}
	}
}

// TestImageVersions compares the image tags in documents with docker-compose.yml.
func TestImageVersions(t *testing.T) {
	tr := readTree(t)
	pinned := map[string]string{}
	for _, m := range regexp.MustCompile(`_IMAGE:-([^:}]+):([^}]+)\}`).FindAllStringSubmatch(tr.read(t, "docker-compose.yml"), -1) {
		pinned[m[1]] = m[2]
	}
	image := regexp.MustCompile(`([a-z0-9-]+/[a-z0-9-]+):(v?[0-9a-z][0-9a-zA-Z.-]*)`)
	seen := 0
	for _, p := range tr.pages(t) {
		for _, code := range p.code {
			for _, m := range image.FindAllStringSubmatch(code, -1) {
				if tag, ok := pinned[m[1]]; ok {
					seen++
					if m[2] != tag {
						t.Errorf("%s: %s is pinned to %s, not %s", p.path, m[1], tag, m[2])
					}
				}
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d images are named in the documents", seen)
	}
}

// TestGoVersion wants the Go version of go.mod in README.md.
func TestGoVersion(t *testing.T) {
	tr := readTree(t)
	m := regexp.MustCompile(`(?m)^go ([0-9.]+)$`).FindStringSubmatch(tr.read(t, "go.mod"))
	if m == nil || !strings.Contains(tr.read(t, "README.md"), "Go "+m[1]) {
		t.Errorf("README.md does not name the Go version of go.mod, %v", m)
	}
}
