package cgroup

import (
	"fmt"
	"strings"
	"testing"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// TestInterfaces: if enabled, the owner of the network namespace has the counters of each
// interface, from a single read.
func TestInterfaces(t *testing.T) {
	for _, shared := range []bool{false, true} {
		h := &host{t: t, a: hosttree.Numbered(0), b: hosttree.Numbered(1)}
		h.Tree = newTree(t, "v2-systemd", h.a, h.b)
		want, reads := 2, 2
		if shared {
			h.link(h.b.Processes[0], "ns/net", "net:[4026541000]")
			want, reads = 1, 1
		}
		h.process(h.a.Processes[0], "net/dev", "  eth1:", "  eth0:")
		s := onTree(t, h.Tree, func(c *Config) { c.Interfaces = true })
		opened := 0
		s.reader.opening = func(path string) {
			if strings.HasSuffix(path, "/net/dev") {
				opened++
			}
		}
		snap := snapshot(t, s)
		if len(snap.Interfaces) != want || opened != reads {
			t.Errorf("shared %t: interfaces of %d containers, net/dev read %d times, want %d and %d", shared, len(snap.Interfaces), opened, want, reads)
		}
		eth0 := source.Interface{Name: "eth0", Counts: [8]uint64{500000, 5000, 0, 0, 300000, 3000, 0, 0}}
		if got := snap.Interfaces[h.a.ID]; len(got) != 1 || got[0] != eth0 {
			t.Errorf("shared %t: %+v, want eth0 once", shared, got)
		}
		compareValues(t, "first", snap, h.a.ID, values{source.CPU: 7654321000, source.NetRxBytes: 500000})
	}
	tree := newTree(t, "v2-systemd", hosttree.Numbered(0))
	if snap := snapshot(t, onTree(t, tree)); snap.Interfaces != nil {
		t.Errorf("interfaces without the option: %v", snap.Interfaces)
	}
}

// TestOddMemory: a total of 0 is unknown, and so are percentages.
func TestOddMemory(t *testing.T) {
	for _, tt := range []struct {
		line          string
		total, share  int64
		skipped       uint64
		processMemory int64
	}{
		{"MemTotal:16000000kB", 16000000, 1, 0, 2048},
		{"MemTotal: 0 kB", -1, -1, 1, 2048},
		{"MemTotal: x kB\nMemTotal: 16000000 kB", 16000000, 1, 0, 2048},
	} {
		h := &host{t: t, a: hosttree.Numbered(0)}
		h.Tree = newTree(t, "v2-systemd", h.a)
		h.replace("proc/meminfo", "MemTotal:       16000000 kB", tt.line)
		snap := snapshot(t, onTree(t, h.Tree))
		for _, f := range []source.HostField{source.MemoryTotal, source.MemoryUsed} {
			v, ok := snap.Host.Get(f)
			if f == source.MemoryUsed && ok {
				v += 4000000
			}
			if ok != (tt.total >= 0) || ok && v != uint64(tt.total) {
				t.Errorf("%q: field %d is %d, %t", tt.line, f, v, ok)
			}
		}
		compareValues(t, fmt.Sprintf("%q:", tt.line), snap, h.a.ID, usual().but(values{source.MemoryPercent: tt.share, source.RSS: tt.processMemory}))
		if n := snap.Skipped[source.ReasonLine]; n != tt.skipped {
			t.Errorf("%q: %d skipped, want %d", tt.line, n, tt.skipped)
		}
	}
}
