package runtimes

import "time"

// OOM has the out-of-memory events of a container while its runtime was followed.
type OOM struct {
	Info   *Info
	Events uint64    // never decreases while the runtime has the container
	Last   time.Time // time of the last event

	exit time.Time // the last exit that was counted as an event
}

// countOOM counts one event, unless the container was already removed and has no name. exit
// is the time of the exit that is the event, zero if it is another: the event of a start may
// come after the end was inspected, and then of both, so the same exit counts once.
func (c *Cache) countOOM(id string, exit time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.ooms[id]
	if c.byID[id] == nil || !exit.IsZero() && exit.Equal(o.exit) {
		return
	}
	o.Events++
	o.Last, o.exit = time.Now(), exit
	c.ooms[id] = o
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
