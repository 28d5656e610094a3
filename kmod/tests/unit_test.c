// SPDX-License-Identifier: GPL-2.0-only
/* User-space tests of json_writer, shim_args, cgroup_name and counter. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cgroup_name.h"
#include "../counter.h"
#include "../json_writer.h"
#include "../shim_args.h"

static int failures;
static long allocations_left = -1;	/* -1: no limit */

char *json_test_alloc(size_t size)
{
	if (allocations_left == 0)
		return NULL;
	if (allocations_left > 0)
		allocations_left--;
	return malloc(size);
}

#define CHECK(ok, ...)							\
	do {								\
		if (!(ok)) {						\
			failures++;					\
			printf("%s:%d: ", __FILE__, __LINE__);		\
			printf(__VA_ARGS__);				\
			printf("\n");					\
		}							\
	} while (0)

static void check_text(const char *bytes, size_t len, const char *want)
{
	struct json_writer w;

	estiba_json_init(&w, 0);
	estiba_json_text(&w, JSON_LIT("\""), bytes, len);
	CHECK(!estiba_json_failed(&w), "failed");
	CHECK(w.len == strlen(want) && !memcmp(w.text, want, w.len),
	      "got %.*s, want %s", (int)w.len, w.text, want);
	estiba_json_release(&w);
}

