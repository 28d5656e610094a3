package cgroup

import (
	"syscall"
	"time"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/cgroupfile"
)

// groups finds the numbers of cgroups in a Pass. An id is unique within a hierarchy: those of
// v2 and of v1 are apart.
type groups struct {
	pass    *Pass
	bySet   map[uint64]*KernelGroup
	v1, v2  [numControllers]map[uint64]*KernelGroup // by id of the cgroup where a controller is enabled
	devices map[uint64][]KernelDevice
}

func (g *groups) take(pass *Pass) {
	g.pass = pass
	reset := func(m *map[uint64]*KernelGroup) {
		if *m == nil {
			*m = make(map[uint64]*KernelGroup, len(pass.Groups))
		}
		clear(*m)
	}
	reset(&g.bySet)
	for k := range g.v1 {
		reset(&g.v1[k])
		reset(&g.v2[k])
	}
	if g.devices == nil {
		g.devices = map[uint64][]KernelDevice{}
	}
	clear(g.devices)
	enter := func(controller int, inV2 bool, id uint64, is *KernelGroup) {
		if inV2 {
			g.v2[controller][id] = is
		} else {
			g.v1[controller][id] = is
		}
	}
	for i := range pass.Groups {
		is := &pass.Groups[i]
		g.bySet[is.Set] = is
		enter(unified, true, is.Unified.ID, is)
		enter(cpu, is.CPU.Unified, is.CPU.ID, is)
		enter(memory, is.Memory.Unified, is.Memory.ID, is)
		enter(cpuacct, false, is.Cpuacct.ID, is)
		enter(blkio, is.IO.Unified, is.IO.ID, is)
	}
	for _, d := range pass.Devices {
		g.devices[d.Group] = append(g.devices[d.Group], d)
	}
}

// number finds the inode of the container's cgroup in each hierarchy, which is its id in
// the kernel; 0 if it has several, or none.
func (c *container) number() {
	for k, dirs := range c.place.dirs {
		if c.inodes[k] = 0; len(dirs) == 1 {
			c.inodes[k] = inodeOf(dirs[0])
		}
	}
}

// inodeOf returns the inode of a directory, 0 if there is none.
func inodeOf(dir string) uint64 {
	var is syscall.Stat_t
	if syscall.Stat(dir, &is) != nil {
		return 0
	}
	return is.Ino
}

// group returns the numbers of a controller that is enabled for the container's cgroup; nil
// if the kernel did not tell, and its files must be read.
func (s *Source) group(c *container, controller int) *KernelGroup {
	which, in := controller, &s.groups.v1
	if controller == unified || len(c.place.dirs[controller]) == 0 {
		which, in = unified, &s.groups.v2
	}
	if s.groups.pass == nil || c.shared || c.inodes[which] == 0 {
		return nil
	}
	return in[controller][c.inodes[which]]
}

// kernelCPU returns the CPU time of the container's cgroup. A part that was just being
// moved within the kernel can be missing from a pass, see counter.
func (s *Source) kernelCPU(c *container) (t cpuTime, ok bool) {
	switch {
	case c.inodes[unified] != 0: // as with files, whose origin this continues
		g := s.group(c, unified)
		if g == nil || !g.Unified.HasTimes || g.Unified.Below > 0 {
			return cpuTime{}, false
		}
		return cpuTime{c.origins[unified], g.Unified.Runtime, g.Unified.User, g.Unified.System, true}, true
	case c.inodes[cpuacct] != 0:
		g := s.group(c, cpuacct)
		if g == nil || !g.Cpuacct.HasTimes {
			return cpuTime{}, false
		}
		return cpuTime{c.origins[cpuacct], g.Cpuacct.Usage, g.Cpuacct.User, g.Cpuacct.System, true}, true
	}
	return cpuTime{}, false
}

// kernelBandwidth fills in the CPU limit and the throttling.
func (s *Source) kernelBandwidth(c *container, out *source.Container) bool {
	g := s.group(c, cpu)
	if g == nil {
		return false
	}
	is, origin := &g.CPU, c.origins[cpu]
	if len(c.place.dirs[cpu]) == 0 {
		origin = c.origins[unified]
	}
	c.count(out, source.CPUThrottled, origin, is.Throttled)
	c.count(out, source.CPUPeriods, origin, is.Periods)
	c.count(out, source.CPUThrottledPeriods, origin, is.ThrottledPeriods)
	setCPULimit(out, cgroupfile.CPULimit{Quota: is.Quota, Period: is.Period, Limited: is.Quota != NoQuota})
	return true
}

// kernelMemory fills in the numbers of the memory controller. rest is what the files must
// add.
func (s *Source) kernelMemory(c *container, out *source.Container, swapless bool) (rest struct{ inactive, swap bool }, ok bool) {
	g := s.group(c, memory)
	if g == nil {
		return rest, false
	}
	is, page := &g.Memory, s.processes.pageKB
	v2 := len(c.place.dirs[memory]) == 0
	out.Set(source.MemoryCgroup, is.Usage*page)
	if unlimited := uint64(1<<63-1) / 1024 / page; is.Max < unlimited { // PAGE_COUNTER_MAX
		out.Set(source.MemoryLimit, is.Max*page)
	}
	c.count(out, source.OOMKills, c.memoryOrigin(), is.OOMKills)
	if rest.inactive = !is.HasInactive || is.Below > 0; !rest.inactive {
		out.Set(source.MemoryInactiveFile, is.InactiveFile*page)
	}
	switch {
	case swapless:
		out.Set(source.Swap, 0)
	case v2:
		out.Set(source.Swap, is.Swap*page)
	default:
		rest.swap = true
	}
	return rest, true
}

// kernelPressure fills in the pressure stall times.
func (s *Source) kernelPressure(c *container, out *source.Container) bool {
	if s.groups.pass == nil || !s.groups.pass.HasPressure {
		return false
	}
	g := s.group(c, unified)
	if g == nil || !g.Unified.HasPressure {
		return false
	}
	for i, f := range [...]source.Field{source.PressureIO, source.PressureMemory, source.PressureCPU} {
		c.count(out, f, c.origins[unified], g.Unified.Pressure[i])
	}
	return true
}

// kernelStorage is storage for the v2 hierarchy, whose cgroup has none below it.
func (s *Source) kernelStorage(c *container, now time.Duration) (moved [2]uint64, origin string, ok, odd bool) {
	if len(c.place.dirs[blkio]) > 0 {
		return moved, "", false, false
	}
	g := s.group(c, blkio)
	if g == nil || !g.IO.HasDevices || g.IO.Below > 0 {
		return moved, "", false, false
	}
	list := make([]cgroupfile.Moved, 0, 4)
	for _, d := range s.groups.devices[g.IO.ID] {
		if d.Cut {
			return moved, "", false, false
		}
		list = append(list, cgroupfile.Moved{Device: cgroupfile.Device{Major: d.Major, Minor: d.Minor}, Read: d.Read, Written: d.Written})
	}
	origin = c.origins[unified]
	moved, ok = s.reached(&c.disk[0].devices, [][]cgroupfile.Moved{list}, statFiles[ioStat].name+"\n"+origin, false, now)
	return moved, origin, ok, !ok
}
