package docs

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	fence    = regexp.MustCompile("^ *(```|~~~)")
	codeSpan = regexp.MustCompile("`([^`]+)`")
	inline   = regexp.MustCompile(`!?\[((?:[^\[\]]|!?\[[^\]]*\]\([^)]*\))*)\]\(([^()\s]*)\)`)
	heading  = regexp.MustCompile(`^#{1,6} +(.+?) *#*$`)
)

// newPage splits a document into code and prose. A paragraph is one line of prose,
// since code and links can span lines; a command with backslashes is one line of
// code.
func newPage(name, text string) page {
	p := page{path: name, text: text}
	var paragraph, command string
	end := func() {
		for _, m := range codeSpan.FindAllStringSubmatch(paragraph, -1) {
			p.code = append(p.code, m[1])
		}
		// The text of a link may be code; its target never is.
		p.prose = append(p.prose, codeSpan.ReplaceAllString(paragraph, "code"))
		paragraph = ""
	}
	inside := false
	for _, line := range strings.Split(text, "\n") {
		switch {
		case fence.MatchString(line):
			end()
			inside = !inside
		case inside && strings.HasSuffix(line, `\`):
			command += strings.TrimSuffix(line, `\`)
		case inside:
			p.code = append(p.code, command+line)
			command = ""
		default:
			if line == "" || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "#") {
				end()
			}
			paragraph = strings.TrimSpace(paragraph + " " + strings.TrimSpace(line))
		}
	}
	end()
	return p
}

// links are the targets of all links and pictures of a document.
func (p page) links() []string {
	var targets []string
	var find func(string)
	find = func(text string) {
		for _, m := range inline.FindAllStringSubmatch(text, -1) {
			targets = append(targets, m[2])
			find(m[1]) // a picture that is itself a link
		}
	}
	for _, paragraph := range p.prose {
		find(paragraph)
	}
	return targets
}

// anchors are the names of the page's headings in links, as GitHub derives them.
func (p page) anchors() map[string]bool {
	found := map[string]bool{}
	inside := false
	for _, line := range strings.Split(p.text, "\n") {
		if fence.MatchString(line) {
			inside = !inside
		}
		m := heading.FindStringSubmatch(line)
		if inside || m == nil {
			continue
		}
		name := slug(m[1])
		for n := 1; found[name]; n++ {
			name = fmt.Sprintf("%s-%d", slug(m[1]), n)
		}
		found[name] = true
	}
	return found
}

func slug(heading string) string {
	heading = inline.ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// TestMarkdownIsRead tests newPage.
func TestMarkdownIsRead(t *testing.T) {
	p := newPage("x.md", strings.Join([]string{
		"# One `two` [three](four.md): five?",
		"# Twice", "# Twice",
		"see [`code`](a.md#b), ![picture](b.png) and [![both](c.png)](d.md)",
		"```sh",
		"# no heading [no](link)",
		`make one \`, "  two",
		"```",
		"`make three`, `make", "  four`, [end", "of](e/)", "| `five` |", "| six` |",
	}, "\n"))
	if got, want := p.links(), []string{"four.md", "a.md#b", "b.png", "d.md", "c.png", "e/"}; !reflect.DeepEqual(got, want) {
		t.Errorf("links: %q, want %q", got, want)
	}
	if got, want := p.anchors(), (map[string]bool{"one-two-three-five": true, "twice": true, "twice-1": true}); !reflect.DeepEqual(got, want) {
		t.Errorf("anchors: %v, want %v", got, want)
	}
	want := []string{"two", "code", "# no heading [no](link)", "make one   two", "make three", "make four", "five"}
	if !reflect.DeepEqual(p.code, want) {
		t.Errorf("code: %q, want %q", p.code, want)
	}
}
