package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// features is what a program reads beyond processes.
type features struct {
	cpus    int  // possible CPUs; 0: their per-CPU offsets are unknown
	nodes   int  // possible memory nodes
	groups  bool // cgroups
	devices bool // their block devices; needs cpus
}

// The largest machine whose numbers are read from the kernel: the kernel checks each step
// of a loop over CPUs or nodes when it loads the program.
const (
	mostCPUs  = 512
	mostNodes = 16
)

// licence is that of the programs: the kernel lets only programs under a licence that is
// compatible with its own read its memory. They are under ours as well.
const licence = "Dual MIT/GPL"

// load loads the program with as many features as the kernel accepts and attaches it to an
// iterator over the threads of the host.
func load(sysfs string) (*link.Iter, finds, error) {
	// Before Linux 5.11 a program counts as locked memory. That it cannot be raised shows
	// when loading fails.
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	spec, err := btf.LoadKernelSpec()
	if passes(err) {
		return nil, finds{}, fmt.Errorf("reading the kernel's BTF: %w", err)
	}
	if err != nil {
		return nil, finds{}, fmt.Errorf("the kernel has no BTF (CONFIG_DEBUG_INFO_BTF): %w", err)
	}
	l := layout{spec}
	all := features{nodes: possible(filepath.Join(sysfs, "devices/system/node/possible"), mostNodes), groups: true}
	cpus := possible(filepath.Join(sysfs, "devices/system/cpu/possible"), mostCPUs)
	offsets, err := perCPUOffsets(l, cpus)
	if err == nil {
		all.cpus, all.devices = cpus, true
	} else if refused(err) || passes(err) {
		return nil, finds{}, explain(err)
	}
	less := []features{all, all, all, all, all}
	less[1].devices, less[2].devices, less[3].devices, less[4].devices = false, false, false, false
	less[2].nodes, less[3].nodes, less[4].nodes = 0, 0, 0
	less[3].cpus, less[4].cpus = 0, 0
	less[4].groups = false
	for _, f := range slices.Compact(less) {
		var iter *link.Iter
		var found finds
		if iter, found, err = attach(l, f, offsets); err == nil {
			found.io = l.has("task_struct", "ioac.rchar") && l.has("task_struct", "ioac.read_bytes")
			return iter, found, nil
		}
		if refused(err) || passes(err) {
			break
		}
	}
	return nil, finds{}, explain(err)
}

// passes reports whether an error can pass by itself: of too many open files, or memory.
func passes(err error) bool {
	for _, e := range [...]error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EAGAIN, unix.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func refused(err error) bool { return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) }

// explain says why a program was not loaded.
func explain(err error) error {
	switch {
	case locked():
		return fmt.Errorf("the kernel is locked down (lockdown=confidentiality): %w", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("requires CAP_BPF and CAP_PERFMON, or root: %w", unix.EPERM) // the library's text is about memory
	case errors.Is(err, unix.EINVAL), errors.Is(err, errNoMember), errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, btf.ErrNotFound):
		return fmt.Errorf("not supported by this kernel: %w", err)
	}
	return err
}

// locked reports whether the kernel hides its memory from programs
// (kernel_lockdown(7)).
func locked() bool {
	b, err := os.ReadFile("/sys/kernel/security/lockdown")
	return err == nil && strings.Contains(string(b), "[confidentiality]")
}

// possible returns one more than the largest number of a list such as "0-3"; 0 if unknown
// or above most.
func possible(path string, most int) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	list := strings.TrimSpace(string(b))
	n, err := strconv.Atoi(list[strings.LastIndexAny(list, "-,")+1:])
	if err != nil || n < 0 || n >= most {
		return 0
	}
	return n + 1
}

// attach loads the main program.
func attach(l layout, f features, offsets []uint64) (*link.Iter, finds, error) {
	a := &assembler{layout: l}
	if f.cpus > 0 {
		m, err := ebpf.NewMap(&ebpf.MapSpec{
			Name: "estiba_cpus", Type: ebpf.Array, KeySize: 4, ValueSize: uint32(8 * len(offsets)), MaxEntries: 1,
			Contents: []ebpf.MapKV{{Key: uint32(0), Value: offsets}},
		})
		if err != nil {
			return nil, finds{}, fmt.Errorf("creating a BPF map: %w", err)
		}
		defer m.Close() // the program holds it
		a.emit(asm.LoadMapValue(asm.R2, m.FD(), 0))
		a.put(stackMap, asm.R2)
	}
	a.tasks(f)
	iter, err := a.iterator("estiba_tasks")
	return iter, a.finds, err
}

// iterator loads what was assembled and attaches it.
func (a *assembler) iterator(name string) (*link.Iter, error) {
	ins, err := a.finish()
	if err != nil {
		return nil, err
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: name, Type: ebpf.Tracing, AttachType: ebpf.AttachTraceIter, AttachTo: "task",
		Instructions: ins, License: licence,
	})
	if err != nil {
		return nil, fmt.Errorf("loading a BPF program: %w", err)
	}
	defer p.Close() // the link holds it
	iter, err := link.AttachIter(link.IterOptions{Program: p})
	if err != nil {
		return nil, fmt.Errorf("attaching a BPF iterator: %w", err)
	}
	return iter, nil
}
