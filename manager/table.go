package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// paint colours text on terminals only.
type paint struct{ on bool }

func (p paint) wrap(code, s string) string {
	if !p.on {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p paint) bold(s string) string  { return p.wrap("1", s) }
func (p paint) dim(s string) string   { return p.wrap("2", s) }
func (p paint) red(s string) string   { return p.wrap("31", s) }
func (p paint) green(s string) string { return p.wrap("32", s) }

// isTerminal tells whether w is a terminal that wants colours
// (https://no-color.org).
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// printTable prints rows in columns; the first row is the heading. style sees
// each padded cell, so that colours do not count as width.
func printTable(w io.Writer, rows [][]string, style func(row []string, cell string) string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			if i > 0 {
				b.WriteString("  ")
			}
			padded := cell
			if i < len(row)-1 {
				padded += strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			}
			b.WriteString(style(row, padded))
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}
