package main

import (
	"encoding/json"
	"os"
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

// TestCheck: found, accepted, not found and not known are different ends.
func TestCheck(t *testing.T) {
	const accepts, none = "GO-2026-9999 made up\n", "# none\n"
	for _, tt := range []struct {
		name, database, accepted string
		found                    bool
		says, fails              string
	}{
		{"nothing known", database(t, false), none, false, "./generator/lock: 0 called", ""},
		{"a vulnerability that is called", database(t, true), none, true, "FOUND: GO-2026-9999", ""},
		{"how it is called", database(t, true), none, true, "generator/lock.Acquire → golang.org/x/sys/unix.Flock", ""},
		{"an accepted one", database(t, true), accepts, false, "accepted: GO-2026-9999 Made up by a test: made up", ""},
		{"an accepted one that is gone", database(t, false), accepts, false, "GO-2026-9999 is not found any more", ""},
		{"accepted without a reason", database(t, true), "GO-2026-9999\n", false, "", "has no reason"},
		{"no database", "http://127.0.0.1:1", none, false, "", "nothing is known"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list := filepath.Join(t.TempDir(), "accepted.txt")
			if err := os.WriteFile(list, []byte(tt.accepted), 0o644); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			found, err := check(tt.database, list, []program{{module: "../..", packages: []string{"./generator/lock"}}}, &out) // small: this is quick
			if found != tt.found || !strings.Contains(out.String(), tt.says) {
				t.Errorf("found %t, want %t and %q: %s", found, tt.found, tt.says, &out)
			}
			if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("error %v, want %q", err, tt.fails)
			}
		})
	}
}
