// SPDX-License-Identifier: GPL-2.0-only
/* Writes a snapshot as document version 1 (schema/v1.json). */
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "estiba.h"

#define PAGES_KB(n) ((u64)(n) << (PAGE_SHIFT - 10))

#define NUMBER(w, key, value) estiba_json_number(w, JSON_KEY(key), value)
#define TEXT(w, key, s, len) estiba_json_text(w, JSON_KEY(key), s, len)
#define RAW(w, s) estiba_json_raw(w, JSON_LIT(s))

/*
 * No container is listed beyond this size: the exporter reads at most 32 MiB, and
 * the longest line fits into the difference.
 */
#define TEXT_MAX ((31UL << 20) + (512UL << 10))

/* Leave an unknown counter out. */
#define COUNTER(w, key, c)					\
	do {							\
		if ((c).known)					\
			NUMBER(w, key, (c).shown);		\
	} while (0)

static void write_host(struct json_writer *w, const struct estiba_host *h)
{
	NUMBER(w, "boottime_ns", h->boottime_ns);
	NUMBER(w, "realtime_ns", h->realtime_ns);
	NUMBER(w, "cpus", h->cpus);
	NUMBER(w, "total_memory_kb", h->total_kb);
	NUMBER(w, "free_memory_kb", h->free_kb);
	NUMBER(w, "available_memory_kb", h->available_kb);
	NUMBER(w, "used_memory_kb", h->total_kb - h->free_kb);
	NUMBER(w, "free_swap_kb", h->free_swap_kb);
	NUMBER(w, "host_cpu_user_ns", h->user);
	NUMBER(w, "host_cpu_nice_ns", h->nice);
	NUMBER(w, "host_cpu_system_ns", h->system);
	NUMBER(w, "host_cpu_idle_ns", h->idle);
	NUMBER(w, "host_cpu_iowait_ns", h->iowait);
	NUMBER(w, "host_cpu_irq_ns", h->irq);
	NUMBER(w, "host_cpu_softirq_ns", h->softirq);
	NUMBER(w, "host_cpu_steal_ns", h->steal);
	NUMBER(w, "host_cpu_guest_ns", h->guest);
	NUMBER(w, "host_cpu_guest_nice_ns", h->guest_nice);
}

static void write_sums(struct json_writer *w, const struct estiba_build *b)
{
	u64 processes = b->unattributed.processes, threads = b->unattributed.threads;
	u64 rss = b->unattributed.rss_pages;
	size_t i;

	for (i = 0; i < b->count; i++) {
		const struct estiba_usage *u = &b->list[i]->use;

		processes += u->processes;
		threads += u->threads;
		rss += u->rss_pages;
	}
	NUMBER(w, "host_cpu_busy_ns", b->busy_ns);
	NUMBER(w, "host_processes", processes);
	NUMBER(w, "host_threads", threads);
	NUMBER(w, "host_rss_kb", PAGES_KB(rss));
	NUMBER(w, "ended_cpu_ns", b->ended_ns);
	NUMBER(w, "containers", b->count);
	RAW(w, ",\n\"unattributed\":{");
	estiba_json_number(w, JSON_FIRST("processes_count"), b->unattributed.processes);
	NUMBER(w, "threads", b->unattributed.threads);
	NUMBER(w, "rss_kb", PAGES_KB(b->unattributed.rss_pages));
	NUMBER(w, "vsz_kb", PAGES_KB(b->unattributed.vsz_pages));
	NUMBER(w, "swap_kb", PAGES_KB(b->unattributed.swap_pages));
	NUMBER(w, "cpu_ns", b->unattributed_cpu_ns);
	RAW(w, "}");
}

static void write_memcg(struct json_writer *w, const struct estiba_memcg *m)
{
	if (!m->known)
		return;
	NUMBER(w, "memory_cgroup_kb", PAGES_KB(m->usage));
	NUMBER(w, "memory_inactive_file_kb", PAGES_KB(m->inactive_file));
	if (m->limited)
		NUMBER(w, "memory_limit_kb", PAGES_KB(m->limit));
}

static void write_network(struct json_writer *w, const struct estiba_container *c)
{
	switch (c->network) {
	case ESTIBA_NETWORK_UNKNOWN:
		break;
	case ESTIBA_NETWORK_HOST:
		RAW(w, ",\"network\":\"host\"");
		break;
	case ESTIBA_NETWORK_SHARED:
		RAW(w, ",\"network\":\"shared\"");
		break;
	case ESTIBA_NETWORK_OWN:
		RAW(w, ",\"network\":\"own\"");
		COUNTER(w, "net_rx_bytes", c->net_rx_bytes);
		COUNTER(w, "net_tx_bytes", c->net_tx_bytes);
		COUNTER(w, "net_rx_packets", c->net_rx_packets);
		COUNTER(w, "net_tx_packets", c->net_tx_packets);
		break;
	}
}

