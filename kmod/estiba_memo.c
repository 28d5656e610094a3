// SPDX-License-Identifier: GPL-2.0-only
/*
 * Maps processes to the container their children belong to, while a snapshot is
 * built. So the path from a process up to its shim is walked once, and a chain of
 * 10,000 parents costs as much as 10,000 children of one.
 *
 * A hash table with open addressing, at most half full. It is written in RCU sections
 * and does not allocate there: estiba_memo_grow() makes room between the batches, and
 * entries without room are dropped.
 */
#include <linux/jhash.h>
#include <linux/mm.h>
#include <linux/random.h>
#include <linux/slab.h>

#include "estiba.h"

/*
 * The low half of the start time distinguishes a reused pid from the old one: both would have
 * to exist during one snapshot.
 */
struct entry {
	pid_t pid;			/* 0: free */
	u32 start;
	struct estiba_container *c;
};

struct estiba_memo {
	struct entry *entries;
	u32 seed;			/* makes collisions unpredictable */
	unsigned int bits;
	size_t count;
	size_t missed;			/* dropped since it last grew */
};

static struct entry *entries_new(unsigned int bits)
{
	return kvcalloc((size_t)1 << bits, sizeof(struct entry), ESTIBA_GFP);
}

/**
 * estiba_memo_new() - Allocate an empty memo.
 * @parents: expected number of entries
 *
 * Return: the memo, or NULL if out of memory.
 */
struct estiba_memo *estiba_memo_new(size_t parents)
{
	struct estiba_memo *m = kmalloc(sizeof(*m), ESTIBA_GFP);

	if (!m)
		return NULL;
	m->seed = get_random_u32();
	m->count = 0;
	m->missed = 0;
	m->bits = 11;
	while (((size_t)1 << m->bits) < 2 * (parents + 4 * ESTIBA_BATCH))
		m->bits++;
	m->entries = entries_new(m->bits);
	if (!m->entries) {
		kfree(m);
		return NULL;
	}
	return m;
}

/**
 * estiba_memo_free() - Free a memo.
 * @m: may be NULL
 */
void estiba_memo_free(struct estiba_memo *m)
{
	if (!m)
		return;
	kvfree(m->entries);
	kfree(m);
}

static struct entry *entry_of(struct entry *entries, unsigned int bits, u32 seed,
			      pid_t pid, u32 start)
{
	size_t mask = ((size_t)1 << bits) - 1;
	size_t i = jhash_1word(pid, seed) & mask;

	while (entries[i].pid &&
	       (entries[i].pid != pid || entries[i].start != start))
		i = (i + 1) & mask;
	return &entries[i];
}

/**
 * estiba_memo_grow() - Make room for more processes.
 * @m: the memo
 * @more: number of processes
 *
 * May sleep.
 *
 * Return: 0 or -ENOMEM.
 */
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
			*entry_of(entries, bits, m->seed, e->pid, e->start) = *e;
	}
	kvfree(m->entries);
	m->entries = entries;
	m->bits = bits;
	return 0;
}

/**
 * estiba_memo_get() - Look up a process.
 * @m: the memo
 * @pid: of the process
 * @start: start time of the process
 * @c: set to the container of its children, NULL for none
 *
 * Return: whether it was found; if not, @c is unchanged.
 */
bool estiba_memo_get(const struct estiba_memo *m, pid_t pid, u64 start,
		     struct estiba_container **c)
{
	const struct entry *e = entry_of(m->entries, m->bits, m->seed, pid, start);

	if (!e->pid)
		return false;
	*c = e->c;
	return true;
}

/**
 * estiba_memo_set() - Store a process, if there is room.
 * @m: the memo
 * @pid: of the process
 * @start: start time of the process
 * @c: the container of its children, NULL for none
 */
void estiba_memo_set(struct estiba_memo *m, pid_t pid, u64 start,
		     struct estiba_container *c)
{
	struct entry *e = entry_of(m->entries, m->bits, m->seed, pid, start);

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

/**
 * estiba_memo_count() - Number of entries.
 * @m: the memo
 *
 * Return: the number.
 */
size_t estiba_memo_count(const struct estiba_memo *m)
{
	return m->count;
}
