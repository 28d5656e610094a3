// SPDX-License-Identifier: GPL-2.0-only
/* Module parameters. */
#include <linux/moduleparam.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>

#include "estiba.h"

static char *aliases = "container_info_201903553,sysinfo_202200075";
module_param(aliases, charp, 0444);
MODULE_PARM_DESC(aliases, "symlinks in /proc to /proc/estiba, comma-separated; may be empty");

static ushort proc_mode = 0444;
module_param(proc_mode, ushort, 0444);
MODULE_PARM_DESC(proc_mode, "mode of /proc/estiba: read bits only (default 0444)");

static uint proc_gid;
module_param(proc_gid, uint, 0444);
MODULE_PARM_DESC(proc_gid, "group of /proc/estiba (default 0)");

static uint min_interval_ms = 100;
module_param(min_interval_ms, uint, 0644);
MODULE_PARM_DESC(min_interval_ms, "minimum age of a snapshot before a new one is built, in ms (default 100)");

static uint max_containers = 32768;
module_param(max_containers, uint, 0644);
MODULE_PARM_DESC(max_containers, "maximum number of containers listed; a longer list is marked as truncated (default 32768)");

/**
 * estiba_params_check() - Validate the parameters that are read-only after loading.
 *
 * Return: 0, or -EINVAL after logging the reason.
 */
int estiba_params_check(void)
{
	if (!proc_mode || (proc_mode & ~0444)) {
		pr_err("proc_mode %#o: expected read bits only, at least one\n", proc_mode);
		return -EINVAL;
	}
	if (!gid_valid(estiba_proc_gid())) {
		pr_err("proc_gid %u: invalid group id\n", proc_gid);
		return -EINVAL;
	}
	return 0;
}

/** estiba_min_interval_ms() - Return the minimum time that readers share a snapshot. */
unsigned int estiba_min_interval_ms(void)
{
	return READ_ONCE(min_interval_ms);
}

/** estiba_max_containers() - Return the maximum number of containers in a document. */
unsigned int estiba_max_containers(void)
{
	return READ_ONCE(max_containers);
}

/** estiba_proc_mode() - Return the mode of the file: read bits only. */
umode_t estiba_proc_mode(void)
{
	return proc_mode;
}

/** estiba_proc_gid() - Return the group of the file. */
kgid_t estiba_proc_gid(void)
{
	return make_kgid(&init_user_ns, proc_gid);
}

/** estiba_aliases() - Return the names of the symlinks, comma-separated. */
const char *estiba_aliases(void)
{
	return aliases;
}
