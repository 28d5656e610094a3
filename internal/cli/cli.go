// Package cli sets up the command line of all programs in the same way: help that shows
// only what a command heeds, hints at misspelt words, man pages and completions.
package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"
)

// App is the command line of a program.
type App struct {
	*kingpin.Application
	heeds map[string][]string // patterns of global flags by command; see Heeds
	exit  func(int)
}

// New returns the command line of a program, with -h, --help, -V and --version, which
// print to standard output. Parsing arguments without a command prints the help and
// exits with 0, unless a command is the default.
func New(name, help string) *App {
	// Packages install the programs under longer names, which help and completions use.
	called := name
	if base := filepath.Base(os.Args[0]); base == "estiba-"+name {
		called = base
	}
	a := &App{Application: kingpin.New(called, help), heeds: map[string][]string{}, exit: os.Exit}
	a.UsageWriter(os.Stdout).Version(Version(name)).UsageTemplate(usageTemplate)
	a.HelpFlag.Short('h')
	a.VersionFlag.Short('V')
	a.HelpFlag.Help("Show help, also of a command.")
	a.addTexts()
	return a
}

// Heeds says which global flags a command heeds, by their names; a name that ends with *
// is a prefix. The command's help leaves out the others. Without a call it heeds all.
func (a *App) Heeds(c *kingpin.CmdClause, flags ...string) {
	a.heeds[c.FullCommand()] = append([]string{"help"}, flags...)
}

// heeded selects flags for the help of a command, its own first; nil is the whole
// program.
func (a *App) heeded(flags []*kingpin.FlagModel, c *kingpin.CmdModel) []*kingpin.FlagModel {
	if c == nil {
		return flags
	}
	patterns, limited := a.heeds[c.FullCommand]
	own := map[string]bool{}
	for _, f := range c.Flags {
		own[f.Name] = true
	}
	var first, kept []*kingpin.FlagModel
	for _, f := range flags {
		switch {
		case own[f.Name]:
			first = append(first, f)
		case !limited || matches(patterns, f.Name):
			kept = append(kept, f)
		}
	}
	return append(first, kept...)
}

func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		prefix, isPrefix := strings.CutSuffix(p, "*")
		if p == name || isPrefix && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// DockerHost registers --docker.host and returns its value, "" for the default socket.
func (a *App) DockerHost(what string) *string {
	return a.Flag("docker.host", "URL of the Docker Engine"+what+", unix:///… or tcp://…; it has precedence over DOCKER_HOST. Default: Docker's default socket.").
		PlaceHolder("URL").Envar("DOCKER_HOST").String()
}

// Parse returns the command that args select. The error for a misspelt command or flag
// names what was probably meant.
func (a *App) Parse(args []string) (string, error) {
	command, err := a.Application.Parse(completable(args))
	if err == nil {
		return command, nil
	}
	if meant := a.meant(args, err.Error()); meant != "" {
		return "", fmt.Errorf("%w: did you mean %s?", err, meant)
	}
	return "", fmt.Errorf("%w, try --help", err)
}

// Version is the text of --version. It leaves out what is unknown of the build.
func Version(name string) string {
	var b strings.Builder
	release := version.Version
	if release == "" {
		release = "unknown"
	}
	fmt.Fprintf(&b, "%s, version %s", name, release)
	if revision := version.GetRevision(); revision != "" && revision != "unknown" {
		fmt.Fprintf(&b, " (revision: %s)", revision)
	}
	if version.BuildDate != "" {
		fmt.Fprintf(&b, "\n  build date:       %s", version.BuildDate)
	}
	fmt.Fprintf(&b, "\n  go version:       %s", version.GoVersion)
	fmt.Fprintf(&b, "\n  platform:         %s/%s", version.GoOS, version.GoArch)
	return b.String()
}
