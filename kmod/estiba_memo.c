// SPDX-License-Identifier: GPL-2.0-only
/*
 * Remembers, while a snapshot is built, which container the children of a
 * process belong to. So the way from a process up to its shim is climbed once,
 * and a chain of 10,000 parents costs as much as 10,000 children of one.
 *
 * Open addressing, at most half full. Written inside RCU sections, so it never
 * allocates there: estiba_memo_grow makes room between the batches, and what
 * finds no room is not remembered.
 */
#include <linux/hash.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "estiba.h"

/*
 * The low half of the start time is enough to tell a pid from its reuse: both
 * would have to fall into one building of a snapshot.
 */
struct entry {
	pid_t pid;			/* 0: free */
	u32 start;
	struct estiba_container *c;
};

struct estiba_memo {
	struct entry *entries;
	unsigned int bits;
	size_t count;
	size_t missed;			/* found no room since it last grew */
};

static struct entry *entries_new(unsigned int bits)
{
	return kvcalloc((size_t)1 << bits, sizeof(struct entry),
			GFP_KERNEL);
}

/* NULL: no memory. */
struct estiba_memo *estiba_memo_new(size_t processes)
{
	struct estiba_memo *m = kmalloc(sizeof(*m), GFP_KERNEL);

	if (!m)
		return NULL;
	m->count = 0;
	m->missed = 0;
	m->bits = 11;
	while (((size_t)1 << m->bits) < 2 * (processes + 4 * ESTIBA_BATCH))
		m->bits++;
	m->entries = entries_new(m->bits);
	if (!m->entries) {
		kfree(m);
		return NULL;
	}
	return m;
}

void estiba_memo_free(struct estiba_memo *m)
{
	if (!m)
		return;
	kvfree(m->entries);
	kfree(m);
}

static struct entry *entry_of(struct entry *entries, unsigned int bits,
			      pid_t pid, u32 start)
{
	size_t mask = ((size_t)1 << bits) - 1;
	size_t i = hash_32(pid, bits);

	while (entries[i].pid &&
	       (entries[i].pid != pid || entries[i].start != start))
		i = (i + 1) & mask;
	return &entries[i];
}

/* Makes room for more processes; -ENOMEM. May sleep. */
int estiba_memo_grow(struct estiba_memo *m, size_t more)
{
	unsigned int bits = m->bits;
	struct entry *entries;
	size_t i;

	while (((size_t)1 << bits) < 2 * (m->count + m->missed + more))
		bits++;
	m->missed = 0;
	if (bits == m->bits)
		return 0;
	entries = entries_new(bits);
	if (!entries)
		return -ENOMEM;
	for (i = 0; i < (size_t)1 << m->bits; i++) {
		const struct entry *e = &m->entries[i];

		if (e->pid)
			*entry_of(entries, bits, e->pid, e->start) = *e;
	}
	kvfree(m->entries);
	m->entries = entries;
	m->bits = bits;
	return 0;
}

/* True if known; then *c is the container, NULL for none. */
bool estiba_memo_get(const struct estiba_memo *m, pid_t pid, u64 start,
		     struct estiba_container **c)
{
	const struct entry *e = entry_of(m->entries, m->bits, pid, start);

	if (!e->pid)
		return false;
	*c = e->c;
	return true;
}

void estiba_memo_set(struct estiba_memo *m, pid_t pid, u64 start,
		     struct estiba_container *c)
{
	struct entry *e = entry_of(m->entries, m->bits, pid, start);

	if (!e->pid) {
		if (2 * (m->count + 1) > (size_t)1 << m->bits) {
			m->missed++;
			return;
		}
		m->count++;
		e->pid = pid;
		e->start = start;
	}
	e->c = c;
}

size_t estiba_memo_count(const struct estiba_memo *m)
{
	return m->count;
}
