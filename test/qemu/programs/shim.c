// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stands where containerd-shim-runc-v2 stands: takes its arguments (and leaves
 * them alone), becomes subreaper, and starts one container. What it starts comes
 * from the environment, so that the arguments stay those of a real shim:
 *
 *   SHIM_LOAD     arguments of /bin/load, separated by blanks; several loads
 *                 separated by ';' become several children, "none" none
 *   SHIM_CGROUP   file cgroup.procs the container joins
 *   SHIM_HOME     file cgroup.procs the shim itself joins
 *   SHIM_RUNTIME  arguments of one more load, which stays where the shim is, as
 *                 the container's runtime does while it works for the shim
 *   SHIM_UNSHARE  letters: p pid namespace, n network namespace
 *   SHIM_MANY     how many shims to become; the last eight digits of the id
 *                 count them. Says "ready" when all are there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
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

/* Forks so many shims and stays behind, no longer named like one. */
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
	/* Ends when nobody holds the other side any more. */
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
	char *runtime = getenv("SHIM_RUNTIME");
	char *loads = strdup(given ? given : "sleep");
	char *save = NULL, *load;
	const char *many = getenv("SHIM_MANY");
	int flags = 0;

	if (many && argc > 4)
		multiply(atoi(many), argv[4], cgroup);

	if (runtime)
		runtime = strdup(runtime);
	if (home)
		join(home);
	/* A shim inside this one's container starts from nothing. */
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
	for (load = strtok_r(loads, ";", &save); load;
	     load = strtok_r(NULL, ";", &save))
		if (strcmp(load, "none"))
			start(load, cgroup);
	for (;;)
		if (wait(NULL) < 0)
			pause();
}
