package container

import "strings"

// InMachine reports, by the name of a runtime or of its shim, whether it runs containers
// in virtual machines. Then the descendants of its shim are helpers, such as a file
// server, and not the container's processes.
func InMachine(runtime string) bool { return names(runtime, "kata", "firecracker") }

// Sandboxed reports whether a runtime runs containers on a user-space kernel that is a
// process of the host, as gVisor does. With a shim of runc's kind that process is visible
// and uses what the container uses; gVisor's own shim does not reveal its container.
func Sandboxed(runtime string) bool { return names(runtime, "runsc", "gvisor") }

func names(runtime string, words ...string) bool {
	runtime = strings.ToLower(runtime)
	for _, word := range words {
		if strings.Contains(runtime, word) {
			return true
		}
	}
	return false
}
