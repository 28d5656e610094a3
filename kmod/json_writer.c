// SPDX-License-Identifier: GPL-2.0-only
/* See json_writer.h. */
#include "json_writer.h"

#ifdef __KERNEL__
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

static char *text_alloc(size_t size)
{
	/* Fail rather than invoke the OOM killer. */
	return kvmalloc(size, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
}

static void text_free(char *text)
{
	kvfree(text);
}
#else
#include <stdlib.h>
#include <string.h>

/* Replaced by the tests, to make it fail. */
extern char *json_test_alloc(size_t size);

static char *text_alloc(size_t size)
{
	return json_test_alloc(size);
}

static void text_free(char *text)
{
	free(text);
}
#endif

/* Longest escape of one byte, \u00XX. */
#define MAX_ESCAPE 6

static const char digit_pairs[] =
	"00010203040506070809101112131415161718192021222324"
	"25262728293031323334353637383940414243444546474849"
	"50515253545556575859606162636465666768697071727374"
	"75767778798081828384858687888990919293949596979899";

static const char hex_digits[] = "0123456789abcdef";

void estiba_json_init(struct json_writer *w, size_t hint)
{
	memset(w, 0, sizeof(*w));
	if (hint < 256)
		hint = 256;
	if (hint > JSON_MAX_BYTES)
		hint = JSON_MAX_BYTES;
	w->text = text_alloc(hint);
	if (w->text)
		w->cap = hint;
	else
		w->failed = true;
}

void estiba_json_reuse(struct json_writer *w, char *text, size_t cap)
{
	memset(w, 0, sizeof(*w));
	w->text = text;
	w->cap = cap;
}

void estiba_json_release(struct json_writer *w)
{
	text_free(w->text);
	w->text = NULL;
	w->len = 0;
	w->cap = 0;
}

/* Doubling makes the total cost of copying linear. */
bool estiba_json_grow(struct json_writer *w, size_t more)
{
	size_t cap = w->cap;
	char *text;

	if (w->failed || more > JSON_MAX_BYTES - w->len) {
		w->failed = true;
		return false;
	}
	while (cap - w->len < more)
		cap = cap > JSON_MAX_BYTES / 2 ? JSON_MAX_BYTES : cap * 2;
	text = text_alloc(cap);
	if (!text) {
		w->failed = true;
		return false;
	}
	memcpy(text, w->text, w->len);
	text_free(w->text);
	w->text = text;
	w->cap = cap;
	return true;
}

void estiba_json_raw(struct json_writer *w, const char *bytes, size_t len)
{
	if (!estiba_json_room(w, len))
		return;
	memcpy(w->text + w->len, bytes, len);
	w->len += len;
}

static const u64 powers[] = {
	1ULL, 10ULL, 100ULL, 1000ULL, 10000ULL, 100000ULL, 1000000ULL,
	10000000ULL, 100000000ULL, 1000000000ULL, 10000000000ULL,
	100000000000ULL, 1000000000000ULL, 10000000000000ULL,
	100000000000000ULL, 1000000000000000ULL, 10000000000000000ULL,
	100000000000000000ULL, 1000000000000000000ULL, 10000000000000000000ULL,
};

char *estiba_json_digits(char *to, u64 value)
{
	/* 1233 / 4096 is just above log10(2), so count is at most one too large. */
	int bits = 64 - __builtin_clzll(value | 1);
	int count = bits * 1233 >> 12;
	char *end;

	count += value >= powers[count];
	end = to + count + !count;
	to = end;
	while (value >= 100) {
		u64 rest = value / 100;

		to -= 2;
		memcpy(to, digit_pairs + 2 * (value - rest * 100), 2);
		value = rest;
	}
	if (value >= 10)
		memcpy(to - 2, digit_pairs + 2 * value, 2);
	else
		to[-1] = '0' + value;
	return end;
}

char *estiba_json_two_digits(char *to, unsigned int value)
{
	memcpy(to, digit_pairs + 2 * value, 2);
	return to + 2;
}

/*
 * Length of the well-formed UTF-8 sequence at s, or 0 (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF).
 */
static size_t utf8_length(const unsigned char *s, size_t left)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t need, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf) {
		need = 2;
	} else if (s[0] >= 0xe0 && s[0] <= 0xef) {
		need = 3;
		if (s[0] == 0xe0)
			low = 0xa0;
		else if (s[0] == 0xed)
			high = 0x9f;
	} else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		need = 4;
		if (s[0] == 0xf0)
			low = 0x90;
		else if (s[0] == 0xf4)
			high = 0x8f;
	} else {
		return 0;
	}
	if (left < need || s[1] < low || s[1] > high)
		return 0;
	for (i = 2; i < need; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return need;
}

#define EACH(byte) (0x0101010101010101ULL * (byte))
/* Nonzero if a byte of x is 0. */
#define NUL_IN(x) (((x) - EACH(1)) & ~(x) & EACH(0x80))

/*
 * True only if none of the eight bytes needs an escape. A carry into the next byte can
 * make it false for plain bytes, which is harmless.
 */
static bool all_plain(u64 bytes)
{
	return !((bytes | (bytes - EACH(0x20)) | NUL_IN(bytes ^ EACH('"')) |
		  NUL_IN(bytes ^ EACH('\\')) | NUL_IN(bytes ^ EACH(0x7f))) &
		 EACH(0x80));
}

void estiba_json_text(struct json_writer *w, const char *lead, size_t lead_len,
	       const char *bytes, size_t len)
{
	const unsigned char *s = (const unsigned char *)bytes;
	size_t i = 0;
	char *to;

	if (len > (JSON_MAX_BYTES - 1) / MAX_ESCAPE ||
	    lead_len > JSON_MAX_BYTES / 2) {
		w->failed = true;
		return;
	}
	if (!estiba_json_room(w, lead_len + len * MAX_ESCAPE + 1))
		return;
	to = w->text + w->len;
	memcpy(to, lead, lead_len);
	to += lead_len;
	while (i < len) {
		size_t n;

		while (len - i >= 8) {
			u64 bytes;

			memcpy(&bytes, s + i, 8);
			if (!all_plain(bytes))
				break;
			memcpy(to, &bytes, 8);
			to += 8;
			i += 8;
		}
		if (i == len)
			break;
		n = utf8_length(s + i, len - i);
		if (n == 0) {
			memcpy(to, "\\ufffd", 6);
			to += 6;
			i++;
		} else if (s[i] == '"' || s[i] == '\\') {
			*to++ = '\\';
			*to++ = s[i++];
		} else if (s[i] < 0x20 || s[i] == 0x7f) {
			memcpy(to, "\\u00", 4);
			to[4] = hex_digits[s[i] >> 4];
			to[5] = hex_digits[s[i] & 15];
			to += 6;
			i++;
		} else {
			memcpy(to, s + i, n);
			to += n;
			i += n;
		}
	}
	*to++ = '"';
	w->len = to - w->text;
}
