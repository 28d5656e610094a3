package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// printTable prints rows in columns; the first row is the heading. style gets padded
// cells, so that colours do not count as width.
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
