package collector

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
)

// FuzzText renders arbitrary texts and numbers and parses the exposition with
// prometheus/common: the values must be equal.
func FuzzText(f *testing.F) {
	f.Add("name", "image:1", "value", "/docker/a", uint64(0), uint64(1))
	f.Add("a\"b\\c\nd", "\xff\xfe", "é\u2028\x00", "/\t}", uint64(math.MaxUint64), uint64(1)<<54)
	f.Add("", "}", "{", ",", uint64(999_999_999), uint64(1_000_000_001))
	f.Fuzz(func(t *testing.T, name, image, label, cgroup string, a, b uint64) {
		id := strings.Repeat("ab", 32)
		snap := &source.Snapshot{Source: source.Kmod}
		c := source.Container{ID: id, Cgroup: cgroup}
		for field := source.Field(0); int(field) < source.NumFields; field++ {
			c.Set(field, a)
			if field%2 == 1 {
				c.Set(field, b)
			}
		}
		snap.Containers = []source.Container{c}
		known := fakeNames{byID: map[string]*runtimes.Info{c.Key(): {ID: id, User: c.Owner(), Name: name, Image: image, Extra: map[string]string{"l": label}}}}
		col := newTest(Config{NameSet: Both, DockerLabels: []string{"l"}}, &fakeSource{snap: snap}, known)
		for _, accept := range []string{"text/plain", "application/openmetrics-text"} {
			text := get(t, col.Handler(prometheus.NewRegistry()), "Accept", accept).Body.Bytes()
			if strings.HasPrefix(accept, "application") {
				if !bytes.HasSuffix(text, []byte("\n# EOF\n")) {
					t.Fatalf("OpenMetrics without its end: %q", text)
				}
				continue
			}
			parser := expfmt.NewTextParser(model.LegacyValidation)
			families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			valid := func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
			for metric, want := range map[string]map[string]string{
				"estiba_container_info":              {"id": id[:12], "name": valid(name), "image": valid(image), "container_label_l": valid(label)},
				"estiba_container_cpu_seconds_total": {"id": id[:12], "name": valid(name)},
				"container_memory_rss":               {"name": valid(name), "image": valid(image), "container_label_l": valid(label)},
			} {
				got := map[string]string{}
				for _, l := range families[metric].GetMetric()[0].Label {
					got[l.GetName()] = l.GetValue()
				}
				for k, v := range want {
					if got[k] != v {
						t.Errorf("%s: label %s = %q, want %q", metric, k, got[k], v)
					}
				}
			}
			rss, _ := c.Get(source.RSS)
			cpu, _ := c.Get(source.CPU)
			percent, _ := c.Get(source.CPUPercent)
			for metric, want := range map[string]float64{
				"estiba_container_memory_rss_bytes":  float64(rss) * 1024,
				"estiba_container_cpu_usage_percent": float64(percent) / 100,
				"estiba_container_cpu_seconds_total": float64(cpu) / 1e9,
			} {
				m := families[metric].GetMetric()[0]
				if got := m.GetGauge().GetValue() + m.GetCounter().GetValue(); math.Abs(got-want) > 1e-12*want {
					t.Errorf("%s = %v, want %v", metric, got, want)
				}
			}
		}
	})
}
