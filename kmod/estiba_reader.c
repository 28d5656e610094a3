// SPDX-License-Identifier: GPL-2.0-only
/*
 * Open files. Each has its own copy of a document, in pages that are charged to its
 * reader and filled by the worker. So no reader holds memory at the cost of another,
 * and uncharged memory is bounded.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>

#include "estiba.h"

/* Files that a user may have open at a time. */
#define FILES_MAX 64

/*
 * Pages of all users with a limit, 64 MiB; a quarter of that for each of them. Beyond
 * the limit a user may still have one file open, so no user can keep another from
 * reading.
 */
#define PAGES_MAX ((64UL << 20) >> PAGE_SHIFT)

/* Raw: see estiba_worker.c. */
static DEFINE_RAW_SPINLOCK(lock);
static LIST_HEAD(counted);

static bool ending;

/**
 * estiba_readers_stop() - Make all open() and read() calls return early.
 *
 * Removing the file waits for them, and a reader with a tiny CPU limit would take long.
 */
void estiba_readers_stop(void)
{
	WRITE_ONCE(ending, true);
}

/** estiba_readers_stopping() - Return whether the file is being removed. */
bool estiba_readers_stopping(void)
{
	return READ_ONCE(ending);
}

/* The user charged for current's files: the creator of its outermost user namespace. */
static kuid_t current_owner(void)
{
	const struct user_namespace *ns = current_user_ns();
	kuid_t user = current_uid();

	for (; ns->parent; ns = ns->parent)
		user = ns->owner;
	return user;
}

/*
 * Account r with this number of pages to its user. -EMFILE: the user has too many
 * files; -ENFILE: the files of this user, or of all, have too many pages.
 */
static int account(struct estiba_reader *r, size_t pages)
{
	const struct estiba_reader *other;
	size_t held = pages, own = pages;
	int files = 0, err = 0;

	raw_spin_lock(&lock);
	list_for_each_entry(other, &counted, counted) {
		if (other == r)
			continue;
		held += other->room;
		if (uid_eq(other->user, r->user)) {
			own += other->room;
			files++;
		}
	}
	if (files >= FILES_MAX)
		err = -EMFILE;
	else if (files && (held > PAGES_MAX || own > PAGES_MAX / 4))
		err = -ENFILE;
	else
		r->room = pages;
	if (!err && list_empty(&r->counted))
		list_add(&r->counted, &counted);
	raw_spin_unlock(&lock);
	return err;
}

static void free_pages_of(struct estiba_reader *r)
{
	size_t i;

	if (!r->pages)
		return;
	for (i = 0; i < r->room && r->pages[i]; i++) {
		__free_page(r->pages[i]);
		cond_resched();
	}
	kvfree(r->pages);
	r->pages = NULL;
}

/* Replace the pages of r by this number of new ones. */
static int get_pages(struct estiba_reader *r, size_t pages)
{
	size_t i;

	free_pages_of(r);
	if (list_empty(&r->counted)) {
		r->room = pages;
	} else {
		int err = account(r, pages);

		if (err)
			return err;
	}
	r->pages = kvcalloc(pages, sizeof(*r->pages), ESTIBA_GFP_READER);
	if (!r->pages)
		return -ENOMEM;
	for (i = 0; i < pages; i++) {
		r->pages[i] = alloc_page(ESTIBA_GFP_READER);
		if (!r->pages[i])
			return -ENOMEM;
		/* In a full memory cgroup each allocation is slow. */
		if (fatal_signal_pending(current))
			return -EINTR;
		if (estiba_readers_stopping())
			return -ENOENT;
		/* Most kernels clear each page. */
		cond_resched();
	}
	return 0;
}

/**
 * estiba_reader_at() - Return the address of a byte of the document.
 * @r: the reader
 * @at: offset of the byte, within the allocated pages
 * @len: set to the number of contiguous bytes from there
 *
 * Return: the address.
 */
char *estiba_reader_at(const struct estiba_reader *r, size_t at, size_t *len)
{
	size_t within = at % PAGE_SIZE;

	*len = PAGE_SIZE - within;
	return (char *)page_address(r->pages[at / PAGE_SIZE]) + within;
}

/* Get a document from the worker; retry with more pages while it outgrows them. */
static int get_document(struct estiba_reader *r)
{
	size_t pages = max_t(size_t, estiba_worker_pages(), 1);
	int err;

	do {
		err = get_pages(r, pages);
		if (err)
			return err;
		err = estiba_worker_serve(r);
		pages = r->wanted + r->wanted / 8;
	} while (err == -E2BIG);
	return err;
}

/**
 * estiba_reader_open() - Create a reader with a current document.
 *
 * May sleep; a fatal signal ends the wait. Release with estiba_reader_close().
 *
 * Return: the reader, or ERR_PTR: -EMFILE, -ENFILE (see account()), -ENOMEM,
 * -EINTR; -ENOENT if the file is being removed.
 */
struct estiba_reader *estiba_reader_open(void)
{
	struct estiba_reader *r = kzalloc(sizeof(*r), ESTIBA_GFP_READER);
	int err = 0;

	if (!r)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&r->counted);
	INIT_LIST_HEAD(&r->waiting);
	init_completion(&r->served);
	/* What ptrace_may_access() requires for processes of other users. */
	r->sees_io = ns_capable_noaudit(&init_user_ns, CAP_SYS_PTRACE);
	r->user = current_owner();
	/* Root without the capability is limited like any user. */
	if (!ns_capable_noaudit(&init_user_ns, CAP_SYS_RESOURCE))
		err = account(r, 0);
	if (!err)
		err = get_document(r);
	if (!err)
		return r;
	estiba_reader_close(r);
	return ERR_PTR(err);
}

/**
 * estiba_reader_close() - Free a reader and its document.
 * @r: the reader; may be partially set up
 */
void estiba_reader_close(struct estiba_reader *r)
{
	free_pages_of(r);
	raw_spin_lock(&lock);
	list_del(&r->counted);
	raw_spin_unlock(&lock);
	kfree(r);
}

/* Append bytes to the document; the pages have room for them. */
static void append(struct estiba_reader *r, const char *from, size_t len)
{
	while (len) {
		size_t part;
		char *to = estiba_reader_at(r, r->len, &part);

		part = min(part, len);
		memcpy(to, from, part);
		r->len += part;
		from += part;
		len -= part;
		if (len)
			cond_resched();
	}
}

/**
 * estiba_reader_fill() - Copy a document into the pages of a reader.
 * @r: the reader, with r->room pages
 * @d: a complete document
 *
 * Skips the restricted parts unless the reader may see them. Sets r->err to 0, or to
 * -E2BIG if the document needs more pages, and r->wanted to that number.
 */
void estiba_reader_fill(struct estiba_reader *r, const struct estiba_document *d)
{
	size_t at = 0, i;

	r->len = 0;
	r->wanted = DIV_ROUND_UP(d->w.len, PAGE_SIZE);
	r->err = r->wanted > r->room ? -E2BIG : 0;
	if (r->err)
		return;
	for (i = 0; i < d->cuts_count && !r->sees_io; i++) {
		append(r, d->w.text + at, d->cuts[i].at - at);
		at = d->cuts[i].at + d->cuts[i].len;
	}
	append(r, d->w.text + at, d->w.len - at);
}
