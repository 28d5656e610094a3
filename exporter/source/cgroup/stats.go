package cgroup

import (
	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup/cgroupfile"
)

// The files of a container's cgroups read by each snapshot.
const (
	cpuStatV2 = iota
	cpuacctUsage
	cpuacctUser
	cpuacctSystem
	cpuacctStat
	cpuStatV1
	cpuQuotaV1
	cpuPeriodV1
	cpuMax
	memoryUsage
	memoryLimit
	memoryStatV1
	memoryOOM
	memoryCurrent
	memoryMax
	memorySwap
	memoryStatV2
	memoryEvents
	pressureCPU
	pressureMemory
	pressureIO
	blkioRecursive
	blkioOwn
	ioStat

	numFiles
)

// files holds each file once per cgroup of the container.
type files [numFiles][]file

// statFiles maps each file to its controller.
var statFiles = [numFiles]struct {
	controller int
	name       string
}{
	cpuStatV2:      {unified, "cpu.stat"},
	cpuacctUsage:   {cpuacct, "cpuacct.usage"},
	cpuacctUser:    {cpuacct, "cpuacct.usage_user"},
	cpuacctSystem:  {cpuacct, "cpuacct.usage_sys"},
	cpuacctStat:    {cpuacct, "cpuacct.stat"},
	cpuStatV1:      {cpu, "cpu.stat"},
	cpuQuotaV1:     {cpu, "cpu.cfs_quota_us"},
	cpuPeriodV1:    {cpu, "cpu.cfs_period_us"},
	cpuMax:         {unified, "cpu.max"},
	memoryUsage:    {memory, "memory.usage_in_bytes"},
	memoryLimit:    {memory, "memory.limit_in_bytes"},
	memoryStatV1:   {memory, "memory.stat"},
	memoryOOM:      {memory, "memory.oom_control"},
	memoryCurrent:  {unified, "memory.current"},
	memoryMax:      {unified, "memory.max"},
	memorySwap:     {unified, "memory.swap.current"},
	memoryStatV2:   {unified, "memory.stat"},
	memoryEvents:   {unified, "memory.events"},
	pressureCPU:    {unified, "cpu.pressure"},
	pressureMemory: {unified, "memory.pressure"},
	pressureIO:     {unified, "io.pressure"},
	blkioRecursive: {blkio, "blkio.throttle.io_service_bytes_recursive"},
	blkioOwn:       {blkio, "blkio.throttle.io_service_bytes"},
	ioStat:         {unified, "io.stat"},
}

// files lists the files of the container's own cgroups. A controller is either in a
// v1 or in the v2 hierarchy, so its files exist in one of them.
func (p *place) files() (f files) {
	for which, of := range statFiles {
		switch which {
		case memoryCurrent, memoryMax, memorySwap, memoryStatV2, memoryEvents:
			if len(p.dirs[memory]) > 0 {
				continue
			}
		case cpuMax:
			if len(p.dirs[cpu]) > 0 {
				continue
			}
		case ioStat:
			if len(p.dirs[blkio]) > 0 {
				continue
			}
		}
		for _, dir := range p.dirs[of.controller] {
			f[which] = append(f[which], file{path: dir + "/" + of.name})
		}
	}
	return f
}

// each reads one file in each cgroup of the container. It returns false if there is
// none, or one of them is not readable or not parsable.
func (s *Source) each(c *container, which int, take func([]byte) bool) bool {
	files := c.files[which]
	if c.shared || len(files) == 0 {
		return false
	}
	for i := range files {
		b, err := s.reader.again(&files[i])
		if err != nil {
			if !gone(err) && !unsupported(err) {
				s.skipLines(1)
			}
			return false
		}
		if !take(b) {
			return false
		}
	}
	return true
}

// parser reads one number; found is false if the file has no such number.
type parser func([]byte) (v uint64, found, ok bool)

// amount is a sum over the cgroups of a container, unknown if it is unknown in one
// of them.
type amount struct {
	parse parser
	v     uint64
	ok    bool
}

// read reads numbers from one of a container's files. It returns false if the file
// is not readable; numbers that it lacks are unknown.
func (s *Source) read(c *container, which int, amounts ...*amount) bool {
	for _, a := range amounts {
		a.v, a.ok = 0, true
	}
	ok := s.each(c, which, func(b []byte) bool {
		for _, a := range amounts {
			v, found, ok := a.parse(b)
			if found && !ok {
				s.skipLines(1)
			}
			a.v, a.ok = sum(a.v, v), a.ok && ok
		}
		return true
	})
	for _, a := range amounts {
		a.ok = a.ok && ok
	}
	return ok
}

func (s *Source) skipLines(n int) { s.faults.skip(source.ReasonLine, n) }

// number parses a file with a single number.
func number(b []byte) (v uint64, found, ok bool) {
	v, ok = cgroupfile.Number(b)
	return v, true, ok
}

// waited parses a PSI file.
func waited(b []byte) (v uint64, found, ok bool) {
	v, ok = cgroupfile.Waited(b)
	return v, true, ok
}

// keyed parses the number after a key.
func keyed(key string, unit uint64) parser {
	return func(b []byte) (uint64, bool, bool) { return cgroupfile.Value(b, key, unit) }
}

// cpuTime is CPU time in ns and its origin.
type cpuTime struct {
	origin              string
	total, user, system uint64
	parts               bool // user and system are known
}

