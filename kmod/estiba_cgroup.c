// SPDX-License-Identifier: GPL-2.0-only
/*
 * The v2 cgroup that is a container's own, and what it counts.
 *
 * It is the lowest cgroup that holds all children of the shim, raised to the
 * highest one that carries the container's id in its name: the first process
 * may have moved itself further down. It is the container's own if it is not
 * the root, the shim does not live in it, and no other container claims it.
 */
#include <linux/cgroup.h>
#include <linux/hashtable.h>
#include <linux/percpu.h>
#include <linux/psi_types.h>
#include <linux/string.h>
#include <linux/u64_stats_sync.h>

#include "compat.h"
#include "estiba.h"

/* Containers of this build by their cgroup. */
static DEFINE_HASHTABLE(owners, 10);

/* Groups looked at before others get the CPU: each counts on every CPU. */
#define GROUPS_BATCH 64

/*
 * estiba_css_next - css_next_descendant_pre that lets others run now and then:
 * who may make groups below his own can make any number. Under RCU, which it
 * leaves for that, so the caller holds a reference to top.
 */
struct cgroup_subsys_state *estiba_css_next(struct cgroup_subsys_state *pos,
					    struct cgroup_subsys_state *top,
					    unsigned int *looked)
{
	struct cgroup_subsys_state *next;

	if (++*looked % GROUPS_BATCH || !pos || !css_tryget(pos))
		return css_next_descendant_pre(pos, top);
	rcu_read_unlock();
	cond_resched();
	rcu_read_lock();
	next = css_next_descendant_pre(pos, top);
	css_put(pos);
	return next;
}

/*
 * The lowest cgroup above both; the root in the end. Step by step: a group can
 * lie deep, and older kernels climb for each cgroup_ancestor.
 */
static struct cgroup *common_ancestor(struct cgroup *a, struct cgroup *b)
{
	while (a != b) {
		if (a->level > b->level) {
			a = cgroup_parent(a);
		} else if (b->level > a->level) {
			b = cgroup_parent(b);
		} else {
			a = cgroup_parent(a);
			b = cgroup_parent(b);
		}
	}
	return a;
}

/*
 * estiba_cgroup_child - child is a child of the shim. Keeps a reference to the
 * cgroup that all of them have in common. Under RCU.
 */
void estiba_cgroup_child(struct estiba_container *c, struct task_struct *child)
{
	struct cgroup *cgrp, *common;

	child = estiba_staying(child);
	if (c->cgroup_mixed || !child)
		return;
	cgrp = task_dfl_cgroup(child);
	/* Still the shim's: a runtime that has not moved itself yet. */
	if (!cgrp->level || cgrp == task_dfl_cgroup(c->shim))
		return;
	if (!c->cgroup) {
		if (css_tryget(&cgrp->self))
			c->cgroup = cgrp;
		return;
	}
	if (cgroup_is_descendant(cgrp, c->cgroup))
		return;
	common = common_ancestor(cgrp, c->cgroup);
	if (common->level && css_tryget(&common->self)) {
		cgroup_put(c->cgroup);
		c->cgroup = common;
		return;
	}
	cgroup_put(c->cgroup);
	c->cgroup = NULL;
	c->cgroup_mixed = true;
}

/* Where the component of path that holds id ends; 0: none does. */
static size_t end_of_named(const char *path, size_t len,
			   const struct shim_args *args, int *level)
{
	size_t at = 0;

	for (*level = 1; at < len; ++*level) {
		size_t begin = at + 1;
		const char *slash;
		size_t i;

		slash = begin < len ? memchr(path + begin, '/', len - begin) : NULL;
		at = slash ? slash - path : len;
		for (i = begin; i + args->id_len <= at; i++)
			if (!memcmp(path + i, args->id, args->id_len))
				return at;
	}
	return 0;
}

/* Looks the path up where it is not known yet: cgroups do not move. */
static void find_path(struct estiba_container *c)
{
	size_t end;
	int len, level;

	if (c->path_of == cgroup_id(c->cgroup))
		return;
	c->path_of = cgroup_id(c->cgroup);
	c->path_level = c->cgroup->level;
	c->path_len = 0;
	len = cgroup_path(c->cgroup, c->path, sizeof(c->path));
	/* Of one that is too long most kernels tell the length of what fits. */
	if (len <= 0 || len >= (int)sizeof(c->path) - 1)
		return;
	end = end_of_named(c->path, len, &c->args, &level);
	if (end && level <= c->cgroup->level) {
		c->path_level = level;
		c->path_len = end;
	} else {
		c->path_len = len;
	}
}

static void find_own(struct estiba_container *c)
{
	struct estiba_container *other;
	struct cgroup *own;

	if (!c->cgroup)
		return;
	find_path(c);
	own = cgroup_ancestor(c->cgroup, c->path_level);
	if (cgroup_is_descendant(task_dfl_cgroup(c->shim), own))
		return;
	c->own = own;
	hash_for_each_possible(owners, other, by_cgroup, cgroup_id(own)) {
		if (other->own != own)
			continue;
		other->own_shared = true;
		c->own_shared = true;
		return;
	}
	hash_add(owners, &c->by_cgroup, cgroup_id(own));
}

