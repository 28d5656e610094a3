package cli

import (
	"slices"
	"strings"
	"text/template"

	"github.com/alecthomas/kingpin/v2"
)

// usageTemplate is kingpin's default with the flags that the command heeds.
var usageTemplate = strings.ReplaceAll(kingpin.DefaultUsageTemplate,
	"{{.Context.Flags|FlagsToTwoColumns|FormatTwoColumns}}",
	"{{Heeded .Context.Flags .Context.SelectedCommand|FlagsToTwoColumns|FormatTwoColumns}}")

// The man page follows man-pages(7). It has no date and no version: the same program
// gives the same page.
const manTemplate = `{{with .App}}.\" Written by {{.Name}} --help-man.
.TH {{.Name|upper}} 1 "" "Estiba" "User Commands"
.SH NAME
{{.Name}} \- {{.Help|short}}
.SH SYNOPSIS
.B {{.Name}}
[\fIflags\fR] {{if .Commands}}[\fIcommand\fR] [\fIarguments\fR]{{end}}
.SH DESCRIPTION
{{.Help|roff}}
{{if .Commands}}.SH COMMANDS
{{range .Commands}}{{if not .Hidden}}.SS "{{.FullCommand}}{{range .Args}} [{{.Name}} ...]{{end}}"
{{.Help|roff}}
{{template "flags" .Flags}}{{end}}{{end}}{{end}}.SH OPTIONS
These can stand before or after the command. The help of a command lists those that it heeds.
{{template "flags" .Flags}}.SH SEE ALSO
https://github.com/estiba/estiba
{{end -}}
{{define "flags"}}{{range .}}{{if not .Hidden}}.TP
\fB{{if .Short}}\-{{.Short|printf "%c"}}\fR, \fB{{end}}\-\-{{.Name|roff}}{{if not .IsBoolFlag}}\fR=\fI{{.FormatPlaceHolder|roff}}{{end}}\fR
{{.HelpWithEnvar|roff}}
{{end}}{{end}}{{end}}`

// Completion scripts. The program completes itself: --completion-bash prints the words
// that can stand in place of the last argument. Where there is none, the shell completes
// file names.
const (
	bashTemplate = `_estiba_{{.App.Name|identifier}}() {
    local words
    words=$("${COMP_WORDS[0]}" --completion-bash "${COMP_WORDS[@]:1:$COMP_CWORD}" 2>/dev/null)
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _estiba_{{.App.Name|identifier}} {{.App.Name}}
`
	zshTemplate = `#compdef {{.App.Name}}
local -a matches
matches=(${(f)"$(${words[1]} --completion-bash "${(@)words[2,CURRENT]}" 2>/dev/null)"})
compadd -a matches || _files
`
	fishTemplate = `function __estiba_{{.App.Name|identifier}}
    set -l before (commandline -opc)
    {{.App.Name}} --completion-bash $before[2..-1] (commandline -ct) 2>/dev/null
end
complete -c {{.App.Name}} -a '(__estiba_{{.App.Name|identifier}})'
`
)

// addTexts replaces kingpin's texts, which lack a line for apropos, have the date in
// them, and need functions named for the program, and adds one for fish.
func (a *App) addTexts() {
	kingpin.ManPageTemplate, kingpin.BashCompletionTemplate, kingpin.ZshCompletionTemplate = manTemplate, bashTemplate, zshTemplate
	a.UsageFuncs(template.FuncMap{
		"Heeded": a.heeded, "upper": strings.ToUpper, "short": short, "roff": roff,
		"identifier": func(s string) string { return strings.ReplaceAll(strings.TrimPrefix(s, "estiba-"), "-", "_") },
	})
	a.Flag("completion-script-fish", "Generate completion script for fish.").Hidden().PreAction(func(c *kingpin.ParseContext) error {
		if err := a.UsageForContextWithTemplate(c, 2, fishTemplate); err != nil {
			return err
		}
		a.exit(0)
		return nil
	}).Bool()
}

// completable drops the beginning of a word that is to be completed, unless it is a flag:
// kingpin parses it as if it were complete, and fails. The shell selects by it.
func completable(args []string) []string {
	n := len(args) - 1
	if n < 1 || args[0] != "--completion-bash" || strings.HasPrefix(args[n], "-") {
		return args
	}
	if strings.HasPrefix(args[n-1], "--") && n > 1 {
		return append(slices.Clone(args[:n]), "") // the value of a flag
	}
	return args[:n]
}

// short is a sentence as man's NAME section has it.
func short(s string) string {
	s = strings.TrimSuffix(s, ".")
	return roff(strings.ToLower(s[:1]) + s[1:])
}

// roff escapes a text: backslashes, hyphens that are minus signs, and what would be a
// request at the start of a line.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", `\&...`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
