package cgroup

import (
	"bytes"
	"path/filepath"

	"github.com/estiba/estiba/exporter/source"
)

// unlimited is above what any v1 memory limit in use is: the kernel writes
// "no limit" as the largest multiple of a page in 63 bits.
const unlimited = 1 << 62

// cgroupStats reads what the container's own cgroups say. A file that cannot
// be read leaves its fields unknown.
func (s *Source) cgroupStats(p place, c *source.Container) {
	c.Cgroup = p.path
	if p.v2 != "" {
		s.cpuV2(p.v2, c)
	}
	if _, ok := c.Get(source.CPU); !ok && p.cpuacct != "" {
		s.cpuV1(p.cpuacct, c)
	}
	if p.cpu != "" {
		if b, err := s.reader.read(filepath.Join(p.cpu, "cpu.stat")); err == nil {
			setValue(c, source.CPUThrottled, b, "throttled_time", 1)
		}
	}
	switch {
	case p.memory != "":
		s.memoryV1(p.memory, c)
	case p.v2 != "":
		s.memoryV2(p.v2, c)
	}
	if p.v2 != "" {
		s.pressure(p.v2, "cpu.pressure", source.PressureCPU, c)
		s.pressure(p.v2, "memory.pressure", source.PressureMemory, c)
		s.pressure(p.v2, "io.pressure", source.PressureIO, c)
	}
}

// cpuV1 reads cpuacct (Documentation/admin-guide/cgroup-v1/cpuacct.rst).
func (s *Source) cpuV1(dir string, c *source.Container) {
	total, ok := s.single(dir, "cpuacct.usage")
	if !ok {
		return
	}
	c.CPUSource = "cgroup"
	c.Set(source.CPU, total)
	user, okUser := s.single(dir, "cpuacct.usage_user")
	system, okSystem := s.single(dir, "cpuacct.usage_sys")
	if okUser && okSystem {
		c.Set(source.CPUUser, user)
		c.Set(source.CPUSystem, system)
	}
}

// cpuV2 reads cpu.stat (Documentation/admin-guide/cgroup-v2.rst), which every
// v2 cgroup has, the cpu controller enabled or not.
func (s *Source) cpuV2(dir string, c *source.Container) {
	b, err := s.reader.read(filepath.Join(dir, "cpu.stat"))
	if err != nil || !setValue(c, source.CPU, b, "usage_usec", 1000) {
		return
	}
	c.CPUSource = "cgroup"
	setValue(c, source.CPUUser, b, "user_usec", 1000)
	setValue(c, source.CPUSystem, b, "system_usec", 1000)
	setValue(c, source.CPUThrottled, b, "throttled_usec", 1000)
}

// memoryV1 reads the memory controller (cgroup-v1/memory.rst). The "total_"
// lines of memory.stat include the cgroups below.
func (s *Source) memoryV1(dir string, c *source.Container) {
	if v, ok := s.single(dir, "memory.usage_in_bytes"); ok {
		c.Set(source.MemoryCgroup, v/1024)
	}
	if v, ok := s.single(dir, "memory.limit_in_bytes"); ok && v < unlimited {
		c.Set(source.MemoryLimit, v/1024)
	}
	if b, err := s.reader.read(filepath.Join(dir, "memory.stat")); err == nil {
		setKilobytes(c, source.MemoryInactiveFile, b, "total_inactive_file")
		setKilobytes(c, source.Swap, b, "total_swap")
	}
	if b, err := s.reader.read(filepath.Join(dir, "memory.oom_control")); err == nil {
		setValue(c, source.OOMKills, b, "oom_kill", 1)
	}
}

// memoryV2 reads the memory controller (cgroup-v2.rst).
func (s *Source) memoryV2(dir string, c *source.Container) {
	if v, ok := s.single(dir, "memory.current"); ok {
		c.Set(source.MemoryCgroup, v/1024)
	}
	if v, ok := s.single(dir, "memory.max"); ok { // "max" is no number
		c.Set(source.MemoryLimit, v/1024)
	}
	if v, ok := s.single(dir, "memory.swap.current"); ok {
		c.Set(source.Swap, v/1024)
	}
	if b, err := s.reader.read(filepath.Join(dir, "memory.stat")); err == nil {
		setKilobytes(c, source.MemoryInactiveFile, b, "inactive_file")
	}
	if b, err := s.reader.read(filepath.Join(dir, "memory.events")); err == nil {
		setValue(c, source.OOMKills, b, "oom_kill", 1)
	}
}

// pressure reads the total of the line "some", in µs (accounting/psi.rst).
func (s *Source) pressure(dir, file string, f source.Field, c *source.Container) {
	b, err := s.reader.read(filepath.Join(dir, file))
	if err != nil || !bytes.HasPrefix(b, []byte("some ")) {
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
func (s *Source) storage(p place) (read, written uint64, ok bool) {
	if p.blkio != "" {
		for _, file := range []string{"blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"} {
			if b, err := s.reader.read(filepath.Join(p.blkio, file)); err == nil {
				read, written = parseBlkio(b)
				return read, written, true
			}
		}
		return 0, 0, false
	}
	if p.v2 != "" {
		if b, err := s.reader.read(filepath.Join(p.v2, "io.stat")); err == nil {
			read, written = parseIOStat(b)
			return read, written, true
		}
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
func (s *Source) single(dir, file string) (uint64, bool) {
	b, err := s.reader.read(dir + "/" + file)
	if err != nil {
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
