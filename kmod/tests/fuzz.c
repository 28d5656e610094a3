// SPDX-License-Identifier: GPL-2.0-only
/*
 * libFuzzer target: any bytes as the arguments of a shim and as a name. What is
 * written must be well-formed UTF-8 inside one JSON string.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../json_writer.h"
#include "../shim_args.h"

char *json_test_alloc(size_t size)
{
	return malloc(size);
}

static void check(int ok)
{
	if (!ok)
		abort();
}

/* Length of a well-formed sequence by its code point, written independently. */
static size_t sequence(const unsigned char *s, size_t left)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t point;
	size_t n, i;

	if (s[0] < 0x80)
		return 1;
	n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	check(s[0] >= 0xc0 && s[0] < 0xf8 && n <= left);
	point = s[0] & (0x7f >> n);
	for (i = 1; i < n; i++) {
		check((s[i] & 0xc0) == 0x80);
		point = point << 6 | (s[i] & 0x3f);
	}
	check(point >= least[n] && point <= 0x10ffff &&
	      (point < 0xd800 || point > 0xdfff));
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const unsigned char *s;
	struct shim_args args;
	struct json_writer w;
	size_t i;

	if (shim_args_parse(&args, (const char *)data, size)) {
		check(is_plain_name(args.id, args.id_len, SHIM_ID_MAX));
		check(!args.namespace_len ||
		      is_plain_name(args.namespace, args.namespace_len,
				    SHIM_NAMESPACE_MAX));
	}
	json_init(&w, 0);
	json_text(&w, JSON_LIT("\""), (const char *)data, size);
	check(!json_failed(&w) && w.len >= 2);
	s = (const unsigned char *)w.text;
	check(s[0] == '"' && s[w.len - 1] == '"');
	for (i = 1; i < w.len - 1;) {
		check(s[i] >= 0x20 && s[i] != '"');
		if (s[i] == '\\') {
			i++;
			check(i < w.len - 1);
			if (s[i] == 'u') {
				check(i + 5 <= w.len - 1 &&
				      strspn((const char *)s + i + 1,
					     "0123456789abcdef") >= 4);
				i += 5;
			} else {
				check(s[i] == '"' || s[i] == '\\');
				i++;
			}
			continue;
		}
		i += sequence(s + i, w.len - 1 - i);
	}
	json_release(&w);
	return 0;
}
