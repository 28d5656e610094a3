// SPDX-License-Identifier: GPL-2.0-only
/* The containers that are known from one snapshot to the next. */
#include <linux/cgroup.h>
#include <linux/hashtable.h>
#include <linux/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "estiba.h"

static DEFINE_HASHTABLE(known, 12);

/*
 * estiba_container_find - the container whose shim has this pid and start time
 * (boot clock): together they name a process once and for all.
 */
struct estiba_container *estiba_container_find(pid_t pid, u64 start)
{
	struct estiba_container *c;

	hash_for_each_possible(known, c, by_pid, pid)
		if (c->pid == pid && c->shim_start == start)
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

/*
 * estiba_containers_sweep - forgets the containers that build did not see;
 * returns the CPU time they had used, ns.
 */
u64 estiba_containers_sweep(u64 build)
{
	struct estiba_container *c;
	struct hlist_node *next;
	u64 cpu = 0;
	int bucket;

	hash_for_each_safe(known, bucket, next, c, by_pid) {
		if (c->seen == build)
			continue;
		cpu += c->cpu.shown;
		hash_del(&c->by_pid);
		kvfree(c);
	}
	return cpu;
}

void estiba_containers_exit(void)
{
	estiba_containers_sweep(0);
}
