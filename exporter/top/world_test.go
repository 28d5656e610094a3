package top

import (
	"strings"
	"time"

	"github.com/estiba/estiba/exporter/source"
)

// hostile is what a process can call itself: an escape sequence, a C1 control, bidi
// overrides, wide and right-to-left letters, broken UTF-8, a new line.
const hostile = "\x1b[2Jé\u009b31m\u202e日ש\xff\n"

// fields are numbers of a container, in the units of the source.
type fields map[source.Field]uint64

func one(id string, command string, f fields) source.Container {
	c := source.Container{ID: strings.Repeat(id, 64/len(id)), Command: command}
	for k, v := range f {
		c.Set(k, v)
	}
	return c
}

// world returns two readings, two seconds apart, and what Docker reports.
func world() (last, now *Reading, describe Namer) {
	const (
		MiB = 1024 // kB
		s   = uint64(time.Second)
	)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	reading := func(seconds uint64) *Reading {
		snap := &source.Snapshot{Source: source.Cgroup}
		for f, v := range map[source.HostField]uint64{
			source.Boottime: 7200*s + seconds*s, source.Realtime: uint64(start.UnixNano()) + seconds*s,
			source.CPUs: 4, source.MemoryTotal: 16 << 20, source.MemoryFree: 1 << 20, source.MemoryAvailable: 10 << 20,
			source.HostCPUBusy: 1000*s + seconds*s*17/10, source.HostProcesses: 151, source.ContainersFound: 5,
			source.UnattributedCPU: 500 * s, source.UnattributedRSS: 900 * MiB, source.UnattributedProcesses: 120,
		} {
			snap.Host.Set(f, v)
		}
		web := fields{
			source.PID: 10, source.CPU: 50*s + seconds*s*5/4, source.CPUThrottled: seconds * s / 4, source.StartTime: 3600 * s,
			source.MemoryCgroup: 120 * MiB, source.MemoryInactiveFile: 20 * MiB, source.MemoryLimit: 128 * MiB, source.RSS: 90 * MiB,
			source.PressureCPU: seconds * s / 8, source.PressureMemory: 0, source.PressureIO: 0,
			source.DiskRead: 4096 * seconds, source.DiskWrite: 1 << 20 * seconds, source.NetRxBytes: 3000 * seconds, source.NetTxBytes: 90 * seconds,
			source.OOMKills: 0, source.Processes: 6, source.Threads: 20,
		}
		db := fields{
			source.PID: 11, source.CPU: 9*s + seconds*s/10, source.StartTime: 100 * s, source.MemoryCgroup: 900 * MiB, source.MemoryInactiveFile: 100 * MiB,
			source.RSS: 700 * MiB, source.PressureCPU: 0, source.PressureMemory: seconds * s / 2, source.PressureIO: seconds * s / 10,
			source.DiskRead: 0, source.DiskWrite: 0, source.OOMKills: 1 + seconds/2, source.Processes: 9, source.Threads: 9,
		}
		// Its counters fell, as nothing should; and it has only the eleven keys.
		odd := fields{source.PID: 12, source.CPU: 100 - seconds, source.RSS: 12 * MiB}
		snap.Containers = []source.Container{
			one("4f5e8c1d9b7a6023", "nginx", web), one("c0ffee00", hostile, odd), one("ab", "postgres", db),
		}
		if seconds > 0 { // started meanwhile, or again with the same id
			snap.Containers = append(snap.Containers, one("12", "sh", fields{source.PID: 13, source.CPU: 5 * s, source.CPUPercent: 725, source.StartTime: 7201 * s}))
			ended := one("9", "true", fields{source.PID: 14})
			ended.State = source.Ended
			snap.Containers = append(snap.Containers, ended)
		}
		return &Reading{
			Snapshot: snap, At: start.Add(time.Duration(seconds) * time.Second),
			Machine: Machine{
				Name: "host-1", Load: [3]Value{Known(1.5), Known(0.25), Known(0)},
				Pressure: [3]Value{Known(float64(seconds * s / 5)), Known(0), {}},
			},
		}
	}
	names := map[string]Description{
		strings.Repeat("4f5e8c1d9b7a6023", 4): {Name: "shop-web-1", Image: "nginx:1.29", Project: "shop", Service: "web"},
		strings.Repeat("ab", 32):              {Name: "shop-db-1", Image: "postgres:17", Project: "shop", Service: "db"},
		strings.Repeat("12", 32):              {Name: "a-container-with-a-name-that-is-much-longer-than-others", Image: "busybox"},
	}
	return reading(0), reading(2), func(c *source.Container) (Description, bool) { d, ok := names[c.ID]; return d, ok }
}
