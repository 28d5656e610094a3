/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A JSON writer that grows its own buffer. Builds in the kernel and, for its
 * tests, in user space: it is what hostile process names reach.
 *
 * Every value of the document is a JSON string. A failed allocation is
 * remembered: later calls do nothing, and the one who started the document
 * asks json_failed() once at its end. A document is whole or not there.
 */
#ifndef ESTIBA_JSON_WRITER_H
#define ESTIBA_JSON_WRITER_H

#ifdef __KERNEL__
#include <linux/string.h>
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
typedef uint64_t u64;
#endif

/* No document is larger; an estimate of the largest one is in README.md. */
#define JSON_MAX_BYTES ((size_t)512 << 20)

struct json_writer {
	char *text;	/* not NUL-terminated */
	size_t len;
	size_t cap;
	bool failed;
};

/* json_init - start an empty document with room for hint bytes. */
void json_init(struct json_writer *w, size_t hint);

/*
 * json_reuse - start an empty document in the buffer of an old one, cap bytes
 * that this module allocated: a new one would have to be cleared first.
 */
void json_reuse(struct json_writer *w, char *text, size_t cap);

/* json_release - give the buffer back; allowed in any state, also twice. */
void json_release(struct json_writer *w);

static inline bool json_failed(const struct json_writer *w)
{
	return w->failed;
}

/* json_grow - more room than there is; false: no memory, or too much. */
bool json_grow(struct json_writer *w, size_t more);

/* json_room - make room for more bytes. */
static inline bool json_room(struct json_writer *w, size_t more)
{
	return w->cap - w->len >= more || json_grow(w, more);
}

/* json_raw - append bytes as they are. */
void json_raw(struct json_writer *w, const char *bytes, size_t len);

/*
 * json_text - append lead as it is, then bytes as the inside of a JSON string,
 * then a quote. Any byte is allowed: quotes, backslashes and control bytes are
 * escaped, each byte that is not part of well-formed UTF-8 becomes U+FFFD.
 */
void json_text(struct json_writer *w, const char *lead, size_t lead_len,
	       const char *bytes, size_t len);

/* The longest decimal number, 18446744073709551615. */
#define JSON_MAX_DIGITS 20

/* json_digits - write value at to; the end of it, at most JSON_MAX_DIGITS on. */
char *json_digits(char *to, u64 value);

/* json_two_digits - likewise, value below 100, with a zero in front. */
char *json_two_digits(char *to, unsigned int value);

/*
 * json_number - append lead as it is, then value in decimal, then a quote.
 * Inline: copying a lead of known length is a few instructions.
 */
static inline __attribute__((__always_inline__)) void
json_number(struct json_writer *w, const char *lead, size_t lead_len, u64 value)
{
	char *to;

	if (!json_room(w, lead_len + JSON_MAX_DIGITS + 1))
		return;
	to = w->text + w->len;
	memcpy(to, lead, lead_len);
	to += lead_len;
	if (value < 10)
		*to++ = '0' + value;
	else
		to = json_digits(to, value);
	*to++ = '"';
	w->len = to - w->text;
}

/* json_hundredths - likewise, value 1234 as 12.34. */
static inline __attribute__((__always_inline__)) void
json_hundredths(struct json_writer *w, const char *lead, size_t lead_len,
		u64 value)
{
	char *to;

	if (!json_room(w, lead_len + JSON_MAX_DIGITS + 4))
		return;
	to = w->text + w->len;
	memcpy(to, lead, lead_len);
	to = json_digits(to + lead_len, value / 100);
	*to++ = '.';
	to = json_two_digits(to, value % 100);
	*to++ = '"';
	w->len = to - w->text;
}

/* A string literal and its length, for the functions above. */
#define JSON_LIT(s) s, sizeof(s) - 1

/* A key in front of a value, with and without the comma before it. */
#define JSON_FIRST(key) JSON_LIT("\"" key "\":\"")
#define JSON_KEY(key) JSON_LIT(",\"" key "\":\"")

#endif
