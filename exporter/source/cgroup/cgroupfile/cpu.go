package cgroupfile

import "github.com/estiba/estiba/exporter/source/scan"

// CPULimit is the CPU time that a cgroup may use per period, both in ns. Without a limit
// Quota is 0.
type CPULimit struct {
	Quota, Period uint64
	Limited       bool
}

// CPUMax parses cpu.max (cgroup-v2.rst): quota, or "max", and period in µs.
func CPUMax(b []byte) (l CPULimit, ok bool) {
	quota, rest := scan.Word(b)
	period, rest := scan.Word(rest)
	if more, _ := scan.Word(rest); len(more) > 0 {
		return CPULimit{}, false
	}
	return CFS(quota, period)
}

// CFS parses cpu.cfs_quota_us and cpu.cfs_period_us of cgroup v1
// (scheduler/sched-bwc.rst).
func CFS(quota, period []byte) (l CPULimit, ok bool) {
	q, limited, ok1 := Limit(quota)
	p, ok2 := Number(period)
	if !ok1 || !ok2 || p == 0 {
		return CPULimit{}, false
	}
	q, ok1 = scan.Times(q, 1000)
	p, ok2 = scan.Times(p, 1000)
	return CPULimit{q, p, limited}, ok1 && ok2
}

// Bandwidth has the CPU limit statistics of cpu.stat: periods in which the cgroup ran
// under a limit, those in which it was throttled, and the throttled time in ns.
type Bandwidth struct{ Periods, ThrottledPeriods, Throttled uint64 }

// CPUBandwidth parses cpu.stat. ok is false without the cpu controller.
func CPUBandwidth(b []byte) (w Bandwidth, ok bool) {
	var ok1, ok2, ok3 bool
	w.Periods, _, ok1 = Value(b, "nr_periods", 1)
	w.ThrottledPeriods, _, ok2 = Value(b, "nr_throttled", 1)
	w.Throttled, _, ok3 = Throttled(b)
	return w, ok1 && ok2 && ok3
}
