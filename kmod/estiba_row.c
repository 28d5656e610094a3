// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which container a process belongs to. Its cgroup's name decides together with the shim
 * it descends from, if it has one:
 *
 * - Named after the shim's own container: that one.
 * - Named after the container of another shim, or not named: that of its shim. Without
 *   a shim above it, that of the shim with this id (the virtual machine of Kata
 *   Containers, or a process that was moved).
 * - Named after a container without a shim of its own: a container that another shim
 *   made for its pod, or one of a runtime without shims.
 */
#include <linux/cgroup.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/pid_namespace.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "estiba.h"

/* Containers that can be added between two calls of estiba_rows_reserve(). */
#define SPARES 16

static struct estiba_container *spares[SPARES];
static int spares_count;

/**
 * estiba_rows_reserve() - Make room for containers found during a walk.
 * @b: the build
 *
 * May sleep.
 *
 * Return: 0 or -ENOMEM.
 */
int estiba_rows_reserve(struct estiba_build *b)
{
	int err = estiba_classes_reserve();

	if (!err)
		err = estiba_list_reserve(b, 4 * ESTIBA_BATCH);
	while (!err && spares_count < SPARES) {
		spares[spares_count] = estiba_container_alloc();
		if (spares[spares_count])
			spares_count++;
		else
			err = -ENOMEM;
	}
	return err;
}

/**
 * estiba_rows_exit() - Free what estiba_rows_reserve() left.
 */
void estiba_rows_exit(void)
{
	while (spares_count)
		kvfree(spares[--spares_count]);
	estiba_classes_exit();
}

/*
 * Is p the runtime, called by the shim: runc create, exec, delete? It shares the shim's
 * cgroups in every hierarchy, and its pid namespace. A process of the container was
 * moved elsewhere before its exec. Under RCU.
 */
static bool is_runtime(const struct estiba_container *shim, struct task_struct *p)
{
	return rcu_access_pointer(p->cgroups) ==
		       rcu_access_pointer(shim->shim->cgroups) &&
	       task_active_pid_ns(p) == &init_pid_ns;
}

static bool has_id(const struct estiba_container *c, const struct estiba_named *n)
{
	return c->args.id_len == n->id_len && !memcmp(c->args.id, n->id, n->id_len);
}

/*
 * Containers of a shim may be in several cgroups with the same id. Note the runtime's
 * name, and a cgroup that the children of the shim do not have.
 */
static void note_cgroup(struct estiba_container *c, const struct estiba_class *e,
			struct cgroup *top, bool moved)
{
	const struct estiba_named *n = e->named;

	if (n->runtime && (!c->runtime || n->kata)) {
		c->runtime = n->runtime;
		c->kata = n->kata;
	}
	if ((moved || n->kata) && e->ssid == ESTIBA_V2)
		estiba_cgroup_also(c, top);
}

/* Fill in what is known from the shim about another container of its pod. */
static void set_shim(struct estiba_container *c, const struct estiba_container *shim)
{
	estiba_container_set_shim(c, shim->shim);
	memcpy(c->args.namespace, shim->args.namespace, shim->args.namespace_len);
	c->args.namespace_len = shim->args.namespace_len;
	memcpy(c->pod, shim->args.id, shim->args.id_len);
	c->pod_len = shim->args.id_len;
}

/*
 * The container without a shim of its own that top was made for; p is in there. Sets
 * e->row; false if there is no room.
 */
static bool find_other(struct estiba_build *b, struct estiba_class *e, struct cgroup *top,
		       struct task_struct *p, const struct estiba_container *shim)
{
	struct estiba_container *c = estiba_container_in(top, e->hierarchy);

	e->row = NULL;
	/* Exited processes alone are no container. */
	if (!c && estiba_has_exited(p))
		return true;
	if (b->count == b->room || (!c && !spares_count))
		return false;
	if (!c && !e->named->user)
		c = estiba_container_orphan(b, e->named);
	if (!c)
		c = spares[--spares_count];
	if (c->seen != b->number) {
		estiba_container_begin(c, NULL, b->number);
		estiba_container_set_cgroup(c, e->named, top, e->hierarchy);
		if (e->ssid == ESTIBA_V2)
			estiba_cgroup_set(c, top);
		b->list[b->count++] = c;
		b->rootless += !!c->user;
	}
	if (shim && !c->shim)
		set_shim(c, shim);
	e->row = c;
	return true;
}

/* The container of p, in top, which descends from a shim. */
static bool decide_below(struct estiba_build *b, struct estiba_class *e,
			 struct cgroup *cgrp, struct cgroup *top,
			 struct task_struct *p, struct estiba_container *shim)
{
	e->row = shim;
	e->sure = true;
	if (has_id(shim, e->named)) {
		note_cgroup(shim, e, top, false);
		return true;
	}
	if (estiba_class_has_id(e, cgrp, shim))
		return true;
	/*
	 * It is another shim's container; or this shim itself is in there, so that it
	 * is what the shim runs in, and not what it made.
	 */
	if (estiba_container_by_id(b, e->named) ||
	    cgroup_is_descendant(estiba_task_cgroup(shim->shim, e->ssid), top)) {
		e->sure = false;
		return true;
	}
	return find_other(b, e, top, p, shim);
}

/* The container of p, in top, which descends from no shim. */
static bool decide_alone(struct estiba_build *b, struct estiba_class *e, struct cgroup *top,
			 struct task_struct *p)
{
	e->row = e->named->user ? NULL : estiba_container_by_id(b, e->named);
	e->sure = true;
	if (e->row)
		note_cgroup(e->row, e, top, true);
	return e->row || e->named->by_shim || find_other(b, e, top, p, NULL);
}

/**
 * estiba_row_of() - Find the container of a process.
 * @b: the build
 * @p: the process, hashed in this RCU section
 * @shim: container of the shim that p descends from, or NULL
 * @at: set to the result
 *
 * Under RCU.
 *
 * Return: false if there is no room: then estiba_rows_reserve() is needed.
 */
bool estiba_row_of(struct estiba_build *b, struct task_struct *p,
		   struct estiba_container *shim, struct estiba_place *at)
{
	const struct css_set *set = rcu_access_pointer(p->cgroups);
	struct estiba_class *e;
	struct cgroup *cgrp;

	/* Most processes of a container follow each other. */
	if (set == b->last_set && shim == b->last_shim && p != b->last.row->shim &&
	    !(READ_ONCE(p->flags) & PF_EXITING)) {
		*at = b->last;
		return true;
	}
	e = estiba_class_of(b, p, &cgrp);
	at->row = NULL;
	at->top = NULL;
	at->class = e;
	if (!e)
		return false;
	if (!e->named) {
		if (shim && !is_runtime(shim, p))
			at->row = shim;
		return true;
	}
	if (e->named->helper)
		return true;
	at->top = cgroup_ancestor(cgrp, e->named->level);
	for (;;) {
		if (e->decided != b->number || e->shim != shim) {
			e->decided = 0;
			if (!(shim ? decide_below(b, e, cgrp, at->top, p, shim) :
				     decide_alone(b, e, at->top, p)))
				return false;
			e->decided = e->row ? b->number : 0;
			e->shim = shim;
		}
		if (e->sure || !is_runtime(shim, p))
			break;
		/* The runtime is in whatever the shim is in. */
		shim = NULL;
	}
	/* A shim is not part of its own container. */
	if (!e->row || e->row->shim == p)
		return true;
	at->row = e->row;
	/* An exiting process may have left the cgroup of the live threads. */
	if (e->sure && !(READ_ONCE(p->flags) & PF_EXITING)) {
		b->last_set = set;
		b->last_shim = shim;
		b->last = *at;
	}
	return true;
}
