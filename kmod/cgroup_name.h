/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Finds the container in the path of a cgroup, by the names that runtimes use. Also
 * builds in user space, for tests and a fuzzer: users choose the names of cgroups.
 */
#ifndef ESTIBA_CGROUP_NAME_H
#define ESTIBA_CGROUP_NAME_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef uint32_t u32;
#endif

/* Length of a hexadecimal id, and of the longest name of a system container. */
#define CGROUP_HEX_ID 64
#define CGROUP_ID_MAX 128

/* What the path of a cgroup reveals about its processes. */
struct cgroup_match {
	const char *runtime;	/* NULL: any of containerd's kind */
	char id[CGROUP_ID_MAX];
	size_t id_len;
	size_t path_len;	/* bytes of the path that are the container's own one */
	const char *pod;	/* in the path: id of CGROUP_HEX_ID bytes; or NULL */
	u32 user;		/* owner of a rootless container; 0: root */
	bool by_shim;		/* counts only for processes of a shim */
	bool helper;		/* the processes are the runtime's; there is no id */
};

/**
 * estiba_cgroup_match() - Find the container that a cgroup belongs to.
 * @m: the result
 * @path: below the root of a hierarchy
 * @len: bytes of @path
 *
 * The outermost name that a runtime made decides: names below it are chosen inside the
 * container. Names longer than 255 bytes, the limit of file systems, are none.
 *
 * Return: whether there is one.
 */
bool estiba_cgroup_match(struct cgroup_match *m, const char *path, size_t len);

#endif
