package grafana

import (
	"fmt"
	"strings"
)

var source = DataSource{Type: "prometheus", UID: DataSourceUID}

// All returns the dashboards in the order of their menu.
func All() []Dashboard { return []Dashboard{overview(), containerBoard(), manager(), stack()} }

func dashboard(slug, title, description string, variables []Variable, panels []Panel) Dashboard {
	for i := range panels {
		panels[i].ID = i + 1
	}
	if variables == nil {
		variables = []Variable{}
	}
	return Dashboard{
		UID: "estiba-" + slug, Title: "Estiba " + title, Description: description, Tags: []string{"estiba"},
		SchemaVersion: 41, Version: 1, GraphTooltip: 1, Refresh: "5s",
		Time: TimeRange{From: "now-15m", To: "now"}, Timezone: "browser",
		Annotations: AnnotationList{List: []Annotation{kills()}},
		Templating:  VariableList{List: variables},
		Links: []DashboardLink{{Title: "Estiba", Type: "dashboards", Tags: []string{"estiba"},
			KeepTime: true}},
		Panels: panels,
	}
}

// kills marks each removal: the manager publishes its last ones as times.
func kills() Annotation {
	return Annotation{
		Name: "Removed by the manager", Datasource: source, Enable: true, IconColor: "red",
		Expr: `estiba_manager_recent_kill_timestamp_seconds{mode="live", outcome="done"} * 1000`, Step: "5s",
		TitleFormat: "{{name}} removed", TextFormat: "kind {{kind}}, rule {{rule}}, kill {{kill_id}}",
		TagKeys: "kind,rule", UseValueForTime: true,
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

// word is a stat that shows a label's value instead of the number.
func word(pos GridPos, title, description, label, expr string) Panel {
	p := stat(pos, title, description, "none", expr)
	p.Targets[0].LegendFormat = "{{" + label + "}}"
	p.Targets[0].Instant, p.Targets[0].Range = true, false
	p.Options["textMode"], p.Options["graphMode"] = "name", "none"
	return p
}

// column is a column of a table: a label of the first query that has it, or
// the value of an expression.
type column struct {
	title, label, expr, unit string
}

// table joins instant queries by the label key. labels is an expression whose
// labels are columns, one or more of them.
func table(pos GridPos, title, description, key, none string, labels []string, columns []column) Panel {
	p := panel("table", pos, title, description, "")
	p.FieldConfig.Defaults.NoValue = none
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
		if c.unit != "" {
			p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, Override{
				Matcher:    Matcher{ID: "byName", Options: c.title},
				Properties: []Property{{ID: "unit", Value: c.unit}},
			})
		}
	}
	if len(p.Targets) > 1 {
		p.Transformations = append(p.Transformations, Transformation{ID: "joinByField", Options: map[string]any{"byField": key, "mode": "outer"}})
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
// shown then.
func empty(p Panel, shown, why string) Panel {
	p.MayBeEmpty, p.FieldConfig.Defaults.NoValue = why, shown
	return p
}

// orZero shows a line at 0 where there is no series at all. on () keeps the
// zero away from a graph that has any.
func orZero(expr, name string) string {
	return fmt.Sprintf(`%s or on () label_replace(vector(0), "name", "%s", "", "")`, expr, name)
}

func base(color string) Step                { return Step{Color: color} }
func from(value float64, color string) Step { return Step{Color: color, Value: &value} }
func ref(i int) string                      { return string(rune('A' + i)) }
