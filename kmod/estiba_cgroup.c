// SPDX-License-Identifier: GPL-2.0-only
/*
 * A container's own v2 cgroup, and its counters.
 *
 * Without a shim of its own, a container is what its cgroup is named after. Of a shim's
 * own container, it is the lowest common cgroup of all its children, or the highest
 * ancestor of that which is named after the container: the init process may have
 * moved itself further down. It is the container's own unless it is the root, it
 * contains the shim, another container has, or had since both are known, the
 * same cgroup or one below it, or the container has another cgroup besides.
 */
#include <linux/cgroup.h>
#include <linux/hashtable.h>
#include <linux/kernfs.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/percpu.h>
#include <linux/psi_types.h>
#include <linux/string.h>
#include <linux/u64_stats_sync.h>

#include "compat.h"
#include "estiba.h"

/* Containers of this build by own cgroup. */
static DEFINE_HASHTABLE(owners, 10);

/*
 * The deepest level searched for a cgroup named after its container; bounds the search
 * wherever processes move to. The path of a deeper one would be too long.
 */
#define NAMED_LEVEL_MAX (ESTIBA_PATH_MAX / 2)

/* Cgroups visited before cond_resched(): each has counters for every CPU. */
#define GROUPS_BATCH 64

/* Cgroups of a container summed again per snapshot, beyond the first two passes. */
#define GROUPS_RETRY_MAX 8000U

/**
 * estiba_css_next() - Iterate over a cgroup and its descendants.
 * @pos: the last one, or NULL to start
 * @top: the cgroup, referenced by the caller
 * @visited: number of cgroups visited; 0 to start
 *
 * css_next_descendant_pre() for a hierarchy of any size, as a container with a
 * delegated cgroup can create any number of sub-groups. Under RCU, which is left now
 * and then to reschedule.
 *
 * Return: the next one, or NULL.
 */
struct cgroup_subsys_state *estiba_css_next(struct cgroup_subsys_state *pos,
					    struct cgroup_subsys_state *top,
					    unsigned int *visited)
{
	struct cgroup_subsys_state *next;

	if (++*visited % GROUPS_BATCH || !pos || !css_tryget(pos))
		return css_next_descendant_pre(pos, top);
	rcu_read_unlock();
	cond_resched();
	rcu_read_lock();
	next = css_next_descendant_pre(pos, top);
	css_put(pos);
	return next;
}

/**
 * estiba_cgroup_child() - Update the lowest common cgroup of a shim's children.
 * @c: the container of the shim
 * @child: another child of the shim
 *
 * Under RCU. The reference to the cgroup is held until estiba_container_end().
 */
void estiba_cgroup_child(struct estiba_container *c, struct task_struct *child)
{
	struct cgroup *cgrp, *common;

	child = estiba_live_thread(child);
	if (c->cgroup_mixed || !child)
		return;
	cgrp = task_dfl_cgroup(child);
	/* Still in the shim's cgroup: a runtime that has not moved yet. */
	if (!cgrp->level || cgrp == task_dfl_cgroup(c->shim))
		return;
	if (!c->cgroup) {
		if (css_tryget(&cgrp->self))
			c->cgroup = cgrp;
		return;
	}
	/* The common one only moves up, so all children together climb it once. */
	common = c->cgroup;
	while (!cgroup_is_descendant(cgrp, common))
		common = cgroup_parent(common);
	if (common == c->cgroup)
		return;
	if (common->level && css_tryget(&common->self)) {
		cgroup_put(c->cgroup);
		c->cgroup = common;
		return;
	}
	cgroup_put(c->cgroup);
	c->cgroup = NULL;
	c->cgroup_mixed = true;
}

/**
 * estiba_cgroup_set() - Set the cgroup of a container without a shim of its own.
 * @c: the container
 * @top: the cgroup
 *
 * Under RCU. The reference is held until estiba_container_end().
 */
void estiba_cgroup_set(struct estiba_container *c, struct cgroup *top)
{
	if (css_tryget(&top->self))
		c->cgroup = top;
}

/**
 * estiba_cgroup_also() - Note a cgroup with processes that are no children of the shim.
 * @c: the container of the shim
 * @top: the cgroup
 *
 * Under RCU. The reference is held until estiba_container_end().
 */
void estiba_cgroup_also(struct estiba_container *c, struct cgroup *top)
{
	if (!c->also && css_tryget(&top->self))
		c->also = top;
	if (c->also != top)
		c->cgroup_spread = true;
}

/* The one prefix of runtimes that contains a hyphen itself. */
static const char cri_prefix[] = "cri-containerd-";

static bool is_id(const struct shim_args *args, const char *s, size_t len)
{
	return len == args->id_len && !memcmp(s, args->id, len);
}

/*
 * Is this the name of a cgroup made for the container with this id? The id must match
 * as a whole, because it can be as short as one character.
 *
 *	ID			runc without systemd
 *	SLICE:RUNTIME:ID	the same, given the name of a scope
 *	RUNTIME-ID.scope	systemd
 */
