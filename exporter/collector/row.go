package collector

import (
	"strconv"
	"strings"
	"time"

	"github.com/estiba/estiba/exporter/names"
	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/container"
)

// Names tells what Docker knows; names.Cache is one. None of it may wait.
type Names interface {
	Get(id string) *names.Info
	Sizes() (map[string]int64, time.Time)
	Up() bool
}

// entry is what is kept of a container from scrape to scrape: the label bytes,
// which only change when Docker's knowledge of it does.
type entry struct {
	id, namespace, cgroup string
	labels                []byte   // id="…",name="…"
	info                  []byte   // those of the info metric
	cadvisor              []byte   // those of cAdvisor's metrics
	errors                [][]byte // those of each label error
	named                 *names.Info

	startedAt  uint64 // boot clock, ns
	started    uint64 // ns since 1970, rounded to ms
	generation uint64 // of the scrape that saw it last
}

// row is one container of one scrape.
type row struct {
	container      *source.Container
	entry          *entry
	started        uint64
	seen           uint64 // when the snapshot was made, seconds since 1970
	diskUsage      uint64
	diskUsageKnown bool
}

// labelID is the value of the label id: the first twelve digits of a Docker id,
// other runtimes' ids whole, since they need not differ in their beginning, and
// pid-… where there is none.
func labelID(c *source.Container) string {
	switch {
	case c.ID == "":
		pid, _ := c.Get(source.PID)
		return "pid-" + strconv.FormatUint(pid, 10)
	case len(c.ID) == 64 && container.IsFullID(c.ID):
		return container.ShortID(c.ID)
	}
	return c.ID
}

// rows prepares the running containers of a snapshot, at most limit. omitted
// counts those that are left out: above the limit, and second ones of the same
// id. A container that ended has no samples any more: a series says that its
// container is there, and rules rely on its end.
func (c *Collector) rows(snap *source.Snapshot) (rows []row, omitted int, unnamed int) {
	c.generation++
	rows = make([]row, 0, len(snap.Containers))
	sizes, _ := c.names.Sizes()
	seen, ok := snap.Time()
	if !ok {
		seen = time.Now()
	}
	for i := range snap.Containers {
		each := &snap.Containers[i]
		if each.State == source.Ended {
			continue
		}
		key := each.ID
		if key == "" {
			key = labelID(each)
		}
		e := c.entries[key]
		if e != nil && e.generation == c.generation || len(rows) == c.config.Limit {
			omitted++
			continue
		}
		var info *names.Info
		if each.ID != "" {
			info = c.names.Get(each.ID)
		}
		if e == nil || e.named != info || e.namespace != each.Namespace || e.cgroup != each.Cgroup {
			label := labelID(each)
			if e == nil && c.labelTaken(label, key) {
				omitted++
				continue
			}
			renewed := c.newEntry(each, label, info)
			if e != nil {
				renewed.startedAt, renewed.started = e.startedAt, e.started
			}
			e = renewed
			c.entries[key] = e
			c.labelOwner[label] = key
		}
		e.generation = c.generation
		if info == nil {
			unnamed++
		}
		r := row{container: each, entry: e, seen: uint64(seen.Unix())}
		if t, ok := each.Get(source.StartTime); ok {
			// Told once a container: the difference of two clocks trembles.
			if e.startedAt != t || e.started == 0 {
				if at, ok := snap.Started(t); ok {
					e.startedAt, e.started = t, (at+5e5)/1e6*1e6
				}
			}
			r.started = e.started
		}
		if size, ok := sizes[each.ID]; ok && size >= 0 {
			r.diskUsage, r.diskUsageKnown = uint64(size), true
		}
		rows = append(rows, r)
	}
	for key, e := range c.entries {
		if e.generation != c.generation {
			delete(c.entries, key)
			delete(c.labelOwner, e.id)
		}
	}
	return rows, omitted, unnamed
}

// running is how many containers of a snapshot have not ended.
func running(snap *source.Snapshot) uint64 {
	n := uint64(0)
	for i := range snap.Containers {
		if snap.Containers[i].State != source.Ended {
			n++
		}
	}
	return n
}

// labelTaken tells whether another container of this scrape or the last has
// the same label id. Two series of one name are not allowed in an exposition.
func (c *Collector) labelTaken(label, key string) bool {
	owner, ok := c.labelOwner[label]
	return ok && owner != key
}

func (c *Collector) newEntry(each *source.Container, label string, info *names.Info) *entry {
	e := &entry{id: label, namespace: each.Namespace, cgroup: each.Cgroup, named: info}
	if info == nil {
		info = &names.Info{}
	}
	host := func(b []byte) []byte {
		if c.config.Host != "" {
			b = appendLabel(b, "host", c.config.Host)
		}
		return b
	}
	b := appendLabel(nil, "id", label)
	b = appendLabel(b, "name", info.Name)
	e.labels = host(b)

	b = appendLabel(nil, "id", label)
	b = appendLabel(b, "name", info.Name)
	b = appendLabel(b, "container_id", each.ID)
	b = appendLabel(b, "image", info.Image)
	b = appendLabel(b, "kind", string(info.Labels.Kind))
	b = appendLabel(b, "managed", strconv.FormatBool(info.Labels.Managed))
	b = appendLabel(b, "protected", strconv.FormatBool(info.Labels.Protected))
	b = appendLabel(b, "namespace", each.Namespace)
	b = appendLabel(b, "compose_project", info.Labels.ComposeProject)
	b = appendLabel(b, "compose_service", info.Labels.ComposeService)
	e.info = host(c.appendExtra(b, info))

	if c.config.NameSet != Estiba {
		e.cadvisor = host(c.cadvisorEntry(each, info))
	}
	for _, key := range info.Labels.Errors {
		b = appendLabel(nil, "id", label)
		b = appendLabel(b, "name", info.Name)
		b = appendLabel(b, "label", key)
		e.errors = append(e.errors, host(b))
	}
	return e
}

// appendExtra appends the labels of the allowlist, every one of them, so that
// all series of a metric have the same.
func (c *Collector) appendExtra(b []byte, info *names.Info) []byte {
	for i, key := range c.config.DockerLabels {
		b = appendLabel(b, c.extraNames[i], info.Extra[key])
	}
	return b
}

// LabelName is how a Docker label is called as a label of a metric.
func LabelName(docker string) string {
	return "container_label_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, docker)
}

// appendLabel appends one label, with a comma before it if it is not the first.
func appendLabel(b []byte, name, value string) []byte {
	if len(b) > 0 {
		b = append(b, ',')
	}
	b = append(b, name...)
	b = append(b, '=', '"')
	for _, r := range strings.ToValidUTF8(value, "\uFFFD") {
		switch r {
		case '\\':
			b = append(b, `\\`...)
		case '"':
			b = append(b, `\"`...)
		case '\n':
			b = append(b, `\n`...)
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}
