package top

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean makes a text of a container safe for a terminal and exactly one column per
// character wide. Whoever starts a process chooses its name: control bytes and escape
// sequences would reach the terminal, and wide, combining or right-to-left characters
// would move the columns after them. Anything but printable ASCII and Latin letters is
// written as an escape.
func clean(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case plain(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += n
	}
	return b.String()
}

// plain reports whether every terminal shows r in one column, from left to right.
func plain(r rune) bool {
	return r >= ' ' && r <= '~' || r >= 0xC0 && r < 0x250 && unicode.IsLetter(r)
}

// width is the number of columns of a text that clean returned or this package wrote.
func width(s string) int { return utf8.RuneCountInString(s) }

// fit makes s exactly n columns wide: it cuts the end, marked by "…", or adds blanks on
// the right, or on the left.
func fit(s string, n int, left bool) string {
	w := width(s)
	switch {
	case n <= 0:
		return ""
	case w > n:
		return string([]rune(s)[:n-1]) + "…"
	case left:
		return strings.Repeat(" ", n-w) + s
	}
	return s + strings.Repeat(" ", n-w)
}
