// SPDX-License-Identifier: GPL-2.0-only
/*
 * The thread that builds the documents. Readers only wait for it, so their priority,
 * CPU limit and memory cgroup do not affect other readers. Only this thread accesses
 * the containers, so they need no lock.
 *
 * Readers share a document for min_interval_ms, or ten times the CPU time of its build,
 * at most KEEP_MAX_NS, whichever is longer. So many readers cost one walk, and walks use
 * at most a tenth of a CPU, unless one takes more than 0.2 s.
 */
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

#include "estiba.h"

#define KEEP_MAX_NS (2 * (u64)NSEC_PER_SEC)

static struct task_struct *thread;
/*
 * Raw, because with PREEMPT_RT a spinlock's holder can be preempted, here by a tiny CPU
 * limit of the reader.
 */
static DEFINE_RAW_SPINLOCK(waiting_lock);
static LIST_HEAD(waiting);

/* Used by the thread only, down to tried_err. */
static struct estiba_document documents[2];
static struct estiba_document *current_document;	/* one of them, or NULL */
static u64 built_at;		/* end of its build, boot clock, ns */
static u64 tried_at;		/* end of the last build, also a failed one; or 0 */
static u64 tried_cost;		/* CPU time of that build, ns */
static int tried_err;

static size_t pages_now;	/* of the current document; read by the readers */

/** estiba_worker_pages() - Return the expected size of the next document, in pages. */
size_t estiba_worker_pages(void)
{
	return READ_ONCE(pages_now);
}

/* CPU time of this thread, ns, as of the last tick or switch. */
static u64 cpu_time(void)
{
	return READ_ONCE(current->se.sum_exec_runtime);
}

static void build(void)
{
	struct estiba_document *d = &documents[current_document == documents];
	size_t last = current_document ? current_document->w.len : 0;
	u64 begin = ktime_get_ns(), cpu = cpu_time();

	/* With an eighth of slack the buffer rarely has to grow. */
	tried_err = estiba_snapshot_build(d, last + last / 8 + 4096);
	tried_at = ktime_get_boottime_ns();
	tried_cost = min(ktime_get_ns() - begin, cpu_time() - cpu + TICK_NSEC);
	if (tried_err)
		return;
	current_document = d;
	built_at = tried_at;
	WRITE_ONCE(pages_now, DIV_ROUND_UP(d->w.len + d->w.len / 64, PAGE_SIZE));
}

static bool is_younger(u64 at, u64 ns)
{
	return at && ktime_get_boottime_ns() - at < ns;
}

static void serve(struct estiba_reader *r)
{
	u64 keep = max_t(u64, estiba_min_interval_ms() * (u64)NSEC_PER_MSEC,
			 min(10 * tried_cost, KEEP_MAX_NS));

	if (tried_err)
		keep = min(keep, KEEP_MAX_NS);
	if (!is_younger(tried_at, keep))
		build();
	/* If there is no memory for a new one, serve the last one while it is recent. */
	if (!tried_err || (current_document && is_younger(built_at, KEEP_MAX_NS)))
		estiba_reader_fill(r, current_document);
	else
		r->err = tried_err;
}

static struct estiba_reader *next_waiting(void)
{
	struct estiba_reader *r;

	raw_spin_lock(&waiting_lock);
	r = list_first_entry_or_null(&waiting, struct estiba_reader, waiting);
	if (r)
		list_del_init(&r->waiting);
	raw_spin_unlock(&waiting_lock);
	return r;
}

static int work(void *unused)
{
	while (!kthread_should_stop()) {
		struct estiba_reader *r = next_waiting();

		if (r) {
			serve(r);
			complete(&r->served);
			cond_resched();
			continue;
		}
		set_current_state(TASK_IDLE);
		if (list_empty_careful(&waiting) && !kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

/**
 * estiba_worker_serve() - Have the worker fill the pages of a reader.
 * @r: the reader, with its pages
 *
 * Sleeps until it is done, or the caller is killed.
 *
 * Return: 0; -E2BIG: r->wanted pages are needed; -ENOMEM: building a document failed;
 * -EINTR: killed.
 */
int estiba_worker_serve(struct estiba_reader *r)
{
	bool begun;

	reinit_completion(&r->served);
	raw_spin_lock(&waiting_lock);
	list_add_tail(&r->waiting, &waiting);
	raw_spin_unlock(&waiting_lock);
	wake_up_process(thread);
	if (!wait_for_completion_killable(&r->served))
		return r->err;
	raw_spin_lock(&waiting_lock);
	begun = list_empty(&r->waiting);
	list_del_init(&r->waiting);
	raw_spin_unlock(&waiting_lock);
	/* The worker is writing to the reader's pages: wait until it is done. */
	if (begun)
		wait_for_completion(&r->served);
	return -EINTR;
}

/**
 * estiba_worker_start() - Start the thread, in the root cgroups.
 *
 * Return: 0 or the error of kthread_run().
 */
int estiba_worker_start(void)
{
	thread = kthread_run(work, NULL, ESTIBA_NAME);
	return PTR_ERR_OR_ZERO(thread);
}

/**
 * estiba_worker_stop() - Stop the thread and free all state.
 *
 * No reader may be waiting for it.
 */
void estiba_worker_stop(void)
{
	kthread_stop(thread);
	estiba_document_release(&documents[0]);
	estiba_document_release(&documents[1]);
	estiba_containers_exit();
	estiba_rows_exit();
}
