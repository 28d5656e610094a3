package cgroup

import (
	"context"
	"fmt"
	"testing"

	"github.com/estiba/estiba/internal/testutil/hosttree"
)

// BenchmarkSnapshot compares files that stay open with files that are opened
// each time, over a tree of plain files.
func BenchmarkSnapshot(b *testing.B) {
	for _, n := range []int{200, 1000} {
		tr, remove, err := hosttree.Many(n)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(remove)
		for name, max := range map[string]int{"kept": maxKept, "reopened": 0} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				s := onTree(b, tr)
				s.reader.max = max
				snapshot(b, s)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := s.Snapshot(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkProcesses does the same with the real kernel's /proc/PID/stat of
// this machine.
func BenchmarkProcesses(b *testing.B) {
	for name, max := range map[string]int{"kept": maxKept, "reopened": 0} {
		b.Run(name, func(b *testing.B) {
			s, err := New(Config{ProcFS: "/proc", SysFS: "/sys", CgroupFS: "/sys/fs/cgroup"})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Release()
			s.reader.max = max
			n := 0
			for b.Loop() {
				if err := s.processes.renew(); err != nil {
					b.Fatal(err)
				}
				n += len(s.processes.all)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/process")
		})
	}
}
