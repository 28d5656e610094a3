package cgroup

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/estiba/estiba/exporter/source"
)

// shimName is how the comm of every containerd shim begins; the kernel cuts
// comm at 15 bytes, which is just this.
const shimName = "containerd-shim"

// maxID is the longest container id that is believed.
const maxID = 128

// shim is a process that keeps one container.
type shim struct {
	identity
	comm      string
	id        string
	namespace string
}

// shims picks the shims that can be believed out of all processes: anybody can
// call himself containerd-shim, so it has to be real root (or Config.Owner) in
// the PID namespace this /proc belongs to, and its parent is no shim (between fork and exec a
// child of a shim looks like one).
func (s *Source) shims(all []process, byPID map[int]int) []shim {
	found := make([]shim, 0, len(s.shimsSeen))
	for i := range all {
		p := &all[i]
		if !strings.HasPrefix(p.comm, shimName) {
			continue
		}
		if j, ok := byPID[p.parent]; ok && strings.HasPrefix(all[j].comm, shimName) {
			continue
		}
		sh, ok := s.shimsSeen[p.identity]
		if !ok {
			if sh, ok = s.readShim(p); !ok {
				continue
			}
			s.shimsSeen[p.identity] = sh
		}
		found = append(found, sh)
	}
	if len(s.shimsSeen) != len(found) {
		clear(s.shimsSeen)
		for _, sh := range found {
			s.shimsSeen[sh.identity] = sh
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].pid < found[j].pid })
	return found
}

func (s *Source) readShim(p *process) (shim, bool) {
	status, err := s.reader.read(s.config.procPath(p.pid, "status"))
	if err != nil || !s.believable(status) {
		return shim{}, false
	}
	if !s.runsShim(p.pid) {
		return shim{}, false
	}
	argv, err := s.reader.read(s.config.procPath(p.pid, "cmdline"))
	if err != nil {
		return shim{}, false
	}
	id, namespace, ok := parseShimArgs(argv)
	return shim{identity: p.identity, comm: p.comm, id: id, namespace: namespace}, ok
}

// runsShim tells whether the program file is called like a shim, too: comm is
// the name of the link that started it, and a link to a program that becomes
// root is anybody's to make. Without root one may not look (proc_pid_exe(5)).
func (s *Source) runsShim(pid int) bool {
	program, err := os.Readlink(s.config.procPath(pid, "exe"))
	if errors.Is(err, fs.ErrPermission) {
		return true
	}
	return err == nil && strings.HasPrefix(filepath.Base(program), shimName)
}

// believable tells whether /proc/PID/status is that of a process whose real
// user is root, or Owner, and that lives in no PID namespace below this /proc's
// (proc_pid_status(5)).
func (s *Source) believable(status []byte) bool {
	owned, outer := false, true
	for _, line := range bytes.Split(status, []byte("\n")) {
		key, rest, _ := bytes.Cut(line, []byte(":"))
		switch string(key) {
		case "Uid":
			f := bytes.Fields(rest)
			if len(f) == 4 {
				uid, ok := number(f[0])
				owned = ok && (uid == 0 || uid == uint64(s.config.Owner))
			}
		case "NSpid":
			outer = len(bytes.Fields(rest)) == 1
		}
	}
	return owned && outer
}

// parseShimArgs reads the argv of a shim, separated by NUL. A shim that was
// called to start or delete another is not running a container.
func parseShimArgs(argv []byte) (id, namespace string, ok bool) {
	args := strings.Split(strings.TrimRight(string(argv), "\x00"), "\x00")
	for i := 1; i < len(args); i++ {
		name, val, inline := strings.Cut(strings.TrimPrefix(args[i], "-"), "=")
		if !strings.HasPrefix(args[i], "-") {
			if args[i] == "start" || args[i] == "delete" {
				return "", "", false
			}
			continue
		}
		var to *string
		switch strings.TrimPrefix(name, "-") {
		case "id":
			to = &id
		case "namespace":
			to = &namespace
		case "address", "bundle", "publish-binary", "socket":
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
	return id, namespace, validID(id)
}

func validID(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for i := 0; i < len(id); i++ {
		switch b := id[i]; {
		case b >= '0' && b <= '9', b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b == '_', b == '.', b == '-':
		default:
			return false
		}
	}
	return true
}

// owners says for each process in all which shim (index into shims) it is a
// live descendant of; -1: none. A shim itself belongs to no container.
func owners(all []process, byPID map[int]int, shims []shim) []int {
	const unknown = -2
	owner := make([]int, len(all))
	for i := range owner {
		owner[i] = unknown
	}
	isShim := make(map[int]int, len(shims))
	for i, sh := range shims {
		if j, ok := byPID[sh.pid]; ok {
			isShim[j] = i
			owner[j] = -1
		}
	}
	var path []int
	for i := range all {
		path = path[:0]
		at, result := i, -1
		for {
			if k, ok := isShim[at]; ok && at != i {
				result = k
				break
			}
			if owner[at] != unknown {
				result = owner[at]
				break
			}
			path = append(path, at)
			owner[at] = -1 // a ring of parents, which a racing read can show, ends here
			next, ok := byPID[all[at].parent]
			if !ok {
				break
			}
			at = next
		}
		for _, j := range path {
			owner[j] = result
		}
	}
	return owner
}

// membersOf turns the owners of processes round: of each shim, its processes.
func membersOf(owner []int, shims int) [][]int {
	count := make([]int, shims)
	total := 0
	for _, o := range owner {
		if o >= 0 {
			count[o]++
			total++
		}
	}
	members, room := make([][]int, shims), make([]int, total)
	for i, n := range count {
		members[i], room = room[:0:n], room[n:]
	}
	for i, o := range owner {
		if o >= 0 {
			members[o] = append(members[o], i)
		}
	}
	return members
}

// describe puts what the shim says into a container.
func (sh *shim) describe(c *source.Container) {
	c.ID, c.Namespace, c.ProcessName = sh.id, sh.namespace, sh.comm
	c.Set(source.PID, uint64(sh.pid))
}
