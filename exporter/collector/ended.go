package collector

import (
	"cmp"
	"slices"
	"time"

	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/container"
)

// A container without a row has the state that its runtime reports, for the last
// endedLimit containers that exited, root's before those of users. The OOM killer usually
// kills the init process; the container then exits and may be removed at once: its OOM
// events stay for endedFor, and never longer than the runtime keeps the container.
const (
	endedLimit = 200
	endedFor   = time.Hour
)

// entryScrapes is the number of scrapes for which the labels of an exited container are
// kept: its OOM event can arrive after the first scrape without it.
const entryScrapes = 2

// lingers reports whether the labels of an exited container are kept.
func (c *Collector) lingers(e *entry, o runtimes.OOM) bool {
	return c.generation-e.generation <= entryScrapes || !o.Last.IsZero() && time.Since(o.Last) < endedFor
}

// notSeen is a container without a row.
type notSeen struct {
	info *runtimes.Info
	at   time.Time // priority, latest first
}

// compare orders by priority.
func (n notSeen) compare(o notSeen) int {
	return cmp.Or(runtimes.RootFirst(n.info, o.info), o.at.Compare(n.at), cmp.Compare(n.info.ID, o.info.ID))
}

// ended returns rows for the reported containers that have none in this scrape: hidden
// ones, those that do not run, and those with OOM events.
func (c *Collector) ended(rows []row, ooms map[string]runtimes.OOM, view *runtimes.View, hidden []*runtimes.Info) []row {
	all := make([]notSeen, 0, len(ooms)+len(hidden)+min(len(view.Idle), endedLimit))
	now := c.now()
	for _, i := range hidden {
		all = append(all, notSeen{i, now})
	}
	for _, i := range view.Idle[:min(len(view.Idle), endedLimit)] {
		all = append(all, notSeen{i, i.State.Changed})
	}
	for _, o := range ooms {
		if now.Sub(o.Last) < endedFor {
			all = append(all, notSeen{o.Info, o.Last})
		}
	}
	if len(all) == 0 {
		clear(c.gone)
		return nil
	}
	taken := make(map[string]*row, len(rows)) // by label id
	for i := range rows {
		taken[rows[i].entry.id] = &rows[i]
	}
	slices.SortFunc(all, notSeen.compare)
	kept := make(map[string]*entry, min(len(all), endedLimit))
	var gone []row
	for _, n := range all {
		key := n.info.Key()
		if kept[key] != nil {
			continue
		}
		each := &source.Container{ID: n.info.ID}
		if n.info.User != 0 {
			each.Set(source.User, uint64(n.info.User))
		}
		each.Machine = machineOf(each, n.info)
		label, ok := c.freeLabel(each, taken)
		if !ok {
			continue
		}
		if len(gone) == endedLimit {
			break
		}
		e := c.gone[key]
		if e == nil || e.reported != n.info || e.id != label {
			before := cmp.Or(e, c.entries[key])
			if before != nil {
				each.Namespace, each.Cgroup, each.Runtime = before.namespace, before.cgroup, before.runtime
			}
			e = c.newEntry(each, label, n.info)
		}
		kept[key] = e
		r := row{container: each, entry: e, current: c.names.Up(n.info), unsupported: n.info.State.Runs()}
		if o, ok := ooms[key]; ok && now.Sub(o.Last) < endedFor {
			r.oomEvents, r.oomEventsKnown = o.Events, true
		}
		gone = append(gone, r)
		taken[label] = &gone[len(gone)-1]
	}
	c.gone = kept
	return gone
}

// freeLabel returns the label id of a container without a row; false if the container has
// a row, or another one has the label. Root's container takes it from a rootless one.
func (c *Collector) freeLabel(each *source.Container, taken map[string]*row) (string, bool) {
	label := labelID(each)
	other := taken[label]
	if other == nil || other.container.ID == each.ID && other.container.Owner() == each.Owner() {
		return label, other == nil
	}
	switch {
	case each.Owner() != 0:
		label = container.Key(each.Owner(), label)
	case other.container.Owner() != 0:
		c.relabel(other)
		taken[other.entry.id] = other
		return label, true
	}
	return label, taken[label] == nil
}

// oomEvents returns the value of estiba_container_oom_events_total.
func oomEvents(r *row) (uint64, bool) { return r.oomEvents, r.oomEventsKnown }

// oomEventsOrKills returns the value of cAdvisor's counter: the larger of the runtime's
// events and the kernel's kills.
func oomEventsOrKills(r *row) (uint64, bool) {
	kills, ok := r.container.Get(source.OOMKills)
	return max(kills, r.oomEvents), ok || r.oomEventsKnown
}
