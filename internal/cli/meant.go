package cli

import (
	"regexp"
	"slices"

	"github.com/alecthomas/kingpin/v2"
)

// The errors of the parser that have a word in them.
var (
	unknownCommand = regexp.MustCompile(`^(?:expected command but got "(.+)"|unexpected (.+))$`)
	unknownFlag    = regexp.MustCompile(`^unknown long flag '--(.+)'$`)
)

// meant returns the command or flag that is most like the word in a parser's error, ""
// if none is.
func (a *App) meant(args []string, text string) string {
	m := a.Model()
	if found := unknownCommand.FindStringSubmatch(text); found != nil {
		var names []string
		for _, c := range m.Commands {
			// Behind a known command the word is no command.
			if slices.Contains(args, c.Name) {
				return ""
			}
			if !c.Hidden {
				names = append(names, c.Name)
			}
		}
		return nearest(found[1]+found[2], names)
	}
	found := unknownFlag.FindStringSubmatch(text)
	if found == nil {
		return ""
	}
	var names []string
	add := func(flags []*kingpin.FlagModel) {
		for _, f := range flags {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		}
	}
	add(m.Flags)
	for _, c := range m.Commands {
		if c.Default || slices.Contains(args, c.Name) {
			add(c.Flags)
		}
	}
	if name := nearest(found[1], names); name != "" {
		return "--" + name
	}
	return ""
}

// nearest returns the name with the fewest typing mistakes in word, "" if there are too
// many: more than a third of its letters.
func nearest(word string, names []string) string {
	best, least := "", len(word)/3+1
	for _, name := range names {
		if n := mistakes(word, name); n < least {
			best, least = name, n
		}
	}
	return best
}

// mistakes is the number of letters to insert, remove, replace, or swap with the next one
// to make b of a (optimal string alignment).
func mistakes(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := 1
			if a[i-1] == b[j-1] {
				replace = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
