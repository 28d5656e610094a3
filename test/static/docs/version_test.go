package docs

import (
	"regexp"
	"strings"
	"testing"
)

// TestVersion compares VERSION with the version of the kernel module and of the
// folder it is installed to, and with the changelog: its first part is about this
// version, or about what no version has yet.
func TestVersion(t *testing.T) {
	tr := readTree(t)
	version := strings.TrimSpace(tr.read(t, "VERSION"))
	if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(version) {
		t.Errorf("VERSION: %q, want MAJOR.MINOR.PATCH", version)
	}
	parts := regexp.MustCompile(`(?m)^## (.*)$`).FindStringSubmatch(tr.read(t, "CHANGELOG.md"))
	of := regexp.MustCompile(`^(` + regexp.QuoteMeta(version) + ` / \d{4}-\d{2}-\d{2}|Unreleased)$`)
	if parts == nil || !of.MatchString(parts[1]) {
		t.Errorf("CHANGELOG.md: first part %q, want %s / YYYY-MM-DD, or Unreleased", parts, version)
	}
	for file, text := range map[string]string{
		"kmod/dkms.conf":  `PACKAGE_VERSION="` + version + `"`,
		"kmod/estiba.h":   `ESTIBA_VERSION "` + version + `"`,
		"kmod/README.md":  "dkms install estiba/" + version + "\n",
		"docs/systemd.md": "/usr/src/estiba-" + version + "`",
	} {
		if !strings.Contains(tr.read(t, file), text) {
			t.Errorf("%s: no %s, the version in VERSION", file, text)
		}
	}
}
