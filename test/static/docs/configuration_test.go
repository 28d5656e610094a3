package docs

import (
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/estiba/estiba/internal/testutil"
)

var update = flag.Bool("update", false, "write the tables that are generated from the programs")

const configuration = "docs/configuration.md"

// option is one flag in a program's help.
type option struct {
	command  string // "" for all of the program's
	name     string // --web.listen-address
	fallback string // its default
	help     string
}

var (
	helpFlag    = regexp.MustCompile(`^ +(?:-\w, )?--(\[no-\])?([a-z][a-z0-9.-]*)(=\S*(?: \.\.\.)?)?(?:  +(.*))?$`)
	helpCommand = regexp.MustCompile(`^([a-z]+)\*?(?: .*)?$`)
)

// options parses the program's --help-long, with lines so wide that none wraps. A flag of
// the whole program is of the commands whose --help shows it.
func options(t *testing.T, program string) []option {
	t.Helper()
	sourcesOf(t, program)
	bin := testutil.Build(t, "./"+program)
	help := func(args ...string) string {
		cmd := exec.Command(bin, args...)
		cmd.Env = append(os.Environ(), "COLUMNS=100000")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	long := help("--help-long")
	all, names := parseHelp(long), commands(long)
	shown := map[string][]string{} // commands by flag
	for _, c := range names {
		for _, o := range parseHelp(help(c, "--help")) {
			shown[o.name] = append(shown[o.name], c)
		}
	}
	for i, o := range all {
		if list := shown[o.name]; o.command == "" && len(list) < len(names) {
			all[i].command = strings.Join(list, ", ")
		}
	}
	return all
}

// commands lists the commands in a program's --help-long.
func commands(long string) []string {
	var names []string
	_, list, _ := strings.Cut(long, "\nCommands:\n")
	for _, line := range strings.Split(list, "\n") {
		if m := helpCommand.FindStringSubmatch(line); m != nil && m[1] != "help" {
			names = append(names, m[1])
		}
	}
	return names
}

// sourcesOf stats the program's sources, so that go test does not reuse a cached
// result after they changed.
func sourcesOf(t *testing.T, program string) {
	t.Helper()
	for _, dir := range []string{program, "internal", "go.mod"} {
		err := filepath.WalkDir(filepath.Join(testutil.RepositoryRoot(t), dir), func(name string, d fs.DirEntry, err error) error {
			if err == nil && (strings.HasSuffix(name, ".go") || d.Name() == "go.mod") {
				_, err = os.Stat(name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func parseHelp(text string) []option {
	var all []option
	command, inside := "", false
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line == "Commands:" {
			inside = true
		} else if m := helpCommand.FindStringSubmatch(line); inside && m != nil {
			command = m[1]
		}
		m := helpFlag.FindStringSubmatch(line)
		if m == nil || m[2] == "help" || m[2] == "version" {
			continue
		}
		o := option{command: command, name: "--" + m[2], help: strings.TrimSpace(m[4])}
		if o.help == "" && i+1 < len(lines) {
			o.help = strings.TrimSpace(lines[i+1]) // the flag was too wide for one line
		}
		switch value := strings.TrimSuffix(strings.TrimPrefix(m[3], "="), " ..."); {
		case m[1] != "":
			o.fallback = "`false`"
		case value == strings.ToUpper(value) && regexp.MustCompile(`^[A-Z._-]+$`).MatchString(value), value == `""`:
			o.fallback = "" // a placeholder for the value: no default
		default:
			o.fallback = "`" + strings.Trim(value, `"`) + "`"
		}
		all = append(all, o)
	}
	return all
}

// flagTable is a program's table in the document. A flag of several commands has
// one row.
func flagTable(options []option) string {
	var rows []option
	for _, o := range options {
		same := false
		for i, r := range rows {
			if same = r.name == o.name && r.fallback == o.fallback && r.help == o.help; same {
				rows[i].command += ", " + o.command
				break
			}
		}
		if !same {
			rows = append(rows, o)
		}
	}
	var b strings.Builder
	b.WriteString("| flag | of | default | meaning |\n|---|---|---|---|\n")
	for _, o := range rows {
		if o.command == "" {
			o.command = "all"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.name, o.command, o.fallback, strings.ReplaceAll(o.help, "|", `\|`))
	}
	return b.String()
}

var (
	moduleParam = regexp.MustCompile(`(?m)^module_param\((\w+), (\w+), (0[0-7]{3})\);$`)
	moduleDesc  = regexp.MustCompile(`(?m)^MODULE_PARM_DESC\((\w+), "(.*)"\);$`)
)

// parameterTable is the table of parameters in the module's sources.
func parameterTable(t *testing.T, tr tree) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| parameter | default | in `/sys/module/estiba/parameters` | meaning |\n|---|---|---|---|\n")
	for _, name := range tr.names {
		if path.Dir(name) != "kmod" || path.Ext(name) != ".c" {
			continue
		}
		text := tr.read(t, name)
		said := map[string]string{}
		for _, m := range moduleDesc.FindAllStringSubmatch(text, -1) {
			said[m[1]] = m[2]
		}
		found := moduleParam.FindAllStringSubmatch(text, -1)
		if len(found) != strings.Count(text, "module_param") {
			t.Errorf("%s: a module_param cannot be parsed", name)
		}
		for _, m := range found {
			value := regexp.MustCompile(`(?m)^static \w+ \*?` + m[1] + `(?: = "?([^;"]*)"?)?;$`).FindStringSubmatch(text)
			if value == nil || said[m[1]] == "" {
				t.Errorf("%s: parameter %s has no variable or no description", name, m[1])
				continue
			}
			if value[1] == "" {
				value[1] = "0"
			}
			change := "can be read"
			if m[3] != "0444" {
				change = "can be changed"
			}
			// The default has a column of its own.
			help := regexp.MustCompile(` \(default [^)]*\)$`).ReplaceAllString(said[m[1]], "")
			fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", m[1], value[1], change, help)
		}
	}
	return b.String()
}

// TestFlags compares the tables of docs/configuration.md with the programs' help
// and the module's sources, and each flag that a document passes to one of our
// programs with that program.
func TestFlags(t *testing.T) {
	tr := readTree(t)
	of := map[string][]option{}
	made := map[string]string{"module": parameterTable(t, tr)}
	for _, program := range programs {
		of[program] = options(t, program)
		made[program] = flagTable(of[program])
	}
	t.Run("tables", func(t *testing.T) { compare(t, tr, configuration, made) })
	t.Run("documents", func(t *testing.T) { given(t, tr, of) })
}

var programs = []string{"exporter", "manager", "generator"}

var block = regexp.MustCompile(`(?s)<!-- made: (\w+) -->\n(.*?)<!-- end -->\n`)

// compare checks the parts of a document between <!-- made: NAME --> and
// <!-- end -->, or writes them with -update.
func compare(t *testing.T, tr tree, document string, made map[string]string) {
	t.Helper()
	text := tr.read(t, document)
	found := map[string]bool{}
	fresh := block.ReplaceAllStringFunc(text, func(whole string) string {
		m := block.FindStringSubmatch(whole)
		want, known := made[m[1]]
		if !known {
			t.Errorf("%s: unknown part %s", document, m[1])
			return whole
		}
		found[m[1]] = true
		if m[2] != want && !*update {
			t.Errorf("%s: part %s is out of date:\n%srun go test ./test/static/docs -update", document, m[1], difference(m[2], want))
		}
		return fmt.Sprintf("<!-- made: %s -->\n%s<!-- end -->\n", m[1], want)
	})
	for name := range made {
		if !found[name] {
			t.Errorf("%s: missing part <!-- made: %s -->", document, name)
		}
	}
	if *update && fresh != text {
		if err := os.WriteFile(filepath.Join(tr.root, filepath.FromSlash(document)), []byte(fresh), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// difference lists the lines that are in only one of two texts.
func difference(got, want string) string {
	var b strings.Builder
	only := func(sign, a, other string) {
		has := map[string]bool{}
		for _, line := range strings.Split(other, "\n") {
			has[line] = true
		}
		for _, line := range strings.Split(a, "\n") {
			if !has[line] {
				fmt.Fprintf(&b, "%s %s\n", sign, line)
			}
		}
	}
	only("-", got, want)
	only("+", want, got)
	if b.Len() == 0 {
		return "  the lines are in another order\n"
	}
	return b.String()
}

// given checks the flags in calls of our programs.
func given(t *testing.T, tr tree, of map[string][]option) {
	known := map[string]map[string]bool{}
	for program, all := range of {
		known[program] = map[string]bool{"--help": true, "--version": true, "--help-long": true}
		for _, o := range all {
			known[program][o.name] = true
		}
	}
	call := regexp.MustCompile(`(?:^|[ /])(?:estiba-)?(exporter|manager|generator) ([^|;&#]*)`)
	flags := regexp.MustCompile(`(?:^| )(--[a-z][a-z0-9.-]*)`)
	seen := 0
	for _, p := range tr.pages(t) {
		for _, code := range p.code {
			for _, m := range call.FindAllStringSubmatch(code, -1) {
				for _, f := range flags.FindAllStringSubmatch(m[2], -1) {
					seen++
					if !known[m[1]][f[1]] {
						t.Errorf("%s: `%s`: %s has no flag %s", p.path, code, m[1], f[1])
					}
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d flags were found in the documents", seen)
	}
}

// TestHelpIsRead tests the parser of the help.
func TestHelpIsRead(t *testing.T) {
	got := flagTable(parseHelp(strings.Join([]string{
		"usage: x [<flags>] <command>", "", "Flags:",
		"  -h, --[no-]help       Show help.",
		`      --a.b=":1"        One | two.`,
		`      --long.name="/a/b"  `, "                        Three.",
		`      --list=LIST ...   Four.`, `      --empty=""        Five. ($ENV)`, "      --[no-]six        Six.",
		"Commands:", "help [<command>...]", "    Show help.", "", "do* [<flags>]", "    Do it.", "", "    --seven=7s  Seven.", "",
		"redo [<flags>]", "    Do it again.", "", "    --seven=7s  Seven.", "    --more=7s   Seven.",
	}, "\n")))
	want := "| flag | of | default | meaning |\n|---|---|---|---|\n| `--a.b` | all | `:1` | One \\| two. |\n| `--long.name` | all | `/a/b` | Three. |\n" +
		"| `--list` | all |  | Four. |\n| `--empty` | all |  | Five. ($ENV) |\n| `--six` | all | `false` | Six. |\n" +
		"| `--seven` | do, redo | `7s` | Seven. |\n| `--more` | redo | `7s` | Seven. |\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestModuleParameters compares the table in kmod/README.md with the sources, in
// both directions.
func TestModuleParameters(t *testing.T) {
	tr := readTree(t)
	row := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| `([^`]*)` \\|")
	rows := func(text string) map[string]string {
		found := map[string]string{}
		for _, m := range row.FindAllStringSubmatch(text, -1) {
			found[m[1]] = m[2]
		}
		return found
	}
	_, section, _ := strings.Cut(tr.read(t, "kmod/README.md"), "\n## Parameters\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if want, got := rows(parameterTable(t, tr)), rows(section); !maps.Equal(want, got) {
		t.Errorf("kmod/README.md has the parameters %v, the sources %v", got, want)
	}
}
