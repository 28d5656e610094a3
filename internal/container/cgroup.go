package container

import (
	"strconv"
	"strings"
)

// The runtimes that Cgroup and snapshots name. A container below a shim without a name
// of its own is Docker's in the shim's namespace "moby", else containerd's.
const (
	Docker     = "docker"
	Containerd = "containerd"
	CRIO       = "cri-o"
	Podman     = "podman"
	LXC        = "lxc"
	Nspawn     = "systemd-nspawn"
	Kata       = "kata"
)

// Cgroup is what the path of a cgroup reveals about its processes.
type Cgroup struct {
	Runtime string // "" if any runtime of containerd's kind can have made it
	ID      string // 64 hex digits, or the name of a system container
	Path    string // the container's own cgroup: the given path, or its beginning
	Pod     string // id of its Podman pod; "" for none, or if the path does not show it
	User    uint32 // owner of a rootless container; 0: root
	// ByShim: the name counts only for descendants of a shim, because other programs
	// could use such names, too.
	ByShim bool
	// Helper: the processes are the runtime's (conmon, a plugin) and belong to no
	// container; only Runtime and User are set, too.
	Helper bool
}

// idKind is what may stand in the place of the id.
type idKind uint8

const (
	hexID  idKind = iota // 64 lower-case hexadecimal digits
	nameID               // a name, see ValidID
)

// cgroupName is one form of the names that runtimes give to cgroups. A component matches
// as a whole: Before, id, After. In Before and After, systemd may have written a hyphen
// as \x2d (systemd-escape(1)).
type cgroupName struct {
	Runtime string
	Parent  string // name of the component above; "": any
	Before  string // "*" at its start: anything
	ID      idKind
	After   string
	ByShim  bool
	Helper  bool
	// Inner: the container is in a child named payload, its runtime in one named
	// supervisor, if they exist (systemd-nspawn(1)).
	Inner bool
}

// cgroupNames is the one table of names, by the first match. kmod/cgroup_names.h has it
// for the module. Sources: docs/runtimes.md.
var cgroupNames = []cgroupName{
	{Runtime: Docker, Parent: "plugins.moby", ID: hexID, Helper: true},
	{Runtime: Docker, Before: "plugins.moby-", ID: hexID, After: ".scope", Helper: true},
	{Runtime: Docker, Before: "docker-", ID: hexID, After: ".scope"},
	{Runtime: Docker, Parent: "docker", ID: hexID},
	{Runtime: Docker, Before: "*:docker:", ID: hexID},

	{Runtime: Containerd, Before: "cri-containerd-", ID: hexID, After: ".scope"},
	{Runtime: Containerd, Before: "*:cri-containerd:", ID: hexID},
	{Runtime: Containerd, Before: "nerdctl-", ID: hexID, After: ".scope"},

	{Runtime: CRIO, Before: "crio-conmon-", ID: hexID, Helper: true},
	{Runtime: CRIO, Before: "crio-conmon-", ID: hexID, After: ".scope", Helper: true},
	{Runtime: CRIO, Before: "crio-", ID: hexID},
	{Runtime: CRIO, Before: "crio-", ID: hexID, After: ".scope"},
	{Runtime: CRIO, Before: "*:crio:", ID: hexID},

	{Runtime: Podman, Before: "libpod-conmon-", ID: hexID, Helper: true},
	{Runtime: Podman, Before: "libpod-conmon-", ID: hexID, After: ".scope", Helper: true},
	{Runtime: Podman, Before: "libpod-", ID: hexID},
	{Runtime: Podman, Before: "libpod-payload-", ID: hexID}, // --cgroups=split, as Quadlet does
	{Runtime: Podman, Before: "libpod-", ID: hexID, After: ".scope"},
	{Runtime: Podman, Before: "*:libpod:", ID: hexID},

	{Runtime: Kata, Parent: "kata_overhead", ID: hexID},
	{Runtime: Kata, Before: "kata_", ID: hexID},

	{Runtime: LXC, Before: "lxc.monitor.", ID: nameID, Helper: true},
	{Runtime: LXC, Parent: "lxc.monitor", ID: nameID, Helper: true},
	{Runtime: LXC, Before: "lxc.payload.", ID: nameID},
	{Runtime: LXC, Parent: "lxc.payload", ID: nameID},
	{Runtime: LXC, Parent: "lxc", ID: nameID},

	// Virtual machines of libvirt, and its LXC driver, use machined's names, too.
	{Runtime: "libvirt", Before: "machine-qemu-", ID: nameID, After: ".scope", Helper: true},
	{Runtime: "libvirt", Before: "machine-lxc-", ID: nameID, After: ".scope", Helper: true},
	{Runtime: Nspawn, Parent: "machine.slice", Before: "machine-", ID: nameID, After: ".scope", Inner: true},
	{Runtime: Nspawn, Before: "systemd-nspawn@", ID: nameID, After: ".service", Inner: true},

	{Before: "*:", ID: hexID, ByShim: true},
	{Before: "*-", ID: hexID, After: ".scope", ByShim: true},
	{ID: hexID, ByShim: true},
}

