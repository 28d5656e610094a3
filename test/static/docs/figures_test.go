package docs

import (
	"regexp"
	"strings"
	"testing"
)

var (
	quotes = regexp.MustCompile(`<!-- figures: (\S+\.md) -->`)
	figure = regexp.MustCompile(`\d+(?:,\d{3})*(?:\.\d+)*`)
)

// TestQuotedFigures wants each number of a line that ends with
// <!-- figures: PAGE --> in that page. The words around the numbers are free.
func TestQuotedFigures(t *testing.T) {
	tr := readTree(t)
	pages := byPath(tr.pages(t))
	compared := 0
	for _, p := range pages {
		for _, line := range strings.Split(p.text, "\n") {
			m := quotes.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			source, ok := pages[m[1]]
			if !ok {
				t.Errorf("%s: %s: no such page", p.path, m[0])
				continue
			}
			known := map[string]bool{}
			for _, number := range figure.FindAllString(source.text, -1) {
				known[number] = true
			}
			for _, number := range figure.FindAllString(inline.ReplaceAllString(line, "$1"), -1) {
				if compared++; !known[number] {
					t.Errorf("%s: %s does not contain the figure %s", p.path, source.path, number)
				}
			}
		}
	}
	if compared < 15 {
		t.Errorf("compared %d figures, want 15 or more", compared)
	}
}
