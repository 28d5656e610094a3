// SPDX-License-Identifier: GPL-2.0-only
/* The containers, kept across snapshots. */
#include <linux/cgroup.h>
#include <linux/hash.h>
#include <linux/hashtable.h>
#include <linux/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/stringhash.h>

#include "estiba.h"

/* How long an ended container stays in the document, with its last totals. */
#define ENDED_NS 10000000000ULL

/* By the shim's pid, or without a shim of its own by the cgroup. */
static DEFINE_HASHTABLE(known, 12);
static size_t known_count;
static size_t others_count;	/* without a shim of their own */

/**
 * estiba_container_find() - Look up the container of a shim.
 * @pid: of the shim
 * @start: start time of the shim, boot clock
 *
 * The two identify a process uniquely.
 *
 * Return: the container, or NULL.
 */
struct estiba_container *estiba_container_find(pid_t pid, u64 start)
{
	struct estiba_container *c;

	hash_for_each_possible(known, c, by_key, pid)
		if (c->pid == pid && c->shim_start == start && !c->top_id && !c->ended_at)
			return c;
	return NULL;
}

static u32 cgroup_key(u64 id)
{
	return hash_64(id, 32);
}

/**
 * estiba_container_in() - Look up a container without a shim of its own.
 * @top: its cgroup
 * @hierarchy: of that cgroup, 0 for v2
 *
 * Return: the container, or NULL.
 */
struct estiba_container *estiba_container_in(struct cgroup *top, int hierarchy)
{
	u64 id = cgroup_id(top);
	struct estiba_container *c;

	hash_for_each_possible(known, c, by_key, cgroup_key(id))
		if (c->top_id == id && c->hierarchy == hierarchy && !c->ended_at)
			return c;
	return NULL;
}

/* Make key the key of a container, known already or not. */
static void set_key(struct estiba_container *c, u32 key)
{
	if (hash_hashed(&c->by_key))
		hash_del(&c->by_key);
	else
		known_count++;
	hash_add(known, &c->by_key, key);
}

/**
 * estiba_container_name() - Set the identity of a container.
 * @c: the container
 * @args: parsed arguments of its shim
 * @exec_id: exec id of the shim with these arguments
 */
void estiba_container_name(struct estiba_container *c,
			   const struct shim_args *args, u64 exec_id)
{
	static u64 serial;

	c->serial = ++serial;
	c->args = *args;
	c->exec_id = exec_id;
	c->id_hash = full_name_hash(NULL, args->id, args->id_len);
	c->path_of = 0;
}

/**
 * estiba_container_alloc() - Allocate a container that is not known yet.
 *
 * Return: the container, or NULL if out of memory.
 */
struct estiba_container *estiba_container_alloc(void)
{
	return kvzalloc(sizeof(struct estiba_container), ESTIBA_GFP);
}

static bool has_id(const struct estiba_container *c, const char *id, size_t len)
{
	return c->args.id_len == len && !memcmp(c->args.id, id, len);
}

/*
 * The running container whose shim was not recognized so far. A restarted one has another
 * cgroup.
 */
static struct estiba_container *find_without_shim(const struct shim_args *args)
{
	struct estiba_container *c;
	int bucket;

	if (!others_count)
		return NULL;
	hash_for_each(known, bucket, c, by_key)
		if (c->top_id && !c->ended_at && !c->user && c->held &&
		    (c->held->self.flags & CSS_ONLINE) &&
		    has_id(c, args->id, args->id_len))
			return c;
	return NULL;
}

/**
 * estiba_container_add() - Add the container of a shim.
 * @shim: its shim
 * @args: parsed arguments of the shim
 * @exec_id: exec id of the shim with these arguments
 *
 * Return: the container, or NULL if out of memory.
 */
struct estiba_container *estiba_container_add(struct task_struct *shim,
					      const struct shim_args *args,
					      u64 exec_id)
{
	struct estiba_container *c = find_without_shim(args);

	if (c) {
		c->top_id = 0;
		c->pod_len = 0;
		others_count--;
	} else {
		c = estiba_container_alloc();
	}
	if (!c)
		return NULL;
	c->pid = shim->pid;
	c->shim_start = shim->start_boottime;
	estiba_container_name(c, args, exec_id);
	set_key(c, c->pid);
	return c;
}

/*
 * Containers by id: during the walk those with a shim of their own, also if it has
 * exited, then all of this build.
 */
static DEFINE_HASHTABLE(by_id, 10);
static u64 shims_of;		/* build whose shims are in there */

static void fill_shims(struct estiba_build *b)
{
	struct estiba_container *c;
	int bucket;

	if (shims_of == b->number)
		return;
	shims_of = b->number;
	hash_init(by_id);
	hash_for_each(known, bucket, c, by_key)
		if (!c->top_id && !c->ended_at)
			hash_add(by_id, &c->by_id, c->id_hash);
	b->work += known_count / 4;
}

