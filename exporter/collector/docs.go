package collector

import (
	"fmt"
	"strings"
)

// Markdown is docs/metrics.md: every metric of the exporter with its type,
// labels and meaning.
func Markdown() string {
	var b strings.Builder
	b.WriteString("# Metrics of the exporter\n\n" +
		"Made from the exporter's own descriptors by `go test ./exporter/collector -run TestDocs -update`; a test keeps the two equal.\n\n" +
		"With `--host=NAME` every metric has the label `host` as well. `id` is the first twelve digits of the container's id, as `docker ps` shows it; " +
		"`name` is empty while Docker has not told it. A sample that is not known (a kernel or cgroup that does not offer it) is absent, never zero. " +
		"The exporter's own process is described by the usual `process_…` and `go_…` metrics.\n\n")
	table := func(title string, descs []Desc) {
		fmt.Fprintf(&b, "## %s\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n", title)
		for _, d := range descs {
			labels := "–"
			if len(d.Labels) > 0 {
				labels = "`" + strings.Join(d.Labels, "`, `") + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.Name, d.Type, labels, d.Help)
		}
		b.WriteString("\n")
	}
	table("Containers, host and the exporter itself (`--metrics.names=estiba`, the default)", Descs(Estiba))
	known := map[string]bool{}
	for _, d := range Descs(Estiba) {
		known[d.Name] = true
	}
	var more []Desc
	for _, d := range Descs(Both) {
		if !known[d.Name] {
			more = append(more, d)
		}
	}
	table("Under cAdvisor's names (`--metrics.names=cadvisor` or `both`)", more)
	b.WriteString("With these, `id` is the container's cgroup path, and labels of the allowlist (`--docker.label`) are on every one of them as `container_label_NAME`.\n")
	return b.String()
}
