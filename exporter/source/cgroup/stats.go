package cgroup

import (
	"bytes"
	"time"

	"github.com/estiba/estiba/exporter/source"
)

// unlimited is above what any v1 memory limit in use is: the kernel writes
// "no limit" as the largest multiple of a page in 63 bits.
const unlimited = 1 << 62

// The files of a container's cgroups that are read at each snapshot.
const (
	cpuStatV2 = iota
	cpuacctUsage
	cpuacctUser
	cpuacctSystem
	cpuStatV1
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

// files are those of the container's own cgroups; one that it cannot have has
// no path.
func (p place) files() (files [numFiles]file) {
	in := func(dir string, names map[int]string) {
		if dir == "" {
			return
		}
		for i, name := range names {
			files[i].path = dir + "/" + name
		}
	}
	in(p.cpuacct, map[int]string{cpuacctUsage: "cpuacct.usage", cpuacctUser: "cpuacct.usage_user", cpuacctSystem: "cpuacct.usage_sys"})
	in(p.cpu, map[int]string{cpuStatV1: "cpu.stat"})
	in(p.memory, map[int]string{memoryUsage: "memory.usage_in_bytes", memoryLimit: "memory.limit_in_bytes",
		memoryStatV1: "memory.stat", memoryOOM: "memory.oom_control"})
	in(p.blkio, map[int]string{blkioRecursive: "blkio.throttle.io_service_bytes_recursive", blkioOwn: "blkio.throttle.io_service_bytes"})
	in(p.v2, map[int]string{cpuStatV2: "cpu.stat", pressureCPU: "cpu.pressure", pressureMemory: "memory.pressure", pressureIO: "io.pressure"})
	if p.memory == "" {
		in(p.v2, map[int]string{memoryCurrent: "memory.current", memoryMax: "memory.max", memorySwap: "memory.swap.current",
			memoryStatV2: "memory.stat", memoryEvents: "memory.events"})
	}
	if p.blkio == "" {
		in(p.v2, map[int]string{ioStat: "io.stat"})
	}
	return files
}

// text is the content of one of a container's files; false if it has none or it
// cannot be read.
func (s *Source) text(st *state, which int) ([]byte, bool) {
	if st.shared || st.files[which].path == "" {
		return nil, false
	}
	b, err := s.reader.again(&st.files[which])
	return b, err == nil
}

// usage reads the CPU time of a container, of all containers before anything
// else is read of one: what happens afterwards shows in that of the next
// snapshot.
func (s *Source) usage(st *state, now time.Duration) {
	var c source.Container
	s.cpuTime(st, &c)
	st.rest.begin(&c, now, now-time.Duration(st.started) < creation)
	st.rest.cpu.take(&c, s.sequence, st.shared)
}

// cpuTime reads the CPU time of the container's own cgroups.
func (s *Source) cpuTime(st *state, c *source.Container) {
	s.cpuV2(st, c)
	if _, ok := c.Get(source.CPU); !ok {
		s.cpuV1(st, c)
	}
}

// cgroupStats reads what else the container's own cgroups say. A file that
// cannot be read leaves its fields unknown.
func (s *Source) cgroupStats(st *state, c *source.Container, now time.Duration) {
	if !st.shared {
		c.Cgroup = st.place.path
	}
	if st.rest.resting {
		st.rest.tell(c, source.CPUUser, source.CPUSystem, source.CPUThrottled, source.OOMKills)
	} else {
		if _, ok := c.Get(source.CPUUser); !ok {
			s.cpuPartsV1(st, c)
		}
		if b, ok := s.text(st, cpuStatV1); ok {
			setThrottled(c, b)
		}
		for _, which := range [...]int{memoryOOM, memoryEvents} {
			if b, ok := s.text(st, which); ok {
				setValue(c, source.OOMKills, b, "oom_kill", 1)
			}
		}
	}
	if st.rest.full {
		s.limit(st, c)
	} else {
		st.rest.tell(c, source.MemoryLimit)
	}
	s.memory(st, c)
	s.pressure(st, pressureCPU, source.PressureCPU, c)
	s.stalls(st, c, now)
}

// cpuV1 reads cpuacct (Documentation/admin-guide/cgroup-v1/cpuacct.rst).
func (s *Source) cpuV1(st *state, c *source.Container) {
	total, ok := s.single(st, cpuacctUsage)
	if !ok {
		return
	}
	c.CPUSource = "cgroup"
	c.Set(source.CPU, total)
}

// cpuPartsV1 reads the two parts of the same.
func (s *Source) cpuPartsV1(st *state, c *source.Container) {
	user, okUser := s.single(st, cpuacctUser)
	system, okSystem := s.single(st, cpuacctSystem)
	if okUser && okSystem {
		c.Set(source.CPUUser, user)
		c.Set(source.CPUSystem, system)
	}
}

// cpuV2 reads cpu.stat (Documentation/admin-guide/cgroup-v2.rst), which every
// v2 cgroup has, the cpu controller enabled or not.
func (s *Source) cpuV2(st *state, c *source.Container) {
	b, ok := s.text(st, cpuStatV2)
	if !ok || !setValue(c, source.CPU, b, "usage_usec", 1000) {
		return
	}
	c.CPUSource = "cgroup"
	setValue(c, source.CPUUser, b, "user_usec", 1000)
	setValue(c, source.CPUSystem, b, "system_usec", 1000)
	setThrottled(c, b)
}

func setThrottled(c *source.Container, b []byte) {
	if v, ok := throttledTime(b); ok {
		c.Set(source.CPUThrottled, v)
	}
}

// throttledTime finds in a cpu.stat how long the CPU limit kept the cgroup from
// running, in ns: version 2 tells µs, version 1 (scheduler/sched-bwc.rst) ns.
func throttledTime(b []byte) (uint64, bool) {
	if v, ok := value(b, "throttled_usec"); ok {
		return v * 1000, true
	}
	return value(b, "throttled_time")
}

// limit reads the most memory that the container may have, which only an order
// from outside changes. Version 1 writes a huge number for none, 2 a word.
func (s *Source) limit(st *state, c *source.Container) {
	for _, which := range [...]int{memoryLimit, memoryMax} {
		if v, ok := s.single(st, which); ok && v < unlimited {
			c.Set(source.MemoryLimit, v/1024)
		}
	}
}

// memory reads the memory controller (cgroup-v1/memory.rst, cgroup-v2.rst). The
// "total_" lines of memory.stat of version 1 include the cgroups below. Of a
// container that rests and has as much memory as before nothing was taken, or
// swapped out: memory.stat, the dearest file of all, is left alone then.
func (s *Source) memory(st *state, c *source.Container) {
	for _, which := range [...]int{memoryUsage, memoryCurrent} {
		if v, ok := s.single(st, which); ok {
			c.Set(source.MemoryCgroup, v/1024)
		}
	}
	if st.rest.resting && st.rest.same(c, source.MemoryCgroup) {
		st.rest.tell(c, source.MemoryInactiveFile, source.Swap)
		return
	}
	if b, ok := s.text(st, memoryStatV1); ok {
		setKilobytes(c, source.MemoryInactiveFile, b, "total_inactive_file")
		setKilobytes(c, source.Swap, b, "total_swap")
	}
	if v, ok := s.single(st, memorySwap); ok {
		c.Set(source.Swap, v/1024)
	}
	if b, ok := s.text(st, memoryStatV2); ok {
		setKilobytes(c, source.MemoryInactiveFile, b, "inactive_file")
	}
}

// stalls reads how long tasks waited for memory and for storage. To begin to
// wait for either a task has to run, other than for a CPU: while the container
// rests, the totals can only grow if they did so since it stopped.
func (s *Source) stalls(st *state, c *source.Container, now time.Duration) {
	r := &st.rest
	if r.resting && r.calm {
		r.tell(c, source.PressureMemory, source.PressureIO)
		return
	}
	s.pressure(st, pressureMemory, source.PressureMemory, c)
	s.pressure(st, pressureIO, source.PressureIO, c)
	if !r.resting || !r.same(c, source.PressureMemory) || !r.same(c, source.PressureIO) {
		r.waitingAt = now
	}
	r.calm = now-r.waitingAt >= stallTime
}

// pressure reads the total of the line "some", in µs (accounting/psi.rst).
func (s *Source) pressure(st *state, which int, f source.Field, c *source.Container) {
	b, ok := s.text(st, which)
	if !ok || !bytes.HasPrefix(b, []byte("some ")) {
		return
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	i := bytes.LastIndex(line, []byte("total="))
	if i < 0 {
		return
	}
	if v, ok := number(line[i+len("total="):]); ok {
		c.Set(f, v*1000)
	}
}

// storage reads the bytes that the block layer moved for the container: io.stat
// of v2, or the throttling statistics of v1. ok is false where neither tells.
func (s *Source) storage(st *state) (read, written uint64, ok bool) {
	for _, which := range [...]int{blkioRecursive, blkioOwn} {
		if b, ok := s.text(st, which); ok {
			read, written = parseBlkio(b)
			return read, written, true
		}
	}
	if b, ok := s.text(st, ioStat); ok {
		read, written = parseIOStat(b)
		return read, written, true
	}
	return 0, 0, false
}

// parseBlkio sums lines such as "8:0 Read 4096" over all devices.
func parseBlkio(b []byte) (read, written uint64) {
	for _, line := range bytes.Split(b, []byte("\n")) {
		f := bytes.Fields(line)
		if len(f) != 3 {
			continue
		}
		v, ok := number(f[2])
		if !ok {
			continue
		}
		switch string(f[1]) {
		case "Read":
			read += v
		case "Write":
			written += v
		}
	}
	return read, written
}

// parseIOStat sums lines such as "8:0 rbytes=4096 wbytes=0 …" over all devices.
func parseIOStat(b []byte) (read, written uint64) {
	for _, word := range bytes.Fields(b) {
		key, val, ok := bytes.Cut(word, []byte("="))
		if !ok {
			continue
		}
		v, ok := number(val)
		if !ok {
			continue
		}
		switch string(key) {
		case "rbytes":
			read += v
		case "wbytes":
			written += v
		}
	}
	return read, written
}

// single reads a file of one number.
func (s *Source) single(st *state, which int) (uint64, bool) {
	b, ok := s.text(st, which)
	if !ok {
		return 0, false
	}
	return number(bytes.TrimSpace(b))
}

func setValue(c *source.Container, f source.Field, b []byte, key string, times uint64) bool {
	v, ok := value(b, key)
	if ok {
		c.Set(f, v*times)
	}
	return ok
}

func setKilobytes(c *source.Container, f source.Field, b []byte, key string) {
	if v, ok := value(b, key); ok {
		c.Set(f, v/1024)
	}
}
