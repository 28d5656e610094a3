// SPDX-License-Identifier: GPL-2.0-only
/* See shim_args.h. */
#include "shim_args.h"

#ifdef __KERNEL__
#include <linux/string.h>
#else
#include <string.h>
#endif

struct word {
	const char *s;
	size_t len;
};

static bool word_is(struct word w, const char *s)
{
	return w.len == strlen(s) && memcmp(w.s, s, w.len) == 0;
}

bool estiba_is_plain_name(const char *s, size_t len, size_t max)
{
	size_t i;

	if (len == 0 || len > max)
		return false;
	for (i = 0; i < len; i++) {
		char c = s[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') || c == '_' || c == '.' ||
		      c == '-'))
			return false;
	}
	return true;
}

/*
 * Take the next argument from args. One without a NUL was truncated by the buffer and
 * does not count.
 */
static bool next_word(const char **args, size_t *left, struct word *w)
{
	const char *end = memchr(*args, '\0', *left);

	if (!end)
		return false;
	w->s = *args;
	w->len = end - *args;
	*left -= w->len + 1;
	*args = end + 1;
	return true;
}

enum flag { FLAG_NONE, FLAG_ID, FLAG_NAMESPACE };

/* Which flag w is; value is set to the text after its '=', if there is one. */
static enum flag flag_of(struct word w, struct word *value)
{
	const char *equal;

	value->s = NULL;
	value->len = 0;
	if (w.len < 2 || w.s[0] != '-')
		return FLAG_NONE;
	w.s++;
	w.len--;
	if (w.s[0] == '-') {
		w.s++;
		w.len--;
	}
	equal = memchr(w.s, '=', w.len);
	if (equal) {
		value->s = equal + 1;
		value->len = w.len - (equal + 1 - w.s);
		w.len = equal - w.s;
	}
	if (word_is(w, "id"))
		return FLAG_ID;
	if (word_is(w, "namespace"))
		return FLAG_NAMESPACE;
	return FLAG_NONE;
}

bool estiba_shim_args_parse(struct shim_args *to, const char *args, size_t len)
{
	struct word w, value, id = {}, namespace = {};
	bool action = false;

	to->id_len = 0;
	to->namespace_len = 0;
	if (!next_word(&args, &len, &w))	/* the program's name */
		return false;
	while (next_word(&args, &len, &w)) {
		enum flag flag = flag_of(w, &value);

		action = false;
		if (flag == FLAG_NONE) {
			action = word_is(w, "start") || word_is(w, "delete");
			continue;
		}
		if (!value.s && !next_word(&args, &len, &value))
			return false;
		if (flag == FLAG_ID)
			id = value;
		else
			namespace = value;
	}
	if (action || !estiba_is_plain_name(id.s, id.len, SHIM_ID_MAX))
		return false;
	memcpy(to->id, id.s, id.len);
	to->id_len = id.len;
	if (estiba_is_plain_name(namespace.s, namespace.len, SHIM_NAMESPACE_MAX)) {
		memcpy(to->namespace, namespace.s, namespace.len);
		to->namespace_len = namespace.len;
	}
	return true;
}
