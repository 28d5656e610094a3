// SPDX-License-Identifier: GPL-2.0-only
/*
 * The open files. Each keeps its document in memory, so a user who is not root
 * may have only so many: who opens, keeps and opens again would fill the memory,
 * at others' cost where it was their document first.
 */
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>

#include "estiba.h"

/* Files that a user may have open at the same time. */
#define FILES_MAX 64

static DEFINE_SPINLOCK(lock);
static LIST_HEAD(counted);

/* Who answers for the files of current: the one who made its user namespace. */
static kuid_t user_of_current(void)
{
	const struct user_namespace *ns = current_user_ns();
	kuid_t user = current_uid();

	for (; ns->parent; ns = ns->parent)
		user = ns->owner;
	return user;
}

static bool may_open_any(void)
{
	return current_user_ns() == &init_user_ns &&
	       uid_eq(current_uid(), GLOBAL_ROOT_UID);
}

static int count_in(struct estiba_reader *r)
{
	const struct estiba_reader *other;
	int files = 0;

	r->user = user_of_current();
	spin_lock(&lock);
	list_for_each_entry(other, &counted, list)
		files += uid_eq(other->user, r->user);
	if (files < FILES_MAX)
		list_add(&r->list, &counted);
	spin_unlock(&lock);
	return files < FILES_MAX ? 0 : -EMFILE;
}

/*
 * estiba_reader_open - a reader with a snapshot of now, for estiba_reader_close;
 * or ERR_PTR: -EMFILE, -ENOMEM, -EINTR.
 */
struct estiba_reader *estiba_reader_open(void)
{
	struct estiba_reader *r = kmalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);
	int err;

	if (!r)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&r->list);
	r->snapshot = NULL;
	err = may_open_any() ? 0 : count_in(r);
	if (!err) {
		r->snapshot = estiba_snapshot_get();
		err = PTR_ERR_OR_ZERO(r->snapshot);
	}
	if (!err)
		return r;
	r->snapshot = NULL;
	estiba_reader_close(r);
	return ERR_PTR(err);
}

void estiba_reader_close(struct estiba_reader *r)
{
	spin_lock(&lock);
	list_del(&r->list);
	spin_unlock(&lock);
	if (r->snapshot)
		estiba_snapshot_put(r->snapshot);
	kfree(r);
}
