package grafana

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// File is the name of the dashboard's file under dashboards/ and import/.
func (d Dashboard) File() string { return d.UID + ".json" }

// Encode returns the contents of the dashboard's file: indented JSON without HTML escapes.
func (d Dashboard) Encode() ([]byte, error) {
	data, err := encode(d, "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding dashboard %s: %w", d.UID, err)
	}
	return append(data, '\n'), nil
}

// importInput is the name of the data source in a file for import by hand.
const importInput = "DS_PROMETHEUS"

// ForImport returns the dashboard as Grafana's import page wants it: it asks for the data
// source, and the dashboard can be changed afterwards.
func (d Dashboard) ForImport() Dashboard {
	d.Inputs = []Input{{Name: importInput, Label: "Prometheus", Type: "datasource", PluginID: "prometheus", PluginName: "Prometheus"}}
	d.Requires = []Requirement{
		{Type: "grafana", ID: "grafana", Name: "Grafana", Version: "11.0.0"},
		{Type: "datasource", ID: "prometheus", Name: "Prometheus", Version: "1.0.0"},
	}
	seen := map[string]bool{}
	for _, p := range d.Panels {
		if p.Type != "row" && !seen[p.Type] {
			seen[p.Type] = true
			d.Requires = append(d.Requires, Requirement{Type: "panel", ID: p.Type, Name: p.Type})
		}
	}
	d.Editable = true
	variables := append([]Variable{}, d.Templating.List...)
	for i, v := range variables {
		if v.Type == "datasource" {
			variables[i].Current = &Choice{Text: "${" + importInput + "}", Value: "${" + importInput + "}"}
		}
	}
	d.Templating.List = variables
	return d
}

// row is a row in the JSON.
type row struct {
	ID        int     `json:"id"`
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Collapsed bool    `json:"collapsed"`
	GridPos   GridPos `json:"gridPos"`
	Panels    []Panel `json:"panels"`
}

// MarshalJSON puts the panels of folded rows into their rows.
func (d Dashboard) MarshalJSON() ([]byte, error) {
	type plain Dashboard
	panels, folded := []any{}, (*row)(nil)
	for _, p := range d.Panels {
		switch {
		case p.Type == "row":
			r := &row{ID: p.ID, Type: p.Type, Title: p.Title, Collapsed: p.Folded, GridPos: p.GridPos, Panels: []Panel{}}
			panels, folded = append(panels, r), nil
			if p.Folded {
				folded = r
			}
		case folded != nil:
			folded.Panels = append(folded.Panels, p)
		default:
			panels = append(panels, p)
		}
	}
	return encode(struct {
		plain
		Panels []any `json:"panels"`
	}{plain(d), panels}, "")
}

func encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
