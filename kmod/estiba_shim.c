// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finds the shims, and with them the containers. Anybody can call himself
 * containerd-shim, so a shim is believed only if it is real root of the initial
 * user namespace, lives in the initial pid namespace, does not descend from
 * another shim (it would be a process of that one's container, or the moment
 * between fork and exec), runs a program of that name, and its arguments name a
 * container.
 */
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/pid_namespace.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>

#include "estiba.h"

/* The part of a shim's arguments that is looked at. */
#define ARGS_MAX 4096

/* Under RCU. */
static bool is_trusted(struct task_struct *p)
{
	const struct cred *cred = __task_cred(p);

	return !estiba_is_gone(p) && cred->user_ns == &init_user_ns &&
	       uid_eq(cred->uid, GLOBAL_ROOT_UID) &&
	       uid_eq(cred->euid, GLOBAL_ROOT_UID) &&
	       task_active_pid_ns(p) == &init_pid_ns;
}

/*
 * Is the program in mm called like a shim? A process is named after the path it
 * was started by, and anybody may make a link to a program that becomes root.
 */
static bool runs_shim(struct mm_struct *mm)
{
	char name[sizeof(ESTIBA_SHIM_NAME)] = "";
	struct vm_area_struct *vma;

	if (mmap_read_lock_killable(mm))
		return false;
	vma = find_vma(mm, mm->start_code);
	if (vma && vma->vm_file)
		snprintf(name, sizeof(name), "%pD", vma->vm_file);
	mmap_read_unlock(mm);
	return strcmp(name, ESTIBA_SHIM_NAME) == 0;
}

/*
 * Reads the arguments out of the memory of p. Only its anonymous memory: file
 * mappings could be served by a slow or hostile file system. May sleep.
 */
static bool read_args(struct task_struct *p, struct shim_args *to, char *buf)
{
	u64 exec_id = READ_ONCE(p->self_exec_id);
	unsigned long begin, end;
	struct mm_struct *mm;
	bool is_shim;
	int len;

	mm = get_task_mm(p);
	if (!mm)
		return false;
	is_shim = runs_shim(mm);
	spin_lock(&mm->arg_lock);
	begin = mm->arg_start;
	end = mm->arg_end;
	spin_unlock(&mm->arg_lock);
	mmput(mm);
	if (!is_shim || begin >= end)
		return false;
	len = access_process_vm(p, begin, buf,
				min_t(unsigned long, end - begin, ARGS_MAX),
				FOLL_ANON);
	/* An exec in between: those were the arguments of another program. */
	if (len <= 0 || READ_ONCE(p->self_exec_id) != exec_id)
		return false;
	return shim_args_parse(to, buf, len);
}

static int list_add_container(struct estiba_build *b, struct estiba_container *c)
{
	if (b->count == b->room) {
		size_t room = b->room ? 2 * b->room : 64;
		struct estiba_container **list;

		list = kvcalloc(room, sizeof(*list), GFP_KERNEL);
		if (!list)
			return -ENOMEM;
		if (b->count)
			memcpy(list, b->list, b->count * sizeof(*list));
		kvfree(b->list);
		b->list = list;
		b->room = room;
	}
	b->list[b->count++] = c;
	return 0;
}

/* Takes over the reference to p. */
static int consider(struct estiba_build *b, struct task_struct *p, char *buf)
{
	u64 exec_id = READ_ONCE(p->self_exec_id);
	struct estiba_container *c;
	struct shim_args args;
	int err;

	c = estiba_container_find(p->pid, p->start_boottime);
	if (!c || c->exec_id != exec_id) {
		if (!read_args(p, &args, buf)) {
			put_task_struct(p);
			/* A killed reader cannot wait for another's memory. */
			return fatal_signal_pending(current) ? -EINTR : 0;
		}
		if (c) {
			c->args = args;
			c->exec_id = exec_id;
		} else {
			c = estiba_container_add(p, &args, exec_id);
		}
	}
	if (!c) {
		put_task_struct(p);
		return -ENOMEM;
	}
	err = list_add_container(b, c);
	if (err) {
		put_task_struct(p);
		return err;
	}
	estiba_container_begin(c, p, b->number);
	return 0;
}

/* Is one of p's ancestors the shim of a container of this build? Under RCU. */
static bool has_shim_above(const struct estiba_build *b, struct task_struct *p)
{
	/* Once it is reaped nobody tells it that its parent goes, too. */
	if (!pid_alive(p))
		return false;
	for (p = estiba_parent(p); p->pid > 1; p = estiba_parent(p)) {
		const struct estiba_container *c;

		if (!estiba_named_shim(p))
			continue;
		c = estiba_container_find(p->pid, p->start_boottime);
		if (c && c->seen == b->number)
			return true;
	}
	return false;
}

/* Drops the shims that live in another one's container. */
static void drop_nested(struct estiba_build *b)
{
	size_t kept = 0, nested = 0, i;

	/* All must still count as shims while ancestors are looked for. */
	for (i = 0; i < b->count; i++) {
		struct estiba_container *c = b->list[i];
		bool above;

		rcu_read_lock();
		above = has_shim_above(b, c->shim);
		rcu_read_unlock();
		c->nested = above;
		nested += above;
		cond_resched();
	}
	if (!nested)
		return;
	for (i = 0; i < b->count; i++) {
		struct estiba_container *c = b->list[i];

		if (c->nested) {
			c->seen = 0;
			estiba_container_end(c);
		} else {
			b->list[kept++] = c;
		}
	}
	b->count = kept;
}

/*
 * estiba_shims_find - lists the containers, in the order of their shims' pids,
 * and tells the memo of them. -ENOMEM, -EINTR.
 */
int estiba_shims_find(struct estiba_build *b)
{
	struct task_struct **found;
	struct pid *pid;
	int nr = 1, n, i, looked, err = 0;
	char *buf;

	found = kmalloc_array(ESTIBA_BATCH, sizeof(struct task_struct *), GFP_KERNEL);
	buf = kmalloc(ARGS_MAX, GFP_KERNEL);
	if (!found || !buf) {
		err = -ENOMEM;
		goto out;
	}
	do {
		n = 0;
		rcu_read_lock();
		for (looked = 0; looked < ESTIBA_BATCH; looked++) {
			struct task_struct *p;

			pid = idr_get_next(&init_pid_ns.idr, &nr);
			if (!pid)
				break;
			nr++;
			p = pid_task(pid, PIDTYPE_TGID);
			if (!p || !estiba_named_shim(p) || !is_trusted(p))
				continue;
			get_task_struct(p);
			found[n++] = p;
		}
		rcu_read_unlock();
		for (i = 0; i < n; i++) {
			if (err)
				put_task_struct(found[i]);
			else
				err = consider(b, found[i], buf);
		}
		cond_resched();
	} while (pid && !err);
	if (err)
		goto out;
	drop_nested(b);
	err = estiba_memo_grow(b->memo, b->count + 4 * ESTIBA_BATCH);
	if (err)
		goto out;
	for (i = 0; i < (int)b->count; i++)
		estiba_memo_set(b->memo, b->list[i]->pid, b->list[i]->shim_start,
				b->list[i]);
out:
	kfree(buf);
	kfree(found);
	return err;
}
