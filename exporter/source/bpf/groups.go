package bpf

import (
	"github.com/cilium/ebpf/asm"
)

// The fields of the record of a css_set: offsets in bytes. Those of a controller are of
// the cgroup where it is enabled, which can be above that of the processes. A cgroup's id
// is its inode (kernfs_node.id).
const (
	groupKind   = 8 * iota
	groupFlags  // see flagPressure
	groupSet    // address of the css_set
	groupHash   // of the ids of its cgroups in all hierarchies
	groupID     // of its cgroup in the v2 hierarchy
	groupBelow  // number of cgroups below that, removed ones included that still have memory
	groupSystem // ns, of that cgroup
	groupUser
	groupRuntime
	groupPressureIO // ns, some
	groupPressureMemory
	groupPressureCPU

	cpuID
	cpuPeriod // ns
	cpuQuota  // ns, all ones: none
	cpuPeriods
	cpuThrottledPeriods
	cpuThrottled // ns

	memoryID
	memoryBelow
	memoryUsage // pages
	memoryMax   // pages
	memorySwap  // pages, v2
	memoryOOMKills
	memoryInactiveFile // pages, without cgroups below

	cpuacctID
	cpuacctUsage // ns
	cpuacctUser
	cpuacctSystem

	ioID
	ioBelow

	groupSize = ioBelow + 8
)

// The fields of the record of a block device.
const (
	deviceKind = 8 * iota
	deviceGroup
	deviceMajor
	deviceMinor
	deviceRead // bytes
	deviceWritten

	deviceSize = deviceWritten + 8
)

// groups writes the record of the cgroups of the task of R6, if it is the first of its
// css_set: so there is one record for each combination of cgroups in use.
func (a *assembler) groups(features features, end string) {
	tasks := a.at("css_set", "tasks").offset
	a.pointer(asm.R6, asm.R6, a.at("task_struct", "cgroups").offset)
	a.pointer(asm.R1, asm.R6, tasks)
	a.get(asm.R2, stackTask)
	a.emit(asm.Add.Imm(asm.R2, int32(a.at("task_struct", "cg_list").offset)), asm.JNE.Reg(asm.R1, asm.R2, end))

	// R6 is the css_set from here on.
	a.zero(stackRecord, groupSize)
	a.emit(asm.Mov.Imm(asm.R1, kindGroup))
	a.put(stackRecord+groupKind, asm.R1)
	a.put(stackRecord+groupSet, asm.R6)
	a.hash()
	a.unified(features)
	a.controller("cpu", controller{id: cpuID, below: -1, unified: flagCPUUnified}, a.cpu)
	a.controller("memory", controller{memoryID, memoryBelow, flagMemoryUnified}, func() { a.memoryGroup(features) })
	if features.cpus > 0 {
		a.finds.cpuacct = a.controller("cpuacct", controller{id: cpuacctID, below: -1}, func() { a.cpuacct(features) })
	}
	a.controller("io", controller{ioID, ioBelow, flagIOUnified}, nil)
	a.write(groupSize)
	if features.devices {
		a.finds.devices = a.optional(func() { a.devices(features, end) })
	}
}

// maxHierarchies is how many hierarchies a css_set is asked for.
const maxHierarchies = 32

// hash adds a number for the cgroups of the css_set R6 in all hierarchies, named ones
// included: an address can be used again, the id of a cgroup is not.
func (a *assembler) hash() {
	const link = "cgrp_cset_link"
	next := a.at(link, "cgrp_link").offset
	cut := a.label()
	a.emit(asm.Mov.Reg(asm.R8, asm.R6), asm.Add.Imm(asm.R8, int32(a.at("css_set", "cgrp_links").offset)))
	a.eachNode(maxHierarchies, cut, func() {
		a.pointer(asm.R1, asm.R9, a.at(link, "cgrp").offset-next)
		a.pointer(asm.R1, asm.R1, a.at("cgroup", "kn").offset)
		a.pointer(asm.R1, asm.R1, a.at("kernfs_node", "id").offset)
		a.get(asm.R2, stackRecord+groupHash)
		a.emit(asm.Mul.Imm(asm.R2, 1000003), asm.Add.Reg(asm.R2, asm.R1))
		a.put(stackRecord+groupHash, asm.R2)
	})
	a.here(cut)
}

