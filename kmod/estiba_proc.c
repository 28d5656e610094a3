// SPDX-License-Identifier: GPL-2.0-only
/* /proc/estiba, its aliases, and its access checks. */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/pid_namespace.h>
#include <linux/proc_fs.h>
#include <linux/uidgid.h>
#include <linux/uio.h>
#include <linux/user_namespace.h>

#include "compat.h"
#include "estiba.h"

#define ALIASES_MAX 16
#define ALIAS_LEN_MAX 64

static char alias_names[ALIASES_MAX][ALIAS_LEN_MAX + 1];
static int alias_count;

/*
 * Like the processes of other users on a mount of /proc with hidepid=, this file is
 * hidden from readers who are neither in its gid= group nor may trace processes.
 */
static bool is_hidden(const struct inode *inode)
{
	const struct proc_fs_info *info = proc_sb_info(inode->i_sb);

	if (info->hide_pid == HIDEPID_OFF ||
	    (info->hide_pid != HIDEPID_NOT_PTRACEABLE && in_group_p(info->pid_gid)))
		return false;
	return !ns_capable_noaudit(&init_user_ns, CAP_SYS_PTRACE);
}

static int estiba_open(struct inode *inode, struct file *file)
{
	struct estiba_reader *r;

	/*
	 * A mount of /proc in a container also shows the host's entries, but a
	 * container must not read about others. Nor may the host read through such a
	 * mount: any user can make one, without hidepid=.
	 */
	if (task_active_pid_ns(current) != &init_pid_ns ||
	    proc_sb_info(inode->i_sb)->pid_ns != &init_pid_ns || is_hidden(inode))
		return -EACCES;
	r = estiba_reader_open();
	if (IS_ERR(r))
		return PTR_ERR(r);
	file->private_data = r;
	return 0;
}

static ssize_t estiba_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	const struct estiba_reader *r = iocb->ki_filp->private_data;
	size_t done = 0;

	while (iov_iter_count(to) && iocb->ki_pos < r->len) {
		size_t part, copied;
		const char *from = estiba_reader_at(r, iocb->ki_pos, &part);

		if (estiba_readers_stopping())
			return done ?: -EIO;
		part = min3(part, (size_t)(r->len - iocb->ki_pos), iov_iter_count(to));
		/* Copied, because a pipe would treat the page as page cache. */
		copied = copy_to_iter(from, part, to);
		iocb->ki_pos += copied;
		done += copied;
		/* The buffer is not fully accessible. */
		if (copied < part)
			return done ?: -EFAULT;
	}
	return done;
}

static loff_t estiba_lseek(struct file *file, loff_t offset, int whence)
{
	const struct estiba_reader *r = file->private_data;

	return fixed_size_llseek(file, offset, whence, r->len);
}

static int estiba_release(struct inode *inode, struct file *file)
{
	estiba_reader_close(file->private_data);
	return 0;
}

static const struct proc_ops estiba_proc_ops = {
	.proc_open = estiba_open,
	.proc_read_iter = estiba_read_iter,
	.proc_lseek = estiba_lseek,
	.proc_release = estiba_release,
};

/*
 * Registering a name twice would trigger a kernel warning. Checked on a private mount,
 * because insmod may run with another /proc, or none.
 */
static int name_is_free(const char *name)
{
	struct file_system_type *proc = get_fs_type("proc");
	struct vfsmount *mount;
	struct path found;
	int err;

	if (!proc)
		return -ENODEV;
	mount = kern_mount(proc);
	module_put(proc->owner);
	if (IS_ERR(mount))
		return PTR_ERR(mount);
	err = vfs_path_lookup(mount->mnt_root, mount, name, 0, &found);
	if (!err)
		path_put(&found);
	kern_unmount(mount);
	if (err == -ENOENT)
		return 0;
	if (!err)
		pr_err("/proc/%s already exists\n", name);
	/* modprobe would take EEXIST for "module already loaded". */
	return err ?: -EBUSY;
}

static int add_alias(const char *name, size_t len)
{
	int err;

	/* Names of digits belong to processes. */
	if (!estiba_is_plain_name(name, len, ALIAS_LEN_MAX) || name[0] == '.' ||
	    (name[0] >= '0' && name[0] <= '9')) {
		pr_err("aliases: \"%.*s\" is not a valid name for a file in /proc\n",
		       (int)min_t(size_t, len, ALIAS_LEN_MAX), name);
		return -EINVAL;
	}
	if (alias_count == ALIASES_MAX) {
		pr_err("aliases: more than %d names\n", ALIASES_MAX);
		return -EINVAL;
	}
	memcpy(alias_names[alias_count], name, len);
	alias_names[alias_count][len] = '\0';
	err = name_is_free(alias_names[alias_count]);
	if (err)
		return err;
	if (!proc_symlink(alias_names[alias_count], NULL, ESTIBA_NAME))
		return -ENOMEM;
	alias_count++;
	return 0;
}

static int add_aliases(const char *names)
{
	while (*names) {
		size_t len = strcspn(names, ",");
		int err = len ? add_alias(names, len) : 0;

		if (err)
			return err;
		names += len;
		if (*names == ',')
			names++;
	}
	return 0;
}

/**
 * estiba_proc_create() - Create the file and its aliases.
 *
 * Return: 0, or an error, which is logged; then none of them exists.
 */
int estiba_proc_create(void)
{
	struct proc_dir_entry *entry;
	int err;

	err = name_is_free(ESTIBA_NAME);
	if (err)
		return err;
	entry = proc_create(ESTIBA_NAME, estiba_proc_mode(), NULL,
			    &estiba_proc_ops);
	if (!entry)
		return -ENOMEM;
	proc_set_user(entry, GLOBAL_ROOT_UID, estiba_proc_gid());
	err = add_aliases(estiba_aliases());
	if (err)
		estiba_proc_remove();
	return err;
}

/**
 * estiba_proc_remove() - Remove the file and its aliases.
 *
 * Waits for readers in open() and read(), and closes all open files.
 */
void estiba_proc_remove(void)
{
	estiba_readers_stop();
	while (alias_count > 0)
		remove_proc_entry(alias_names[--alias_count], NULL);
	remove_proc_entry(ESTIBA_NAME, NULL);
}
