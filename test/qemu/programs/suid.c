// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stands where programs stand that anybody may start and that become root, as
 * sudo does. It has a child in a pid namespace of its own, as a shim that is
 * listed has.
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
