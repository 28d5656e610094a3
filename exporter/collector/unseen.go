package collector

import (
	"slices"
	"time"

	"github.com/go-kit/log/level"

	"github.com/estiba/estiba/exporter/runtimes"
	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/container"
)

// unseenAfter is the time after which a running container without visible processes
// counts: the snapshot and the runtime's state are not from the same time.
const unseenAfter = 10 * time.Second

// visible is how a snapshot has a container.
type visible uint8

const (
	invisible visible = iota
	processes         // with processes, which may be a virtual machine's helpers
	machine           // with its virtual machine
)

// unseen returns the containers that their runtime reports as running and that have no
// process in snap: on another host (Docker Desktop), with an unsupported shim, or in a
// virtual machine. inPod has those whose usage is in the row of their pod's sandbox. known
// is false if this cannot be determined.
func (c *Collector) unseen(snap *source.Snapshot, rows []row, view *runtimes.View) (unseen, inPod []*runtimes.Info, known bool) {
	expected := 0
	for _, i := range view.Running {
		if c.names.Up(i) {
			expected++
		}
	}
	if partial(snap) || expected == 0 && !c.anyUp() {
		clear(c.unseenSince)
		return nil, nil, false
	}
	running := 0
	for i := range rows {
		if info := rows[i].entry.reported; info != nil && rows[i].current && info.State.Runs() && !info.Sandbox && !rows[i].unsupported {
			running++
		}
	}
	if running == expected { // the usual case
		clear(c.unseenSince)
		return nil, nil, true
	}
	seen := make(map[string]visible, len(snap.Containers))
	for i := range snap.Containers {
		switch each := &snap.Containers[i]; {
		case each.State == source.Ended:
		case each.Runtime == container.Kata:
			seen[each.Key()] = machine
		case each.Machine == "":
			seen[each.Key()] = processes
		}
	}
	now := c.now()
	since := make(map[string]time.Time)
	for _, i := range view.Running {
		if !c.names.Up(i) {
			continue
		}
		key, pod := i.Key(), container.Key(i.User, i.SandboxID)
		switch virtual := container.InMachine(i.State.Runtime); {
		case seen[key] == machine, seen[key] == processes && !virtual:
			continue
		case i.SandboxID != "" && (seen[pod] == machine || seen[pod] == processes && container.Sandboxed(i.State.Runtime)):
			inPod = append(inPod, i)
			continue
		}
		first, ok := c.unseenSince[key]
		if !ok {
			first = now
		}
		since[key] = first
		if now.Sub(first) >= unseenAfter {
			unseen = append(unseen, i)
		}
	}
	c.unseenSince = since
	return unseen, inPod, true
}

// anyUp reports whether a runtime answers.
func (c *Collector) anyUp() bool {
	return slices.ContainsFunc(c.names.Status(), func(s runtimes.Status) bool { return s.Up })
}

// partial reports whether a snapshot lacks containers or ids, so that the missing ones
// are unknown.
func partial(snap *source.Snapshot) bool {
	if found, ok := snap.Host.Get(source.ContainersFound); snap.Truncated || ok && found > running(snap) {
		return true
	}
	for i := range snap.Containers {
		if snap.Containers[i].ID == "" {
			return true
		}
	}
	return false
}

// logUnseen logs when the first container becomes unseen, and when all are visible.
func (c *Collector) logUnseen(unseen []*runtimes.Info, known bool) {
	switch {
	case !known:
	case len(unseen) > 0 && c.lastUnseen == 0:
		level.Warn(c.logger).Log("msg", "running containers without visible processes", "unseen", len(unseen),
			"example", unseen[0].Name, "id", unseen[0].ID, "runtime", unseen[0].State.Runtime,
			"effect", "no samples of these containers: their processes are on another host or in a virtual machine (Docker Desktop, Kata Containers), or their runtime has an unsupported shim (gVisor)")
	case len(unseen) == 0 && c.lastUnseen > 0:
		level.Info(c.logger).Log("msg", "all running containers visible")
	}
	c.lastUnseen = len(unseen)
}
