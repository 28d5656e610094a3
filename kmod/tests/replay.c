// SPDX-License-Identifier: GPL-2.0-only
/* Runs the fuzz target over files, without a fuzzer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	static uint8_t data[1 << 16];
	int i;

	for (i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		size_t size, n;

		if (!f) {
			perror(argv[i]);
			return 1;
		}
		size = fread(data, 1, sizeof(data), f);
		fclose(f);
		/* Every prefix, each in an allocation of exactly its size. */
		for (n = 0; n <= size; n++) {
			uint8_t *copy = malloc(n ? n : 1);

			for (size_t j = 0; j < n; j++)
				copy[j] = data[j];
			LLVMFuzzerTestOneInput(copy, n);
			free(copy);
		}
	}
	printf("PASS: %d files\n", argc - 1);
	return argc > 1 ? 0 : 1;
}
