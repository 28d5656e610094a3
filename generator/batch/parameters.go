package batch

import (
	"math"
	"math/rand/v2"

	"github.com/estiba/estiba/generator/load"
	"github.com/estiba/estiba/internal/container"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// parameters chooses the work. High loads differ from each other, so that they can be
// ranked; low ones work a little every ten seconds. README.md has the table.
//
// High cpu is a tenth to a fifth of a core: of 60 containers seven or eight are high
// cpu, about one core in total. The passes of high ram use a quarter of a percent of a
// fast core, more of a slow one, so it is high even on a host where 64 MiB are less than
// 0.16 % of the memory.
func parameters(r *rand.Rand, kind container.Kind, level Level) load.Params {
	p := load.Params{Kind: kind}
	high := level == High
	switch kind {
	case container.KindCPU:
		p.Share = 0.0002
		if high {
			p.Share = float64(between(r, 10, 20)) / 100
		}
	case container.KindRAM:
		p.Bytes, p.Rate = between(r, 4, 8)*64*kib, 0.1
		if high {
			p.Bytes, p.Rate = between(r, 8, 16)*8*mib, 8
		}
	case container.KindIO:
		p.Bytes, p.Block, p.Rate = 64*kib, 512, 0.1
		if high {
			p.Rate = float64(between(r, 6, 12) * 10)
		}
	case container.KindDisk:
		p.Bytes, p.Block, p.Rate = 4*mib, 256*kib, 0.1
		if high {
			p.Bytes, p.Block, p.Rate = 32*mib, mib, float64(between(r, 2, 6))
		}
	}
	return p
}

// Limits are the resource limits of a container.
type Limits struct {
	CPUs        float64 // 0.25 = a quarter of a core
	MemoryBytes int64
	PIDs        int64
}

const (
	// minCPUs leaves room to start: with less, starting takes seconds.
	minCPUs = 0.2
	// programBytes is for the program without its data: its pages, its file in the
	// page cache, kernel memory.
	programBytes = 32 * mib
	// maxPIDs also bounds threads; the loads have about six.
	maxPIDs = 32
)

// limits are just large enough not to throttle the load.
func limits(p load.Params) Limits {
	l := Limits{
		CPUs:        math.Max(minCPUs, math.Round(p.Share*150)/100),
		MemoryBytes: programBytes,
		PIDs:        maxPIDs,
	}
	if p.Kind == container.KindRAM {
		l.MemoryBytes += p.Bytes
	}
	return l
}

// between draws from lo to hi, inclusive.
func between(r *rand.Rand, lo, hi int64) int64 { return lo + r.Int64N(hi-lo+1) }
