// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads /proc/estiba under fault injection. Each read must return a complete document or
 * an allowed error; otherwise it exits with status 1.
 *
 *   reader WHO plain N READERS [ID…]  READERS processes read N times each; no error is
 *                              allowed, and each document must have all ids
 *   reader WHO nth [ID…]       the first allocation fails, then the second, … until all
 *                              have failed once
 *   reader WHO random N [ID…]  N times, with allocations failing at random
 *                              (/proc/PID/make-it-fail)
 *   reader WHO out KNOBS STEP [ID…]  memory runs out: after 0 bytes (or pages), after
 *                              STEP, after two STEPs, … until five reads in a row
 *                              return a new document
 *   reader WHO load FILE       like nth, for loading the module FILE
 *
 * WHO is the process whose allocations fail: "reader", this program, or "worker", the
 * module's thread.
 *
 * With failing allocations ENOMEM is allowed, and both ENOMEM and a document must occur at
 * least once, as otherwise nothing was tested. The documents are saved to /out, to be
 * validated against the schema.
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
static int documents, refused, worker;

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

/* Must not allocate memory, as that would fail, too. */
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

/* A file in the /proc directory of the process whose allocations fail. */
static int knob_of_task(const char *name)
{
	char path[100], comm[32];
	int pid;

	if (!worker) {
		snprintf(path, sizeof(path), "/proc/self/%s", name);
		return knob(path);
	}
	for (pid = 1; pid < 100000; pid++) {
		int fd, n;

		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		n = read(fd, comm, sizeof(comm));
		close(fd);
		if (n != 7 || memcmp(comm, "estiba\n", 7))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
		return knob(path);
	}
	fprintf(stderr, "reader: no thread of the module found\n");
	exit(2);
}

/* True if fewer allocations happened than the number of the one that should fail. */
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

static long before;

static long sequence(size_t length)
{
	const char *found;

	document[length] = 0;
	found = strstr(document, "\"sequence\":\"");
	return found ? atol(found + 12) : 0;
}

/*
 * Read the file and wait until the document has expired, so that the next open gets a new
 * one or fails: a recent document is also served after a failed build.
 */
static void expire_document(void)
{
	static long longest = 1000;
	struct timespec begin, end;
	static int times;
	long took;
	ssize_t n;
	int tries;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	/* A failed build is not retried at once. */
	for (tries = 0; (n = document_once()) < 0; tries++) {
		if (n != -ENOMEM || tries == 50) {
			printf("reader: %s\n", strerror((int)-n));
			exit(1);
		}
		usleep(11 * (unsigned int)longest);
		clock_gettime(CLOCK_MONOTONIC, &begin);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	took = (end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000;
	if (took > longest)
		longest = took;
	before = sequence((size_t)n);
	usleep(worker && times++ % 4 == 0 ? 2200000 : 11 * (unsigned int)longest);
}

static void nth(void)
{
	int fd = knob_of_task("fail-nth"), n = 0, end;
	ssize_t got;

	do {
		expire_document();
		put(fd, ++n);
		got = document_once();
		end = none_left(fd) && (!worker || (got > 0 && sequence((size_t)got) > before));
		judge(got, 1);
		if (got > 0)
			save("nth", (size_t)got);
	} while (!end);
	printf("reader: %d allocations, each failed once\n", n - 1);
}

static void at_random(int times)
{
	int fd = knob_of_task("make-it-fail");
	ssize_t got;

	while (times-- > 0) {
		expire_document();
		put(fd, 1);
		got = document_once();
		put(fd, 0);
		judge(got, 1);
		if (got > 0 && documents % 10 == 0)
			save("random", (size_t)got);
	}
}

static void out(const char *knobs, int step)
{
	int fail = knob_of_task("make-it-fail"), space, made, enough = 0, left = 0;
	char name[100];

	snprintf(name, sizeof(name), "/sys/kernel/debug/%s/space", knobs);
	space = knob(name);
	while (enough < 5) {
		ssize_t got;

		expire_document();
		put(space, left);
		put(fail, 1);
		got = document_once();
		put(fail, 0);
		judge(got, 1);
		/* An earlier document, served while it is young, shows nothing. */
		made = got > 0 && (!worker || sequence((size_t)got) > before);
		enough = made ? enough + 1 : 0;
		left += step;
	}
	put(space, 0);
	printf("reader: %s ran out after 0 to %d\n", knobs, left);
}

static void load(const char *file)
{
	int fd = knob_of_task("fail-nth"), module = open(file, O_RDONLY), n = 0, end;

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
				printf("reader: allocation %d: loading failed: %s\n", n, strerror(failed));
				exit(1);
			}
			if (!access(path, F_OK) || !access("/sys/module/estiba", F_OK)) {
				printf("reader: allocation %d: traces of the module are left\n", n);
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
	const char *kind = argc > 2 ? argv[2] : "";
	int words = !strcmp(kind, "plain") || !strcmp(kind, "out") ? 4 : !strcmp(kind, "nth") ? 2 : 3;

	setbuf(stdout, NULL);
	if (argc < words + 1) {
		fprintf(stderr, "reader: invalid arguments, see reader.c\n");
		return 2;
	}
	worker = !strcmp(argv[1], "worker");
	argv++;
	ids = argv + words;
	memset(document, 1, sizeof(document)); /* allocate its pages before any failure */
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