/*
 * Restricted like /proc/PID/io, which only readers who may trace the process can
 * read: byte counts can reveal the length of a password.
 */
static void write_io(struct estiba_document *d, const struct estiba_container *c)
{
	struct json_writer *w = &d->w;
	size_t at = w->len;

#ifdef CONFIG_TASK_IO_ACCOUNTING
	COUNTER(w, "disk_read_bytes", c->disk_read);
	COUNTER(w, "disk_write_bytes", c->disk_write);
#endif
#ifdef CONFIG_TASK_XACCT
	COUNTER(w, "io_read_bytes", c->io_read);
	COUNTER(w, "io_write_bytes", c->io_write);
	COUNTER(w, "io_read_calls", c->io_reads);
	COUNTER(w, "io_write_calls", c->io_writes);
#endif
	d->cuts[d->cuts_count].at = at;
	d->cuts[d->cuts_count].len = w->len - at;
	d->cuts_count++;
}

static bool namespace_is(const struct shim_args *a, const char *name, size_t len)
{
	return a->namespace_len == len && !memcmp(a->namespace, name, len);
}

/* The container that a shim of Kubernetes is named after. */
static void write_sandbox(struct json_writer *w, const struct estiba_container *c)
{
	TEXT(w, "pod", c->args.id, c->args.id_len);
	/* A virtual machine has the whole pod in it. */
	if (!c->kata)
		RAW(w, ",\"pause\":\"true\"");
}

static void write_identity(struct json_writer *w,
			   const struct estiba_container *c)
{
	const struct shim_args *a = &c->args;

	bool moby = namespace_is(a, JSON_LIT("moby"));
	const char *runtime = c->runtime;

	if (!runtime)
		runtime = moby ? estiba_docker : "containerd";
	if (moby && runtime == estiba_docker) {
		RAW(w, ",\"namespace\":\"moby\",\"runtime\":\"docker\"");
	} else {
		if (a->namespace_len)
			TEXT(w, "namespace", a->namespace, a->namespace_len);
		TEXT(w, "runtime", runtime, strlen(runtime));
	}
	if (c->pod_len)
		TEXT(w, "pod", c->pod, c->pod_len);
	else if (!c->top_id && namespace_is(a, JSON_LIT("k8s.io")))
		write_sandbox(w, c);
	if (c->user)
		NUMBER(w, "user_id", c->user);
	if (c->init)
		NUMBER(w, "init_pid", c->init_pid);
	if (c->init || c->ended_at)
		TEXT(w, "command", c->command, strlen(c->command));
	if (c->own && c->path_len)
		TEXT(w, "cgroup", c->path, c->path_len);
	NUMBER(w, "start_time_ns", c->init_start ?: c->shim_start);
}

static void write_container(struct estiba_document *d,
			    const struct estiba_container *c, u64 total_kb)
{
	const struct estiba_usage *u = &c->use;
	struct json_writer *w = &d->w;
	u64 rss_kb = PAGES_KB(u->rss_pages);

	estiba_json_text(w, JSON_LIT("{\"process_name\":\""), c->name, strlen(c->name));
	NUMBER(w, "pid", c->pid);
	TEXT(w, "container_id", c->args.id, c->args.id_len);
	NUMBER(w, "vsz_kb", PAGES_KB(u->vsz_pages));
	NUMBER(w, "rss_kb", rss_kb);
	estiba_json_hundredths(w, JSON_KEY("memory_usage_percent"),
			div64_u64(rss_kb * 10000 + total_kb / 2, total_kb));
	estiba_json_hundredths(w, JSON_KEY("cpu_usage_percent"), c->percent);
	NUMBER(w, "cpu_window_ns", c->window_ns);
	write_identity(w, c);
	NUMBER(w, "cpu_ns", c->cpu.shown);
	if (c->cpu_of)
		RAW(w, ",\"cpu_source\":\"cgroup\"");
	else
		RAW(w, ",\"cpu_source\":\"tasks\"");
	NUMBER(w, "cpu_user_ns", c->split.user);
	NUMBER(w, "cpu_system_ns", c->split.system);
	NUMBER(w, "processes_count", u->processes);
	NUMBER(w, "threads", u->threads);
	NUMBER(w, "swap_kb", PAGES_KB(u->swap_pages));
	NUMBER(w, "peak_rss_kb", PAGES_KB(c->peak_pages));
	write_memcg(w, &c->memcg);
	COUNTER(w, "oom_kills", c->oom_kills);
	COUNTER(w, "pressure_cpu_ns", c->psi_cpu);
	COUNTER(w, "pressure_memory_ns", c->psi_memory);
	COUNTER(w, "pressure_io_ns", c->psi_io);
	write_io(d, c);
	COUNTER(w, "minor_faults", c->minor_faults);
	COUNTER(w, "major_faults", c->major_faults);
	write_network(w, c);
	if (c->ended_at) {
		NUMBER(w, "ended_time_ns", c->ended_at);
		RAW(w, ",\"state\":\"ended\"}");
	} else {
		RAW(w, ",\"state\":\"running\"}");
	}
}

