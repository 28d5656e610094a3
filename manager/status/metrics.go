package status

import (
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/version"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/policy"
)

// TickResult is how a tick ended.
type TickResult string

// The results of a tick.
const (
	TickOK              TickResult = "ok"
	TickNoFreshData     TickResult = "no_fresh_data"
	TickPrometheusError TickResult = "prometheus_error"
	TickDockerError     TickResult = "docker_error"
	TickConfigError     TickResult = "config_error"
)

func tickResults() []TickResult {
	return []TickResult{TickOK, TickNoFreshData, TickPrometheusError, TickDockerError, TickConfigError}
}

// Bounds of the series of recent kills, of announced ones and of decisions. A kill
// that is not published is not announced, so it is not made.
const (
	maxRecent  = 50
	maxPending = 200
	maxDecided = 2000
)

// Metrics is the manager's registry.
type Metrics struct {
	Registry *prometheus.Registry

	ticks                       *prometheus.CounterVec
	tickDuration                prometheus.Histogram
	lastSuccess                 prometheus.Gauge
	dataAge                     prometheus.Gauge
	decisions                   *prometheus.CounterVec
	kills                       *prometheus.CounterVec
	killDuration                prometheus.Histogram
	relief, unrelieved, stopped *prometheus.GaugeVec
	containers                  *prometheus.GaugeVec
	budget                      prometheus.Gauge
	dryRun                      prometheus.Gauge
	auditFailures               prometheus.Counter
	reload                      prometheus.Gauge

	mu        sync.Mutex
	recent    []audit.Record
	protected []policy.Container
	pending   []policy.Pending
	decided   []Row
}

// NewMetrics registers everything that Descriptors lists, with the label host
// unless that is empty: one that is held to a host is known by it, like that host's
// exporter.
func NewMetrics(host string) *Metrics {
	m := &Metrics{Registry: prometheus.NewRegistry()}
	var registry prometheus.Registerer = m.Registry
	if host != "" {
		registry = prometheus.WrapRegistererWith(prometheus.Labels{"host": host}, registry)
	}
	d := map[string]Descriptor{}
	for _, one := range Descriptors() {
		d[one.Name] = one
	}
	counter := func(name string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: d[name].Help}, d[name].Labels)
		registry.MustRegister(v)
		return v
	}
	gauge := func(name string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: d[name].Help}, d[name].Labels)
		registry.MustRegister(v)
		return v
	}
	histogram := func(name string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: d[name].Help, Buckets: buckets})
		registry.MustRegister(h)
		return h
	}
	m.ticks = counter(nameTicks)
	m.tickDuration = histogram(nameTickDuration, []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30})
	m.lastSuccess = gauge(nameLastSuccess).WithLabelValues()
	m.dataAge = gauge(nameDataAge).WithLabelValues()
	m.decisions = counter(nameDecisions)
	m.kills = counter(nameKills)
	m.killDuration = histogram(nameKillDuration, []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60})
	m.relief, m.unrelieved, m.stopped = gauge(nameRelief), gauge(nameUnrelieved), gauge(nameStopped)
	m.containers = gauge(nameContainers)
	m.budget = gauge(nameBudget).WithLabelValues()
	m.dryRun = gauge(nameDryRun).WithLabelValues()
	m.auditFailures = counter(nameAuditFailures).WithLabelValues()
	m.reload = gauge(nameReload).WithLabelValues()
	gauge(nameBuildInfo).WithLabelValues(version.Version, version.GetRevision(), runtime.Version()).Set(1)
	registry.MustRegister(&lists{m: m, recent: desc(d[nameRecentKill]), protected: desc(d[nameProtected]), pending: desc(d[namePending]), decided: desc(d[nameDecided])},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	m.dataAge.Set(math.NaN())
	for _, r := range tickResults() {
		m.ticks.WithLabelValues(string(r))
	}
	m.decisions.WithLabelValues("", string(policy.Spare), string(policy.NotSelected))
	return m
}

func desc(d Descriptor) *prometheus.Desc { return prometheus.NewDesc(d.Name, d.Help, d.Labels, nil) }

func kinds() []container.Kind { return append(container.Kinds(), container.KindNone) }

// Rules creates every series of each rule at 0: a counter that is born at 1
// shows no increase. Series of rules that are gone stay.
func (m *Metrics) Rules(names []string, budget int, dryRun bool) {
	m.unrelieved.Reset()
	m.stopped.Reset()
	for _, rule := range names {
		m.unrelieved.WithLabelValues(rule).Set(0)
		m.stopped.WithLabelValues(rule).Set(0)
		m.decisions.WithLabelValues(rule, string(policy.Kill), string(policy.Chosen))
		for _, reason := range policy.Guards() {
			m.decisions.WithLabelValues(rule, string(policy.Spare), string(reason))
		}
		for _, kind := range kinds() {
			for _, mode := range []policy.Mode{policy.Live, policy.DryRun} {
				for _, outcome := range audit.Outcomes() {
					m.kills.WithLabelValues(rule, string(kind), string(mode), string(outcome))
				}
			}
		}
	}
	m.budget.Set(float64(budget))
	m.dryRun.Set(truth(dryRun))
}

