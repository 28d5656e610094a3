/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A JSON writer with a growing buffer. Also builds in user space, for tests and a
 * fuzzer: it handles names that hostile processes choose.
 *
 * Every value is a JSON string. After a failed allocation all calls do nothing, so
 * the caller checks estiba_json_failed() once, at the end. There are no partial
 * documents.
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

/* Limit of a document; README.md estimates the largest real one. */
#define JSON_MAX_BYTES ((size_t)512 << 20)

struct json_writer {
	char *text;	/* not NUL-terminated */
	size_t len;
	size_t cap;
	bool failed;
};

/* estiba_json_init() - Start an empty document with room for hint bytes. */
void estiba_json_init(struct json_writer *w, size_t hint);

/*
 * estiba_json_reuse() - Start an empty document in the buffer of an old one, cap
 * bytes allocated by the writer. Saves clearing a new buffer.
 */
void estiba_json_reuse(struct json_writer *w, char *text, size_t cap);

/* estiba_json_release() - Free the buffer; allowed in any state, also twice. */
void estiba_json_release(struct json_writer *w);

static inline bool estiba_json_failed(const struct json_writer *w)
{
	return w->failed;
}

/* estiba_json_grow() - Grow the buffer; false: no memory, or JSON_MAX_BYTES exceeded. */
bool estiba_json_grow(struct json_writer *w, size_t more);

/* estiba_json_room() - Ensure room for more bytes. */
static inline bool estiba_json_room(struct json_writer *w, size_t more)
{
	return w->cap - w->len >= more || estiba_json_grow(w, more);
}

/* estiba_json_raw() - Append bytes verbatim. */
void estiba_json_raw(struct json_writer *w, const char *bytes, size_t len);

/*
 * estiba_json_text() - Append lead verbatim, then bytes escaped for a JSON string,
 * then a quote. Accepts any byte: quotes, backslashes and control bytes are escaped,
 * and each byte that is not part of well-formed UTF-8 becomes U+FFFD.
 */
void estiba_json_text(struct json_writer *w, const char *lead, size_t lead_len,
	       const char *bytes, size_t len);

/* Digits of the largest u64, 18446744073709551615. */
#define JSON_MAX_DIGITS 20

/* estiba_json_digits() - Write value at to, up to JSON_MAX_DIGITS; returns its end. */
char *estiba_json_digits(char *to, u64 value);

/* estiba_json_two_digits() - The same for a value below 100, zero-padded. */
char *estiba_json_two_digits(char *to, unsigned int value);

/*
 * estiba_json_number() - Append lead verbatim, then value in decimal, then a quote.
 * Inline, because copying a lead of constant length takes a few instructions.
 */
static inline __attribute__((__always_inline__)) void
estiba_json_number(struct json_writer *w, const char *lead, size_t lead_len, u64 value)
{
	char *to;

	if (!estiba_json_room(w, lead_len + JSON_MAX_DIGITS + 1))
		return;
	to = w->text + w->len;
	memcpy(to, lead, lead_len);
	to += lead_len;
	if (value < 10)
		*to++ = '0' + value;
	else
		to = estiba_json_digits(to, value);
	*to++ = '"';
	w->len = to - w->text;
}

/* estiba_json_hundredths() - The same, with value 1234 written as 12.34. */
static inline __attribute__((__always_inline__)) void
estiba_json_hundredths(struct json_writer *w, const char *lead, size_t lead_len,
		u64 value)
{
	char *to;

	if (!estiba_json_room(w, lead_len + JSON_MAX_DIGITS + 4))
		return;
	to = w->text + w->len;
	memcpy(to, lead, lead_len);
	to = estiba_json_digits(to + lead_len, value / 100);
	*to++ = '.';
	to = estiba_json_two_digits(to, value % 100);
	*to++ = '"';
	w->len = to - w->text;
}

/* A string literal and its length, as two arguments. */
#define JSON_LIT(s) s, sizeof(s) - 1

/* A key, up to the quote that starts its value; the first one has no comma. */
#define JSON_FIRST(key) JSON_LIT("\"" key "\":\"")
#define JSON_KEY(key) JSON_LIT(",\"" key "\":\"")

#endif
