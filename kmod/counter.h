/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counters that never fall, and the split of CPU time. Pure arithmetic; builds
 * in user space for its tests.
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

/* A raw value that stays below what was shown for so long has lost its past. */
#define COUNTER_PATIENCE_NS 1000000000ULL

/* A counter of zeros has never been fed. */
struct counter {
	u64 shown;	/* last value given out */
	u64 base;	/* added to the raw value, modulo 2^64 */
	u64 low_since;	/* when raw + base first lay below shown; 0: it does not */
	bool known;
};

/*
 * counter_feed - a new raw value read at now (ns, not 0); returns what to show.
 *
 * A sum over living tasks dips for microseconds while a parent reaps a child,
 * and falls for good when the kernel reaps without telling a parent. Both look
 * the same at first: what was shown is held. If the sum is still low a second
 * later its past is gone, and from there on its growth is added to what was
 * shown.
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
	} else if (now - c->low_since >= COUNTER_PATIENCE_NS) {
		c->base += c->shown - value;
		c->low_since = 0;
	}
	return c->shown;
}

/* counter_rebase - raw comes from another source now: go on without a jump. */
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

/*
 * busy_hundredths - used ns of CPU time within length ns, as hundredths of a
 * percent of one CPU; at most what cpus CPUs can give. length is not 0.
 */
static inline u64 busy_hundredths(u64 used, u64 length, u64 cpus)
{
	u64 most;

	/* Years on hundreds of CPUs do not fit. */
	while (length > ~0ULL / cpus) {
		length >>= 1;
		used >>= 1;
	}
	most = length * cpus;
	/* Clocks of tasks and cgroups run a tick behind or ahead. */
	if (used > most)
		used = most;
	return scale_part(used, 10000 * cpus, most);
}

struct cpu_split {
	u64 user;
	u64 system;
};

/*
 * cpu_split_feed - divides the exact total as the sampled user and system times
 * stand to each other. Neither part falls, and their sum is the total (which
 * must not fall either).
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
