//go:build estiba_vm

package guest

import (
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/testutil"
	"github.com/estiba/estiba/test/system/stack"
)

// interval is the scrape interval in prometheus.yml.
const interval = 5 * time.Second

// moduleIsReloaded unloads the module while all programs run, and loads it again. The
// exporter switches to the bpf source and back, reports that, and no container is
// killed.
func (m *machine) moduleIsReloaded(t *testing.T) {
	began := time.Now()
	before := m.Running(t)
	killed := len(m.RecordLines(t))
	from := m.Ticks(t, "ok")

	unloadModule(t)
	m.say("module unloaded")
	m.activeIs(t, source.BPF)
	ticks := m.Ticks(t, "ok")
	testutil.Eventually(t, patience, "two ticks of the manager with the bpf source", func() bool {
		return m.Ticks(t, "ok") >= ticks+2
	})
	loadModule(t)
	m.say("module loaded again")
	m.activeIs(t, source.Kmod)
	ticks = m.Ticks(t, "ok")
	testutil.Eventually(t, patience, "two ticks of the manager with the module", func() bool {
		return m.Ticks(t, "ok") >= ticks+2
	})
	if m.Ticks(t, "ok") <= from {
		t.Error("the manager stopped ticking")
	}

	after := m.Running(t)
	for name, c := range before {
		if after[name].ID != c.ID {
			t.Errorf("%s no longer runs", name)
		}
	}
	if n := len(m.RecordLines(t)); n != killed {
		t.Errorf("the audit log grew from %d to %d lines", killed, n)
	}
	if errors := stack.Scraped(t, m.Exporter, "estiba_scrape_success"); errors != 1 {
		t.Errorf("estiba_scrape_success is %g", errors)
	}
	m.samplesGoOn(t, began)
	m.countersOver(t, began)
}

// activeIs waits until exporter and Prometheus report that only this source is active.
func (m *machine) activeIs(t *testing.T, name string) {
	t.Helper()
	right := func(value func(series string) float64) bool {
		for _, s := range source.Names() {
			want := 0.0
			if s == name {
				want = 1
			}
			if value(fmt.Sprintf("estiba_source_active{source=%q}", s)) != want {
				return false
			}
		}
		loaded := 0.0
		if name == source.Kmod {
			loaded = 1
		}
		return value("estiba_kernel_module_loaded") == loaded
	}
	testutil.Eventually(t, patience, "the exporter has source "+name, func() bool {
		return right(func(series string) float64 { return stack.Scraped(t, m.Exporter, series) })
	})
	testutil.Eventually(t, patience, "Prometheus has source "+name, func() bool {
		return right(func(series string) float64 {
			for _, s := range m.Query(t, series) {
				return s.Samples[0].Value
			}
			return -1
		})
	})
}

// samplesGoOn checks that no gap in the containers' samples since began is longer than two
// scrape intervals.
func (m *machine) samplesGoOn(t *testing.T, began time.Time) {
	t.Helper()
	most, who := 0.0, ""
	names := map[string]bool{}
	for _, s := range m.Query(t, fmt.Sprintf("estiba_container_cpu_seconds_total[%ds]", seconds(began))) {
		names[s.Labels["name"]] = true
		for i := 1; i < len(s.Samples); i++ {
			if gap := s.Samples[i].At - s.Samples[i-1].At; gap > most {
				most, who = gap, s.Labels["name"]
			}
		}
	}
	for name := range m.Running(t) {
		if !names[name] {
			t.Errorf("%s has no samples around the switch", name)
		}
	}
	m.say("longest gap around the switch: %.1f s", most)
	if most > 2.2*interval.Seconds() {
		t.Errorf("gap of %.1f s in the samples of %s", most, who)
	}
}

func seconds(since time.Time) int { return int(time.Since(since).Seconds()) + 1 }

// countersOver checks that no counter decreased when the source changed twice.
func (m *machine) countersOver(t *testing.T, began time.Time) {
	t.Helper()
	type counter struct {
		series, fell int
		most, at     float64
		who          string
	}
	counters := map[string]*counter{}
	for _, s := range m.Query(t, fmt.Sprintf(`{__name__=~"estiba_(container|unattributed|host)_.+_total"}[%ds]`, seconds(began))) {
		name := s.Labels["__name__"]
		c := counters[name]
		if c == nil {
			c = &counter{}
			counters[name] = c
		}
		c.series++
		fell := false
		for i := 1; i < len(s.Samples); i++ {
			if fall := s.Samples[i-1].Value - s.Samples[i].Value; fall > 0 {
				fell = true
				if fall > c.most {
					c.most, c.at, c.who = fall, s.Samples[i-1].Value, s.Labels["name"]
				}
			}
		}
		if fell {
			c.fell++
		}
	}
	var names []string
	for name := range counters {
		names = append(names, name)
	}
	sort.Strings(names)
	if len(names) == 0 {
		t.Fatal("Prometheus has no counters")
	}
	fmt.Println("Counters when the module goes and comes:")
	fmt.Println("| counter | series | that fell | largest fall | from | of |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, name := range names {
		c := counters[name]
		fmt.Printf("| `%s` | %d | %d | %g | %g | %s |\n", name, c.series, c.fell, c.most, c.at, c.who)
		if c.fell > 0 {
			t.Errorf("%s decreased %d times, at most by %g from %g (%s)", strings.TrimPrefix(name, "estiba_"), c.fell, c.most, c.at, c.who)
		}
	}
}