static void test_text(void)
{
	static const struct {
		const char *bytes;
		const char *want;
	} cases[] = {
		{ "", "\"\"" },
		{ "plain", "\"plain\"" },
		{ "\"\\/", "\"\\\"\\\\/\"" },
		{ "\x01\n\x1f\x7f", "\"\\u0001\\u000a\\u001f\\u007f\"" },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
		  "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
		{ "\xc3", "\"\\ufffd\"" },			/* truncated */
		{ "\xe2\x82", "\"\\ufffd\\ufffd\"" },
		{ "\xf0\x9f\x98", "\"\\ufffd\\ufffd\\ufffd\"" },
		{ "\xc0\xaf", "\"\\ufffd\\ufffd\"" },		/* overlong */
		{ "\xe0\x80\xaf", "\"\\ufffd\\ufffd\\ufffd\"" },
		{ "\xf0\x80\x80\xaf", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
		{ "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"" },	/* surrogate */
		{ "\xed\x9f\xbf", "\"\xed\x9f\xbf\"" },
		{ "\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\"" },
		{ "\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
		{ "\xf5\x80\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
		{ "\xff\xfe", "\"\\ufffd\\ufffd\"" },
		{ "a\x80" "b", "\"a\\ufffd" "b\"" },
		{ "\xc3(", "\"\\ufffd(\"" },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* An exact copy, so that one byte too far is out of bounds. */
		size_t len = strlen(cases[i].bytes);
		char *copy = malloc(len ? len : 1);

		memcpy(copy, cases[i].bytes, len);
		check_text(copy, len, cases[i].want);
		free(copy);
	}
	check_text("a\0b", 3, "\"a\\u0000b\"");
}

/* Each byte, and each pair of a lead byte and any byte, becomes printable JSON. */
static void test_all_bytes(void)
{
	int a, b;

	for (a = 0; a < 256; a++) {
		for (b = 0; b < 256; b++) {
			struct json_writer w;
			char pair[2] = { (char)a, (char)b };
			size_t i;

			estiba_json_init(&w, 0);
			estiba_json_text(&w, JSON_LIT(""), pair, 2);
			for (i = 0; i + 1 < w.len; i++) {
				unsigned char c = w.text[i];

				CHECK(c >= 0x20 && c != 0x7f,
				      "raw %02x out of %02x %02x", c, a, b);
				CHECK(c != '"' || (i && w.text[i - 1] == '\\'),
				      "bare quote out of %02x %02x", a, b);
			}
			estiba_json_release(&w);
		}
	}
}

/* A byte that needs an escape is found at any position among plain ones. */
static void test_eights(void)
{
	char text[27], want[64];
	int b, at, i;

	for (b = 0; b < 256; b++) {
		for (at = 0; at < 26; at++) {
			struct json_writer w;
			char *to = want;

			memset(text, b & 1 ? '#' : '!', 26);
			text[at] = (char)b;
			for (i = 0; i < 26; i++) {
				unsigned char c = text[i];

				if (c == '"' || c == '\\')
					to += sprintf(to, "\\%c", c);
				else if (c < 0x20 || c == 0x7f)
					to += sprintf(to, "\\u%04x", c);
				else if (c >= 0x80)
					to += sprintf(to, "\\ufffd");
				else
					*to++ = c;
			}
			*to++ = '"';
			estiba_json_init(&w, 0);
			estiba_json_text(&w, JSON_LIT(""), text, 26);
			CHECK(w.len == (size_t)(to - want) &&
			      !memcmp(w.text, want, w.len),
			      "byte %02x at %d: %.*s", b, at, (int)w.len, w.text);
			estiba_json_release(&w);
		}
	}
}

static void check_number(u64 value)
{
	char want[64];
	struct json_writer w;

	estiba_json_init(&w, 0);
	estiba_json_number(&w, JSON_KEY("n"), value);
	snprintf(want, sizeof(want), ",\"n\":\"%llu\"", (unsigned long long)value);
	CHECK(w.len == strlen(want) && !memcmp(w.text, want, w.len),
	      "got %.*s, want %s", (int)w.len, w.text, want);
	w.len = 0;
	estiba_json_hundredths(&w, JSON_FIRST("n"), value);
	snprintf(want, sizeof(want), "\"n\":\"%llu.%02llu\"",
		 (unsigned long long)(value / 100),
		 (unsigned long long)(value % 100));
	CHECK(w.len == strlen(want) && !memcmp(w.text, want, w.len),
	      "got %.*s, want %s", (int)w.len, w.text, want);
	estiba_json_release(&w);
}

static void test_numbers(void)
{
	u64 power = 1;
	u64 value;
	int i;

	for (value = 0; value < 20000; value++)
		check_number(value);
	for (i = 0; i < 20; i++, power *= 10) {
		check_number(power - 1);
		check_number(power);
		check_number(power + 1);
	}
	check_number(~(u64)0);
}

/* Whichever allocation fails, the writer reports it and stays within its buffer. */
static void test_no_memory(void)
{
	long n;

	for (n = 0; n < 8; n++) {
		struct json_writer w;
		int i;

		allocations_left = n;
		estiba_json_init(&w, 1);
		for (i = 0; i < 20000; i++) {
			estiba_json_number(&w, JSON_KEY("number"), i);
			estiba_json_text(&w, JSON_KEY("text"), "\xff\xff", 2);
			estiba_json_hundredths(&w, JSON_KEY("percent"), i);
			estiba_json_raw(&w, JSON_LIT("}"));
		}
		CHECK(estiba_json_failed(&w), "succeeded with %ld allocations", n);
		CHECK(w.len <= w.cap, "wrote past the end");
		estiba_json_release(&w);
		estiba_json_release(&w);
	}
	allocations_left = -1;
}

static void test_growth(void)
{
	struct json_writer w;
	int i;

	estiba_json_init(&w, 0);
	for (i = 0; i < 100000; i++)
		estiba_json_raw(&w, "0123456789", 10);
	CHECK(!estiba_json_failed(&w) && w.len == 1000000, "%zu bytes", w.len);
	for (i = 0; i < 1000000; i++)
		if (w.text[i] != '0' + i % 10)
			break;
	CHECK(i == 1000000, "wrong at %d", i);
	estiba_json_release(&w);
}

/* The buffer grows for the escaped form, at any position. */
static void test_text_growth(void)
{
	char hostile[300];
	size_t len;

	memset(hostile, 0xff, sizeof(hostile));
	for (len = 0; len <= sizeof(hostile); len++) {
		struct json_writer w;

		estiba_json_init(&w, 0);
		estiba_json_text(&w, JSON_LIT("\""), hostile, len);
		estiba_json_text(&w, JSON_LIT(",\""), hostile, len);
		CHECK(w.len == 2 * (6 * len + 2) + 1, "%zu bytes", w.len);
		estiba_json_release(&w);
	}
}

static void check_args(const char *args, size_t len, const char *id,
		       const char *namespace)
{
	struct shim_args got;
	char *copy = malloc(len ? len : 1);
	bool ok;

	memcpy(copy, args, len);
	ok = estiba_shim_args_parse(&got, copy, len);
	free(copy);
	CHECK(ok == (id != NULL), "%s: %d", args, ok);
	if (!ok || !id)
		return;
	CHECK(got.id_len == strlen(id) && !memcmp(got.id, id, got.id_len),
	      "id %.*s, want %s", (int)got.id_len, got.id, id);
	CHECK(got.namespace_len == strlen(namespace) &&
	      !memcmp(got.namespace, namespace, got.namespace_len),
	      "namespace %.*s, want %s", (int)got.namespace_len, got.namespace,
	      namespace);
}

#define ARGS(s) s, sizeof(s)

static void test_args(void)
{
	char longest[200] = "shim\0-id";

	check_args(ARGS("shim\0-namespace\0moby\0-id\0abc\0-address\0/run/x"), "abc", "moby");
	check_args(ARGS("shim\0--namespace\0k8s.io\0--id\0abc"), "abc", "k8s.io");
	check_args(ARGS("shim\0-id=abc\0--namespace=x"), "abc", "x");
	check_args(ARGS("shim\0-id\0abc"), "abc", "");
	check_args(ARGS("shim\0-id\0one\0-id\0two"), "two", "");
	check_args(ARGS("shim\0-id\0A-z_0.9"), "A-z_0.9", "");
	check_args(ARGS("shim\0-id\0abc\0start"), NULL, NULL);
	check_args(ARGS("shim\0-id\0abc\0delete"), NULL, NULL);
	check_args(ARGS("shim\0-id\0start"), "start", "");
	check_args(ARGS("shim\0start\0-id\0abc"), "abc", "");
	check_args(ARGS("shim\0-namespace\0a/b\0-id\0abc"), "abc", "");
	check_args(ARGS("shim\0-namespace\0\0-id\0abc"), "abc", "");
	check_args(ARGS("shim\0-id\0a/b"), NULL, NULL);
	check_args(ARGS("shim\0-id\0a b"), NULL, NULL);
	check_args(ARGS("shim\0-id\0"), NULL, NULL);
	check_args(ARGS("shim\0-id="), NULL, NULL);
	check_args(ARGS("shim\0-id"), NULL, NULL);
	check_args(ARGS("shim\0-identity\0abc"), NULL, NULL);
	check_args(ARGS("shim\0id\0abc"), NULL, NULL);
	check_args(ARGS("shim\0---id\0abc"), NULL, NULL);
	check_args(ARGS("shim"), NULL, NULL);
	check_args("", 0, NULL, NULL);
	check_args("shim\0-id\0ab", 11, NULL, NULL);	/* truncated: unknown end */
	check_args("\0\0\0\0", 4, NULL, NULL);
	check_args(ARGS("\0-id\0abc"), "abc", "");	/* empty program name */

	memset(longest + 9, 'x', SHIM_ID_MAX + 1);
	check_args(longest, 9 + SHIM_ID_MAX + 2, NULL, NULL);
	longest[9 + SHIM_ID_MAX] = '\0';
	check_args(longest, 9 + SHIM_ID_MAX + 1, longest + 9, "");
}

static void test_counter(void)
{
	const u64 s = COUNTER_RESET_NS;
	struct counter c = { 0 };

	CHECK(counter_feed(&c, 100, 1 * s) == 100, "first");
	CHECK(counter_feed(&c, 90, 2 * s) == 100, "a dip keeps the last value");
	CHECK(counter_feed(&c, 110, 9 * s) == 110, "a dip has no later effect");
	CHECK(counter_feed(&c, 10, 10 * s) == 110, "a reset keeps the last value");
	CHECK(counter_feed(&c, 20, 10 * s + 1) == 110, "for a second");
	CHECK(counter_feed(&c, 30, 11 * s) == 110, "then the base changes");
	CHECK(counter_feed(&c, 35, 12 * s) == 115, "growth is added to the last value");
	counter_rebase(&c, 1000);
	CHECK(counter_feed(&c, 1001, 13 * s) == 116, "another source: no jump");
	CHECK(!((struct counter){ 0 }).known, "unknown at first");
}

static void test_percent(void)
{
	const u64 year = 365ULL * 86400 * 1000000000;

	CHECK(busy_hundredths(0, 1, 1) == 0, "idle");
	CHECK(busy_hundredths(5, 10, 8) == 5000, "half a CPU");
	CHECK(busy_hundredths(30, 10, 2) == 20000, "at most two CPUs");
	CHECK(busy_hundredths(year, year, 1) == 10000, "a year");
	/* Where length * cpus overflows: exact to a hundredth. */
	CHECK(busy_hundredths(4 * year, 8 * year, 4096) - 4999 <= 1, "long on many CPUs");
	CHECK(busy_hundredths(~0ULL, ~0ULL, 64) - 9999 <= 1, "longest");
}

static void test_split(void)
{
	static const u64 feeds[][3] = {
		/* total, user, system */
		{ 5, 0, 0 }, { 100, 0, 0 }, { 200, 3, 0 }, { 300, 3, 9 },
		{ 400, 300, 9 }, { 400, 0, 9 }, { 500, 0, 900 },
		{ 10000000000000000ULL, 77, 33 },
		{ 18000000000000000000ULL, 9000000000000000000ULL, 9000000000000000000ULL },
		{ ~0ULL, ~0ULL, ~0ULL },
	};
	struct cpu_split s = { 0, 0 };
	size_t i;

	for (i = 0; i < sizeof(feeds) / sizeof(feeds[0]); i++) {
		struct cpu_split before = s;

		cpu_split_feed(&s, feeds[i][0], feeds[i][1], feeds[i][2]);
		CHECK(s.user >= before.user && s.system >= before.system,
		      "feed %zu fell", i);
		CHECK(s.user + s.system == feeds[i][0],
		      "feed %zu: %llu + %llu", i, (unsigned long long)s.user,
		      (unsigned long long)s.system);
	}
	CHECK(scale_part(1, 100, 3) == 33, "a third");
	CHECK(scale_part(0, 100, 0) == 0, "of nothing");
	CHECK(scale_part(1ULL << 62, 1ULL << 62, 1ULL << 63) == 1ULL << 61, "large half");
}

/* Write what the path of a cgroup reveals, as in a line of the cases. */
static void describe(char *to, size_t size, const char *path)
{
	struct cgroup_match m;
	const char *mark = "";

	if (!estiba_cgroup_match(&m, path, strlen(path))) {
		snprintf(to, size, "none\t-\t-\t0\t-");
		return;
	}
	if (m.helper)
		mark = "!";
	else if (m.by_shim)
		mark = "?";
	snprintf(to, size, "%s%s\t%.*s\t%.*s\t%u\t%.*s", m.runtime ? m.runtime : "",
		 mark, m.id_len ? (int)m.id_len : 1, m.id_len ? m.id : "-",
		 m.helper ? 1 : (int)m.path_len, m.helper ? "-" : path, m.user,
		 m.pod ? CGROUP_HEX_ID : 1, m.pod ? m.pod : "-");
}

/* The cases that the tests of the Go programs read, too. */
static void test_cgroups(const char *file)
{
	FILE *f = fopen(file, "r");
	char line[4096], got[4096];
	int n = 0, cases = 0;

	if (!f) {
		perror(file);
		failures++;
		return;
	}
	while (fgets(line, sizeof(line), f)) {
		char *want;

		n++;
		line[strcspn(line, "\n")] = '\0';
		want = strchr(line, '\t');
		if (line[0] == '#' || !want)
			continue;
		*want++ = '\0';
		describe(got, sizeof(got), line);
		CHECK(!strcmp(got, want), "%s:%d: %s\n got %s\nwant %s", file, n, line,
		      got, want);
		cases++;
	}
	fclose(f);
	CHECK(cases >= 50, "%s: %d cases", file, cases);
}

static void test_cgroup_limits(void)
{
	const char scope[] = ".scope";
	char path[1 + 255 + 1 + 1] = "/";
	struct cgroup_match m;

	/* SLICE-ID.scope of 255 bytes, the longest name; then one longer. */
	memset(path + 1, 'a', 256);
	memcpy(path + 256 - 6, scope, 6);
	path[256 - 6 - 65] = '-';
	CHECK(estiba_cgroup_match(&m, path, 256) && m.by_shim && m.id_len == 64, "longest name");
	memset(path + 1, 'a', 256);
	memcpy(path + 257 - 6, scope, 6);
	path[257 - 6 - 65] = '-';
	CHECK(!estiba_cgroup_match(&m, path, 257), "too long a name");
	CHECK(!estiba_cgroup_match(&m, "/user-user@5.service/lxc", 24) && !m.user,
	      "one form of a user in another");
}

int main(int argc, char **argv)
{
	test_text();
	test_all_bytes();
	test_eights();
	test_numbers();
	test_no_memory();
	test_growth();
	test_text_growth();
	test_args();
	test_cgroups(argc > 1 ? argv[1] : "cgroups.txt");
	test_cgroup_limits();
	test_counter();
	test_percent();
	test_split();
	printf("%s\n", failures ? "FAIL" : "PASS");
	return failures ? 1 : 0;
}
