// SPDX-License-Identifier: GPL-2.0-only
/* Memory of a process, and of a container's memory cgroup. */
#include <linux/cgroup.h>
#include <linux/memcontrol.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "compat.h"
#include "estiba.h"

/* False if t has no mm, because it is exiting. Its lock pins the mm. */
static bool add_mm(struct estiba_usage *u, struct task_struct *t)
{
	struct mm_struct *mm;

	task_lock(t);
	mm = t->mm;
	if (mm) {
		u64 rss = get_mm_rss(mm);

		u->rss_pages += rss;
		u->vsz_pages += READ_ONCE(mm->total_vm);
		u->swap_pages += get_mm_counter(mm, MM_SWAPENTS);
		/* get_mm_hiwater_rss() would sum the rss again. */
		u->peak_pages = max3(u->peak_pages, rss, (u64)mm->hiwater_rss);
	}
	task_unlock(t);
	return mm;
}

/**
 * estiba_memory_add() - Add the memory of a process.
 * @u: the sums
 * @leader: of the process; may have exited before its other threads
 *
 * Under RCU.
 */
void estiba_memory_add(struct estiba_usage *u, struct task_struct *leader)
{
	struct task_struct *t;

	if (READ_ONCE(leader->flags) & PF_KTHREAD)
		return;
	if (add_mm(u, leader) || estiba_has_exited(leader))
		return;
	for_each_thread(leader, t)
		if (add_mm(u, t))
			return;
}

#ifdef CONFIG_MEMCG
/* Inactive file pages of memcg and its descendants. Under RCU. */
static u64 inactive_file(struct mem_cgroup *memcg)
{
	struct cgroup_subsys_state *css = NULL;
	unsigned int visited = 0;
	u64 pages = 0;

	while ((css = estiba_css_next(css, &memcg->css, &visited))) {
		struct mem_cgroup *m = mem_cgroup_from_css(css);
		int node, zone;

		for_each_online_node(node) {
			struct mem_cgroup_per_node *n = m->nodeinfo[node];

			if (!n)
				continue;
			for (zone = 0; zone < MAX_NR_ZONES; zone++)
				pages += READ_ONCE(n->lru_zone_size[zone][LRU_INACTIVE_FILE]);
		}
	}
	return pages;
}

/*
 * The container's memory cgroup: that of its own v2 cgroup, if it has the memory
 * controller; else that of the init process in the v1 hierarchy, unless it is the
 * root or contains the shim.
 */
static struct mem_cgroup *own_memcg(const struct estiba_container *c)
{
	struct mem_cgroup *memcg, *shims;
	struct task_struct *init;

	if (c->own) {
		struct cgroup_subsys_state *css;

		css = rcu_dereference(c->own->subsys[memory_cgrp_id]);
		if (css)
			return mem_cgroup_from_css(css);
	}
	init = c->init ? estiba_live_thread(c->init) : NULL;
	if (!init)
		return NULL;
	memcg = mem_cgroup_from_task(init);
	if (!memcg || !memcg->css.cgroup->level ||
	    memcg->css.cgroup->root == &cgrp_dfl_root)
		return NULL;
	if (!c->shim)
		return memcg;
	shims = mem_cgroup_from_task(c->shim);
	if (!shims || cgroup_is_descendant(shims->css.cgroup, memcg->css.cgroup))
		return NULL;
	return memcg;
}

/* The same with a reference; NULL if there is none, or none any more. */
static struct mem_cgroup *get_own_memcg(const struct estiba_container *c)
{
	struct mem_cgroup *memcg;

	rcu_read_lock();
	memcg = own_memcg(c);
	if (memcg && !css_tryget(&memcg->css))
		memcg = NULL;
	rcu_read_unlock();
	return memcg;
}

/**
 * estiba_memcg_read() - Read the memory cgroup of a container, and its OOM kills.
 * @c: after estiba_cgroups_find()
 * @now: boot clock, ns
 */
void estiba_memcg_read(struct estiba_container *c, u64 now)
{
	struct mem_cgroup *memcg;
	unsigned long limit;

	if (mem_cgroup_disabled())
		return;
	memcg = get_own_memcg(c);
	if (!memcg)
		return;
	limit = READ_ONCE(memcg->memory.max);
	c->memcg.known = true;
	c->memcg.usage = page_counter_read(&memcg->memory);
	rcu_read_lock();
	c->memcg.inactive_file = inactive_file(memcg);
	rcu_read_unlock();
	c->memcg.limited = limit < PAGE_COUNTER_MAX;
	c->memcg.limit = limit;
	counter_feed(&c->oom_kills,
		     atomic_long_read(&memcg->memory_events[MEMCG_OOM_KILL]),
		     now);
	css_put(&memcg->css);
}
#else
void estiba_memcg_read(struct estiba_container *c, u64 now)
{
}
#endif
