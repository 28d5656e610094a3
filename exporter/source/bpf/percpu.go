package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// perCPUOffsets returns what each possible CPU adds to a per-CPU pointer.
//
// The kernel tells programs where each CPU has its copy of an element of a per-CPU map
// (Linux 5.19). The difference from the pointer in the map is the offset. Before, x86
// kernels with all symbols (CONFIG_KALLSYMS_ALL) have it in a variable.
func perCPUOffsets(l layout, cpus int) ([]uint64, error) {
	if cpus == 0 {
		return nil, errors.New("too many CPUs")
	}
	offsets, err := offsetsOfMap(l, cpus)
	if err == nil || refused(err) {
		return offsets, err
	}
	offsets, other := offsetsOfVariable(l, cpus)
	return offsets, errors.Join(err, other)
}

// offsetsOfMap uses bpf_map_lookup_percpu_elem (bpf-helpers(7)).
func offsetsOfMap(l layout, cpus int) ([]uint64, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "estiba_percpu", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("creating a BPF map: %w", err)
	}
	defer m.Close()
	a := &assembler{layout: l}
	return a.offsets(cpus, func() {
		// A pointer is a number once it is copied from the stack.
		a.emit(asm.LoadMapPtr(asm.R1, m.FD()))
		a.put(stackA, asm.R1)
		a.read(stackB, 8, asm.RFP, stackA)
		a.get(asm.R8, stackB)
		a.pointer(asm.R8, asm.R8, a.at("bpf_array", "pptrs").offset)
		a.zero(stackA, 8) // key
	}, func(cpu int, none string) {
		a.emit(
			asm.LoadMapPtr(asm.R1, m.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, stackA),
			asm.Mov.Imm(asm.R3, int32(cpu)),
			asm.FnMapLookupPercpuElem.Call(),
			asm.JEq.Imm(asm.R0, 0, none),
		)
		a.put(stackB, asm.R0)
		a.read(stackC, 8, asm.RFP, stackB)
		a.get(asm.R9, stackC)
		a.emit(asm.Sub.Reg(asm.R9, asm.R8))
	})
}

// pseudoBTFID marks the load of the address of a kernel variable by its BTF type
// (BPF_PSEUDO_BTF_ID, linux/bpf.h).
const pseudoBTFID = asm.R3

// offsetsOfVariable uses this_cpu_off, where each CPU has its own offset.
func offsetsOfVariable(l layout, cpus int) ([]uint64, error) {
	var v *btf.Var
	if err := l.spec.TypeByName("this_cpu_off", &v); err != nil {
		return nil, fmt.Errorf("this_cpu_off: %w", err)
	}
	id, err := l.spec.TypeID(v)
	if err != nil {
		return nil, fmt.Errorf("this_cpu_off: %w", err)
	}
	a := &assembler{layout: l}
	return a.offsets(cpus, func() {}, func(cpu int, none string) {
		a.emit(
			asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: asm.R1, Src: pseudoBTFID, Constant: int64(id)},
			asm.Mov.Imm(asm.R2, int32(cpu)),
			asm.FnPerCpuPtr.Call(),
			asm.JEq.Imm(asm.R0, 0, none),
			asm.LoadMem(asm.R9, asm.R0, 0, asm.DWord),
		)
	})
}

// offsets runs a program once that writes a number for each CPU. each leaves it in R9, or
// jumps to none.
func (a *assembler) offsets(cpus int, begin func(), each func(cpu int, none string)) ([]uint64, error) {
	end := a.label()
	a.emit(
		asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord),  // bpf_iter_meta
		asm.LoadMem(asm.R1, asm.R6, 16, asm.DWord), // seq_num: the first thread only
		asm.JNE.Imm(asm.R1, 0, end),
		asm.LoadMem(asm.R7, asm.R6, 0, asm.DWord),
	)
	begin()
	for cpu := range cpus {
		none := a.label()
		a.emit(asm.Mov.Imm(asm.R9, 0))
		each(cpu, none)
		a.here(none)
		a.put(stackRecord, asm.R9)
		a.write(8)
	}
	a.here(end)
	iter, err := a.iterator("estiba_percpu")
	if err != nil {
		return nil, err
	}
	defer iter.Close()
	r, err := iter.Open()
	if err != nil {
		return nil, fmt.Errorf("opening a BPF iterator: %w", err)
	}
	defer r.Close()
	b := make([]byte, 8*cpus)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("reading a BPF iterator: %w", err)
	}
	offsets := make([]uint64, cpus)
	for i := range offsets {
		offsets[i] = binary.NativeEndian.Uint64(b[8*i:])
	}
	return offsets, nil
}
