package status

import (
	"math"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/version"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/manager/audit"
	"github.com/estiba/estiba/manager/gather"
	"github.com/estiba/estiba/manager/policy"
)

func tickResults() []gather.TickResult {
	return []gather.TickResult{gather.TickOK, gather.TickNoFreshData, gather.TickPrometheusError, gather.TickDockerError, gather.TickConfigError}
}

// Limits of the number of series. A kill that is not published is not announced, so it
// is not made.
const (
	maxRecent    = 50
	maxPending   = 200
	maxDecided   = 2000
	maxProtected = 2000 // series: a container can have several
)

// Metrics is the registry of the manager.
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

// NewMetrics registers all Descriptors, with the label host if it is not empty.
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
	registry.MustRegister(
		&lists{
			m: m, recent: desc(d[nameRecentKill]), protected: desc(d[nameProtected]), pending: desc(d[namePending]),
			decided: desc(d[nameDecided]),
		},
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

// Rules creates the series of each rule with value 0: a counter that begins at 1 shows
// no increase. Series of removed rules stay.
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

// Reloaded notes whether the last load of the policy file succeeded.
func (m *Metrics) Reloaded(ok bool) { m.reload.Set(truth(ok)) }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// AuditFailed counts an audit record that could not be written.
func (m *Metrics) AuditFailed() { m.auditFailures.Inc() }

// Tick takes a finished tick.
func (m *Metrics) Tick(t Tick) {
	m.ticks.WithLabelValues(string(t.Result)).Inc()
	m.tickDuration.Observe(t.Duration.Seconds())
	if t.Result == gather.TickOK {
		m.lastSuccess.Set(float64(t.Time.UnixMilli()) / 1e3)
	}
	if t.DataKnown {
		m.dataAge.Set(t.DataAge.Seconds())
	} else {
		m.dataAge.Set(math.NaN())
	}
	if !t.Decided {
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
		for _, state := range []policy.State{policy.Running, policy.InTransition, policy.BeingKilled} {
			key := [2]string{string(kind), stateName(state)}
			m.containers.WithLabelValues(key[0], key[1]).Set(float64(counts[key]))
		}
	}
	decided := Describe(t, 0, false).Containers
	m.mu.Lock()
	m.protected, m.decided = protected, decided[:min(len(decided), maxDecided)]
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
		m.decisions.WithLabelValues(d.Rule, string(d.Choice), string(d.Reason)).Inc()
	}
}

func stateName(s policy.State) string {
	switch s {
	case policy.Running:
		return "running"
	case policy.BeingKilled:
		return "dying"
	}
	return "transitional"
}

// Killed takes the outcome of a kill.
func (m *Metrics) Killed(rec audit.Record) {
	m.kills.WithLabelValues(rec.Rule, rec.Kind, string(rec.Mode), string(rec.Outcome)).Inc()
	if rec.Outcome == audit.OutcomeDone {
		m.killDuration.Observe(rec.Duration)
	}
	m.Remember(rec)
}

// Remember adds a kill of an earlier run to the recent ones without counting it. Kills
// without effect are not added.
func (m *Metrics) Remember(rec audit.Record) {
	switch rec.Outcome {
	case audit.OutcomeDone, audit.OutcomeDryRun, audit.OutcomeFailed, audit.OutcomeUnknown:
	default:
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recent = latest(m.recent, rec, maxRecent)
}

// lists collects the metrics whose series change.
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
	// A duplicate series fails the whole scrape, and duplicates can come from outside:
	// two containers with the same short id, a repeated audit record.
	seen := map[string]bool{}
	send := func(d *prometheus.Desc, value float64, labels ...string) {
		for i := range labels {
			labels[i] = strings.ToValidUTF8(labels[i], "\uFFFD")
		}
		if key := d.String() + strings.Join(labels, "\xff"); !seen[key] {
			seen[key] = true
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
		}
	}
	for _, r := range l.m.recent {
		send(l.recent, seconds(r.Time), r.KillID, r.Rule, r.Kind, container.ShortID(r.Container), r.Name, string(r.Mode), string(r.Outcome))
	}
	for _, p := range l.m.pending {
		send(l.pending, seconds(p.NotBefore), p.Rule.Name, string(p.Container.Kind), container.ShortID(p.Container.ID), p.Container.Name)
	}
	series := 0
	for _, c := range l.m.protected {
		for _, why := range c.Protected {
			if series++; series <= maxProtected {
				send(l.protected, 1, container.ShortID(c.ID), c.Name, string(why))
			}
		}
	}
	for _, r := range l.m.decided {
		send(l.decided, 1, r.ShortID, r.Name, r.Rule, string(r.Decision), string(r.Reason))
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }
