package container

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the module's table")

// casesFile has one case a line, which the module's test reads, too: path, result, id,
// its own path, user, pod, separated by tabs; "-" is empty. The result is a runtime,
// "none", or with "?" behind it if only a shim makes it one, or with "!" if the
// processes are the runtime's.
const casesFile = "../../kmod/tests/cgroups.txt"

func TestFindCgroup(t *testing.T) {
	b, err := os.ReadFile(casesFile)
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for n, line := range strings.Split(string(b), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		path, want, _ := strings.Cut(line, "\t")
		if got := describe(FindCgroup(path)); got != want {
			t.Errorf("line %d: %s\n got %s\nwant %s", n+1, path, got, want)
		}
		cases++
	}
	if cases < 50 {
		t.Errorf("%d cases", cases)
	}
}

func describe(c Cgroup, ok bool) string {
	result := c.Runtime
	switch {
	case !ok:
		result = "none"
	case c.Helper:
		result += "!"
	case c.ByShim:
		result += "?"
	}
	fields := []string{result, c.ID, c.Path, fmt.Sprint(c.User), c.Pod}
	for i, f := range fields {
		if f == "" {
			fields[i] = "-"
		}
	}
	return strings.Join(fields, "\t")
}

// The module has the same table.
func TestModuleTable(t *testing.T) {
	const file = "../../kmod/cgroup_names.h"
	want := moduleTable()
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is out of date (%v): run go test ./internal/container -update", file, err)
	}
}

// moduleTable has a call of the macro CGROUP in kmod/cgroup_name.c a line.
func moduleTable() []byte {
	var b bytes.Buffer
	b.WriteString("/* SPDX-License-Identifier: GPL-2.0-only */\n" +
		"/* Generated from internal/container/cgroup.go: go test ./internal/container -update */\n" +
		"static const struct cgroup_name cgroup_names[] = {\n")
	for _, n := range cgroupNames {
		before, anything := strings.CutPrefix(n.Before, "*")
		var flags []string
		for _, f := range []struct {
			name string
			set  bool
		}{
			{"CGROUP_ANY", anything},
			{"CGROUP_BY_SHIM", n.ByShim},
			{"CGROUP_HELPER", n.Helper},
			{"CGROUP_INNER", n.Inner},
		} {
			if f.set {
				flags = append(flags, f.name)
			}
		}
		if flags == nil {
			flags = []string{"0"}
		}
		kind := map[idKind]string{hexID: "CGROUP_HEX", nameID: "CGROUP_NAME"}[n.ID]
		fmt.Fprintf(&b, "\tCGROUP(%q, %q, %q, %s, %q, %s),\n",
			n.Runtime, n.Parent, before, kind, n.After, strings.Join(flags, " | "))
	}
	b.WriteString("};\n")
	return b.Bytes()
}
