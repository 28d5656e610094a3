// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints the frequency of this machine's time stamp counter, in kHz. A QEMU guest has the
 * same counter, and without ACPI no other clock finer than its tick to calibrate it.
 */
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int main(void)
{
	struct timespec nap = { .tv_nsec = 500000000 };
	unsigned long long begin = __rdtsc();
	double at = now_ms();

	nanosleep(&nap, NULL);
	printf("%.0f\n", (double)(__rdtsc() - begin) / (now_ms() - at));
	return 0;
}
