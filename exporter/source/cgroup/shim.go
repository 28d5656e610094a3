package cgroup

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
	shared "github.com/estiba/estiba/internal/container"
)

// shimName is the comm of every containerd shim, which the kernel cuts at 15 bytes.
const shimName = "containerd-shim"

// wrappedShim is the prefix of wrapped programs on NixOS:
// ".containerd-shim-runc-v2-wrapped".
const wrappedShim = "." + shimName

// calledShim reports whether a comm is that of a shim.
func calledShim(comm string) bool {
	return strings.HasPrefix(comm, shimName) || comm == wrappedShim[:len(shimName)]
}

// pluginsNamespace is containerd's namespace of the Engine's managed plugins, which
// are not containers.
const pluginsNamespace = "plugins.moby"

// shim is the shim of one container.
type shim struct {
	*process
	user      uint32
	id        string
	namespace string
	network   string // its network namespace, which is the Engine's; "": not read yet
	role      role
}

// role is the role of a process with the name of a shim.
type role int

const (
	notShim       role = iota // has the name only
	runsContainer             // runs a container
	helper                    // starts or deletes a container, or runs a plugin
	unidentified              // runs a container without an id in its arguments
	unreadable                // its files were not readable
)

// key returns the key of its container.
func (sh *shim) key() key { return key{user: sh.user, id: sh.id, shim: sh.identity} }

// findShims returns the trusted shims, ordered by PID. Any process can have the name
// containerd-shim, so a shim must run as root (or Config.Owner) in the PID namespace
// of this /proc, and its parent must not be a shim (between fork and exec a child of a
// shim looks like one).
func (s *Source) findShims() []*shim {
	var found []*shim
	live := make(map[identity]bool, len(s.shims))
	for _, p := range s.processes.all {
		if !calledShim(p.Comm) || p.zombie() || p.parent != nil && calledShim(p.parent.Comm) {
			continue
		}
		sh := s.shims[p.identity]
		if sh == nil || sh.process != p {
			if sh = s.readShim(p); sh.role == unreadable {
				continue
			}
			s.shims[p.identity] = sh
		}
		live[p.identity] = true
		if sh.role != notShim {
			found = append(found, sh)
		}
	}
	for id := range s.shims {
		if !live[id] {
			delete(s.shims, id)
		}
	}
	slices.SortFunc(found, func(a, b *shim) int { return cmp.Compare(a.pid, b.pid) })
	return found
}

// readShim determines the role of a process. A process that is not readable, or has
// no arguments, is read again by the next snapshot.
func (s *Source) readShim(p *process) *shim {
	sh := &shim{process: p}
	b, err := s.reader.read(s.processes.path(p.pid, "status"))
	status := procfile.ParseStatus(b)
	if err != nil || !status.HasUID {
		return s.later(sh)
	}
	if !s.believable(status) {
		return sh
	}
	sh.user = uint32(status.UID)
	runs, err := s.runsShim(p.pid)
	if err != nil {
		return s.later(sh)
	}
	if !runs {
		return sh
	}
	b, err = s.reader.read(s.processes.path(p.pid, "cmdline"))
	args := procfile.ParseArguments(b)
	if err != nil || len(args) == 0 {
		return s.later(sh)
	}
	sh.id, sh.namespace, sh.role = parseShimArgs(args)
	return sh
}

// later counts an unreadable shim, unless it has exited.
func (s *Source) later(sh *shim) *shim {
	sh.role = unreadable
	b, err := s.reader.read(s.processes.path(sh.pid, "stat"))
	if err == nil {
		if is, err := procfile.ParseStat(b, sh.Comm); err == nil && (is.Start != sh.start || (&process{Stat: is}).headless()) {
			return sh
		}
	}
	if !gone(err) {
		s.processes.once(&sh.oddStat, source.ReasonProcess)
	}
	return sh
}

// runsShim reports whether the executable has the name of a shim as well: comm is the
// name of the link that started it, and any user can link to a setuid program. Without
// root the executable is not readable (proc_pid_exe(5)).
func (s *Source) runsShim(pid int) (bool, error) {
	program, err := os.Readlink(s.processes.path(pid, "exe"))
	if errors.Is(err, fs.ErrPermission) {
		return true, nil
	}
	return strings.HasPrefix(filepath.Base(program), shimName) || strings.HasPrefix(filepath.Base(program), wrappedShim), err
}

// believable reports whether the real user of a process is root or Owner, and whether
// it is in the PID namespace of this /proc.
func (s *Source) believable(p procfile.Status) bool {
	return p.HasUID && (p.UID == 0 || p.UID == uint64(s.config.Owner)) && p.PIDSpace <= 1
}

// parseShimArgs parses the arguments of a shim. A v1 shim has no id but a directory
// named after it.
func parseShimArgs(args []string) (id, namespace string, r role) {
	var folder string
	for i := 1; i < len(args); i++ {
		name, val, inline := strings.Cut(strings.TrimPrefix(args[i], "-"), "=")
		if !strings.HasPrefix(args[i], "-") {
			if args[i] == "start" || args[i] == "delete" {
				return "", "", helper
			}
			continue
		}
		var to *string
		switch strings.TrimPrefix(name, "-") {
		case "id":
			to = &id
		case "namespace":
			to = &namespace
		case "workdir":
			to = &folder
		case "address", "bundle", "publish-binary", "socket", "containerd-binary", "runtime-root", "criu":
			to = new(string)
		default:
			continue
		}
		if !inline && i+1 < len(args) {
			i++
			val = args[i]
		}
		*to = val
	}
	if id == "" && folder != "" {
		id = path.Base(folder)
	}
	switch {
	case namespace == pluginsNamespace:
		return id, namespace, helper
	case id == "":
		return "", namespace, unidentified
	case !shared.ValidID(id):
		return id, namespace, notShim
	}
	return id, namespace, runsContainer
}

// descend finds the ancestor shim of each process that is not a shim itself.
func descend(all []*process, shims []*shim, sequence uint64) {
	for _, sh := range shims {
		sh.self = sh
		sh.marked = sequence
	}
	var climbed []*process
	for _, p := range all {
		climbed = climbed[:0]
		at := p
		var found *shim
		for at != nil {
			if at.marked == sequence {
				if found = at.under; found == nil && at != p {
					found = at.self
				}
				break
			}
			at.marked = sequence // ends a cycle of parents, which a racing read can show
			climbed = append(climbed, at)
			at = at.parent
		}
		for _, each := range climbed {
			each.under = found
		}
	}
}
