package grafana

import (
	"fmt"
	"strings"
)

var source = DataSource{Type: "prometheus", UID: DataSourceUID}

// All returns the dashboards in the order of their menu.
func All() []Dashboard { return []Dashboard{overview(), containerBoard(), manager(), stack()} }

// here is the matcher of the hosts that were chosen; it stands in every selector.
// Series without the label, those of a single host, match the choice of all.
const here = `host=~"$host"`

// hosts is the choice of hosts on top of each dashboard. Where no series carries the
// label host, there is nothing to choose but all.
func hosts() Variable {
	const known = `query_result(group by (host) (last_over_time(estiba_containers[$__range])))`
	return Variable{
		Name: "host", Label: "Host", Type: "query", Datasource: source,
		Definition: known, Query: VariableQuery{Query: known, RefID: "host"},
		Regex: `/host="(?<value>[^"]+)"/`, Refresh: 2, Sort: 1,
		Multi: true, IncludeAll: true, AllValue: ".*", Current: &Choice{Text: "All", Value: "$__all"},
	}
}

func dashboard(slug, title, description string, variables []Variable, panels []Panel) Dashboard {
	for i := range panels {
		panels[i].ID = i + 1
	}
	return Dashboard{
		UID: "estiba-" + slug, Title: "Estiba " + title, Description: description, Tags: []string{"estiba"},
		SchemaVersion: 41, Version: 1, GraphTooltip: 1, Refresh: "5s",
		Time: TimeRange{From: "now-15m", To: "now"}, Timezone: "browser",
		Annotations: AnnotationList{List: []Annotation{kills("")}},
		Templating:  VariableList{List: append([]Variable{hosts()}, variables...)},
		Links: []DashboardLink{{Title: "Estiba", Type: "dashboards", Icon: "external link", Tags: []string{"estiba"},
			KeepTime: true, IncludeVars: true}},
		Panels: panels,
	}
}

// kills marks each removal: the manager publishes its last ones as times. of
// is a matcher that narrows them, like `, id="$id"`.
func kills(of string) Annotation {
	return Annotation{
		// See-through: where many are removed, the marks must not hide the graph.
		Name: "Removed by the manager", Datasource: source, Enable: true, IconColor: "rgba(255, 115, 131, 0.09)",
		Expr: `estiba_manager_recent_kill_timestamp_seconds{mode="live", outcome="done", ` + here + of + `} * 1000`, Step: "5s",
		TitleFormat: "{{name}} removed", TextFormat: "kind {{kind}}, rule {{rule}}, kill {{kill_id}}",
		TagKeys: "kind,rule,host", UseValueForTime: true,
	}
}

// at places a panel: its left upper corner, its width and height.
func at(x, y, w, h int) GridPos { return GridPos{X: x, Y: y, W: w, H: h} }

// graph is a time series panel. Queries are legend, expression, legend, ….
func graph(pos GridPos, title, description, unit string, legendAndExpr ...string) Panel {
	p := panel("timeseries", pos, title, description, unit)
	for i := 0; i < len(legendAndExpr); i += 2 {
		p.Targets = append(p.Targets, Target{RefID: ref(i / 2), Datasource: source, EditorMode: "code",
			Expr: legendAndExpr[i+1], LegendFormat: legendAndExpr[i], Format: "time_series", Range: true})
	}
	zero := 0.0
	p.FieldConfig.Defaults.Min = &zero
	p.FieldConfig.Defaults.Color = map[string]any{"mode": "palette-classic"}
	p.FieldConfig.Defaults.Custom = map[string]any{"lineWidth": 1, "fillOpacity": 8, "showPoints": "never",
		"spanNulls": false, "drawStyle": "line", "lineInterpolation": "linear"}
	p.Options = map[string]any{
		"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
		"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}
	return p
}

// dashed draws the series of the given legend as a limit: dashed, not filled.
func dashed(p Panel, legend string) Panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{
		Matcher: Matcher{ID: "byName", Options: legend},
		Properties: []Property{
			{ID: "custom.lineStyle", Value: map[string]any{"fill": "dash", "dash": []int{10, 10}}},
			{ID: "custom.fillOpacity", Value: 0},
			{ID: "color", Value: map[string]any{"mode": "fixed", "fixedColor": "red"}},
		}})
	return p
}

