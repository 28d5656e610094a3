package cgroup

import (
	"cmp"
	"slices"
	"time"

	"github.com/estiba/estiba/exporter/source"
	shared "github.com/estiba/estiba/internal/container"
)

// key identifies a container.
type key struct {
	user    uint32 // owner of a rootless container; 0: root
	id      string
	runtime string   // of an id that is a name: it is unique for one runtime only
	shim    identity // the shim with this id; zero: none
}

// row is a container of one snapshot.
type row struct {
	key
	shim    *shim // nil: none
	members []*process
}

// identify reads the cgroups of processes: of those of containers each time, of others
// if they are new, and when due.
func (s *Source) identify(clock clock) {
	if first := s.processes.byPID[1]; first != nil {
		s.visit(first, clock)
		s.hierarchies.within(first.membership)
	}
	for _, p := range s.processes.all {
		if p.pid != 1 {
			s.visit(p, clock)
		}
		s.understand(p)
	}
	for _, p := range s.processes.between {
		p.changed = s.processes.enter(p)
		s.understand(p)
		s.reader.close(&p.cgroup)
	}
	if s.hierarchies.knowSelf(s.processes, clock.now) {
		for _, p := range s.processes.all {
			s.understand(p)
		}
	}
}

// visit reads the cgroups of a process, if due.
func (s *Source) visit(p *process, clock clock) {
	p.changed = false
	member := p.under != nil || p.was != nil
	if !member && !p.due(clock) && !s.processes.knows(p) {
		return
	}
	switch p.changed = s.processes.enter(p); {
	case p.changed:
		s.skipLines(badLines(p.at))
	case member && p.at == "" && !p.zombie():
		// Its cgroup was never read; that it has exited is no error.
		if _, err := s.processes.readLive(p, &p.cgroup, "cgroup"); err != nil && !gone(err) {
			s.skipLines(1)
		}
	}
	if !member {
		s.reader.close(&p.cgroup)
	}
	p.parentThen, p.commThen = p.Parent, p.Comm
	first := p.found == 0
	if p.next = clock.now + recheck; first { // not all at one time
		p.found, p.next = clock.now, clock.now+time.Duration(1+p.pid%int(recheck/time.Second))*time.Second
	}
}

// due reports whether a process that was in no container may have moved into one: its
// runtime does that when it starts it, and systemd when a service is reloaded.
func (p *process) due(clock clock) bool {
	age := clock.age(p)
	if !clock.known {
		age = clock.now - p.found
	}
	return p.next <= clock.now || age < creation || p.Parent != p.parentThen || p.Comm != p.commThen
}

// understand finds the home of a process, if its cgroups or what is known of the
// hierarchies changed.
func (s *Source) understand(p *process) {
	h := s.hierarchies
	if !p.changed && p.basis == h.basis {
		return
	}
	p.basis = h.basis
	if p.zombie() { // the kernel no longer knows
		if p.home == nil && p.parent != nil {
			p.home = p.parent.home
		}
		return
	}
	p.changed = true
	if up := p.parent; up != nil && up.at == p.at && up.basis == h.basis { // the usual case
		p.membership, p.home = up.membership, up.home
		return
	}
	h.relocate(p)
	p.home = h.home(p.membership)
}

// belongs returns the container of a process, and the shim that runs it, if any.
//
// The name of its cgroup decides. Below a shim it can also be that of another container of
// the shim's pod; the id of another shim does not count there, since a process can be
// moved, but stays its shim's. Without a name it is the container of its shim.
func (s *Source) belongs(p *process, shims map[string][]*shim) (key, *shim, bool) {
	sh, m := p.under, p.home
	switch {
	case sh != nil && sh.role == helper, m != nil && m.Helper, m != nil && m.ByShim && sh == nil, m == nil && sh == nil:
		return key{}, nil, false
	case sh == nil:
		for _, sh := range shims[m.ID] {
			if sh.user == m.User && shared.IsFullID(m.ID) {
				return sh.key(), sh, true
			}
		}
		k := key{user: m.User, id: m.ID}
		if !shared.IsFullID(m.ID) {
			k.runtime = m.Runtime
		}
		return k, nil, true
	case m == nil || m.ID == sh.id || shims[m.ID] != nil || carried(m.at, sh.id) != "":
		return sh.key(), sh, sh.id != ""
	}
	return key{user: sh.user, id: m.ID}, sh, true
}

