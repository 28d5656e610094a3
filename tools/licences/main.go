// Command licences reads the licence of every module that is linked into the
// programs, and refuses what does not go with Apache-2.0. From the root:
//
//	go -C tools/licences run . ./exporter ./manager ./generator
//
// It prints one line a module; the last line is "N passed, N failed".
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// allowed ask for nothing but to be named. MPL-2.0 asks for changed files of its own,
// which we do not have.
var allowed = []string{"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD", "MPL-2.0"}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "licences: want packages")
		os.Exit(2)
	}
	modules, err := linked(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(2)
	}
	failed := 0
	for _, m := range modules {
		found, err := licences(m.dir)
		if err != nil {
			failed++
			fmt.Printf("FAILED %s: %v\n", m.path, err)
			continue
		}
		fmt.Printf("%-60s %s\n", m.path, strings.Join(found, ", "))
	}
	fmt.Printf("%d passed, %d failed\n", len(modules)-failed, failed)
	if failed > 0 || len(modules) == 0 {
		os.Exit(1)
	}
}

type module struct{ path, dir string }

// linked lists the modules that packages of the repository are made of, but our own.
func linked(packages []string) ([]module, error) {
	list := exec.Command("go", append([]string{"list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}"}, packages...)...)
	list.Dir, list.Stderr = "../..", os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var all []module
	for line := range strings.Lines(string(out)) {
		if path, dir, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			all = append(all, module{path, dir})
		}
	}
	slices.SortFunc(all, func(a, b module) int { return strings.Compare(a.path, b.path) })
	return slices.Compact(all), nil
}

// licences names what the files at a module's root are. It is an error if there is
// none, or one that is not allowed, or a text that no licence covers.
func licences(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		// Documents are not linked.
		if e.IsDir() || strings.HasSuffix(name, ".DOCS") || !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		cover := licensecheck.Scan(bytes.TrimSpace(text))
		if cover.Percent < 75 {
			return nil, fmt.Errorf("%s: %.0f %% of it is a known licence", e.Name(), cover.Percent)
		}
		for _, m := range cover.Match {
			if !slices.Contains(allowed, m.ID) {
				return nil, fmt.Errorf("%s is %s", e.Name(), m.ID)
			}
			if !slices.Contains(found, m.ID) {
				found = append(found, m.ID)
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no licence at its root")
	}
	return found, nil
}
