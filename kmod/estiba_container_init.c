// SPDX-License-Identifier: GPL-2.0-only
/*
 * A container's init process: the child of the shim that is pid 1 of its pid
 * namespace, or without a namespace of its own the oldest child. Of a container without
 * a shim of its own, the same of the processes whose parent is outside its cgroup.
 */
#include <linux/kernel.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

#include "estiba.h"

static bool is_namespace_init(struct task_struct *p)
{
	struct pid *pid = READ_ONCE(p->thread_pid);

	return pid && pid->level > 0 && is_child_reaper(pid);
}

/**
 * estiba_init_pick() - Choose a container's init process.
 * @c: the container
 * @p: a candidate; replaces the current choice if it fits better
 * @moved: not started by the runtime: a last resort
 *
 * Under RCU.
 *
 * Return: whether it is the choice now.
 */
bool estiba_init_pick(struct estiba_container *c, struct task_struct *p, bool moved)
{
	unsigned int rank = moved ? 0 : 1 + is_namespace_init(p);

	if (estiba_has_exited(p))
		return false;
	if (c->init) {
		if (c->init_rank > rank)
			return false;
		if (c->init_rank == rank && c->init->start_boottime <= p->start_boottime)
			return false;
		put_task_struct(c->init);
	}
	get_task_struct(p);
	c->init = p;
	c->init_rank = rank;
	c->init_start = p->start_boottime;
	c->init_pid = p->pid;
	memcpy(c->command, p->comm, sizeof(c->command));
	c->command[sizeof(c->command) - 1] = '\0';
	return true;
}

/* Programs that start containers without a shim, and wait for them. */
static bool is_monitor(const struct task_struct *p)
{
	static const char names[][TASK_COMM_LEN] = {
		"conmon", "lxc-start", "[lxc monitor]", "systemd-nspawn",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!strncmp(p->comm, names[i], TASK_COMM_LEN))
			return true;
	return false;
}

/**
 * estiba_init_show() - List a container without a shim with its monitor, if there is one.
 * @c: the container
 * @init: its init process
 *
 * Under RCU.
 */
void estiba_init_show(struct estiba_container *c, struct task_struct *init)
{
	struct task_struct *parent = estiba_parent(init);

	estiba_container_show(c, is_monitor(parent) ? parent : init);
}
