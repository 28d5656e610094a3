package cgroup

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/procfile"
	"github.com/estiba/estiba/exporter/source/interfaces"
)

// Kinds of networks.
const (
	ownNetwork    = "own"
	hostNetwork   = "host"
	sharedNetwork = "shared" // of another container, which has the counters
)

// networks finds the owner of each network namespace: the oldest container in it that
// is readable. The host's namespace has none: a container in the namespace of its
// shim, which is the Engine's, or of process 1 has no counters of its own. A runtime
// sets the namespace before it starts the program, and programs rarely leave it, so
// recheck is often enough.
func (s *Source) networks(there []*container, clock clock) map[string]network {
	members := map[string][]*container{}
	host := s.processes.hostNetwork()
	for _, c := range there {
		if c.inside = c.first; c.inside == nil {
			c.network = ""
			continue
		}
		if c.network == "" || c.networkOf != c.inside.identity || clock.now-c.networkAt >= recheck || clock.age(c.inside) < creation {
			c.networkOf, c.networkAt = c.inside.identity, clock.now
			c.network = s.networkOf(c, host)
		}
		at := c.network
		if at == "" || at == hostNetwork {
			continue
		}
		members[at] = append(members[at], c)
	}
	networks := make(map[string]network, len(members))
	for at, all := range members {
		slices.SortFunc(all, func(a, b *container) int {
			return cmp.Or(cmp.Compare(a.started, b.started), oldest(a.inside, b.inside))
		})
		n := network{owner: all[0]}
		for i := 0; i < len(all) && len(all) > 1; i++ {
			if is := s.interfaces(all[i]); is.err == nil || i == 0 {
				n.owner, n.traffic = all[i], is
			}
			if n.traffic.err == nil {
				s.faults.skip(source.ReasonLine, i) // the older ones are not readable
				break
			}
		}
		networks[at] = n
	}
	return networks
}

// network is a network namespace and the container that has its counters.
type network struct {
	owner   *container
	traffic traffic
}

// traffic is the content of a net/dev.
type traffic struct {
	read       bool
	interfaces []procfile.Interface
	bad        int // lines that were not parsable
	err        error
}

// networkOf returns the network namespace of a container, "" if unknown.
func (s *Source) networkOf(c *container, host string) string {
	at, err := s.namespaceOf(c.inside)
	if err == nil && c.shim != nil && c.shim.network == "" {
		c.shim.network, err = s.namespaceOf(c.shim.process)
	}
	switch {
	case err != nil:
		s.faults.refused(MissingNetwork, err)
		return ""
	case at == host || c.shim != nil && at == c.shim.network:
		return hostNetwork
	}
	return at
}

// hostNetwork returns the network namespace of process 1, or if that is not readable of the
// kernel's threads; "" if unknown.
func (t *processes) hostNetwork() string {
	for _, pid := range [...]int{1, kthreadd} {
		if p := t.byPID[pid]; p != nil && p.kernel != nil && p.kernel.network != "" {
			return p.kernel.network
		}
	}
	host, err := os.Readlink(t.path(1, "ns/net"))
	if err != nil {
		return ""
	}
	return host
}

// kthreadd is the PID of the parent of the kernel's threads.
const kthreadd = 2

// namespaceOf returns the network namespace of a process.
func (s *Source) namespaceOf(p *process) (string, error) {
	if p.kernel != nil && p.kernel.network != "" {
		return p.kernel.network, nil
	}
	at, err := os.Readlink(s.processes.path(p.pid, "ns/net"))
	if folder := s.processes.liveTask(p); err != nil && folder != "" {
		return os.Readlink(s.processes.path(p.pid, filepath.Join(folder, "ns/net")))
	}
	return at, err
}

// fillNetwork sums the interfaces of the init process's network namespace, without
// loopback. net/dev must not stay open: it would hold the namespace after the container
// exits.
func (s *Source) fillNetwork(c *container, networks map[string]network, out *source.Container) {
	c.interfaces = nil
	n := networks[c.network] // zero without an owner
	switch {
	case c.network == "":
		return
	case c.network == hostNetwork:
		out.Network = hostNetwork
		return
	case n.owner != c:
		out.Network = sharedNetwork
		return
	}
	is := n.traffic
	if !is.read {
		is = s.interfaces(c)
	}
	s.faults.skip(source.ReasonLine, is.bad)
	if is.err != nil {
		if !gone(is.err) && !s.faults.refused(MissingNetwork, is.err) {
			s.faults.skip(source.ReasonLine, 1)
		}
		return
	}
	if s.config.Interfaces {
		c.interfaces = interfaces.Select(is.interfaces)
	}
	known := &c.counters[source.NetRxBytes].interfaces
	known.begin(c.network)
	for _, of := range is.interfaces {
		n := &of.Counts
		known.says(of.Name, [4]uint64{n[procfile.RxBytes], n[procfile.RxPackets], n[procfile.TxBytes], n[procfile.TxPackets]}, is.bad > 0)
	}
	if is.bad == 0 { // otherwise it may be in a bad line
		known.renamed()
	}
	total := known.end(is.bad > 0)
	for _, p := range known.parts {
		if p.there() {
			total = add(total, p.values)
		}
	}
	out.Network = ownNetwork
	c.count(out, source.NetRxBytes, c.network, total[0])
	c.count(out, source.NetRxPackets, c.network, total[1])
	c.count(out, source.NetTxBytes, c.network, total[2])
	c.count(out, source.NetTxPackets, c.network, total[3])
}

// interfaces reads the interfaces of the init process's network namespace.
func (s *Source) interfaces(c *container) (t traffic) {
	t.read = true
	b, err := s.reader.read(s.processes.livePath(c.inside, "net/dev"))
	if err != nil {
		t.err = err
		return t
	}
	t.interfaces, t.bad, t.err = procfile.ParseInterfaces(b)
	return t
}