// unified adds the numbers that every cgroup of the v2 hierarchy has.
func (a *assembler) unified(features features) {
	a.pointer(asm.R8, asm.R6, a.at("css_set", "dfl_cgrp").offset)
	a.put(stackA, asm.R8)
	a.pointer(asm.R1, asm.R8, a.at("cgroup", "root").offset)
	a.put(stackRoot, asm.R1)
	a.identify(asm.R8, groupID, groupBelow)
	root := a.label() // of a hierarchy that is not in use: cgroup v1
	a.number(asm.R1, asm.R8, "cgroup", "level")
	a.emit(asm.JEq.Imm(asm.R1, 0, root))
	a.optional(a.pressure)
	if features.cpus > 0 {
		a.finds.times = a.optional(func() { a.usage(features) })
	}
	a.here(root)
}

// identify adds the id of the cgroup of a register and the number of cgroups below it. A
// removed one below it lives as long as it has memory, and counts.
func (a *assembler) identify(group asm.Register, id, below int) {
	if below >= 0 {
		for _, name := range [...]string{"nr_descendants", "nr_dying_descendants"} {
			a.number(asm.R1, group, "cgroup", name)
			a.add(below, asm.R1)
		}
	}
	a.pointer(asm.R1, group, a.at("cgroup", "kn").offset)
	a.read(stackRecord+id, 8, asm.R1, a.at("kernfs_node", "id").offset)
}

// usage adds the CPU time: what was flushed to the cgroup, and what each CPU has not
// flushed yet (kernel/cgroup/rstat.c). What is flushed meanwhile is missing, not counted
// twice.
func (a *assembler) usage(features features) {
	structure, pointer := "cgroup_rstat_base_cpu", "rstat_base_cpu" // Linux 6.16
	if !a.has("cgroup", pointer) {
		structure, pointer = "cgroup_rstat_cpu", "rstat_cpu"
	}
	times := [...]struct {
		name string
		to   int
	}{{"stime", groupSystem}, {"utime", groupUser}, {"sum_exec_runtime", groupRuntime}}
	var flushed, pending []addend
	for _, t := range times {
		flushed = append(flushed, addend{offset: a.at("cgroup", "bstat.cputime."+t.name).offset, to: t.to})
		pending = append(pending,
			addend{offset: a.at(structure, "bstat.cputime."+t.name).offset, to: t.to},
			addend{offset: a.at(structure, "last_bstat.cputime."+t.name).offset, to: t.to, subtract: true})
	}
	a.get(asm.R8, stackA)
	a.sum(asm.R8, flushed)
	a.pointer(asm.R8, asm.R8, a.at("cgroup", pointer).offset)
	a.eachCPU(features.cpus, func() { a.sum(asm.R9, pending) })
}

// pressure adds the pressure stall times (some), which the kernel updates every two
// seconds (kernel/sched/psi.c).
func (a *assembler) pressure() {
	off := a.label()
	psi := a.at("cgroup", "psi")
	a.get(asm.R8, stackA)
	if psi.isPointer() { // Linux 6.0
		a.pointer(asm.R8, asm.R8, psi.offset)
		a.emit(asm.JEq.Imm(asm.R8, 0, off))
	} else {
		a.emit(asm.Add.Imm(asm.R8, int32(psi.offset)))
	}
	if a.has("psi_group", "enabled") {
		a.number(asm.R1, asm.R8, "psi_group", "enabled")
		a.emit(asm.JEq.Imm(asm.R1, 0, off))
	}
	total := a.at("psi_group", "total").offset
	for i, to := range [...]int{groupPressureIO, groupPressureMemory, groupPressureCPU} {
		a.read(stackRecord+to, 8, asm.R8, total+8*2*i) // PSI_IO_SOME, PSI_MEM_SOME, PSI_CPU_SOME
	}
	a.set(groupFlags, flagPressure)
	a.here(off)
}

// controller is where the record has a controller: the id of its cgroup, the number of
// those below it (-1: not), and the flag for the v2 hierarchy (0: none).
type controller struct {
	id, below int
	unified   int32
}

// controller calls body with R8 = the css of a controller, which the css_set R6 has. If this
// kernel lacks what body needs, the controller has no id, and its files are read.
func (a *assembler) controller(name string, c controller, body func()) bool {
	return a.optional(func() {
		which, err := a.value("cgroup_subsys_id", name+"_cgrp_id")
		if err != nil {
			a.err = err
			return
		}
		none := a.label()
		a.pointer(asm.R8, asm.R6, a.at("css_set", "subsys").offset+8*which)
		a.emit(asm.JEq.Imm(asm.R8, 0, none))
		a.pointer(asm.R9, asm.R8, a.at("cgroup_subsys_state", "cgroup").offset)
		a.identify(asm.R9, c.id, c.below)
		v1 := a.label()
		a.pointer(asm.R1, asm.R9, a.at("cgroup", "root").offset)
		a.get(asm.R2, stackRoot)
		a.emit(asm.JNE.Reg(asm.R1, asm.R2, v1))
		a.set(groupFlags, c.unified)
		a.here(v1)
		if body != nil {
			body()
		}
		a.here(none)
	})
}

