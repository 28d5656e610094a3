// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sums over the threads of a process, including exited threads and reaped children,
 * which are accounted in the signal structure. The same sums as in /proc/PID/stat
 * (utime + cutime, ...) and /proc/PID/io.
 */
#include <linux/sched/cputime.h>
#include <linux/sched/signal.h>
#include <linux/seqlock.h>

#include "estiba.h"

struct sums {
	u64 cpu, user, system, minor, major;
	struct task_io_accounting io;
};

static void add_io(struct task_io_accounting *to,
		   const struct task_io_accounting *from)
{
#ifdef CONFIG_TASK_XACCT
	to->rchar += from->rchar;
	to->wchar += from->wchar;
	to->syscr += from->syscr;
	to->syscw += from->syscw;
#endif
#ifdef CONFIG_TASK_IO_ACCOUNTING
	to->read_bytes += from->read_bytes;
	to->write_bytes += from->write_bytes;
#endif
}

static void sum_threads(struct sums *s, struct task_struct *leader)
{
	const struct signal_struct *sig = leader->signal;
	struct task_struct *t;

	/* Of reaped children only the sampled times are kept. */
	s->cpu = sig->sum_sched_runtime + sig->cutime + sig->cstime;
	s->user = sig->utime + sig->cutime;
	s->system = sig->stime + sig->cstime;
	s->minor = sig->min_flt + sig->cmin_flt;
	s->major = sig->maj_flt + sig->cmaj_flt;
	s->io = sig->ioac;
	for_each_thread(leader, t) {
		s->cpu += READ_ONCE(t->se.sum_exec_runtime);
		s->user += READ_ONCE(t->utime);
		s->system += READ_ONCE(t->stime);
		s->minor += READ_ONCE(t->min_flt);
		s->major += READ_ONCE(t->maj_flt);
		add_io(&s->io, &t->ioac);
	}
}

/*
 * A thread that exits concurrently must count once, in the list or in the signal
 * structure: the kernel moves it under this lock.
 */
static void sum_threads_once(struct sums *s, struct task_struct *leader)
{
	seqlock_t *lock = &leader->signal->stats_lock;
	unsigned long flags;
	int tries;

	for (tries = 0; tries < 3; tries++) {
		unsigned int seq = read_seqbegin(lock);

		sum_threads(s, leader);
		if (!read_seqretry(lock, seq))
			return;
	}
	read_seqlock_excl_irqsave(lock, flags);
	sum_threads(s, leader);
	read_sequnlock_excl_irqrestore(lock, flags);
}

/**
 * estiba_tasks_add() - Add the resource usage of a process.
 * @u: the sums
 * @leader: of the process
 *
 * Under RCU.
 */
void estiba_tasks_add(struct estiba_usage *u, struct task_struct *leader)
{
	struct sums s;

	sum_threads_once(&s, leader);
	u->cpu_ns += s.cpu;
	u->user_ns += s.user;
	u->system_ns += s.system;
	u->minor_faults += s.minor;
	u->major_faults += s.major;
#ifdef CONFIG_TASK_XACCT
	u->io_read += s.io.rchar;
	u->io_write += s.io.wchar;
	u->io_reads += s.io.syscr;
	u->io_writes += s.io.syscw;
#endif
#ifdef CONFIG_TASK_IO_ACCOUNTING
	u->disk_read += s.io.read_bytes;
	u->disk_write += s.io.write_bytes;
#endif
}
