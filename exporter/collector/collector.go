package collector

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/exporter/source"
)

// NameSet says under which names containers are published.
type NameSet string

// The name sets.
const (
	Estiba   NameSet = "estiba"
	CAdvisor NameSet = "cadvisor"
	Both     NameSet = "both"
)

// Config is how the collector behaves.
type Config struct {
	NameSet      NameSet
	DockerLabels []string      // Docker labels to publish
	Host         string        // value of the label host; "": none
	Limit        int           // containers in an exposition
	Timeout      time.Duration // of one scrape
	// ModulePresent tells whether the kernel module's document is there.
	ModulePresent func() bool
}

// Collector makes expositions. It is safe for concurrent use.
type Collector struct {
	config       Config
	source       source.Source
	names        Names
	logger       log.Logger
	families     []family
	hostFamilies []hostFamily
	withErrors   bool // publish label errors
	extraNames   []string
	errors       *errorCounter

	mu         sync.Mutex // of what follows
	entries    map[string]*entry
	labelOwner map[string]string // label id → key in entries
	generation uint64
	last       last
	ready      bool
	failing    source.Reason // of the last scrape, for the log
}

// New makes a collector of one source.
func New(c Config, src source.Source, n Names, logger log.Logger) *Collector {
	col := &Collector{
		config: c, source: src, names: n, logger: logger, errors: newErrorCounter(),
		entries: map[string]*entry{}, labelOwner: map[string]string{}, hostFamilies: hostFamilies(),
	}
	if c.NameSet != CAdvisor {
		col.families = append(col.families, containerFamilies()...)
		col.withErrors = true
	}
	if c.NameSet != Estiba {
		col.families = append(col.families, cadvisorFamilies()...)
		col.hostFamilies = append(col.hostFamilies, machineFamilies()...)
	}
	for _, l := range c.DockerLabels {
		col.extraNames = append(col.extraNames, LabelName(l))
	}
	return col
}

// Ready tells whether a snapshot was ever made.
func (c *Collector) Ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ready
}

// Warm takes a snapshot and throws it away.
func (c *Collector) Warm(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	began := time.Now()
	snap, err := c.source.Snapshot(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(&outcome{snap: snap, err: err, waited: time.Since(began), loaded: c.config.ModulePresent()})
}

// exposition is what one scrape publishes.
type exposition struct {
	c    *Collector
	rows []row
	self single
}

// scrape takes one snapshot. It always gives an exposition: a failure is one
// too. Nothing in it changes any more, so that writing it needs no lock.
func (c *Collector) scrape(ctx context.Context) exposition {
	began := time.Now()
	snap, err := c.source.Snapshot(ctx)
	_, sizedAt := c.names.Sizes()
	o := outcome{snap: snap, err: err, waited: time.Since(began), loaded: c.config.ModulePresent(), dockerUp: c.names.Up(), sizedAt: sizedAt}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(&o)
	var rows []row
	if snap != nil {
		rows, o.omitted, o.unnamed = c.rows(snap)
		o.shown = len(rows)
		if found, ok := snap.Host.Get(source.ContainersFound); ok && found > running(snap) {
			o.omitted += int(found - running(snap))
		}
	}
	return exposition{c, rows, single{host: c.config.Host, families: c.hostFamilies, o: o, l: c.last, errors: c.errors}}
}

// write writes all of it as text.
func (e *exposition) write(to io.Writer, openMetrics bool) error {
	w := newTextWriter(to)
	w.families(e.c.families, e.rows, openMetrics)
	if e.c.withErrors {
		w.labelErrors(e.rows, openMetrics)
	}
	e.self.write(w, openMetrics)
	w.flush()
	return w.err
}

// note keeps what is told of the last snapshot, counts a failure and logs it
// when it begins, changes or ends.
func (c *Collector) note(o *outcome) {
	if o.err != nil {
		reason, name := source.ReasonOf(o.err), c.source.Name()
		var failure *source.Failure
		if errors.As(o.err, &failure) {
			name = failure.Source
		} else if reason == source.ReasonTimeout && !o.loaded {
			name = source.Cgroup // no module that could hang
		}
		c.errors.add(name, reason)
		if reason != c.failing {
			level.Error(c.logger).Log("msg", "no snapshot", "source", name, "reason", reason, "err", o.err)
			c.failing = reason
		}
		return
	}
	if c.failing != "" || !c.ready {
		level.Info(c.logger).Log("msg", "snapshots come", "source", o.snap.Source, "module_version", o.snap.ModuleVersion, "containers", len(o.snap.Containers))
		c.failing = ""
	}
	c.ready = true
	sequence, known := o.snap.Host.Get(source.Sequence)
	if !known {
		sequence = c.last.sequence + 1
	}
	collect, known := o.snap.Host.Get(source.CollectTime)
	if !known {
		collect = uint64(o.waited)
	}
	at, known := o.snap.Time()
	if !known {
		at = time.Now().Add(-o.waited)
	}
	c.last = last{sequence: sequence, at: at, collect: time.Duration(collect)}
}
