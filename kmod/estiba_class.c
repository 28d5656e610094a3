// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which container a cgroup is made for, by its path. Each cgroup is classified once and
 * then looked up by its id, one look-up a process. Entries live as long as the cgroup
 * has processes, so there are never more than processes.
 *
 * The table is written in RCU sections and does not allocate there:
 * estiba_classes_reserve() makes room between the batches of a walk.
 */
#include <linux/cgroup.h>
#include <linux/hash.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/stringhash.h>

#include "compat.h"
#include "estiba.h"

/* Entries that can be added between two calls of estiba_classes_reserve(). */
#define SPARES 32

/* Deepest level searched for names: the path of a deeper one is longer than PATH_MAX. */
#define LEVEL_MAX (PATH_MAX / 2)
/* The same for v1, whose paths the kernel writes with interrupts off. */
#define LEVEL_MAX_V1 64

/* Cgroups of v1 can be renamed: how long a class of one is valid. */
#define RENAME_NS 10000000000ULL

static struct hlist_head *table;
static unsigned int table_bits;
static size_t count;			/* entries in the table */

static struct estiba_class *spare_classes[SPARES];
static struct estiba_named *spare_named[SPARES];
static int spare_classes_count, spare_named_count;

/* For the roots of all hierarchies. */
static struct estiba_class root_class;

const char *const estiba_docker = "docker";

/* The hierarchy of v1 controllers, in the order in which their paths count. */
static const enum cgroup_subsys_id first_controllers[] = {
#ifdef CONFIG_MEMCG
	memory_cgrp_id,
#endif
#ifdef CONFIG_CGROUP_CPUACCT
	cpuacct_cgrp_id,
#endif
#ifdef CONFIG_CGROUP_SCHED
	cpu_cgrp_id,
#endif
#ifdef CONFIG_CGROUP_PIDS
	pids_cgrp_id,
#endif
};

/* Add the hierarchy of a controller, unless it is v2 or was added. Under RCU. */
static void add_hierarchy(struct estiba_build *b, const struct css_set *own, int ssid)
{
	const struct cgroup_root *root = own->subsys[ssid]->cgroup->root;
	size_t i;

	if (root == &cgrp_dfl_root)
		return;
	for (i = 0; i < b->v1_count; i++)
		if (own->subsys[b->v1[i]]->cgroup->root == root)
			return;
	b->v1[b->v1_count++] = ssid;
}

/**
 * estiba_classes_begin() - Find the v1 hierarchies that are in use.
 * @b: gets them
 */
void estiba_classes_begin(struct estiba_build *b)
{
	const struct css_set *own;
	int i;

	rcu_read_lock();
	/* This thread is in all root cgroups. */
	own = task_css_set(current);
	for (i = 0; i < (int)ARRAY_SIZE(first_controllers); i++)
		add_hierarchy(b, own, first_controllers[i]);
	for (i = 0; i < CGROUP_SUBSYS_COUNT; i++)
		add_hierarchy(b, own, i);
	rcu_read_unlock();
}

static int grow_table(unsigned int bits)
{
	struct hlist_head *bigger = kvcalloc((size_t)1 << bits, sizeof(*bigger), ESTIBA_GFP);
	struct estiba_class *e;
	struct hlist_node *next;
	size_t i;

	if (!bigger)
		return -ENOMEM;
	for (i = 0; table && i < (size_t)1 << table_bits; i++) {
		hlist_for_each_entry_safe(e, next, &table[i], node) {
			hlist_del(&e->node);
			hlist_add_head(&e->node, &bigger[hash_64(e->id, bits)]);
		}
	}
	kvfree(table);
	table = bigger;
	table_bits = bits;
	return 0;
}

/**
 * estiba_classes_reserve() - Make room for more classes.
 *
 * May sleep.
 *
 * Return: 0 or -ENOMEM.
 */
