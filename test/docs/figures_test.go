package docs

import (
	"strings"
	"testing"
)

// TestQuotedFigures wants the figures that one page takes from another to stand
// there still, in the row that they were taken from.
func TestQuotedFigures(t *testing.T) {
	tr := readTree(t)
	const why, performance = "docs/why-a-kernel-module.md", "docs/performance.md"
	for _, q := range []struct{ page, says, source, row string }{
		{why, "10 million instructions on Linux 6.1", performance, "| 1,000 | 4,047 | 1,018 kB | 9.95 |"},
		{why, "takes 49 times that, one that reads `stat` and `io` 21 times", performance, "| 492.4 | 210.0 | 49 × | 21 × |"},
		{why, "on 7.2, whose `/proc` is cheaper, 33 and 13 times", performance, "| 365.9 | 139.5 | 33 × | 13 × |"},
		{why, "3.2 MB are held at 1,000 containers, 37 MB at 10,000", performance, "| 2.10 | 36.7 MB |"},
		{why, "0.26 ms at 1,000, 2.1 ms at 10,000 (Linux 6.1)", performance, "| 0.26 | 3.2 MB |"},
		{why, "5.2 ms of CPU time a scrape at 1,000 containers with the module's document, 27 ms", performance, "| 1,000 | 5.2 | 27 |"},
		{why, "at 200, 1.2 and 3.2 ms", performance, "| 200 | 1.2 | 3.2 |"},
		{why, "200 containers, scraped every 5 s, cost less than a hundredth of a core", performance, "| exporter, cgroup source | 262 |"},
	} {
		if !strings.Contains(tr.read(t, q.page), q.says) {
			t.Errorf("%s does not say %q any more: take it out of this test, or mend it there", q.page, q.says)
		}
		if !strings.Contains(tr.read(t, q.source), q.row) {
			t.Errorf("%s has no row %q any more: mend %q in %s and this test", q.source, q.row, q.says, q.page)
		}
	}
}
