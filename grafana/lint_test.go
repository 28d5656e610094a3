package grafana

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// The rules of Grafana's dashboard-linter, by its names. They are read from the files as
// Grafana would: see https://github.com/grafana/dashboard-linter/tree/main/docs.

// linted is the part of a dashboard's JSON that the rules look at.
type linted struct {
	UID, Title string
	Editable   bool
	Templating struct {
		List []struct {
			Name, Label, Type, AllValue string
			Multi                       bool
			Refresh                     int
			Query                       any
			Datasource                  struct{ UID string }
		}
	}
	Panels []lintedPanel
}

type lintedPanel struct {
	Type, Title, Description string
	Datasource               struct{ UID string }
	Targets                  []struct{ Expr string }
	Panels                   []lintedPanel
	FieldConfig              struct {
		Defaults  struct{ Unit string }
		Overrides []struct{ Properties []struct{ ID string } }
	}
}

// exception is why a rule does not hold. what is a pattern of the finding.
type exception struct{ rule, what, reason string }

var exceptions = []exception{
	{"target-job-rule", ": estiba:", "recorded series have no label job: panels join them with estiba_container_info, or choose by host or id"},
	{"target-instance-rule", ": estiba:", "recorded series have no label instance, as above"},
	{"target-job-rule", ": ALERTS", "alerts are of several jobs, and most have no such label: the host chooses"},
	{"target-instance-rule", ": ALERTS", "as above"},
	{"target-job-rule", `^estiba-(fleet|overview|container)/.*: estiba_manager_`, "on the dashboards of exporters: the manager is another job on the same host"},
	{"target-instance-rule", `^estiba-(fleet|overview|container)/.*: estiba_manager_`, "as above"},
	{"template-job-rule", `estiba-stack: \$job: allValue`, "All is the jobs of the monitoring, not all jobs of a Prometheus"},
	{"panel-units-rule", ": table ", "columns have units of their own, as overrides"},
}

func TestDashboardLinter(t *testing.T) {
	type finding struct{ rule, what string }
	var findings []finding
	checks := map[string]int{}
	check := func(rule string, ok bool, format string, args ...any) {
		checks[rule]++
		if !ok {
			findings = append(findings, finding{rule, fmt.Sprintf(format, args...)})
		}
	}
	for _, generated := range All() {
		data, err := generated.Encode()
		if err != nil {
			t.Fatal(err)
		}
		var d linted
		if err := json.Unmarshal(data, &d); err != nil {
			t.Fatal(err)
		}
		check("uneditable-dashboard", !d.Editable, "%s", d.UID)
		lintTemplates(d, check)
		for _, p := range unnested(d.Panels) {
			lintPanel(d, p, check)
		}
	}

	excepted, used := map[string]int{}, map[int]bool{}
	for _, f := range findings {
		i := slices.IndexFunc(exceptions, func(e exception) bool { return e.rule == f.rule && regexp.MustCompile(e.what).MatchString(f.what) })
		if i < 0 {
			t.Errorf("%s: %s", f.rule, f.what)
			continue
		}
		excepted[f.rule]++
		used[i] = true
	}
	for i, e := range exceptions {
		if !used[i] {
			t.Errorf("%s: nothing needs the exception for %q", e.rule, e.what)
		}
	}
	var names []string
	for rule := range checks {
		names = append(names, rule)
	}
	sort.Strings(names)
	for _, rule := range names {
		t.Logf("%-34s %4d checks, %3d exceptions", rule, checks[rule], excepted[rule])
	}
}

// unnested returns the panels, also those in folded rows, without the rows.
func unnested(panels []lintedPanel) (all []lintedPanel) {
	for _, p := range panels {
		if p.Type != "row" {
			all = append(all, p)
		}
		all = append(all, unnested(p.Panels)...)
	}
	return all
}

type checker func(rule string, ok bool, format string, args ...any)

