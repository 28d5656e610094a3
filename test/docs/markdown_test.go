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
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	inline   = regexp.MustCompile(`!?\[((?:[^\[\]]|!?\[[^\]]*\]\([^)]*\))*)\]\(([^()\s]*)\)`)
	heading  = regexp.MustCompile(`^#{1,6} +(.+?) *#*$`)
)

// newPage takes a document apart. A command that goes on in the next line
// after a backslash is one line of code.
func newPage(name, text string) page {
	p := page{path: name, text: text}
	inside, started := false, ""
	for _, line := range strings.Split(text, "\n") {
		switch {
		case fence.MatchString(line):
			inside = !inside
		case inside && strings.HasSuffix(line, `\`):
			started += strings.TrimSuffix(line, `\`)
		case inside:
			p.code = append(p.code, started+line)
			started = ""
		default:
			for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
				p.code = append(p.code, m[1])
			}
		}
	}
	return p
}

// prose is the text without code.
func (p page) prose() string {
	var lines []string
	inside := false
	for _, line := range strings.Split(p.text, "\n") {
		if fence.MatchString(line) {
			inside = !inside
		} else if !inside {
			lines = append(lines, line)
		}
	}
	// A link's text may be code, which matters to nobody; its target never is.
	return codeSpan.ReplaceAllString(strings.Join(lines, "\n"), "code")
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
	find(p.prose())
	return targets
}

// anchors are the names by which links reach the page's headings, as GitHub
// makes them.
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

// TestMarkdownIsRead keeps the reading of documents itself honest.
func TestMarkdownIsRead(t *testing.T) {
	p := newPage("x.md", strings.Join([]string{
		"# One `two` [three](four.md): five?",
		"# Twice", "# Twice",
		"see [`code`](a.md#b), ![picture](b.png) and [![both](c.png)](d.md)",
		"```sh",
		"# no heading [no](link)",
		`make one \`, "  two",
		"```",
		"`make three`, [end](e/)",
	}, "\n"))
	if got, want := p.links(), []string{"four.md", "a.md#b", "b.png", "d.md", "c.png", "e/"}; !reflect.DeepEqual(got, want) {
		t.Errorf("links: %q, want %q", got, want)
	}
	if got, want := p.anchors(), (map[string]bool{"one-two-three-five": true, "twice": true, "twice-1": true}); !reflect.DeepEqual(got, want) {
		t.Errorf("anchors: %v, want %v", got, want)
	}
	want := []string{"two", "code", "# no heading [no](link)", "make one   two", "make three"}
	if !reflect.DeepEqual(p.code, want) {
		t.Errorf("code: %q, want %q", p.code, want)
	}
}
