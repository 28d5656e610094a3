// SPDX-License-Identifier: GPL-2.0-only
/* /proc/estiba, its other names, and who may read it. */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/namei.h>
#include <linux/pid_namespace.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/uidgid.h>

#include "estiba.h"

#define ALIASES_MAX 16
#define ALIAS_LEN_MAX 64

static char alias_names[ALIASES_MAX][ALIAS_LEN_MAX + 1];
static int alias_count;

static int estiba_open(struct inode *inode, struct file *file)
{
	struct estiba_reader *r;

	/*
	 * A mount of /proc inside a container shows the host's entries too; what
	 * runs beside a container is none of its business.
	 */
	if (task_active_pid_ns(current) != &init_pid_ns)
		return -EACCES;
	r = estiba_reader_open();
	if (IS_ERR(r))
		return PTR_ERR(r);
	file->private_data = r;
	return 0;
}

static ssize_t estiba_read(struct file *file, char __user *to, size_t size,
			   loff_t *pos)
{
	const struct estiba_reader *r = file->private_data;
	const struct estiba_snapshot *s = r->snapshot;

	return simple_read_from_buffer(to, size, pos, s->text, s->len);
}

static loff_t estiba_lseek(struct file *file, loff_t offset, int whence)
{
	const struct estiba_reader *r = file->private_data;

	return fixed_size_llseek(file, offset, whence, r->snapshot->len);
}

static int estiba_release(struct inode *inode, struct file *file)
{
	estiba_reader_close(file->private_data);
	return 0;
}

static const struct proc_ops estiba_proc_ops = {
	.proc_open = estiba_open,
	.proc_read = estiba_read,
	.proc_lseek = estiba_lseek,
	.proc_release = estiba_release,
};

/* Registering a name twice would be a kernel warning. */
static bool name_is_taken(const char *name)
{
	char path[sizeof("/proc/") + ALIAS_LEN_MAX];
	struct path found;

	snprintf(path, sizeof(path), "/proc/%s", name);
	if (kern_path(path, 0, &found))
		return false;
	path_put(&found);
	return true;
}

static int add_alias(const char *name, size_t len)
{
	/* A name of digits would be a process's. */
	if (!is_plain_name(name, len, ALIAS_LEN_MAX) || name[0] == '.' ||
	    (name[0] >= '0' && name[0] <= '9')) {
		pr_err("aliases: \"%.*s\" is not a name for a file in /proc\n",
		       (int)min_t(size_t, len, ALIAS_LEN_MAX), name);
		return -EINVAL;
	}
	if (alias_count == ALIASES_MAX) {
		pr_err("aliases: more than %d\n", ALIASES_MAX);
		return -EINVAL;
	}
	memcpy(alias_names[alias_count], name, len);
	alias_names[alias_count][len] = '\0';
	if (name_is_taken(alias_names[alias_count])) {
		pr_err("aliases: /proc/%s is there already\n",
		       alias_names[alias_count]);
		return -EEXIST;
	}
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

int estiba_proc_create(void)
{
	struct proc_dir_entry *entry;
	int err;

	if (name_is_taken(ESTIBA_NAME)) {
		pr_err("/proc/%s is there already\n", ESTIBA_NAME);
		return -EEXIST;
	}
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

void estiba_proc_remove(void)
{
	while (alias_count > 0)
		remove_proc_entry(alias_names[--alias_count], NULL);
	remove_proc_entry(ESTIBA_NAME, NULL);
}
