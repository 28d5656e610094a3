// SPDX-License-Identifier: GPL-2.0-only
/*
 * reader N: reads /proc/estiba N times while its own kernel allocations fail
 * (/proc/self/make-it-fail). Each time it gets a document that begins and ends as
 * one, or ENOMEM, which has to come at least once: else nothing was tested.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char document[1 << 20];

/* The length of the document, or -errno. */
static ssize_t document_once(void)
{
	size_t length = 0;
	ssize_t n;
	int fd = open("/proc/estiba", O_RDONLY);

	if (fd < 0)
		return -errno;
	while ((n = read(fd, document + length, sizeof(document) - 1 - length)) > 0)
		length += n;
	n = n < 0 ? -errno : (ssize_t)length;
	close(fd);
	return n;
}

static int whole(size_t length)
{
	document[length] = 0;
	return length > 10 && document[0] == '{' && strcmp(document + length - 5, "\n]\n}\n") == 0 &&
	       strstr(document, "\"container_id\":\"fault1\"") &&
	       strstr(document, "\"container_id\":\"fault8\"");
}

int main(int argc, char **argv)
{
	int left = argc > 1 ? atoi(argv[1]) : 100, documents = 0, refused = 0;

	memset(document, 1, sizeof(document)); /* its pages are there before they fail */
	while (left-- > 0) {
		ssize_t n;
		int fd;

		usleep(5000);
		fd = open("/proc/self/make-it-fail", O_WRONLY);
		if (fd < 0 || write(fd, "1", 1) != 1) {
			perror("make-it-fail");
			return 2;
		}
		n = document_once();
		/* Opening it now would fail, too. */
		if (pwrite(fd, "0", 1, 0) != 1) {
			perror("make-it-fail");
			return 2;
		}
		close(fd);
		if (n == -ENOMEM) {
			refused++;
		} else if (n < 0) {
			printf("reader: %s\n", strerror((int)-n));
			return 1;
		} else if (whole((size_t)n)) {
			documents++;
		} else {
			printf("reader: not a document of %zd bytes: %.300s\n", n, document);
			return 1;
		}
	}
	printf("reader: %d documents, %d times ENOMEM\n", documents, refused);
	return refused == 0;
}
