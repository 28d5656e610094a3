/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All differences between kernels. Features are tested, not versions, because
 * distributions backport changes. Each difference names the release that
 * introduced it.
 */
#ifndef ESTIBA_COMPAT_H
#define ESTIBA_COMPAT_H

#include <linux/build_bug.h>
#include <linux/cgroup.h>
#include <linux/compiler.h>
#include <linux/mm.h>
#include <linux/path.h>
#include <linux/percpu.h>
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

/* Exported by all kernels, but declared in a private header by older ones. */
int vfs_path_lookup(struct dentry *dentry, struct vfsmount *mnt,
		    const char *name, unsigned int flags, struct path *path);

/*
 * The per-CPU CPU times of a cgroup: rstat_base_cpu since 6.16, rstat_cpu before,
 * a name that 6.16 gave to something else. Kbuild compiles this file with each of
 * the two and defines the one that works.
 */
#if defined(ESTIBA_RSTAT_BASE_CPU) && defined(ESTIBA_RSTAT_CPU)
#error "struct cgroup has CPU times in rstat_cpu and in rstat_base_cpu: cannot choose"
#elif defined(ESTIBA_RSTAT_BASE_CPU)
typedef struct cgroup_rstat_base_cpu estiba_rstat_cpu;
#define ESTIBA_RSTAT rstat_base_cpu
#elif defined(ESTIBA_RSTAT_CPU)
typedef struct cgroup_rstat_cpu estiba_rstat_cpu;
#define ESTIBA_RSTAT rstat_cpu
#else
#error "struct cgroup has CPU times neither in rstat_cpu nor in rstat_base_cpu: see the compiler errors above"
#endif

static inline estiba_rstat_cpu *estiba_cgroup_cpu(struct cgroup *cgrp, int cpu)
{
	estiba_rstat_cpu *s = per_cpu_ptr(cgrp->ESTIBA_RSTAT, cpu);

	static_assert(__same_type(s->bstat, cgrp->bstat));
	static_assert(__same_type(s->last_bstat, cgrp->bstat));
	return s;
}

/*
 * The PSI of a cgroup: since 6.1 (and in RHEL 9's 5.14) a separate allocation,
 * NULL when PSI is off; before that, embedded in the cgroup.
 */
#ifdef CONFIG_PSI
static inline struct psi_group *estiba_psi_apart(struct psi_group **psi)
{
	return *psi;
}

static inline struct psi_group *estiba_psi_inside(struct psi_group *psi)
{
	return psi->pcpu ? psi : NULL;
}

static inline struct psi_group *estiba_cgroup_psi(struct cgroup *cgrp)
{
	return _Generic(&cgrp->psi,
			struct psi_group **: estiba_psi_apart,
			struct psi_group *: estiba_psi_inside)(&cgrp->psi);
}
#endif

#endif
