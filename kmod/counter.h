/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Monotonic counters, and the split of CPU time. Pure arithmetic; also builds in
 * user space, for the tests.
 */
#ifndef ESTIBA_COUNTER_H
#define ESTIBA_COUNTER_H

#ifdef __KERNEL__
#include <linux/math64.h>
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stdint.h>
typedef uint64_t u64;
static inline u64 div64_u64(u64 a, u64 b)
{
	return a / b;
}
#endif

/* A raw value below the shown one for this long is a counter reset. */
#define COUNTER_RESET_NS 1000000000ULL

/* All zero: no value yet. */
struct counter {
	u64 shown;	/* last value returned */
	u64 base;	/* added to the raw value, modulo 2^64 */
	u64 low_since;	/* when raw + base first was below shown; 0: it is not */
	bool known;
};

/**
 * counter_feed() - Update a counter.
 * @c: the counter
 * @raw: new raw value
 * @now: when it was read, ns, not 0
 *
 * A sum over live tasks dips for microseconds while a parent reaps a child, and
 * drops for good when the kernel reaps without a parent. The two cannot be told
 * apart at first, so the last value is kept. If the sum is still low after
 * COUNTER_RESET_NS, it is a counter reset: later growth is added to the last value.
 *
 * Return: the value to show; it never decreases.
 */
static inline u64 counter_feed(struct counter *c, u64 raw, u64 now)
{
	u64 value = raw + c->base;

	if (!c->known || value >= c->shown) {
		c->shown = value;
		c->low_since = 0;
		c->known = true;
	} else if (!c->low_since) {
		c->low_since = now;
	} else if (now - c->low_since >= COUNTER_RESET_NS) {
		c->base += c->shown - value;
		c->low_since = 0;
	}
	return c->shown;
}

/**
 * counter_rebase() - Continue from another source without a jump.
 * @c: the counter
 * @raw: current raw value of the new source
 */
static inline void counter_rebase(struct counter *c, u64 raw)
{
	if (c->known)
		c->base = c->shown - raw;
	c->low_since = 0;
}

/* part * whole / sum for part <= sum, without 128-bit arithmetic. */
static inline u64 scale_part(u64 part, u64 whole, u64 sum)
{
	u64 times;

	while (sum >> 32) {
		sum >>= 1;
		part >>= 1;
	}
	if (part > sum)
		part = sum;
	if (!sum)
		return 0;
	times = div64_u64(whole, sum);
	return times * part + div64_u64((whole - times * sum) * part, sum);
}

/**
 * busy_hundredths() - CPU usage in hundredths of a percent of one CPU.
 * @used: CPU time, ns
 * @length: wall time, ns, not 0
 * @cpus: number of CPUs; caps the result
 *
 * Return: the usage.
 */
static inline u64 busy_hundredths(u64 used, u64 length, u64 cpus)
{
	u64 most;

	/* Years on hundreds of CPUs overflow. */
	while (length > ~0ULL / cpus) {
		length >>= 1;
		used >>= 1;
	}
	most = length * cpus;
	/* Task and cgroup clocks are off by up to a tick. */
	if (used > most)
		used = most;
	return scale_part(used, 10000 * cpus, most);
}

struct cpu_split {
	u64 user;
	u64 system;
};

/**
 * cpu_split_feed() - Split the exact CPU time by the sampled user and system times.
 * @s: the parts
 * @total: exact CPU time, ns; must never decrease
 * @user: sampled, ns
 * @system: sampled, ns
 *
 * Neither part ever decreases, and their sum is @total.
 */
static inline void cpu_split_feed(struct cpu_split *s, u64 total, u64 user,
				  u64 system)
{
	u64 part;

	if (total <= s->user + s->system)
		return;
	if (user + system < user || user + system == 0)
		part = user ? 0 : system ? total : s->system;
	else
		part = scale_part(system, total, user + system);
	if (part < s->system)
		part = s->system;
	if (part > total - s->user)
		part = total - s->user;
	s->system = part;
	s->user = total - part;
}

#endif
