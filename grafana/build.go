package grafana

import (
	"fmt"
	"strings"
)

// source is the data source of every panel: the variable $datasource.
var source = DataSource{Type: "prometheus", UID: "${datasource}"}

// All returns the dashboards in the order of the menu.
func All() []Dashboard {
	return []Dashboard{fleet(), overview(), containerBoard(), manager(), stack()}
}

// Files returns the dashboards by the folder that they are written to.
func Files() map[string][]Dashboard {
	files := map[string][]Dashboard{"dashboards": All()}
	for _, d := range All() {
		files["import"] = append(files["import"], d.ForImport())
	}
	return files
}

// here is the matcher for the selected hosts; every selector has it. Series without the
// label, as on a single host, match All.
const here = `host=~"$host"`

// sel are the matchers for the selected targets. Recorded series and alerts have no labels
// job and instance: see recorded.
const sel = `job=~"$job", instance=~"$instance", ` + here

// recorded selects recorded series of the containers of the selected targets. more is
// additional matchers such as `class="high", `.
func recorded(metric, more string) string {
	return "(" + metric + "{" + more + here + "} and on (host, id) estiba_container_info{" + sel + "})"
}

// standard returns the variables of every dashboard: the data source, then job, instance
// and host of the targets that have the series in expr. each is such a series with the
// placeholder %s for matchers.
func standard(each string) []Variable {
	datasource := Variable{
		Name: "datasource", Label: "Data source", Type: "datasource", Query: VariableQuery{Query: "prometheus"},
		Refresh: 1, Current: &Choice{Text: DataSourceName, Value: DataSourceUID},
	}
	known := func(label, matchers string) string {
		return "query_result(group by (" + label + ") (last_over_time(" + fmt.Sprintf(each, matchers) + "[$__range])))"
	}
	host := choice("host", "Host", known("host", sel[:strings.Index(sel, ", "+here)]))
	// Single hosts have no such label, so All must match a series without it.
	host.AllValue = ".*"
	return []Variable{
		datasource,
		choice("job", "Job", known("job", "")),
		choice("instance", "Instance", known("instance", `job=~"$job"`)),
		host,
	}
}

// choice is a variable with the values of its label in the result of a query, and All.
func choice(name, label, query string) Variable {
	return Variable{
		Name: name, Label: label, Type: "query", Datasource: &source,
		Definition: query, Query: VariableQuery{Query: query, RefID: name},
		Regex: `/` + name + `="(?<value>[^"]+)"/`, Refresh: 2, Sort: 1,
		Multi: true, IncludeAll: true, AllValue: ".+", Current: &Choice{Text: "All", Value: "$__all"},
	}
}

// statusPage is the variable $manager, the address of the manager's status page as the
// browser of the reader reaches it.
func statusPage() Variable {
	const address = "http://localhost:10121"
	return Variable{
		Name: "manager", Label: "Manager", Type: "textbox", Query: VariableQuery{Query: address},
		Current: &Choice{Text: address, Value: address},
	}
}

func dashboard(slug, title, description string, variables []Variable, panels []Panel) Dashboard {
	return Dashboard{
		UID: "estiba-" + slug, Title: "Estiba " + title, Description: description, Tags: []string{"estiba"},
		SchemaVersion: 41, Version: 1, GraphTooltip: 1, Refresh: "5s",
		Time: TimeRange{From: "now-15m", To: "now"}, Timezone: "browser",
		Annotations: AnnotationList{List: []Annotation{}},
		Templating:  VariableList{List: variables},
		Links:       links(slug),
		Panels:      arranged(panels),
	}
}

// links lead to the other dashboards with the chosen data source and hosts. Jobs and
// instances are not the same everywhere.
func links(from string) []DashboardLink {
	var all []DashboardLink
	for _, to := range []string{"fleet", "overview", "container", "manager", "stack"} {
		if to != from {
			all = append(all, DashboardLink{
				Title: strings.ToUpper(to[:1]) + to[1:], Type: "link", Icon: "dashboard", Tags: []string{}, KeepTime: true,
				URL: "/d/estiba-" + to + "/estiba-" + to + "?${datasource:queryparam}&${host:queryparam}",
			})
		}
	}
	return all
}

