// SPDX-License-Identifier: GPL-2.0-only
/* See cgroup_name.h. */
#include "cgroup_name.h"
#include "shim_args.h"

#ifdef __KERNEL__
#include <linux/kernel.h>
#include <linux/string.h>
#else
#include <string.h>
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#endif

/* Longest name in a path (NAME_MAX). */
#define COMPONENT_MAX 255

struct text {
	const char *s;
	size_t len;
};

#define TEXT(literal) ((struct text){ literal, sizeof(literal) - 1 })

enum id_kind { CGROUP_HEX, CGROUP_NAME };

enum name_flags {
	CGROUP_ANY = 1,		/* anything may precede "before", and something must */
	CGROUP_BY_SHIM = 2,
	CGROUP_HELPER = 4,
	CGROUP_INNER = 8,	/* the container is in a child named payload */
};

/*
 * One form of the names that runtimes give to cgroups: before, id, after. In before and
 * after, systemd may have written a hyphen as \x2d.
 */
struct cgroup_name {
	const char *runtime;
	struct text parent;	/* name of the cgroup above; empty: any */
	struct text before;
	struct text after;
	enum id_kind kind;
	unsigned int flags;
};

#define CGROUP(runtime_, parent_, before_, kind_, after_, flags_)		\
	{ .runtime = runtime_,							\
	  .parent = { parent_, sizeof(parent_) - 1 },				\
	  .before = { before_, sizeof(before_) - 1 },				\
	  .after = { after_, sizeof(after_) - 1 },				\
	  .kind = kind_, .flags = flags_ }

#include "cgroup_names.h"

static bool is(struct text a, struct text b)
{
	return a.len == b.len && !memcmp(a.s, b.s, a.len);
}

static bool begins_with(struct text a, struct text b)
{
	return a.len >= b.len && !memcmp(a.s, b.s, b.len);
}

static bool ends_with(struct text a, struct text b)
{
	return a.len >= b.len && !memcmp(a.s + a.len - b.len, b.s, b.len);
}

/* Cut prefix and suffix off; false, and no change, if a lacks one of them. */
static bool cut(struct text *a, struct text prefix, struct text suffix)
{
	if (a->len < prefix.len + suffix.len || !begins_with(*a, prefix) ||
	    !ends_with(*a, suffix))
		return false;
	a->s += prefix.len;
	a->len -= prefix.len + suffix.len;
	return true;
}

static bool is_hex_id(const char *s)
{
	size_t i;

	for (i = 0; i < CGROUP_HEX_ID; i++)
		if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
			return false;
	return true;
}

/* Undo systemd's escaping of hyphens; to has room for as many bytes. */
static struct text unescape(struct text name, char *to)
{
	struct text escape = TEXT("\\x2d"), out = { to, 0 };

	while (name.len) {
		size_t taken = begins_with(name, escape) ? escape.len : 1;

		to[out.len++] = taken > 1 ? '-' : *name.s;
		name.s += taken;
		name.len -= taken;
	}
	return out;
}

/*
 * Does name, which is that of a child of parent, have this form? Plain is name without
 * escapes; the id is in one of the two.
 */
static bool has_form(const struct cgroup_name *n, struct text parent, struct text name,
		     struct text plain, struct text *id)
{
	struct text before = plain;
	size_t escapes;

	if (n->parent.len && !is(n->parent, parent))
		return false;
	if (n->kind == CGROUP_NAME) {
		*id = plain;
		return cut(id, n->before, n->after) &&
		       estiba_is_plain_name(id->s, id->len, CGROUP_ID_MAX);
	}
	/* The id is not escaped, nor what follows it: neither has a hyphen. */
	if (name.len < CGROUP_HEX_ID + n->after.len || !ends_with(name, n->after))
		return false;
	id->len = CGROUP_HEX_ID;
	id->s = name.s + name.len - n->after.len - CGROUP_HEX_ID;
	if (!is_hex_id(id->s))
		return false;
	escapes = name.len - plain.len;
	before.len = id->s - name.s - escapes;
	if (n->flags & CGROUP_ANY)
		return before.len > n->before.len && ends_with(before, n->before);
	return is(before, n->before);
}