// cpu adds the numbers of the CPU controller; R8 is its task_group.
func (a *assembler) cpu() {
	const structure, bandwidth = "task_group", "cfs_bandwidth."
	a.field(cpuPeriod, asm.R8, structure, bandwidth+"period")
	a.field(cpuQuota, asm.R8, structure, bandwidth+"quota")
	a.field(cpuPeriods, asm.R8, structure, bandwidth+"nr_periods")
	a.field(cpuThrottledPeriods, asm.R8, structure, bandwidth+"nr_throttled")
	a.field(cpuThrottled, asm.R8, structure, bandwidth+"throttled_time")
}

// memoryGroup adds the numbers of the memory controller; R8 is its mem_cgroup.
func (a *assembler) memoryGroup(features features) {
	const structure = "mem_cgroup"
	a.field(memoryUsage, asm.R8, structure, "memory.usage.counter")
	a.field(memoryMax, asm.R8, structure, "memory.max")
	a.optional(func() { a.field(memorySwap, asm.R8, structure, "swap.usage.counter") })
	if kill, err := a.value("memcg_memory_event", "MEMCG_OOM_KILL"); err == nil {
		a.read(stackRecord+memoryOOMKills, 8, asm.R8, a.at(structure, "memory_events").offset+8*kill)
	}
	a.finds.inactive = features.nodes > 0 && a.optional(func() {
		for node := range features.nodes {
			none := a.label()
			a.pointer(asm.R9, asm.R8, a.at(structure, "nodeinfo").offset+8*node)
			a.emit(asm.JEq.Imm(asm.R9, 0, none))
			a.inactiveFile()
			a.here(none)
		}
	})
}

// The lists of a lruvec (enum lru_list) and the zones of a node.
const (
	lruLists        = 5
	lruInactiveFile = 2
)

// inactiveFile adds the inactive file pages of a mem_cgroup_per_node in R9: those of the
// list, or with the multi-generational LRU those of all generations but the two
// youngest.
func (a *assembler) inactiveFile() {
	const structure = "mem_cgroup_per_node"
	sizes := a.at(structure, "lru_zone_size") // [zones][lruLists]
	zones := sizes.size / 8 / lruLists
	var lists []addend
	for zone := range zones {
		lists = append(lists, addend{offset: sizes.offset + 8*(zone*lruLists+lruInactiveFile), to: memoryInactiveFile})
	}
	a.sum(asm.R9, lists)
	a.optional(func() {
		pages := a.at(structure, "lruvec.lrugen.nr_pages") // [generations][anon, file][zones]
		generations := pages.size / 8 / 2 / zones
		a.read(stackC, 8, asm.R9, a.at(structure, "lruvec.lrugen.max_seq").offset)
		for g := range generations {
			young := a.label()
			for _, newest := range [...]int32{0, 1} {
				a.get(asm.R1, stackC)
				a.emit(asm.Sub.Imm(asm.R1, newest), asm.Mod.Imm(asm.R1, int32(generations)), asm.JEq.Imm(asm.R1, int32(g), young))
			}
			var each []addend
			for zone := range zones {
				each = append(each, addend{offset: pages.offset + 8*((g*2+1)*zones+zone), to: memoryInactiveFile})
			}
			a.sum(asm.R9, each)
			a.here(young)
		}
	})
}

// The modes of a CPU's time (enum cpu_usage_stat).
const (
	cpuUser = iota
	cpuNice
	cpuSystem
	cpuSoftIRQ
	cpuIRQ
)

// cpuacct adds the CPU time of the v1 controller; R8 is its cpuacct.
func (a *assembler) cpuacct(features features) {
	usage := a.at("cpuacct", "cpuusage")
	a.pointer(asm.R9, asm.R8, a.at("cpuacct", "cpustat").offset)
	a.put(stackB, asm.R9)
	a.pointer(asm.R8, asm.R8, usage.offset)
	all := []addend{{to: cpuacctUsage}}
	if a.has("cpuacct_usage", "usages") { // user and system, before Linux 5.11
		all = append(all, addend{offset: 8, to: cpuacctUsage})
	}
	a.eachCPU(features.cpus, func() { a.sum(asm.R9, all) })
	a.get(asm.R8, stackB)
	modes := a.at("kernel_cpustat", "cpustat").offset
	var times []addend
	for mode, to := range [...]int{
		cpuUser: cpuacctUser, cpuNice: cpuacctUser,
		cpuSystem: cpuacctSystem, cpuSoftIRQ: cpuacctSystem, cpuIRQ: cpuacctSystem,
	} {
		times = append(times, addend{offset: modes + 8*mode, to: to})
	}
	a.eachCPU(features.cpus, func() { a.sum(asm.R9, times) })
}

