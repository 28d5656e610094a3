/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the module tell each other. */
#ifndef ESTIBA_H
#define ESTIBA_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/uidgid.h>

#include "counter.h"
#include "json_writer.h"
#include "shim_args.h"

#define ESTIBA_NAME "estiba"
#define ESTIBA_VERSION "1.0.0"

#undef pr_fmt
#define pr_fmt(fmt) ESTIBA_NAME ": " fmt

/* Tasks looked at in one RCU section, before others get the CPU. */
#define ESTIBA_BATCH 256

/* A cgroup path longer than this is left out of the document. */
#define ESTIBA_PATH_MAX 512

/* Sums over the processes of a container, or over those of none. */
struct estiba_usage {
	u64 rss_pages;
	u64 vsz_pages;
	u64 swap_pages;
	u64 peak_pages;		/* highest resident set of one process */
	u64 processes;
	u64 threads;
	u64 cpu_ns;
	u64 user_ns;
	u64 system_ns;
	u64 minor_faults;
	u64 major_faults;
	u64 disk_read;
	u64 disk_write;
	u64 io_read;
	u64 io_write;
	u64 io_reads;
	u64 io_writes;
};

/* What the memory cgroup says, pages. */
struct estiba_memcg {
	bool known;
	bool limited;
	u64 usage;
	u64 inactive_file;
	u64 limit;
};

enum estiba_network {
	ESTIBA_NETWORK_UNKNOWN,
	ESTIBA_NETWORK_HOST,
	ESTIBA_NETWORK_OWN,
};

/*
 * A container lives here as long as its shim does, and a little longer; what
 * must not fall and what is dear to find out is kept from one snapshot to the
 * next. Guarded by the lock of the snapshot.
 */
struct estiba_container {
	struct hlist_node by_pid;
	struct hlist_node by_cgroup;	/* of this snapshot */
	u64 seen;			/* build that saw it last */
	bool nested;			/* in another container: not one of ours */
	bool begun;			/* has, or had, a process of its own */
	u64 ended_at;			/* first build without it, boot clock; or 0 */
	struct estiba_container *next_ended;

	/* Who it is. */
	pid_t pid;
	u64 shim_start;
	u64 exec_id;
	struct shim_args args;

	/* References held while a snapshot is built. */
	struct task_struct *shim;
	struct task_struct *init;
	struct cgroup *cgroup;		/* of the shim's children */
	bool cgroup_mixed;		/* they have nothing in common */

	/* Its own v2 cgroup: a self or ancestor of ->cgroup. */
	struct cgroup *own;
	bool own_shared;		/* another container claims it too */
	struct cgroup *held;		/* the same, referenced between snapshots */
	u64 path_of;			/* id of the cgroup the path is for */
	int path_level;			/* level of the cgroup path names */
	size_t path_len;
	char path[ESTIBA_PATH_MAX];

	/* Its first process, as last seen. */
	bool init_is_first;		/* number 1 of its pid namespace */
	pid_t init_pid;
	u64 init_start;
	char command[TASK_COMM_LEN];
	char name[TASK_COMM_LEN];

	/* Of this snapshot. */
	struct estiba_usage use;
	struct estiba_memcg memcg;

	/* CPU. */
	u64 cpu_of;			/* cgroup the counter is fed from, or 0 */
	u64 cpu_dead;			/* part of its ended sub-groups */
	struct counter cpu;
	struct cpu_split split;
	u64 window_at;
	u64 window_cpu;
	bool window_done;
	u64 window_ns;
	u64 percent;			/* hundredths */

	u64 peak_pages;
	enum estiba_network network;

	struct counter minor_faults, major_faults;
	struct counter disk_read, disk_write;
	struct counter io_read, io_write, io_reads, io_writes;
	struct counter net_rx_bytes, net_tx_bytes;
	struct counter net_rx_packets, net_tx_packets;
	struct counter oom_kills;
	struct counter psi_cpu, psi_memory, psi_io;
};

/* What the host says of itself. */
struct estiba_host {
	u64 boottime_ns;
	u64 realtime_ns;
	u32 cpus;
	u64 total_kb;
	u64 free_kb;
	u64 available_kb;
	u64 free_swap_kb;
	u64 user, nice, system, idle, iowait, irq, softirq, steal;
	u64 guest, guest_nice;
};

struct estiba_memo;

/* One building of a snapshot. */
struct estiba_build {
	u64 number;			/* never 0 */
	u64 now;			/* boot clock, ns */
	struct estiba_container **list;	/* in the order of the shims' pids */
	size_t count;
	size_t room;
	struct estiba_container *ended;	/* those that just ended */
	size_t ended_count;
	struct estiba_memo *memo;
	unsigned int work;		/* done since others had the CPU */
	struct estiba_usage rest;	/* what belongs to no container */
	struct estiba_host host;
	u64 busy_ns;
	u64 ended_ns;
	u64 rest_cpu_ns;
	u64 collect_ns;
};

/* A finished document. Immutable; the last reader frees it. */
struct estiba_snapshot {
	struct kref ref;
	char *text;
	size_t len;
	size_t cap;
};

