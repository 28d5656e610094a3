package bpf

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// The kinds of records.
const (
	kindProcess = 1 + iota
	kindThread  // a live thread of a process whose main thread has exited
	kindGroup   // the cgroups of a css_set
	kindDevice  // the I/O of one block device of a cgroup
)

// The fields of a process's record: offsets in bytes. All are 64-bit numbers but the
// name.
const (
	processKind = 8 * iota
	processPID
	processParent
	processExit  // task_struct.exit_state
	processFlags // see flagIncomplete
	processName  // 16 bytes
	_
	processStart   // ns, boot clock
	processThreads // signal_struct.nr_threads
	processSet     // address of its css_set
	processNetwork // inode of its network namespace
	processVSZ     // pages
	processFile    // resident pages of files …
	processAnon    // … anonymous ones
	processSwap    // swapped ones
	processShmem   // … of shared memory
	processMinor
	processMajor
	processUser    // ns
	processSystem  // ns
	processRuntime // ns, exact
	processChildrenUser
	processChildrenSystem
	processIO // numIO numbers in the kernel's order

	processSize = processIO + 8*numIO
)

// numIO is the number of counters of task_io_accounting that /proc/PID/io shows, but
// cancelled_write_bytes.
const numIO = 6

func ioMembers() [numIO]string {
	return [numIO]string{"rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes"}
}

// Flags of a record.
const (
	// flagIncomplete: a process has more threads than maxThreads, is named like a shim, or
	// its list of threads could not be read: the sums lack threads.
	flagIncomplete = 1 << iota
	flagPressure   // the pressure stall times of a cgroup are known
	// The controller's cgroup is of the v2 hierarchy.
	flagCPUUnified
	flagMemoryUnified
	flagIOUnified
)

// kernelThread is PF_KTHREAD (include/linux/sched.h).
const kernelThread = 0x00200000

// maxThreads is how many threads of a process are summed. The kernel checks the loop
// step by step when it loads the program.
const maxThreads = 256

// tasks writes the program that an iterator runs once for each thread of the host
// (bpf_iter__task, kernel/bpf/task_iter.c). It writes a record for each process, and one
// for the cgroups of each css_set whose first task is a main thread.
func (a *assembler) tasks(features features) {
	end, record := a.label(), a.label()

	// R6 is the task, R7 the seq_file.
	a.emit(asm.LoadMem(asm.R6, asm.R1, 8, asm.DWord), asm.JEq.Imm(asm.R6, 0, end))
	a.emit(
		asm.Mov.Reg(asm.R8, asm.R1),
		asm.LoadMem(asm.R7, asm.R1, 0, asm.DWord), // bpf_iter_meta
		asm.LoadMem(asm.R7, asm.R7, 0, asm.DWord),
	)
	a.pointer(asm.R9, asm.R8, 8)
	a.put(stackTask, asm.R9)

	a.follow(asm.R1, asm.R6, "task_struct", "pid")
	a.follow(asm.R2, asm.R6, "task_struct", "tgid")
	a.emit(asm.Mov.Imm(asm.R9, kindProcess), asm.JEq.Reg(asm.R1, asm.R2, record))

	a.emit(asm.Mov.Imm(asm.R9, kindThread))
	a.follow(asm.R1, asm.R6, "task_struct", "group_leader")
	a.follow(asm.R1, asm.R1, "task_struct", "exit_state")
	a.emit(asm.JEq.Imm(asm.R1, 0, end)) // the usual case
	a.follow(asm.R1, asm.R6, "task_struct", "exit_state")
	a.emit(asm.JNE.Imm(asm.R1, 0, end))

	a.here(record)
	a.process(features)
	a.write(processSize)

	if features.groups {
		a.groups(features, end)
	}
	a.here(end)
}

// process builds the record of the process of R6; R9 is its kind.
func (a *assembler) process(features features) {
	a.zero(stackRecord, processSize)
	a.put(stackRecord+processKind, asm.R9)
	copies := func(to int, src asm.Register, structure, path string) {
		a.follow(asm.R1, src, structure, path)
		a.put(stackRecord+to, asm.R1)
	}
	copies(processPID, asm.R6, "task_struct", "tgid")
	copies(processExit, asm.R6, "task_struct", "exit_state")
	copies(processStart, asm.R6, "task_struct", "start_boottime")
	a.follow(asm.R8, asm.R6, "task_struct", "real_parent")
	copies(processParent, asm.R8, "task_struct", "tgid")
	a.read(stackRecord+processName, 16, asm.R6, a.at("task_struct", "comm").offset)
	a.read(stackRecord+processSet, 8, asm.R6, a.at("task_struct", "cgroups").offset)
	a.optional(func() {
		none := a.label()
		a.follow(asm.R8, asm.R6, "task_struct", "nsproxy")
		a.emit(asm.JEq.Imm(asm.R8, 0, none)) // it is exiting
		a.follow(asm.R8, asm.R8, "nsproxy", "net_ns")
		a.emit(asm.JEq.Imm(asm.R8, 0, none))
		copies(processNetwork, asm.R8, "net", "ns.inum")
		a.here(none)
	})
	a.follow(asm.R8, asm.R6, "task_struct", "signal")
	copies(processThreads, asm.R8, "signal_struct", "nr_threads")
	copies(processChildrenUser, asm.R8, "signal_struct", "cutime")
	copies(processChildrenSystem, asm.R8, "signal_struct", "cstime")
	all, named := a.label(), a.label()
	a.get(asm.R1, stackRecord+processKind) // of a thread only memory and cgroups count
	a.emit(asm.JNE.Imm(asm.R1, kindProcess, named))
	a.get(asm.R1, stackRecord+processName)
	a.emit(asm.LoadImm(asm.R2, int64(binary.NativeEndian.Uint64([]byte(shimName))), asm.DWord), asm.JNE.Reg(asm.R1, asm.R2, all))
	a.set(processFlags, flagIncomplete)
	a.emit(asm.Ja.Label(named))
	a.here(all)
	a.threads()
	a.here(named)
	a.memory(features)
}