// fillCPUStat reads cpu.stat. Every v2 cgroup has one, even without the cpu
// controller; in a v1 hierarchy only the controller has one.
func (s *Source) fillCPUStat(c *container, out *source.Container) (t cpuTime, ok bool) {
	throttled := amount{parse: cgroupfile.Throttled}
	periods, throttledPeriods := amount{parse: keyed("nr_periods", 1)}, amount{parse: keyed("nr_throttled", 1)}
	setBandwidth := func(origin string) {
		if throttled.ok && periods.ok && throttledPeriods.ok {
			c.count(out, source.CPUThrottled, origin, throttled.v)
			c.count(out, source.CPUPeriods, origin, periods.v)
			c.count(out, source.CPUThrottledPeriods, origin, throttledPeriods.v)
		}
	}
	total, user, system := amount{parse: keyed("usage_usec", 1000)}, amount{parse: keyed("user_usec", 1000)}, amount{parse: keyed("system_usec", 1000)}
	if s.read(c, cpuStatV2, &total, &user, &system, &throttled, &periods, &throttledPeriods) {
		setBandwidth(c.origins[unified])
	}
	if s.read(c, cpuStatV1, &throttled, &periods, &throttledPeriods) {
		setBandwidth(c.origins[cpu])
	}
	return cpuTime{c.origins[unified], total.v, user.v, system.v, user.ok && system.ok}, total.ok
}

// cpuacctTime reads cpuacct (v1); user and system are in ticks on old kernels.
func (s *Source) cpuacctTime(c *container) (t cpuTime, ok bool) {
	total, user, system := amount{parse: number}, amount{parse: number}, amount{parse: number}
	if !s.read(c, cpuacctUsage, &total) || !total.ok {
		return cpuTime{}, false
	}
	if !s.read(c, cpuacctUser, &user) || !s.read(c, cpuacctSystem, &system) { // Linux before 4.7
		user.parse, system.parse = keyed("user", tickNS), keyed("system", tickNS)
		s.read(c, cpuacctStat, &user, &system)
	}
	return cpuTime{c.origins[cpuacct], total.v, user.v, system.v, user.ok && system.ok}, true
}

// fillMemory fills in the memory controller's numbers. The v1 keys total_* include
// child cgroups, as v2 always does.
func (s *Source) fillMemory(c *container, out *source.Container, swapless bool) {
	if rest, ok := s.kernelMemory(c, out, swapless); ok {
		s.fillMemoryStat(c, out, rest.inactive, rest.swap)
		return
	}
	use, swap, inactive, kills := amount{parse: number}, amount{parse: number}, amount{}, amount{parse: keyed("oom_kill", 1)}
	if len(c.files[memoryUsage]) > 0 {
		inactive.parse, swap.parse = keyed("total_inactive_file", 1), keyed("total_swap", 1)
		s.read(c, memoryUsage, &use)
		s.read(c, memoryStatV1, &inactive, &swap)
		s.read(c, memoryOOM, &kills)
	} else {
		inactive.parse = keyed("inactive_file", 1)
		s.read(c, memoryCurrent, &use)
		s.read(c, memoryStatV2, &inactive)
		s.read(c, memorySwap, &swap)
		s.read(c, memoryEvents, &kills)
	}
	use.kilobytes(out, source.MemoryCgroup)
	inactive.kilobytes(out, source.MemoryInactiveFile)
	swap.kilobytes(out, source.Swap)
	if kills.ok {
		c.count(out, source.OOMKills, c.memoryOrigin(), kills.v)
	}
	s.fillMemoryLimit(c, out)
}

// kilobytes sets a field to a number of bytes, if it is known.
func (a *amount) kilobytes(out *source.Container, f source.Field) {
	if a.ok {
		out.Set(f, a.v/1024)
	}
}

// fillMemoryStat fills in what only the memory.stat of a container has.
func (s *Source) fillMemoryStat(c *container, out *source.Container, inactive, swap bool) {
	if !inactive && !swap {
		return
	}
	which, key := memoryStatV2, "inactive_file"
	if len(c.files[memoryStatV1]) > 0 {
		which, key = memoryStatV1, "total_inactive_file"
	}
	pages, swapped := amount{parse: keyed(key, 1)}, amount{parse: keyed("total_swap", 1)}
	s.read(c, which, &pages, &swapped)
	if inactive {
		pages.kilobytes(out, source.MemoryInactiveFile)
	}
	if swap {
		swapped.kilobytes(out, source.Swap)
	}
}

// fillMemoryLimit fills in the memory limit. With several cgroups each one must
// have a limit.
func (s *Source) fillMemoryLimit(c *container, out *source.Container) {
	all := true
	limit := amount{parse: func(b []byte) (uint64, bool, bool) {
		v, limited, ok := cgroupfile.Limit(b)
		all = all && limited
		return v, true, ok
	}}
	which := memoryMax
	if len(c.files[memoryLimit]) > 0 {
		which = memoryLimit
	}
	if s.read(c, which, &limit); limit.ok && all {
		out.Set(source.MemoryLimit, limit.v/1024)
	}
}

// fillPressure fills in the pressure stall times. They cannot be added up over
// several cgroups: the times may overlap.
func (s *Source) fillPressure(c *container, out *source.Container) {
	if len(c.place.dirs[unified]) != 1 || s.kernelPressure(c, out) {
		return
	}
	for _, of := range [...]struct {
		which int
		field source.Field
	}{{pressureCPU, source.PressureCPU}, {pressureMemory, source.PressureMemory}, {pressureIO, source.PressureIO}} {
		total := amount{parse: waited}
		if s.read(c, of.which, &total); total.ok {
			c.count(out, of.field, c.origins[unified], total.v)
		}
	}
}
