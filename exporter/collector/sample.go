package collector

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/container"
)

// sample returns a constant exposition of synthetic containers, from which the
// compressor derives its codes.
func (c *Collector) sample() []byte {
	const containers = 20
	random := rand.New(rand.NewPCG(1, 1))
	var rows []row
	for range containers {
		id := fmt.Sprintf("%016x%016x%016x%016x", random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64())
		each := &source.Container{ID: id, Namespace: "moby", Cgroup: "/docker/" + id}
		for f := source.Field(0); int(f) < source.NumFields; f++ {
			each.Set(f, random.Uint64()>>(random.Uint64()%64)) // numbers of all lengths
		}
		info := &runtimes.Info{
			Name: fmt.Sprintf("stress-cpu-high-%06x", random.Uint32()>>8), Image: "registry/image:1.2",
			State: runtimes.State{Status: runtimes.StateRunning, Inspected: true, Health: runtimes.HealthHealthy},
		}
		started := random.Uint64() >> 3
		rows = append(rows, row{
			container: each, entry: c.newEntry(each, container.ShortID(id), info), started: started, seen: started / 1e9,
			diskUsage: random.Uint64() >> 32, diskUsageKnown: true, oomEventsKnown: true, current: true,
		})
	}
	var text bytes.Buffer
	w := newTextWriter(&text)
	w.families(c.families, rows, nil, false)
	w.flush()
	return text.Bytes()
}
