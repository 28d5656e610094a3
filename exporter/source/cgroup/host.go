package cgroup

import (
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/exporter/source"
)

// host reads memory and CPU times of the host (proc_meminfo(5), proc_stat(5)).
func (s *Source) host(h *source.Host) (boot uint64, err error) {
	mem, err := s.fs.Meminfo()
	if err != nil {
		return 0, fmt.Errorf("reading the host's memory: %w", err)
	}
	if mem.MemTotal == nil || mem.MemFree == nil {
		return 0, fmt.Errorf("%s/meminfo: %w: no MemTotal or MemFree", s.config.ProcFS, source.ErrMalformed)
	}
	h.Set(source.MemoryTotal, *mem.MemTotal)
	h.Set(source.MemoryFree, *mem.MemFree)
	h.Set(source.MemoryUsed, *mem.MemTotal-min(*mem.MemFree, *mem.MemTotal))
	if mem.MemAvailable != nil {
		h.Set(source.MemoryAvailable, *mem.MemAvailable)
	}
	if mem.SwapFree != nil {
		h.Set(source.SwapFree, *mem.SwapFree)
	}
	s.swapTotal, s.swapless = 0, false
	if mem.SwapTotal != nil {
		s.swapTotal, s.swapless = *mem.SwapTotal, *mem.SwapTotal == 0
	}

	stat, err := s.fs.Stat()
	if err != nil {
		return 0, fmt.Errorf("reading the host's CPU times: %w", err)
	}
	t := stat.CPUTotal
	for f, seconds := range map[source.HostField]float64{
		source.HostCPUUser: t.User, source.HostCPUNice: t.Nice, source.HostCPUSystem: t.System, source.HostCPUIdle: t.Idle,
		source.HostCPUIOWait: t.Iowait, source.HostCPUIRQ: t.IRQ, source.HostCPUSoftIRQ: t.SoftIRQ, source.HostCPUSteal: t.Steal,
		source.HostCPUGuest: t.Guest, source.HostCPUGuestNice: t.GuestNice,
	} {
		h.Set(f, ticks(seconds))
	}
	h.Set(source.HostCPUBusy, ticks(t.User)+ticks(t.Nice)+ticks(t.System)+ticks(t.IRQ)+ticks(t.SoftIRQ))
	h.Set(source.CPUs, uint64(len(stat.CPU)))
	return stat.BootTime * 1e9, nil
}

// ticks turns procfs' seconds back into whole ticks, in ns.
func ticks(seconds float64) uint64 { return uint64(seconds*userHZ+0.5) * tickNS }

// clocks gives the wall clock at boot, ns since 1970, and the boot clock now.
// /proc/stat tells the former in whole seconds; where its host is this one our
// own clocks tell both exactly.
func (s *Source) clocks(wall time.Time, btime uint64) (boot uint64, now time.Duration) {
	now = s.config.Boottime()
	exact := uint64(wall.UnixNano()) - uint64(now)
	if diff := int64(exact) - int64(btime); diff > -2e9 && diff < 2e9 {
		return exact, now
	}
	return btime, time.Duration(uint64(wall.UnixNano()) - btime)
}

// boottime reads CLOCK_BOOTTIME (clock_gettime(2)).
func boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func newFS(path string) (procfs.FS, error) {
	if runtime.GOOS != "linux" {
		return procfs.FS{}, fmt.Errorf("the cgroup source needs Linux")
	}
	return procfs.NewFS(path)
}
