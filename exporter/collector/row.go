package collector

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/container"
)

// Names has what the runtimes report; runtimes.Set implements it. No method may block.
type Names interface {
	Find(user uint32, id, runtime, namespace string) (info *runtimes.Info, expected bool)
	Up(*runtimes.Info) bool
	Size(*runtimes.Info) (int64, bool)
	Measured() time.Time
	OOMs() map[string]runtimes.OOM
	View() *runtimes.View
	Status() []runtimes.Status
}

// entry caches the labels of a container between scrapes. They change only with its
// runtimes.Info and these fields.
type entry struct {
	id, namespace, cgroup, runtime, pause string
	labels                                []byte   // id="…",name="…"
	info                                  []byte   // labels of the info metric
	cadvisor                              []byte   // labels of cAdvisor's metrics
	state, health                         []byte   // labels with the state, and with the health if there is a check
	machine                               []byte   // labels with the runtime, if it may be unsupported
	errors                                [][]byte // labels of each label error
	reported                              *runtimes.Info

	startedAt  uint64 // boot clock, ns
	started    uint64 // ns since the Unix epoch, rounded to ms
	generation uint64 // of its last scrape
}

// describes reports whether the labels are those of the container.
func (e *entry) describes(each *source.Container, info *runtimes.Info) bool {
	return e.reported == info && e.namespace == each.Namespace && e.cgroup == each.Cgroup && e.runtime == each.Runtime && e.pause == each.Pause
}

// clockJitter is above the jitter of the difference of two clocks read one after the
// other, ns.
const clockJitter = 1e9

// plugins is containerd's namespace of Docker's managed plugins, which Docker does not
// list as containers.
const plugins = "plugins.moby"

// row is one container of one scrape.
type row struct {
	container      *source.Container
	entry          *entry
	started        uint64
	seen           uint64 // time of the snapshot, seconds since the Unix epoch
	diskUsage      uint64
	diskUsageKnown bool
	oomEvents      uint64
	oomEventsKnown bool
	interfaces     []source.Interface
	unsupported    bool
	current        bool // its runtime answers: its state is current
}

// labelID returns the value of the label id: the first twelve digits of a Docker id,
// the complete id of other runtimes, whose prefixes need not differ, or pid-… without an
// id.
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

// rows returns the running containers of a snapshot, up to the limit: root's, then those
// of users, who must not take the place or the label id of root's. omitted counts those
// above the limit and those with a duplicate id. An exited container has no samples:
// rules rely on the end of its series.
func (c *Collector) rows(snap *source.Snapshot, ooms map[string]runtimes.OOM) (rows []row, omitted int, unnamed int) {
	c.generation++
	all := make([]row, 0, len(snap.Containers))
	seen, ok := snap.Time()
	if !ok {
		seen = time.Now()
	}
	rootless := false
	for pass := 0; pass == 0 || pass == 1 && rootless; pass++ {
		for i := range snap.Containers {
			each := &snap.Containers[i]
			if each.State == source.Ended {
				continue
			}
			user := each.Owner()
			if (user != 0) != (pass == 1) {
				rootless = true
				continue
			}
			if len(all) == c.config.Limit {
				omitted++
				continue
			}
			r, expected, ok := c.row(snap, each, user, ooms)
			if !ok {
				omitted++
				continue
			}
			if expected && r.entry.reported == nil {
				unnamed++
			}
			r.seen = uint64(seen.Unix())
			all = append(all, r)
		}
	}
	for key, e := range c.entries {
		if e.generation != c.generation && !c.lingers(e, ooms[key]) {
			c.forget(key, e)
		}
	}
	return all, omitted, unnamed
}

// row returns the row of one container; false if it has one already, or another container
// has its label id. expected reports whether a runtime is to name it.
func (c *Collector) row(snap *source.Snapshot, each *source.Container, user uint32, ooms map[string]runtimes.OOM) (r row, expected, ok bool) {
	key := each.ID
	if key == "" {
		key = labelID(each)
	} else if user != 0 {
		key = container.Key(user, each.ID)
	}
	e := c.entries[key]
	if e != nil && e.generation == c.generation {
		return r, false, false
	}
	var info *runtimes.Info
	if each.Namespace != plugins {
		if each.ID == "" {
			expected = true
		} else {
			info, expected = c.names.Find(user, each.ID, each.Runtime, each.Namespace)
		}
	}
	own, machine := snap.Interfaces[key], machineOf(each, info)
	if machine != "" { // its visible processes are helpers
		each, own = withoutUsage(each, machine), nil
	}
	if e == nil || !e.describes(each, info) {
		if e = c.renew(key, e, each, info); e == nil {
			return r, false, false
		}
	}
	e.generation = c.generation
	r = row{container: each, entry: e, interfaces: own, unsupported: machine != ""}
	if t, ok := each.Get(source.StartTime); ok {
		// Computed once per container, because the difference of the clocks jitters, and
		// again after a clock was set.
		if at, ok := snap.Started(t); ok && (e.startedAt != t || at-e.started+clockJitter > 2*clockJitter) {
			e.startedAt, e.started = t, (at+5e5)/1e6*1e6
		}
		r.started = e.started
	}
	if info != nil {
		r.oomEvents, r.oomEventsKnown, r.current = ooms[key].Events, true, c.names.Up(info)
		if size, ok := c.names.Size(info); ok && size >= 0 {
			r.diskUsage, r.diskUsageKnown = uint64(size), true
		}
	}
	return r, expected, true
}

