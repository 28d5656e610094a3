// SPDX-License-Identifier: GPL-2.0-only
/* CPU time of a container: where it comes from, how it is shown. */
#include <linux/cgroup.h>
#include <linux/cpumask.h>
#include <linux/math64.h>

#include "estiba.h"

/* The shortest time a CPU percentage is taken over. */
#define WINDOW_NS 1000000000ULL

/*
 * The percentage of the last completed window. The first window begins with the
 * container, so its value is the mean since the start; until it is complete it
 * is shown as far as it goes. Later ones begin where the one before ended and
 * end with the first snapshot at least a second on: however often or rarely the
 * file is read, no value is taken over less, and cpu_window_ns tells how long
 * it really was.
 */
static void feed_window(struct estiba_container *c, u64 now)
{
	u64 length;

	if (!c->window_at)
		c->window_at = c->init_start ?: c->shim_start;
	if (now <= c->window_at)
		return;
	length = now - c->window_at;
	if (c->window_done && length < WINDOW_NS)
		return;
	c->percent = busy_hundredths(c->cpu.shown - c->window_cpu, length,
				     num_online_cpus());
	c->window_ns = length;
	if (length >= WINDOW_NS) {
		c->window_at = now;
		c->window_cpu = c->cpu.shown;
		c->window_done = true;
	}
}

static void feed_from_cgroup(struct estiba_container *c, u64 now)
{
	u64 cpu, user, system;

	estiba_cgroup_cpu_times(c, &cpu, &user, &system);
	/* A cgroup knows all of its past: no base. */
	if (c->cpu_of != cgroup_id(c->held))
		c->cpu.base = 0;
	c->cpu_of = cgroup_id(c->held);
	counter_feed(&c->cpu, cpu, now);
	cpu_split_feed(&c->split, c->cpu.shown, user, system);
}

static void feed_from_tasks(struct estiba_container *c, u64 now)
{
	if (c->cpu_of)
		counter_rebase(&c->cpu, c->use.cpu_ns);
	c->cpu_of = 0;
	counter_feed(&c->cpu, c->use.cpu_ns, now);
	cpu_split_feed(&c->split, c->cpu.shown, c->use.user_ns,
		       c->use.system_ns);
}

/* estiba_cpu_feed - counters and percentage of c. */
void estiba_cpu_feed(struct estiba_container *c, u64 now)
{
	/* Without processes it is ending; its cgroup still knows the last of it. */
	if (c->held && (c->own || !c->init))
		feed_from_cgroup(c, now);
	else if (c->init || !c->cpu_of)
		feed_from_tasks(c, now);
	feed_window(c, now);
}

/* estiba_cpu_finish - the last word on a container whose shim is gone. */
void estiba_cpu_finish(struct estiba_container *c, u64 now)
{
	if (c->held && c->cpu_of == cgroup_id(c->held))
		feed_from_cgroup(c, now);
	c->percent = 0;
}
