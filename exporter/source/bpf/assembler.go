package bpf

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/asm"
)

// assembler writes a program. Its registers R6 to R9 belong to the caller; R0 to R5 are
// clobbered by each method. Numbers live on the stack, in slots below R10.
type assembler struct {
	layout
	ins    asm.Instructions
	labels int
	mark   string // of the next instruction
	err    error
	finds  finds
}

// finds is what the program reads: a kernel can lack the members that a part needs.
type finds struct {
	times    bool // CPU time of the v2 hierarchy
	cpuacct  bool // CPU time of the v1 controller
	inactive bool // inactive file pages
	devices  bool // block devices
	io       bool // I/O of processes
}

// lacks lists what the program does not read.
func (f finds) lacks() (all []string) {
	for _, part := range []struct {
		there bool
		name  string
	}{
		{f.times, "CPU time of cgroups"},
		{f.cpuacct, "CPU time of cgroups v1"},
		{f.inactive, "inactive file pages"},
		{f.devices, "storage traffic of cgroups"},
		{f.io, "I/O of processes"},
	} {
		if !part.there {
			all = append(all, part.name)
		}
	}
	return all
}

// The stack of a program, offsets from R10. A record is built at stackRecord.
const (
	stackScratch = -64 // 64 bytes, clobbered by each method
	stackCount   = -72
	stackMap     = -80 // pointer to the value of the map of CPUs
	stackTask    = -88 // address of the task
	stackA       = -96
	stackB       = -104
	stackC       = -112
	stackRoot    = -120 // of the v2 hierarchy
	stackRecord  = stackRoot - maxRecord

	scratchSize = 64
	maxRecord   = 256
)

// at returns the member of a structure; a missing one fails the program.
func (a *assembler) at(structure, path string) member {
	m, err := a.member(structure, path)
	if err != nil && a.err == nil {
		a.err = err
	}
	return m
}

// has reports whether a structure has a member.
func (l layout) has(structure, path string) bool {
	_, err := l.member(structure, path)
	return err == nil
}

func (a *assembler) emit(ins ...asm.Instruction) {
	if a.mark != "" && len(ins) > 0 {
		ins[0] = ins[0].WithSymbol(a.mark)
		a.mark = ""
	}
	a.ins = append(a.ins, ins...)
}

// label returns a new label.
func (a *assembler) label() string {
	a.labels++
	return fmt.Sprintf("l%d", a.labels)
}

// here puts a label at the next instruction.
func (a *assembler) here(label string) {
	if a.mark != "" { // two labels at one place
		a.emit(asm.Mov.Reg(asm.R0, asm.R0))
	}
	a.mark = label
}

// follow loads a pointer or number through a typed pointer, which the kernel checks:
// dst = src->path. It is the fastest read.
func (a *assembler) follow(dst, src asm.Register, structure, path string) {
	m := a.at(structure, path)
	sizes := map[int]asm.Size{1: asm.Byte, 2: asm.Half, 4: asm.Word, 8: asm.DWord}
	size, ok := sizes[m.size]
	if !ok {
		if a.err == nil {
			a.err = fmt.Errorf("struct %s: member %s: %w: %d bytes", structure, path, errNoMember, m.size)
		}
		size = asm.DWord
	}
	a.emit(asm.LoadMem(dst, src, int16(m.offset), size))
}

// put stores a register in a slot.
func (a *assembler) put(slot int, src asm.Register) {
	a.emit(asm.StoreMem(asm.R10, int16(slot), src, asm.DWord))
}

// get loads a slot.
func (a *assembler) get(dst asm.Register, slot int) {
	a.emit(asm.LoadMem(dst, asm.R10, int16(slot), asm.DWord))
}

// zero clears n bytes of the stack from a slot on.
func (a *assembler) zero(slot, n int) {
	a.emit(asm.Mov.Imm(asm.R0, 0))
	for i := 0; i < n; i += 8 {
		a.put(slot+i, asm.R0)
	}
}

// read copies n bytes of kernel memory at base + offset to the stack; zeros if there is
// none (bpf_probe_read_kernel, bpf-helpers(7)).
func (a *assembler) read(slot, n int, base asm.Register, offset int) {
	a.emit(asm.Mov.Reg(asm.R3, base))
	if offset != 0 {
		a.emit(asm.Add.Imm(asm.R3, int32(offset)))
	}
	a.emit(
		asm.Mov.Imm(asm.R2, int32(n)),
		asm.Mov.Reg(asm.R1, asm.R10),
		asm.Add.Imm(asm.R1, int32(slot)),
		asm.FnProbeReadKernel.Call(),
	)
}

// pointer loads the pointer at base + offset: dst = *(base + offset).
func (a *assembler) pointer(dst, base asm.Register, offset int) {
	a.read(stackScratch, 8, base, offset)
	a.get(dst, stackScratch)
}

