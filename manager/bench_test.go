package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
	"github.com/estiba/estiba/manager/config"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
	"github.com/estiba/estiba/manager/policytest/promtest"
	"github.com/estiba/estiba/manager/promql"
	"github.com/estiba/estiba/manager/replay"
	"github.com/estiba/estiba/manager/status"
)

// prometheusForBench starts the pinned Prometheus; benchmarks run where it was built.
func prometheusForBench(b *testing.B) *promtest.Server {
	b.Helper()
	s, err := promtest.Start(context.Background(), "../build/bin/prometheus", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// writeDay writes the history of n containers that run from one time to another,
// scraped every step.
func writeDay(b *testing.B, s *promtest.Server, from, to time.Time, step time.Duration, n int) {
	b.Helper()
	const chunk = time.Hour
	for at := from; at.Before(to); at = at.Add(chunk) {
		var list []promtest.Series
		add := func(value func(time.Time) float64, labels ...string) {
			one := promtest.Series{Labels: map[string]string{}}
			for i := 0; i < len(labels); i += 2 {
				one.Labels[labels[i]] = labels[i+1]
			}
			for t := at; t.Before(at.Add(chunk)) && t.Before(to); t = t.Add(step) {
				one.Samples = append(one.Samples, promtest.Sample{At: t, Value: value(t)})
			}
			list = append(list, one)
		}
		constant := func(v float64) func(time.Time) float64 { return func(time.Time) float64 { return v } }
		add(func(t time.Time) float64 { return float64(t.Unix()) }, "__name__", "estiba_snapshot_timestamp_seconds")
		add(func(t time.Time) float64 { return float64(t.Unix()) / step.Seconds() }, "__name__", "estiba_snapshot_sequence")
		add(constant(1), "__name__", "estiba_scrape_success")
		kinds := []string{"cpu", "ram", "io", "disk"}
		for i := range n {
			id, name := fmt.Sprintf("%012x", i+1), fmt.Sprintf("c%d", i)
			add(constant(1), "__name__", "estiba_container_info", "id", id, "name", name, "container_id", fmt.Sprintf("%s%052x", id, 0),
				"image", "bench", "kind", kinds[i%4], "managed", "true", "protected", "false")
			add(constant(float64(from.Unix()-int64(i))), "__name__", "estiba_container_start_time_seconds", "id", id, "name", name)
		}
		if err := s.Write(context.Background(), list); err != nil {
			b.Fatal(err)
		}
	}
}

// cpuSeconds is the CPU time of this process.
func cpuSeconds() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// prometheusCPU is the CPU time of a Prometheus.
func prometheusCPU(b *testing.B, url string) (seconds float64) {
	b.Helper()
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(body), "\nprocess_cpu_seconds_total ")
	fmt.Sscan(after, &seconds)
	return seconds
}

// BenchmarkBacktestDay decides over a day of 10 s ticks with 1,000 containers
// (fewer with ESTIBA_BENCH_HOURS).
func BenchmarkBacktestDay(b *testing.B) {
	hours := 24
	if v := os.Getenv("ESTIBA_BENCH_HOURS"); v != "" {
		fmt.Sscan(v, &hours)
	}
	to := time.Now().Truncate(time.Minute)
	from := to.Add(-time.Duration(hours) * time.Hour)
	s := prometheusForBench(b)
	writeDay(b, s, from, to, 5*time.Second, 1000)
	for _, file := range []string{"policies/one-of-each-kind.yml"} {
		b.Run(file, func(b *testing.B) {
			for range b.N {
				c, err := config.Load(file)
				if err != nil {
					b.Fatal(err)
				}
				client, err := promql.New(s.URL, "", "", gather.QueryTimeout)
				if err != nil {
					b.Fatal(err)
				}
				r, err := replay.New(client, c, container.Docker)
				if err != nil {
					b.Fatal(err)
				}
				m, err := replay.Moments(from.Add(time.Minute), to.Add(-time.Minute), c.Interval)
				if err != nil {
					b.Fatal(err)
				}
				own, other := cpuSeconds(), prometheusCPU(b, s.URL)
				out, err := r.Run(context.Background(), m)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(cpuSeconds()-own, "own-CPU-s")
				b.ReportMetric(prometheusCPU(b, s.URL)-other, "prometheus-CPU-s")
				b.ReportMetric(float64(m.N), "ticks")
				b.ReportMetric(float64(len(out.Kills)), "kills")
			}
		})
	}
}

// BenchmarkTick is one decision over 1,000 containers with five rules, from a real
// Prometheus and a fake Engine. Goal: at most 0.1 CPU seconds of the manager.
func BenchmarkTick(b *testing.B) {
	const n = 1000
	to := time.Now().Truncate(time.Second)
	s := prometheusForBench(b)
	writeDay(b, s, to.Add(-time.Minute), to, 5*time.Second, n) // samples from the future would stop the manager
	c, err := config.Load("policies/one-of-each-kind.yml")
	if err != nil {
		b.Fatal(err)
	}
	c.MaxSampleAge = 4 * time.Minute
	for i := range 4 {
		another := c.Rules[0]
		another.Name = fmt.Sprintf("surplus_%d", i)
		c.Rules = append(c.Rules, another)
	}
	engine := listed{}
	for i := range n {
		id := fmt.Sprintf("%012x%052x", i+1, 0)
		engine = append(engine, dockerclient.Container{
			ID: id, Name: fmt.Sprintf("c%d", i), Image: "bench", State: dockerclient.StateRunning,
			Labels: map[string]string{"estiba.managed": "true", "estiba.kind": []string{"cpu", "ram", "io", "disk"}[i%4]},
			// as in writeDay; not in the Engine's list
			StartedAt: to.Add(-time.Minute).Add(-time.Duration(i) * time.Second),
		})
	}
	g, err := gather.New(gather.Options{PrometheusURL: s.URL, Engine: engine, Now: time.Now, Transport: targetsOf{}})
	if err != nil {
		b.Fatal(err)
	}
	p, err := g.Load(c)
	if err != nil {
		b.Fatal(err)
	}
	metrics, store := status.NewMetrics(""), status.NewStore()
	own, victims := cpuSeconds(), 0
	b.ResetTimer()
	for range b.N {
		t := status.NewTick(p, g.Decide(context.Background(), p, policy.NewMemory(), gather.NoKills{}))
		metrics.Tick(t)
		store.Tick(t)
		if victims = len(t.Plan.Victims); victims != 20 {
			b.Fatalf("%d victims: %s %s", victims, t.Result, t.Error)
		}
	}
	b.ReportMetric((cpuSeconds()-own)/float64(b.N), "own-CPU-s/op")
}

// targetsOf is the network, except that Prometheus returns a scrape target: it has
// none, since its history was written.
type targetsOf struct{}

func (targetsOf) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/api/v1/targets") {
		return http.DefaultTransport.RoundTrip(r)
	}
	const body = `{"status": "success", "data": {"activeTargets": [{"scrapeUrl": "http://localhost:10120/metrics"}]}}`
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// listed is an Engine with a fixed list, as dockerclient returns it.
type listed []dockerclient.Container

func (listed) Runtime(context.Context) (string, error) { return container.Docker, nil }

func (l listed) List(context.Context, dockerclient.ListOptions) ([]dockerclient.Container, error) {
	list := append([]dockerclient.Container(nil), l...)
	for i := range list {
		list[i].StartedAt = time.Time{}
	}
	return list, nil
}

func (l listed) Inspect(_ context.Context, id string) (dockerclient.Container, error) {
	for _, c := range l {
		if c.ID == id {
			return c, nil
		}
	}
	return dockerclient.Container{}, cerrdefs.ErrNotFound
}

func (l listed) Stop(context.Context, string, time.Duration) error  { return nil }
func (l listed) Kill(context.Context, string) error                 { return nil }
func (l listed) Remove(context.Context, string) error               { return nil }
func (l listed) RemoveKeepingVolumes(context.Context, string) error { return nil }
func (l listed) Pause(context.Context, string) error                { return nil }
