// SPDX-License-Identifier: GPL-2.0-only
/* Counters summed over tasks: I/O, page faults, peak memory. */
#include <linux/minmax.h>

#include "estiba.h"

/**
 * estiba_io_feed() - Update the counters of a container from the sums of this snapshot.
 * @c: after estiba_walk()
 * @now: boot clock, ns
 */
void estiba_io_feed(struct estiba_container *c, u64 now)
{
	const struct estiba_usage *u = &c->use;

	c->peak_pages = max3(c->peak_pages, u->rss_pages, u->peak_pages);
	counter_feed(&c->minor_faults, u->minor_faults, now);
	counter_feed(&c->major_faults, u->major_faults, now);
	counter_feed(&c->disk_read, u->disk_read, now);
	counter_feed(&c->disk_write, u->disk_write, now);
	counter_feed(&c->io_read, u->io_read, now);
	counter_feed(&c->io_write, u->io_write, now);
	counter_feed(&c->io_reads, u->io_reads, now);
	counter_feed(&c->io_writes, u->io_writes, now);
}