// killed marks kills in the panels that are marked.
func killed(d Dashboard, a Annotation) Dashboard {
	for _, p := range d.Panels {
		if p.Marked {
			a.Filter.IDs = append(a.Filter.IDs, p.ID)
		}
	}
	d.Annotations.List = append(d.Annotations.List, a)
	return d
}

// ticks marks each tick of the manager that killed. Grafana joins equal and nearly equal
// times to one mark.
func ticks() Annotation {
	return kills(`1000 * max by (host) (estiba_manager_recent_kill_timestamp_seconds{mode="live", outcome="done", `+here+`})`,
		"Killed {{host}}", "Containers and reasons: Recent kills on the dashboard Manager.")
}

// kills is an annotation at the times that expr returns, in milliseconds.
func kills(expr, title, text string) Annotation {
	return Annotation{
		Name: "Kills", Datasource: source, Enable: true, IconColor: "rgba(255, 115, 131, 0.45)",
		Expr: expr, Step: "5s", TitleFormat: title, TextFormat: text, TagKeys: "host", UseValueForTime: true,
	}
}

// marked shows kills in the panel.
func marked(p Panel) Panel {
	p.Marked = true
	return p
}

// box is the size of a panel: see arranged.
func box(w, h int) GridPos { return GridPos{W: w, H: h} }

// fold is a row that is closed at first: its queries run when it is opened.
func fold(title string) Panel {
	return Panel{Type: "row", Title: title, Folded: true, GridPos: box(gridColumns, 1)}
}

// section is an open row.
func section(title string) Panel {
	return Panel{Type: "row", Title: title, GridPos: box(gridColumns, 1)}
}

const gridColumns = 24

// arranged numbers the panels and places them one after the other: from the left to the
// right, then below the highest of the line.
func arranged(panels []Panel) []Panel {
	x, y, height := 0, 0, 0
	for i := range panels {
		p := &panels[i]
		if x+p.GridPos.W > gridColumns {
			x, y, height = 0, y+height, 0
		}
		p.ID, p.GridPos.X, p.GridPos.Y = i+1, x, y
		x, height = x+p.GridPos.W, max(height, p.GridPos.H)
	}
	return panels
}

// graph is a time series panel. Queries alternate: legend, expression, legend, …
func graph(pos GridPos, title, description, unit string, legendAndExpr ...string) Panel {
	p := panel("timeseries", pos, title, description, unit)
	for i := 0; i < len(legendAndExpr); i += 2 {
		p.Targets = append(p.Targets, Target{
			RefID: ref(i / 2), Datasource: source, EditorMode: "code",
			Expr: legendAndExpr[i+1], LegendFormat: legendAndExpr[i], Format: "time_series", Range: true,
		})
	}
	zero := 0.0
	p.FieldConfig.Defaults.Min = &zero
	// A container, host or project has the same colour everywhere. Lines with fixed names
	// must differ from each other instead.
	p.FieldConfig.Defaults.Color = map[string]any{"mode": "palette-classic"}
	if strings.Contains(strings.Join(legendAndExpr, ""), "{{") {
		p.FieldConfig.Defaults.Color["mode"] = "palette-classic-by-name"
	}
	p.FieldConfig.Defaults.Custom = map[string]any{
		"lineWidth": 1, "fillOpacity": 8, "showPoints": "never",
		"spanNulls": false, "drawStyle": "line", "lineInterpolation": "linear",
	}
	p.Options = map[string]any{
		"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
		"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}
	return p
}

// dashed draws the series with that legend as a limit: dashed, not filled.
func dashed(p Panel, legend string) Panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{
		Matcher: Matcher{ID: "byName", Options: legend},
		Properties: []Property{
			{ID: "custom.lineStyle", Value: map[string]any{"fill": "dash", "dash": []int{10, 10}}},
			{ID: "custom.fillOpacity", Value: 0},
			{ID: "color", Value: map[string]any{"mode": "fixed", "fixedColor": "red"}},
		},
	})
	return p
}

