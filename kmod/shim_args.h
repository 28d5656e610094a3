/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a containerd shim was started for, read out of its arguments. Builds in
 * the kernel and, for its tests, in user space: the arguments are bytes that
 * the shim chose.
 */
#ifndef ESTIBA_SHIM_ARGS_H
#define ESTIBA_SHIM_ARGS_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#endif

/* containerd allows 76 characters; other users of its shim may allow more. */
#define SHIM_ID_MAX 128
#define SHIM_NAMESPACE_MAX 128

struct shim_args {
	char id[SHIM_ID_MAX];
	size_t id_len;
	char namespace[SHIM_NAMESPACE_MAX];
	size_t namespace_len;	/* 0: not given, or not a plain name */
};

/*
 * shim_args_parse - reads args, len bytes as they lie in the memory of the
 * process: each argument ends with a NUL. True if this is the shim of a running
 * container: -id or --id (also -id=ID) names it by A-Z a-z 0-9 _ . - alone, and
 * the last argument is not one of the short-lived actions start and delete. As
 * with Go's flags the last of several counts.
 */
bool shim_args_parse(struct shim_args *to, const char *args, size_t len);

/* is_plain_name - 1 to max characters of A-Z a-z 0-9 _ . - and nothing else. */
bool is_plain_name(const char *s, size_t len, size_t max);

#endif
