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

// TestFilesAreGenerated compares the committed files with the generator's output.
func TestFilesAreGenerated(t *testing.T) {
	for folder, all := range Files() {
		files, err := filepath.Glob(folder + "/*.json")
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != len(all) {
			t.Errorf("%s/ has %v, the generator writes %d files", folder, files, len(all))
		}
		for _, d := range all {
			want, err := d.Encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(folder, d.File()))
			if err != nil || string(got) != string(want) {
				t.Errorf("%s/%s differs from the generator (%v): go run ./grafana/generate", folder, d.File(), err)
			}
		}
	}
}

// drawable are the panel types that test/browser can draw.
var drawable = map[string]bool{"stat": true, "timeseries": true, "table": true, "gauge": true, "bargauge": true}

func TestPanels(t *testing.T) {
	uids := map[string]bool{}
	for _, d := range All() {
		if uids[d.UID] {
			t.Errorf("duplicate dashboard uid %s", d.UID)
		}
		uids[d.UID] = true
		if d.SchemaVersion != 41 || d.ID != nil || d.Editable || d.Refresh == "" || d.Description == "" {
			t.Errorf("%s: want schema version 41, no id, not editable, a refresh and a description", d.UID)
		}
		ids, taken := map[int]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			name := d.UID + "/" + p.Title
			if p.ID <= 0 || ids[p.ID] {
				t.Errorf("%s: missing or duplicate id %d", name, p.ID)
			}
			ids[p.ID] = true
			if p.Type == "row" {
				continue
			}
			checkTexts(t, name, p)
			if !drawable[p.Type] {
				t.Errorf("%s: type %s cannot be drawn by test/browser", name, p.Type)
			}
			g := p.GridPos
			if g.X < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
				t.Errorf("%s: %+v is outside the 24 columns", name, g)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other, ok := taken[[2]int{x, y}]; ok {
						t.Fatalf("%s overlaps %s", name, other)
					}
					taken[[2]int{x, y}] = name
				}
			}
			if len(p.Targets) == 0 {
				t.Errorf("%s: no query", name)
			}
			refs := map[string]bool{}
			for _, target := range p.Targets {
				if refs[target.RefID] {
					t.Errorf("%s: duplicate query %s", name, target.RefID)
				}
				refs[target.RefID] = true
				if target.Instant == target.Range {
					t.Errorf("%s: want either an instant or a range query", name)
				}
				lintExpr(t, name, p, target)
			}
		}
		for _, v := range d.Templating.List {
			if v.Type != "query" {
				continue
			}
			if !strings.HasPrefix(v.Query.Query, "query_result(") || v.Definition != v.Query.Query {
				t.Errorf("%s: variable %s: want query_result(…)", d.UID, v.Name)
			}
			parse(t, d.UID+"/$"+v.Name, strings.TrimSuffix(strings.TrimPrefix(v.Query.Query, "query_result("), ")"))
		}
		for _, a := range d.Annotations.List {
			if len(a.Filter.IDs) == 0 || a.Filter.Exclude {
				t.Errorf("%s: %s is on all panels", d.UID, a.Name)
			}
			parse(t, d.UID+"/"+a.Name, a.Expr)
		}
	}
}

// Limits of texts. A column of the grid is at least 53 pixels wide (1280 pixels / 24), a
// character of a title about 7.5, and a panel needs 44 for padding and the info icon. A
// table header needs 7 pixels per character and 20 for padding and the sort icon.
const (
	columnPixels   = 53
	maxDescription = 260
)

// checkTexts checks that titles and headers are not truncated, and the form of the
// description.
func checkTexts(t *testing.T, name string, p Panel) {
	t.Helper()
	if room := 2 * (p.GridPos.W*columnPixels - 44) / 15; p.Title == "" || len(p.Title) > room {
		t.Errorf("%s: title of %d characters, %d fit", name, len(p.Title), room)
	}
	if n := len(p.Description); !strings.HasSuffix(p.Description, ".") || n > maxDescription {
		t.Errorf("%s: description of %d characters; want at most %d and a full stop", name, n, maxDescription)
	}
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if width, ok := property.Value.(int); ok && property.ID == "custom.width" && 7*len(o.Matcher.Options)+20 > width {
				t.Errorf("%s: header %q does not fit into %d pixels", name, o.Matcher.Options, width)
			}
		}
	}
}

// lintExpr checks one query with Prometheus' parser.
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
		t.Errorf("%s: counters without rate or increase: %v", name, counters)
	}
	// The window follows the zoom, unless the panel states it.
	if inRate && !strings.Contains(target.Expr, "$__rate_interval") && !strings.Contains(target.Expr, "$__range") &&
		!saysWindow.MatchString(p.Title+" "+p.Description) {
		t.Errorf("%s: title or description must state the window of a rate without $__rate_interval: %s", name, target.Expr)
	}
	if want := units(target.Expr); p.Type != "table" && want != nil && !contains(want, p.FieldConfig.Defaults.Unit) {
		t.Errorf("%s: unit %q does not fit %s, want one of %v", name, p.FieldConfig.Defaults.Unit, target.Expr, want)
	}
}

// saysWindow matches a window in a title or a description.
var saysWindow = regexp.MustCompile(`last hour|five minutes|per minute|per second`)

func isCounter(metric string) bool {
	return strings.HasSuffix(metric, "_total") || strings.HasSuffix(metric, "_count") || strings.HasSuffix(metric, "_sum")
}

// units returns the units that fit an expression; nil is any.
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

// parse parses PromQL with Grafana's variables replaced.
func parse(t *testing.T, name, expr string) parser.Expr {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(
		strings.NewReplacer("$__rate_interval", "20s", "$__range", "15m", "$id", "0123456789ab", "$host", anyHost, "$job", ".+", "$instance", ".+").Replace(expr))
	if err != nil {
		t.Errorf("%s: %s: %v", name, expr, err)
		return nil
	}
	parser.Inspect(e, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok && !strings.Contains(name, "/$") &&
			!slices.ContainsFunc(s.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == "host" && m.Value == anyHost }) {
			t.Errorf("%s: %s has no matcher for $host", name, s)
		}
		return nil
	})
	return e
}

// TestTablesFit checks that no table with fixed widths is wider than a screen, and that the
// rows of folded sections are inside them.
func TestTablesFit(t *testing.T) {
	const screen = 1500 // of 1,600 pixels, without the menu of Grafana
	for _, d := range All() {
		for _, p := range d.Panels {
			width := 0
			for _, o := range p.FieldConfig.Overrides {
				for _, property := range o.Properties {
					if w, ok := property.Value.(int); ok && property.ID == "custom.width" {
						width += w
					}
				}
			}
			if limit := screen * p.GridPos.W / gridColumns; width > limit {
				t.Errorf("%s/%s: columns of %d pixels, %d fit", d.UID, p.Title, width, limit)
			}
		}
	}
}

// anyHost is the value of $host for All.
const anyHost = ".*"