// withoutUsage returns a container with its identity only.
func withoutUsage(each *source.Container, machine string) *source.Container {
	bare := &source.Container{
		ID: each.ID, Namespace: each.Namespace, Cgroup: each.Cgroup, Runtime: each.Runtime, Pod: each.Pod, Pause: each.Pause, Machine: machine,
	}
	if user := each.Owner(); user != 0 {
		bare.Set(source.User, uint64(user))
	}
	return bare
}

// renew returns a new entry in the place of an old one, if any; nil if another container
// of this or the last scrape has the same label id: duplicate series are invalid. A
// rootless container never has the label id of root's: it gets its user's number
// appended.
func (c *Collector) renew(key string, old *entry, each *source.Container, info *runtimes.Info) *entry {
	label := labelID(each)
	user := each.Owner()
	switch owner, taken := c.labelOwner[label]; {
	case old != nil:
		label = old.id
	case !taken || owner == key:
	case user != 0:
		label = container.Key(user, label)
		if other, taken := c.labelOwner[label]; taken && other != key {
			return nil
		}
	case strings.Contains(owner, "@"):
		c.forget(owner, c.entries[owner])
	default:
		return nil
	}
	e := c.newEntry(each, label, info)
	if old != nil {
		e.startedAt, e.started = old.startedAt, old.started
	}
	c.entries[key] = e
	c.labelOwner[label] = key
	return e
}

// relabel gives a rootless container of this scrape another label id, because one of
// root's has it.
func (c *Collector) relabel(r *row) {
	key, old := r.container.Key(), r.entry
	c.forget(key, old)
	e := c.newEntry(r.container, container.Key(r.container.Owner(), old.id), old.reported)
	e.startedAt, e.started, e.generation = old.startedAt, old.started, old.generation
	c.entries[key], c.labelOwner[e.id] = e, key
	r.entry = e
}

func (c *Collector) forget(key string, e *entry) {
	delete(c.entries, key)
	if e != nil && c.labelOwner[e.id] == key {
		delete(c.labelOwner, e.id)
	}
}

// machineOf returns the runtime or the shim of a container in a virtual machine, else "".
// The snapshot's runtime is Kata if it found the cgroup of the machine itself: then the
// usage is the container's.
func machineOf(each *source.Container, info *runtimes.Info) string {
	if each.Runtime == container.Kata {
		return ""
	}
	if info != nil && container.InMachine(info.State.Runtime) {
		return info.State.Runtime
	}
	return each.Machine
}

// running counts the containers of a snapshot that have not exited.
func running(snap *source.Snapshot) uint64 {
	n := uint64(0)
	for i := range snap.Containers {
		if snap.Containers[i].State != source.Ended {
			n++
		}
	}
	return n
}

// nameOf returns the name of a container that no runtime has reported: the id of system
// containers is their name.
func nameOf(each *source.Container) string {
	if each.Runtime == container.LXC || each.Runtime == container.Nspawn {
		return each.ID
	}
	return ""
}

func (c *Collector) newEntry(each *source.Container, label string, info *runtimes.Info) *entry {
	e := &entry{id: label, namespace: each.Namespace, cgroup: each.Cgroup, runtime: each.Runtime, pause: each.Pause, reported: info}
	// Unknown is neither true nor false: a query for false must not match it.
	boolLabel := strconv.FormatBool
	if info == nil {
		info, boolLabel = &runtimes.Info{Name: nameOf(each)}, func(bool) string { return "" }
	}
	runtime, podContainer := cmp.Or(each.Runtime, info.Runtime), info.PodContainer
	if podContainer == "" && each.Pause == source.Yes {
		podContainer = runtimes.PodPause
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
	b = appendLabel(b, "managed", boolLabel(info.Labels.Managed))
	b = appendLabel(b, "protected", boolLabel(info.Labels.Protected))
	b = appendLabel(b, "namespace", each.Namespace)
	b = appendLabel(b, "runtime", runtime)
	b = appendLabel(b, "compose_project", info.Labels.ComposeProject)
	b = appendLabel(b, "compose_service", info.Labels.ComposeService)
	b = appendLabel(b, "pod", info.Pod)
	b = appendLabel(b, "pod_namespace", info.PodNamespace)
	b = appendLabel(b, "pod_container", podContainer)
	e.info = host(c.appendExtra(b, info))

	with := func(name, value string) []byte {
		if value == "" {
			return nil
		}
		b := appendLabel(nil, "id", label)
		b = appendLabel(b, "name", info.Name)
		return host(appendLabel(b, name, value))
	}
	e.state = with("state", info.State.Status)
	if info.State.Runs() {
		e.health = with("status", info.State.Health)
	}
	if each.Machine != "" {
		e.machine = with("runtime", each.Machine)
	} else if container.Sandboxed(info.State.Runtime) {
		e.machine = with("runtime", info.State.Runtime)
	}
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

// appendExtra appends all allowed Docker labels, so that the series of a metric have the
// same labels.
func (c *Collector) appendExtra(b []byte, info *runtimes.Info) []byte {
	for i, key := range c.config.DockerLabels {
		b = appendLabel(b, c.extraNames[i], info.Extra[key])
	}
	return b
}

// LabelName returns the metric label of a Docker label.
func LabelName(docker string) string {
	return "container_label_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, docker)
}

// appendLabel appends one label, after a comma unless it is the first.
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
