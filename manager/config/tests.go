package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/internal/container"
)

// Tests is an accepted file of policy tests.
type Tests struct {
	Policy     string // path of the policy file; "" is the built-in policy
	RuleFiles  []string
	Scrape     time.Duration // scrape interval
	Evaluation time.Duration // evaluation interval of the recording rules
	Cases      []TestCase
}

// TestCase is a history and the expected decisions.
type TestCase struct {
	Name       string
	Begin      time.Time     // of the history; zero is any time
	Duration   time.Duration // of the history; there are ticks from its beginning to its end
	Containers []TestContainer
	Series     []TestSeries
	Kills      []TestKill // all expected kills
	Spared     []TestSpared
	NoData     bool // the case is about a rule with an unusable query result
}

// TestContainer is one container of a case.
type TestContainer struct {
	Name, Image string
	// Labels are the Docker labels: labels, and the shorthands managed, protected and
	// kind.
	Labels      map[string]string
	LabelsKnown bool          // the exporter knows the labels, name and image
	Runtime     string        // that runs it; the policy's manager has Docker's containers
	Age         time.Duration // at Start
	Start, End  time.Duration // when it is seen; an End of 0 is never
}

// TestSeries is one series in promtool's notation.
type TestSeries struct{ Series, Values string }

// TestKill is an expected kill.
type TestKill struct {
	At        time.Duration
	Rule      string
	Container string // name
}

// TestSpared is an expected spare, with its reason.
type TestSpared struct {
	At        time.Duration
	Rule      string // "" is any
	Container string // name
	Reason    string
}

// Defaults.
const (
	DefaultScrape       = 5 * time.Second
	DefaultTestDuration = time.Minute
)

// LoadTests reads a file of policy tests. Paths are relative to the file. reasons are
// the allowed reasons.
func LoadTests(path string, reasons []string) (*Tests, error) {
	data, err := readFile(path)
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

// ParseTests parses policy tests; the error, if any, is of type Problems.
func ParseTests(data []byte, reasons []string) (*Tests, error) {
	r := &reader{}
	var t *Tests
	if doc := r.document(data); doc != nil {
		t = r.tests(doc, reasons)
	}
	if err := r.mistakes(); err != nil {
		return nil, err
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
		"scrape_interval":     func(n *yaml.Node, p string) { r.duration(n, p, time.Second, maxTestScrape, &t.Scrape) },
		"evaluation_interval": func(n *yaml.Node, p string) { r.duration(n, p, time.Second, maxTestScrape, &t.Evaluation) },
		"tests": func(n *yaml.Node, p string) {
			r.list(n, p, func(n *yaml.Node, p string) {
				c := r.testCase(n, p, reasons)
				if c.Name != "" && names[c.Name] {
					r.fail(n, join(p, "name"), "another case is named %q", c.Name)
				}
				names[c.Name] = true
				t.Cases = append(t.Cases, c)
			})
			if n.Kind == yaml.SequenceNode && len(t.Cases) == 0 {
				r.fail(n, p, "has no cases")
			}
		},
	})
	for i, c := range t.Cases {
		// two series per container
		if scrapes := int(c.Duration/t.Scrape) + 1; scrapes > maxTestSamples/(2*len(c.Containers)+3) {
			r.fail(n, fmt.Sprintf("tests[%d]", i), "has more than %d samples; a longer scrape_interval makes fewer", maxTestSamples)
		}
	}
	return t
}

