package docs

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	makefileTarget = regexp.MustCompile(`(?m)^([a-z][a-z -]*):`)
	word           = regexp.MustCompile(`^[a-z][a-z-]*$`)
	assignment     = regexp.MustCompile(`^([A-Z_]+)=`)
)

// makefile is one Makefile.
type makefile struct {
	path    string
	targets map[string]bool
	text    string
}

func (tr tree) makefile(t *testing.T, dir string) (makefile, bool) {
	t.Helper()
	name := path.Join(dir, "Makefile")
	if !tr.exists(name) {
		return makefile{}, false
	}
	m := makefile{path: name, targets: map[string]bool{}, text: tr.read(t, name)}
	for _, found := range makefileTarget.FindAllStringSubmatch(m.text, -1) {
		for _, target := range strings.Fields(found[1]) {
			m.targets[target] = true
		}
	}
	return m, true
}

// makeCall is one call of make in a document.
type makeCall struct {
	dir     string // of -C, "" without
	targets []string
	vars    []string
}

// makeCalls finds calls of make in a line of code: at the start, after a prompt
// or after &&.
func makeCalls(code string) []makeCall {
	var calls []makeCall
	for _, command := range strings.Split(strings.TrimPrefix(strings.TrimSpace(code), "$ "), "&&") {
		fields := strings.Fields(command)
		if len(fields) == 0 || fields[0] != "make" {
			continue
		}
		var c makeCall
	call:
		for i := 1; i < len(fields); i++ {
			f := fields[i]
			switch {
			case f == "-C" && i+1 < len(fields):
				i++
				c.dir = fields[i]
			case strings.HasPrefix(f, "-"):
			case assignment.MatchString(f):
				c.vars = append(c.vars, assignment.FindStringSubmatch(f)[1])
				// A quoted value may contain blanks.
				for strings.Count(f, "'")%2+strings.Count(f, `"`)%2 > 0 && i+1 < len(fields) {
					i++
					f += fields[i]
				}
			case word.MatchString(f):
				c.targets = append(c.targets, f)
			default:
				break call // a comment, or another command
			}
		}
		calls = append(calls, c)
	}
	return calls
}

// TestMakeTargetsExist checks the targets and variables of calls of make. Without
// -C the Makefile is the one beside the document or in the root.
func TestMakeTargetsExist(t *testing.T) {
	tr := readTree(t)
	seen := 0
	for _, p := range tr.pages(t) {
		for _, code := range p.code {
			for _, call := range makeCalls(code) {
				seen++
				dirs := []string{p.dir(), "."}
				if call.dir != "" {
					dirs = []string{call.dir}
				}
				var known []makefile
				for _, dir := range dirs {
					if m, ok := tr.makefile(t, dir); ok {
						known = append(known, m)
					}
				}
				if len(known) == 0 {
					t.Errorf("%s: `%s`: there is no Makefile in %s", p.path, code, strings.Join(dirs, " or "))
					continue
				}
				for _, target := range call.targets {
					if !anyOf(known, func(m makefile) bool { return m.targets[target] }) {
						t.Errorf("%s: `%s`: no target %s in %s", p.path, code, target, known[0].path)
					}
				}
				for _, name := range call.vars {
					if !anyOf(known, func(m makefile) bool { return regexp.MustCompile(`\b` + name + `\b`).MatchString(m.text) }) {
						t.Errorf("%s: `%s`: %s does not read %s", p.path, code, known[0].path, name)
					}
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d calls of make were found in the documents", seen)
	}
}

func anyOf(all []makefile, is func(makefile) bool) bool {
	for _, m := range all {
		if is(m) {
			return true
		}
	}
	return false
}

// TestMakeCallsAreFound tests makeCalls.
func TestMakeCallsAreFound(t *testing.T) {
	for code, want := range map[string]int{
		"make": 0, "make up": 1, "$ make -s a b": 2, "make -C kmod load # it": 1, "make x && make y": 2,
		"make load ARGS='a b' c": 2, "makes": 0, "cmake up": 0, "make run says what": 3,
	} {
		got := 0
		for _, c := range makeCalls(code) {
			got += len(c.targets)
		}
		if got != want {
			t.Errorf("%q: %d targets, want %d", code, got, want)
		}
	}
}

// TestSuitesAreListed compares the suites in CONTRIBUTING.md with the Makefile and
// .ci/run.
func TestSuitesAreListed(t *testing.T) {
	tr := readTree(t)
	root, _ := tr.makefile(t, ".")
	inCI := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^suite make ([a-z-]+)`).FindAllStringSubmatch(tr.read(t, ".ci/run"), -1) {
		inCI[m[1]] = true
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `make ([a-z-]+)` \\| (yes|no) \\|").FindAllStringSubmatch(tr.read(t, "CONTRIBUTING.md"), -1) {
		rows[m[1]] = m[2]
	}
	for target := range root.targets {
		if !strings.HasPrefix(target, "test") && !inCI[target] {
			continue
		}
		want := "no"
		if inCI[target] {
			want = "yes"
		}
		if rows[target] != want {
			t.Errorf("CONTRIBUTING.md: `make %s`: .ci/run is %q, want %q", target, rows[target], want)
		}
		delete(rows, target)
	}
	for target := range rows {
		t.Errorf("CONTRIBUTING.md: `make %s` is not a suite", target)
	}
}

// TestMakeVariables compares the table of variables in docs/configuration.md with
// the Makefile, in both directions, defaults included.
func TestMakeVariables(t *testing.T) {
	tr := readTree(t)
	root, _ := tr.makefile(t, ".")
	want := map[string]string{} // variables that can be set, with their defaults
	for _, m := range regexp.MustCompile(`\$\(([A-Z_]+)\)`).FindAllStringSubmatch(root.text, -1) {
		want[m[1]] = ""
	}
	for _, m := range regexp.MustCompile(`(?m)^([A-Z_]+) *(\?|:)= *(.*)$`).FindAllStringSubmatch(root.text, -1) {
		if m[2] == ":" {
			delete(want, m[1])
		} else if want[m[1]] = m[3]; strings.HasPrefix(m[3], "$(shell") {
			want[m[1]] = ""
		}
	}
	delete(want, "MAKE")
	delete(want, "MAKEFILE_LIST")

	_, section, _ := strings.Cut(tr.read(t, configuration), "\n## Make\n")
	for _, row := range regexp.MustCompile("(?m)^\\| (`[A-Z_`, ]+`) \\|.*$").FindAllStringSubmatch(section, -1) {
		for _, m := range codeSpan.FindAllStringSubmatch(row[1], -1) {
			fallback, known := want[m[1]]
			if !known {
				t.Errorf("%s has a row for the variable %s, which the Makefile does not read", configuration, m[1])
			} else if fallback != "" && !strings.Contains(row[0], "`"+fallback+"`") {
				t.Errorf("%s: the row of %s does not state its default %s", configuration, m[1], fallback)
			}
			delete(want, m[1])
		}
	}
	for name, fallback := range want {
		t.Errorf("%s has no row for the Makefile's variable %s, with the default %q", configuration, name, fallback)
	}
}
