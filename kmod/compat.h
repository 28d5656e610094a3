/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The only place that asks for the kernel's version. Each difference names the
 * release that brought it.
 */
#ifndef ESTIBA_COMPAT_H
#define ESTIBA_COMPAT_H

#include <linux/cgroup.h>
#include <linux/mm.h>
#include <linux/psi_types.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 10, 0)
#error "estiba needs Linux 5.10 or newer"
#endif

#ifndef CONFIG_64BIT
#error "estiba needs a 64-bit kernel: it reads 64-bit counters without a lock"
#endif

#ifndef CONFIG_CGROUPS
#error "estiba needs a kernel with control groups"
#endif

/*
 * 6.16 moved the CPU time of a cgroup out of the general per-CPU statistics
 * into a structure of its own.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
typedef struct cgroup_rstat_base_cpu estiba_rstat_cpu;

static inline estiba_rstat_cpu *estiba_cgroup_cpu(struct cgroup *cgrp, int cpu)
{
	return per_cpu_ptr(cgrp->rstat_base_cpu, cpu);
}
#else
typedef struct cgroup_rstat_cpu estiba_rstat_cpu;

static inline estiba_rstat_cpu *estiba_cgroup_cpu(struct cgroup *cgrp, int cpu)
{
	return per_cpu_ptr(cgrp->rstat_cpu, cpu);
}
#endif

/*
 * 6.1 made the pressure statistics of a cgroup a separate allocation, which is
 * not there when they are switched off. Before, a part of them was.
 */
static inline struct psi_group *estiba_cgroup_psi(struct cgroup *cgrp)
{
#ifndef CONFIG_PSI
	return NULL;
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0)
	return cgrp->psi;
#else
	return cgrp->psi.pcpu ? &cgrp->psi : NULL;
#endif
}

#endif
