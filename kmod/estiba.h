/* SPDX-License-Identifier: GPL-2.0-only */
/* Types and functions shared by the parts of the module. */
#ifndef ESTIBA_H
#define ESTIBA_H

#include <linux/build_bug.h>
#include <linux/cgroup-defs.h>
#include <linux/completion.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/radix-tree.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/uidgid.h>

#include "cgroup_name.h"
#include "counter.h"
#include "json_writer.h"
#include "shim_args.h"

#define ESTIBA_NAME "estiba"
#define ESTIBA_VERSION "0.1.0"

#undef pr_fmt
#define pr_fmt(fmt) ESTIBA_NAME ": " fmt

/* Tasks visited in one RCU section, before cond_resched(). */
#define ESTIBA_BATCH 256

/*
 * A failed allocation is an error of the caller and never invokes an OOM killer,
 * neither the host's nor that of a memory cgroup. A reader's pages are charged to
 * the reader, everything else to the host.
 */
#define ESTIBA_GFP (GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)
#define ESTIBA_GFP_READER (GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/* Longer cgroup paths are left out of the document. */
#define ESTIBA_PATH_MAX 512

/* Sums over the processes of a container, or over the unattributed ones. */
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

/* Counters of a memory cgroup, in pages. */
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
	ESTIBA_NETWORK_SHARED,	/* an older container reports the counters */
};

/*
 * A container is kept as long as its shim lives, or without a shim of its own as long as
 * its cgroup has processes, and ENDED_NS longer: counters must stay monotonic, and some
 * lookups are expensive. Only the worker thread accesses it.
 */
struct estiba_container {
	struct hlist_node by_key;
	struct hlist_node by_cgroup;	/* of this snapshot */
	struct hlist_node by_id;	/* of this snapshot */
	u64 seen;			/* last build that found it */
	bool dropped;			/* not listed */
	bool duplicate;			/* has the id of another container */
	bool started;			/* has, or had, a process besides the shim */
	u64 ended_at;			/* first build without it, boot clock; or 0 */
	struct estiba_container *next_ended;

	/* Identity. */
	pid_t pid;			/* of the shim, the monitor, or the init process */
	u64 shim_start;
	u64 exec_id;
	u64 serial;			/* changes with the arguments; never 0 */
	struct shim_args args;		/* or the id in the name of the cgroup */
	u32 id_hash;
	u32 user;			/* owner of a rootless container, or 0 */
	u64 top_id;			/* of its cgroup; 0: it has a shim of its own */
	int hierarchy;			/* of that cgroup */
	const char *runtime;		/* NULL: unknown */
	bool kata;
	u8 pod_len;
	char pod[SHIM_ID_MAX];

	/* References held while a snapshot is built. */
	struct task_struct *shim;	/* or NULL */
	struct task_struct *init;
	struct cgroup *cgroup;		/* of the shim's children, or top_id's */
	bool cgroup_mixed;		/* they share only the root */
	bool cgroup_spread;		/* more processes are in several others */
	struct cgroup *also;		/* one of those; or NULL */

	/* Its own v2 cgroup: ->cgroup or an ancestor of it. */
	struct cgroup *own;
	bool own_shared;		/* is, or was, also another container's */
	u64 shared_of;			/* id of the lowest shared one, or 0 */
	int shared_level;		/* its level */
	struct cgroup *held;		/* ->own, referenced between snapshots */
	u64 path_of;			/* id of the cgroup that path was made for */
	int path_level;			/* level of the cgroup at path */
	bool path_named;		/* that cgroup is named after the container */
	size_t path_len;
	char path[ESTIBA_PATH_MAX];

	/* Its init process, as last seen. */
	unsigned int init_rank;		/* how well it fits */
	pid_t init_pid;
	u64 init_start;
	char command[TASK_COMM_LEN];
	char name[TASK_COMM_LEN];

	/* Of this snapshot. */
	struct estiba_usage use;
	struct estiba_memcg memcg;

	/* CPU. */
	u64 cpu_of;			/* id of the cgroup that is read, or 0 */
	u64 cpu_ended;			/* of sub-groups that were removed */
	struct counter cpu;
	struct cpu_split split;
	u64 window_at;
	u64 window_cpu;
	bool window_done;
	u64 window_ns;
	u64 percent;			/* hundredths */