// stat is one number now, with the graph of its past behind it. steps are its
// thresholds, in its own unit.
func stat(pos GridPos, title, description, unit, expr string, steps ...Step) Panel {
	p := panel("stat", pos, title, description, unit)
	p.Targets = []Target{{RefID: "A", Datasource: source, EditorMode: "code", Expr: expr, Format: "time_series", Range: true}}
	p.FieldConfig.Defaults.Color = map[string]any{"mode": "thresholds"}
	if len(steps) > 0 {
		p.FieldConfig.Defaults.Thresholds.Steps = steps
	}
	graph := "area"
	if unit == "bool_yes_no" || unit == "bool" {
		graph = "none"
	}
	p.Options = map[string]any{"colorMode": "value", "graphMode": graph, "justifyMode": "auto", "orientation": "auto",
		"textMode":      "auto",
		"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}}
	return p
}

// Numbers that stand for words in a stat, where they are mapped: what is measured is
// never less than 0.
const (
	// NotKnown is what a stat has now when nobody can say. Without it Grafana shows the
	// last number that there was in the time range, as if it were of now.
	NotKnown = -1
	// NoLimit is what a share has of a limit that is not set.
	NoLimit = -2
)

// known has a stat of what is so now say that it is not known, when it is not.
func known(p Panel) Panel {
	t := &p.Targets[0]
	t.Expr = "(" + t.Expr + ") or on () vector(-1)"
	return says(p, NotKnown, "not known")
}

// says shows words instead of a number that stands for them.
func says(p Panel, value int, text string) Panel {
	p.FieldConfig.Defaults.Mappings = append(p.FieldConfig.Defaults.Mappings, map[string]any{"type": "value",
		"options": map[string]any{fmt.Sprint(value): map[string]any{"text": text, "color": "text", "index": len(p.FieldConfig.Defaults.Mappings)}}})
	if p.Says == nil {
		p.Says = map[float64]string{}
	}
	p.Says[float64(value)] = text
	// The graph behind it shows what was measured.
	zero := 0.0
	p.FieldConfig.Defaults.Min = &zero
	return p
}

// count is a stat of a number that is neither good nor bad.
func count(pos GridPos, title, description, expr string) Panel {
	return stat(pos, title, description, "none", expr, base("text"))
}

// bare leaves the graph behind the number away, where it would say nothing.
func bare(p Panel) Panel {
	p.Options["graphMode"] = "none"
	return p
}

// listed puts the legend beside the graph, as a table with each line's last and
// largest value, the largest last value first.
func listed(p Panel, width int) Panel {
	p.Options["legend"] = map[string]any{"displayMode": "table", "placement": "right", "showLegend": true, "width": width,
		"calcs": []string{"lastNotNull", "max"}, "sortBy": "Last *", "sortDesc": true}
	return p
}

// stacked piles the lines up, so that their sum can be read.
func stacked(p Panel) Panel {
	for key, value := range map[string]any{"stacking": map[string]any{"mode": "normal", "group": "A"}, "fillOpacity": 40, "lineInterpolation": "stepAfter"} {
		p.FieldConfig.Defaults.Custom[key] = value
	}
	return p
}

// painted gives the line or column of that name a fixed colour.
func painted(p Panel, name, color string) Panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{
		Matcher:    Matcher{ID: "byName", Options: name},
		Properties: []Property{{ID: "color", Value: map[string]any{"mode": "fixed", "fixedColor": color}}},
	})
	return p
}

// kinds gives each kind of container the same colour everywhere.
func kinds(p Panel) Panel {
	for _, k := range [][2]string{{"cpu", "blue"}, {"ram", "purple"}, {"io", "yellow"}, {"disk", "orange"}, {"not known", "text"}} {
		p = painted(p, k[0], k[1])
	}
	return p
}