func (r *reader) testCase(n *yaml.Node, path string, reasons []string) TestCase {
	c := TestCase{Duration: DefaultTestDuration}
	known := map[string]bool{}
	var after []func() // checks that need the whole case
	named := func(n *yaml.Node, p string, to *string) {
		if r.text(n, p, to); *to != "" {
			after = append(after, func() {
				if !known[*to] {
					r.fail(n, p, "no container of the case is named %s", *to)
				}
			})
		}
	}
	within := func(n *yaml.Node, p string, to *time.Duration) {
		r.duration(n, p, 0, maxTestDuration, to)
		after = append(after, func() {
			if *to > c.Duration {
				r.fail(n, p, "is after the end of the case, %s", model.Duration(c.Duration))
			}
		})
	}
	r.mapping(n, path, []string{"name", "kills"}, map[string]func(*yaml.Node, string){
		"name":     func(n *yaml.Node, p string) { r.text(n, p, &c.Name) },
		"duration": func(n *yaml.Node, p string) { r.duration(n, p, time.Second, maxTestDuration, &c.Duration) },
		"begin":    func(n *yaml.Node, p string) { r.moment(n, p, &c.Begin) },
		"no_data":  func(n *yaml.Node, p string) { r.flag(n, p, &c.NoData) },
		"containers": func(n *yaml.Node, p string) {
			r.list(n, p, func(n *yaml.Node, p string) {
				one := r.testContainer(n, p)
				if one.Name != "" && known[one.Name] {
					r.fail(n, join(p, "name"), "another container is named %s", one.Name)
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
						// A single number is a number in YAML.
						if s.Values = n.Value; n.Kind != yaml.ScalarNode || n.Value == "" {
							r.fail(n, p, "expected values such as 0+1x20, found %s", describe(n))
						} else if many(n.Value) {
							r.fail(n, p, "gives more than %d samples", maxTestValues)
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

// shorthand is the key for a label.
var shorthand = map[string]string{container.LabelManaged: "managed", container.LabelProtect: "protected", container.LabelKind: "kind"}

func (r *reader) testContainer(n *yaml.Node, path string) TestContainer {
	c := TestContainer{Age: time.Hour, Image: "test", Labels: map[string]string{}, LabelsKnown: true, Runtime: container.Docker}
	// Shorthands of labels. A container is managed by default.
	short := map[string]string{container.LabelManaged: "true"}
	stated := map[string]*yaml.Node{}
	flag := func(label string) func(*yaml.Node, string) {
		return func(n *yaml.Node, p string) {
			var yes bool
			r.flag(n, p, &yes)
			short[label], stated[label] = strconv.FormatBool(yes), n
		}
	}
	var end *yaml.Node
	r.mapping(n, path, []string{"name"}, map[string]func(*yaml.Node, string){
		"name":      func(n *yaml.Node, p string) { r.text(n, p, &c.Name) },
		"runtime":   func(n *yaml.Node, p string) { r.text(n, p, &c.Runtime) },
		"image":     func(n *yaml.Node, p string) { r.text(n, p, &c.Image) },
		"managed":   flag(container.LabelManaged),
		"protected": flag(container.LabelProtect),
		"kind": func(n *yaml.Node, p string) {
			var kind container.Kind
			word(r, n, p, &kind, container.KindCPU, container.KindRAM, container.KindIO, container.KindDisk)
			short[container.LabelKind], stated[container.LabelKind] = string(kind), n
		},
		"labels": func(n *yaml.Node, p string) {
			if labels := r.texts(n, p); labels != nil {
				c.Labels = labels
			}
		},
		"labels_known": func(n *yaml.Node, p string) { r.flag(n, p, &c.LabelsKnown) },
		"age":          func(n *yaml.Node, p string) { r.duration(n, p, 0, maxTestAge, &c.Age) },
		"start":        func(n *yaml.Node, p string) { r.duration(n, p, 0, maxTestDuration, &c.Start) },
		"end":          func(n *yaml.Node, p string) { end = n; r.duration(n, p, time.Second, maxTestDuration, &c.End) },
	})
	for label, value := range short {
		has, twice := c.Labels[label]
		switch {
		case !twice:
			c.Labels[label] = value
		case stated[label] != nil && has != value:
			r.fail(stated[label], join(path, shorthand[label]), "contradicts labels, where %s is %q", label, has)
		}
	}
	if end != nil && c.End > 0 && c.End <= c.Start {
		r.fail(end, join(path, "end"), "is not after its start")
	}
	return c
}

// moment reads the begin of a case: a time for which samples can be written.
func (r *reader) moment(n *yaml.Node, path string, to *time.Time) {
	at, err := time.Parse(time.RFC3339, n.Value)
	switch {
	case n.Kind != yaml.ScalarNode || err != nil:
		r.fail(n, path, "expected a time such as 2024-01-01T22:00:00Z, found %s", describe(n))
	case at.Year() < firstTestYear || at.Year() > lastTestYear:
		r.fail(n, path, "%s is not in the years %d to %d", n.Value, firstTestYear, lastTestYear)
	case at.Nanosecond() != 0:
		r.fail(n, path, "expected whole seconds")
	default:
		*to = at.UTC()
	}
}

// repeats are the counts after x in promtool's notation.
var repeats = regexp.MustCompile(`x([0-9]+)`)

// many reports whether values have more samples than a case may have; the parser would
// allocate all of them.
func many(values string) bool {
	total := len(strings.Fields(values))
	for _, m := range repeats.FindAllStringSubmatch(values, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil || n > maxTestValues {
			return true
		}
		total += n
	}
	return total > maxTestValues
}
