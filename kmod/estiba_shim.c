// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finds the shims, and with them the containers. Any process can be called
 * containerd-shim, so a shim counts only if it is real root of the initial user
 * namespace with CAP_SYS_ADMIN, is in the initial pid namespace, does not descend
 * from another shim (then it is a process of that container, or between fork and
 * exec), runs a program file of that name, and has arguments that name a container.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/fs.h>
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

/* Bytes of a shim's arguments that are read. */
#define ARGS_MAX 4096

/* Under RCU. */
static bool is_trusted(struct task_struct *p)
{
	const struct cred *cred = __task_cred(p);

	return !estiba_has_exited(p) && cred->user_ns == &init_user_ns &&
	       cap_raised(cred->cap_effective, CAP_SYS_ADMIN) &&
	       uid_eq(cred->uid, GLOBAL_ROOT_UID) &&
	       uid_eq(cred->euid, GLOBAL_ROOT_UID) &&
	       task_active_pid_ns(p) == &init_pid_ns;
}

/*
 * Is the program file of mm named like a shim? The comm of a process is that of the
 * path it was started by, and any user can make a link to a setuid program.
 * -EAGAIN: mm is locked, maybe for long.
 */
static int runs_shim(struct mm_struct *mm)
{
	char name[sizeof(ESTIBA_SHIM_WRAPPED)] = "";
	struct vm_area_struct *vma;

	if (!mmap_read_trylock(mm))
		return -EAGAIN;
	vma = find_vma(mm, mm->start_code);
	if (vma && vma->vm_file)
		snprintf(name, sizeof(name), "%pD", vma->vm_file);
	mmap_read_unlock(mm);
	return !strncmp(name, ESTIBA_SHIM_NAME, sizeof(ESTIBA_SHIM_NAME) - 1) ||
	       !strcmp(name, ESTIBA_SHIM_WRAPPED);
}

/*
 * Read the arguments from the memory of p. Returns 1, 0 if it is not a shim, or
 * -EAGAIN if that cannot be determined now. Reads anonymous memory only: a file
 * mapping may be served by a slow or hostile file system. May sleep.
 */
static int read_shim_args(struct task_struct *p, struct shim_args *to, char *buf)
{
	u64 exec_id = READ_ONCE(p->self_exec_id);
	unsigned long begin, end;
	struct mm_struct *mm;
	int is_shim, len;

	mm = get_task_mm(p);
	if (!mm)
		return 0;
	is_shim = runs_shim(mm);
	spin_lock(&mm->arg_lock);
	begin = mm->arg_start;
	end = mm->arg_end;
	spin_unlock(&mm->arg_lock);
	mmput(mm);
	if (is_shim <= 0 || begin >= end)
		return min(is_shim, 0);
	len = access_process_vm(p, begin, buf,
				min_t(unsigned long, end - begin, ARGS_MAX),
				FOLL_ANON);
	/* After an exec the arguments belong to the previous program. */
	if (len <= 0 || READ_ONCE(p->self_exec_id) != exec_id)
		return 0;
	return estiba_shim_args_parse(to, buf, len) ? 1 : 0;
}

/**
 * estiba_list_reserve() - Make room in the list of containers.
 * @b: the build
 * @more: number of containers
 *
 * May sleep.
 *
 * Return: 0 or -ENOMEM.
 */
int estiba_list_reserve(struct estiba_build *b, size_t more)
{
	size_t room = b->room ?: 64;
	struct estiba_container **list;

	if (b->room - b->count >= more)
		return 0;
	while (room - b->count < more)
		room *= 2;
	list = kvcalloc(room, sizeof(*list), ESTIBA_GFP);
	if (!list)
		return -ENOMEM;
	if (b->count)
		memcpy(list, b->list, b->count * sizeof(*list));
	kvfree(b->list);
	b->list = list;
	b->room = room;
	return 0;
}

/* Takes the reference to p. */
static int add_shim(struct estiba_build *b, struct task_struct *p, char *buf)
{
	u64 exec_id = READ_ONCE(p->self_exec_id);
	struct estiba_container *c;
	struct shim_args args;
	int err = -EAGAIN;

	c = estiba_container_find(p->pid, p->start_boottime);
	if (!c || c->exec_id != exec_id)
		err = read_shim_args(p, &args, buf);
	if (err == 0 || (err < 0 && !c)) {
		put_task_struct(p);
		return 0; /* not a shim, or retried in the next snapshot */
	}
	if (!c)
		c = estiba_container_add(p, &args, exec_id);
	else if (err > 0)
		estiba_container_name(c, &args, exec_id);
	if (!c) {
		put_task_struct(p);
		return -ENOMEM;
	}
	err = estiba_list_reserve(b, 1);
	if (err) {
		put_task_struct(p);
		return err;
	}
	b->list[b->count++] = c;
	estiba_container_begin(c, p, b->number);
	return 0;
}

/* Is one of p's ancestors the shim of a container of this build? Under RCU. */
static bool has_shim_ancestor(const struct estiba_build *b, struct task_struct *p)
{
	/* The parent pointer of a reaped task is no longer updated. */
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

/* Drop shims that run in another shim's container. */
static void drop_nested(struct estiba_build *b)
{
	size_t kept = 0, nested = 0, i;

	/* Keep all of them as shims while their ancestors are checked. */
	for (i = 0; i < b->count; i++) {
		struct estiba_container *c = b->list[i];
		bool inner;

		rcu_read_lock();
		inner = has_shim_ancestor(b, c->shim);
		rcu_read_unlock();
		c->dropped = inner;
		nested += inner;
		cond_resched();
	}
	if (!nested)
		return;
	for (i = 0; i < b->count; i++) {
		struct estiba_container *c = b->list[i];

		if (c->dropped) {
			c->seen = 0;
			estiba_container_end(c);
		} else {
			b->list[kept++] = c;
		}
	}
	b->count = kept;
}

/**
 * estiba_shims_find() - Find the shims, and with them the containers.
 * @b: gets the list of containers, ordered by pid, and memo entries for the shims
 *
 * Return: 0 or -ENOMEM.
 */
int estiba_shims_find(struct estiba_build *b)
{
	struct task_struct **found;
	struct estiba_pids at;
	struct pid *pid;
	int nr = 1, n, i, visited, err = 0;
	char *buf;

	found = kmalloc_array(ESTIBA_BATCH, sizeof(struct task_struct *), ESTIBA_GFP);
	buf = kmalloc(ARGS_MAX, ESTIBA_GFP);
	if (!found || !buf) {
		err = -ENOMEM;
		goto out;
	}
	do {
		n = 0;
		rcu_read_lock();
		estiba_pids_from(&at, nr);
		for (visited = 0; visited < ESTIBA_BATCH; visited++) {
			struct task_struct *p;

			pid = estiba_pids_next(&at);
			if (!pid)
				break;
			nr = at.iter.index + 1;
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
				err = add_shim(b, found[i], buf);
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