// Reloaded notes whether the last load of the policy file was accepted.
func (m *Metrics) Reloaded(ok bool) { m.reload.Set(truth(ok)) }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// AuditFailed counts a record that could not be written.
func (m *Metrics) AuditFailed() { m.auditFailures.Inc() }

// Tick notes one tick's end.
func (m *Metrics) Tick(t Tick) {
	m.ticks.WithLabelValues(string(t.Result)).Inc()
	m.tickDuration.Observe(t.Duration.Seconds())
	if t.Result == TickOK {
		m.lastSuccess.Set(float64(t.Time.UnixMilli()) / 1e3)
	}
	if t.DataKnown {
		m.dataAge.Set(t.DataAge.Seconds())
	} else {
		m.dataAge.Set(math.NaN())
	}
	if !t.Listed {
		m.mu.Lock()
		m.decided = nil
		m.mu.Unlock()
		return
	}
	counts := map[[2]string]int{}
	var protected []policy.Container
	for _, c := range t.Containers {
		if c.InScope {
			counts[[2]string{string(c.Kind), stateName(c.State)}]++
		}
		if len(c.Protected) > 0 {
			protected = append(protected, c)
		}
	}
	for _, kind := range kinds() {
		for _, state := range []policy.State{policy.Running, policy.Unsteady, policy.Dying} {
			key := [2]string{string(kind), stateName(state)}
			m.containers.WithLabelValues(key[0], key[1]).Set(float64(counts[key]))
		}
	}
	var decided []Row
	if t.Decided {
		rows := Describe(t, 0, false).Containers
		decided = rows[:min(len(rows), maxDecided)]
	}
	m.mu.Lock()
	m.protected, m.decided = protected, decided
	m.mu.Unlock()
	if !t.Decided {
		return
	}
	m.mu.Lock()
	m.pending = t.Plan.Pending[:min(len(t.Plan.Pending), maxPending)]
	m.mu.Unlock()
	m.budget.Set(float64(t.Plan.BudgetLeft))
	for _, r := range t.Rules {
		m.unrelieved.WithLabelValues(r.Name).Set(float64(r.Relief.Unrelieved))
		m.stopped.WithLabelValues(r.Name).Set(truth(r.Relief.Stopped))
	}
	for _, one := range t.Plan.Measured {
		for kind, ratio := range one.ByKind {
			m.relief.WithLabelValues(one.Rule, string(kind)).Set(ratio)
		}
	}
	for _, d := range t.Plan.Decisions {
		m.decisions.WithLabelValues(d.Rule, string(d.Verdict), string(d.Reason)).Inc()
	}
}

func stateName(s policy.State) string {
	switch s {
	case policy.Running:
		return "running"
	case policy.Dying:
		return "dying"
	}
	return "transitional"
}

// Killed notes one finished order.
func (m *Metrics) Killed(rec audit.Record) {
	m.kills.WithLabelValues(rec.Rule, rec.Kind, string(rec.Mode), string(rec.Outcome)).Inc()
	if rec.Outcome == audit.OutcomeDone {
		m.killDuration.Observe(rec.Duration)
	}
	m.Remember(rec)
}

// Remember shows a kill among the recent ones without counting it, as those
// of an earlier run are. Orders that came to nothing are no kills.
func (m *Metrics) Remember(rec audit.Record) {
	switch rec.Outcome {
	case audit.OutcomeDone, audit.OutcomeDryRun, audit.OutcomeFailed, audit.OutcomeUnknown:
	default:
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recent = append(m.recent, rec)
	if over := len(m.recent) - maxRecent; over > 0 {
		m.recent = append(m.recent[:0:0], m.recent[over:]...)
	}
}

// lists publishes the metrics whose series come and go.
type lists struct {
	m                                   *Metrics
	recent, protected, pending, decided *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (l *lists) Describe(ch chan<- *prometheus.Desc) {
	ch <- l.recent
	ch <- l.protected
	ch <- l.pending
	ch <- l.decided
}

// Collect implements prometheus.Collector.
func (l *lists) Collect(ch chan<- prometheus.Metric) {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	for _, r := range l.m.recent {
		ch <- prometheus.MustNewConstMetric(l.recent, prometheus.GaugeValue, seconds(r.Time),
			r.KillID, r.Rule, r.Kind, container.ShortID(r.Container), r.Name, string(r.Mode), string(r.Outcome))
	}
	for _, p := range l.m.pending {
		ch <- prometheus.MustNewConstMetric(l.pending, prometheus.GaugeValue, seconds(p.NotBefore),
			p.Rule.Name, string(p.Container.Kind), container.ShortID(p.Container.ID), p.Container.Name)
	}
	for _, c := range l.m.protected {
		for _, why := range c.Protected {
			ch <- prometheus.MustNewConstMetric(l.protected, prometheus.GaugeValue, 1, container.ShortID(c.ID), c.Name, string(why))
		}
	}
	for _, r := range l.m.decided {
		ch <- prometheus.MustNewConstMetric(l.decided, prometheus.GaugeValue, 1, r.ShortID, r.Name, r.Rule, string(r.Decision), string(r.Reason))
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }
