package contract

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/grafana/queries"
	"github.com/estiba/estiba/internal/testutil"
)

// expression is a PromQL expression and its location.
type expression struct{ where, text string }

// targetLabels are labels of every series, from the scrape or --host.
var targetLabels = []string{"job", "instance", "host"}

// known maps each metric of the contract to its labels.
func known(t *testing.T) map[string]map[string]bool {
	t.Helper()
	own, err := Own()
	if err != nil {
		t.Fatal(err)
	}
	others, err := Others()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]bool{}
	for _, m := range append(own, others...) {
		set := map[string]bool{}
		for _, l := range append(append([]string{}, targetLabels...), m.Labels...) {
			set[l] = true
		}
		names := []string{m.Name}
		if m.Type == "histogram" {
			names = []string{m.Name + "_sum", m.Name + "_count", m.Name + "_bucket"}
		}
		for _, name := range names {
			all[name] = set
		}
	}
	return all
}

func TestEveryQueriedNameIsInTheContract(t *testing.T) {
	known := known(t)
	used := map[string]bool{}
	for _, e := range asked(t) {
		for _, problem := range check(e, known, used) {
			t.Errorf("%s: %s\n  %s", e.where, problem, strings.TrimSpace(e.text))
		}
	}
	others, err := Others()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range others {
		if !used[m.Name] {
			t.Errorf("others.txt lists %s, which no expression uses", m.Name)
		}
	}
}

// TestTheCheckFindsMistakes tests the check itself.
func TestTheCheckFindsMistakes(t *testing.T) {
	for text, want := range map[string]string{
		`sum(estiba_container_cpu_total)`:                                       "estiba_container_cpu_total",
		`estiba_container_info{kindd="cpu"}`:                                    "kindd",
		`sum by (imagee) (estiba_container_info)`:                               "imagee",
		`estiba:container_class * on (idd) estiba_containers`:                   "idd",
		`estiba:container_class * on (id) group_left (x) estiba_container_info`: "x",
		`rate(estiba_manager_tick_duration_seconds[1m])`:                        "estiba_manager_tick_duration_seconds",
		`{id="a"}`: "without a name",
		`sum(`:     "parse",
	} {
		t.Run(text, func(t *testing.T) {
			got := strings.Join(check(expression{"test", text}, known(t), map[string]bool{}), "; ")
			if !strings.Contains(got, want) {
				t.Errorf("found %q, want something about %q", got, want)
			}
		})
	}
}

// check returns the invalid names of one expression.
func check(e expression, known map[string]map[string]bool, used map[string]bool) []string {
	text := queries.Fill("20s", "5m", "0", ".*").Replace(e.text)
	root, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return []string{"cannot parse: " + err.Error()}
	}
	var problems []string
	parser.Inspect(root, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			if n.Name == "" {
				problems = append(problems, "a selector without a name")
				return nil
			}
			used[n.Name] = true
			set, ok := known[n.Name]
			if !ok {
				problems = append(problems, n.Name+" is not in the contract")
				return nil
			}
			for _, m := range n.LabelMatchers {
				if m.Name != model.MetricNameLabel && !set[m.Name] {
					problems = append(problems, n.Name+" has no label "+m.Name)
				}
			}
		case *parser.AggregateExpr:
			problems = append(problems, missing(n.Grouping, n.Expr, known)...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				for _, side := range []parser.Expr{n.LHS, n.RHS} {
					if n.VectorMatching.On {
						problems = append(problems, missing(without(n.VectorMatching.MatchingLabels, targetLabels), side, known)...)
					}
				}
				problems = append(problems, missing(n.VectorMatching.Include, n, known)...)
			}
		}
		return nil
	})
	return problems
}

// missing returns the labels that no series in the expression has.
func missing(names []string, below parser.Expr, known map[string]map[string]bool) []string {
	have := map[string]bool{}
	parser.Inspect(below, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			for l := range known[n.Name] {
				have[l] = true
			}
		case *parser.Call:
			if n.Func.Name == "label_replace" || n.Func.Name == "label_join" {
				if dst, ok := n.Args[1].(*parser.StringLiteral); ok {
					have[dst.Val] = true
				}
			}
		}
		return nil
	})
	var problems []string
	for _, name := range names {
		if !have[name] {
			problems = append(problems, "nothing in "+below.String()+" has the label "+name)
		}
	}
	return problems
}

func without(list, unwanted []string) []string {
	var left []string
	for _, one := range list {
		keep := true
		for _, u := range unwanted {
			keep = keep && one != u
		}
		if keep {
			left = append(left, one)
		}
	}
	return left
}