func lintTemplates(d linted, check checker) {
	found := map[string]bool{}
	for _, v := range d.Templating.List {
		found[v.Name] = true
		what := d.UID + ": $" + v.Name
		switch v.Type {
		case "datasource":
			check("template-datasource-rule", v.Name == "datasource" && v.Label == "Data source" && v.Query == "prometheus", "%s: %+v", what, v)
		case "query":
			check("template-on-time-change-reload-rule", v.Refresh == 2, "%s: refresh %d", what, v.Refresh)
			query, _ := v.Query.(map[string]any)
			text, _ := query["query"].(string)
			inner, ok := strings.CutPrefix(strings.TrimSuffix(text, ")"), "query_result(")
			_, err := parser.NewParser(parser.Options{}).ParseExpr(filled.Replace(inner))
			check("template-label-promql-rule", ok && err == nil, "%s: %s: %v", what, text, err)
		}
		if v.Name == "job" || v.Name == "instance" {
			rule := "template-" + v.Name + "-rule"
			check(rule, v.Type == "query" && v.Datasource.UID == "${datasource}", "%s: data source %s", what, v.Datasource.UID)
			check(rule, strings.EqualFold(v.Label, v.Name) && v.Multi, "%s: label %s, multi %v", what, v.Label, v.Multi)
			check(rule, v.AllValue == ".+", "%s: allValue %q", what, v.AllValue)
		}
	}
	check("template-datasource-rule", found["datasource"], "%s has none", d.UID)
	check("template-job-rule", found["job"], "%s has none", d.UID)
	check("template-instance-rule", found["instance"], "%s has none", d.UID)
}

// filled replaces the variables in expressions with values that no expression has.
var filled = strings.NewReplacer("$__rate_interval", "1234s", "$__range", "15m", "$id", "0123456789ab",
	"$host", "hosts", "$job", "jobs", "$instance", "instances")

func lintPanel(d linted, p lintedPanel, check checker) {
	what := d.UID + "/" + p.Title
	check("panel-datasource-rule", p.Datasource.UID == "${datasource}", "%s: %s", what, p.Datasource.UID)
	check("panel-title-description-rule", p.Title != "" && p.Description != "", "%s", what)
	check("panel-no-targets-rule", len(p.Targets) > 0, "%s", what)
	check("panel-units-rule", p.FieldConfig.Defaults.Unit != "", "%s: %s without a unit", what, p.Type)
	for _, target := range p.Targets {
		e, err := parser.NewParser(parser.Options{}).ParseExpr(filled.Replace(target.Expr))
		check("target-promql-rule", err == nil, "%s: %s: %v", what, target.Expr, err)
		if err != nil {
			continue
		}
		parser.Inspect(e, func(node parser.Node, path []parser.Node) error {
			above := func(i int) parser.Node {
				if i > len(path) {
					return nil
				}
				return path[len(path)-i]
			}
			switch n := node.(type) {
			case *parser.MatrixSelector:
				call, ok := above(1).(*parser.Call)
				rate := ok && (call.Func.Name == "rate" || call.Func.Name == "irate")
				check("target-rate-interval-rule", !rate || n.Range.Seconds() == 1234, "%s: %s", what, n)
			case *parser.VectorSelector:
				has := func(label, value string) bool {
					return slices.ContainsFunc(n.LabelMatchers, func(m *labels.Matcher) bool {
						return m.Name == label && m.Value == value && m.Type == labels.MatchRegexp
					})
				}
				check("target-job-rule", has("job", "jobs"), "%s: %s", what, n)
				check("target-instance-rule", has("instance", "instances"), "%s: %s", what, n)
				if isCounter(n.Name) {
					call, ok := above(2).(*parser.Call)
					check("target-counter-agg-rule", ok && slices.Contains([]string{"rate", "irate", "increase"}, call.Func.Name), "%s: %s", what, n)
				}
			}
			return nil
		})
	}
}
