package runtimes

import "time"

// OOM has the out-of-memory events of a container while its runtime was followed.
type OOM struct {
	Info   *Info
	Events uint64    // never decreases while the runtime has the container
	Last   time.Time // time of the last event

	exit time.Time // the last exit that was counted as an event
}

// countOOM counts one event, unless the container was already removed and has no
// name.
func (c *Cache) countOOM(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[id] == nil {
		return
	}
	o := c.ooms[id]
	o.Events++
	o.Last = time.Now()
	c.ooms[id] = o
}

// countOOMExit counts an exit as an event. The event of its start may come after its end was
// inspected, and then of both: the same exit counts once.
func (c *Cache) countOOMExit(id string, at time.Time) {
	c.mu.Lock()
	was := c.ooms[id].exit
	c.mu.Unlock()
	if !at.IsZero() && at.Equal(was) {
		return
	}
	c.countOOM(id)
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, ok := c.ooms[id]; ok {
		o.exit = at
		c.ooms[id] = o
	}
}

// addOOMs adds the running and exited containers with out-of-memory events since the
// start of the cache, by key.
func (c *Cache) addOOMs(all map[string]OOM) map[string]OOM {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.ooms) > 0 && all == nil {
		all = make(map[string]OOM, len(c.ooms))
	}
	for id, o := range c.ooms {
		if o.Info = c.byID[id]; o.Info != nil {
			all[o.Info.Key()] = o
		}
	}
	return all
}
