// Package grafana generates the dashboards in Grafana's classic JSON, one file per
// dashboard in dashboards/. The tests compare the files with the generator.
package grafana

// The provisioned data source. Dashboards select it unless another is chosen in the
// variable $datasource.
const (
	DataSourceUID  = "estiba-prometheus"
	DataSourceName = "Estiba Prometheus"
)

// Dashboard is the part of Grafana's classic dashboard model, schema version 41, that the
// dashboards use.
type Dashboard struct {
	// Inputs and Requires are only in the files for import by hand.
	Inputs   []Input       `json:"__inputs,omitempty"`
	Requires []Requirement `json:"__requires,omitempty"`

	ID            *int            `json:"id"` // always null: Grafana assigns it
	UID           string          `json:"uid"`
	Title         string          `json:"title"`
	Description   string          `json:"description"`
	Tags          []string        `json:"tags"`
	SchemaVersion int             `json:"schemaVersion"`
	Version       int             `json:"version"`
	Editable      bool            `json:"editable"`
	GraphTooltip  int             `json:"graphTooltip"` // 1: one crosshair in all graphs
	Refresh       string          `json:"refresh"`
	Time          TimeRange       `json:"time"`
	Timezone      string          `json:"timezone"`
	Annotations   AnnotationList  `json:"annotations"`
	Templating    VariableList    `json:"templating"`
	Links         []DashboardLink `json:"links"`
	// Panels is flat: a row is followed by its panels. In the JSON the panels of a folded
	// row are inside it.
	Panels []Panel `json:"-"`
}

// Input is what Grafana asks for at the import of a dashboard.
type Input struct {
	Name       string `json:"name"`
	Label      string `json:"label"`
	Type       string `json:"type"`
	PluginID   string `json:"pluginId"`
	PluginName string `json:"pluginName"`
}

// Requirement is a part of Grafana that a dashboard needs.
type Requirement struct {
	Type    string `json:"type"`
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version string `json:"version"`
}

// TimeRange is the initial time range.
type TimeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// AnnotationList holds the annotations on all graphs.
type AnnotationList struct {
	List []Annotation `json:"list"`
}

// Annotation is a query whose values are the times of the marks, in milliseconds.
type Annotation struct {
	Name            string     `json:"name"`
	Datasource      DataSource `json:"datasource"`
	Enable          bool       `json:"enable"`
	IconColor       string     `json:"iconColor"`
	Expr            string     `json:"expr"`
	Step            string     `json:"step"`
	TitleFormat     string     `json:"titleFormat"`
	TextFormat      string     `json:"textFormat"`
	TagKeys         string     `json:"tagKeys"`
	UseValueForTime bool       `json:"useValueForTime"`
	Filter          PanelList  `json:"filter"`
}

// PanelList is the panels that show an annotation.
type PanelList struct {
	Exclude bool  `json:"exclude"`
	IDs     []int `json:"ids"`
}

// VariableList holds the variables of a dashboard.
type VariableList struct {
	List []Variable `json:"list"`
}

// Variable is a variable of a dashboard: a data source, a query, or a text.
type Variable struct {
	Name       string        `json:"name"`
	Label      string        `json:"label"`
	Type       string        `json:"type"`
	Datasource *DataSource   `json:"datasource,omitempty"`
	Definition string        `json:"definition,omitempty"`
	Query      VariableQuery `json:"query"`
	Regex      string        `json:"regex"`
	Refresh    int           `json:"refresh,omitempty"` // 2: when the time range changes
	Sort       int           `json:"sort,omitempty"`    // 1: alphabetical
	Multi      bool          `json:"multi"`
	IncludeAll bool          `json:"includeAll"`
	AllValue   string        `json:"allValue,omitempty"` // value of All; if empty, all values
	Current    *Choice       `json:"current,omitempty"`  // initial value
}

// Choice is a value of a variable.
type Choice struct {
	Text  string `json:"text"`
	Value string `json:"value"`
}

// VariableQuery is a query_result(…) over one PromQL expression. Without RefID it is the
// plain text of a variable that queries nothing.
type VariableQuery struct{ Query, RefID string }