int estiba_classes_reserve(void)
{
	if (!table || count + SPARES > (size_t)1 << table_bits) {
		int err = grow_table(table ? table_bits + 1 : 10);

		if (err)
			return err;
	}
	while (spare_classes_count < SPARES) {
		struct estiba_class *e = kzalloc(sizeof(*e), ESTIBA_GFP);

		if (!e)
			return -ENOMEM;
		spare_classes[spare_classes_count++] = e;
	}
	while (spare_named_count < SPARES) {
		struct estiba_named *n = kzalloc(sizeof(*n), ESTIBA_GFP);

		if (!n)
			return -ENOMEM;
		spare_named[spare_named_count++] = n;
	}
	return 0;
}

/**
 * estiba_task_cgroup() - The cgroup of a task.
 * @p: the task, hashed or referenced
 * @ssid: a controller in a v1 hierarchy, or ESTIBA_V2
 *
 * Under RCU.
 *
 * Return: the cgroup.
 */
struct cgroup *estiba_task_cgroup(struct task_struct *p, int ssid)
{
	const struct css_set *set = task_css_set(p);

	return ssid == ESTIBA_V2 ? set->dfl_cgrp : set->subsys[ssid]->cgroup;
}

/* The path of a cgroup in v1, where names may change, or its outer part. */
static size_t write_path_v1(struct cgroup *cgrp, char *path, size_t size)
{
	size_t len;

	cgrp = cgroup_ancestor(cgrp, min(cgrp->level, LEVEL_MAX_V1));
	path[0] = '\0';
	cgroup_path(cgrp, path, size);
	len = strnlen(path, size - 1);
	/* The last name may be cut. */
	if (len == size - 1)
		while (len && path[len] != '/')
			len--;
	return len;
}

/*
 * The path of a cgroup, or its outer part. Valid until the next call: only the worker
 * thread uses it. Under RCU.
 */
static size_t path_of(struct cgroup *cgrp, int ssid, const char **path)
{
	static char buf[PATH_MAX];

	*path = buf;
	if (ssid != ESTIBA_V2)
		return write_path_v1(cgrp, buf, sizeof(buf));
	return estiba_cgroup_outer_path(cgroup_ancestor(cgrp, min(cgrp->level, LEVEL_MAX)),
					buf, sizeof(buf));
}

/* Under RCU; needs a spare_named. */
static void classify(struct estiba_class *e, struct cgroup *cgrp)
{
	struct cgroup_match m;
	struct estiba_named *n;
	const char *path;
	size_t len, i;

	len = path_of(cgrp, e->ssid, &path);
	if (!estiba_cgroup_match(&m, path, len)) {
		kfree(e->named);
		e->named = NULL;
		return;
	}
	if (!e->named)
		e->named = spare_named[--spare_named_count];
	n = e->named;
	n->runtime = m.runtime && !strcmp(m.runtime, estiba_docker) ? estiba_docker : m.runtime;
	n->kata = m.runtime && !strcmp(m.runtime, "kata");
	n->by_shim = m.by_shim;
	n->helper = m.helper;
	n->user = m.user;
	n->id_len = m.id_len;
	memcpy(n->id, m.id, m.id_len);
	n->id_hash = full_name_hash(NULL, n->id, n->id_len);
	n->has_pod = m.pod;
	if (m.pod)
		memcpy(n->pod, m.pod, sizeof(n->pod));
	n->level = 0;
	for (i = 0; i < m.path_len; i++)
		n->level += path[i] == '/';
}

