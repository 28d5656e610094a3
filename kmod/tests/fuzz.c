// SPDX-License-Identifier: GPL-2.0-only
/*
 * libFuzzer target: arbitrary bytes as the arguments of a shim, as the path of a cgroup
 * and as a name. The output must be JSON strings of well-formed UTF-8 that decode to the
 * input.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cgroup_name.h"
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

/*
 * Length of the well-formed sequence at s, or 0; decodes the code point, unlike the
 * writer.
 */
static size_t sequence(const unsigned char *s, size_t left)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t point;
	size_t n, i;

	if (s[0] < 0x80)
		return 1;
	n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	if (s[0] < 0xc0 || s[0] >= 0xf8 || n > left)
		return 0;
	point = s[0] & (0x7f >> n);
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (s[i] & 0x3f);
	}
	if (point < least[n] || point > 0x10ffff ||
	    (point >= 0xd800 && point <= 0xdfff))
		return 0;
	return n;
}

/* Value of four hex digits. */
static unsigned int hex(const unsigned char *s)
{
	char digits[5] = { 0 };

	memcpy(digits, s, 4);
	check(strspn(digits, "0123456789abcdef") == 4);
	return (unsigned int)strtoul(digits, NULL, 16);
}

/* Decode the JSON string at s and compare it with data. */
static const unsigned char *check_string(const unsigned char *s,
					 const unsigned char *end,
					 const uint8_t *data, size_t size)
{
	size_t i = 0;

	check(s < end && *s++ == '"');
	while (s < end && *s != '"') {
		size_t n = 1;

		check(i < size && *s >= 0x20 && *s != 0x7f);
		if (*s != '\\') {
			n = sequence(s, end - s);
			check(n && n <= size - i && !memcmp(s, data + i, n));
			s += n;
		} else if (s[1] != 'u') {
			check((s[1] == '"' || s[1] == '\\') && s[1] == data[i]);
			s += 2;
		} else {
			unsigned int point;

			check(end - s >= 6);
			point = hex(s + 2);
			if (point == 0xfffd)
				check(!sequence(data + i, size - i));
			else
				check(point == data[i] &&
				      (point < 0x20 || point == 0x7f));
			s += 6;
		}
		i += n;
	}
	check(s < end && i == size);
	return s + 1;
}

/* Write the same text several times, so that the buffer grows. */
static void write_texts(const uint8_t *data, size_t size)
{
	const unsigned char *s, *end;
	struct json_writer w;
	int i;

	estiba_json_init(&w, size);
	for (i = 0; i < 5; i++) {
		estiba_json_text(&w, JSON_LIT("\""), (const char *)data, size);
		estiba_json_number(&w, JSON_KEY("n"), size << (8 * i));
	}
	check(!estiba_json_failed(&w));
	s = (const unsigned char *)w.text;
	end = s + w.len;
	for (i = 0; i < 5; i++) {
		char want[40];
		int len;

		s = check_string(s, end, data, size);
		len = snprintf(want, sizeof(want), ",\"n\":\"%llu\"",
			       (unsigned long long)size << (8 * i));
		check(end - s >= len && !memcmp(s, want, len));
		s += len;
	}
	check(s == end);
	estiba_json_release(&w);
}

/* Ids are plain names, and what is below a container's own cgroup changes nothing. */
static void check_cgroup(const char *path, size_t size)
{
	struct cgroup_match m, outer;
	char *copy;

	if (!estiba_cgroup_match(&m, path, size))
		return;
	check(m.path_len <= size);
	check(!m.pod || (m.pod >= path && m.pod + CGROUP_HEX_ID <= path + m.path_len));
	if (m.helper) {
		check(!m.id_len && !m.pod);
		return;
	}
	check(estiba_is_plain_name(m.id, m.id_len, CGROUP_ID_MAX));
	copy = malloc(m.path_len);
	check(copy != NULL);
	memcpy(copy, path, m.path_len);
	check(estiba_cgroup_match(&outer, copy, m.path_len));
	check(outer.id_len == m.id_len && !memcmp(outer.id, m.id, m.id_len));
	check(outer.path_len == m.path_len && outer.user == m.user &&
	      outer.runtime == m.runtime && outer.by_shim == m.by_shim &&
	      !outer.helper && !outer.pod == !m.pod);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shim_args args;

	if (estiba_shim_args_parse(&args, (const char *)data, size)) {
		check(estiba_is_plain_name(args.id, args.id_len, SHIM_ID_MAX));
		check(!args.namespace_len ||
		      estiba_is_plain_name(args.namespace, args.namespace_len,
				    SHIM_NAMESPACE_MAX));
	}
	check_cgroup((const char *)data, size);
	write_texts(data, size);
	return 0;
}