// stat shows the current value in front of its graph. steps are thresholds in its unit.
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
	p.Options = map[string]any{
		"colorMode": "value", "graphMode": graph, "justifyMode": "auto", "orientation": "auto",
		"textMode":      "auto",
		"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	}
	return p
}

// Values that a stat shows as words. Measured values are never negative.
const (
	// NotKnown is the value of a stat that is unknown now. Without it Grafana shows the
	// last value in the time range as the current one.
	NotKnown = -1
	// NoLimit is the share of a limit that is not set.
	NoLimit = -2
)

// known shows "unknown" while the stat has no value.
func known(p Panel) Panel {
	t := &p.Targets[0]
	t.Expr = "(" + t.Expr + ") or on () vector(-1)"
	return says(p, NotKnown, "unknown")
}

// says shows text in place of value.
func says(p Panel, value int, text string) Panel {
	p.FieldConfig.Defaults.Mappings = append(p.FieldConfig.Defaults.Mappings, map[string]any{
		"type":    "value",
		"options": map[string]any{fmt.Sprint(value): map[string]any{"text": text, "color": "text", "index": len(p.FieldConfig.Defaults.Mappings)}},
	})
	if p.Says == nil {
		p.Says = map[float64]string{}
	}
	p.Says[float64(value)] = text
	// Keep such values out of the graph.
	zero := 0.0
	p.FieldConfig.Defaults.Min = &zero
	return p
}

// count is a stat without thresholds.
func count(pos GridPos, title, description, expr string) Panel {
	return stat(pos, title, description, "none", expr, base("text"))
}

// atOnce shows the value at the end of the time range only, so that those of several
// panels are of one time and add up.
func atOnce(p Panel) Panel {
	p.Targets[0].Instant, p.Targets[0].Range = true, false
	return bare(p)
}

// bare removes the graph behind the value.
func bare(p Panel) Panel {
	p.Options["graphMode"] = "none"
	return p
}

// listed puts the legend beside the graph, as a table with last and maximum, sorted by
// the last value. A container that has exited has no last value.
func listed(p Panel, width int) Panel {
	p.Options["legend"] = map[string]any{
		"displayMode": "table", "placement": "right", "showLegend": true, "width": width,
		"calcs": []string{"last", "max"}, "sortBy": "Last", "sortDesc": true,
	}
	return p
}

// stacked stacks the series.
func stacked(p Panel) Panel {
	for key, value := range map[string]any{"stacking": map[string]any{"mode": "normal", "group": "A"}, "fillOpacity": 40, "lineInterpolation": "stepAfter"} {
		p.FieldConfig.Defaults.Custom[key] = value
	}
	return p
}

// painted gives the series or column of that name a fixed colour.
func painted(p Panel, name, color string) Panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{
		Matcher:    Matcher{ID: "byName", Options: name},
		Properties: []Property{{ID: "color", Value: map[string]any{"mode": "fixed", "fixedColor": color}}},
	})
	return p
}

// kinds gives each kind the same colour on all dashboards.
func kinds(p Panel) Panel {
	for _, k := range [][2]string{{"cpu", "blue"}, {"ram", "purple"}, {"io", "yellow"}, {"disk", "orange"}, {"unknown", "text"}} {
		p = painted(p, k[0], k[1])
	}
	return p
}

// word is a stat that shows a label's value instead of the number. Grafana shows nothing
// for an empty result, so the query always returns a series.
//
// none is an expression that returns a series if the label is known to have no value, or
// "" if that cannot be distinguished from unknown.
func word(pos GridPos, title, description, label, expr, none string) Panel {
	if none != "" {
		expr += fmt.Sprintf(` or on () label_replace(group(%s), "%s", "none", "", "")`, none, label)
	}
	p := stat(pos, title, description, "none", orRow(expr, label, label, "unknown"), base("text"))
	p.Targets[0].LegendFormat = "{{" + label + "}}"
	p.Targets[0].Instant, p.Targets[0].Range = true, false
	p.Options["textMode"], p.Options["graphMode"] = "name", "none"
	return p
}

