// SPDX-License-Identifier: GPL-2.0-only
/* Module init and exit. */
#include <linux/init.h>
#include <linux/module.h>

#include "estiba.h"

static int __init estiba_init(void)
{
	int err;

	err = estiba_params_check();
	if (err)
		return err;
	err = estiba_worker_start();
	if (err)
		return err;
	err = estiba_proc_create();
	if (err) {
		/* A reader may have opened the file before it was removed. */
		estiba_worker_stop();
		return err;
	}
	pr_info("version %s loaded, document version 1 in /proc/%s\n",
		ESTIBA_VERSION, ESTIBA_NAME);
	return 0;
}

static void __exit estiba_exit(void)
{
	/*
	 * Waits for readers that are in open(), which the worker still serves, then
	 * closes all open files.
	 */
	estiba_proc_remove();
	estiba_worker_stop();
	pr_info("unloaded\n");
}

module_init(estiba_init);
module_exit(estiba_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The Estiba authors");
MODULE_DESCRIPTION("Container metrics in one consistent read of /proc/estiba");
MODULE_VERSION(ESTIBA_VERSION);