	u64 peak_pages;
	enum estiba_network network;
	struct net *net;		/* referenced; only while a snapshot is built */
	struct hlist_node by_net;

	struct counter minor_faults, major_faults;
	struct counter disk_read, disk_write;
	struct counter io_read, io_write, io_reads, io_writes;
	struct counter net_rx_bytes, net_tx_bytes;
	struct counter net_rx_packets, net_tx_packets;
	struct counter oom_kills;
	struct counter psi_cpu, psi_memory, psi_io;
};

/* The next size that the kernel allocates is 4 kB. */
static_assert(sizeof(struct estiba_container) <= 2048);

/* Clocks, memory and CPU times of the host. */
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

/* What the name of a cgroup reveals. */
struct estiba_named {
	const char *runtime;		/* NULL: any of containerd's kind */
	u32 user;
	int level;			/* of the container's cgroup */
	u32 id_hash;
	bool kata;
	bool by_shim;
	bool helper;
	bool has_pod;
	u8 id_len;
	char id[CGROUP_ID_MAX];
	char pod[CGROUP_HEX_ID];
};

/* For estiba_task_cgroup(), in place of a controller. */
#define ESTIBA_V2 (-1)

/* A cgroup, and what was decided about its processes. */
struct estiba_class {
	struct hlist_node node;
	u64 id;
	int hierarchy;			/* 0: v2 */
	int ssid;			/* a controller of the hierarchy, or ESTIBA_V2 */
	u64 seen;			/* last build that found it */
	u64 checked_at;			/* boot clock */
	struct estiba_named *named;	/* NULL: no container's name */

	u64 tested;			/* serial of a container ... */
	bool has_id;			/* ... that it, or one above it, is named after */

	bool sure;			/* the runtime of the shim is not in there */
	u64 decided;			/* build for which the next two are valid */
	struct estiba_container *shim;	/* of processes below this shim, NULL for none, */
	struct estiba_container *row;	/* this is the container */
};

/* Where a process is. */
struct estiba_place {
	struct estiba_container *row;	/* NULL: in no container */
	const struct estiba_class *class;
	struct cgroup *top;		/* the container's, if it has a name; under RCU */
};

/* State of one snapshot while it is built. */
struct estiba_build {
	u64 number;			/* never 0 */
	u64 now;			/* boot clock, ns */
	struct estiba_container **list;	/* by the shims' pids, then those without */
	size_t count;
	size_t room;
	struct estiba_container *ended;	/* ended less than ENDED_NS ago */
	size_t ended_count;
	size_t rootless;		/* in list */
	struct estiba_memo *memo;
	int v1[CGROUP_SUBSYS_COUNT];	/* a controller of each v1 hierarchy */
	size_t v1_count;
	size_t classes;			/* found in this build */
	/* Of this RCU section: the last decision, and what it is valid for. */
	struct estiba_place last;
	const struct css_set *last_set;
	const struct estiba_container *last_shim;
	unsigned int work;		/* done in this RCU section */
	struct estiba_usage unattributed;/* what belongs to no container */
	struct estiba_host host;
	u64 busy_ns;
	u64 ended_ns;
	u64 unattributed_cpu_ns;
	u64 collect_ns;
};

/* A part of the text that only privileged readers may see. */
struct estiba_cut {
	size_t at;
	size_t len;
};

/* A document, with its restricted parts in order of offset. */
struct estiba_document {
	struct json_writer w;
	struct estiba_cut *cuts;
	size_t cuts_count;
	size_t cuts_room;
};

/* An open file: it has its own copy of a document, charged to the reader. */
struct estiba_reader {
	struct list_head counted;	/* in the list of readers with a limit */
	kuid_t user;
	bool sees_io;			/* may read /proc/PID/io of any process */
	size_t room;			/* pages allocated, or being allocated */
	struct page **pages;
	size_t len;			/* bytes of the document */

	struct list_head waiting;	/* in the worker's queue */
	struct completion served;
	size_t wanted;			/* pages that the document needs */
	int err;
};

