// SPDX-License-Identifier: GPL-2.0-only
/* Writes a snapshot as document version 1; schema/v1.json describes it. */
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/string.h>

#include "estiba.h"

#define PAGES_KB(n) ((u64)(n) << (PAGE_SHIFT - 10))

#define NUMBER(w, key, value) json_number(w, JSON_KEY(key), value)
#define TEXT(w, key, s, len) json_text(w, JSON_KEY(key), s, len)
#define RAW(w, s) json_raw(w, JSON_LIT(s))

/* A counter that was never fed is not known. */
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
	u64 processes = b->rest.processes, threads = b->rest.threads;
	u64 rss = b->rest.rss_pages;
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
	json_number(w, JSON_FIRST("processes_count"), b->rest.processes);
	NUMBER(w, "threads", b->rest.threads);
	NUMBER(w, "rss_kb", PAGES_KB(b->rest.rss_pages));
	NUMBER(w, "vsz_kb", PAGES_KB(b->rest.vsz_pages));
	NUMBER(w, "swap_kb", PAGES_KB(b->rest.swap_pages));
	NUMBER(w, "cpu_ns", b->rest_cpu_ns);
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
	case ESTIBA_NETWORK_OWN:
		RAW(w, ",\"network\":\"own\"");
		COUNTER(w, "net_rx_bytes", c->net_rx_bytes);
		COUNTER(w, "net_tx_bytes", c->net_tx_bytes);
		COUNTER(w, "net_rx_packets", c->net_rx_packets);
		COUNTER(w, "net_tx_packets", c->net_tx_packets);
		break;
	}
}

static void write_identity(struct json_writer *w,
			   const struct estiba_container *c)
{
	if (c->args.namespace_len)
		TEXT(w, "namespace", c->args.namespace, c->args.namespace_len);
	if (c->init)
		NUMBER(w, "init_pid", c->init_pid);
	if (c->init || c->ended_at)
		TEXT(w, "command", c->command, strlen(c->command));
	if (c->own && c->path_len)
		TEXT(w, "cgroup", c->path, c->path_len);
	NUMBER(w, "start_time_ns", c->init_start ?: c->shim_start);
}

static void write_container(struct json_writer *w,
			    const struct estiba_container *c, u64 total_kb)
{
	const struct estiba_usage *u = &c->use;
	u64 rss_kb = PAGES_KB(u->rss_pages);

	json_text(w, JSON_LIT("{\"process_name\":\""), c->name, strlen(c->name));
	NUMBER(w, "pid", c->pid);
	TEXT(w, "container_id", c->args.id, c->args.id_len);
	NUMBER(w, "vsz_kb", PAGES_KB(u->vsz_pages));
	NUMBER(w, "rss_kb", rss_kb);
	json_hundredths(w, JSON_KEY("memory_usage_percent"),
			div64_u64(rss_kb * 10000 + total_kb / 2, total_kb));
	json_hundredths(w, JSON_KEY("cpu_usage_percent"), c->percent);
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

static void write_line(struct json_writer *w, const struct estiba_container *c,
		       u64 total_kb, size_t before)
{
	if (before)
		RAW(w, ",\n");
	else
		RAW(w, "\n");
	write_container(w, c, total_kb);
	cond_resched();
}

/* Running ones first: one that was started again has the id of its last life. */
static void write_containers(struct json_writer *w, const struct estiba_build *b)
{
	size_t most = estiba_max_containers(), written = 0, i;
	const struct estiba_container *c = b->ended;

	RAW(w, ",\n\"processes\":[");
	for (i = 0; i < b->count && written < most; i++)
		write_line(w, b->list[i], b->host.total_kb, written++);
	for (; c && written < most; c = c->next_ended)
		write_line(w, c, b->host.total_kb, written++);
	if (written)
		RAW(w, "\n");
	RAW(w, "]");
	if (written < b->count + b->ended_count)
		RAW(w, ",\n\"truncated\":\"true\"");
}

/*
 * estiba_document_write - json_init has been called on w; json_failed() tells
 * in the end whether memory was short.
 */
void estiba_document_write(struct json_writer *w, const struct estiba_build *b,
			   u64 sequence)
{
	RAW(w, "{\n\"schema\":\"1\",\"module\":\"" ESTIBA_NAME "\",");
	RAW(w, "\"module_version\":\"" ESTIBA_VERSION "\"");
	NUMBER(w, "sequence", sequence);
	NUMBER(w, "collect_ns", b->collect_ns);
	write_host(w, &b->host);
	write_sums(w, b);
	write_containers(w, b);
	RAW(w, "\n}\n");
}