// word is a stat that shows a label's value instead of the number. Grafana shows
// nothing at all where there is no series, so there always is one.
//
// none is an expression that has a series where it is known that there is no such
// value; "" if that cannot be told from not knowing.
func word(pos GridPos, title, description, label, expr, none string) Panel {
	if none != "" {
		expr += fmt.Sprintf(` or on () label_replace(group(%s), "%s", "none", "", "")`, none, label)
	}
	p := stat(pos, title, description, "none", orRow(expr, label, label, "not known"), base("text"))
	p.Targets[0].LegendFormat = "{{" + label + "}}"
	p.Targets[0].Instant, p.Targets[0].Range = true, false
	p.Options["textMode"], p.Options["graphMode"] = "name", "none"
	return p
}

// column is a column of a table: a label of the first query that has it, or
// the value of an expression. words says how labels' values are shown.
type column struct {
	title, label, expr, unit string
	words                    []wordFor
	width                    int
	decimals                 int // as many as fit if 0
}

// wordFor shows a value as another text, in a colour unless that is empty.
type wordFor struct{ value, text, color string }

// overrides are the settings of the column's field.
func (c column) overrides() []Override {
	var properties []Property
	if c.unit != "" {
		properties = append(properties, Property{ID: "unit", Value: c.unit})
	}
	if c.decimals > 0 {
		properties = append(properties, Property{ID: "decimals", Value: c.decimals})
	}
	if c.width > 0 {
		properties = append(properties, Property{ID: "custom.width", Value: c.width})
	}
	if c.words != nil {
		options := map[string]any{}
		for i, w := range c.words {
			shown := map[string]any{"text": w.text, "index": i}
			if w.color != "" {
				shown["color"] = w.color
			}
			options[w.value] = shown
		}
		properties = append(properties, Property{ID: "mappings", Value: []any{map[string]any{"type": "value", "options": options}}})
		if c.expr == "" { // a number would be painted by its thresholds, which it has none of
			properties = append(properties, Property{ID: "custom.cellOptions", Value: map[string]any{"type": "color-text"}})
		}
	}
	if properties == nil {
		return nil
	}
	return []Override{{Matcher: Matcher{ID: "byName", Options: c.title}, Properties: properties}}
}

// sorted sorts a table by a column, the largest value first.
func sorted(p Panel, column string) Panel { return sortedBy(p, column, true) }

func sortedBy(p Panel, column string, falling bool) Panel {
	p.Options["sortBy"] = []any{map[string]any{"displayName": column, "desc": falling}}
	return p
}

// linked makes a column's cells lead somewhere.
func linked(column, title, url string) Override {
	return Override{
		Matcher:    Matcher{ID: "byName", Options: column},
		Properties: []Property{{ID: "links", Value: []DataLink{{Title: title, URL: url}}}},
	}
}

// table joins instant queries by the label key. labels is an expression whose
// labels are columns, one or more of them. A cell without a value is a dash:
// what is said of an empty table has to be a row, see orRow.
func table(pos GridPos, title, description, key string, labels []string, columns []column) Panel {
	p := panel("table", pos, title, description, "")
	p.FieldConfig.Defaults.NoValue = dash
	p.FieldConfig.Defaults.Custom = map[string]any{"align": "auto", "cellOptions": map[string]any{"type": "auto"}}
	p.Options = map[string]any{"showHeader": true, "cellHeight": "sm"}
	for _, expr := range labels {
		p.Targets = append(p.Targets, instant(len(p.Targets), expr))
	}
	names, rename, index := []string{}, map[string]string{}, map[string]int{}
	for i, c := range columns {
		field := c.label
		if c.expr != "" {
			t := instant(len(p.Targets), c.expr)
			p.Targets, field = append(p.Targets, t), "Value #"+t.RefID
		}
		names, rename[field], index[field] = append(names, field), c.title, i
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, c.overrides()...)
	}
	if len(p.Targets) > 1 {
		// What is known of a row by other queries only is of something that has
		// just gone: no row.
		gone := map[string]any{"fieldName": columns[0].label, "config": map[string]any{"id": "isNull", "options": map[string]any{}}}
		p.Transformations = append(p.Transformations,
			Transformation{ID: "joinByField", Options: map[string]any{"byField": key, "mode": "outer"}},
			Transformation{ID: "filterByValue", Options: map[string]any{"type": "exclude", "match": "any", "filters": []any{gone}}})
	} else {
		// A single query's value column carries no letter.
		for i, n := range names {
			if strings.HasPrefix(n, "Value #") {
				names[i], rename["Value"], index["Value"] = "Value", rename[n], index[n]
				delete(rename, n)
				delete(index, n)
			}
		}
	}
	p.Transformations = append(p.Transformations,
		Transformation{ID: "filterFieldsByName", Options: map[string]any{"include": map[string]any{"names": names}}},
		Transformation{ID: "organize", Options: map[string]any{"renameByName": rename, "indexByName": index, "excludeByName": map[string]bool{}}})
	return p
}