/* The user of a cgroup that systemd makes for one: user-1000.slice, user@1000.service. */
static u32 user_of(struct text name)
{
	unsigned long long user = 0;

	if (!cut(&name, TEXT("user-"), TEXT(".slice")) &&
	    !cut(&name, TEXT("user@"), TEXT(".service")))
		return 0;
	for (; name.len; name.s++, name.len--) {
		if (*name.s < '0' || *name.s > '9')
			return 0;
		user = 10 * user + (*name.s - '0');
		if (user > 0xffffffffU)
			return 0;
	}
	return user;
}

/*
 * The id of a Podman pod: [PARENT-]libpod_pod_ID[.slice], or libpod_parent/ID without
 * systemd; or NULL.
 */
static const char *pod_of(struct text parent, struct text name)
{
	struct text word = TEXT("libpod_pod_");
	size_t i;

	if (name.len == CGROUP_HEX_ID && is(parent, TEXT("libpod_parent")) && is_hex_id(name.s))
		return name.s;
	cut(&name, TEXT(""), TEXT(".slice"));
	for (i = 0; i + word.len + CGROUP_HEX_ID <= name.len; i++)
		if (!memcmp(name.s + i, word.s, word.len))
			break;
	if (i + word.len + CGROUP_HEX_ID != name.len || (i && name.s[i - 1] != '-'))
		return NULL;
	return is_hex_id(name.s + i + word.len) ? name.s + i + word.len : NULL;
}

/* A container of this form, in the cgroup whose path ends where rest begins. */
static void found(struct cgroup_match *m, const struct cgroup_name *n, struct text id,
		  struct text rest)
{
	struct text child = rest;
	size_t i;

	m->runtime = n->runtime[0] ? n->runtime : NULL;
	m->by_shim = n->flags & CGROUP_BY_SHIM;
	m->helper = n->flags & CGROUP_HELPER;
	if ((n->flags & CGROUP_INNER) && cut(&child, TEXT("/"), TEXT(""))) {
		for (i = 0; i < child.len && child.s[i] != '/'; i++)
			;
		child.len = i;
		if (is(child, TEXT("payload")))
			m->path_len += sizeof("/payload") - 1;
		m->helper |= is(child, TEXT("supervisor"));
	}
	if (m->helper) {
		m->pod = NULL;
		return;
	}
	memcpy(m->id, id.s, id.len);
	m->id_len = id.len;
}

/* Try all forms on one name. */
static bool match_name(struct cgroup_match *m, struct text parent, struct text name,
		       struct text rest)
{
	char buf[COMPONENT_MAX];
	struct text plain, id;
	size_t i;

	if (!name.len || name.len > sizeof(buf))
		return false;
	plain = unescape(name, buf);
	for (i = 0; i < ARRAY_SIZE(cgroup_names); i++) {
		if (!has_form(&cgroup_names[i], parent, name, plain, &id))
			continue;
		found(m, &cgroup_names[i], id, rest);
		return true;
	}
	return false;
}

bool estiba_cgroup_match(struct cgroup_match *m, const char *path, size_t len)
{
	struct text parent = { path, 0 };
	size_t from, to;

	memset(m, 0, sizeof(*m));
	for (from = 0; from < len; from = to + 1) {
		struct text name = { path + from, 0 };
		const char *pod;

		for (to = from; to < len && path[to] != '/'; to++)
			;
		name.len = to - from;
		if (!m->user)
			m->user = user_of(name);
		pod = pod_of(parent, name);
		if (pod)
			m->pod = pod;
		m->path_len = to;
		/* A pod is no container. */
		if (!pod && match_name(m, parent, name, (struct text){ path + to, len - to }))
			return true;
		if (name.len)
			parent = name;
	}
	return false;
}