static bool is_named_after(const char *s, size_t len, const struct shim_args *args)
{
	static const char scope[] = ".scope";
	const char *hyphen;
	size_t i;

	if (is_id(args, s, len))
		return true;
	for (i = len; i > 0; i--)
		if (s[i - 1] == ':')
			return is_id(args, s + i, len - i);
	if (len < sizeof(scope) || memcmp(s + len - (sizeof(scope) - 1), scope, sizeof(scope) - 1))
		return false;
	len -= sizeof(scope) - 1;
	if (len > sizeof(cri_prefix) - 1 && !memcmp(s, cri_prefix, sizeof(cri_prefix) - 1))
		return is_id(args, s + sizeof(cri_prefix) - 1, len - (sizeof(cri_prefix) - 1));
	hyphen = memchr(s, '-', len);
	return hyphen && is_id(args, hyphen + 1, len - (hyphen + 1 - s));
}

/**
 * estiba_path_has_id() - Does a path have a name made for the container with this id?
 * @path: of a cgroup
 * @len: its length
 * @args: arguments of a shim
 *
 * Return: whether it has.
 */
bool estiba_path_has_id(const char *path, size_t len, const struct shim_args *args)
{
	size_t from, to;

	for (from = 0; from < len; from = to + 1) {
		for (to = from; to < len && path[to] != '/'; to++)
			;
		if (to > from && is_named_after(path + from, to - from, args))
			return true;
	}
	return false;
}

/* Cgroups of this hierarchy cannot be renamed: the name lives as long as the cgroup. */
static const char *name_of(const struct cgroup *cgrp)
{
	return (const char __force *)cgrp->kn->name;
}

/*
 * Write the path of a cgroup; returns its length, or 0 if it does not fit. Avoids
 * cgroup_path(), which walks up once per level with interrupts off, while a cgroup
 * can be nested arbitrarily deep.
 */
static size_t write_path(struct cgroup *cgrp, char *path, size_t size)
{
	size_t at = size;

	for (; cgrp->level; cgrp = cgroup_parent(cgrp)) {
		const char *name = name_of(cgrp);
		size_t len = strlen(name);

		if (at < len + 1)
			return 0;
		at -= len + 1;
		path[at] = '/';
		memcpy(path + at + 1, name, len);
	}
	memmove(path, path + at, size - at);
	return size - at;
}

/**
 * estiba_cgroup_outer_path() - Write the path of a v2 cgroup, or as much as there is room for.
 * @cgrp: the cgroup
 * @path: gets whole names, the outermost first; no NUL
 * @size: of @path
 *
 * Under RCU.
 *
 * Return: the length.
 */
size_t estiba_cgroup_outer_path(struct cgroup *cgrp, char *path, size_t size)
{
	struct cgroup *up;
	size_t len = 0;

	for (up = cgrp; up->level; up = cgroup_parent(up))
		len += strlen(name_of(up)) + 1;
	for (; len > size; cgrp = cgroup_parent(cgrp))
		len -= strlen(name_of(cgrp)) + 1;
	return write_path(cgrp, path, size);
}

/* Find the container's own cgroup and its path, once: cgroups do not move. */
static void find_path(struct estiba_container *c)
{
	struct cgroup *own = c->cgroup, *cgrp;

	if (c->path_of == cgroup_id(c->cgroup))
		return;
	c->path_of = cgroup_id(c->cgroup);
	c->path_named = c->top_id;
	cgrp = cgroup_ancestor(c->cgroup, min(c->cgroup->level, NAMED_LEVEL_MAX));
	for (; cgrp->level && !c->top_id; cgrp = cgroup_parent(cgrp)) {
		if (!is_named_after(name_of(cgrp), strlen(name_of(cgrp)), &c->args))
			continue;
		own = cgrp;
		c->path_named = true;
	}
	c->path_level = own->level;
	c->path_len = write_path(own, c->path, sizeof(c->path));
}

