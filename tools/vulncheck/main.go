// Command vulncheck looks for known vulnerabilities in what the programs really call
// that we build and that stay running, with the pinned govulncheck. The database is the Go project's, in the form of a module that GOPROXY
// serves as it serves every other, or the one at VULNDB: https://vuln.go.dev, or a copy
// of it as https://… or file:///….
//
// It ends with 0 if there are none but those in accepted.txt, with 3 if there are, and
// with 1 if that is not known or the list cannot be read.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is the database as a module. Its newest version is asked for at each run: a
// database that is not updated has nothing new.
const module = "golang.org/x/vulndb"

// program is one, and its tools: packages as seen from their module's folder.
type program struct {
	module, tags string
	packages     []string
}

// thirdParty is how tools/build.sh builds what is not ours.
const thirdParty = "remove_all_sd,enable_moby_sd,netgo"

var programs = []program{
	{module: "../..", packages: []string{"./exporter", "./manager", "./generator"}},
	{module: "../compose", packages: []string{"./socketproxy"}},
	{module: "..", tags: thirdParty, packages: []string{
		"github.com/prometheus/prometheus/cmd/prometheus", "github.com/prometheus/prometheus/cmd/promtool",
	}},
	{module: "../alertmanager", tags: thirdParty, packages: []string{
		"github.com/prometheus/alertmanager/cmd/alertmanager", "github.com/prometheus/alertmanager/cmd/amtool",
	}},
}

func main() {
	found, err := check(os.Getenv("VULNDB"), "accepted.txt", programs, os.Stdout)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "vulncheck:", err)
		os.Exit(1)
	case found:
		os.Exit(3)
	}
}

// check prints what is known of programs, and reports whether anything of it is not
// accepted.
func check(database, list string, programs []program, out io.Writer) (bool, error) {
	accepted, err := readAccepted(list)
	if err != nil {
		return false, err
	}
	if database == "" {
		if database, err = download(out); err != nil {
			return false, err
		}
	}
	found, used := false, map[string]bool{}
	for _, p := range programs {
		known, err := p.scan(database)
		if err != nil {
			return false, err
		}
		fmt.Fprintf(out, "%s: %d called\n", strings.Join(p.packages, " "), len(known))
		for _, v := range known {
			if why, ok := accepted[v.ID]; ok {
				used[v.ID] = true
				fmt.Fprintf(out, "  accepted: %s %s: %s\n", v.ID, v.Summary, why)
				continue
			}
			found = true
			fmt.Fprintf(out, "  FOUND: %s %s\n    in %s, fixed in %s\n    %s\n    https://pkg.go.dev/vuln/%s\n", v.ID, v.Summary, v.in, v.fixed, v.trace, v.ID)
		}
	}
	for id := range accepted {
		if !used[id] { // is harmless, and the database changes without us
			fmt.Fprintf(out, "%s: %s is not found any more: take it out\n", list, id)
		}
	}
	return found, nil
}

// readAccepted gives the reason for each ID.
func readAccepted(file string) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	accepted := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, why, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("%s: %s has no reason", file, id)
		}
		accepted[id] = why
	}
	return accepted, nil
}

// download brings the newest database.
func download(out io.Writer) (string, error) {
	text, err := exec.Command("go", "mod", "download", "-json", module+"@latest").Output()
	var got struct{ Version, Dir, Error string }
	if wrong := json.Unmarshal(text, &got); got.Error != "" {
		err = errors.New(got.Error)
	} else if err == nil {
		err = wrong
	}
	if err != nil {
		return "", fmt.Errorf("no database, so nothing is known: %w", err)
	}
	fmt.Fprintf(out, "database: %s %s\n", module, got.Version)
	return "file://" + filepath.Join(got.Dir, "data", "osv"), nil
}

// vulnerability is one that is called.
type vulnerability struct {
	ID, Summary      string
	in, fixed, trace string
}

// message is what of govulncheck's output is of use. See its -format json,
// https://pkg.go.dev/golang.org/x/vuln/internal/govulncheck.
type message struct {
	OSV     *vulnerability
	Finding *struct {
		OSV          string
		FixedVersion string `json:"fixed_version"`
		Trace        []struct{ Module, Version, Package, Receiver, Function string }
	}
}

// scan asks govulncheck.
func (p program) scan(database string) ([]*vulnerability, error) {
	// What Go itself has and has not is judged by the version that builds.
	path, err := exec.Command("go", "tool", "-n", "govulncheck").Output()
	if err != nil {
		return nil, fmt.Errorf("building govulncheck: %w", err)
	}
	cmd := exec.Command(strings.TrimSpace(string(path)), append([]string{"-format=json", "-db=" + database, "-tags=" + p.tags}, p.packages...)...)
	cmd.Dir = p.module
	var said bytes.Buffer
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("nothing is known of %s: %w: %s", p.packages, err, strings.TrimSpace(said.String()))
	}
	all, called := map[string]*vulnerability{}, []*vulnerability{}
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var m message
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return called, nil
		} else if err != nil {
			return nil, fmt.Errorf("output of govulncheck: %w", err)
		}
		if m.OSV != nil {
			all[m.OSV.ID] = m.OSV
		}
		// One that is only in a package or module that is needed has no function.
		f := m.Finding
		if f == nil || len(f.Trace) == 0 || f.Trace[0].Function == "" {
			continue
		}
		v := all[f.OSV]
		if v == nil {
			return nil, fmt.Errorf("output of govulncheck: finding %s is not described", f.OSV)
		}
		if v.in != "" {
			continue // the first way to it is enough
		}
		v.in, v.fixed = f.Trace[0].Module+" "+f.Trace[0].Version, f.FixedVersion
		if v.fixed == "" {
			v.fixed = "no version"
		}
		var calls []string
		for i := range f.Trace {
			step := f.Trace[len(f.Trace)-1-i]
			calls = append(calls, strings.TrimPrefix(strings.Join([]string{step.Package, step.Receiver, step.Function}, "."), "github.com/estiba/estiba/"))
		}
		v.trace = strings.ReplaceAll(strings.Join(calls, " → "), "..", ".")
		called = append(called, v)
	}
}
