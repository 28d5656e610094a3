// SPDX-License-Identifier: GPL-2.0-only
/* Memory, CPU times and clocks of the host. */
#include <linux/cpumask.h>
#include <linux/kernel_stat.h>
#include <linux/mm.h>
#include <linux/swap.h>
#include <linux/tick.h>
#include <linux/timekeeping.h>

#include "estiba.h"

#define PAGES_KB(n) ((u64)(n) << (PAGE_SHIFT - 10))

/* The idle time of a CPU in tickless sleep is in another place. */
static u64 idle_ns(int cpu, u64 ticked, u64 (*slept_us)(int, u64 *))
{
	u64 us = cpu_online(cpu) ? slept_us(cpu, NULL) : -1ULL;

	return us == -1ULL ? ticked : us * NSEC_PER_USEC;
}

/*
 * Last values, to keep the counters monotonic. The kernel estimates idle and iowait
 * of a sleeping CPU and corrects them, also downwards, when it wakes; a hypervisor
 * may report another steal time after a migration. Only the worker thread uses them.
 */
static u64 last_idle, last_iowait, last_steal;

static u64 monotonic(u64 *last, u64 now)
{
	if (*last < now)
		*last = now;
	return *last;
}

static void read_cpus(struct estiba_host *h)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct kernel_cpustat k;
		const u64 *s = k.cpustat;

		kcpustat_cpu_fetch(&k, cpu);
		h->user += s[CPUTIME_USER];
		h->nice += s[CPUTIME_NICE];
		h->system += s[CPUTIME_SYSTEM];
		h->irq += s[CPUTIME_IRQ];
		h->softirq += s[CPUTIME_SOFTIRQ];
		h->steal += s[CPUTIME_STEAL];
		h->guest += s[CPUTIME_GUEST];
		h->guest_nice += s[CPUTIME_GUEST_NICE];
		h->idle += idle_ns(cpu, s[CPUTIME_IDLE], get_cpu_idle_time_us);
		h->iowait += idle_ns(cpu, s[CPUTIME_IOWAIT],
				     get_cpu_iowait_time_us);
	}
	h->idle = monotonic(&last_idle, h->idle);
	h->iowait = monotonic(&last_iowait, h->iowait);
	h->steal = monotonic(&last_steal, h->steal);
}

/**
 * estiba_host_read() - Read clocks, memory and CPU times of the host.
 * @h: all zero
 */
void estiba_host_read(struct estiba_host *h)
{
	struct sysinfo info;
	long available, swap;

	h->boottime_ns = ktime_get_boottime_ns();
	h->realtime_ns = ktime_get_real_ns();
	h->cpus = num_online_cpus();
	si_meminfo(&info);
	h->total_kb = PAGES_KB(info.totalram);
	h->free_kb = PAGES_KB(info.freeram);
	available = si_mem_available();
	h->available_kb = PAGES_KB(max(available, 0L));
	swap = get_nr_swap_pages();
	h->free_swap_kb = PAGES_KB(max(swap, 0L));
	read_cpus(h);
}

/**
 * estiba_host_busy() - Busy time of all CPUs.
 * @h: after estiba_host_read()
 *
 * Return: the time, ns.
 */
u64 estiba_host_busy(const struct estiba_host *h)
{
	return h->user + h->nice + h->system + h->irq + h->softirq;
}
