package docs

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/estiba/estiba/exporter/collector"
	"github.com/estiba/estiba/manager/status"
)

const metrics = "docs/metrics.md"

// subjects are the parts of docs/metrics.md. A metric belongs to the first one
// whose pattern matches.
var subjects = []struct {
	part  string
	names *regexp.Regexp
}{
	{"cpu", regexp.MustCompile(`^estiba_container_cpu_`)},
	{"memory", regexp.MustCompile(`^estiba_container_(memory|oom)_`)},
	{"storage", regexp.MustCompile(`^estiba_(container_)?disk_`)},
	{"io", regexp.MustCompile(`^estiba_container_io_`)},
	{"network", regexp.MustCompile(`^estiba_container_(network|interface)_`)},
	{"pressure", regexp.MustCompile(`^estiba_container_pressure_`)},
	{"processes", regexp.MustCompile(`^estiba_container_(processes|threads|open_files)$`)},
	{"identity", regexp.MustCompile(`^estiba_container_`)},
	{"host", regexp.MustCompile(`^estiba_(host|unattributed)_`)},
	{"exporter", regexp.MustCompile(`^estiba_`)},
	{"cadvisor", regexp.MustCompile(`^(container|machine)_`)},
}

// metricTable is a table of metrics, filled by row.
type metricTable struct{ strings.Builder }

func (m *metricTable) row(name, kind string, labels []string, help string) {
	if m.Len() == 0 {
		m.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	}
	list := "–"
	if len(labels) > 0 {
		list = "`" + strings.Join(labels, "`, `") + "`"
	}
	fmt.Fprintf(m, "| `%s` | %s | %s | %s |\n", name, kind, list, cell(help))
}

// TestExporterMetrics writes the tables of docs/metrics.md from the exporter's
// descriptors.
func TestExporterMetrics(t *testing.T) {
	tables := map[string]*metricTable{}
	for _, s := range subjects {
		tables[s.part] = &metricTable{}
	}
next:
	for _, d := range collector.Descs(collector.Both) {
		for _, s := range subjects {
			if s.names.MatchString(d.Name) {
				tables[s.part].row(d.Name, string(d.Type), d.Labels, d.Help)
				continue next
			}
		}
		t.Errorf("%s belongs to no subject of %s", d.Name, metrics)
	}
	made := map[string]string{}
	for part, table := range tables {
		made[part] = table.String()
	}
	compare(t, readTree(t), metrics, made)
}

// TestManagerMetrics writes the table of the manager's metrics in docs/api.md.
func TestManagerMetrics(t *testing.T) {
	var table metricTable
	for _, d := range status.Descriptors() {
		table.row(d.Name, d.Type, d.Labels, d.Help)
	}
	compare(t, readTree(t), "docs/api.md", map[string]string{"metrics": table.String()})
}

// TestQueries parses the queries in documents and looks up each metric in them:
// published by a program of ours, or recorded.
func TestQueries(t *testing.T) {
	tr := readTree(t)
	known := map[string]bool{}
	for _, d := range collector.Descs(collector.Both) {
		known[d.Name] = true
	}
	for _, d := range status.Descriptors() {
		known[d.Name] = true
	}
	for _, r := range rules(t, tr, "prometheus/rules/recording.rules.yml") {
		known[r.Record] = true
	}
	queries := 0
	for _, p := range tr.pages(t) {
		for _, m := range regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(p.text, -1) {
			for _, query := range strings.Split(strings.TrimSpace(m[1]), "\n") {
				if query == "" || strings.HasPrefix(query, "#") {
					continue
				}
				queries++
				expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
				if err != nil {
					t.Errorf("%s: %s: %v", p.path, query, err)
					continue
				}
				parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
					if s, ok := node.(*parser.VectorSelector); ok && !known[s.Name] {
						t.Errorf("%s: %s: no metric %s", p.path, query, s.Name)
					}
					return nil
				})
			}
		}
	}
	if queries < 10 {
		t.Errorf("found %d queries, want 10 or more", queries)
	}
}
