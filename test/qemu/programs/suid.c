// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stands where programs stand that anybody may start and that become root, as
 * sudo does before it asks for the password.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	if (setresuid(0, 0, 0)) {
		perror("suid");
		return 1;
	}
	for (;;)
		pause();
}
