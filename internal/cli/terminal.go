package cli

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Width is the number of columns of the terminal w; false if it is none.
func Width(w io.Writer) (int, bool) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 0, false
	}
	return int(size.Col), true
}

// Paint colours text.
type Paint struct{ On bool }

// PaintFor returns a Paint that is on if w is a terminal that wants colours
// (https://no-color.org).
func PaintFor(w io.Writer) Paint {
	return Paint{On: IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (p Paint) wrap(code, s string) string {
	if !p.On {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Bold returns a bold text, or as it is if p is off, as the others do.
func (p Paint) Bold(s string) string { return p.wrap("1", s) }

// Dim returns a text in a paler colour.
func (p Paint) Dim(s string) string { return p.wrap("2", s) }

// Red returns a red text.
func (p Paint) Red(s string) string { return p.wrap("31", s) }

// Green returns a green text.
func (p Paint) Green(s string) string { return p.wrap("32", s) }