// asked returns the expressions of rules, alerts, dashboards and policies.
func asked(t *testing.T) []expression {
	t.Helper()
	root := testutil.RepositoryRoot(t)
	var all []expression
	load := func(pattern string, into func(file string, data []byte) error) {
		list, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil || len(list) == 0 {
			t.Fatalf("no file is called %s (%v)", pattern, err)
		}
		for _, path := range list {
			data, err := os.ReadFile(path)
			if err == nil {
				err = into(filepath.Base(path), data)
			}
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
	}
	rules := func(file string, data []byte) error {
		var content struct {
			Groups []struct {
				Rules []struct{ Record, Alert, Expr string }
			}
		}
		if err := yaml.Unmarshal(data, &content); err != nil {
			return err
		}
		for _, g := range content.Groups {
			for _, r := range g.Rules {
				all = append(all, expression{file + ": " + r.Record + r.Alert, r.Expr})
			}
		}
		return nil
	}
	load("prometheus/rules/*.yml", rules)
	load("prometheus/examples/fleet/*.rules.yml", rules)
	load("manager/policies/*.yml", func(file string, data []byte) error {
		var content struct {
			Rules []struct{ Name, Query string }
		}
		if err := yaml.Unmarshal(data, &content); err != nil {
			return err
		}
		for _, r := range content.Rules {
			all = append(all, expression{file + ": " + r.Name, r.Query})
		}
		return nil
	})
	for _, q := range queries.All() {
		all = append(all, expression{q.Dashboard + ": " + q.Panel, q.Expr})
	}
	return all
}

// TestRecordedSeries compares the recording rules with the contract.
func TestRecordedSeries(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testutil.RepositoryRoot(t), "prometheus", "rules", "recording.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var content struct {
		Groups []struct{ Rules []struct{ Record string } }
	}
	if err := yaml.Unmarshal(data, &content); err != nil {
		t.Fatal(err)
	}
	got, want := map[string]bool{}, map[string]bool{}
	for _, g := range content.Groups {
		for _, r := range g.Rules {
			got[r.Record] = true
		}
	}
	own, err := Own()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range own {
		if m.Type == "record" {
			want[m.Name] = true
		}
	}
	equal(t, "recorded series", got, want)
}

// equal reports names that are only in one of two sets.
func equal(t *testing.T, what string, got, want map[string]bool) {
	t.Helper()
	var lines []string
	for name := range got {
		if !want[name] {
			lines = append(lines, name+" is not in the contract")
		}
	}
	for name := range want {
		if !got[name] {
			lines = append(lines, name+" is only in the contract")
		}
	}
	sort.Strings(lines)
	for _, line := range lines {
		t.Errorf("%s: %s", what, line)
	}
}

// TestRemoteWriteSendsWhatIsShown compares the series that a host sends to a central
// store with the queries of the dashboards.
func TestRemoteWriteSendsWhatIsShown(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testutil.RepositoryRoot(t), "prometheus", "examples", "remote-write.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		RemoteWrite []struct {
			Keep []struct{ Regex, Action string } `yaml:"write_relabel_configs"`
		} `yaml:"remote_write"`
	}
	if err := yaml.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	if len(config.RemoteWrite) != 1 || len(config.RemoteWrite[0].Keep) != 1 || config.RemoteWrite[0].Keep[0].Action != "keep" {
		t.Fatalf("want one rule that keeps: %+v", config)
	}
	sent := regexp.MustCompile("^(?:" + config.RemoteWrite[0].Keep[0].Regex + ")$")
	for _, q := range queries.All() {
		used := map[string]bool{}
		check(expression{q.Panel, q.Expr}, map[string]map[string]bool{}, used)
		for name := range used {
			if !sent.MatchString(name) {
				t.Errorf("%s, %s: %s is not sent to a central store", q.Dashboard, q.Panel, name)
			}
		}
	}
}

// TestRulesKeepHosts requires the label host in every grouping and matching of the rules:
// in a central store the exporters of several hosts may have the same address, and rules
// must not mix them.
func TestRulesKeepHosts(t *testing.T) {
	mixing := func(text string) (mixed []string) {
		root, err := parser.NewParser(parser.Options{}).ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		parser.Inspect(root, func(node parser.Node, _ []parser.Node) error {
			switch n := node.(type) {
			case *parser.AggregateExpr:
				if slices.Contains(n.Grouping, "host") == n.Without {
					mixed = append(mixed, n.String())
				}
			case *parser.BinaryExpr:
				m := n.VectorMatching
				if m != nil && slices.Contains(m.MatchingLabels, "host") != m.On {
					mixed = append(mixed, n.String())
				}
			}
			return nil
		})
		return mixed
	}
	for text, want := range map[string]int{
		"a * on (host, id) b": 0, "sum by (host) (a)": 0, "a * ignoring (id) b": 0, "a / b": 0, "sum without (id) (a)": 0,
		"a * on (id) b": 1, "sum by (id) (a)": 1, "sum(a)": 1, "a * ignoring (host) b": 1, "sum without (host) (a)": 1,
	} {
		t.Run(text, func(t *testing.T) {
			if got := mixing(text); len(got) != want {
				t.Errorf("mixes hosts: %v, want %d", got, want)
			}
		})
	}
	for _, e := range asked(t) {
		if !strings.Contains(e.where, ".rules.yml: ") {
			continue
		}
		for _, what := range mixing(e.text) {
			t.Errorf("%s mixes hosts: %s", e.where, what)
		}
	}
}
