package vulncheck

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// database writes one as govulncheck reads it, with one vulnerability in what
// the package under test calls, or with none.
func database(t *testing.T, vulnerable bool) string {
	t.Helper()
	const at = "2026-01-01T00:00:00Z"
	type object = map[string]any
	module, modules := "golang.org/x/sys", []object{}
	dir := t.TempDir()
	put := func(name string, content any) {
		data, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if vulnerable {
		modules = append(modules, object{"path": module, "vulns": []object{{"id": "GO-2026-9999", "modified": at}}})
		put("ID/GO-2026-9999.json", object{
			"schema_version": "1.3.1", "id": "GO-2026-9999", "modified": at, "published": at,
			"summary": "Made up by a test", "details": "Made up by a test.",
			"database_specific": object{"url": "https://pkg.go.dev/vuln/GO-2026-9999"},
			"affected": []object{{
				"package": object{"name": module, "ecosystem": "Go"},
				"ranges":  []object{{"type": "SEMVER", "events": []object{{"introduced": "0"}}}},
				"ecosystem_specific": object{"imports": []object{
					{"path": module + "/unix", "symbols": []string{"Flock"}},
				}},
			}},
		})
	}
	put("index/db.json", object{"modified": at})
	put("index/modules.json", modules)
	return "file://" + dir
}

// TestRun: found, not found and not known are three different ends.
func TestRun(t *testing.T) {
	for _, tt := range []struct {
		name, database string
		status         int
		says           string
	}{
		{"nothing known", database(t, false), 0, "No vulnerabilities found."},
		{"a vulnerability that is called", database(t, true), 3, "GO-2026-9999"},
		{"no database", "http://127.0.0.1:1", 1, "vulncheck: the database at http://127.0.0.1:1 cannot be reached from here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command("./run.sh", "./generator/lock") // small: this is quick
			cmd.Env = append(os.Environ(), "VULNDB="+tt.database)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if got := cmd.ProcessState.ExitCode(); got != tt.status || !strings.Contains(string(out), tt.says) {
				t.Errorf("ends with %d, want %d and %q: %s", got, tt.status, tt.says, out)
			}
		})
	}
}
