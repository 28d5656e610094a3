package cgroup

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// layout says where the hierarchies are mounted.
type layout struct {
	v2 string            // root of the v2 hierarchy; "" if there is none
	v1 map[string]string // controller → root of its v1 hierarchy
}

// findLayout looks at a cgroup mount point: a v2 hierarchy itself, or a folder
// with one v1 hierarchy each, named for its controllers ("cpu,cpuacct"), and
// perhaps a v2 one named unified (hybrid). See cgroups(7).
func findLayout(root string) layout {
	l := layout{v1: map[string]string{}}
	if exists(filepath.Join(root, "cgroup.controllers")) {
		l.v2 = root
		return l
	}
	if u := filepath.Join(root, "unified"); exists(filepath.Join(u, "cgroup.controllers")) {
		l.v2 = u
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return l
	}
	for _, e := range entries {
		if e.Name() == "unified" {
			continue
		}
		for _, controller := range strings.Split(e.Name(), ",") {
			l.v1[controller] = filepath.Join(root, e.Name())
		}
	}
	return l
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// membership is a process' line in each hierarchy: controller → path; the v2
// hierarchy has the empty name.
type membership map[string]string

// parseMembership reads /proc/PID/cgroup (cgroups(7)).
func parseMembership(b []byte) membership {
	m := membership{}
	for _, line := range bytes.Split(b, []byte("\n")) {
		parts := strings.SplitN(string(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, controller := range strings.Split(parts[1], ",") {
			m[controller] = parts[2]
		}
	}
	return m
}

// place is where a container's own cgroups are: folder of each controller, and
// of the v2 hierarchy; "" where it has none of its own.
type place struct {
	path                        string // below its root, for people
	v2                          string
	cpuacct, cpu, memory, blkio string
}

// key names the place: two containers of the same key share their cgroups.
func (p place) key() string {
	for _, dir := range [...]string{p.v2, p.cpuacct, p.memory} {
		if dir != "" {
			return dir
		}
	}
	return p.cpu + p.blkio
}

// commonMembership is the lowest cgroup of each hierarchy that holds all
// children of a shim: of a container its own, of a pod, whose containers have
// one shim, the pod's. A child still in the shim's own cgroup does not count:
// it is the runtime, about to move. whole: there is none such.
func commonMembership(children map[identity]membership, shim membership) (common membership, whole bool) {
	common, whole = membership{}, true
	for _, child := range children {
		for controller, at := range child {
			if at == "/" || at == shim[controller] {
				whole = false
				continue
			}
			if was, ok := common[controller]; ok {
				at = commonPath(was, at)
			}
			common[controller] = at
		}
	}
	return common, whole
}

// commonPath is the longest path that both are below; "/" in the end.
func commonPath(a, b string) string {
	if a == b {
		return a
	}
	end := 0
	for i := 0; ; i++ {
		if i == len(a) || i == len(b) {
			if (i == len(a) || a[i] == '/') && (i == len(b) || b[i] == '/') {
				end = i
			}
			break
		}
		if a[i] != b[i] {
			break
		}
		if a[i] == '/' {
			end = i
		}
	}
	return path.Clean("/" + a[:end])
}

// locate finds the container's own cgroups from the membership that its
// processes have in common and of its shim.
func (l layout) locate(id string, first, shim membership) place {
	var p place
	at := func(controller string) (string, string) {
		own := ownPath(id, first[controller], shim[controller])
		root := l.v2
		if controller != "" {
			root = l.v1[controller]
		}
		if own == "" || root == "" {
			return "", ""
		}
		// Seen from inside another cgroup namespace the path begins with
		// "/.." and leads out of the root; the places where Docker puts
		// containers are known.
		if dir := filepath.Join(root, own); !strings.HasPrefix(own, "/..") && exists(dir) {
			return own, dir
		}
		for _, own := range []string{"/docker/" + id, "/system.slice/docker-" + id + ".scope"} {
			if dir := filepath.Join(root, own); exists(dir) {
				return own, dir
			}
		}
		return "", ""
	}
	var v1path string
	p.path, p.v2 = at("")
	_, p.cpuacct = at("cpuacct")
	_, p.cpu = at("cpu")
	_, p.blkio = at("blkio")
	v1path, p.memory = at("memory")
	if p.path == "" {
		p.path = v1path
	}
	return p
}

// ownPath is the container's part of its processes' path: up to the
// component that carries its id, since an init such as systemd moves itself
// further down. Without the id in it, it is the whole path if the shim is
// elsewhere: then it is not shared with the rest of the host.
func ownPath(id, first, shim string) string {
	if first == "" || first == "/" {
		return ""
	}
	parts := strings.Split(first, "/")
	for i, part := range parts {
		if strings.Contains(part, id) {
			return strings.Join(parts[:i+1], "/")
		}
	}
	first = path.Clean(first)
	if shim == first || strings.HasPrefix(shim, first+"/") {
		return ""
	}
	return first
}
