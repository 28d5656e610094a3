// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads /proc/estiba while something goes wrong. Each time it gets a whole
 * document, or the error that is allowed; anything else ends it with status 1.
 *
 *   reader plain N READERS [ID…]   READERS at once, N times each; no error is
 *                                  allowed, and each document has all the ids
 *   reader nth [ID…]               the first allocation of the reader fails, then
 *                                  the second, … until none was left to fail
 *   reader random N [ID…]          N times, while those fail that the knobs of
 *                                  the kernel choose (/proc/self/make-it-fail)
 *   reader out KNOBS STEP [ID…]    memory runs out at once: after no bytes (or
 *                                  pages), after STEP, after two STEPs, … until
 *                                  there was enough of it five times
 *   reader load FILE               the same as nth for loading the module FILE
 *
 * Where memory fails, ENOMEM is allowed, and both it and a document have to come
 * at least once: else nothing was tested. Documents that were read then are left
 * in /out, to be held against the schema.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char path[] = "/proc/estiba";
static char document[1 << 20];
static char **ids;
static int documents, refused;

/* The length of the document, or -errno. */
static ssize_t document_once(void)
{
	size_t length = 0;
	ssize_t n;
	int fd = open(path, O_RDONLY);

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
	char key[200];
	int i;

	document[length] = 0;
	if (length < 10 || document[0] != '{' || strcmp(document + length - 3, "\n}\n"))
		return 0;
	for (i = 0; ids[i]; i++) {
		snprintf(key, sizeof(key), "\"container_id\":\"%s\"", ids[i]);
		if (!strstr(document, key))
			return 0;
	}
	return 1;
}

static void save(const char *why, size_t length)
{
	char name[64];
	FILE *f;

	snprintf(name, sizeof(name), "/out/%s-%d.json", why, documents);
	f = fopen(name, "w");
	if (!f || fwrite(document, 1, length, f) != length || fclose(f)) {
		perror(name);
		exit(2);
	}
}

static void judge(ssize_t n, int may_fail)
{
	if (n == -ENOMEM && may_fail) {
		refused++;
	} else if (n < 0) {
		printf("reader: %s\n", strerror((int)-n));
		exit(1);
	} else if (whole((size_t)n)) {
		documents++;
	} else {
		printf("reader: not a document, %zd bytes: %.300s\n", n, document);
		exit(1);
	}
}

/* Without an allocation of its own: those would fail, too. */
static void put(int fd, int value)
{
	char text[16];
	int i = sizeof(text);

	do
		text[--i] = '0' + value % 10;
	while (value /= 10);
	if (write(fd, text + i, sizeof(text) - i) < 0) {
		perror("fault injection");
		exit(2);
	}
}

static int knob(const char *name)
{
	int fd = open(name, O_RDWR);

	if (fd < 0) {
		perror(name);
		exit(2);
	}
	return fd;
}

static void plain(int times, int readers)
{
	int status, failed = 0, i;

	for (i = 0; i < readers; i++)
		if (fork() == 0) {
			while (times-- > 0)
				judge(document_once(), 0);
			_exit(0);
		}
	while (wait(&status) > 0)
		failed |= status;
	if (failed)
		exit(1);
	documents = times * readers;
}

/* True if there were fewer allocations than the one that had to fail. */
static int none_left(int fd)
{
	char text[16] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) < 0) {
		perror("fail-nth");
		exit(2);
	}
	put(fd, 0);
	return atoi(text) > 0;
}

/*
 * Opens the file and waits until the snapshot is so old that the next one who
 * opens it gets another. Whoever holds one keeps its buffer from being used for
 * that: so all has to be allocated.
 */
static int hold_old(void)
{
	static long longest = 1000;
	struct timespec begin, end;
	long took;
	int held;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	held = open(path, O_RDONLY);
	if (held < 0) {
		perror(path);
		exit(1);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	took = (end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000;
	if (took > longest)
		longest = took;
	usleep(11 * (unsigned int)longest);
	return held;
}

static void nth(void)
{
	int fd = knob("/proc/self/fail-nth"), n = 0, end;
	ssize_t got;

	do {
		int held = hold_old();

		put(fd, ++n);
		got = document_once();
		end = none_left(fd);
		close(held);
		judge(got, 1);
		if (got > 0)
			save("nth", (size_t)got);
	} while (!end);
	printf("reader: %d allocations, each failed once\n", n - 1);
}

static void at_random(int times)
{
	int fd = knob("/proc/self/make-it-fail");
	ssize_t got;

	while (times-- > 0) {
		int held = hold_old();

		put(fd, 1);
		got = document_once();
		put(fd, 0);
		close(held);
		judge(got, 1);
		if (got > 0 && documents % 10 == 0)
			save("random", (size_t)got);
	}
}

static void out(const char *knobs, int step)
{
	int fail = knob("/proc/self/make-it-fail"), space, enough = 0, left = 0;
	char name[100];

	snprintf(name, sizeof(name), "/sys/kernel/debug/%s/space", knobs);
	space = knob(name);
	while (enough < 5) {
		int held = hold_old();
		ssize_t got;

		put(space, left);
		put(fail, 1);
		got = document_once();
		put(fail, 0);
		close(held);
		judge(got, 1);
		enough = got > 0 ? enough + 1 : 0;
		left += step;
	}
	put(space, 0);
	printf("reader: %s ran out after 0 to %d\n", knobs, left);
}

static void load(const char *file)
{
	int fd = knob("/proc/self/fail-nth"), module = open(file, O_RDONLY), n = 0, end;

	if (module < 0) {
		perror(file);
		exit(2);
	}
	do {
		long failed;

		put(fd, ++n);
		failed = syscall(SYS_finit_module, module, "", 0) ? errno : 0;
		end = none_left(fd);
		if (failed) {
			if (failed != ENOMEM) {
				printf("reader: allocation %d: loading says %s\n", n, strerror(failed));
				exit(1);
			}
			if (!access(path, F_OK) || !access("/sys/module/estiba", F_OK)) {
				printf("reader: allocation %d: something of the module is left\n", n);
				exit(1);
			}
			refused++;
			continue;
		}
		judge(document_once(), 0);
		if (syscall(SYS_delete_module, "estiba", 0)) {
			perror("unload");
			exit(1);
		}
	} while (!end);
	printf("reader: %d allocations of loading, each failed once\n", n - 1);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	int words = !strcmp(kind, "plain") || !strcmp(kind, "out") ? 4 : !strcmp(kind, "nth") ? 2 : 3;

	setbuf(stdout, NULL);
	if (argc < words) {
		fprintf(stderr, "reader: see reader.c\n");
		return 2;
	}
	ids = argv + words;
	memset(document, 1, sizeof(document)); /* its pages are there before they fail */
	if (!strcmp(kind, "plain")) {
		plain(atoi(argv[2]), atoi(argv[3]));
		return 0;
	}
	if (!strcmp(kind, "nth"))
		nth();
	else if (!strcmp(kind, "random"))
		at_random(atoi(argv[2]));
	else if (!strcmp(kind, "out"))
		out(argv[2], atoi(argv[3]));
	else if (!strcmp(kind, "load"))
		load(argv[2]);
	else
		return 2;
	printf("reader: %s: %d documents, %d times ENOMEM\n", kind, documents, refused);
	return !documents || !refused;
}