/**
 * estiba_container_by_id() - Look up the container of a running shim.
 * @b: after estiba_shims_find()
 * @n: has its id
 *
 * Return: the container, or NULL.
 */
struct estiba_container *estiba_container_by_id(struct estiba_build *b,
						const struct estiba_named *n)
{
	struct estiba_container *c;

	fill_shims(b);
	hash_for_each_possible(by_id, c, by_id, n->id_hash)
		if (c->seen == b->number && has_id(c, n->id, n->id_len))
			return c;
	return NULL;
}

/**
 * estiba_container_orphan() - Take over the container of a shim that exited.
 * @b: after estiba_shims_find()
 * @n: has its id
 *
 * It goes on without its shim: call estiba_container_set_cgroup() next.
 *
 * Return: the container, or NULL.
 */
struct estiba_container *estiba_container_orphan(struct estiba_build *b,
						 const struct estiba_named *n)
{
	struct estiba_container *c;

	fill_shims(b);
	hash_for_each_possible(by_id, c, by_id, n->id_hash) {
		if (c->seen == b->number || !c->started || !has_id(c, n->id, n->id_len))
			continue;
		hash_del(&c->by_id);
		return c;
	}
	return NULL;
}

/**
 * estiba_container_set_cgroup() - Set the identity of a container by its cgroup.
 * @c: the container
 * @n: what the name of the cgroup reveals
 * @top: the cgroup
 * @hierarchy: of the cgroup, 0 for v2
 */
void estiba_container_set_cgroup(struct estiba_container *c, const struct estiba_named *n,
				 struct cgroup *top, int hierarchy)
{
	if (c->top_id == cgroup_id(top) && has_id(c, n->id, n->id_len))
		return;
	if (!c->top_id)
		others_count++;
	c->top_id = cgroup_id(top);
	c->hierarchy = hierarchy;
	memcpy(c->args.id, n->id, n->id_len);
	c->args.id_len = n->id_len;
	c->id_hash = n->id_hash;
	c->user = n->user;
	if (n->runtime)
		c->runtime = n->runtime;
	if (n->has_pod) {
		memcpy(c->pod, n->pod, sizeof(n->pod));
		c->pod_len = sizeof(n->pod);
	}
	c->path_of = 0;
	set_key(c, cgroup_key(c->top_id));
}

/**
 * estiba_container_begin() - Include a container in a snapshot.
 * @c: the container
 * @shim: its shim, or NULL; takes the reference, which estiba_container_end() drops
 * @build: number of the snapshot
 */
void estiba_container_begin(struct estiba_container *c, struct task_struct *shim,
			    u64 build)
{
	c->seen = build;
	c->duplicate = false;
	c->shim = shim;
	if (shim)
		estiba_container_show(c, shim);
	memset(&c->use, 0, sizeof(c->use));
	memset(&c->memcg, 0, sizeof(c->memcg));
	c->cgroup_mixed = false;
	c->cgroup_spread = false;
	c->own = NULL;
	c->own_shared = false;
}

/**
 * estiba_container_show() - Set the process that a container is listed with.
 * @c: the container
 * @p: its shim, its monitor, or its init process
 */
void estiba_container_show(struct estiba_container *c, const struct task_struct *p)
{
	c->pid = p->pid;
	memcpy(c->name, p->comm, sizeof(c->name));
	c->name[sizeof(c->name) - 1] = '\0';
}

/**
 * estiba_container_set_shim() - Set the shim of another container of the same pod.
 * @c: the container, after estiba_container_begin()
 * @shim: the shim
 */
void estiba_container_set_shim(struct estiba_container *c, struct task_struct *shim)
{
	get_task_struct(shim);
	c->shim = shim;
	estiba_container_show(c, shim);
}

/**
 * estiba_container_end() - Drop the references a container holds during a snapshot.
 * @c: the container, after estiba_container_begin()
 */
void estiba_container_end(struct estiba_container *c)
{
	if (c->cgroup)
		cgroup_put(c->cgroup);
	c->cgroup = NULL;
	if (c->also)
		cgroup_put(c->also);
	c->also = NULL;
	c->own = NULL;
	if (c->init)
		put_task_struct(c->init);
	c->init = NULL;
	if (c->shim)
		put_task_struct(c->shim);
	c->shim = NULL;
}

static bool same_id(const struct shim_args *a, const struct shim_args *b)
{
	return a->id_len == b->id_len && !memcmp(a->id, b->id, a->id_len);
}

static bool same_namespace(const struct shim_args *a, const struct shim_args *b)
{
	return a->namespace_len == b->namespace_len &&
	       !memcmp(a->namespace, b->namespace, a->namespace_len);
}

