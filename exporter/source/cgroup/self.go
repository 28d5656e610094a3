package cgroup

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
	"github.com/estiba/estiba/exporter/source/scan"
)

// self is the exporter's own container, if it has a cgroup namespace: its processes are
// at "/", which has no name.
type self struct {
	path  string // real path of "/"; "": unknown
	tried time.Duration
}

// located reports whether the real paths of a hierarchy are known: the own container has
// the same path there as everywhere, if it is as deep.
func (h *hierarchies) located(controller string) bool {
	return h.self.path != "" && h.ups[controller] == strings.Count(h.self.path, "/")
}

// relocate replaces the paths of a process relative to the own root by real ones, once the
// own container has been found. It parses them anew: processes share a membership.
func (h *hierarchies) relocate(p *process) {
	if p.membership == nil || h.self.path == "" {
		return
	}
	m := procfile.ParseMembership([]byte(p.at))
	for controller, at := range m {
		if h.located(controller) {
			m[controller] = path.Join(h.self.path, at)
		}
	}
	p.membership = m
}

// knowSelf finds the own container: the cgroup with the name of a container, as deep as
// the own root, that lists a process which is at "/". It reports whether it found it now.
func (h *hierarchies) knowSelf(t *processes, now time.Duration) bool {
	if !h.private || h.self.path != "" || h.self.tried != 0 && now-h.self.tried < recheck {
		return false
	}
	h.self.tried = now
	for _, k := range [...]int{unified, memory, cpuacct, cpu, blkio} {
		root := h.roots[k]
		if root == "" {
			continue
		}
		for _, p := range t.all {
			at, ok := p.membership[controllers()[k]]
			if n, _ := climbs(at); !ok || n > 0 || p.zombie() {
				continue
			}
			x := h.index(root)
			x.build(root, now)
			for _, named := range slices.Sorted(maps.Values(x.found)) {
				for _, own := range h.asDeep(root, named) {
					if lists(filepath.Join(root, own, at), p.pid) {
						h.self.path = own
						h.basis++
						return true
					}
				}
			}
			break // the others are with it
		}
	}
	return false
}

// asDeep returns the cgroups at or below a path that are as deep as the own root.
func (h *hierarchies) asDeep(root, at string) []string {
	switch strings.Count(at, "/") {
	case h.up:
		return []string{at}
	case h.up - 1:
		return children(root, at)
	}
	return nil
}

// children returns the paths of the cgroups in another.
func children(root, at string) (all []string) {
	entries, err := os.ReadDir(filepath.Join(root, at))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, filepath.Join(at, e.Name()))
		}
	}
	return all
}

// lists reports whether a process is in a cgroup.
func lists(dir string, pid int) bool {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return false
	}
	want := strconv.Itoa(pid)
	for word, rest := scan.Word(b); len(word) > 0; word, rest = scan.Word(rest) {
		if string(word) == want {
			return true
		}
	}
	return false
}
