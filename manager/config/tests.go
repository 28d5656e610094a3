package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/internal/container"
)

// Tests is one accepted file of policy tests.
type Tests struct {
	Policy     string // path of the policy file; "" is the built-in one
	RuleFiles  []string
	Scrape     time.Duration // between two samples
	Evaluation time.Duration // between two evaluations of the recording rules
	Cases      []TestCase
}

// TestCase is a history and what the policy has to make of it.
type TestCase struct {
	Name       string
	Duration   time.Duration // of the history; ticks are made from its beginning to its end
	Containers []TestContainer
	Series     []TestSeries
	Kills      []TestKill // all that are to be made
	Spared     []TestSpared
	NoData     bool // a rule without a usable answer is what the case is about
}

// TestContainer is one container of a case.
type TestContainer struct {
	Name, Image        string
	Kind               container.Kind
	Managed, Protected bool
	Age                time.Duration // when it is first seen
	Start, End         time.Duration // when it is seen; an End of 0 is never
}

// TestSeries is one series in promtool's notation.
type TestSeries struct{ Series, Values string }

// TestKill is a kill that is expected.
type TestKill struct {
	At        time.Duration
	Rule      string
	Container string // name
}

// TestSpared is a container that is expected to be spared, and why.
type TestSpared struct {
	At        time.Duration
	Rule      string // "" is any
	Container string // name
	Reason    string
}

// What holds for a key that a test file leaves out.
const (
	DefaultScrape       = 5 * time.Second
	DefaultTestDuration = time.Minute
)

// LoadTests reads a file of policy tests. Paths in it are beside the file.
// reasons are the words that a spared container's reason may be.
func LoadTests(path string, reasons []string) (*Tests, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("policy tests: %w", err)
	}
	t, err := ParseTests(data, reasons)
	if err != nil {
		return nil, fmt.Errorf("policy tests %s: %w", path, err)
	}
	beside := func(p string) string {
		if p == "" || filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(filepath.Dir(path), p)
	}
	t.Policy = beside(t.Policy)
	for i := range t.RuleFiles {
		t.RuleFiles[i] = beside(t.RuleFiles[i])
	}
	return t, nil
}

// ParseTests reads policy tests; the error, if any, is of type Problems.
func ParseTests(data []byte, reasons []string) (*Tests, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, Problems{{Message: "the file is empty"}}
	} else if err != nil {
		return nil, Problems{{Message: err.Error()}}
	}
	r := &reader{}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		r.fail(nil, "", "the file holds more than one document")
	}
	t := r.tests(doc.Content[0], reasons)
	if len(r.problems) > 0 {
		sort.SliceStable(r.problems, func(i, j int) bool { return r.problems[i].Line < r.problems[j].Line })
		return nil, r.problems
	}
	return t, nil
}

func (r *reader) tests(n *yaml.Node, reasons []string) *Tests {
	t := &Tests{Scrape: DefaultScrape, Evaluation: DefaultScrape}
	names := map[string]bool{}
	r.mapping(n, "", []string{"tests"}, map[string]func(*yaml.Node, string){
		"policy": func(n *yaml.Node, p string) { r.text(n, p, &t.Policy) },
		"rule_files": func(n *yaml.Node, p string) {
			r.list(n, p, func(n *yaml.Node, p string) {
				var file string
				r.text(n, p, &file)
				t.RuleFiles = append(t.RuleFiles, file)
			})
		},
		"scrape_interval":     func(n *yaml.Node, p string) { r.duration(n, p, time.Second, &t.Scrape) },
		"evaluation_interval": func(n *yaml.Node, p string) { r.duration(n, p, time.Second, &t.Evaluation) },
		"tests": func(n *yaml.Node, p string) {
			r.list(n, p, func(n *yaml.Node, p string) {
				c := r.testCase(n, p, reasons)
				if c.Name != "" && names[c.Name] {
					r.fail(n, join(p, "name"), "another case is called %q", c.Name)
				}
				names[c.Name] = true
				t.Cases = append(t.Cases, c)
			})
			if n.Kind == yaml.SequenceNode && len(t.Cases) == 0 {
				r.fail(n, p, "holds no case")
			}
		},
	})
	return t
}

