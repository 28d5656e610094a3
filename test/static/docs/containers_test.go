package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/config"
	decide "github.com/estiba/estiba/manager/policy"
)

const yours = "docs/your-containers.md"

var (
	yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	labelFlag = regexp.MustCompile(`--label[= ]([a-z][a-z.]*=[^ ]+)`)
)

// TestLabelsAreUnderstood parses each label of Estiba that a document gives a container,
// on a command line or in a compose file.
func TestLabelsAreUnderstood(t *testing.T) {
	tr := readTree(t)
	seen := map[string]int{}
	check := func(where, key, value string) {
		if !strings.HasPrefix(key, "estiba.") {
			return
		}
		seen[key]++
		if l := container.ParseLabels(map[string]string{key: value}); len(l.Errors) > 0 {
			t.Errorf("%s: the label %s=%s is not understood", where, key, value)
		}
	}
	for _, p := range tr.pages(t) {
		for _, code := range p.code {
			for _, m := range labelFlag.FindAllStringSubmatch(code, -1) {
				key, value, _ := strings.Cut(m[1], "=")
				check(p.path, key, value)
			}
		}
		for _, m := range yamlBlock.FindAllStringSubmatch(p.text, -1) {
			var file struct {
				Services map[string]struct{ Labels map[string]string }
			}
			if !strings.HasPrefix(m[1], "services:") {
				continue
			}
			if err := yaml.Unmarshal([]byte(m[1]), &file); err != nil {
				t.Errorf("%s: %v\n%s", p.path, err, m[1])
			}
			for _, s := range file.Services {
				for key, value := range s.Labels {
					check(p.path, key, value)
				}
			}
		}
	}
	for _, key := range []string{container.LabelManaged, container.LabelProtect, container.LabelKind} {
		if seen[key] == 0 {
			t.Errorf("no document gives a container the label %s", key)
		}
		if !strings.Contains(tr.read(t, yours), "| `"+key+"` |") {
			t.Errorf("%s has no row for %s", yours, key)
		}
	}
}

// TestYourPolicies parses the policies, all of which must be dry runs: they are copied.
// A container without a kind can be killed by those that keep nothing by kind, and by
// no other.
func TestYourPolicies(t *testing.T) {
	of := map[bool]int{}
	for _, m := range yamlBlock.FindAllStringSubmatch(readTree(t).read(t, yours), -1) {
		if strings.HasPrefix(m[1], "services:") {
			continue
		}
		c, err := config.Parse([]byte(m[1]))
		if err != nil {
			t.Errorf("%s\n%v", m[1], err)
			continue
		}
		if string(c.Mode) != string(decide.DryRun) {
			t.Errorf("not a dry run:\n%s", m[1])
		}
		var keep []decide.Keep
		for _, k := range c.Keep {
			if k.By == config.KeepByKind {
				keep = append(keep, decide.Keep{Min: k.Min})
			}
		}
		byKind := slices.ContainsFunc(c.Keep, func(k config.Keep) bool { return k.By == config.KeepByKind })
		of[byKind]++
		reason := decide.CheckNow(decide.Container{ID: strings.Repeat("a", 64), InScope: true}, keep)
		if spared := reason == decide.UnknownKind; spared != byKind {
			t.Errorf("a container without a kind: %q under\n%s", reason, m[1])
		}
	}
	if of[true] == 0 || of[false] == 0 {
		t.Errorf("policies with and without kinds: %v", of)
	}
}
