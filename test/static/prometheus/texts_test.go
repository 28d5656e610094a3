package prometheus

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/internal/testutil"
)

var update = flag.Bool("update", false, "rewrite the expected annotations in prometheus/tests/words.test.yml")

const textsFile = "prometheus/tests/words.test.yml"

// Limits of the rendered texts. A summary is the subject of a mail; Slack messages cut a
// description after 300 characters.
const (
	maxSummary     = 100
	maxDescription = 300
	maxSentences   = 3
)

// TestAlertTexts checks the form of every alert's rendered text. TestRules compares the
// texts with the rules; -update takes them from the rules.
func TestAlertTexts(t *testing.T) {
	path := filepath.Join(testutil.RepositoryRoot(t), filepath.FromSlash(textsFile))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		data = withRenderedTexts(t, path, data)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var content struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []struct {
					ExpAnnotations map[string]string `yaml:"exp_annotations"`
				} `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(data, &content); err != nil {
		t.Fatalf("%s: %v", textsFile, err)
	}
	rendered := map[string]bool{}
	for _, test := range content.Tests {
		for _, rule := range test.AlertRuleTest {
			for _, alert := range rule.ExpAlerts {
				rendered[rule.Alertname] = true
				checkTexts(t, rule.Alertname, alert.ExpAnnotations["summary"], alert.ExpAnnotations["description"])
			}
		}
	}
	for _, a := range alerts(t) {
		if !rendered[a.Alert] {
			t.Errorf("%s has no text in %s", a.Alert, textsFile)
		}
	}
}

// sentenceEnd matches a full stop that ends a sentence, not one in 10.1 or a file name.
var sentenceEnd = regexp.MustCompile(`[.?](\s|$)`)

func checkTexts(t *testing.T, alert, summary, description string) {
	t.Helper()
	if n := utf8.RuneCountInString(summary); n == 0 || n > maxSummary || sentenceEnd.MatchString(summary) {
		t.Errorf("%s: summary must be one phrase of at most %d characters without a full stop: %q", alert, maxSummary, summary)
	}
	n, sentences := utf8.RuneCountInString(description), len(sentenceEnd.FindAllString(description, -1))
	if n > maxDescription || sentences > maxSentences || !strings.HasSuffix(description, ".") {
		t.Errorf("%s: description must be at most %d sentences and %d characters, with a full stop: %d, %d: %q",
			alert, maxSentences, maxDescription, sentences, n, description)
	}
}

// withRenderedTexts returns a promtool test file with exp_annotations replaced by what
// the rules render. promtool prints them when it expects no alert.
func withRenderedTexts(t *testing.T, path string, data []byte) []byte {
	t.Helper()
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	var expected []*yaml.Node
	walk(&document, func(key string, value *yaml.Node) {
		if key == "exp_annotations" {
			expected = append(expected, value)
		}
	})

	var silent map[string]any
	if err := yaml.Unmarshal(data, &silent); err != nil {
		t.Fatal(err)
	}
	for i, file := range silent["rule_files"].([]any) {
		silent["rule_files"].([]any)[i] = filepath.Join(filepath.Dir(path), file.(string))
	}
	for _, test := range silent["tests"].([]any) {
		for _, rule := range test.(map[string]any)["alert_rule_test"].([]any) {
			rule.(map[string]any)["exp_alerts"] = []any{}
		}
	}
	text, err := yaml.Marshal(silent)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "silent.test.yml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	out, _ := exec.Command(testutil.Tool(t, "promtool"), "test", "rules", file).CombinedOutput()
	got := regexp.MustCompile(`(?m)^\s+Annotations:(\{.*\})$`).FindAllSubmatch(out, -1)
	if len(got) != len(expected) {
		t.Fatalf("%d alerts fire, %d are expected\n%s", len(got), len(expected), out)
	}
	for i, node := range expected {
		annotations, err := parser.NewParser(parser.Options{}).ParseMetric(string(got[i][1]))
		if err != nil {
			t.Fatalf("%s: %v", got[i][1], err)
		}
		*node = yaml.Node{Kind: yaml.MappingNode}
		for _, name := range []string{"summary", "description", "runbook_url", "dashboard_url"} {
			node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name},
				&yaml.Node{Kind: yaml.ScalarNode, Value: annotations.Get(name), Style: yaml.SingleQuotedStyle})
		}
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// walk calls visit for each key of each mapping below n.
func walk(n *yaml.Node, visit func(key string, value *yaml.Node)) {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 {
			visit(n.Content[i-1].Value, child)
		}
		walk(child, visit)
	}
}
