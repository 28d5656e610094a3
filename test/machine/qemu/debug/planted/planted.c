// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bugs that the debug kernel must report; the parameter "fault" selects one. Only a kernel
 * that reports all of them proves anything about the module.
 */
#include <linux/debug_locks.h>
#include <linux/delay.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/stop_machine.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

static char *fault = "";
module_param(fault, charp, 0444);

struct entry {
	struct list_head list;
	int value;
};

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_SPINLOCK(spin);
static DEFINE_RAW_SPINLOCK(raw);
static LIST_HEAD(entries);
static struct entry one = { .value = 1 };
static int __rcu *shared;
/* Volatile, so that the compiler does not optimize the bugs away. */
static char *volatile memory;
static volatile int sink;

static int dereference_without_rcu(void)
{
	int *p = rcu_dereference(shared);

	sink = p ? *p : 0;
	return 0;
}

static int list_walk_without_rcu(void)
{
	struct entry *e;

	list_add_rcu(&one.list, &entries);
	list_for_each_entry_rcu(e, &entries, list)
		sink = e->value;
	list_del_rcu(&one.list);
	return 0;
}

static int sleep_under_rcu(void)
{
	rcu_read_lock();
	msleep(1);
	rcu_read_unlock();
	return 0;
}

static int mmput_under_rcu(void)
{
	struct mm_struct *mm = get_task_mm(current);

	if (!mm)
		return -ESRCH;
	rcu_read_lock();
	mmput(mm);
	rcu_read_unlock();
	return 0;
}

static int allocate_under_spinlock(void)
{
	spin_lock(&spin);
	kfree(kmalloc(100, GFP_KERNEL));
	spin_unlock(&spin);
	return 0;
}

static int list_deleted_twice(void)
{
	list_add(&one.list, &entries);
	list_del(&one.list);
	list_del(&one.list);
	return 0;
}

static int refcount_underflow(void)
{
	refcount_t r = REFCOUNT_INIT(1);

	sink = refcount_dec_and_test(&r);
	sink = refcount_dec_and_test(&r);
	return 0;
}

/*
 * Lockdep turns itself off after its first report, but lock_inversion comes later. So turn
 * it on again, while all other CPUs are stopped: none must release a lock whose acquisition
 * lockdep has not seen.
 */
static int nest_locks(void *unused)
{
	raw_spin_lock(&raw);
	spin_lock(&spin);
	spin_unlock(&spin);
	debug_locks = 1;
	raw_spin_unlock(&raw);
	return 0;
}

static int spinlock_under_raw(void)
{
	return stop_machine(nest_locks, NULL, NULL);
}

static int lock_inversion(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);
	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
	return 0;
}

static int use_after_free(void)
{
	memory = kmalloc(100, GFP_KERNEL);
	if (!memory)
		return -ENOMEM;
	kfree(memory);
	sink = memory[10];
	return 0;
}

static int out_of_bounds(void)
{
	char *m = kmalloc(100, GFP_KERNEL);

	if (!m)
		return -ENOMEM;
	memory = m;
	sink = memory[100];
	kfree(m);
	return 0;
}

static int vmalloc_out_of_bounds(void)
{
	char *m = vmalloc(10000);

	if (!m)
		return -ENOMEM;
	memory = m;
	sink = memory[10000];
	vfree(m);
	return 0;
}

static int double_free(void)
{
	memory = kmalloc(100, GFP_KERNEL);
	if (!memory)
		return -ENOMEM;
	kfree(memory);
	kfree(memory);
	return 0;
}

static int leak(void)
{
	int i;

	/* More than one, as a stale register may still point to the last. */
	for (i = 0; i < 10; i++) {
		memory = kmalloc(4321, GFP_KERNEL);
		if (!memory)
			return -ENOMEM;
	}
	memory = NULL;
	return 0;
}

static const struct {
	const char *name;
	int (*plant)(void);
} faults[] = {
	{ "dereference_without_rcu", dereference_without_rcu },
	{ "list_walk_without_rcu", list_walk_without_rcu },
	{ "sleep_under_rcu", sleep_under_rcu },
	{ "mmput_under_rcu", mmput_under_rcu },
	{ "allocate_under_spinlock", allocate_under_spinlock },
	{ "list_deleted_twice", list_deleted_twice },
	{ "refcount_underflow", refcount_underflow },
	{ "spinlock_under_raw", spinlock_under_raw },
	{ "lock_inversion", lock_inversion },
	{ "use_after_free", use_after_free },
	{ "out_of_bounds", out_of_bounds },
	{ "vmalloc_out_of_bounds", vmalloc_out_of_bounds },
	{ "double_free", double_free },
	{ "leak", leak },
};

static int __init planted_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(faults); i++)
		if (strcmp(fault, faults[i].name) == 0)
			return faults[i].plant();
	return -EINVAL;
}

static void __exit planted_exit(void)
{
}

module_init(planted_init);
module_exit(planted_exit);

MODULE_DESCRIPTION("Planted bugs, to test the debug kernel");
MODULE_LICENSE("GPL");
