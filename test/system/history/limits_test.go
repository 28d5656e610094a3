package history

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/estiba/estiba/internal/testutil"
)

// The limits that docs/history.md names are those that are set.
func TestLimitsAreAsTold(t *testing.T) {
	root := testutil.RepositoryRoot(t)
	for path, texts := range map[string][]string{
		"docs/history.md":     {"15 days or 4 GB"},
		"docker-compose.yml":  {"retention.time=${ESTIBA_RETENTION_TIME:-15d}", "retention.size=${ESTIBA_RETENTION_SIZE:-4GB}"},
		"tools/run/system.go": {"retention.time=15d", "retention.size=4GB"},
	} {
		t.Run(path, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range texts {
				if !strings.Contains(string(data), text) {
					t.Errorf("%q not found", text)
				}
			}
		})
	}
}
