// SPDX-License-Identifier: GPL-2.0-only
/*
 * Replaces containerd-shim-runc-v2: has the same arguments (which it ignores), becomes a
 * subreaper, and starts one container. Environment variables configure it, so that the
 * arguments are those of a real shim:
 *
 *   SHIM_LOAD     arguments of /bin/load, separated by blanks; several loads,
 *                 separated by ';', become several children; "none" starts none
 *   SHIM_CGROUP   file cgroup.procs that the container joins; several, separated
 *                 by ';', are those of the loads in turn, the last one of the rest
 *   SHIM_HOME     file cgroup.procs that the shim joins
 *   SHIM_RUNTIME  arguments of another load, which stays in the shim's cgroup, like
 *                 the runtime that a shim calls
 *   SHIM_NOCAPS   drops all capabilities
 *   SHIM_UNSHARE  letters: p pid namespace, n network namespace
 *   SHIM_NETWORK  file of the network namespace to join
 *   SHIM_MANY     number of shims to become; the last eight digits of the id are
 *                 their number. Prints "ready" when all have started.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
	fprintf(stderr, "shim: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static void join(const char *procs)
{
	int fd = open(procs, O_WRONLY);

	if (fd < 0 || write(fd, "0", 1) != 1)
		die(procs);
	close(fd);
}

static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = {};

	if (syscall(SYS_capset, &header, none))
		die("capset");
}

static void start(char *load, const char *cgroup)
{
	char *argv[16] = { "load" };
	int n = 1;
	char *save = NULL, *word;
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child)
		return;
	if (cgroup)
		join(cgroup);
	for (word = strtok_r(load, " ", &save); word && n < 15;
	     word = strtok_r(NULL, " ", &save))
		argv[n++] = word;
	execv("/bin/load", argv);
	die("exec /bin/load");
}

/* Fork this number of shims; the parent is no longer named like one. */
static void multiply(int many, char *id, const char *cgroup)
{
	int ready[2];
	char c;

	if (pipe(ready))
		die("pipe");
	for (int i = 0; i < many; i++) {
		char digits[16];
		pid_t child = fork();

		if (child < 0)
			die("fork");
		if (child)
			continue;
		close(ready[0]);
		snprintf(digits, sizeof(digits), "%08d", i);
		memcpy(id + strlen(id) - 8, digits, 8);
		if (prctl(PR_SET_CHILD_SUBREAPER, 1))
			die("subreaper");
		child = fork();
		if (child < 0)
			die("fork");
		if (child == 0) {
			if (cgroup)
				join(cgroup);
			prctl(PR_SET_NAME, "load");
		}
		close(ready[1]);
		for (;;)
			pause();
	}
	close(ready[1]);
	prctl(PR_SET_NAME, "many");
	/* Returns when no process has the other end open. */
	if (read(ready[0], &c, 1) != 0)
		die("pipe");
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	const char *names = getenv("SHIM_UNSHARE");
	const char *cgroup = getenv("SHIM_CGROUP");
	const char *given = getenv("SHIM_LOAD");
	const char *home = getenv("SHIM_HOME");
	const char *network = getenv("SHIM_NETWORK");
	char *runtime = getenv("SHIM_RUNTIME");
	char *loads = strdup(given ? given : "sleep");
	char *groups = cgroup ? strdup(cgroup) : NULL;
	char *save = NULL, *save_groups = NULL, *load, *group = NULL;
	const int nocaps = !!getenv("SHIM_NOCAPS");
	const char *many = getenv("SHIM_MANY");
	int flags = 0;

	if (many && argc > 4)
		multiply(atoi(many), argv[4], cgroup);

	if (runtime)
		runtime = strdup(runtime);
	if (home)
		join(home);
	/* A nested shim must not inherit the configuration. */
	clearenv();
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		die("subreaper");
	if (runtime)
		start(runtime, NULL);
	if (names && strchr(names, 'p'))
		flags |= CLONE_NEWPID;
	if (names && strchr(names, 'n'))
		flags |= CLONE_NEWNET;
	if (flags && unshare(flags))
		die("unshare");
	if (network && setns(open(network, O_RDONLY), CLONE_NEWNET))
		die(network);
	if (groups)
		group = strtok_r(groups, ";", &save_groups);
	for (load = strtok_r(loads, ";", &save); load;
	     load = strtok_r(NULL, ";", &save)) {
		char *next;

		if (strcmp(load, "none"))
			start(load, group);
		next = group ? strtok_r(NULL, ";", &save_groups) : NULL;
		if (next)
			group = next;
	}
	if (nocaps)
		drop_capabilities();
	for (;;)
		if (wait(NULL) < 0)
			pause();
}
