package cgroup

import (
	"maps"
	"strings"

	shared "github.com/estiba/estiba/internal/container"
)

// owner identifies a container in the paths of cgroups.
type owner struct {
	user  uint32
	id    string
	shim  bool   // the id is its shim's: see carries
	outer string // see home
}

// cut returns the beginning of a path that is the container's own cgroup, "" if no
// component has its name. The outermost counts, so that cgroups made inside the container
// do not. foreign is true if the path has the name of another container.
func (o owner) cut(at string) (own string, foreign bool) {
	if o.shim {
		if own = carried(at, o.id); own != "" {
			return own, false
		}
	}
	c, ok := findBelow(o.outer, at)
	if ok && c.ID == o.id {
		return c.Path, false
	}
	return "", ok
}

// findBelow is container.FindCgroup without the components of outer.
func findBelow(outer, at string) (shared.Cgroup, bool) {
	if outer == "" || !below(at, outer) {
		return shared.FindCgroup(at)
	}
	c, ok := shared.FindCgroup(at[len(outer):])
	if c.Path != "" {
		c.Path = outer + c.Path
	}
	return c, ok
}

// carried cuts a path after the outermost component that carries an id, "" if there is
// none.
func carried(at, id string) string {
	for from, i := 0, 1; i <= len(at); i++ {
		if i < len(at) && at[i] != '/' {
			continue
		}
		if carries(strings.TrimPrefix(at[from:i], "/"), id) {
			return at[:i]
		}
		from = i
	}
	return ""
}

// carries reports whether a path component is the name of the cgroup of a shim's
// container: its id, which may be any word, optionally with the runtime's prefix and
// systemd's suffix ("docker-ID.scope", "slice:cri-containerd:ID"). systemd may escape the
// hyphen (systemd-escape(1)).
func carries(component, id string) bool {
	component = strings.TrimSuffix(component, ".scope")
	prefix, ok := strings.CutSuffix(component, id)
	return ok && id != "" && (prefix == "" || strings.HasSuffix(prefix, "-") || strings.HasSuffix(prefix, ":") || strings.HasSuffix(prefix, `\x2d`))
}

// home is what the cgroups of a process reveal about its container.
type home struct {
	shared.Cgroup
	at string // the path that reveals it
}

// identifying lists the hierarchies whose paths identify a container, by precedence: v2
// and those of v1, the systemd ones last.
func identifying() []string {
	return []string{
		"", "memory", "cpuacct", "cpu", "pids", "blkio", "devices", "freezer", "cpuset", "net_cls", "net_prio",
		"perf_event", "hugetlb", "rdma", "misc", "name=systemd",
	}
}

// home returns the home of a process, nil if its cgroups have the name of no container.
//
// A container can have a /proc of its own, and further containers (Docker in Docker, or
// in LXC). Without a cgroup namespace all paths begin with the name of the outer one then,
// which is that of process 1, and which is the host here.
func (h *hierarchies) home(m membership) *home {
	for _, controller := range h.order {
		at, ok := m[controller]
		if !ok {
			continue
		}
		at = strings.TrimSuffix(at, deleted)
		if c, ok := findBelow(h.outer[controller], at); ok {
			return &home{c, at}
		}
	}
	return nil
}

// within learns from the cgroups of process 1.
func (h *hierarchies) within(m membership) {
	h.note(m)
	outer := membership{}
	for controller, at := range m {
		if c, ok := shared.FindCgroup(at); ok && c.ID != "" {
			outer[controller] = c.Path
		}
	}
	if !maps.Equal(outer, h.outer) {
		h.outer = outer
		h.basis++
	}
}
