package docker_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/internal/testutil"
)

var realTimeRounds = flag.Int("real-time", 0, "how many times to measure how long a change takes to the panels")

// refresh is how often a dashboard asks.
const refresh = 5 * time.Second

// TestRealTime measures how long it takes until the panels of the Overview have what
// a container does: from the moment when it is started to the first answer of
// Prometheus that has it, and to the answer that a dashboard gets, which asks every
// five seconds.
//
//	go test ./test/system/docker -run TestRealTime -real-time 20 -v
//
// It is a measurement: it fails only if it cannot be done.
func TestRealTime(t *testing.T) {
	if *realTimeRounds == 0 {
		t.Skip("a measurement, not a test: wants -real-time")
	}
	w := newWorld(t)
	w.generate(t, "--batch=1")
	w.clean(t)
	panels := []struct {
		name, expr, kind string
		load             []string
		took, shown      []time.Duration
	}{
		{name: "Memory, 64 MiB more", expr: `max by (name) (estiba_container_memory_rss_bytes{name=%q}) > 60e6`, kind: "ram", load: []string{"--bytes=67108864", "--rate=1"}},
		{name: "CPU over 30 s, the first value", expr: `max by (name) (estiba:container_cpu_usage:percent{name=%q}) > 0`, kind: "cpu", load: []string{"--share=0.3"}},
	}
	for round := range *realTimeRounds {
		time.Sleep(time.Duration(round) * 370 * time.Millisecond % (5 * time.Second)) // at any moment between scrapes
		for i := range panels {
			p := &panels[i]
			name := fmt.Sprintf("measured-%s-%d", p.kind, round)
			c := w.startContainer(t, dockerclient.Spec{
				Name: name, Image: "estiba/stress", MemoryBytes: 256 << 20,
				Command: append([]string{"--lifetime=10m", "--kind=" + p.kind}, p.load...),
			})
			began := time.Now()
			query := fmt.Sprintf(p.expr, name)
			testutil.Eventually(t, time.Minute, p.name, func() bool { return len(w.Query(t, query)) > 0 })
			p.took = append(p.took, time.Since(began))
			// A dashboard that was opened at any moment before.
			for next := began.Add(rand.N(refresh)); ; next = next.Add(refresh) {
				if time.Until(next) < 0 {
					continue
				}
				time.Sleep(time.Until(next))
				if len(w.Query(t, query)) > 0 {
					break
				}
			}
			p.shown = append(p.shown, time.Since(began))
			if err := w.Docker.Remove(context.Background(), c.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	oldest := math.Inf(-1)
	for _, s := range w.Query(t, "estiba_snapshot_timestamp_seconds[30m]") {
		for _, sample := range s.Samples {
			oldest = max(oldest, sample.At-sample.Value)
		}
	}
	t.Logf("the oldest data were taken %.3f s before Prometheus asked for them (below 0: after)", oldest)
	for _, p := range panels {
		for what, took := range map[string][]time.Duration{"Prometheus has it": p.took, "a dashboard shows it": p.shown} {
			slices.Sort(took)
			at := func(share float64) time.Duration {
				return took[int(share*float64(len(took)-1))].Round(100 * time.Millisecond)
			}
			t.Logf("%-32s %-22s %d times: median %s, nine of ten within %s, longest %s", p.name, what, len(took), at(.5), at(.9), at(1))
		}
	}
}
