package cgroup

import (
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/estiba/estiba/exporter/source/scan"
)

// place has the container's own cgroups.
type place struct {
	path string                   // below its root, for the label; "" if there are several
	dirs [numControllers][]string // empty: no cgroup of its own

	stray   bool // a process is outside dirs in the v2 hierarchy: dirs lack its CPU time
	partial bool // one of its cgroups is not visible to the exporter: dirs lack its CPU time
}

// same reports whether both are equal.
func (p *place) same(other *place) bool {
	if p.path != other.path || p.stray != other.stray || p.partial != other.partial {
		return false
	}
	for k := range p.dirs {
		if !slices.Equal(p.dirs[k], other.dirs[k]) {
			return false
		}
	}
	return true
}

// finding is the result of locating a container.
type finding struct {
	place
	away  bool // its processes are in their own cgroups, found or not
	lost  bool // some of them are not visible to the exporter
	loose bool // some are identified by their processes only: to be checked again
}

// locate finds the cgroups that hold exactly the members, in each hierarchy. at has those
// of the shim, if any.
func (h *hierarchies) locate(o owner, members []*process, at membership, now time.Duration) finding {
	var f finding
	paths := make([]string, 0, 4)
	for k, controller := range controllers() {
		if h.roots[k] == "" {
			continue
		}
		paths = paths[:0]
		for _, p := range members {
			where, ok := p.membership[controller]
			if where = strings.TrimSuffix(where, deleted); ok && where != "" && !slices.Contains(paths, where) {
				paths = append(paths, where)
			}
		}
		o.outer = h.outer[controller]
		own, all, foreign := h.own(controller, o, paths, at[controller])
		f.away = f.away || foreign || len(own) > 0
		if len(own) > 0 {
			h.settle(&f, k, o, own, all, members, now)
		}
	}
	return f
}

// deleted is the suffix of the path of a removed cgroup.
const deleted = " (deleted)"

// own cuts paths to the container's own cgroups; all is false if some are left out, and
// foreign is true if some of these have the name of another container. Only a shim's
// container can have a cgroup without its name: any that is not the shim's. In a cgroup
// namespace of its own, the exporter is at "/".
func (h *hierarchies) own(controller string, o owner, paths []string, shim string) (own []string, all, foreign bool) {
	all = true
	for _, at := range paths {
		cut, another := o.cut(at)
		if cut == "" {
			cut = at
			top := at == "/" && !(h.private && !h.located(controller) && shim != "/")
			if foreign = foreign || another; another || !o.shim || top || at == shim || at != "/" && below(shim, at) {
				all = false
				continue
			}
		}
		if !slices.Contains(own, cut) {
			own = append(own, cut)
		}
	}
	return own, all, foreign
}

// settle finds the directories of the container's own cgroups in one hierarchy. If one
// of them has its name, a process without a known cgroup is just left out, and with a
// process elsewhere (all is false, too) CPU time is summed over processes instead.
func (h *hierarchies) settle(f *finding, k int, o owner, own []string, all bool, members []*process, now time.Duration) {
	type folder struct {
		dir, below string
		named      bool
		paths      []string // paths that lead to it
	}
	var found []folder
	home, named, missing := false, false, false
	for _, at := range own {
		dir, below, ok := h.resolve(k, at, o, now)
		if !ok {
			cut, _ := o.cut(at)
			named, missing = named || cut != "", true
			continue
		}
		i := slices.IndexFunc(found, func(f folder) bool { return f.dir == dir })
		if i < 0 {
			i = len(found)
			cut, _ := o.cut(below)
			found = append(found, folder{dir: dir, below: below, named: cut != "" || ofRuntime(path.Base(below))})
		}
		home = home || found[i].named
		found[i].paths = append(found[i].paths, at)
	}
	if missing && !home {
		f.lost = f.lost || all && (h.private || named)
		return
	}
	f.loose, f.partial = f.loose || missing, f.partial || named
	if !all && !home {
		return
	}
	var dirs []string
	var last string
	for _, at := range found {
		if !at.named {
			f.loose = true
			if !exclusive(at.dir, members, inside(members, controllers()[k], at.paths)) {
				if !home {
					return
				}
				all = false
				continue
			}
		}
		dirs = append(dirs, at.dir)
		last = at.below
	}
	if !all && (k == cpuacct || k == cpu) {
		return
	}
	f.stray = f.stray || !all && k == unified
	f.dirs[k] = dirs
	if len(dirs) == 1 && (f.path == "" && (k == unified || k == memory)) {
		f.path = last
	}
}

// ofRuntime reports whether a component is of the form SLICE:RUNTIME:ID, which nobody else
// makes, whatever the id.
func ofRuntime(component string) bool { return strings.Count(component, ":") == 2 }

// inside counts the processes in cgroups at or below these paths.
func inside(members []*process, controller string, paths []string) (n int) {
	for _, p := range members {
		where, ok := p.membership[controller]
		where = strings.TrimSuffix(where, deleted)
		if ok && !p.zombie() && slices.ContainsFunc(paths, func(at string) bool { return below(where, at) }) {
			n++
		}
	}
	return n
}

// exclusive reports whether only members are in a cgroup or below it; inside is their
// expected number. The kernel writes 0 for a process outside the reader's PID
// namespace, which may be any process: there must not be more zeros than members that
// are not listed by PID.
func exclusive(dir string, members []*process, inside int) bool {
	pids := make(map[int]bool, len(members))
	for _, p := range members {
		pids[p.pid] = true
	}
	listed, hidden := 0, 0
	err := filepath.WalkDir(dir, func(at string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(at, "cgroup.procs"))
		if err != nil {
			return err
		}
		for word, rest := scan.Word(b); len(word) > 0; word, rest = scan.Word(rest) {
			v, ok := scan.Uint(word)
			switch {
			case ok && v == 0:
				hidden++
			case !ok || v > maxPID || !pids[int(v)]:
				return errForeign
			default:
				listed++
			}
		}
		return nil
	})
	return err == nil && listed+hidden > 0 && hidden <= max(inside-listed, 0)
}

var errForeign = errors.New("process of another container")