static u64 began_at(const struct estiba_container *c)
{
	return c->top_id ? c->init_start : c->shim_start;
}

/*
 * Do a and b have the same id, and is a the one to list? One that runs in a cgroup
 * named after the id takes precedence, else the older one. Two containerd namespaces
 * may each have a container with this id, and so may two users.
 */
static bool takes_precedence(const struct estiba_container *a,
		      const struct estiba_container *b)
{
	bool a_named = a->own && a->path_named, b_named = b->own && b->path_named;

	if (a->id_hash != b->id_hash || a->user != b->user || !same_id(&a->args, &b->args))
		return false;
	if (a_named != b_named)
		return a_named;
	if (!a->top_id && !b->top_id && !same_namespace(&a->args, &b->args))
		return false;
	/* An orphaned shim, and the one that replaced it. */
	if (!a->init != !b->init)
		return a->init;
	return began_at(a) < began_at(b) || (began_at(a) == began_at(b) && a->pid < b->pid);
}

/**
 * estiba_container_drop() - Do not list a container of this snapshot.
 * @b: the build; what the container uses is added to the unattributed sums
 * @c: the container; the caller removes it from the list
 */
void estiba_container_drop(struct estiba_build *b, struct estiba_container *c)
{
	b->unattributed.processes += c->use.processes;
	b->unattributed.threads += c->use.threads;
	b->unattributed.rss_pages += c->use.rss_pages;
	b->unattributed.vsz_pages += c->use.vsz_pages;
	b->unattributed.swap_pages += c->use.swap_pages;
	estiba_container_end(c);
}

/**
 * estiba_containers_drop_duplicates() - Keep one container per id.
 * @b: after estiba_cgroups_find()
 *
 * Root of the host can start a shim with the id of another container.
 */
void estiba_containers_drop_duplicates(struct estiba_build *b)
{
	struct estiba_container *c, *other;
	bool found = false;
	size_t kept = 0, i;

	hash_init(by_id);
	for (i = 0; i < b->count; i++) {
		c = b->list[i];
		c->dropped = false;
		hash_for_each_possible(by_id, other, by_id, c->id_hash) {
			if (takes_precedence(other, c))
				c->dropped = true;
			else if (takes_precedence(c, other))
				other->dropped = true;
			found |= c->dropped || other->dropped;
		}
		hash_add(by_id, &c->by_id, c->id_hash);
		cond_resched();
	}
	for (i = 0; i < b->count && found; i++) {
		c = b->list[i];
		if (!c->dropped) {
			b->list[kept++] = c;
			continue;
		}
		c->duplicate = true;
		estiba_container_drop(b, c);
	}
	if (found)
		b->count = kept;
}

static void container_free(struct estiba_container *c)
{
	estiba_cgroup_release(c);
	hash_del(&c->by_key);
	known_count--;
	others_count -= !!c->top_id;
	kvfree(c);
}

/* Its shim has exited, or its cgroup has no more processes. */
static void container_finish(struct estiba_container *c, u64 now)
{
	estiba_cpu_finish(c, now);
	estiba_cgroup_release(c);
	memset(&c->use, 0, sizeof(c->use));
	memset(&c->memcg, 0, sizeof(c->memcg));
	c->ended_at = now;
}

/**
 * estiba_containers_sweep() - List recently ended containers, free older ones.
 * @b: with all running containers
 *
 * Return: CPU time, ns, of the containers that ended since the last snapshot.
 */
u64 estiba_containers_sweep(struct estiba_build *b)
{
	struct estiba_container *c;
	struct hlist_node *next;
	u64 cpu = 0;
	int bucket;

	hash_for_each_safe(known, bucket, next, c, by_key) {
		if (c->seen == b->number)
			continue;
		/* Only the worker thread uses the list. */
		cond_resched();
		if (!c->ended_at) {
			/* The CPU time of a duplicate is unattributed. */
			bool shown = c->cpu.known && !c->duplicate;

			container_finish(c, b->now);
			if (!c->duplicate)
				cpu += c->cpu.shown;
			/* It was never listed: a shim in another container. */
			if (!shown) {
				container_free(c);
				continue;
			}
		} else if (b->now - c->ended_at >= ENDED_NS) {
			container_free(c);
			continue;
		}
		c->next_ended = b->ended;
		b->ended = c;
		b->ended_count++;
	}
	return cpu;
}

/**
 * estiba_containers_exit() - Free all containers.
 */
void estiba_containers_exit(void)
{
	struct estiba_container *c;
	struct hlist_node *next;
	int bucket;

	hash_for_each_safe(known, bucket, next, c, by_key) {
		container_free(c);
		cond_resched();
	}
}