// number loads the number of a member: dst = base->path.
func (a *assembler) number(dst, base asm.Register, structure, path string) {
	m := a.at(structure, path)
	a.numberAt(dst, base, m.offset, m.size)
}

func (a *assembler) numberAt(dst, base asm.Register, offset, size int) {
	if size < 8 {
		a.zero(stackScratch, 8)
	}
	a.read(stackScratch, min(size, 8), base, offset)
	a.get(dst, stackScratch)
}

// field copies the number of a member into the record.
func (a *assembler) field(to int, base asm.Register, structure, path string) {
	m := a.at(structure, path)
	a.read(stackRecord+to, min(m.size, 8), base, m.offset)
}

// add adds a register to a field of the record.
func (a *assembler) add(to int, src asm.Register) {
	a.get(asm.R0, stackRecord+to)
	a.emit(asm.Add.Reg(asm.R0, src))
	a.put(stackRecord+to, asm.R0)
}

// addend is a 64-bit number at an offset that is added to a field of the record, or
// subtracted.
type addend struct {
	offset, to int
	subtract   bool
}

// sum adds numbers at base. Neighbours are read at once.
func (a *assembler) sum(base asm.Register, all []addend) {
	slices.SortFunc(all, func(a, b addend) int { return a.offset - b.offset })
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].offset+8-all[0].offset <= scratchSize {
			n++
		}
		first := all[0].offset
		a.read(stackScratch, all[n-1].offset+8-first, base, first)
		for _, each := range all[:n] {
			a.get(asm.R1, stackScratch+each.offset-first)
			if each.subtract {
				a.emit(asm.Neg.Imm(asm.R1, 0))
			}
			a.add(each.to, asm.R1)
		}
		all = all[n:]
	}
}

// set sets bits of a field of the record.
func (a *assembler) set(to int, bits int32) {
	a.get(asm.R0, stackRecord+to)
	a.emit(asm.Or.Imm(asm.R0, bits))
	a.put(stackRecord+to, asm.R0)
}

// eachCPU runs body for each possible CPU with R9 = base + its per-CPU offset, base
// being the per-CPU pointer in R8. R9 is clobbered.
func (a *assembler) eachCPU(cpus int, body func()) {
	loop, done := a.label(), a.label()
	a.emit(asm.Mov.Imm(asm.R0, 0))
	a.put(stackCount, asm.R0)
	a.here(loop)
	a.get(asm.R1, stackCount)
	a.emit(asm.JGE.Imm(asm.R1, int32(cpus), done))
	a.get(asm.R2, stackMap)
	a.emit(
		asm.Mov.Reg(asm.R3, asm.R1),
		asm.LSh.Imm(asm.R3, 3),
		asm.Add.Reg(asm.R2, asm.R3),
		asm.LoadMem(asm.R9, asm.R2, 0, asm.DWord),
		asm.Add.Reg(asm.R9, asm.R8),
		asm.Add.Imm(asm.R1, 1),
	)
	a.put(stackCount, asm.R1)
	body()
	a.emit(asm.Ja.Label(loop))
	a.here(done)
}

// eachNode runs body for each node of the list whose head is at R8, with R9 = its address. It
// jumps to cut after most nodes, or if the list cannot be followed.
func (a *assembler) eachNode(most int32, cut string, body func()) {
	loop, done := a.label(), a.label()
	a.emit(asm.Mov.Imm(asm.R0, 0))
	a.put(stackCount, asm.R0)
	a.pointer(asm.R9, asm.R8, 0)
	a.here(loop)
	a.emit(asm.JEq.Reg(asm.R9, asm.R8, done), asm.JEq.Imm(asm.R9, 0, cut))
	a.get(asm.R1, stackCount)
	a.emit(asm.Add.Imm(asm.R1, 1), asm.JGT.Imm(asm.R1, most, cut))
	a.put(stackCount, asm.R1)
	body()
	a.pointer(asm.R9, asm.R9, 0)
	a.emit(asm.Ja.Label(loop))
	a.here(done)
}

// write sends the first n bytes of the record to the reader; R7 is the seq_file.
func (a *assembler) write(n int) {
	a.emit(
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, stackRecord),
		asm.Mov.Imm(asm.R3, int32(n)),
		asm.FnSeqWrite.Call(),
	)
}

// finish ends the program.
func (a *assembler) finish() (asm.Instructions, error) {
	a.emit(asm.Mov.Imm(asm.R0, 0), asm.Return())
	return a.ins, a.err
}

// optional drops an error about members that this kernel lacks.
func (a *assembler) optional(write func()) (ok bool) {
	was, ins, mark := a.err, len(a.ins), a.mark
	a.err = nil
	write()
	if errors.Is(a.err, errNoMember) {
		a.err, a.ins, a.mark = was, a.ins[:ins], mark
		return false
	}
	if was != nil {
		a.err = was
	}
	return a.err == nil
}
