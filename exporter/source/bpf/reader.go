package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/estiba/estiba/exporter/source"
	"github.com/estiba/estiba/exporter/source/cgroup"
)

// reader runs the program and decodes what it writes.
type reader struct {
	iter  *link.Iter
	finds finds
	buf   []byte
	pass  cgroup.Pass
}

// Read visits all threads of the host once.
func (r *reader) Read() (*cgroup.Pass, error) {
	f, err := r.iter.Open()
	if err != nil {
		return nil, fmt.Errorf("opening the BPF iterator: %w", err)
	}
	defer f.Close()
	r.pass.Processes, r.pass.Groups, r.pass.Devices = r.pass.Processes[:0], r.pass.Groups[:0], r.pass.Devices[:0]
	r.pass.Threads = r.pass.Threads[:0]
	left := 0
	for {
		n, err := f.Read(r.buf[left:])
		used, bad := r.decode(r.buf[:left+n])
		if bad != nil {
			return nil, bad
		}
		left = copy(r.buf, r.buf[used:left+n])
		switch {
		case errors.Is(err, io.EOF):
			if left > 0 {
				return nil, fmt.Errorf("%w: the BPF iterator ended within a record", source.ErrCut)
			}
			return &r.pass, nil
		case errors.Is(err, unix.EAGAIN): // a million threads without a record
		case err != nil:
			return nil, fmt.Errorf("reading the BPF iterator: %w", err)
		}
	}
}

// decode decodes whole records and returns their length.
func (r *reader) decode(b []byte) (used int, err error) {
	for {
		rest := record(b[used:])
		if len(rest) < 8 {
			return used, nil
		}
		size := 0
		switch kind := rest.at(0); kind {
		case kindProcess, kindThread:
			size = processSize
		case kindGroup:
			size = groupSize
		case kindDevice:
			size = deviceSize
		default:
			return used, fmt.Errorf("%w: record of kind %d from the BPF program", source.ErrMalformed, kind)
		}
		if len(rest) < size {
			return used, nil
		}
		r.take(rest[:size])
		used += size
	}
}

func (r *reader) take(b record) {
	switch b.at(0) {
	case kindProcess:
		r.pass.Processes = append(r.pass.Processes, b.process())
	case kindThread:
		r.pass.Threads = append(r.pass.Threads, b.process())
	case kindGroup:
		r.pass.Groups = append(r.pass.Groups, b.group(r.finds))
	case kindDevice:
		r.pass.Devices = append(r.pass.Devices, b.device())
	}
}

// record is a record of the program: numbers of 64 bits.
type record []byte

func (b record) at(offset int) uint64 { return binary.NativeEndian.Uint64(b[offset:]) }

// pages returns a number that the kernel's approximate counters can make negative.
func (b record) pages(offset int) uint64 { return uint64(max(int64(b.at(offset)), 0)) }

func (b record) process() (p cgroup.KernelProcess) {
	p.PID, p.Parent = int(b.at(processPID)), int(b.at(processParent))
	copy(p.Name[:], b[processName:])
	p.Start, p.Exit, p.Set, p.Threads = b.at(processStart), uint32(b.at(processExit)), b.at(processSet), b.at(processThreads)
	p.Incomplete, p.Network = b.at(processFlags)&flagIncomplete != 0, uint32(b.at(processNetwork))
	p.VSZ = b.at(processVSZ)
	p.RSS = b.pages(processFile) + b.pages(processAnon) + b.pages(processShmem)
	p.Minor, p.Major = b.at(processMinor), b.at(processMajor)
	p.User, p.System, p.Runtime = b.at(processUser), b.at(processSystem), b.at(processRuntime)
	p.ChildrenUser, p.ChildrenSystem = b.at(processChildrenUser), b.at(processChildrenSystem)
	for i := range p.IO {
		p.IO[i] = b.at(processIO + 8*i)
	}
	return p
}

func (b record) group(f finds) (g cgroup.KernelGroup) {
	flags := b.at(groupFlags)
	g.Set, g.Hash = b.at(groupSet), b.at(groupHash)
	u := &g.Unified
	u.ID, u.Below, u.HasPressure = b.at(groupID), b.at(groupBelow), flags&flagPressure != 0
	u.HasTimes = f.times
	u.User, u.System, u.Runtime = b.at(groupUser), b.at(groupSystem), b.at(groupRuntime)
	u.Pressure = [3]uint64{b.at(groupPressureIO), b.at(groupPressureMemory), b.at(groupPressureCPU)}
	c := &g.CPU
	c.ID, c.Period, c.Quota, c.Unified = b.at(cpuID), b.at(cpuPeriod), b.at(cpuQuota), flags&flagCPUUnified != 0
	c.Periods, c.ThrottledPeriods, c.Throttled = b.at(cpuPeriods), b.at(cpuThrottledPeriods), b.at(cpuThrottled)
	m := &g.Memory
	m.ID, m.Below, m.Usage, m.Max, m.Swap = b.at(memoryID), b.at(memoryBelow), b.at(memoryUsage), b.at(memoryMax), b.at(memorySwap)
	m.Unified = flags&flagMemoryUnified != 0
	m.OOMKills, m.InactiveFile, m.HasInactive = b.at(memoryOOMKills), b.pages(memoryInactiveFile), f.inactive
	a := &g.Cpuacct
	a.HasTimes = f.cpuacct
	a.ID, a.Usage, a.User, a.System = b.at(cpuacctID), b.at(cpuacctUsage), b.at(cpuacctUser), b.at(cpuacctSystem)
	g.IO.ID, g.IO.Below, g.IO.HasDevices, g.IO.Unified = b.at(ioID), b.at(ioBelow), f.devices, flags&flagIOUnified != 0
	return g
}

func (b record) device() cgroup.KernelDevice {
	return cgroup.KernelDevice{
		Group: b.at(deviceGroup), Major: uint32(b.at(deviceMajor)), Minor: uint32(b.at(deviceMinor)),
		Read: b.at(deviceRead), Written: b.at(deviceWritten), Cut: b.at(deviceMajor) == cut,
	}
}
