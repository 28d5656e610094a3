// SPDX-License-Identifier: GPL-2.0-only
/* A plain read of an RCU pointer, which only sparse reports. */
#include <linux/module.h>
#include <linux/rcupdate.h>

static int __rcu *shared;

static int __init unchecked_init(void)
{
	int *p = shared;

	return p ? *p : 0;
}
module_init(unchecked_init);

MODULE_DESCRIPTION("A planted bug, to test sparse");
MODULE_LICENSE("GPL");
