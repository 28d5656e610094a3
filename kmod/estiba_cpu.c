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
	u64 length, used, most;

	if (!c->window_at)
		c->window_at = c->init_start ?: c->shim_start;
	if (now <= c->window_at)
		return;
	length = now - c->window_at;
	if (c->window_done && length < WINDOW_NS)
		return;
	used = c->cpu.shown - c->window_cpu;
	/* Clocks of tasks and cgroups run a tick behind or ahead. */
	most = length * num_online_cpus();
	if (used > most)
		used = most;
	c->percent = scale_part(used, 10000ULL * num_online_cpus(), most);
	c->window_ns = length;
	if (length >= WINDOW_NS) {
		c->window_at = now;
		c->window_cpu = c->cpu.shown;
		c->window_done = true;
	}
}

/* estiba_cpu_feed - counters and percentage of c. Under RCU. */
void estiba_cpu_feed(struct estiba_container *c, u64 now)
{
	u64 cpu, user, system, of = 0;

	if (c->own && !c->own_shared) {
		estiba_cgroup_cpu_times(c, &cpu, &user, &system);
		of = cgroup_id(c->own);
		/* A cgroup knows all of its past: no base. */
		if (c->cpu_of != of)
			c->cpu.base = 0;
	} else if (c->cpu_of && !c->init) {
		/* It is ending, and has left its cgroup. */
		goto window;
	} else {
		cpu = c->use.cpu_ns;
		user = c->use.user_ns;
		system = c->use.system_ns;
		if (c->cpu_of)
			counter_rebase(&c->cpu, cpu);
	}
	c->cpu_of = of;
	counter_feed(&c->cpu, cpu, now);
	cpu_split_feed(&c->split, c->cpu.shown, user, system);
window:
	feed_window(c, now);
}
