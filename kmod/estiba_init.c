// SPDX-License-Identifier: GPL-2.0-only
/*
 * A container's first process: the child of the shim that is number 1 of its
 * pid namespace; without a namespace of its own, the child that started first.
 */
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "estiba.h"

static bool is_first_of_namespace(struct task_struct *p)
{
	struct pid *pid = READ_ONCE(p->thread_pid);

	return pid && pid->level > 0 && is_child_reaper(pid);
}

/* estiba_init_pick - child is a child of the shim; keeps the better one. */
void estiba_init_pick(struct estiba_container *c, struct task_struct *child)
{
	bool first = is_first_of_namespace(child);

	if (estiba_is_gone(child))
		return;
	if (c->init) {
		if (c->init_is_first && !first)
			return;
		if (c->init_is_first == first &&
		    c->init->start_boottime <= child->start_boottime)
			return;
		put_task_struct(c->init);
	}
	get_task_struct(child);
	c->init = child;
	c->init_is_first = first;
	c->init_start = child->start_boottime;
	c->init_pid = child->pid;
	memcpy(c->command, child->comm, sizeof(c->command));
	c->command[sizeof(c->command) - 1] = '\0';
}
