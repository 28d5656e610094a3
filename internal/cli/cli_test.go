package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/version"
)

func TestVersion(t *testing.T) {
	defer func(release, revision, date string) {
		version.Version, version.Revision, version.BuildDate = release, revision, date
	}(version.Version, version.Revision, version.BuildDate)
	const rest = "\n  go version:       %s\n  platform:         %s/%s"
	for _, tt := range []struct{ release, revision, date, want string }{
		{"1.2.3", "abc", "2026-01-02T03:04:05Z", "p, version 1.2.3 (revision: abc)\n  build date:       2026-01-02T03:04:05Z" + rest},
		{"", "unknown", "", "p, version unknown" + rest},
	} {
		version.Version, version.Revision, version.BuildDate = tt.release, tt.revision, tt.date
		if got, want := Version("p"), fmt.Sprintf(tt.want, version.GoVersion, version.GoOS, version.GoArch); got != want {
			t.Errorf("Version = %q, want %q", got, want)
		}
	}
}

func TestNoCommand(t *testing.T) {
	app := New("p", "Does a thing.")
	var out bytes.Buffer
	status := -1
	app.UsageWriter(&out).Terminate(func(code int) { status = code })
	app.Command("work", "Work.")
	app.Parse(nil)
	if status != 0 || !strings.Contains(out.String(), "Does a thing.") || !strings.Contains(out.String(), "work") {
		t.Errorf("exit %d, %q", status, out.String())
	}
}

// program has two commands, of which one heeds only some of the global flags.
func program(out *bytes.Buffer) *App {
	app := New("p", "Does a thing.")
	app.UsageWriter(out).ErrorWriter(out).Terminate(func(int) {})
	app.Flag("log.level", "Level.").String()
	app.Flag("web.file", "File.").PlaceHolder("FILE").String()
	app.DockerHost("")
	app.Command("run", "Run.")
	plan := app.Command("plan", "Plan.")
	plan.Flag("output", "Format.").String()
	app.Heeds(plan, "web.*")
	return app
}

func TestHelpOfACommand(t *testing.T) {
	for command, c := range map[string]struct{ has, lacks string }{
		"plan": {"--output --web.file --help", "--log.level --version --docker.host"},
		"run":  {"--log.level --web.file --docker.host DOCKER_HOST", "--output"},
		"":     {"--log.level --web.file --help --version", ""},
	} {
		var out bytes.Buffer
		args := []string{"--help"}
		if command != "" {
			args = []string{command, "--help"}
		}
		program(&out).Parse(args)
		text := strings.ReplaceAll(out.String(), "[no-]", "")
		for _, want := range strings.Fields(c.has) {
			if !strings.Contains(text, want) {
				t.Errorf("the help of %q lacks %s:\n%s", command, want, text)
			}
		}
		for _, not := range strings.Fields(c.lacks) {
			if strings.Contains(text, not) {
				t.Errorf("the help of %q has %s:\n%s", command, not, text)
			}
		}
	}
}

func TestMeant(t *testing.T) {
	for args, want := range map[string]string{
		"pln":                "did you mean plan?",
		"plan --outptu=x":    "did you mean --output?",
		"plan --web.flie=x":  "did you mean --web.file?",
		"run --outptu=x":     "try --help", // a flag of the other command
		"something":          "try --help",
		"plan run":           "try --help",
		"plan --log.levle=x": "did you mean --log.level?",
	} {
		_, err := program(new(bytes.Buffer)).Parse(strings.Fields(args))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}

func TestDockerHost(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///of-the-environment")
	for args, want := range map[string]string{"": "unix:///of-the-environment", "--docker.host=tcp://given:1": "tcp://given:1"} {
		app := New("p", "Does a thing.")
		host := app.DockerHost("")
		app.Command("run", "Run.")
		if _, err := app.Parse(append(strings.Fields(args), "run")); err != nil || *host != want {
			t.Errorf("%q: %s, %v, want %s", args, *host, err, want)
		}
	}
}

func TestPaint(t *testing.T) {
	if got := (Paint{}).Red("x"); got != "x" {
		t.Errorf("%q", got)
	}
	if got := (Paint{On: true}).Red("x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("%q", got)
	}
	for _, name := range []string{"/dev/null", t.TempDir() + "/file"} {
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if PaintFor(f).On || IsTerminal(f) {
			t.Errorf("%s is a terminal", name)
		}
		f.Close()
	}
}

// The texts for packages, and the words that complete.
func TestTexts(t *testing.T) {
	for flag, wants := range map[string][]string{
		"man":         {".TH P 1 ", `p \- does a thing`, `\fB\-\-docker.host\fR=\fIURL\fR`, ".SS \"plan\""},
		"script-bash": {"complete -o default -F _estiba_p p\n"},
		"script-zsh":  {"#compdef p\n"},
		"script-fish": {"complete -c p -a "},
	} {
		name := "--completion-" + flag
		if flag == "man" {
			name = "--help-man"
		}
		out := output(t, name)
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("%s lacks %q:\n%s", name, want, out)
			}
		}
	}
	for words, want := range map[string]string{
		"":                "plan", // the first word
		"pl":              "plan",
		"plan --out":      "--output",
		"plan --output x": "table",
		"plan --web":      "--web.file",
	} {
		out := output(t, append([]string{"--completion-bash"}, strings.Split(words, " ")...)...)
		if !slices.Contains(strings.Split(out, "\n"), want) {
			t.Errorf("%q: no %s in %q", words, want, out)
		}
	}
}

// output runs the program of the tests again: kingpin prints to standard output, and exits.
func output(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CLI_TEST_ARGS="+strings.Join(args, "\n"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return string(out)
}

func TestMain(m *testing.M) {
	args, ok := os.LookupEnv("CLI_TEST_ARGS")
	if !ok {
		os.Exit(m.Run())
	}
	app := New("p", "Does a thing.")
	app.Flag("web.file", "File.").String()
	app.DockerHost("")
	app.Command("run", "Run.").Default()
	app.Command("plan", "Plan.").Flag("output", "Format.").Enum("table", "json")
	app.Parse(strings.Split(args, "\n"))
}
