package status

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/estiba/estiba/manager/promql"
)

// Prometheus is where graphs and links come from.
type Prometheus interface {
	Graph(ctx context.Context, query string, m promql.Moments) ([]promql.Line, error)
	Peers(ctx context.Context) (promql.Peers, error)
}

// What the graphs show. The number of series is limited, whatever the number of
// containers.
const (
	historyReach  = 15 * time.Minute
	historyStep   = 10 * time.Second
	sparkStep     = 30 * time.Second
	historyPoints = int(historyReach/historyStep) + 1
	sparkPoints   = int(historyReach/sparkStep) + 1
)

// The queries of the graphs. The busiest containers are those with the largest sum over
// the whole time, whether or not they still run.
const (
	busiestCPU = `estiba:container_cpu_usage:percent and on (host, id, name)
  topk(8, sum_over_time(estiba:container_cpu_usage:percent[15m] @ end()))`
	busiestMemory = `estiba:container_memory_usage:percent and on (host, id, name)
  topk(8, sum_over_time(estiba:container_memory_usage:percent[15m] @ end()))`
	// sparks are for the rows of the table.
	sparks = `estiba:container_cpu_usage:percent and on (host, id, name)
  topk(500, estiba:container_cpu_usage:percent @ end())`
	// hostParts are shares of the host in percent, and its size. Host CPU and memory as on
	// the dashboards.
	hostParts = `label_replace(100 * (1 - sum(rate(estiba_host_cpu_seconds_total{mode=~"idle|iowait"}[30s])) / sum(estiba_host_cpus)), "part", "cpu_host", "", "")
or label_replace(100 * sum(rate(estiba_unattributed_cpu_seconds_total[30s])) / sum(estiba_host_cpus), "part", "cpu_unattributed", "", "")
or label_replace(sum(estiba:container_cpu_usage:percent) / sum(estiba_host_cpus), "part", "cpu_containers", "", "")
or label_replace(sum(estiba_host_cpus), "part", "cpus", "", "")
or label_replace(100 * (1 - sum(estiba_host_memory_available_bytes) / sum(estiba_host_memory_total_bytes)), "part", "memory_host", "", "")
or label_replace(100 * sum(estiba_unattributed_memory_rss_bytes) / sum(estiba_host_memory_total_bytes), "part", "memory_unattributed", "", "")
or label_replace(100 * sum(estiba_container_memory_rss_bytes) / sum(estiba_host_memory_total_bytes), "part", "memory_containers", "", "")
or label_replace(sum(estiba_host_memory_total_bytes), "part", "memory_bytes", "", "")`
)

// history is what the graphs show. It is not changed once it is published.
type history struct {
	moments     promql.Moments
	cpu, memory []promql.Line
	sparks      map[string][]float64 // by the label id
	host        map[string][]float64 // by the label part of hostParts
	colours     map[string]int       // by container
	version     int                  // grows with each attempt
	err         error                // of the last attempt; the rest is of the last success
}

// known reports whether there is anything to draw.
func (h *history) known() bool { return h.moments.N > 0 }

// at is the time of the last values.
func (h *history) at() time.Time { return h.moments.At(h.moments.N - 1) }

// How long a page waits for its graphs, and for what.
const (
	historyWait = 1500 * time.Millisecond
	historyOld  = time.Minute // older graphs are not shown while newer ones are on their way
)

// recorder queries the history when a page wants it, never twice at once, and keeps it
// until the next step. While no page is open it queries nothing.
type recorder struct {
	source Prometheus
	now    func() time.Time

	mu      sync.Mutex // not held during requests
	last    *history
	tried   time.Time     // the step of the last attempt
	running chan struct{} // closed when the attempt in flight has ended; nil: none
}

func newRecorder(source Prometheus, now func() time.Time) *recorder {
	return &recorder{source: source, now: now, last: &history{}}
}

// get returns the history; a page that would show nothing, or something old, waits for a
// moment.
func (r *recorder) get(ctx context.Context) *history {
	r.mu.Lock()
	step := r.now().Truncate(historyStep)
	if r.running == nil && !step.Equal(r.tried) {
		r.tried, r.running = step, make(chan struct{})
		go r.refresh(step, r.last, r.running)
	}
	last, running := r.last, r.running
	r.mu.Unlock()
	if running == nil || (last.known() && step.Sub(last.at()) < historyOld) {
		return last
	}
	wait, cancel := context.WithTimeout(ctx, historyWait)
	defer cancel()
	select {
	case <-running:
	case <-wait.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// refresh queries the history up to a time. It outlives the page that wanted it: the
// next one is served from it. Each query has the time limit of the client.
func (r *recorder) refresh(end time.Time, before *history, done chan struct{}) {
	h, err := query(context.Background(), r.source, end)
	if err != nil {
		kept := *before
		kept.err = err
		h = &kept
	} else {
		h.colours = colours(before.colours, h.cpu, h.memory)
	}
	h.version = before.version + 1
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.running = h, nil
	close(done)
}

// query evaluates the queries one after the other.
func query(ctx context.Context, p Prometheus, end time.Time) (*history, error) {
	moments := func(n int, step time.Duration) promql.Moments {
		return promql.Moments{Start: end.Add(-time.Duration(n-1) * step), Step: step, N: n}
	}
	h := &history{moments: moments(historyPoints, historyStep), sparks: map[string][]float64{}, host: map[string][]float64{}}
	var err error
	if h.cpu, err = p.Graph(ctx, busiestCPU, h.moments); err != nil {
		return nil, err
	}
	if h.memory, err = p.Graph(ctx, busiestMemory, h.moments); err != nil {
		return nil, err
	}
	sortBusiest(h.cpu)
	sortBusiest(h.memory)
	parts, err := p.Graph(ctx, hostParts, h.moments)
	if err != nil {
		return nil, err
	}
	for _, l := range parts {
		h.host[string(l.Labels["part"])] = l.Values
	}
	rows, err := p.Graph(ctx, sparks, moments(sparkPoints, sparkStep))
	if err != nil {
		return nil, err
	}
	for _, l := range rows {
		h.sparks[string(l.Labels["id"])] = l.Values
	}
	return h, nil
}

// finiteNumber reports whether v can be drawn.
func finiteNumber(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
