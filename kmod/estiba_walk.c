// SPDX-License-Identifier: GPL-2.0-only
/*
 * Visits every process once and adds it to the container whose shim it descends
 * from, or to the rest. The walk follows the pid numbers of the initial
 * namespace, so it can leave RCU after each batch and go on where it was.
 */
#include <linux/cgroup.h>
#include <linux/idr.h>
#include <linux/pid_namespace.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "estiba.h"

/*
 * The container p belongs to, NULL for none. Under RCU: whoever had a hashed
 * child inside this section is not freed before its end, so the way up is safe
 * also while its steps exit.
 */
static struct estiba_container *container_of_task(struct estiba_build *b,
						  struct task_struct *p)
{
	struct estiba_container *c = NULL, *known;
	struct task_struct *up;

	if (estiba_memo_get(b->memo, p->pid, p->start_boottime, &c)) {
		/* The shim itself is not in its container. */
		if (c && c->pid == p->pid && c->shim_start == p->start_boottime)
			return NULL;
		return c;
	}
	for (up = estiba_parent(p); up->pid > 1; up = estiba_parent(up)) {
		b->work += 2;
		if (estiba_memo_get(b->memo, up->pid, up->start_boottime, &c))
			break;
	}
	estiba_memo_set(b->memo, p->pid, p->start_boottime, c);
	for (up = estiba_parent(p); up->pid > 1; up = estiba_parent(up)) {
		if (estiba_memo_get(b->memo, up->pid, up->start_boottime, &known))
			break;
		estiba_memo_set(b->memo, up->pid, up->start_boottime, c);
	}
	return c;
}

/*
 * Is p the runtime at work for the shim: runc create, exec, delete? It lives
 * where the shim does, in every hierarchy of cgroups and in its pid namespace.
 * A process of the container was put elsewhere before its program began. Under
 * RCU.
 */
static bool is_runtime(const struct estiba_container *c, struct task_struct *p)
{
	return rcu_access_pointer(p->cgroups) ==
		       rcu_access_pointer(c->shim->cgroups) &&
	       task_active_pid_ns(p) == &init_pid_ns;
}

static void visit(struct estiba_build *b, struct task_struct *p)
{
	struct estiba_container *c = container_of_task(b, p);
	struct estiba_usage *u;

	if (c && is_runtime(c, p))
		c = NULL;
	u = c ? &c->use : &b->rest;
	u->processes++;
	u->threads += get_nr_threads(p);
	b->work += get_nr_threads(p);
	estiba_memory_add(u, p);
	if (!c)
		return;
	c->begun = true;
	estiba_tasks_add(u, p);
	if (estiba_parent(p) == c->shim) {
		estiba_init_pick(c, p);
		estiba_cgroup_child(c, p);
	}
}

/* Drops the shims whose container has not begun: it is still being made. */
static void drop_unbegun(struct estiba_build *b)
{
	size_t kept = 0, i;

	for (i = 0; i < b->count; i++) {
		if (b->list[i]->begun)
			b->list[kept++] = b->list[i];
		else
			estiba_container_end(b->list[i]);
	}
	b->count = kept;
}

/*
 * estiba_walk - fills the sums of the build's containers. -ENOMEM. It is not cut
 * short when the reader is killed: others wait for what was begun, and who kills
 * his readers in time would have a walk for each.
 */
int estiba_walk(struct estiba_build *b)
{
	struct pid *pid;
	int nr = 1;

	do {
		int err;

		err = estiba_memo_grow(b->memo, 4 * ESTIBA_BATCH);
		if (err)
			return err;
		rcu_read_lock();
		/* Long ways up and many threads make a batch shorter. */
		for (b->work = 0; b->work < ESTIBA_BATCH * 4; b->work++) {
			struct task_struct *p;

			pid = idr_get_next(&init_pid_ns.idr, &nr);
			if (!pid)
				break;
			nr++;
			p = pid_task(pid, PIDTYPE_TGID);
			/* A dead one's time is being given to its parent. */
			if (p && READ_ONCE(p->exit_state) != EXIT_DEAD)
				visit(b, p);
		}
		rcu_read_unlock();
		cond_resched();
	} while (pid);
	drop_unbegun(b);
	return 0;
}