// MarshalJSON returns an object or a string, as the type of the variable needs.
func (q VariableQuery) MarshalJSON() ([]byte, error) {
	if q.RefID == "" {
		return encode(q.Query, "")
	}
	return encode(map[string]string{"query": q.Query, "refId": q.RefID}, "")
}

// DashboardLink is a list of dashboards by tag.
type DashboardLink struct {
	Title       string   `json:"title"`
	Type        string   `json:"type"`
	Icon        string   `json:"icon"`
	Tooltip     string   `json:"tooltip"`
	URL         string   `json:"url"` // empty: selected by tags
	TargetBlank bool     `json:"targetBlank"`
	Tags        []string `json:"tags"`
	AsDropdown  bool     `json:"asDropdown"`
	IncludeVars bool     `json:"includeVars"`
	KeepTime    bool     `json:"keepTime"`
}

// DataSource names a data source by uid.
type DataSource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Panel is a panel of a dashboard.
type Panel struct {
	ID              int              `json:"id"`
	Type            string           `json:"type"`
	Title           string           `json:"title"`
	Description     string           `json:"description"`
	GridPos         GridPos          `json:"gridPos"`
	Datasource      DataSource       `json:"datasource"`
	Targets         []Target         `json:"targets"`
	FieldConfig     FieldConfig      `json:"fieldConfig"`
	Options         map[string]any   `json:"options"`
	Transformations []Transformation `json:"transformations,omitempty"`

	// Folded is whether a row is closed at first. Only for rows, written by Dashboard.
	Folded bool `json:"-"`
	// Marked is whether the panel shows kills. Not in the JSON.
	Marked bool `json:"-"`
	// MayBeEmpty is why a healthy system may have no data. Not in the JSON.
	MayBeEmpty string `json:"-"`
	// Says has the texts that are shown in place of values. Not in the JSON.
	Says map[float64]string `json:"-"`
}

// GridPos is the position of a panel in the grid of 24 columns.
type GridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// Target is one query of a panel.
type Target struct {
	RefID        string     `json:"refId"`
	Datasource   DataSource `json:"datasource"`
	EditorMode   string     `json:"editorMode"`
	Expr         string     `json:"expr"`
	LegendFormat string     `json:"legendFormat,omitempty"`
	Format       string     `json:"format"`
	Instant      bool       `json:"instant"`
	Range        bool       `json:"range"`

	// MayBeEmpty is why this query alone may have no data. Not in the JSON.
	MayBeEmpty string `json:"-"`
}

// FieldConfig is the presentation of values.
type FieldConfig struct {
	Defaults  FieldDefaults `json:"defaults"`
	Overrides []Override    `json:"overrides"`
}

// FieldDefaults is the presentation of values without an override.
type FieldDefaults struct {
	Unit       string         `json:"unit,omitempty"`
	Min        *float64       `json:"min,omitempty"`
	Max        *float64       `json:"max,omitempty"`
	Decimals   *int           `json:"decimals,omitempty"`
	NoValue    string         `json:"noValue,omitempty"`
	Color      map[string]any `json:"color,omitempty"`
	Thresholds Thresholds     `json:"thresholds"`
	Mappings   []any          `json:"mappings"`
	Custom     map[string]any `json:"custom,omitempty"`
	Links      []DataLink     `json:"links,omitempty"`
}

// Thresholds colour a value by the highest step that it reaches.
type Thresholds struct {
	Mode  string `json:"mode"`
	Steps []Step `json:"steps"`
}

// Step is a colour from Value on; the first step has no Value.
type Step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

// Override changes the settings of matched fields.
type Override struct {
	Matcher    Matcher    `json:"matcher"`
	Properties []Property `json:"properties"`
}

// Matcher selects fields.
type Matcher struct {
	ID      string `json:"id"`
	Options string `json:"options"`
}

// Property is one setting of an override.
type Property struct {
	ID    string `json:"id"`
	Value any    `json:"value"`
}

// DataLink links a value to a page.
type DataLink struct {
	Title string `json:"title"`
	URL   string `json:"url"`
}

// Transformation transforms the results of the queries.
type Transformation struct {
	ID      string `json:"id"`
	Options any    `json:"options"`
}
