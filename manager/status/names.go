package status

import (
	"fmt"
	"strings"
	"unicode"
)

// visible shows the characters of a name that are not seen or that change how the text
// around them is read, such as a right-to-left override, by their number: a container
// chooses its own name.
func visible(name string) string {
	hidden := func(r rune) bool { return !unicode.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) }
	if !strings.ContainsFunc(name, hidden) {
		return name
	}
	var b strings.Builder
	for _, r := range name {
		if hidden(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// short cuts a text after n characters.
func short(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return string(runes[:n-1]) + "…"
}
