// SPDX-License-Identifier: GPL-2.0-only
/* Parameters, beginning and end of the module. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>

#include "estiba.h"

static char *aliases = "container_info_201903553,sysinfo_202200075";
module_param(aliases, charp, 0444);
MODULE_PARM_DESC(aliases, "other names of /proc/estiba, comma-separated; may be empty");

static ushort proc_mode = 0444;
module_param(proc_mode, ushort, 0444);
MODULE_PARM_DESC(proc_mode, "mode of /proc/estiba: read bits only (default 0444)");

static uint proc_gid;
module_param(proc_gid, uint, 0444);
MODULE_PARM_DESC(proc_gid, "group of /proc/estiba (default 0)");

static uint min_interval_ms = 100;
module_param(min_interval_ms, uint, 0644);
MODULE_PARM_DESC(min_interval_ms, "readers share a snapshot at least this long (default 100)");

static uint max_containers = 32768;
module_param(max_containers, uint, 0644);
MODULE_PARM_DESC(max_containers, "containers listed at most, then the document says it is truncated (default 32768)");

unsigned int estiba_min_interval_ms(void)
{
	return READ_ONCE(min_interval_ms);
}

unsigned int estiba_max_containers(void)
{
	return READ_ONCE(max_containers);
}

umode_t estiba_proc_mode(void)
{
	return proc_mode;
}

kgid_t estiba_proc_gid(void)
{
	return make_kgid(&init_user_ns, proc_gid);
}

const char *estiba_aliases(void)
{
	return aliases;
}

static int __init estiba_init(void)
{
	int err;

	if (!proc_mode || (proc_mode & ~0444)) {
		pr_err("proc_mode %#o: only read bits, at least one\n", proc_mode);
		return -EINVAL;
	}
	if (!gid_valid(estiba_proc_gid())) {
		pr_err("proc_gid %u: no such group id\n", proc_gid);
		return -EINVAL;
	}
	err = estiba_proc_create();
	if (err) {
		/* Somebody may have read it while it was there. */
		estiba_snapshot_exit();
		estiba_containers_exit();
		return err;
	}
	pr_info("version %s loaded, document version 1 in /proc/%s\n",
		ESTIBA_VERSION, ESTIBA_NAME);
	return 0;
}

static void __exit estiba_exit(void)
{
	/* Closes the files of readers that are still there. */
	estiba_proc_remove();
	estiba_snapshot_exit();
	estiba_containers_exit();
	pr_info("unloaded\n");
}

module_init(estiba_init);
module_exit(estiba_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The Estiba authors");
MODULE_DESCRIPTION("What the kernel knows about containers, in one consistent read");
MODULE_VERSION(ESTIBA_VERSION);
