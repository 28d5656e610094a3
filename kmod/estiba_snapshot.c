// SPDX-License-Identifier: GPL-2.0-only
/*
 * One snapshot for all who ask at about the same time: who opens the file gets
 * the current one, unless it is older than min_interval_ms and than ten times
 * what it cost. So many readers cost one walk, and no reader can take more than
 * a tenth of a CPU.
 */
#include <linux/err.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "estiba.h"

/* Guards all below and every struct estiba_container. */
static DEFINE_MUTEX(snapshot_lock);
static struct estiba_snapshot *current_snapshot;
static u64 built_at;		/* boot clock, ns, when it was finished */
static u64 build_cost;		/* ns */
static u64 sequence;		/* of the current snapshot */
static u64 builds;		/* failed ones included */
static size_t last_len;
static size_t last_processes;
static struct counter busy;
static u64 ended_ns;
static u64 rest_cpu_ns;

static void snapshot_free(struct kref *ref)
{
	struct estiba_snapshot *s = container_of(ref, struct estiba_snapshot, ref);

	kvfree(s->text);
	kfree(s);
}

void estiba_snapshot_put(struct estiba_snapshot *s)
{
	kref_put(&s->ref, snapshot_free);
}

/* CPU time: the host's, minus the containers', minus that of ended ones. */
static void divide_cpu(struct estiba_build *b)
{
	u64 containers = 0;
	size_t i;

	for (i = 0; i < b->count; i++)
		containers += b->list[i]->cpu.shown;
	b->busy_ns = counter_feed(&busy, estiba_host_busy(&b->host), b->now);
	b->ended_ns = ended_ns;
	/* The host's clock is coarser: its total may lag behind the parts. */
	if (b->busy_ns > containers + ended_ns)
		rest_cpu_ns = max(rest_cpu_ns,
				  b->busy_ns - containers - ended_ns);
	b->rest_cpu_ns = rest_cpu_ns;
}

static int collect(struct estiba_build *b)
{
	size_t i;
	int err;

	estiba_host_read(&b->host);
	b->now = b->host.boottime_ns;
	b->memo = estiba_memo_new(last_processes);
	if (!b->memo)
		return -ENOMEM;
	err = estiba_shims_find(b);
	if (!err)
		err = estiba_walk(b);
	if (err)
		return err;
	last_processes = estiba_memo_count(b->memo);
	estiba_cgroups_find(b);
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

static void let_go(struct estiba_build *b)
{
	size_t i;

	for (i = 0; i < b->count; i++) {
		estiba_container_end(b->list[i]);
		cond_resched();
	}
	kvfree(b->list);
	estiba_memo_free(b->memo);
}

/*
 * Room for the last one and an eighth more: rarely copied. If nobody reads the
 * current document, and under the lock nobody can begin to, its buffer serves
 * again: a new one would have to be cleared and charged.
 */
static void begin_text(struct json_writer *w)
{
	size_t room = last_len + last_len / 8 + 4096;
	struct estiba_snapshot *s = current_snapshot;

	if (!s || kref_read(&s->ref) > 1 || s->cap < last_len || s->cap > 2 * room) {
		json_init(w, room);
		return;
	}
	current_snapshot = NULL;
	json_reuse(w, s->text, s->cap);
	kfree(s);
}

static struct estiba_snapshot *build(void)
{
	struct estiba_build b = { .number = ++builds };
	struct estiba_snapshot *s;
	struct json_writer w;
	u64 begin = ktime_get_ns();
	int err;

	err = collect(&b);
	if (err) {
		let_go(&b);
		return ERR_PTR(err);
	}
	b.collect_ns = ktime_get_ns() - begin;
	begin_text(&w);
	estiba_document_write(&w, &b, sequence + 1);
	let_go(&b);
	s = json_failed(&w) ? NULL : kmalloc(sizeof(*s), GFP_KERNEL);
	if (!s) {
		json_release(&w);
		return ERR_PTR(-ENOMEM);
	}
	kref_init(&s->ref);
	s->text = w.text;
	s->len = w.len;
	s->cap = w.cap;
	last_len = w.len;
	sequence++;
	built_at = ktime_get_boottime_ns();
	build_cost = ktime_get_ns() - begin;
	return s;
}

static bool fresh_enough(void)
{
	u64 keep = max_t(u64, estiba_min_interval_ms() * (u64)NSEC_PER_MSEC,
			 10 * build_cost);

	return current_snapshot && ktime_get_boottime_ns() - built_at < keep;
}

struct estiba_snapshot *estiba_snapshot_get(void)
{
	struct estiba_snapshot *s;

	if (mutex_lock_killable(&snapshot_lock))
		return ERR_PTR(-EINTR);
	if (!fresh_enough()) {
		s = build();
		if (IS_ERR(s))
			goto out;
		if (current_snapshot)
			estiba_snapshot_put(current_snapshot);
		current_snapshot = s;
	}
	s = current_snapshot;
	kref_get(&s->ref);
out:
	mutex_unlock(&snapshot_lock);
	return s;
}

/* After the last reader. */
void estiba_snapshot_exit(void)
{
	if (current_snapshot)
		estiba_snapshot_put(current_snapshot);
	current_snapshot = NULL;
}
