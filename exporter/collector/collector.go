package collector

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
)

// NameSet selects the names of container metrics.
type NameSet string

// The name sets.
const (
	Estiba   NameSet = "estiba"
	CAdvisor NameSet = "cadvisor"
	Both     NameSet = "both"
)

// Config configures a collector.
type Config struct {
	NameSet      NameSet
	Interfaces   bool          // export each network interface
	OpenFiles    bool          // export the number of open files
	DockerLabels []string      // labels of containers to export
	Host         string        // value of the label host; "": none
	Limit        int           // containers in an exposition
	Timeout      time.Duration // of one scrape
	// ModulePresent reports whether the kernel module's document exists.
	ModulePresent func() bool
}

// Collector renders expositions. It is safe for concurrent use.
type Collector struct {
	config       Config
	source       source.Source
	names        Names
	logger       log.Logger
	families     []family
	interfaces   []interfaceFamily
	hostFamilies []hostFamily
	withErrors   bool // export label errors
	extraNames   []string
	errors       *errorCounter

	mu         sync.Mutex // protects the fields below
	entries    map[string]*entry
	labelOwner map[string]string // label id → key in entries
	generation uint64
	last       last
	ready      bool
	failing    source.Reason // of the last scrape, for the log
	without    string        // source of the last snapshot, "" if it was the module

	gone        map[string]*entry    // of containers without a row in the last scrape, by key
	unseenSince map[string]time.Time // first scrape without a running container, by key
	lastUnseen  int                  // number of unseen containers in the last scrape

	now func() time.Time
}

// New returns a collector of one source.
func New(c Config, src source.Source, n Names, logger log.Logger) *Collector {
	col := &Collector{
		config: c, source: src, names: n, logger: logger, errors: newErrorCounter(),
		entries: map[string]*entry{}, labelOwner: map[string]string{}, hostFamilies: hostFamilies(), now: time.Now,
	}
	if c.NameSet != CAdvisor {
		col.families = append(col.families, containerFamilies()...)
		col.withErrors = true
	}
	if c.NameSet != Estiba {
		col.families = append(col.families, cadvisorFamilies()...)
		col.hostFamilies = append(col.hostFamilies, machineFamilies()...)
	}
	if c.Interfaces {
		col.interfaces = interfaceFamilies(c.NameSet)
	}
	if c.OpenFiles {
		col.families = append(col.families, openFilesFamilies(c.NameSet)...)
	}
	for _, l := range c.DockerLabels {
		col.extraNames = append(col.extraNames, LabelName(l))
	}
	return col
}

// Ready reports whether there was a snapshot.
func (c *Collector) Ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ready
}

// Warm takes a snapshot and discards it.
func (c *Collector) Warm(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	began := time.Now()
	snap, err := c.source.Snapshot(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(&outcome{snap: snap, err: err, waited: time.Since(began), loaded: c.config.ModulePresent()})
}

// exposition is the result of one scrape.
type exposition struct {
	c     *Collector
	rows  []row
	ended []row // containers without a row, for their state
	self  single
}

// scrape takes one snapshot. It always returns an exposition, also after a failure. The
// exposition is immutable, so writing it needs no lock.
func (c *Collector) scrape(ctx context.Context) exposition {
	began := time.Now()
	snap, err := c.source.Snapshot(ctx)
	ooms, view := c.names.OOMs(), c.names.View()
	o := outcome{
		snap: snap, err: err, waited: time.Since(began), loaded: c.config.ModulePresent(),
		runtimes: c.names.Status(), sizedAt: c.names.Measured(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(&o)
	var rows []row
	var unseen, inPod []*runtimes.Info
	if snap != nil {
		rows, o.omitted, o.unnamed = c.rows(snap, ooms)
		var known bool
		unseen, inPod, known = c.unseen(snap, rows, view)
		c.logUnseen(unseen, known)
		o.shown = len(rows)
		if found, ok := snap.Host.Get(source.ContainersFound); ok && found > running(snap) {
			o.omitted += int(found - running(snap))
		}
	}
	o.unseen = c.lastUnseen
	return exposition{
		c: c, rows: rows, ended: c.ended(rows, ooms, view, append(unseen, inPod...)),
		self: single{host: c.config.Host, families: c.hostFamilies, o: o, l: c.last, errors: c.errors},
	}
}

// write writes the exposition as text.
func (e *exposition) write(to io.Writer, openMetrics bool) error {
	w := newTextWriter(to)
	w.families(e.c.families, e.rows, e.ended, openMetrics)
	w.interfaces(e.c.interfaces, e.rows, openMetrics)
	if e.c.withErrors {
		w.labelErrors(e.rows, openMetrics)
	}
	e.self.write(w, openMetrics)
	w.flush()
	return w.err
}

// note updates the values of the last snapshot, counts a failure, and logs it when it
// starts, changes or ends.
func (c *Collector) note(o *outcome) {
	if o.err != nil {
		reason, name := source.ReasonOf(o.err), c.source.Name()
		var failure *source.Failure
		if errors.As(o.err, &failure) {
			name = failure.Source
		} else if reason == source.ReasonTimeout && !o.loaded {
			name = cmp.Or(c.without, source.Cgroup) // without a module
		}
		c.errors.add(name, reason)
		if reason != c.failing {
			level.Error(c.logger).Log("msg", "snapshot failed", "source", name, "reason", reason, "err", o.err)
			c.failing = reason
		}
		return
	}
	if c.failing != "" || !c.ready {
		level.Info(c.logger).Log("msg", "snapshot collected", "source", o.snap.Source,
			"module_version", o.snap.ModuleVersion, "containers", len(o.snap.Containers))
		c.failing = ""
	}
	c.ready = true
	if c.without = o.snap.Source; c.without == source.Kmod {
		c.without = ""
	}
	c.errors.skipped(o.snap)
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
