package gather

import (
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/estiba/estiba/internal/container"
	"github.com/estiba/estiba/internal/dockerclient"
)

// Self identifies the manager's own container.
type Self struct {
	// IDs can each be the id of the manager's own container, 64 hex digits, the likeliest
	// first. More than one: a container in a container or in a pod.
	IDs      []string
	Hostname string // default of Docker and Podman: the short id
}

// fullIDs finds ids in paths.
var fullIDs = regexp.MustCompile(`[0-9a-f]{64,}`)

// mountedFiles are the files that runtimes mount into a container from a folder named
// like its id.
var mountedFiles = []string{"/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv"}

// FindSelf finds the ids of the manager's own container in the path of its cgroup
// (cgroup v1, or v2 without a cgroup namespace) and in the source of the bind mounts that
// Docker and Podman make (proc(5): /proc/[pid]/cgroup, /proc/[pid]/mountinfo).
func FindSelf(procfs string) Self {
	s := Self{}
	s.Hostname, _ = os.Hostname()
	cgroups, _ := os.ReadFile(procfs + "/self/cgroup")
	for _, line := range strings.Split(string(cgroups), "\n") {
		fields := strings.SplitN(line, ":", 3)
		if len(fields) < 3 {
			continue
		}
		if c, found := container.FindCgroup(fields[2]); found && !c.Helper {
			s.add(c.ID)
		}
		s.addFrom(fields[2])
	}
	mounts, _ := os.ReadFile(procfs + "/self/mountinfo")
	for _, line := range strings.Split(string(mounts), "\n") {
		if fields := strings.Fields(line); len(fields) > 4 && slices.Contains(mountedFiles, fields[4]) {
			s.addFrom(fields[3])
		}
	}
	return s
}

func (s *Self) addFrom(path string) {
	for _, id := range fullIDs.FindAllString(path, -1) {
		s.add(id)
	}
}

func (s *Self) add(id string) {
	if container.IsFullID(id) && !slices.Contains(s.IDs, id) {
		s.IDs = append(s.IDs, id)
	}
}

// is reports whether c is, or can be, the manager's own container.
func (s Self) is(c dockerclient.Container) bool {
	if len(s.IDs) > 0 {
		return slices.Contains(s.IDs, c.ID)
	}
	return len(s.Hostname) == container.ShortIDLength && strings.HasPrefix(c.ID, s.Hostname)
}
