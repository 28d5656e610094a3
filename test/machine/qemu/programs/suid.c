// SPDX-License-Identifier: GPL-2.0-only
/*
 * A setuid program, like sudo. It has a child in a new pid namespace, like the shim of a
 * container.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(void)
{
	if (setresuid(0, 0, 0)) {
		perror("suid: setresuid");
		return 1;
	}
	if (unshare(CLONE_NEWPID)) {
		perror("suid: unshare");
		return 1;
	}
	switch (fork()) {
	case -1:
		perror("suid: fork");
		return 1;
	case 0:
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	for (;;)
		pause();
}
