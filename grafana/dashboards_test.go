package grafana

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// TestFilesAreGenerated compares the committed files with the generator.
func TestFilesAreGenerated(t *testing.T) {
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil {
		t.Fatal(err)
	}
	all := All()
	if len(files) != len(all) {
		t.Errorf("dashboards/ holds %v, the generator makes %d files", files, len(all))
	}
	for _, d := range all {
		want, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("dashboards", d.File()))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s is not what the generator makes (%v): go run ./grafana/generate", d.File(), err)
		}
	}
}

// drawable are the panel types that can be drawn, and so tested, without a
// Grafana server.
var drawable = map[string]bool{"stat": true, "timeseries": true, "table": true, "gauge": true, "bargauge": true}

func TestPanels(t *testing.T) {
	uids := map[string]bool{}
	for _, d := range All() {
		if uids[d.UID] {
			t.Errorf("two dashboards are called %s", d.UID)
		}
		uids[d.UID] = true
		if d.SchemaVersion != 41 || d.ID != nil || d.Editable || d.Refresh != "5s" || d.Description == "" || len(d.Annotations.List) == 0 {
			t.Errorf("%s: schema version 41, no id, not editable, refresh 5s, a description and the removals as marks are needed", d.UID)
		}
		ids, taken := map[int]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			name := d.UID + "/" + p.Title
			if p.ID <= 0 || ids[p.ID] {
				t.Errorf("%s: id %d is not its own", name, p.ID)
			}
			ids[p.ID] = true
			if p.Title == "" || !strings.HasSuffix(p.Description, ".") {
				t.Errorf("%s: title or description is missing", name)
			}
			if !drawable[p.Type] {
				t.Errorf("%s: panels of type %s cannot be tested", name, p.Type)
			}
			g := p.GridPos
			if g.X < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
				t.Errorf("%s: %+v is not inside 24 columns", name, g)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other, ok := taken[[2]int{x, y}]; ok {
						t.Fatalf("%s lies on %s", name, other)
					}
					taken[[2]int{x, y}] = name
				}
			}
			if len(p.Targets) == 0 {
				t.Errorf("%s asks nothing", name)
			}
			refs := map[string]bool{}
			for _, target := range p.Targets {
				if refs[target.RefID] {
					t.Errorf("%s: two queries are called %s", name, target.RefID)
				}
				refs[target.RefID] = true
				if target.Instant == target.Range {
					t.Errorf("%s: a query is instant or a range", name)
				}
				lintExpr(t, name, p, target)
			}
		}
		for _, v := range d.Templating.List {
			if !strings.HasPrefix(v.Query.Query, "query_result(") || v.Definition != v.Query.Query {
				t.Errorf("%s: variable %s is no query_result", d.UID, v.Name)
			}
			parse(t, d.UID+"/$"+v.Name, strings.TrimSuffix(strings.TrimPrefix(v.Query.Query, "query_result("), ")"))
		}
		for _, a := range d.Annotations.List {
			parse(t, d.UID+"/"+a.Name, a.Expr)
		}
	}
}

// lintExpr checks one query with Prometheus' own parser.
func lintExpr(t *testing.T, name string, p Panel, target Target) {
	t.Helper()
	root := parse(t, name, target.Expr)
	if root == nil {
		return
	}
	inRate := false
	var counters []string
	parser.Inspect(root, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.Call:
			if strings.HasPrefix(n.Func.Name, "rate") || n.Func.Name == "increase" {
				inRate = true
			}
		case *parser.VectorSelector:
			ranged := false
			for _, above := range path {
				if _, ok := above.(*parser.MatrixSelector); ok {
					ranged = true
				}
			}
			if isCounter(n.Name) && !ranged {
				counters = append(counters, n.Name)
			}
		}
		return nil
	})
	if len(counters) > 0 {
		t.Errorf("%s shows the bare counters %v", name, counters)
	}
	// A window that follows the zoom, unless the panel says which it is.
	if inRate && !strings.Contains(target.Expr, "$__rate_interval") && !strings.Contains(target.Expr, "$__range") &&
		!saysWindow.MatchString(p.Title+" "+p.Description) {
		t.Errorf("%s: a rate without $__rate_interval has to say its window in title or description: %s", name, target.Expr)
	}
	if want := units(target.Expr); p.Type != "table" && want != nil && !contains(want, p.FieldConfig.Defaults.Unit) {
		t.Errorf("%s: unit %q does not fit %s, want one of %v", name, p.FieldConfig.Defaults.Unit, target.Expr, want)
	}
}

// saysWindow finds a stated window in a title or a description.
var saysWindow = regexp.MustCompile(`last hour|five minutes|a minute|a second`)

func isCounter(metric string) bool {
	return strings.HasSuffix(metric, "_total") || strings.HasSuffix(metric, "_count") || strings.HasSuffix(metric, "_sum")
}

// units infers what an expression is measured in; nil is anything.
func units(expr string) []string {
	expr = strings.TrimLeft(expr, "(")
	switch rate := strings.Contains(expr, "rate("); {
	case strings.HasPrefix(expr, "round(") || strings.HasPrefix(expr, "count"):
		return []string{"none"}
	case strings.Contains(expr, ":percent"):
		return []string{"percent"}
	case strings.Contains(expr, "bytes_rate30s"):
		return []string{"binBps"}
	case strings.Contains(expr, "io_activity:rate30s"):
		return []string{"ops"}
	case strings.Contains(expr, "_bytes") && strings.Contains(expr, " / "):
		return []string{"percentunit"}
	case rate && strings.Contains(expr, "_bytes_total"):
		return []string{"binBps"}
	case rate && strings.Contains(expr, "cpu") && strings.Contains(expr, "_seconds_total"):
		return []string{"percentunit"}
	case rate && strings.Contains(expr, "_seconds_sum"):
		return []string{"s"}
	case strings.Contains(expr, "_bytes"):
		return []string{"bytes"}
	case strings.Contains(expr, "_seconds") && !rate:
		return []string{"s"}
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, one := range list {
		if one == s {
			return true
		}
	}
	return false
}

// parse reads PromQL with Grafana's own variables filled in.
func parse(t *testing.T, name, expr string) parser.Expr {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(
		strings.NewReplacer("$__rate_interval", "20s", "$__range", "15m", "$id", "0123456789ab", "$host", anyHost).Replace(expr))
	if err != nil {
		t.Errorf("%s: %s: %v", name, expr, err)
		return nil
	}
	parser.Inspect(e, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok && !strings.HasSuffix(name, "/$host") &&
			!slices.ContainsFunc(s.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == "host" && m.Value == anyHost }) {
			t.Errorf("%s: %s is not held to the hosts that were chosen", name, s)
		}
		return nil
	})
	return e
}

// anyHost is the choice of all hosts.
const anyHost = ".*"