static void find_own(struct estiba_container *c)
{
	struct estiba_container *other;
	struct cgroup *own;

	/* All its processes were moved, or do not descend from the shim. */
	if (!c->cgroup && !c->cgroup_mixed)
		swap(c->cgroup, c->also);
	if (!c->cgroup)
		return;
	find_path(c);
	own = cgroup_ancestor(c->cgroup, c->path_level);
	if (c->cgroup_spread || (c->also && !cgroup_is_descendant(c->also, own)))
		return;
	if (c->shim && cgroup_is_descendant(task_dfl_cgroup(c->shim), own))
		return;
	c->own = own;
	/* The totals still include what the other container used. */
	c->own_shared = c->shared_of == cgroup_id(own);
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
 * If an ancestor of a container's cgroup is the own cgroup of another container, that
 * one shares it: its id may be the name of a parent cgroup, or one of its processes may
 * have been moved into this container. Stops at the first one, whose own container
 * checks the cgroups above it.
 */
static void find_outer(const struct estiba_container *c, int highest)
{
	struct cgroup *cgrp = c->own ? cgroup_parent(c->own) : c->cgroup;
	struct estiba_container *outer;

	for (; cgrp && cgrp->level >= highest; cgrp = cgroup_parent(cgrp)) {
		hash_for_each_possible(owners, outer, by_cgroup, cgroup_id(cgrp)) {
			if (outer->own != cgrp)
				continue;
			outer->own_shared = true;
			return;
		}
	}
}

/*
 * Keep a reference to the own cgroup after this snapshot, so that the next one can
 * read the final CPU time of a container that ended in between.
 */
static void hold(struct estiba_container *c)
{
	if (c->own_shared) {
		/* Sharing a higher one, by chance and for a while, is detected again. */
		if (c->own->level >= c->shared_level) {
			c->shared_of = cgroup_id(c->own);
			c->shared_level = c->own->level;
		}
		c->own = NULL;
	}
	/* Without processes it is ending: keep what there is. */
	if (c->held == c->own || (!c->own && !c->init))
		return;
	if (c->own)
		css_get(&c->own->self);
	estiba_cgroup_release(c);
	c->held = c->own;
}

/**
 * estiba_cgroup_release() - Drop the reference held between snapshots.
 * @c: may hold none
 */
void estiba_cgroup_release(struct estiba_container *c)
{
	if (c->held)
		cgroup_put(c->held);
	c->held = NULL;
}

/**
 * estiba_cgroups_find() - Find the own cgroup of every container.
 * @b: after estiba_walk()
 */
void estiba_cgroups_find(struct estiba_build *b)
{
	int highest = INT_MAX;
	size_t i;

	/* Entries of an earlier build may have been freed. */
	hash_init(owners);
	for (i = 0; i < b->count; i++) {
		rcu_read_lock();
		find_own(b->list[i]);
		rcu_read_unlock();
		if (b->list[i]->own)
			highest = min(highest, b->list[i]->own->level);
		cond_resched();
	}
	/* None is above the highest own cgroup, so this rarely looks anything up. */
	for (i = 0; i < b->count; i++) {
		find_outer(b->list[i], highest);
		cond_resched();
	}
	/* Only now all shared ones are known. */
	for (i = 0; i < b->count; i++) {
		hold(b->list[i]);
		cond_resched();
	}
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
 * Each CPU accounts cgroup time in its own counters (bstat). Now and then the kernel
 * flushes the difference (bstat - last_bstat) to the cgroup's total and from there to
 * the parent's. The sum of the per-CPU counters of a cgroup and its descendants is
 * exact at any time. The time of removed sub-groups is in the totals only: it is what
 * these have beyond the flushed part of the existing counters, and a flush may be
 * running while it is read.
 *
 * Returns the number of cgroups.
 */
static unsigned int sum_times(struct cgroup *top, struct times *live,
			      struct times *ended)
{
	struct cgroup_subsys_state *css = NULL;
	unsigned int visited = 0;

	memset(live, 0, sizeof(*live));
	memset(ended, 0, sizeof(*ended));
	rcu_read_lock();
	while ((css = estiba_css_next(css, &top->self, &visited))) {
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
	/* The last step found none. */
	return visited - 1;
}

/**
 * estiba_cgroup_cpu_times() - Read the CPU times of the cgroup that a container holds.
 * @c: the container; must hold one
 * @cpu: CPU time, ns
 * @user: user time, ns, sampled
 * @system: system time, ns, sampled
 */
void estiba_cgroup_cpu_times(struct estiba_container *c, u64 *cpu, u64 *user,
			     u64 *system)
{
	struct times live, ended, before;
	int tries;

	tries = clamp(GROUPS_RETRY_MAX / sum_times(c->held, &live, &ended), 1U, 8U);
	/* Two equal passes: no flush was running. */
	for (; tries && ended.cpu != c->cpu_ended; tries--) {
		before = ended;
		sum_times(c->held, &live, &ended);
		if (!memcmp(&before, &ended, sizeof(ended)) &&
		    (s64)ended.cpu >= 0)
			c->cpu_ended = ended.cpu;
	}
	/*
	 * Sub-groups are removed faster than they are summed. Totals are read before the
	 * counters they were flushed from, so a running flush makes a sum too small: the
	 * lesser of two sums is not too large. Using neither would lack the time of removed
	 * sub-groups for long, and count it twice later.
	 */
	if (ended.cpu != c->cpu_ended)
		c->cpu_ended = max((s64)c->cpu_ended,
				  min((s64)before.cpu, (s64)ended.cpu));
	if ((s64)ended.user < 0)
		ended.user = 0;
	if ((s64)ended.system < 0)
		ended.system = 0;
	*cpu = live.cpu + c->cpu_ended;
	*user = live.user + ended.user;
	*system = live.system + ended.system;
}

/**
 * estiba_pressure_read() - Read the PSI of a container.
 * @c: after estiba_cgroups_find()
 * @now: boot clock, ns
 */
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
