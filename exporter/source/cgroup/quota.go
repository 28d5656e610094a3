package cgroup

import (
	"bytes"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/cgroupfile"
)

// fillCPULimit fills in the CPU limit. Several cgroups have periods of their own and
// thus no common limit.
func (s *Source) fillCPULimit(c *container, out *source.Container) {
	var l cgroupfile.CPULimit
	var ok bool
	switch {
	case len(c.files[cpuMax]) == 1:
		s.each(c, cpuMax, func(b []byte) bool {
			l, ok = cgroupfile.CPUMax(b)
			return ok
		})
	case len(c.files[cpuQuotaV1]) == 1:
		var quota []byte
		s.each(c, cpuQuotaV1, func(b []byte) bool {
			quota = bytes.Clone(b) // the next read reuses the buffer
			return true
		})
		s.each(c, cpuPeriodV1, func(b []byte) bool {
			l, ok = cgroupfile.CFS(quota, b)
			return ok
		})
	}
	if ok {
		setCPULimit(out, l)
	}
}

func setCPULimit(out *source.Container, l cgroupfile.CPULimit) {
	out.Set(source.CPUPeriod, l.Period)
	if l.Limited {
		out.Set(source.CPUQuota, l.Quota)
	}
}
