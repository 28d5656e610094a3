package cgroup

import (
	"bytes"
	"os"
	"time"

	"github.com/estiba/estiba/exporter/source"
)

// network sums the interfaces of the network namespace that the container's
// first process lives in, loopback left out. A container in the namespace of
// its shim, which is the Engine's, or of the host's first process has no
// counters of its own. net/dev never stays open: it goes on answering after the
// container's end and holds its namespace. A namespace without interfaces is not
// asked at each snapshot whether it has got one.
func (s *Source) network(st *state, first *process, shim int, c *source.Container, now time.Duration) {
	if st.netOf != first.identity {
		network, ok := s.networkOf(first.pid, shim)
		if !ok {
			return
		}
		st.network, st.rest.lonely = network, false
		// A runtime moves a process to its namespace before it starts the
		// program, and programs do not leave it: asked no more after that.
		if now-time.Duration(st.started) > creation {
			st.netOf = first.identity
		}
	}
	if st.network == hostNetwork {
		c.Network = hostNetwork
		return
	}
	var n [4]uint64
	if !st.rest.lonely || st.rest.full {
		b, err := s.reader.read(s.config.procPath(first.pid, "net/dev"))
		if err != nil {
			return
		}
		var interfaces int
		var ok bool
		if n, interfaces, ok = parseNetDev(b); !ok {
			return
		}
		st.rest.lonely = interfaces == 0
	}
	c.Network = st.network
	c.Set(source.NetRxBytes, n[0])
	c.Set(source.NetRxPackets, n[1])
	c.Set(source.NetTxBytes, n[2])
	c.Set(source.NetTxPackets, n[3])
}

// Whose network a container has.
const (
	ownNetwork  = "own"
	hostNetwork = "host"
)

// networkOf tells whose network namespace pid lives in.
func (s *Source) networkOf(pid, shim int) (string, bool) {
	own, err := os.Readlink(s.config.procPath(pid, "ns/net"))
	if err != nil {
		s.lacking(LackNetwork, err)
		return "", false
	}
	engine, err := os.Readlink(s.config.procPath(shim, "ns/net"))
	if err != nil {
		s.lacking(LackNetwork, err)
		return "", false
	}
	if own == engine || own == s.hostNetwork {
		return hostNetwork, true
	}
	return ownNetwork, true
}

// parseNetDev sums /proc/PID/net/dev: received bytes and packets, sent bytes
// and packets (proc_pid_net(5)), over all interfaces but loopback.
func parseNetDev(b []byte) (sum [4]uint64, interfaces int, ok bool) {
	for i, line := range bytes.Split(b, []byte("\n")) {
		name, rest, found := bytes.Cut(line, []byte(":"))
		if i < 2 || !found || string(bytes.TrimSpace(name)) == "lo" {
			continue
		}
		interfaces++
		f := bytes.Fields(rest)
		if len(f) < 16 {
			return sum, interfaces, false
		}
		for j, column := range [4]int{0, 1, 8, 9} {
			v, ok := number(f[column])
			if !ok {
				return sum, interfaces, false
			}
			sum[j] += v
		}
	}
	return sum, interfaces, true
}