static void write_line(struct estiba_document *d,
		       const struct estiba_container *c, u64 total_kb,
		       size_t before)
{
	if (before)
		RAW(&d->w, ",\n");
	else
		RAW(&d->w, "\n");
	write_container(d, c, total_kb);
	cond_resched();
}

/* Root's containers, or those of users. */
static size_t write_running(struct estiba_document *d, const struct estiba_build *b,
			    bool rootless, size_t written)
{
	size_t most = estiba_max_containers(), i;

	for (i = 0; i < b->count && written < most && d->w.len < TEXT_MAX; i++)
		if (!b->list[i]->user == !rootless)
			write_line(d, b->list[i], b->host.total_kb, written++);
	return written;
}

/*
 * Running ones first: a restarted container has the id of its previous life. Those of
 * users last, because they can make any number of cgroups.
 */
static void write_containers(struct estiba_document *d,
			     const struct estiba_build *b)
{
	size_t most = estiba_max_containers(), written;
	struct json_writer *w = &d->w;
	const struct estiba_container *c = b->ended;

	RAW(w, ",\n\"processes\":[");
	written = write_running(d, b, false, 0);
	if (b->rootless)
		written = write_running(d, b, true, written);
	for (; c && written < most && w->len < TEXT_MAX; c = c->next_ended)
		write_line(d, c, b->host.total_kb, written++);
	if (written)
		RAW(w, "\n");
	RAW(w, "]");
	if (written < b->count + b->ended_count)
		RAW(w, ",\n\"truncated\":\"true\"");
}

/**
 * estiba_document_begin() - Start an empty document.
 * @d: all zero, or an earlier document, whose memory is reused: new memory would
 *     have to be cleared
 * @room: expected size in bytes
 * @rows: maximum number of containers
 *
 * Return: 0 or -ENOMEM. In both cases the caller releases @d.
 */
int estiba_document_begin(struct estiba_document *d, size_t room, size_t rows)
{
	/* Do not keep more than twice the expected size. */
	if (d->w.text && d->w.cap / 2 <= room) {
		estiba_json_reuse(&d->w, d->w.text, d->w.cap);
	} else {
		estiba_json_release(&d->w);
		estiba_json_init(&d->w, room);
	}
	if (d->cuts_room < rows || d->cuts_room / 4 > rows + 64) {
		kvfree(d->cuts);
		d->cuts_room = rows + rows / 8;
		d->cuts = kvcalloc(d->cuts_room, sizeof(*d->cuts), ESTIBA_GFP);
		if (!d->cuts)
			d->cuts_room = 0;
	}
	d->cuts_count = 0;
	return estiba_json_failed(&d->w) || d->cuts_room < rows ? -ENOMEM : 0;
}

/**
 * estiba_document_release() - Free the memory of a document.
 * @d: started, or all zero; all zero afterwards
 */
void estiba_document_release(struct estiba_document *d)
{
	estiba_json_release(&d->w);
	kvfree(d->cuts);
	memset(d, 0, sizeof(*d));
}

/**
 * estiba_document_write() - Write a build as document version 1.
 * @d: started with room for every container of @b
 * @b: the collected build
 * @sequence: number of the document
 *
 * The caller then checks estiba_json_failed() for a failed allocation.
 */
void estiba_document_write(struct estiba_document *d,
			   const struct estiba_build *b, u64 sequence)
{
	struct json_writer *w = &d->w;

	RAW(w, "{\n\"schema\":\"1\",\"module\":\"" ESTIBA_NAME "\",");
	RAW(w, "\"module_version\":\"" ESTIBA_VERSION "\"");
	NUMBER(w, "sequence", sequence);
	NUMBER(w, "collect_ns", b->collect_ns);
	write_host(w, &b->host);
	write_sums(w, b);
	write_containers(d, b);
	RAW(w, "\n}\n");
}
