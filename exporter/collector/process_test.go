package collector

import (
	"math"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// TestProcessMetrics compares the metrics of the process with those of client_golang.
func TestProcessMetrics(t *testing.T) {
	read := func(c prometheus.Collector) map[string]float64 {
		registry := prometheus.NewPedanticRegistry()
		if err := registry.Register(c); err != nil {
			t.Fatal(err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]float64{}
		for _, f := range families {
			m := f.Metric[0]
			values[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
		return values
	}
	ours, theirs := read(NewProcess()), read(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if len(ours) != 6 {
		t.Errorf("%d metrics, want 6", len(ours))
	}
	for name, v := range ours {
		want := theirs[name]
		if math.Abs(v-want) > 0.2*want { // memory grows between the two
			t.Errorf("%s = %v, want about %v", name, v, want)
		}
	}
}
