package docs

import (
	"fmt"
	"path"
	"sort"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// rule is one entry of a rules file; node has the comment above it.
type rule struct {
	Alert, Record, For  string
	Labels, Annotations map[string]string
	node                *yaml.Node
}

func (r *rule) UnmarshalYAML(n *yaml.Node) error {
	type plain rule
	r.node = n
	return n.Decode((*plain)(r))
}

func rules(t *testing.T, tr tree, file string) []rule {
	t.Helper()
	var content struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal([]byte(tr.read(t, file)), &content); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var all []rule
	for _, g := range content.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no rules", file)
	}
	return all
}

// cell is a text for a cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

// TestRules compares the tables of docs/rules.md: recorded series with the comments
// above their rules, alerts with the first paragraph of their runbooks.
func TestRules(t *testing.T) {
	tr := readTree(t)
	var recorded strings.Builder
	recorded.WriteString("| series | labels | meaning |\n|---|---|---|\n")
	for _, row := range recordings(t, tr) {
		recorded.WriteString(row + "\n")
	}
	made := map[string]string{"recorded": recorded.String(), "alerts": alertTable(t, tr, "prometheus/rules/alerts.rules.yml")}
	for _, name := range tr.names {
		// The ready-made sets for other scrape intervals have the same alerts.
		if strings.HasPrefix(name, "prometheus/examples/") && !strings.HasPrefix(name, "prometheus/examples/rules-") && strings.HasSuffix(name, ".rules.yml") {
			made[strings.TrimSuffix(path.Base(name), ".rules.yml")] = alertTable(t, tr, name)
		}
	}
	compare(t, tr, "docs/rules.md", made)
}

func alertTable(t *testing.T, tr tree, file string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| alert | severity | after | meaning |\n|---|---|---|---|\n")
	for _, r := range rules(t, tr, file) {
		book := "docs/runbooks/" + path.Base(r.Annotations["runbook_url"]) + ".md"
		if !tr.exists(book) {
			t.Errorf("%s: no such runbook: %s", r.Alert, book)
			continue
		}
		// "Fires at once" or "Fires after 2m" is the first line of a runbook.
		when := "Fires after " + r.For
		if r.For == "0s" {
			when = "Fires at once"
		}
		if head := fmt.Sprintf("\nSeverity: %s. %s", r.Labels["severity"], when); !strings.Contains(tr.read(t, book), head) {
			t.Errorf("%s does not say %q", book, strings.TrimSpace(head))
		}
		_, meaning, _ := strings.Cut(tr.read(t, book), "\n## Meaning\n")
		meaning, _, _ = strings.Cut(strings.TrimSpace(meaning), "\n\n")
		fmt.Fprintf(&b, "| [%s](runbooks/%s) | %s | %s | %s |\n", r.Alert, path.Base(book), r.Labels["severity"], r.For, cell(meaning))
	}
	return b.String()
}

// recordings are the rows of the recorded series. A rule without a comment belongs
// to the series of the rule before it.
func recordings(t *testing.T, tr tree) []string {
	t.Helper()
	var rows []string
	var series, labels, comment string
	end := func() {
		if series != "" {
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |", series, labels, comment))
		}
	}
	for _, r := range rules(t, tr, "prometheus/rules/recording.rules.yml") {
		var own []string
		for name, value := range r.Labels {
			own = append(own, fmt.Sprintf("`%s=%q`", name, value))
		}
		sort.Strings(own)
		said := r.node.HeadComment
		if said == "" {
			said = r.node.Content[0].HeadComment
		}
		switch {
		case said == "" && r.Record == series:
			labels += " or " + strings.Join(own, " ")
			continue
		case said == "":
			t.Errorf("%s: no comment", r.Record)
		}
		end()
		series, labels, comment = r.Record, strings.Join(own, " "), cell(strings.ReplaceAll(said, "#", " "))
	}
	end()
	return rows
}