/* estiba_params.c: module parameters. */
int estiba_params_check(void);
unsigned int estiba_min_interval_ms(void);
unsigned int estiba_max_containers(void);
umode_t estiba_proc_mode(void);
kgid_t estiba_proc_gid(void);
const char *estiba_aliases(void);

/* estiba_proc.c: the file and its aliases. */
int estiba_proc_create(void);
void estiba_proc_remove(void);

/* estiba_reader.c: open files. */
struct estiba_reader *estiba_reader_open(void);
void estiba_reader_close(struct estiba_reader *r);
void estiba_readers_stop(void);
bool estiba_readers_stopping(void);
void estiba_reader_fill(struct estiba_reader *r, const struct estiba_document *d);
char *estiba_reader_at(const struct estiba_reader *r, size_t at, size_t *len);

/* estiba_worker.c: the thread that builds documents. */
int estiba_worker_start(void);
void estiba_worker_stop(void);
int estiba_worker_serve(struct estiba_reader *r);
size_t estiba_worker_pages(void);

/* estiba_snapshot.c: builds a document; worker thread only. */
int estiba_snapshot_build(struct estiba_document *d, size_t room);

/* estiba_container.c: the containers, across snapshots. */
struct estiba_container *estiba_container_find(pid_t pid, u64 start);
struct estiba_container *estiba_container_add(struct task_struct *shim,
					      const struct shim_args *args,
					      u64 exec_id);
void estiba_container_name(struct estiba_container *c,
			   const struct shim_args *args, u64 exec_id);
struct estiba_container *estiba_container_alloc(void);
struct estiba_container *estiba_container_in(struct cgroup *top, int hierarchy);
struct estiba_container *estiba_container_by_id(struct estiba_build *b,
						const struct estiba_named *n);
struct estiba_container *estiba_container_orphan(struct estiba_build *b,
						 const struct estiba_named *n);
void estiba_container_set_cgroup(struct estiba_container *c, const struct estiba_named *n,
				 struct cgroup *top, int hierarchy);
void estiba_container_show(struct estiba_container *c, const struct task_struct *p);
void estiba_container_set_shim(struct estiba_container *c, struct task_struct *shim);
void estiba_container_drop(struct estiba_build *b, struct estiba_container *c);
void estiba_container_begin(struct estiba_container *c, struct task_struct *shim,
			    u64 build);
void estiba_container_end(struct estiba_container *c);
void estiba_containers_drop_duplicates(struct estiba_build *b);
u64 estiba_containers_sweep(struct estiba_build *b);
void estiba_containers_exit(void);

/* estiba_shim.c: fills the build's list of containers. */
int estiba_shims_find(struct estiba_build *b);
int estiba_list_reserve(struct estiba_build *b, size_t more);

/* estiba_class.c: which container a cgroup is made for. */
extern const char *const estiba_docker;	/* the one pointer for this runtime */
void estiba_classes_begin(struct estiba_build *b);
int estiba_classes_reserve(void);
void estiba_classes_sweep(const struct estiba_build *b);
void estiba_classes_exit(void);
struct cgroup *estiba_task_cgroup(struct task_struct *p, int ssid);
struct estiba_class *estiba_class_of(struct estiba_build *b, struct task_struct *p,
				     struct cgroup **cgrp);
bool estiba_class_has_id(struct estiba_class *e, struct cgroup *cgrp,
			 const struct estiba_container *shim);

/* estiba_row.c: which container a process belongs to. */
int estiba_rows_reserve(struct estiba_build *b);
bool estiba_row_of(struct estiba_build *b, struct task_struct *p,
		   struct estiba_container *shim, struct estiba_place *at);
void estiba_rows_exit(void);

/* estiba_pids.c: iterates over pids; under RCU. */
struct estiba_pids {
	struct radix_tree_iter iter;
	void __rcu **slot;
};

static inline void estiba_pids_from(struct estiba_pids *at, int nr)
{
	at->slot = radix_tree_iter_init(&at->iter, nr);
}

struct pid *estiba_pids_next(struct estiba_pids *at);

/* estiba_memo.c: maps a process to the shim's container that its children descend from. */
struct estiba_memo *estiba_memo_new(size_t parents);
void estiba_memo_free(struct estiba_memo *m);
int estiba_memo_grow(struct estiba_memo *m, size_t more);
bool estiba_memo_get(const struct estiba_memo *m, pid_t pid, u64 start,
		     struct estiba_container **c);