func (r *reader) testCase(n *yaml.Node, path string, reasons []string) TestCase {
	c := TestCase{Duration: DefaultTestDuration}
	known := map[string]bool{}
	var after []func() // looks at what may stand anywhere in the case
	named := func(n *yaml.Node, p string, to *string) {
		if r.text(n, p, to); *to != "" {
			after = append(after, func() {
				if !known[*to] {
					r.fail(n, p, "no container of the case is called %s", *to)
				}
			})
		}
	}
	within := func(n *yaml.Node, p string, to *time.Duration) {
		r.duration(n, p, 0, to)
		after = append(after, func() {
			if *to > c.Duration {
				r.fail(n, p, "is after the end of the case, %s", c.Duration)
			}
		})
	}
	r.mapping(n, path, []string{"name", "kills"}, map[string]func(*yaml.Node, string){
		"name":     func(n *yaml.Node, p string) { r.text(n, p, &c.Name) },
		"duration": func(n *yaml.Node, p string) { r.duration(n, p, time.Second, &c.Duration) },
		"no_data":  func(n *yaml.Node, p string) { r.flag(n, p, &c.NoData) },
		"containers": func(n *yaml.Node, p string) {
			r.list(n, p, func(n *yaml.Node, p string) {
				one := r.testContainer(n, p)
				if one.Name != "" && known[one.Name] {
					r.fail(n, join(p, "name"), "another container is called %s", one.Name)
				}
				known[one.Name] = true
				c.Containers = append(c.Containers, one)
			})
		},
		"input_series": func(n *yaml.Node, p string) {
			r.list(n, p, func(n *yaml.Node, p string) {
				var s TestSeries
				r.mapping(n, p, []string{"series", "values"}, map[string]func(*yaml.Node, string){
					"series": func(n *yaml.Node, p string) { r.text(n, p, &s.Series) },
					"values": func(n *yaml.Node, p string) {
						// One number is a number to YAML, and as good as a text.
						if s.Values = n.Value; n.Kind != yaml.ScalarNode || n.Value == "" {
							r.fail(n, p, "want values such as 0+1x20, not %s", describe(n))
						}
					},
				})
				c.Series = append(c.Series, s)
			})
		},
		"kills": func(n *yaml.Node, p string) {
			r.list(n, p, func(n *yaml.Node, p string) {
				k := &TestKill{}
				r.mapping(n, p, []string{"at", "rule", "container"}, map[string]func(*yaml.Node, string){
					"at":        func(n *yaml.Node, p string) { within(n, p, &k.At) },
					"rule":      func(n *yaml.Node, p string) { r.text(n, p, &k.Rule) },
					"container": func(n *yaml.Node, p string) { named(n, p, &k.Container) },
				})
				c.Kills = append(c.Kills, *k)
			})
		},
		"spared": func(n *yaml.Node, p string) {
			r.list(n, p, func(n *yaml.Node, p string) {
				s := &TestSpared{}
				r.mapping(n, p, []string{"at", "container", "reason"}, map[string]func(*yaml.Node, string){
					"at":        func(n *yaml.Node, p string) { within(n, p, &s.At) },
					"rule":      func(n *yaml.Node, p string) { r.text(n, p, &s.Rule) },
					"container": func(n *yaml.Node, p string) { named(n, p, &s.Container) },
					"reason":    func(n *yaml.Node, p string) { word(r, n, p, &s.Reason, reasons...) },
				})
				c.Spared = append(c.Spared, *s)
			})
		},
	})
	for _, look := range after {
		look()
	}
	return c
}

func (r *reader) testContainer(n *yaml.Node, path string) TestContainer {
	c := TestContainer{Managed: true, Age: time.Hour, Image: "test"}
	kind := func(n *yaml.Node, p string) {
		word(r, n, p, &c.Kind, container.KindCPU, container.KindRAM, container.KindIO, container.KindDisk)
	}
	var end *yaml.Node
	r.mapping(n, path, []string{"name"}, map[string]func(*yaml.Node, string){
		"name":      func(n *yaml.Node, p string) { r.text(n, p, &c.Name) },
		"image":     func(n *yaml.Node, p string) { r.text(n, p, &c.Image) },
		"kind":      kind,
		"managed":   func(n *yaml.Node, p string) { r.flag(n, p, &c.Managed) },
		"protected": func(n *yaml.Node, p string) { r.flag(n, p, &c.Protected) },
		"age":       func(n *yaml.Node, p string) { r.duration(n, p, 0, &c.Age) },
		"start":     func(n *yaml.Node, p string) { r.duration(n, p, 0, &c.Start) },
		"end":       func(n *yaml.Node, p string) { end = n; r.duration(n, p, time.Second, &c.End) },
	})
	if end != nil && c.End > 0 && c.End <= c.Start {
		r.fail(end, join(path, "end"), "is not after its start")
	}
	return c
}
