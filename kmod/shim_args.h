/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Parses the arguments of a containerd shim. Also builds in user space, for tests
 * and a fuzzer: the arguments are untrusted bytes.
 */
#ifndef ESTIBA_SHIM_ARGS_H
#define ESTIBA_SHIM_ARGS_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#endif

/* containerd allows 76 characters; other callers of the shim may allow more. */
#define SHIM_ID_MAX 128
#define SHIM_NAMESPACE_MAX 128

struct shim_args {
	char id[SHIM_ID_MAX];
	size_t id_len;
	char namespace[SHIM_NAMESPACE_MAX];
	size_t namespace_len;	/* 0: missing, or not a plain name */
};

/**
 * estiba_shim_args_parse() - Parse the arguments of a shim.
 * @to: the result
 * @args: NUL-terminated arguments, as in the memory of the process
 * @len: bytes of @args
 *
 * The id is the value of -id or --id (also -id=ID), made of A-Z a-z 0-9 _ . - only.
 * As with Go's flag package, the last occurrence wins. A shim whose last argument
 * is start or delete is a short-lived helper, not that of a running container.
 *
 * Return: whether this is the shim of a running container.
 */
bool estiba_shim_args_parse(struct shim_args *to, const char *args, size_t len);

/* estiba_is_plain_name() - Is s 1 to max characters of A-Z a-z 0-9 _ . - only? */
bool estiba_is_plain_name(const char *s, size_t len, size_t max);

#endif
