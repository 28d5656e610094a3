// Package grafana makes Estiba's dashboards: Grafana's classic JSON, one file a
// dashboard under dashboards/, written by generate and compared by the tests.
package grafana

// DataSourceUID is the uid of the provisioned Prometheus data source.
const DataSourceUID = "estiba-prometheus"

// Dashboard is Grafana's classic dashboard model, schema version 41, as far as
// Estiba's dashboards need it.
type Dashboard struct {
	ID            *int            `json:"id"` // always null: Grafana numbers them
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
	Panels        []Panel         `json:"panels"`
}

// TimeRange is what a dashboard shows when it is opened.
type TimeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// AnnotationList holds the marks that are drawn over all graphs.
type AnnotationList struct {
	List []Annotation `json:"list"`
}

// Annotation is a query whose values are times in milliseconds, each a mark.
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
}

// VariableList holds the choices on top of a dashboard.
type VariableList struct {
	List []Variable `json:"list"`
}

// Variable is a choice whose values come from a query.
type Variable struct {
	Name       string        `json:"name"`
	Label      string        `json:"label"`
	Type       string        `json:"type"`
	Datasource DataSource    `json:"datasource"`
	Definition string        `json:"definition"`
	Query      VariableQuery `json:"query"`
	Regex      string        `json:"regex"`
	Refresh    int           `json:"refresh"` // 2: when the time range changes
	Sort       int           `json:"sort"`    // 1: alphabetical
	Multi      bool          `json:"multi"`
	IncludeAll bool          `json:"includeAll"`
	AllValue   string        `json:"allValue,omitempty"` // what all stands for
	Current    *Choice       `json:"current,omitempty"`  // what is chosen at first
}

// Choice is a value of a variable.
type Choice struct {
	Text  string `json:"text"`
	Value string `json:"value"`
}

// VariableQuery is a query_result(…) over one PromQL expression.
type VariableQuery struct {
	Query string `json:"query"`
	RefID string `json:"refId"`
}

// DashboardLink is a list of dashboards by tag.
type DashboardLink struct {
	Title       string   `json:"title"`
	Type        string   `json:"type"`
	Icon        string   `json:"icon"`
	Tooltip     string   `json:"tooltip"`
	URL         string   `json:"url"` // empty: the tags pick
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

// Panel is one picture.
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

	// MayBeEmpty is why a healthy system may have no data here; not in the JSON.
	MayBeEmpty string `json:"-"`
	// Says are the words of the numbers that stand for words; not in the JSON.
	Says map[float64]string `json:"-"`
}

// GridPos is a panel's place: 24 columns wide.
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

	// MayBeEmpty is why this query alone may have no data; not in the JSON.
	MayBeEmpty string `json:"-"`
}

// FieldConfig says how values are shown.
type FieldConfig struct {
	Defaults  FieldDefaults `json:"defaults"`
	Overrides []Override    `json:"overrides"`
}

// FieldDefaults is how a value is shown unless an override says otherwise.
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

// Thresholds colour a value by the largest step that it reaches.
type Thresholds struct {
	Mode  string `json:"mode"`
	Steps []Step `json:"steps"`
}

// Step is one colour, from Value on; the first has none.
type Step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

// Override changes fields that are named or matched.
type Override struct {
	Matcher    Matcher    `json:"matcher"`
	Properties []Property `json:"properties"`
}

// Matcher picks fields.
type Matcher struct {
	ID      string `json:"id"`
	Options string `json:"options"`
}

// Property is one setting of an override.
type Property struct {
	ID    string `json:"id"`
	Value any    `json:"value"`
}

// DataLink leads from a value to a page.
type DataLink struct {
	Title string `json:"title"`
	URL   string `json:"url"`
}

// Transformation reshapes what the queries answered.
type Transformation struct {
	ID      string `json:"id"`
	Options any    `json:"options"`
}