// assign finds the running containers and their processes, and keeps the CPU time of
// exited ones.
func (s *Source) assign(clock clock) []*container {
	shims := s.findShims()
	descend(s.processes.all, shims, s.processes.sequence)
	s.identify(clock)
	live, ids := map[identity]bool{}, map[string][]*shim{}
	for _, sh := range shims {
		if live[sh.identity] = true; sh.role == runsContainer {
			ids[sh.id] = append(ids[sh.id], sh)
		}
	}
	rows := map[key]*row{}
	var all []*row
	nameless, runs := map[*shim]bool{}, map[*shim]bool{}
	for _, p := range s.processes.all {
		if p.self != nil {
			continue
		}
		k, sh, ok := s.belongs(p, ids)
		if !ok {
			if p.under != nil && p.under.role == unidentified && clock.age(p) >= creation {
				nameless[p.under] = true
			}
			continue
		}
		r := rows[k]
		if r == nil {
			r = &row{key: k}
			rows[k] = r
			all = append(all, r)
		}
		r.members = append(r.members, p)
		if sh != nil && (r.shim == nil || sh.pid < r.shim.pid) {
			r.shim = sh
		}
		runs[sh] = true
	}
	for sh := range nameless {
		if !runs[sh] {
			s.faults.skip(source.ReasonRuntime, 1)
			s.faults.missing(MissingRuntime)
		}
	}
	there := make([]*container, 0, len(all))
	for _, r := range all {
		if r.key.shim == (identity{}) && !slices.ContainsFunc(r.members, func(p *process) bool { return !p.zombie() }) {
			delete(rows, r.key) // it has exited
			continue
		}
		there = append(there, s.follow(r, rows, clock))
	}
	for k, c := range s.containers {
		if rows[k] == nil && !live[k.shim] {
			s.end(c)
		}
	}
	slices.SortFunc(there, func(a, b *container) int {
		return cmp.Or(cmp.Compare(a.key.user, b.key.user), cmp.Compare(a.order, b.order), oldest(a.members[0], b.members[0]), cmp.Compare(a.key.id, b.key.id))
	})
	return there
}

// follow returns the container of a row, with its state of the last snapshot: it has the
// same shim, or one of its processes. Another life begins anew.
func (s *Source) follow(r *row, rows map[key]*row, clock clock) *container {
	c := s.containers[r.key]
	if c != nil && !c.own() && !slices.ContainsFunc(r.members, func(p *process) bool { return p.was == c }) {
		s.end(c)
		c = nil
	}
	if c == nil { // its shim has exited, or was not readable
		for _, p := range r.members {
			if was := p.was; was != nil && was.key.user == r.user && was.key.id == r.id && was.key.runtime == r.runtime && rows[was.key] == nil {
				c = was
				delete(s.containers, c.key)
				break
			}
		}
	}
	if c == nil {
		c = &container{since: clock.now}
	}
	c.key, c.shim, c.members = r.key, r.shim, r.members
	s.containers[c.key] = c
	c.order = slices.MinFunc(c.members, oldest).pid
	if c.shim != nil {
		c.order = c.shim.pid
	}
	for _, p := range c.members {
		p.row = c
	}
	return c
}

// end forgets a container.
func (s *Source) end(c *container) {
	s.unattributed.ended += c.cpu.value
	c.closeFiles(&s.reader)
	delete(s.containers, c.key)
}
