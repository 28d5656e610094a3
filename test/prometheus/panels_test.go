package prometheus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/grafana"
	"github.com/estiba/estiba/internal/testutil"
)

// of is what all series of one container, or of one program, have.
const (
	of  = `{job="estiba", instance="h:10120", id="aaaaaaaaaaaa", name="web"}`
	at  = `{job="estiba", instance="h:10120"}`
	man = `{job="estiba-manager", instance="h:10121"}`
)

// sample is a series of the answer; no labels are written as {}.
type sample struct {
	Labels string  `yaml:"labels"`
	Value  float64 `yaml:"value"`
}

// TestPanelsTellApart asks the first query of panels for what a person at night must
// not mistake: a number of something that is not known, none for not known, or what
// was so for what is so. The series are a minute of scrapes, values in promtool's way;
// asked is at the end of the minute, or later.
func TestPanelsTellApart(t *testing.T) {
	known := map[string]string{"estiba_scrape_success" + at: "1x12", "estiba_containers" + at: "2x12"}
	cases := []struct {
		what, dashboard, panel string
		series                 map[string]string
		after                  string // one minute if empty
		want                   []sample
	}{
		{"with a limit", "container", "Memory of limit", map[string]string{
			"estiba_container_memory_rss_bytes" + of: "50x12", "estiba_container_memory_usage_bytes" + of: "60x12", "estiba_container_memory_limit_bytes" + of: "100x12"},
			"", []sample{{"{}", 0.5}}},
		{"without a limit", "container", "Memory of limit", map[string]string{
			"estiba_container_memory_rss_bytes" + of: "50x12", "estiba_container_memory_usage_bytes" + of: "60x12"},
			"", []sample{{"{}", grafana.NoLimit}}},
		{"nothing known of its cgroup", "container", "Memory of limit", map[string]string{"estiba_container_memory_rss_bytes" + of: "50x12"}, "", nil},
		{"a limit, and nothing used that is known", "container", "Memory of limit", map[string]string{
			"estiba_container_memory_usage_bytes" + of: "60x12", "estiba_container_memory_limit_bytes" + of: "100x12"}, "", nil},

		{"idle, and declares none", "container", "Kind", map[string]string{`estiba:container_kind_strength:ratio{kind="cpu", id="aaaaaaaaaaaa", name="web"}`: "0.2x12"},
			"", []sample{{`{kind="none"}`, 1}}},
		{"declared", "container", "Kind", map[string]string{
			`estiba:container_kind_strength:ratio{kind="cpu", id="aaaaaaaaaaaa", name="web"}`: "0.2x12", `estiba:container_kind{kind="ram", declared="true", id="aaaaaaaaaaaa", name="web"}`: "1x12"},
			"", []sample{{`estiba:container_kind{kind="ram", declared="true", id="aaaaaaaaaaaa", name="web"}`, 1}}},
		{"gone", "container", "Kind", nil, "", []sample{{`{kind="not known"}`, 0}}},

		{"two run", "overview", "Containers", known, "", []sample{{"{}", 2}}},
		{"nothing runs", "overview", "Containers", map[string]string{"estiba_scrape_success" + at: "1x12", "estiba_containers" + at: "0x12"}, "", []sample{{"{}", 0}}},
		{"the exporter cannot read them", "overview", "Containers", map[string]string{"estiba_scrape_success" + at: "0x12", "estiba_containers" + at: "0x12"},
			"", []sample{{"{}", grafana.NotKnown}}},
		{"no exporter answers", "overview", "Containers", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"none is high", "overview", "High", known, "", []sample{{"{}", 0}}},
		{"one is high", "overview", "High", map[string]string{"estiba_scrape_success" + at: "1x12", "estiba_containers" + at: "2x12", `estiba:container_class{class="high", id="a"}`: "1x12"},
			"", []sample{{"{}", 1}}},
		{"no exporter answers", "overview", "High", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"no exporter answers", "overview", "Low", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"no exporter answers", "overview", "Managed", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"no exporter answers", "overview", "Host CPU", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"no exporter answers", "overview", "Host memory", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"nothing runs", "overview", "Containers now", map[string]string{"estiba_scrape_success" + at: "1x12", "estiba_containers" + at: "0x12"},
			"", []sample{{`{id="–", name="no container runs", key="/–"}`, 0}}},
		{"no exporter answers", "overview", "Containers now", nil, "", []sample{{`{id="–", name="not known", key="/–"}`, 0}}},
		{"a severity of ours and one that is not", "overview", "Alerts that fire", map[string]string{
			`ALERTS{alertname="A", severity="critical", alertstate="firing"}`: "1x12", `ALERTS_FOR_STATE{alertname="A", severity="critical"}`: "30x12",
			`ALERTS{alertname="B", severity="page", alertstate="firing"}`: "1x12", `ALERTS_FOR_STATE{alertname="B", severity="page"}`: "0x12"},
			"", []sample{{`{alertname="A", severity="critical", rank="1"}`, 30}, {`{alertname="B", severity="page", rank="page"}`, 60}}},

		{"decides", "manager", "Last decision", map[string]string{"estiba_manager_last_success_timestamp_seconds" + man: "0+5x12"}, "", []sample{{"{}", 0}}},
		{"is gone for ten minutes", "manager", "Last decision", map[string]string{"estiba_manager_last_success_timestamp_seconds" + man: "0+5x12"},
			"11m", []sample{{"{}", 600}}},
		{"no manager", "manager", "Last decision", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"had no snapshot", "manager", "Age of data", map[string]string{"estiba_manager_data_age_seconds" + man: "NaN NaN NaN NaN NaN NaN NaN NaN NaN NaN NaN NaN NaN"},
			"", []sample{{"{}", grafana.NotKnown}}},
		{"no manager", "manager", "Failed, last hour", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"no manager", "manager", "Budget left", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"no manager", "manager", "Dry run", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"no manager", "manager", "Policy ok", nil, "", []sample{{"{}", grafana.NotKnown}}},

		{"one of two exporters is dead", "stack", "Sources that work", map[string]string{
			`up{job="estiba", instance="a:1"}`: "1x12", `up{job="estiba", instance="b:1"}`: "0x12", `estiba_scrape_success{job="estiba", instance="a:1"}`: "1x12"},
			"", []sample{{"{}", 0.5}}},
		{"one of two exporters is dead", "stack", "Exporters", map[string]string{
			`up{job="estiba", instance="a:1"}`: "1x12", `up{job="estiba", instance="b:1"}`: "0x12", `estiba_source_active{job="estiba", instance="a:1", source="kmod"}`: "1x12"},
			"", []sample{{`{key="/a:1", instance="a:1", source="kmod"}`, 1}, {`{key="/b:1", instance="b:1", source="does not answer"}`, 1}}},
	}

	queries := map[string]Query{}
	for _, q := range Queries() {
		if key := q.Dashboard + "/" + q.Panel; queries[key].Expr == "" {
			queries[key] = q
		}
	}
	fill := strings.NewReplacer("$__rate_interval", "20s", "$__range", "15m", "$id", "aaaaaaaaaaaa", "$host", ".*")
	var tests []any
	for _, c := range cases {
		q, ok := queries["estiba-"+c.dashboard+"/"+c.panel]
		if !ok {
			t.Fatalf("dashboard %s has no panel %s", c.dashboard, c.panel)
		}
		for _, s := range c.want {
			if s.Value < 0 && q.Says[s.Value] == "" {
				t.Errorf("%s, %s: no words for %v", c.dashboard, c.panel, s.Value)
			}
		}
		input := []any{}
		for series, values := range c.series {
			input = append(input, map[string]string{"series": series, "values": values})
		}
		after := c.after
		if after == "" {
			after = "1m"
		}
		tests = append(tests, map[string]any{
			"name": c.dashboard + ", " + c.panel + ": " + c.what, "interval": "5s", "input_series": input,
			"promql_expr_test": []any{map[string]any{"expr": fill.Replace(q.Expr), "eval_time": after, "exp_samples": c.want}},
		})
	}
	data, err := yaml.Marshal(map[string]any{"evaluation_interval": "5s", "tests": tests})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "panels.test.yml")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, ".", testutil.Tool(t, "promtool"), "test", "rules", file)
}
