// SPDX-License-Identifier: GPL-2.0-only
/*
 * Iterates over the initial pid namespace in order of pid, so that a walk can leave RCU
 * and resume. Reads the slots of a tree node in sequence, where idr_get_next() would
 * descend from the root for each.
 */
#include <linux/idr.h>
#include <linux/pid_namespace.h>
#include <linux/sched.h>

#include "estiba.h"

/**
 * estiba_pids_next() - Return the next pid in use.
 * @at: the position; set by estiba_pids_from() in each RCU section
 *
 * Under RCU.
 *
 * Return: the pid, or NULL after the last one.
 */
struct pid *estiba_pids_next(struct estiba_pids *at)
{
	const struct radix_tree_root *root = &init_pid_ns.idr.idr_rt;

	for (;;) {
		void *entry;

		if (at->slot)
			at->slot = radix_tree_next_slot(at->slot, &at->iter, 0);
		if (!at->slot)
			at->slot = radix_tree_next_chunk(root, &at->iter, 0);
		if (!at->slot)
			return NULL;
		entry = rcu_dereference_raw(*at->slot);
		/* The node was replaced concurrently. */
		if (xa_is_internal(entry))
			at->slot = radix_tree_iter_retry(&at->iter);
		else if (entry)
			return entry;
	}
}