// shimName is how the name of every containerd shim begins. Shims have a dozen threads each
// and are in no container. One that is, by its name only, is read from its files.
const shimName = "containe"

// threads sums what each thread has, and what exited ones have left in signal_struct.
// These are read first: a thread that exits meanwhile is missing, not counted twice.
func (a *assembler) threads() {
	const structure, signal = "task_struct", "signal_struct"
	a.pointer(asm.R8, asm.R6, a.at(structure, "signal").offset)
	var exited, each []addend
	head, node := a.at(signal, "thread_head").offset, a.at(structure, "thread_node").offset
	both := func(to int, inSignal, inTask string) {
		exited = append(exited, addend{offset: a.at(signal, inSignal).offset, to: to})
		each = append(each, addend{offset: a.at(structure, inTask).offset - node, to: to})
	}
	both(processUser, "utime", "utime")
	both(processSystem, "stime", "stime")
	both(processRuntime, "sum_sched_runtime", "se.sum_exec_runtime")
	both(processMinor, "min_flt", "min_flt")
	both(processMajor, "maj_flt", "maj_flt")
	for i, name := range ioMembers() {
		if a.has(structure, "ioac."+name) {
			both(processIO+8*i, "ioac."+name, "ioac."+name)
		}
	}
	exited = append(exited,
		addend{offset: a.at(signal, "cmin_flt").offset, to: processMinor},
		addend{offset: a.at(signal, "cmaj_flt").offset, to: processMajor})
	a.sum(asm.R8, exited)

	cut, done := a.label(), a.label()
	a.emit(asm.Add.Imm(asm.R8, int32(head)))
	a.eachNode(maxThreads, cut, func() { a.sum(asm.R9, each) })
	a.emit(asm.Ja.Label(done))
	a.here(cut)
	a.set(processFlags, flagIncomplete)
	a.here(done)
}

// memory adds the address space. Since Linux 6.2 its counters are per CPU: mm_struct has
// the sums of full batches only, up to 32 pages and twice the number of CPUs a CPU off.
func (a *assembler) memory(features features) {
	none := a.label()
	a.follow(asm.R1, asm.R6, "task_struct", "flags")
	a.emit(asm.And.Imm(asm.R1, kernelThread), asm.JNE.Imm(asm.R1, 0, none)) // it can borrow one
	a.follow(asm.R8, asm.R6, "task_struct", "mm")
	a.emit(asm.JEq.Imm(asm.R8, 0, none))
	a.follow(asm.R1, asm.R8, "mm_struct", "total_vm")
	a.put(stackRecord+processVSZ, asm.R1)
	fields := [...]int{processFile, processAnon, processSwap, processShmem} // MM_FILEPAGES …
	counts, old := a.at("mm_struct", "rss_stat"), a.has("mm_struct", "rss_stat.count")
	a.pointer(asm.R8, asm.R6, a.at("task_struct", "mm").offset)
	if old {
		for i, to := range fields {
			a.read(stackRecord+to, 8, asm.R8, a.at("mm_struct", "rss_stat.count").offset+8*i)
		}
		a.here(none)
		return
	}
	size, err := a.size("percpu_counter")
	if counter, ok := counts.element().(*btf.Struct); err == nil && (!ok || counter.Name != "percpu_counter") {
		err = fmt.Errorf("struct mm_struct: rss_stat: %w", errNoMember)
	}
	if err != nil && a.err == nil {
		a.err = err
	}
	sum, perCPU := a.at("percpu_counter", "count"), a.at("percpu_counter", "counters")
	for i, to := range fields {
		a.read(stackRecord+to, 8, asm.R8, counts.offset+size*i+sum.offset)
	}
	if features.cpus > 0 {
		// The parts of all four are neighbours (percpu_counter_init_many), since 6.6.
		apart, done := a.label(), a.label()
		a.pointer(asm.R9, asm.R8, counts.offset+3*size+perCPU.offset)
		a.pointer(asm.R8, asm.R8, counts.offset+perCPU.offset)
		a.emit(
			asm.Mov.Reg(asm.R1, asm.R8), asm.Add.Imm(asm.R1, 12),
			asm.JNE.Reg(asm.R1, asm.R9, apart),
		)
		a.eachCPU(features.cpus, func() {
			a.read(stackScratch, 16, asm.R9, 0)
			for i, to := range fields {
				a.emit(
					asm.LoadMem(asm.R1, asm.R10, int16(stackScratch+4*i), asm.Word),
					asm.LSh.Imm(asm.R1, 32), asm.ArSh.Imm(asm.R1, 32), // sign
				)
				a.add(to, asm.R1)
			}
		})
		a.emit(asm.Ja.Label(done))
		a.here(apart)
		a.pointer(asm.R8, asm.R6, a.at("task_struct", "mm").offset)
		a.put(stackA, asm.R8)
		for i, to := range fields {
			a.get(asm.R8, stackA)
			a.pointer(asm.R8, asm.R8, counts.offset+size*i+perCPU.offset)
			a.eachCPU(features.cpus, func() {
				a.read(stackScratch, 4, asm.R9, 0)
				a.emit(
					asm.LoadMem(asm.R1, asm.R10, stackScratch, asm.Word),
					asm.LSh.Imm(asm.R1, 32), asm.ArSh.Imm(asm.R1, 32),
				)
				a.add(to, asm.R1)
			})
		}
		a.here(done)
	}
	a.here(none)
}
