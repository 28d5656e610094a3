package prometheus

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/prometheus/ruleset"
)

// TestIntervals runs each ready-made set of rules at its scrape interval: usage and class
// survive a failed scrape, alerts do not fire for one, and an exporter that is scraped
// in every fourth interval is reported.
func TestIntervals(t *testing.T) {
	for _, scrape := range ruleset.Intervals() {
		t.Run(scrape.String(), func(t *testing.T) {
			folder := "prometheus/rules"
			if scrape != ruleset.Shipped {
				folder = "prometheus/examples/rules-" + model.Duration(scrape).String()
			}
			b, err := yaml.Marshal(map[string]any{
				"rule_files": files(t, folder+"/*.rules.yml"), "evaluation_interval": model.Duration(scrape).String(),
				"tests": []any{usage(scrape), failed(scrape), seldom(scrape, 1), seldom(scrape, 4)},
			})
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "interval.test.yml")
			if err := os.WriteFile(file, b, 0o644); err != nil {
				t.Fatal(err)
			}
			run(t, ".", testutil.Tool(t, "promtool"), "test", "rules", file)
		})
	}
}

type series = map[string]string

func after(scrapes int, scrape time.Duration) string {
	return model.Duration(time.Duration(scrapes) * scrape).String()
}

// usage is half a core and 1 % of memory, with every fourth scrape failed. At the edge of
// its window a missing sample lowers a rate, as Prometheus does not extrapolate that far.
func usage(scrape time.Duration) map[string]any {
	step := scrape.Seconds() / 2
	cpu := ""
	for i := range 40 {
		if i%4 == 3 {
			cpu += "_ "
			continue
		}
		cpu += fmt.Sprintf("%g ", float64(i)*step)
	}
	sample := func(expr, labels string, value float64) any {
		return map[string]any{
			"expr": expr, "eval_time": after(37, scrape),
			"exp_samples": []any{map[string]any{"labels": labels, "value": value}},
		}
	}
	return map[string]any{
		"name": "usage", "interval": model.Duration(scrape).String(),
		"input_series": []series{
			{"series": "estiba_container_cpu_seconds_total" + of, "values": cpu},
			{"series": "estiba_container_memory_rss_bytes" + of, "values": "10x40"},
			{"series": "estiba_host_memory_total_bytes" + at, "values": "1000x40"},
		},
		"promql_expr_test": []any{
			sample("round(estiba:container_cpu_usage:percent)", `{id="aaaaaaaaaaaa", name="web"}`, 50),
			sample("estiba:container_class", `estiba:container_class{id="aaaaaaaaaaaa", name="web", class="high"}`, 1),
			sample("estiba:container_kind_observed", `estiba:container_kind_observed{id="aaaaaaaaaaaa", name="web", kind="cpu"}`, 1),
		},
	}
}

// failed is an exporter whose scrapes fail: two of them are no alert yet; an hour is.
func failed(scrape time.Duration) map[string]any {
	return map[string]any{
		"name": "failed scrapes", "interval": model.Duration(scrape).String(),
		"input_series":     []series{{"series": "up" + at, "values": "1x9 0x1 1x9 0x100"}},
		"promql_expr_test": []any{firing("EstibaExporterDown", after(11, scrape), 0), firing("EstibaExporterDown", after(100, scrape), 1)},
	}
}

// seldom is an exporter that is scraped every few intervals.
func seldom(scrape time.Duration, every int) map[string]any {
	values := ""
	for range 2400 / int(scrape.Seconds()) / every {
		values += "1 "
		for range every - 1 {
			values += "_ "
		}
	}
	return map[string]any{
		"name": fmt.Sprintf("a scrape in %d intervals", every), "interval": model.Duration(scrape).String(),
		"input_series":     []series{{"series": "up" + at, "values": values}},
		"promql_expr_test": []any{firing("EstibaScrapedTooSeldom", "30m", min(every-1, 1))},
	}
}

// firing expects that an alert fires so many times.
func firing(alert, at string, n int) map[string]any {
	samples := []any{}
	if n > 0 {
		samples = append(samples, map[string]any{"labels": "{}", "value": n})
	}
	return map[string]any{
		"expr": fmt.Sprintf("count(ALERTS{alertname=%q, alertstate=\"firing\"})", alert), "eval_time": at, "exp_samples": samples,
	}
}
