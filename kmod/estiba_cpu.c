// SPDX-License-Identifier: GPL-2.0-only
/* CPU time and CPU percentage of a container. */
#include <linux/cgroup.h>
#include <linux/cpumask.h>
#include <linux/math64.h>

#include "estiba.h"

/* Shortest window of a CPU percentage. */
#define WINDOW_NS 1000000000ULL

/*
 * The percentage of the last completed window. The first window starts with the
 * container and is shown even while incomplete, as the mean since the start. Each
 * later one starts at the end of the previous one and ends at the first snapshot
 * after WINDOW_NS. So the percentage does not depend on how often the file is read,
 * and cpu_window_ns is the actual length.
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

	/* Another cgroup: its counters cover the whole life, so no base. */
	if (c->cpu_of != cgroup_id(c->held)) {
		c->cpu.base = 0;
		c->cpu_ended = 0;
	}
	estiba_cgroup_cpu_times(c, &cpu, &user, &system);
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

/**
 * estiba_cpu_feed() - Update the CPU counters and percentage of a container.
 * @c: after estiba_walk() and estiba_cgroups_find()
 * @now: boot clock, ns
 */
void estiba_cpu_feed(struct estiba_container *c, u64 now)
{
	/* Without processes it is ending; its cgroup still has the final values. */
	if (c->held && (c->own || !c->init))
		feed_from_cgroup(c, now);
	else if (c->init || !c->cpu_of)
		feed_from_tasks(c, now);
	feed_window(c, now);
}

/**
 * estiba_cpu_finish() - Read the final CPU time of a container that ended.
 * @c: the container, not in this snapshot
 * @now: boot clock, ns
 */
void estiba_cpu_finish(struct estiba_container *c, u64 now)
{
	if (c->held && c->cpu_of == cgroup_id(c->held))
		feed_from_cgroup(c, now);
	c->percent = 0;
}