// column is a column of a table: a label of the first query that has it, or the value of
// an expression. words maps values to texts.
type column struct {
	title, label, expr, unit string
	words                    []wordFor
	width                    int
	decimals                 int     // automatic if 0
	bar                      string  // colour of a bar behind the value; none if empty
	full                     float64 // value of a whole bar; the greatest in the column if 0
	steps                    []Step  // colours of the text or the bar
	links                    []DataLink
}

// wordFor shows a value as text, in a colour unless that is empty.
type wordFor struct{ value, text, color string }

// overrides returns the settings of the column's field.
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
	if c.bar != "" {
		properties = append(properties,
			Property{ID: "custom.cellOptions", Value: map[string]any{"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}},
			Property{ID: "min", Value: 0})
		if c.full > 0 {
			properties = append(properties, Property{ID: "max", Value: c.full})
		}
		if c.steps == nil {
			properties = append(properties, Property{ID: "color", Value: map[string]any{"mode": "fixed", "fixedColor": c.bar}})
		}
	}
	if c.steps != nil {
		properties = append(properties,
			Property{ID: "thresholds", Value: Thresholds{Mode: "absolute", Steps: c.steps}},
			Property{ID: "color", Value: map[string]any{"mode": "thresholds"}})
		if c.bar == "" {
			properties = append(properties, Property{ID: "custom.cellOptions", Value: map[string]any{"type": "color-text"}})
		}
	}
	if c.links != nil {
		properties = append(properties, Property{ID: "links", Value: c.links})
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
		if c.expr == "" { // values of expressions have no thresholds to colour by
			properties = append(properties, Property{ID: "custom.cellOptions", Value: map[string]any{"type": "color-text"}})
		}
	}
	if properties == nil {
		return nil
	}
	return []Override{{Matcher: Matcher{ID: "byName", Options: c.title}, Properties: properties}}
}

// sorted sorts a table by a column, descending.
func sorted(p Panel, column string) Panel { return sortedBy(p, column, true) }

func sortedBy(p Panel, column string, falling bool) Panel {
	p.Options["sortBy"] = []any{map[string]any{"displayName": column, "desc": falling}}
	return p
}

// to returns a link for the cells of a column, to a dashboard with the value of a column
// as one of its variables.
func to(dashboard, variable, column string) []DataLink {
	return []DataLink{{
		Title: strings.ToUpper(dashboard[:1]) + dashboard[1:],
		URL: "/d/estiba-" + dashboard + "/estiba-" + dashboard + "?var-" + variable + "=${__data.fields." + column +
			"}&${datasource:queryparam}&${__url_time_range}",
	}}
}

// table joins instant queries by the label key. The labels of the expressions in labels
// are columns. A cell without a value shows a dash, so the text for an empty table must
// be a row: see orRow.
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
		// A row without a value in the first column is of a container that has just exited.
		gone := map[string]any{"fieldName": columns[0].label, "config": map[string]any{"id": "isNull", "options": map[string]any{}}}
		p.Transformations = append(p.Transformations,
			Transformation{ID: "joinByField", Options: map[string]any{"byField": key, "mode": "outer"}},
			Transformation{ID: "filterByValue", Options: map[string]any{"type": "exclude", "match": "any", "filters": []any{gone}}})
	} else {
		// With a single query Grafana names the field Value, without the letter.
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
	return Panel{
		Type: kind, Title: title, Description: description, GridPos: pos, Datasource: source,
		Targets: []Target{}, Options: map[string]any{},
		FieldConfig: FieldConfig{
			Overrides: []Override{},
			Defaults:  FieldDefaults{Unit: unit, Mappings: []any{}, Thresholds: Thresholds{Mode: "absolute", Steps: []Step{base("green")}}},
		},
	}
}

