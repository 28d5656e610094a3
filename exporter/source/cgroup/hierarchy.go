package cgroup

import (
	"cmp"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	shared "github.com/estiba/estiba/internal/container"
)

// membership maps controllers to the cgroup path of a process; the v2 hierarchy has
// the empty name.
type membership map[string]string

// The hierarchies in use: v2 and the v1 controllers.
const (
	unified = iota
	cpuacct
	cpu
	memory
	blkio

	numControllers
)

// controllers returns their names in /proc/PID/cgroup.
func controllers() [numControllers]string {
	return [numControllers]string{unified: "", cpuacct: "cpuacct", cpu: "cpu", memory: "memory", blkio: "blkio"}
}

// hierarchies maps paths from /proc to directories of the mounted cgroup file
// systems.
//
// Inside a cgroup namespace, paths are relative to the namespace's root:
// "/../../system.slice/x.scope". The largest number of ".." is the depth of the root. Its
// name is unknown until knowSelf finds it; until then cgroups are found by their names.
type hierarchies struct {
	base  string // Config.CgroupFS
	roots [numControllers]string

	private bool           // paths are relative to the root of a namespace
	up      int            // largest number of leading ".."
	ups     map[string]int // the same of each hierarchy

	outer membership // the cgroups of the container that this /proc is of, see within
	self  self       // the exporter's own container
	basis int        // changes with outer and self: homes must be found again

	order []string          // see identifying
	named map[string]*index // by root
}

func newHierarchies(base string) *hierarchies {
	return &hierarchies{base: base, ups: map[string]int{}, order: identifying(), named: map[string]*index{}}
}

// find inspects the mount point: either a v2 hierarchy, or a directory with one
// subdirectory per v1 hierarchy, named after its controllers ("cpu,cpuacct"), and in
// hybrid mode a v2 hierarchy named unified. See cgroups(7).
func (h *hierarchies) find() {
	h.roots = [numControllers]string{}
	if exists(filepath.Join(h.base, "cgroup.controllers")) {
		h.roots[unified] = h.base
		return
	}
	if u := filepath.Join(h.base, "unified"); exists(filepath.Join(u, "cgroup.controllers")) {
		h.roots[unified] = u
	}
	entries, err := os.ReadDir(h.base)
	if err != nil {
		return
	}
	for _, e := range entries {
		for _, name := range strings.Split(e.Name(), ",") {
			if k := slices.Index(controllersV1(), name); k >= 0 {
				h.roots[k+1] = filepath.Join(h.base, e.Name())
			}
		}
	}
}

// renames reports whether cgroups can be renamed: those of v1.
func (h *hierarchies) renames() bool {
	for _, root := range h.roots[unified+1:] {
		if root != "" {
			return true
		}
	}
	return false
}

func controllersV1() []string {
	all := controllers()
	return all[unified+1:]
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// note learns the depth of the namespace root from paths with leading "..".
func (h *hierarchies) note(m membership) {
	for controller, at := range m {
		if n, _ := climbs(at); n > 0 {
			h.private = true
			h.up = max(h.up, n)
			h.ups[controller] = max(h.ups[controller], n)
		}
	}
}

// observe learns from the processes of containers.
func (h *hierarchies) observe(there []*container) {
	var climbing [][]*process
	for _, c := range there {
		if slices.ContainsFunc(c.members, func(p *process) bool { return p.membership.climbs() }) {
			climbing = append(climbing, c.members)
		}
	}
	h.believe(climbing)
}

// believe learns from processes of containers with leading ".." in their paths. A single
// container does not prove a cgroup namespace: its process can be in any cgroup.
func (h *hierarchies) believe(climbing [][]*process) {
	if len(climbing) == 1 && !h.private {
		return
	}
	for _, members := range climbing {
		for _, p := range members {
			h.note(p.membership)
		}
	}
}

// climbs reports whether any path has a leading "..".
func (m membership) climbs() bool {
	for _, at := range m {
		if n, _ := climbs(at); n > 0 {
			return true
		}
	}
	return false
}

// badLines counts the lines of /proc/PID/cgroup without a path.
func badLines(text string) (n int) {
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.Trim(line, "\x00\r")
		_, rest, _ := strings.Cut(line, ":")
		if _, at, _ := strings.Cut(rest, ":"); line != "" && !strings.HasPrefix(at, "/") {
			n++
		}
	}
	return n
}

