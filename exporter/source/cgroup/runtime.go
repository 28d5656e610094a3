package cgroup

// leaveRuntime removes processes of the runtime (runc create, exec, delete) from the
// members: they stay in the cgroups of the shim, while a process of the container is
// moved to another cgroup before its program starts. This does not work for a
// container without cgroups of its own, or for a process that was moved back. A
// process that was counted as the container's stays so: in a container without
// cgroups of its own it may be moved, or appear to be.
func (c *container) leaveRuntime() {
	if !c.own() {
		return
	}
	away := false
	for _, p := range c.members {
		p.entered = p.entered || p.at != "" && !c.byShim(p)
		away = away || p.entered
	}
	if !away {
		return
	}
	runtime := map[*process]bool{c.shim.process: true}
	for grown := true; grown; {
		grown = false
		for _, p := range c.members {
			if !runtime[p] && runtime[p.parent] && !p.entered && p.at != "" {
				if _, counted := c.ledger.of(p.identity); !counted {
					runtime[p], grown = true, true
				}
			}
		}
	}
	if len(runtime) == 1 {
		return
	}
	left := make([]*process, 0, len(c.members))
	for _, p := range c.members {
		if !runtime[p] {
			left = append(left, p)
		}
	}
	c.members = left
}

// byShim reports whether a process is in the cgroups of the shim. Those can be the
// container's own (Kata Containers).
func (c *container) byShim(p *process) bool {
	return p.at == c.shim.at && (p.home == nil || p.home.ID != c.key.id)
}