// empty sets the text that the panel shows without data, and why a healthy system may have
// none.
func empty(p Panel, shown, why string) Panel {
	// A legend with values shows the same text for a series that has ended.
	if legend, ok := p.Options["legend"].(map[string]any); ok && legend["displayMode"] == "table" {
		shown = dash
	}
	p.MayBeEmpty, p.FieldConfig.Defaults.NoValue = why, shown
	if p.Type == "stat" {
		p.FieldConfig.Defaults.Mappings = append(p.FieldConfig.Defaults.Mappings, map[string]any{
			"type":    "special",
			"options": map[string]any{"match": "null", "result": map[string]any{"text": shown, "color": "text", "index": 0}},
		})
	}
	return p
}

// NoContainer is why panels are empty on a host without running containers.
const NoContainer = "no container may run"

// ofContainers marks a panel that is empty while no container runs. A graph cannot
// distinguish that from an exporter that sees none: the text is true of both.
func ofContainers(p Panel) Panel { return empty(p, "no containers seen", NoContainer) }

// seen is the number of running containers on each host whose exporter can read them.
const seen = `(estiba_containers{` + sel + `} and on (host, job, instance) (estiba_scrape_success{` + sel + `} == 1))`

// counted counts series of containers. The result is 0 only if containers can be seen.
func counted(selector string) string {
	return "count(" + selector + ") or 0 * count(" + seen + ")"
}

// dash is shown in a cell without a value.
const dash = "–"

// orRow adds a row if there would be none: text in the column label, a dash in the key's.
func orRow(expr, key, label, text string) string {
	row := fmt.Sprintf(`label_replace(vector(0), "%s", "%s", "", "")`, label, text)
	if key != label {
		row = fmt.Sprintf(`label_replace(%s, "%s", "%s", "", "")`, row, key, dash)
	}
	return expr + " or on () " + row
}

// busiest returns the n containers of which over sums up to most in the time range, so
// that a graph has n lines: topk alone selects others at each step. now is their values,
// over the same of the whole range, evaluated once.
func busiest(n int, now, over string) string {
	const each = "max by (host, id, name) ("
	return hosted(named(fmt.Sprintf("%s%s) and topk(%d, %s%s))", each, now, n, each, over)), "name")
}

// top returns the n containers with the highest sum of a recorded series.
func top(n int, metric string) string {
	return busiest(n, metric+"{"+here+"}", "sum_over_time("+metric+"{"+here+"}[$__range] @ end()) and on (host, id) last_over_time(estiba_container_info{"+sel+"}[$__range] @ end())")
}

// topRate returns the rates of the n containers for which a counter grew most. more is
// additional matchers.
func topRate(n int, metric, more string) string {
	return busiest(n, "rate("+metric+"{"+more+sel+"}[$__rate_interval])", "increase("+metric+"{"+more+sel+"}[$__range] @ end())")
}

// working is the working set of containers, resident memory where that is unknown. window
// is "" or a range for function.
func working(function, window string) string {
	of := func(metric string) string {
		if function == "" {
			return metric + "{" + sel + "}"
		}
		return function + "(" + metric + "{" + sel + "}" + window + ")"
	}
	return of("estiba_container_memory_working_set_bytes") + " or " + of("estiba_container_memory_rss_bytes")
}

// hosted puts the host, if any, in front of a label: box1/name.
func hosted(expr, label string) string {
	return fmt.Sprintf(`label_replace(label_join(%s, "%s", "/", "host", "%s"), "%s", "$1", "%s", "/(.*)")`, expr, label, label, label, label)
}

// keyed adds the label key, which identifies a row in joins: two hosts may have the same
// address, or even the same container id.
func keyed(expr, label string) string {
	return fmt.Sprintf(`label_join(%s, "key", "/", "host", "%s")`, expr, label)
}

// named uses the id as the name if the name is unknown.
func named(expr string) string {
	return fmt.Sprintf(`label_replace(label_join(%s, "name", "/", "name", "id"), "name", "$1$2", "name", "(?:([^/]+)/.*|/(.*))")`, expr)
}

func base(color string) Step                { return Step{Color: color} }
func from(value float64, color string) Step { return Step{Color: color, Value: &value} }
func ref(i int) string                      { return string(rune('A' + i)) }
