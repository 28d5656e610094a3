package cgroup

import (
	"bytes"
	"os"

	"github.com/estiba/estiba/exporter/source"
)

// network sums the interfaces of the network namespace that process pid lives
// in, loopback left out. A container in the namespace of its shim, which is
// the Engine's, or of the host's first process has no counters of its own.
func (s *Source) network(pid, shim int, c *source.Container) {
	own, err := os.Readlink(s.procPath(pid, "ns/net"))
	if err != nil {
		s.lacking(LackNetwork, err)
		return
	}
	engine, err := os.Readlink(s.procPath(shim, "ns/net"))
	if err != nil {
		s.lacking(LackNetwork, err)
		return
	}
	if own == engine || own == s.hostNetwork {
		c.Network = "host"
		return
	}
	b, err := s.reader.read(s.procPath(pid, "net/dev"))
	if err != nil {
		return
	}
	n, ok := parseNetDev(b)
	if !ok {
		return
	}
	c.Network = "own"
	c.Set(source.NetRxBytes, n[0])
	c.Set(source.NetRxPackets, n[1])
	c.Set(source.NetTxBytes, n[2])
	c.Set(source.NetTxPackets, n[3])
}

// parseNetDev sums /proc/PID/net/dev: received bytes and packets, sent bytes
// and packets (proc_pid_net(5)).
func parseNetDev(b []byte) (sum [4]uint64, ok bool) {
	for i, line := range bytes.Split(b, []byte("\n")) {
		name, rest, found := bytes.Cut(line, []byte(":"))
		if i < 2 || !found || string(bytes.TrimSpace(name)) == "lo" {
			continue
		}
		f := bytes.Fields(rest)
		if len(f) < 16 {
			return sum, false
		}
		for j, column := range [4]int{0, 1, 8, 9} {
			v, ok := number(f[column])
			if !ok {
				return sum, false
			}
			sum[j] += v
		}
	}
	return sum, true
}