// FindCgroup finds the container that a cgroup belongs to, by its path in
// /proc/PID/cgroup or below the root of its hierarchy. The outermost component that a
// runtime made decides: names below it are chosen inside the container. It returns false
// if no component is one.
func FindCgroup(path string) (Cgroup, bool) {
	var found Cgroup
	parent := ""
	for from := 0; from < len(path); {
		to := len(path)
		if i := strings.IndexByte(path[from:], '/'); i >= 0 {
			to = from + i
		}
		name := path[from:to]
		if user, ok := userOf(name); ok && found.User == 0 {
			found.User = user
		}
		names := cgroupNames
		if id, ok := podOf(parent, name); ok {
			found.Pod = id
			names = nil // a pod is no container
		}
		for i := range names {
			n := &names[i]
			id, ok := n.match(parent, name)
			if !ok {
				continue
			}
			found.Runtime, found.ByShim, found.Helper = n.Runtime, n.ByShim, n.Helper
			if n.Inner {
				switch child, _, _ := strings.Cut(strings.TrimPrefix(path[to:], "/"), "/"); child {
				case "payload":
					to += len("/payload")
				case "supervisor":
					found.Helper = true
				}
			}
			if found.Helper {
				found.Pod = ""
				return found, true
			}
			found.ID, found.Path = id, path[:to]
			return found, true
		}
		if name != "" {
			parent = name
		}
		from = to + 1
	}
	return Cgroup{}, false
}

// match returns the id in the name of a component.
func (n *cgroupName) match(parent, name string) (id string, ok bool) {
	if n.Parent != "" && n.Parent != parent {
		return "", false
	}
	if n.ID == hexID {
		end := len(name) - len(n.After)
		if end < 64 || name[end:] != n.After || !isHex(name[end-64:end]) {
			return "", false
		}
		return name[end-64 : end], n.precedes(name[:end-64])
	}
	name = strings.ReplaceAll(name, `\x2d`, "-")
	rest, ok1 := strings.CutPrefix(name, n.Before)
	id, ok2 := strings.CutSuffix(rest, n.After)
	return id, ok1 && ok2 && ValidID(id)
}

// precedes reports whether text is what stands before the id.
func (n *cgroupName) precedes(text string) bool {
	text = strings.ReplaceAll(text, `\x2d`, "-")
	if end, ok := strings.CutPrefix(n.Before, "*"); ok {
		return len(text) > len(end) && strings.HasSuffix(text, end)
	}
	return text == n.Before
}

func isHex(s string) bool {
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

// userOf returns the user of a cgroup that systemd makes for a user other than root:
// user-1000.slice, user@1000.service.
func userOf(name string) (uint32, bool) {
	number, ok := strings.CutPrefix(name, "user-")
	if ok {
		number, ok = strings.CutSuffix(number, ".slice")
	} else if number, ok = strings.CutPrefix(name, "user@"); ok {
		number, ok = strings.CutSuffix(number, ".service")
	}
	if !ok || number == "" || number[0] == '+' {
		return 0, false
	}
	user, err := strconv.ParseUint(number, 10, 32)
	return uint32(user), err == nil && user != 0
}

// podOf returns the id of a Podman pod: machine-libpod_pod_ID.slice,
// user-libpod_pod_ID.slice, or libpod_parent/ID with the cgroupfs driver (Podman 4.3), also
// libpod_pod_ID.
func podOf(parent, name string) (string, bool) {
	if parent == "libpod_parent" && len(name) == 64 && isHex(name) {
		return name, true
	}
	name = strings.TrimSuffix(name, ".slice")
	i := strings.Index(name, "libpod_pod_")
	if i < 0 || i > 0 && name[i-1] != '-' {
		return "", false
	}
	id := name[i+len("libpod_pod_"):]
	return id, len(id) == 64 && isHex(id)
}