void estiba_memo_set(struct estiba_memo *m, pid_t pid, u64 start,
		     struct estiba_container *c);
size_t estiba_memo_count(const struct estiba_memo *m);

/* estiba_walk.c: visits every process and adds it to its container's sums. */
int estiba_walk(struct estiba_build *b);

/* Read one process; under RCU. */
void estiba_tasks_add(struct estiba_usage *u, struct task_struct *leader);
void estiba_memory_add(struct estiba_usage *u, struct task_struct *leader);

/* estiba_cgroup.c: a container's own cgroup; the first two under RCU. */
struct cgroup_subsys_state *estiba_css_next(struct cgroup_subsys_state *pos,
					    struct cgroup_subsys_state *top,
					    unsigned int *visited);
void estiba_cgroup_child(struct estiba_container *c, struct task_struct *child);
void estiba_cgroups_find(struct estiba_build *b);
void estiba_cgroup_release(struct estiba_container *c);
void estiba_cgroup_set(struct estiba_container *c, struct cgroup *top);
void estiba_cgroup_also(struct estiba_container *c, struct cgroup *top);
bool estiba_path_has_id(const char *path, size_t len, const struct shim_args *args);
size_t estiba_cgroup_outer_path(struct cgroup *cgrp, char *path, size_t size);
void estiba_cgroup_cpu_times(struct estiba_container *c, u64 *cpu, u64 *user,
			     u64 *system);
void estiba_pressure_read(struct estiba_container *c, u64 now);

/* Read one container; the first under RCU. */
bool estiba_init_pick(struct estiba_container *c, struct task_struct *p, bool moved);
void estiba_init_show(struct estiba_container *c, struct task_struct *init);
void estiba_cpu_feed(struct estiba_container *c, u64 now);
void estiba_cpu_finish(struct estiba_container *c, u64 now);
void estiba_memcg_read(struct estiba_container *c, u64 now);
void estiba_io_feed(struct estiba_container *c, u64 now);
void estiba_networks_find(struct estiba_build *b);
void estiba_network_read(struct estiba_container *c, u64 now);

/* estiba_host.c */
void estiba_host_read(struct estiba_host *h);
u64 estiba_host_busy(const struct estiba_host *h);

/* estiba_document.c: writes a build as text; check estiba_json_failed() after. */
int estiba_document_begin(struct estiba_document *d, size_t room, size_t rows);
void estiba_document_release(struct estiba_document *d);
void estiba_document_write(struct estiba_document *d,
			   const struct estiba_build *b, u64 sequence);

/* Prefix of shim names, as long as the comm of a task can be. */
#define ESTIBA_SHIM_NAME "containerd-shim"
/* NixOS starts a program through another: .containerd-shim-runc-v2-wrapped. */
#define ESTIBA_SHIM_WRAPPED "." ESTIBA_SHIM_NAME

static inline bool estiba_named_shim(const struct task_struct *p)
{
	return memcmp(p->comm, ESTIBA_SHIM_NAME, TASK_COMM_LEN - 1) == 0 ||
	       memcmp(p->comm, ESTIBA_SHIM_WRAPPED, TASK_COMM_LEN - 1) == 0;
}

/* No live thread is left. The leader may exit before other threads. */
static inline bool estiba_has_exited(struct task_struct *p)
{
	return !atomic_read(&p->signal->live);
}

/*
 * A thread of p's process that is not exiting, or NULL; under RCU. Exiting threads
 * have left their cgroups and namespaces.
 */
static inline struct task_struct *estiba_live_thread(struct task_struct *p)
{
	struct task_struct *t;

	if (!(READ_ONCE(p->flags) & PF_EXITING))
		return p;
	for_each_thread(p, t)
		if (!(READ_ONCE(t->flags) & PF_EXITING))
			return t;
	return NULL;
}

/* The parent process of p's process; under RCU. */
static inline struct task_struct *estiba_parent(struct task_struct *p)
{
	return READ_ONCE(rcu_dereference(p->real_parent)->group_leader);
}

#endif