/* One opening of the file. */
struct estiba_reader {
	struct list_head list;
	kuid_t user;
	struct estiba_snapshot *snapshot;
};

/* estiba_reader.c: how many may be open. */
struct estiba_reader *estiba_reader_open(void);
void estiba_reader_close(struct estiba_reader *r);

/* estiba_proc.c: the file and its other names. */
int estiba_proc_create(void);
void estiba_proc_remove(void);

/*
 * estiba_snapshot.c: the current snapshot, a new one if it is too old; or
 * ERR_PTR: -ENOMEM, -EINTR. To be given back.
 */
struct estiba_snapshot *estiba_snapshot_get(void);
void estiba_snapshot_put(struct estiba_snapshot *s);
void estiba_snapshot_exit(void);

/* estiba_container.c: the containers known from one snapshot to the next. */
struct estiba_container *estiba_container_find(pid_t pid, u64 start);
struct estiba_container *estiba_container_add(struct task_struct *shim,
					      const struct shim_args *args,
					      u64 exec_id);
void estiba_container_begin(struct estiba_container *c, struct task_struct *shim,
			    u64 build);
void estiba_container_end(struct estiba_container *c);
u64 estiba_containers_sweep(struct estiba_build *b);
void estiba_containers_exit(void);

/* estiba_shim.c: fills the list of the build. */
int estiba_shims_find(struct estiba_build *b);

/* estiba_memo.c: which container the children of a process belong to. */
struct estiba_memo *estiba_memo_new(size_t processes);
void estiba_memo_free(struct estiba_memo *m);
int estiba_memo_grow(struct estiba_memo *m, size_t more);
bool estiba_memo_get(const struct estiba_memo *m, pid_t pid, u64 start,
		     struct estiba_container **c);
void estiba_memo_set(struct estiba_memo *m, pid_t pid, u64 start,
		     struct estiba_container *c);
size_t estiba_memo_count(const struct estiba_memo *m);

/* estiba_walk.c: visits every process and adds it to its container. */
int estiba_walk(struct estiba_build *b);

/* Readers of one process; under RCU. */
void estiba_tasks_add(struct estiba_usage *u, struct task_struct *leader);
void estiba_memory_add(struct estiba_usage *u, struct task_struct *leader);

/* estiba_cgroup.c: the container's own cgroup; the first two under RCU. */
struct cgroup_subsys_state *estiba_css_next(struct cgroup_subsys_state *pos,
					    struct cgroup_subsys_state *top,
					    unsigned int *looked);
void estiba_cgroup_child(struct estiba_container *c, struct task_struct *child);
void estiba_cgroups_find(struct estiba_build *b);
void estiba_cgroup_let_go(struct estiba_container *c);
void estiba_cgroup_cpu_times(struct estiba_container *c, u64 *cpu, u64 *user,
			     u64 *system);
void estiba_pressure_read(struct estiba_container *c, u64 now);

/* Readers of one container; the first under RCU. */
void estiba_init_pick(struct estiba_container *c, struct task_struct *child);
void estiba_cpu_feed(struct estiba_container *c, u64 now);
void estiba_cpu_finish(struct estiba_container *c, u64 now);
void estiba_memcg_read(struct estiba_container *c, u64 now);
void estiba_io_feed(struct estiba_container *c, u64 now);
void estiba_network_read(struct estiba_container *c, u64 now);

/* estiba_host.c */
void estiba_host_read(struct estiba_host *h);
u64 estiba_host_busy(const struct estiba_host *h);

/* estiba_document.c: writes the build as text; json_failed() tells. */
void estiba_document_write(struct json_writer *w, const struct estiba_build *b,
			   u64 sequence);

/* estiba_main.c: parameters. */
unsigned int estiba_min_interval_ms(void);
unsigned int estiba_max_containers(void);
umode_t estiba_proc_mode(void);
kgid_t estiba_proc_gid(void);
const char *estiba_aliases(void);

/* What names of shims begin with: as much as fits into the comm of a task. */
#define ESTIBA_SHIM_NAME "containerd-shim"

static inline bool estiba_named_shim(const struct task_struct *p)
{
	return memcmp(p->comm, ESTIBA_SHIM_NAME, sizeof(ESTIBA_SHIM_NAME) - 1) == 0;
}

/* No thread of p's process lives: its leader alone may end before the others. */
static inline bool estiba_is_gone(struct task_struct *p)
{
	return !atomic_read(&p->signal->live);
}

/*
 * A thread of p's process that is not exiting, NULL for none; under RCU. Those
 * that are have left their cgroups and namespaces.
 */
static inline struct task_struct *estiba_staying(struct task_struct *p)
{
	struct task_struct *t;

	if (!(READ_ONCE(p->flags) & PF_EXITING))
		return p;
	for_each_thread(p, t)
		if (!(READ_ONCE(t->flags) & PF_EXITING))
			return t;
	return NULL;
}

/* The process that made p's process; under RCU. */
static inline struct task_struct *estiba_parent(struct task_struct *p)
{
	return READ_ONCE(rcu_dereference(p->real_parent)->group_leader);
}

#endif
