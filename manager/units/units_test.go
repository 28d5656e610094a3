package units

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/estiba/estiba/manager/config"
)

// A value has the unit of its query.
func TestValuesOfQueries(t *testing.T) {
	for _, c := range []struct {
		query string
		value float64
		want  string
	}{
		{`time() - max by (id) (estiba_container_start_time_seconds) > 86400`, 180000, "2d 2h"},
		{`max by (id) (estiba_container_memory_rss_bytes)`, 499122176, "476 MiB"},
		{`topk(3, estiba_container_memory_rss_bytes) and on () (sum(a) > 1)`, 1536, "1.5 KiB"},
		{`estiba_container_memory_rss_bytes / 1024 / 1024`, 476, "476 MiB"},
		{`estiba_container_memory_rss_bytes / (1024 * 1024) > 100`, 476, "476 MiB"},
		{`estiba_container_memory_rss_bytes / 2^30`, 1.5, "1.5 GiB"},
		{`estiba:container_cpu_usage:percent > 90`, 93.14, "93.1 %"},
		{`-1 * (estiba:container_cpu_usage:percent + on (id) estiba:container_memory_usage:percent)`, -93.14, "-93.1 %"},
		{`max_over_time(estiba_container_cpu_usage_percent[2h])`, 0.034, "0.034 %"},
		{`100 * estiba_container_memory_usage_bytes / estiba_container_memory_limit_bytes`, 93.14, "93.1 %"},
		{`1 - estiba_host_memory_available_bytes / estiba_host_memory_total_bytes`, 0.9314, "93.1 %"},
		{`100 * (1 - estiba_host_memory_available_bytes / estiba_host_memory_total_bytes)`, 93.14, "93.1 %"},
		{`max by (id) (rate(estiba_container_network_receive_bytes_total[1m]))`, 2097152, "2 MiB/s"},
		{`estiba:container_disk_io:bytes_rate30s`, 1048576, "1 MiB/s"},
		{`increase(estiba_container_network_receive_bytes_total[1m])`, 2097152, "2 MiB"},
		{`rate(estiba_container_cpu_seconds_total[5m])`, 0.25, "0.25"},
		{`estiba_container_cpu_seconds_total`, 90, "1m 30s"},
		{`estiba_container_start_time_seconds`, 1704067200, "2024-01-01 00:00:00"},
		{`delta(estiba_container_start_time_seconds[5m])`, 60, "1m"},
		{`count by (id) (estiba_container_memory_rss_bytes)`, 180000, "180000"},
		{`estiba_container_memory_rss_bytes > bool 5`, 1, "1"},
		{`estiba_container_memory_rss_bytes * estiba_container_processes`, 180000, "180000"},
		{`5 < estiba_container_memory_rss_bytes`, 1024, "1 KiB"},
		{`{__name__="estiba_container_memory_rss_bytes"}`, 1024, "1 KiB"},
		{`sum(estiba_container_start_time_seconds)`, 1704067200, "1704067200"},
		{`time() - max by (id) (my_start)`, 180000, "2d 2h"},
		{`time() - 3600`, 1704067200, "2024-01-01 00:00:00"},
		{`my_metric`, 180000, "180000"},
		{`my_metric`, 1.8e5 + 0.25, "180000"},
		{`no PromQL (`, 180000.7, "180001"},
	} {
		if got := Of(c.query).Format(c.value); got != c.want {
			t.Errorf("%s: %v is %q, want %q", c.query, c.value, got, c.want)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		unit  Unit
		value float64
		want  string
	}{
		{Unit{}, 0, "0"},
		{Unit{}, math.Copysign(0, -1), "0"},
		{Unit{}, 1, "1"},
		{Unit{}, -12.5, "-12.5"},
		{Unit{}, 123456789012345, "123456789012345"},
		{Unit{}, 1e15, "1 P"},
		{Unit{}, 2.345e18, "2.35 E"},
		{Unit{}, 1e40, "1e+40"},
		{Unit{}, 0.00012345, "0.00012345"},
		{Unit{}, 1e-12, "1e-12"},
		{Unit{}, math.NaN(), "NaN"},
		{Unit{}, math.Inf(1), "+Inf"},
		{Unit{}, math.Inf(-1), "-Inf"},
		{Unit{}, math.MaxFloat64, "1.8e+308"},
		{Unit{of: seconds}, 0, "0 s"},
		{Unit{of: seconds}, 0.25, "250 ms"},
		{Unit{of: seconds}, 0.9999, "1 s"},
		{Unit{of: seconds}, 4.25, "4.25 s"},
		{Unit{of: seconds}, 59.99, "1m"},
		{Unit{of: seconds}, 61, "1m 1s"},
		{Unit{of: seconds}, 3599.9, "1h"},
		{Unit{of: seconds}, 86399, "1d"},
		{Unit{of: seconds}, 7200, "2h"},
		{Unit{of: seconds}, 180000, "2d 2h"},
		{Unit{of: seconds}, -180000, "-2d 2h"},
		{Unit{of: seconds}, 1e9, "11574d 2h"},
		{Unit{of: bytes}, 0, "0 B"},
		{Unit{of: bytes}, 1023, "1023 B"},
		{Unit{of: bytes}, 1023.9, "1 KiB"},
		{Unit{of: bytes}, 1<<20 - 1, "1 MiB"},
		{Unit{of: bytes}, 1e30, "867361737988 EiB"},
		{Unit{of: percent}, 0, "0 %"},
		{Unit{of: percent}, 100, "100 %"},
		{Unit{of: percent}, 0.0123, "0.012 %"},
		{Unit{of: percent}, 1234.56, "1234.6 %"},
		{Unit{of: moment}, 1e12, "1000000000000"},
	} {
		if got := c.unit.Format(c.value); got != c.want {
			t.Errorf("%+v: %v is %q, want %q", c.unit, c.value, got, c.want)
		}
	}
}

func TestFormatDifference(t *testing.T) {
	for _, c := range []struct {
		query string
		value float64
		want  string
	}{
		{"estiba_container_start_time_seconds", 90, "+1m 30s"}, {"my_bytes", -2048, "-2 KiB"}, {"x", 0, "+0"}, {"x", math.Inf(1), "+Inf"}, {
			"my_bytes",
			math.Inf(-1), "-Inf",
		},
	} {
		if got := Of(c.query).FormatDifference(c.value); got != c.want {
			t.Errorf("%s: %v is %q, want %q", c.query, c.value, got, c.want)
		}
	}
}

// Any number has a text short enough for a table.
func TestFormatAnyNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := Unit{of: dimension(rapid.IntRange(0, int(bytes)).Draw(t, "of")), perSecond: rapid.Bool().Draw(t, "per second")}
		v := rapid.Float64().Draw(t, "value")
		got := u.Format(v)
		if got == "" || len(got) > 24 {
			t.Fatalf("%+v: %v is %q", u, v, got)
		}
		if math.Abs(v) < 1e15 && math.Abs(v) >= 1e-3 && strings.ContainsAny(got, "e") {
			t.Fatalf("%+v: %v is %q, with an exponent", u, v, got)
		}
	})
}

// The values of the shipped policies are ages and percentages.
func TestShippedPolicies(t *testing.T) {
	for file, want := range map[string]dimension{"one-of-each-kind.yml": seconds, "high-low.yml": percent} {
		data, err := os.ReadFile(filepath.Join("..", "policies", file))
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range c.Rules {
			if got := Of(r.Query); got.of != want {
				t.Errorf("%s: rule %s gives %+v, want %v", file, r.Name, got, want)
			}
		}
	}
}