/* The class of a cgroup, or NULL if there is no room. Under RCU. */
static struct estiba_class *class_of_cgroup(struct estiba_build *b, struct cgroup *cgrp,
					    int ssid)
{
	u64 id = cgroup_id(cgrp);
	int hierarchy = ssid == ESTIBA_V2 ? 0 : cgrp->root->hierarchy_id;
	struct hlist_head *head = &table[hash_64(id, table_bits)];
	struct estiba_class *e;

	hlist_for_each_entry(e, head, node) {
		if (e->id != id || e->hierarchy != hierarchy)
			continue;
		if (e->seen == b->number)
			return e;
		if (hierarchy && b->now - e->checked_at >= RENAME_NS) {
			if (!spare_named_count)
				return NULL;
			e->ssid = ssid;
			e->checked_at = b->now;
			e->tested = 0;
			classify(e, cgrp);
		}
		e->seen = b->number;
		b->classes++;
		return e;
	}
	if (!spare_classes_count || !spare_named_count)
		return NULL;
	e = spare_classes[--spare_classes_count];
	e->id = id;
	e->hierarchy = hierarchy;
	e->ssid = ssid;
	e->checked_at = b->now;
	e->seen = b->number;
	classify(e, cgrp);
	hlist_add_head(&e->node, head);
	count++;
	b->classes++;
	/* A path takes as long as some processes. */
	b->work += 2 + cgrp->level / 8;
	return e;
}

/**
 * estiba_class_of() - The class of a process.
 * @b: the build
 * @p: the process, hashed in this RCU section
 * @cgrp: set to the cgroup of that class
 *
 * The v2 path decides, if it has the name of a container; else the first v1 path that
 * has one. Under RCU.
 *
 * Return: the class, or NULL if there is no room: then estiba_classes_reserve() is needed.
 */
struct estiba_class *estiba_class_of(struct estiba_build *b, struct task_struct *p,
				     struct cgroup **cgrp)
{
	struct estiba_class *e = &root_class;
	size_t i;

	p = estiba_live_thread(p) ?: p;
	/* Between fork and joining the parent's cgroup it is in the root. */
	if (list_empty(&p->cg_list))
		p = estiba_parent(p);
	*cgrp = task_dfl_cgroup(p);
	if ((*cgrp)->level)
		e = class_of_cgroup(b, *cgrp, ESTIBA_V2);
	for (i = 0; i < b->v1_count && e && !e->named; i++) {
		*cgrp = estiba_task_cgroup(p, b->v1[i]);
		/* The controller may have moved to v2. */
		if ((*cgrp)->level && (*cgrp)->root != &cgrp_dfl_root)
			e = class_of_cgroup(b, *cgrp, b->v1[i]);
	}
	return e;
}

/**
 * estiba_class_has_id() - Is a cgroup, or one above it, named after a shim's container?
 * @e: class of the cgroup
 * @cgrp: the cgroup
 * @shim: the container of the shim
 *
 * Under RCU. The answer is kept for the shim that asked last.
 *
 * Return: whether it is.
 */
bool estiba_class_has_id(struct estiba_class *e, struct cgroup *cgrp,
			 const struct estiba_container *shim)
{
	const char *path;
	size_t len;

	if (e->tested != shim->serial) {
		len = path_of(cgrp, e->ssid, &path);
		e->has_id = estiba_path_has_id(path, len, &shim->args);
		e->tested = shim->serial;
	}
	return e->has_id;
}

static void free_class(struct estiba_class *e)
{
	hlist_del(&e->node);
	count--;
	kfree(e->named);
	kfree(e);
}

static void free_classes(u64 except)
{
	struct estiba_class *e;
	struct hlist_node *next;
	size_t i;

	for (i = 0; table && i < (size_t)1 << table_bits; i++) {
		hlist_for_each_entry_safe(e, next, &table[i], node)
			if (e->seen != except)
				free_class(e);
		if (i % 256 == 0)
			cond_resched();
	}
}

/**
 * estiba_classes_sweep() - Free the classes of cgroups without processes.
 * @b: after estiba_walk()
 */
void estiba_classes_sweep(const struct estiba_build *b)
{
	if (count > b->classes)
		free_classes(b->number);
}

/**
 * estiba_classes_exit() - Free all classes.
 */
void estiba_classes_exit(void)
{
	free_classes(0);
	kvfree(table);
	while (spare_classes_count)
		kfree(spare_classes[--spare_classes_count]);
	while (spare_named_count)
		kfree(spare_named[--spare_named_count]);
}
