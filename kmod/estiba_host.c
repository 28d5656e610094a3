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

/* A CPU that sleeps without ticks keeps its idle time elsewhere. */
static u64 idle_ns(int cpu, u64 ticked, u64 (*slept_us)(int, u64 *))
{
	u64 us = cpu_online(cpu) ? slept_us(cpu, NULL) : -1ULL;

	return us == -1ULL ? ticked : us * NSEC_PER_USEC;
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
}

/* estiba_host_read - fills a zeroed h. */
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

/* estiba_host_busy - time in which the CPUs did something, ns. */
u64 estiba_host_busy(const struct estiba_host *h)
{
	return h->user + h->nice + h->system + h->irq + h->softirq;
}