/*
 * Keeps a reference to the own cgroup beyond this snapshot, so that the next one
 * can still read what a container used that has ended meanwhile.
 */
static void hold(struct estiba_container *c)
{
	if (c->own_shared)
		c->own = NULL;
	/* Without any process it is ending: nothing better will come. */
	if (c->held == c->own || (!c->own && !c->init))
		return;
	if (c->own)
		css_get(&c->own->self);
	estiba_cgroup_let_go(c);
	c->held = c->own;
}

/* estiba_cgroup_let_go - gives back the reference that outlives a snapshot. */
void estiba_cgroup_let_go(struct estiba_container *c)
{
	if (c->held)
		cgroup_put(c->held);
	c->held = NULL;
}

/* estiba_cgroups_find - finds the own cgroup of every container. */
void estiba_cgroups_find(struct estiba_build *b)
{
	size_t i;

	/* What an earlier build left in it may be freed by now. */
	hash_init(owners);
	for (i = 0; i < b->count; i++) {
		rcu_read_lock();
		find_own(b->list[i]);
		rcu_read_unlock();
		cond_resched();
	}
	/* Only now it is known which ones are shared. */
	for (i = 0; i < b->count; i++)
		hold(b->list[i]);
}

struct times {
	u64 cpu, user, system;
};

static void times_add(struct times *t, const struct task_cputime *c)
{
	t->cpu += c->sum_exec_runtime;
	t->user += c->utime;
	t->system += c->stime;
}

static void times_sub(struct times *t, const struct task_cputime *c)
{
	t->cpu -= c->sum_exec_runtime;
	t->user -= c->utime;
	t->system -= c->stime;
}

/*
 * Each CPU counts the time of its cgroups for itself (bstat); now and then the
 * kernel carries what is new (bstat - last_bstat) over to the cgroup's total
 * and from there to the parent's. The sum of the per-CPU counters of a cgroup
 * and of those below it is exact at any moment. What ended sub-groups have used
 * is only in the totals: what these hold beyond what was carried over from the
 * counters that are still there. That part is read while it may be carried.
 */
static void sum_times(struct cgroup *top, struct times *live,
		      struct times *ended)
{
	struct cgroup_subsys_state *css = NULL;
	unsigned int looked = 0;

	memset(live, 0, sizeof(*live));
	memset(ended, 0, sizeof(*ended));
	rcu_read_lock();
	while ((css = estiba_css_next(css, &top->self, &looked))) {
		struct cgroup *cgrp = container_of(css, struct cgroup, self);
		int cpu;

		times_add(ended, &cgrp->bstat.cputime);
		if (cgrp != top)
			times_sub(ended, &cgrp->last_bstat.cputime);
		for_each_possible_cpu(cpu) {
			estiba_rstat_cpu *s = estiba_cgroup_cpu(cgrp, cpu);

			times_add(live, &s->bstat.cputime);
			times_sub(ended, &s->last_bstat.cputime);
		}
	}
	rcu_read_unlock();
}

/* estiba_cgroup_cpu_times - CPU times of the cgroup that c holds, ns. */
void estiba_cgroup_cpu_times(struct estiba_container *c, u64 *cpu, u64 *user,
			     u64 *system)
{
	struct times live, ended, before;
	int tries;

	sum_times(c->held, &live, &ended);
	/* Twice the same: nothing was being carried over. */
	for (tries = 0; tries < 8 && ended.cpu != c->cpu_dead; tries++) {
		before = ended;
		sum_times(c->held, &live, &ended);
		if (!memcmp(&before, &ended, sizeof(ended)) &&
		    (s64)ended.cpu >= 0)
			c->cpu_dead = ended.cpu;
	}
	if ((s64)ended.user < 0)
		ended.user = 0;
	if ((s64)ended.system < 0)
		ended.system = 0;
	*cpu = live.cpu + c->cpu_dead;
	*user = live.user + ended.user;
	*system = live.system + ended.system;
}

/* estiba_pressure_read - how long tasks of c waited. */
void estiba_pressure_read(struct estiba_container *c, u64 now)
{
#ifdef CONFIG_PSI
	struct psi_group *psi;

	if (!c->own)
		return;
	psi = estiba_cgroup_psi(c->own);
	if (!psi)
		return;
	counter_feed(&c->psi_cpu, READ_ONCE(psi->total[PSI_AVGS][PSI_CPU_SOME]), now);
	counter_feed(&c->psi_memory, READ_ONCE(psi->total[PSI_AVGS][PSI_MEM_SOME]), now);
	counter_feed(&c->psi_io, READ_ONCE(psi->total[PSI_AVGS][PSI_IO_SOME]), now);
#endif
}
