// SPDX-License-Identifier: GPL-2.0-only
/*
 * Visits every process once and adds it to its container, by its cgroup and the shim it
 * descends from, or to the unattributed sums. The walk is in order of pid, so that it can leave RCU
 * after each batch and resume.
 */
#include <linux/cgroup.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "estiba.h"

/*
 * The container of the shim that p descends from, or NULL. Under RCU: a task
 * that had a hashed child in this section is not freed before its end, so walking up is
 * safe even if ancestors exit.
 */
static struct estiba_container *container_of_task(struct estiba_build *b,
						  struct task_struct *p)
{
	struct estiba_container *c = NULL, *known;
	struct task_struct *parent = estiba_parent(p), *up;
	size_t steps = 0;

	for (up = parent; up->pid > 1; up = estiba_parent(up), steps++)
		if (estiba_memo_get(b->memo, up->pid, up->start_boottime, &c))
			break;
	b->work += 2 * steps;
	/*
	 * Most processes have no children, so only ancestors are stored, and only those
	 * passed above: if the shim exits now, its parent adopts them.
	 */
	for (up = parent; steps; up = estiba_parent(up), steps--) {
		if (up->pid <= 1 ||
		    estiba_memo_get(b->memo, up->pid, up->start_boottime, &known))
			break;
		estiba_memo_set(b->memo, up->pid, up->start_boottime, c);
	}
	return c;
}

/* Is p, in a container without a shim of its own, a child of a process outside? */
static bool is_entry(const struct estiba_place *at, struct task_struct *p)
{
	return !cgroup_is_descendant(estiba_task_cgroup(estiba_parent(p), at->class->ssid),
				     at->top);
}

/* Consider p as the init process of its container. */
static void visit_init(struct estiba_container *c, const struct estiba_place *at,
		       struct task_struct *p, bool moved)
{
	if (!c->top_id) {
		c->started = true;
		if (estiba_parent(p) == c->shim) {
			estiba_init_pick(c, p, false);
			estiba_cgroup_child(c, p);
		} else if (moved && c->kata) {
			estiba_init_pick(c, p, true);
		}
	} else if (is_entry(at, p) && estiba_init_pick(c, p, false)) {
		c->started = true;
		if (!c->shim)
			estiba_init_show(c, p);
	}
}

/* False if there is no room: visit it again. */
static bool visit(struct estiba_build *b, struct task_struct *p)
{
	struct estiba_container *shim = container_of_task(b, p), *c;
	struct estiba_place at;
	struct estiba_usage *u;

	if (!estiba_row_of(b, p, shim, &at))
		return false;
	c = at.row;
	u = c ? &c->use : &b->unattributed;
	u->processes++;
	u->threads += get_nr_threads(p);
	b->work += get_nr_threads(p);
	estiba_memory_add(u, p);
	if (!c)
		return true;
	estiba_tasks_add(u, p);
	visit_init(c, &at, p, !shim);
	return true;
}

/*
 * Drop shims whose container has no process yet: it is still being created. And cgroups
 * where no live process was started from outside.
 */
static void drop_starting(struct estiba_build *b)
{
	size_t kept = 0, i;

	for (i = 0; i < b->count; i++) {
		if (b->list[i]->started)
			b->list[kept++] = b->list[i];
		else
			estiba_container_drop(b, b->list[i]);
	}
	b->count = kept;
}

/**
 * estiba_walk() - Add every process to its container, or to the unattributed sums.
 * @b: after estiba_shims_find()
 *
 * Not interruptible, because other readers wait for the same snapshot.
 *
 * Return: 0 or -ENOMEM.
 */
int estiba_walk(struct estiba_build *b)
{
	struct estiba_pids at;
	struct pid *pid;
	int nr = 1;

	estiba_classes_begin(b);
	do {
		int err;

		err = estiba_memo_grow(b->memo, 4 * ESTIBA_BATCH);
		if (!err)
			err = estiba_rows_reserve(b);
		if (err)
			return err;
		rcu_read_lock();
		estiba_pids_from(&at, nr);
		b->last_set = NULL;
		/* Long ancestries and many threads shorten a batch. */
		for (b->work = 0; b->work < ESTIBA_BATCH * 4; b->work++) {
			struct task_struct *p;

			pid = estiba_pids_next(&at);
			if (!pid)
				break;
			nr = at.iter.index;
			p = pid_task(pid, PIDTYPE_TGID);
			/* A dead task's time is being added to its parent. */
			if (p && READ_ONCE(p->exit_state) != EXIT_DEAD && !visit(b, p))
				break;
			nr++;
		}
		rcu_read_unlock();
		cond_resched();
	} while (pid);
	estiba_classes_sweep(b);
	drop_starting(b);
	return 0;
}
