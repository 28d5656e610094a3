// SPDX-License-Identifier: GPL-2.0-only
/* The containers that are known from one snapshot to the next. */
#include <linux/cgroup.h>
#include <linux/hashtable.h>
#include <linux/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "estiba.h"

/* An ended container stays in the document so long, with its last totals. */
#define ENDED_NS 10000000000ULL

static DEFINE_HASHTABLE(known, 12);

/*
 * estiba_container_find - the container whose shim has this pid and start time
 * (boot clock): together they name a process once and for all.
 */
struct estiba_container *estiba_container_find(pid_t pid, u64 start)
{
	struct estiba_container *c;

	hash_for_each_possible(known, c, by_pid, pid)
		if (c->pid == pid && c->shim_start == start && !c->ended_at)
			return c;
	return NULL;
}

/* NULL: no memory. */
struct estiba_container *estiba_container_add(struct task_struct *shim,
					      const struct shim_args *args,
					      u64 exec_id)
{
	struct estiba_container *c = kvzalloc(sizeof(*c), GFP_KERNEL);

	if (!c)
		return NULL;
	c->pid = shim->pid;
	c->shim_start = shim->start_boottime;
	c->exec_id = exec_id;
	c->args = *args;
	hash_add(known, &c->by_pid, c->pid);
	return c;
}

/* Takes over the caller's reference to shim; estiba_container_end drops it. */
void estiba_container_begin(struct estiba_container *c, struct task_struct *shim,
			    u64 build)
{
	c->seen = build;
	c->shim = shim;
	memcpy(c->name, shim->comm, sizeof(c->name));
	c->name[sizeof(c->name) - 1] = '\0';
	memset(&c->use, 0, sizeof(c->use));
	memset(&c->memcg, 0, sizeof(c->memcg));
	c->cgroup_mixed = false;
	c->own = NULL;
	c->own_shared = false;
}

void estiba_container_end(struct estiba_container *c)
{
	if (c->cgroup)
		cgroup_put(c->cgroup);
	c->cgroup = NULL;
	c->own = NULL;
	if (c->init)
		put_task_struct(c->init);
	c->init = NULL;
	put_task_struct(c->shim);
	c->shim = NULL;
}

static void forget(struct estiba_container *c)
{
	estiba_cgroup_let_go(c);
	hash_del(&c->by_pid);
	kvfree(c);
}

/* Its shim is gone, and no process is known to be its own any more. */
static void finish(struct estiba_container *c, u64 now)
{
	estiba_cpu_finish(c, now);
	estiba_cgroup_let_go(c);
	memset(&c->use, 0, sizeof(c->use));
	memset(&c->memcg, 0, sizeof(c->memcg));
	c->ended_at = now;
}

/*
 * estiba_containers_sweep - lists those that ended a short while ago, forgets
 * those that ended longer ago; returns the CPU time, ns, that those used which
 * this build is the first to miss.
 */
u64 estiba_containers_sweep(struct estiba_build *b)
{
	struct estiba_container *c;
	struct hlist_node *next;
	u64 cpu = 0;
	int bucket;

	hash_for_each_safe(known, bucket, next, c, by_pid) {
		if (c->seen == b->number)
			continue;
		/* The lock of the snapshot is held: the list stays as it is. */
		cond_resched();
		if (!c->ended_at) {
			bool shown = c->cpu.known;

			finish(c, b->now);
			cpu += c->cpu.shown;
			/* A container's process that took itself for a shim. */
			if (!shown) {
				forget(c);
				continue;
			}
		} else if (b->now - c->ended_at >= ENDED_NS) {
			forget(c);
			continue;
		}
		c->next_ended = b->ended;
		b->ended = c;
		b->ended_count++;
	}
	return cpu;
}

void estiba_containers_exit(void)
{
	struct estiba_container *c;
	struct hlist_node *next;
	int bucket;

	hash_for_each_safe(known, bucket, next, c, by_pid) {
		forget(c);
		cond_resched();
	}
}
