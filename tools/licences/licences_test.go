package licences

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun checks a program of ours that links one module, with the licence text in
// question.
func TestRun(t *testing.T) {
	run, err := filepath.Abs("run.sh")
	if err != nil {
		t.Fatal(err)
	}
	text := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	apache, gpl := text("../../LICENSE"), text("../../kmod/COPYING")
	for name, c := range map[string]struct{ file, text, want string }{
		"allowed":     {"LICENSE", apache, ""},
		"not allowed": {"COPYING", gpl, "GPL-2.0"},
		"one of two":  {"LICENSE", apache + "\n\n" + gpl, "GPL-2.0"},
		"unknown":     {"LICENSE", "All rights reserved. Ask us first.", "not find license"},
		"missing":     {"README", "A library.", "not find license"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range map[string]string{
				"go.mod":           "module github.com/estiba/estiba\n\ngo 1.26.0\n\nrequire example.org/linked v0.0.0\n\nreplace example.org/linked => ./linked\n",
				"main.go":          "package main\n\nimport _ \"example.org/linked\"\n\nfunc main() {}\n",
				"linked/go.mod":    "module example.org/linked\n",
				"linked/linked.go": "package linked\n",
				"linked/" + c.file: c.text,
			} {
				path := filepath.Join(dir, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(run, ".")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if (err == nil) != (c.want == "") || !strings.Contains(string(out), c.want) {
				t.Errorf("error %v, output %q, want %q", err, out, c.want)
			}
		})
	}
}