// maxDevices is how many block devices of a cgroup are read. One with more has a record with
// the major number cut.
const (
	maxDevices = 16
	cut        = 1<<32 - 1
)

// devices writes a record for each block device that the cgroup of the io controller has
// used; R6 is the css_set.
func (a *assembler) devices(features features, end string) {
	which, err := a.value("cgroup_subsys_id", "io_cgrp_id")
	if err != nil {
		a.err = err
		return
	}
	node := a.at("blkcg_gq", "blkcg_node").offset
	loop, tooMany := a.label(), a.label()
	a.get(asm.R1, stackRecord+ioID)
	a.put(stackA, asm.R1)
	a.pointer(asm.R8, asm.R6, a.at("css_set", "subsys").offset+8*which)
	a.emit(asm.JEq.Imm(asm.R8, 0, end), asm.Mov.Imm(asm.R1, 0))
	a.put(stackC, asm.R1)
	a.get(asm.R1, stackRecord+groupFlags)
	a.emit(asm.And.Imm(asm.R1, flagIOUnified), asm.JEq.Imm(asm.R1, 0, end)) // cgroup v1 counts elsewhere
	a.pointer(asm.R6, asm.R8, a.at("blkcg", "blkg_list").offset)
	a.here(loop)
	a.emit(asm.JEq.Imm(asm.R6, 0, end))
	a.get(asm.R1, stackC)
	a.emit(asm.Add.Imm(asm.R1, 1), asm.JGT.Imm(asm.R1, maxDevices, tooMany))
	a.put(stackC, asm.R1)
	a.device(features, node)
	a.pointer(asm.R6, asm.R6, 0)
	a.emit(asm.Ja.Label(loop))
	a.here(tooMany)
	a.beginDevice()
	a.emit(asm.Mov.Imm32(asm.R1, -1))
	a.put(stackRecord+deviceMajor, asm.R1)
	a.write(deviceSize)
}

// beginDevice begins the record of a block device.
func (a *assembler) beginDevice() {
	a.zero(stackRecord, deviceSize)
	a.emit(asm.Mov.Imm(asm.R1, kindDevice))
	a.put(stackRecord+deviceKind, asm.R1)
	a.get(asm.R1, stackA)
	a.put(stackRecord+deviceGroup, asm.R1)
}

// device writes the record of the blkcg_gq whose blkcg_node is R6.
func (a *assembler) device(features features, node int) {
	const structure, set = "blkcg_gq", "blkg_iostat_set"
	a.beginDevice()
	a.pointer(asm.R8, asm.R6, a.at(structure, "q").offset-node)
	a.pointer(asm.R8, asm.R8, a.at("request_queue", "disk").offset)
	idle := a.label()
	a.emit(asm.JEq.Imm(asm.R8, 0, idle)) // it is gone
	a.field(deviceMajor, asm.R8, "gendisk", "major")
	a.field(deviceMinor, asm.R8, "gendisk", "first_minor")
	var flushed, pending []addend
	for i, to := range [...]int{deviceRead, deviceWritten} { // BLKG_IOSTAT_READ, BLKG_IOSTAT_WRITE
		flushed = append(flushed, addend{offset: a.at(structure, "iostat.cur.bytes").offset + 8*i - node, to: to})
		pending = append(pending,
			addend{offset: a.at(set, "cur.bytes").offset + 8*i, to: to},
			addend{offset: a.at(set, "last.bytes").offset + 8*i, to: to, subtract: true})
	}
	a.sum(asm.R6, flushed)
	a.pointer(asm.R8, asm.R6, a.at(structure, "iostat_cpu").offset-node)
	a.eachCPU(features.cpus, func() { a.sum(asm.R9, pending) })
	a.get(asm.R1, stackRecord+deviceRead)
	a.get(asm.R2, stackRecord+deviceWritten)
	a.emit(asm.Or.Reg(asm.R1, asm.R2), asm.JEq.Imm(asm.R1, 0, idle))
	a.write(deviceSize)
	a.here(idle)
}
