package prometheus

import (
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/grafana"
	"github.com/estiba/estiba/grafana/queries"
	"github.com/estiba/estiba/internal/testutil"
)

// Labels of the series of one container, one exporter and one manager.
const (
	of  = `{job="estiba", instance="h:10120", id="aaaaaaaaaaaa", name="web"}`
	at  = `{job="estiba", instance="h:10120"}`
	man = `{job="estiba-manager", instance="h:10121"}`
)

// sample is a series of a result; {} is no labels.
type sample struct {
	Labels string  `yaml:"labels"`
	Value  float64 `yaml:"value"`
}

// TestPanelsShowUnknown evaluates the first query of panels where a wrong value would
// mislead: a number for unknown, unknown for none, or an old value for the current one.
// The series are one minute of scrapes in promtool's notation, evaluated at its end or
// later.
func TestPanelsShowUnknown(t *testing.T) {
	known := map[string]string{"estiba_scrape_success" + at: "1x12", "estiba_containers" + at: "2x12"}
	cases := []struct {
		what, dashboard, panel string
		series                 map[string]string
		after                  string // one minute if empty
		want                   []sample
	}{
		{
			"with a limit", "container", "Memory limit used",
			map[string]string{
				"estiba_container_memory_working_set_bytes" + of: "50x12", "estiba_container_memory_usage_bytes" + of: "60x12",
				"estiba_container_memory_limit_bytes" + of: "100x12",
			},
			"",
			[]sample{{"{}", 0.5}},
		},
		{
			"without a limit", "container", "Memory limit used",
			map[string]string{
				"estiba_container_memory_working_set_bytes" + of: "50x12", "estiba_container_memory_usage_bytes" + of: "60x12",
			},
			"",
			[]sample{{"{}", grafana.NoLimit}},
		},
		{"cgroup unknown", "container", "Memory limit used", map[string]string{"estiba_container_memory_rss_bytes" + of: "50x12"}, "", nil},
		{"limit known, usage unknown", "container", "Memory limit used", map[string]string{
			"estiba_container_memory_usage_bytes" + of: "60x12", "estiba_container_memory_limit_bytes" + of: "100x12",
		}, "", nil},

		{
			"idle, none declared", "container", "Kind",
			map[string]string{`estiba:container_kind_strength:ratio{kind="cpu", id="aaaaaaaaaaaa", name="web"}`: "0.2x12"},
			"",
			[]sample{{`{kind="none"}`, 1}},
		},
		{
			"declared", "container", "Kind",
			map[string]string{
				`estiba:container_kind_strength:ratio{kind="cpu", id="aaaaaaaaaaaa", name="web"}`: "0.2x12", `estiba:container_kind{kind="ram", declared="true", id="aaaaaaaaaaaa", name="web"}`: "1x12",
			},
			"",
			[]sample{{`estiba:container_kind{kind="ram", declared="true", id="aaaaaaaaaaaa", name="web"}`, 1}},
		},
		{"exited", "container", "Kind", nil, "", []sample{{`{kind="unknown"}`, 0}}},

		{
			"running", "container", "State",
			map[string]string{`estiba_container_state{state="running", ` + of[1:]: "1x12"},
			"",
			[]sample{{`estiba_container_state{state="running", ` + of[1:], 1}},
		},
		{"no answer from the runtime", "container", "State", nil, "", []sample{{`{state="unknown"}`, 0}}},
		{
			"running without a health check", "container", "Health",
			map[string]string{`estiba_container_state{state="running", ` + of[1:]: "1x12"},
			"",
			[]sample{{`{status="none"}`, 1}},
		},
		{
			"unhealthy", "container", "Health",
			map[string]string{
				`estiba_container_state{state="running", ` + of[1:]:     "1x12",
				`estiba_container_health{status="unhealthy", ` + of[1:]: "1x12",
			},
			"",
			[]sample{{`estiba_container_health{status="unhealthy", ` + of[1:], 1}},
		},
		{"no answer from the runtime", "container", "Health", nil, "", []sample{{`{status="unknown"}`, 0}}},
		{"killed", "container", "Last exit code", map[string]string{"estiba_container_exit_code" + of: "137x12"}, "", []sample{{"{}", 137}}},
		{"running", "container", "Last exit code", nil, "", nil},

		{
			"two running, one too young", "overview", "Containers",
			map[string]string{"estiba_scrape_success" + at: "1x12", "estiba_containers" + at: "2x12", "estiba_container_info" + of: "1x12", `estiba_container_info{job="estiba", instance="h:10120", id="b"}`: "1x12", `estiba:container_class{class="low", id="b"}`: "1x12"},
			"",
			[]sample{{"{}", 2}},
		},
		{
			"two running, one too young", "overview", "Too young",
			map[string]string{"estiba_scrape_success" + at: "1x12", "estiba_containers" + at: "2x12", "estiba_container_info" + of: "1x12", `estiba_container_info{job="estiba", instance="h:10120", id="b"}`: "1x12", `estiba:container_class{class="low", id="b"}`: "1x12"},
			"",
			[]sample{{"{}", 1}},
		},
		{
			"two running, one too young", "overview", "Low",
			map[string]string{"estiba_scrape_success" + at: "1x12", "estiba_containers" + at: "2x12", "estiba_container_info" + of: "1x12", `estiba_container_info{job="estiba", instance="h:10120", id="b"}`: "1x12", `estiba:container_class{class="low", id="b"}`: "1x12"},
			"",
			[]sample{{"{}", 1}},
		},
		{
			"none running", "overview", "Containers",
			map[string]string{"estiba_scrape_success" + at: "1x12", "estiba_containers" + at: "0x12"},
			"",
			[]sample{{"{}", 0}},
		},
		{
			"the exporter cannot read its source", "overview", "Containers",
			map[string]string{"estiba_scrape_success" + at: "0x12", "estiba_containers" + at: "0x12"},
			"",
			[]sample{{"{}", grafana.NotKnown}},
		},
		{"no exporter", "overview", "Containers", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"none of class high", "overview", "High", known, "", []sample{{"{}", 0}}},
		{
			"one of class high", "overview", "High",
			map[string]string{"estiba_scrape_success" + at: "1x12", "estiba_containers" + at: "2x12", "estiba_container_info" + of: "1x12", `estiba:container_class{class="high", id="aaaaaaaaaaaa", name="web"}`: "1x12"},
			"",
			[]sample{{"{}", 1}},
		},
		{"no exporter", "overview", "High", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"no exporter", "overview", "Low", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"no exporter", "overview", "Host CPU", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"no exporter", "overview", "Host memory", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{
			"none running", "overview", "Running containers",
			map[string]string{"estiba_scrape_success" + at: "1x12", "estiba_containers" + at: "0x12"},
			"",
			[]sample{{`{id="–", name="no running containers", key="/–"}`, 0}},
		},
		{"no exporter", "overview", "Running containers", nil, "", []sample{{`{id="–", name="unknown", key="/–"}`, 0}}},
		{
			"known and unknown severity", "overview", "Firing alerts",
			map[string]string{
				`ALERTS{alertname="A", severity="critical", alertstate="firing"}`: "1x12", `ALERTS_FOR_STATE{alertname="A", severity="critical"}`: "30x12",
				`ALERTS{alertname="B", severity="page", alertstate="firing"}`: "1x12", `ALERTS_FOR_STATE{alertname="B", severity="page"}`: "0x12",
			},
			"",
			[]sample{{`{alertname="A", severity="critical", rank="1"}`, 30}, {`{alertname="B", severity="page", rank="page"}`, 60}},
		},

		{"ticks", "manager", "Last tick", map[string]string{"estiba_manager_last_success_timestamp_seconds" + man: "0+5x12"}, "", []sample{{"{}", 0}}},
		{
			"down for ten minutes", "manager", "Last tick",
			map[string]string{"estiba_manager_last_success_timestamp_seconds" + man: "0+5x12"},
			"11m",
			[]sample{{"{}", 600}},
		},
		{"no manager", "manager", "Last tick", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{
			"no snapshot", "manager", "Data age",
			map[string]string{"estiba_manager_data_age_seconds" + man: "NaN NaN NaN NaN NaN NaN NaN NaN NaN NaN NaN NaN NaN"},
			"",
			[]sample{{"{}", grafana.NotKnown}},
		},
		{"no manager", "manager", "Failed kills (1 h)", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"no manager", "manager", "Budget left", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"no manager", "manager", "Dry run", nil, "", []sample{{"{}", grafana.NotKnown}}},
		{"no manager", "manager", "Policy", nil, "", []sample{{"{}", grafana.NotKnown}}},

		{
			"one of two exporters is down", "stack", "Sources OK",
			map[string]string{
				`up{job="estiba", instance="a:1"}`: "1x12", `up{job="estiba", instance="b:1"}`: "0x12",
				`estiba_scrape_success{job="estiba", instance="a:1"}`: "1x12",
			},
			"",
			[]sample{{"{}", 0.5}},
		},
		{
			"one of two exporters is down", "stack", "Exporters",
			map[string]string{
				`up{job="estiba", instance="a:1"}`: "1x12", `up{job="estiba", instance="b:1"}`: "0x12",
				`estiba_source_active{job="estiba", instance="a:1", source="kmod"}`: "1x12",
				`estiba_scrape_success{job="estiba", instance="a:1"}`:               "1x12",
			},
			"",
			[]sample{{`{key="/a:1", instance="a:1", source="kmod"}`, 1}, {`{key="/b:1", instance="b:1", source="down"}`, 1}},
		},
	}

	asked := map[string]queries.Query{}
	for _, q := range queries.All() {
		if key := q.Dashboard + "/" + q.Panel; asked[key].Expr == "" {
			asked[key] = q
		}
	}
	fill := queries.Fill("20s", "15m", "aaaaaaaaaaaa", ".*")
	var tests []any
	for _, c := range cases {
		q, ok := asked["estiba-"+c.dashboard+"/"+c.panel]
		if !ok {
			t.Fatalf("dashboard %s: no panel %q", c.dashboard, c.panel)
		}
		for _, s := range c.want {
			if s.Value < 0 && q.Says[s.Value] == "" {
				t.Errorf("%s, %s: no text for value %v", c.dashboard, c.panel, s.Value)
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
