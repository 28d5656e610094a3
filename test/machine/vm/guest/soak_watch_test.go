//go:build estiba_vm

package guest

import (
	"fmt"
	"sort"
	"time"

	"github.com/estiba/estiba/test/machine/vm/soak"
	"github.com/estiba/estiba/test/system/stack"
)

// bounds of our long-running programs. The largest measured values are in
// docs/reliability.md.
var bounds = map[string]soak.Bounds{
	"exporter":          {RSSKB: 64 << 10, FDs: 400, Goroutines: 60, GrowRSSKB: 12 << 10, GrowFDs: 20, GrowGoroutines: 10},
	"manager":           {RSSKB: 96 << 10, FDs: 60, Goroutines: 120, GrowRSSKB: 16 << 10, GrowFDs: 10, GrowGoroutines: 20},
	"manager (dry run)": {RSSKB: 96 << 10, FDs: 60, Goroutines: 120, GrowRSSKB: 16 << 10, GrowFDs: 10, GrowGoroutines: 20},
}

// readEvery is the interval for reading memory, descriptors and goroutines.
const readEvery = 15 * time.Second

// readParts reads the usage of our long-running programs; goroutines from their metrics.
func (s *soakRun) readParts() {
	for p, address := range map[*part]string{s.exporter: s.Exporter, s.manager: s.Addresses.Manager, s.dry: dryAddress} {
		n, _ := stack.Scrape(address, "go_goroutines")
		p.read(int(n))
	}
}

// counterWatch is the state of the check of the exporter's counters in Prometheus.
type counterWatch struct {
	last     time.Time // of the previous check
	reported map[string]bool
	fell     map[string]int // by series: resets by restarts of the container
	compared int
	excused  int
}

// overlap is by how much a check of the counters overlaps the previous one: the clock may
// have been set back or forward in between.
const overlap = 2 * time.Minute

// watchCounters checks that no counter of the exporter decreased within one life of its
// process. A restarted container keeps its id and its counters reset, which is allowed as
// often as it was restarted.
func (s *soakRun) watchCounters() {
	w := &s.counters
	if w.reported == nil {
		w.reported, w.fell = map[string]bool{}, map[string]int{}
	}
	back := overlap
	if !w.last.IsZero() {
		back += time.Since(w.last)
	}
	// Also into the future, in case the clock was set back.
	window := fmt.Sprintf("[%ds] offset -60s", int((back + time.Minute).Seconds()))
	process, err := s.Ask(`process_cpu_seconds_total{job="estiba"}` + window)
	if err != nil || len(process) != 1 {
		return // the next check reaches back further
	}
	counters, err := s.Ask(`{job="estiba",__name__=~"estiba_(container|unattributed|host|source)_.+_total"}` + window)
	if err != nil {
		return
	}
	w.last = time.Now()
	samples := func(series stack.Series) []soak.Sample {
		list := make([]soak.Sample, len(series.Samples))
		for i, one := range series.Samples {
			list[i] = soak.Sample(one)
		}
		return list
	}
	for _, c := range counters {
		w.compared += max(0, len(c.Samples)-1)
		for _, fall := range soak.Decreases(samples(c), samples(process[0])) {
			name := labelled(c.Labels)
			key := fmt.Sprint(name, fall.From.At)
			if w.reported[key] {
				continue
			}
			w.reported[key] = true
			if id := s.idOf(c.Labels["name"]); id != "" && w.fell[name] < s.starts(id)-1 {
				w.fell[name]++
				w.excused++
				continue
			}
			s.violation("counter %s decreased from %g to %g", name, fall.From.Value, fall.To.Value)
		}
	}
}

// idOf is the id of one of the containers that stay for the whole run.
func (s *soakRun) idOf(name string) string { return s.residents[name].ID }

func labelled(labels map[string]string) string {
	var parts []string
	for k, v := range labels {
		if k != "__name__" && k != "job" && k != "instance" {
			parts = append(parts, k+"="+v)
		}
	}
	sort.Strings(parts)
	return fmt.Sprint(labels["__name__"], parts)
}