// climbs counts the leading ".." of a path and returns the remaining path.
func climbs(at string) (n int, rest string) {
	for at == "/.." || strings.HasPrefix(at, "/../") {
		n++
		at = at[len("/.."):]
	}
	return n, at
}

// resolve returns the directory of a container's cgroup and its path below the root
// of the hierarchy. The path never leaves the mount.
func (h *hierarchies) resolve(k int, at string, o owner, now time.Duration) (dir, below string, ok bool) {
	root := h.roots[k]
	n, rest := climbs(at)
	rest = path.Clean("/" + rest)
	own, _ := o.cut(rest)
	if n > 0 && !h.private && own == "" {
		return "", "", false // unresolvable
	}
	located := h.located(controllers()[k])
	if !h.private || n > 0 && (n == h.up || own != "") || n == 0 && located {
		if dir = filepath.Join(root, rest); rest != "/" && exists(dir) {
			return dir, rest, true
		}
	}
	// A path without a name is certain to be the container's only below the namespace
	// root, which is the exporter's own container.
	if !h.private || own == "" && (n > 0 || located) {
		return "", "", false
	}
	if below = h.index(root).find(root, o, now); below == "" {
		return "", "", false
	}
	return filepath.Join(root, below), below, true
}

// index returns the index of a hierarchy.
func (h *hierarchies) index(root string) *index {
	if h.named[root] == nil {
		h.named[root] = &index{}
	}
	return h.named[root]
}

// below reports whether a cgroup is another one or a descendant of it.
func below(at, other string) bool {
	return at == other || other == "/" || strings.HasPrefix(at, other+"/")
}

// index lists the cgroups of a hierarchy by name, to find one whose full path is
// unknown.
type index struct {
	names map[string]string // path below the root by last component
	found map[named]string  // the same of cgroups with the name of a container
	at    time.Duration
}

// named is what the path of a cgroup reveals.
type named struct {
	user uint32
	id   string
}

// An index is rebuilt for a container that it lacks, at most once per indexAge and
// over at most maxIndexed directories.
const (
	indexAge   = 5 * time.Second
	maxIndexed = 100_000
)

// find returns the path of the container's cgroup, or "".
func (x *index) find(root string, o owner, now time.Duration) string {
	if o.id == "" {
		return ""
	}
	look := func() (found string) {
		if found = x.found[named{o.user, o.id}]; found != "" || !o.shim || shared.IsFullID(o.id) {
			return found
		}
		// Several may match ("docker-ID.scope", "backup-ID"): the choice must be stable.
		for name, at := range x.names {
			if carries(name, o.id) && (found == "" || cmp.Or(cmp.Compare(strings.Count(at, "/"), strings.Count(found, "/")), cmp.Compare(at, found)) < 0) {
				found = at
			}
		}
		return found
	}
	if at := look(); at != "" && exists(filepath.Join(root, at)) {
		return at
	}
	if !x.build(root, now) {
		return ""
	}
	return look()
}

// isOwn reports whether a path is that of a container's own cgroup.
func isOwn(at string) bool {
	c, _ := shared.FindCgroup(at)
	return c.Path == at
}

// build lists the cgroups, unless it did recently.
func (x *index) build(root string, now time.Duration) bool {
	if x.names != nil && now-x.at < indexAge {
		return false
	}
	x.names, x.found, x.at = map[string]string{}, map[named]string{}, now
	// Breadth first: the outermost cgroup of a name is the runtime's.
	for next, seen := []string{"/"}, 0; len(next) > 0 && seen < maxIndexed; {
		at := next[0]
		next = next[1:]
		entries, err := os.ReadDir(filepath.Join(root, at))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if !e.IsDir() {
				continue
			}
			seen++
			path := filepath.Join(at, e.Name())
			if _, ok := x.names[e.Name()]; !ok {
				x.names[e.Name()] = path
			}
			switch c, ok := shared.FindCgroup(path); {
			case !ok:
				next = append(next, path)
			case c.ID != "":
				if inner := path + "/payload"; isOwn(inner) && exists(filepath.Join(root, inner)) { // of systemd-nspawn
					path = inner
				}
				if n := (named{c.User, c.ID}); x.found[n] == "" {
					x.found[n] = path
				}
			}
		}
	}
	return true
}
