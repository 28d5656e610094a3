// SPDX-License-Identifier: GPL-2.0-only
/* Takes a snapshot of all containers and the host, as a document. */
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "estiba.h"

/* Monotonic across snapshots; worker thread only. */
static u64 sequence;		/* of the last document */
static u64 builds;		/* including failed ones */
static size_t last_parents;
static struct counter busy;
static u64 ended_ns;
static u64 unattributed_cpu_ns;

/* Unattributed CPU time: the host's minus that of running and ended containers. */
static void divide_cpu(struct estiba_build *b)
{
	u64 containers = 0;
	size_t i;

	for (i = 0; i < b->count; i++)
		containers += b->list[i]->cpu.shown;
	b->busy_ns = counter_feed(&busy, estiba_host_busy(&b->host), b->now);
	b->ended_ns = ended_ns;
	/* The host's clock is coarser, so its total may lag behind the parts. */
	if (b->busy_ns > containers + ended_ns)
		unattributed_cpu_ns = max(unattributed_cpu_ns,
				  b->busy_ns - containers - ended_ns);
	b->unattributed_cpu_ns = unattributed_cpu_ns;
}

static int collect(struct estiba_build *b)
{
	size_t i;
	int err;

	estiba_host_read(&b->host);
	b->now = b->host.boottime_ns;
	b->memo = estiba_memo_new(last_parents);
	if (!b->memo)
		return -ENOMEM;
	err = estiba_shims_find(b);
	if (!err)
		err = estiba_walk(b);
	if (err)
		return err;
	last_parents = estiba_memo_count(b->memo);
	estiba_cgroups_find(b);
	estiba_containers_drop_duplicates(b);
	estiba_networks_find(b);
	for (i = 0; i < b->count; i++) {
		struct estiba_container *c = b->list[i];

		estiba_cpu_feed(c, b->now);
		estiba_pressure_read(c, b->now);
		estiba_memcg_read(c, b->now);
		estiba_io_feed(c, b->now);
		estiba_network_read(c, b->now);
		cond_resched();
	}
	ended_ns += estiba_containers_sweep(b);
	divide_cpu(b);
	return 0;
}

static void release(struct estiba_build *b)
{
	size_t i;

	for (i = 0; i < b->count; i++) {
		estiba_container_end(b->list[i]);
		cond_resched();
	}
	kvfree(b->list);
	estiba_memo_free(b->memo);
}

/**
 * estiba_snapshot_build() - Take a snapshot and write it as a document.
 * @d: all zero, or an earlier document, whose memory is reused
 * @room: expected size of the document in bytes
 *
 * May sleep. Not interruptible, because other readers wait for the same snapshot.
 * Worker thread only.
 *
 * Return: 0, or -ENOMEM; then @d has no document.
 */
int estiba_snapshot_build(struct estiba_document *d, size_t room)
{
	struct estiba_build b = { .number = ++builds };
	u64 begin = ktime_get_ns();
	int err;

	err = collect(&b);
	b.collect_ns = ktime_get_ns() - begin;
	if (!err)
		err = estiba_document_begin(d, room, b.count + b.ended_count);
	if (!err) {
		estiba_document_write(d, &b, sequence + 1);
		err = estiba_json_failed(&d->w) ? -ENOMEM : 0;
	}
	release(&b);
	if (!err)
		sequence++;
	return err;
}
