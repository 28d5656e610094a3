// Command picture draws what `tmux capture-pane -p -e` prints, from standard input, as an
// SVG on standard output.
package main

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Size of a character and of the margin, in pixels.
const (
	cellWidth  = 8
	cellHeight = 18
	margin     = 16
	fontSize   = 13
)

// colours are those of SGR 30 to 37, on a dark background.
var colours = [8]string{"#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#e6edf3"}

const (
	background = "#0d1117"
	foreground = "#c9d1d9"
)

// style is the state that SGR sequences set.
type style struct {
	bold, dim, reverse bool
	colour             int // of colours; -1: the default
}

func main() {
	if err := draw(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func draw(in io.Reader, out io.Writer) error {
	var body strings.Builder
	rows, columns := 0, 0
	now := style{colour: -1}
	scanner := bufio.NewScanner(in)
	for scanner.Scan() {
		columns = max(columns, drawLine(&body, scanner.Text(), rows, &now))
		rows++
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	width, height := columns*cellWidth+2*margin, rows*cellHeight+2*margin
	_, err := fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="%d">
<rect width="100%%" height="100%%" rx="8" fill="%s"/>
%s</svg>
`, width, height, width, height, fontSize, background, body.String())
	return err
}

// drawLine draws one line and returns its width in characters.
func drawLine(b *strings.Builder, text string, row int, now *style) int {
	column := 0
	for text != "" {
		if rest, ok := strings.CutPrefix(text, "\x1b["); ok {
			end := strings.IndexByte(rest, 'm')
			if end < 0 {
				return column
			}
			now.set(rest[:end])
			text = rest[end+1:]
			continue
		}
		n := strings.IndexByte(text, '\x1b')
		if n < 0 {
			n = len(text)
		}
		drawRun(b, text[:n], row, column, *now)
		column += utf8.RuneCountInString(text[:n])
		text = text[n:]
	}
	return column
}

// set applies the parameters of one SGR sequence.
func (s *style) set(parameters string) {
	for _, p := range strings.Split(parameters, ";") {
		switch n, _ := strconv.Atoi(p); {
		case n == 0:
			*s = style{colour: -1}
		case n == 1:
			s.bold = true
		case n == 2:
			s.dim = true
		case n == 7:
			s.reverse = true
		case n == 22:
			s.bold, s.dim = false, false
		case n == 27:
			s.reverse = false
		case n >= 30 && n <= 37:
			s.colour = n - 30
		case n == 39:
			s.colour = -1
		}
	}
}

// drawRun draws a text of one style. Each word has its width given, so that columns stay
// in line whatever the font is; rules are drawn as such.
func drawRun(b *strings.Builder, text string, row, column int, s style) {
	fill, opacity, weight := foreground, "", ""
	if s.colour >= 0 {
		fill = colours[s.colour]
	}
	if s.dim {
		opacity = ` opacity=".5"`
	}
	if s.bold {
		weight = ` font-weight="bold"`
	}
	x := func(column int) int { return margin + column*cellWidth }
	y := margin + row*cellHeight
	if s.reverse {
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", x(column), y, utf8.RuneCountInString(text)*cellWidth, cellHeight, fill)
		fill = background
	}
	for text != "" {
		if trimmed := strings.TrimLeft(text, " "); trimmed != text {
			column += len(text) - len(trimmed)
			text = trimmed
			continue
		}
		word := text
		if n := strings.Index(text, "  "); n > 0 {
			word = text[:n]
		}
		word = strings.TrimRight(word, " ")
		n := utf8.RuneCountInString(word)
		if height := map[rune]int{'━': 4, '─': 2}[firstRune(word)]; height > 0 {
			fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"%s/>`+"\n",
				x(column), y+(cellHeight-height)/2, n*cellWidth, height, fill, opacity)
		} else {
			fmt.Fprintf(b, `<text x="%d" y="%d" textLength="%d" fill="%s"%s%s xml:space="preserve">%s</text>`+"\n",
				x(column), y+cellHeight-5, n*cellWidth, fill, weight, opacity, html.EscapeString(word))
		}
		column += n
		text = text[len(word):]
	}
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}
