package top

import "strings"

// style is how a terminal shows a text, as parameters of SGR (ECMA-48): the terminal's
// own colours, so that its theme decides.
type style string

// The styles. Those with a colour have no effect under NO_COLOR.
const (
	normal     style = ""
	bold       style = "1"
	dim        style = "2"
	reverse    style = "7"
	green      style = "32"
	yellow     style = "33"
	red        style = "31"
	alarm      style = "1;31"
	titleStyle style = "1;36"
)

// span is a text in one style.
type span struct {
	text  string
	style style
}

// line is one line of the screen.
type line []span

func (l *line) add(s style, text string) { *l = append(*l, span{text, s}) }

func (l line) width() int {
	n := 0
	for _, s := range l {
		n += width(s.text)
	}
	return n
}

// fill adds blanks up to n columns.
func (l *line) fill(n int) {
	if w := l.width(); w < n {
		l.add(normal, strings.Repeat(" ", n-w))
	}
}

// cut drops what does not fit into n columns.
func (l line) cut(n int) line {
	for i, s := range l {
		w := width(s.text)
		if w > n {
			kept := append(line(nil), l[:i]...)
			return append(kept, span{string([]rune(s.text)[:n]), s.style})
		}
		n -= w
	}
	return l
}

// plain is the text alone.
func (l line) plain() string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString(s.text)
	}
	return b.String()
}

// render returns the text with its styles. Without colour only bold, dim and reversed
// text differ.
func (l line) render(colour bool) string {
	var b strings.Builder
	for _, s := range l {
		code := s.style
		if !colour {
			code = code.withoutColour()
		}
		if code == normal || s.text == "" {
			b.WriteString(s.text)
			continue
		}
		b.WriteString("\x1b[" + string(code) + "m" + s.text + "\x1b[m")
	}
	return b.String()
}

func (s style) withoutColour() style {
	switch s {
	case green, yellow:
		return normal
	case red, alarm, titleStyle:
		return bold
	}
	return s
}