func instant(i int, expr string) Target {
	return Target{RefID: ref(i), Datasource: source, EditorMode: "code", Expr: expr, Format: "table", Instant: true}
}

func panel(kind string, pos GridPos, title, description, unit string) Panel {
	return Panel{Type: kind, Title: title, Description: description, GridPos: pos, Datasource: source,
		Targets: []Target{}, Options: map[string]any{},
		FieldConfig: FieldConfig{Overrides: []Override{},
			Defaults: FieldDefaults{Unit: unit, Mappings: []any{}, Thresholds: Thresholds{Mode: "absolute", Steps: []Step{base("green")}}}}}
}

// empty notes why a healthy system may have no data in this panel, and what is
// shown then: words, in the colour of words.
func empty(p Panel, shown, why string) Panel {
	p.MayBeEmpty, p.FieldConfig.Defaults.NoValue = why, shown
	if p.Type == "stat" {
		p.FieldConfig.Defaults.Mappings = append(p.FieldConfig.Defaults.Mappings, map[string]any{"type": "special",
			"options": map[string]any{"match": "null", "result": map[string]any{"text": shown, "color": "text", "index": 0}}})
	}
	return p
}

// NoContainer is why panels are empty on a host on which nothing runs.
const NoContainer = "no container may run"

// ofContainers notes that a panel is empty while no container runs. A graph cannot tell
// that from an exporter that sees nothing: its words are true of both.
func ofContainers(p Panel) Panel { return empty(p, "no container seen", NoContainer) }

// seen is how many containers run on each host whose exporter can tell.
const seen = `(estiba_containers{` + here + `} and on (host, job, instance) (estiba_scrape_success{` + here + `} == 1))`

// counted is how many series there are of containers: 0 only where they are seen.
func counted(selector string) string {
	return "count(" + selector + ") or 0 * count(" + seen + ")"
}

// dash stands in a cell without a value.
const dash = "–"

// orRow is one row of words where there would be no row: text in the column of
// label, a dash in the key's.
func orRow(expr, key, label, text string) string {
	row := fmt.Sprintf(`label_replace(vector(0), "%s", "%s", "", "")`, label, text)
	if key != label {
		row = fmt.Sprintf(`label_replace(%s, "%s", "%s", "", "")`, row, key, dash)
	}
	return expr + " or on () " + row
}

// busiest picks the n series of a metric that used most in the time range, so
// that a graph has n lines, whoever comes and goes; topk alone has n lines at
// each moment, and other ones at the next.
func busiest(n int, metric string) string {
	metric += "{" + here + "}"
	return fmt.Sprintf(`%s and topk(%d, sum_over_time(%s[$__range] @ end()))`, metric, n, metric)
}

// hosted puts the host in front of a label, as box1/name, where there is one.
func hosted(expr, label string) string {
	return fmt.Sprintf(`label_replace(label_join(%s, "%s", "/", "host", "%s"), "%s", "$1", "%s", "/(.*)")`, expr, label, label, label, label)
}

// keyed gives each series the label key, which tells a row from the others in a
// table's joins: hosts may have the same address, and even the same container.
func keyed(expr, label string) string {
	return fmt.Sprintf(`label_join(%s, "key", "/", "host", "%s")`, expr, label)
}

// named puts the id in place of a name that is not known.
func named(expr string) string {
	return fmt.Sprintf(`label_replace(label_join(%s, "name", "/", "name", "id"), "name", "$1$2", "name", "(?:([^/]+)/.*|/(.*))")`, expr)
}

func base(color string) Step                { return Step{Color: color} }
func from(value float64, color string) Step { return Step{Color: color, Value: &value} }
func ref(i int) string                      { return string(rune('A' + i)) }
