package docs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/estiba/estiba/manager/status"
)

// TestManagerMetrics makes the table of the manager's metrics in docs/api.md;
// that of the exporter's is made beside its collector.
func TestManagerMetrics(t *testing.T) {
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, d := range status.Descriptors() {
		labels := "–"
		if len(d.Labels) > 0 {
			labels = "`" + strings.Join(d.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.Name, d.Type, labels, cell(d.Help))
	}
	compare(t, readTree(t), "docs/api.md", map[string]string{"metrics": b.String()})
}
