// SPDX-License-Identifier: GPL-2.0-only
/* What the containers of the test do: load KIND [ARGUMENT]. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static void burn_ms(long ms)
{
	struct timespec begin, now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
	do {
		for (volatile int i = 0; i < 20000; i++)
			;
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	} while ((now.tv_sec - begin.tv_sec) * 1000 +
		 (now.tv_nsec - begin.tv_nsec) / 1000000 < ms);
}

static void stay(void)
{
	for (;;)
		pause();
}

/* n processes that burn, children of the first one. */
static void cpu(int n)
{
	while (--n > 0)
		if (fork() == 0)
			break;
	for (;;)
		burn_ms(1000);
}

/* Burns ms of CPU time, then rests. */
static void burst(int ms)
{
	burn_ms(ms);
	stay();
}

/* Touches and holds mb of memory. */
static void mem(int mb)
{
	size_t size = (size_t)mb << 20;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	for (size_t i = 0; i < size; i += 4096)
		p[i] = 1;
	stay();
}

/* Writes n blocks of 4 kB to a file of the disk and reads them, then rests. */
static void io(int n)
{
	static char block[4096];
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "/disk/io.%d.%ld", (int)getpid(),
		 (long)time(NULL));
	fd = open(name, O_RDWR | O_CREAT, 0600);
	if (fd < 0)
		die(name);
	for (int i = 0; i < n; i++)
		if (write(fd, block, sizeof(block)) != sizeof(block))
			die("write");
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	lseek(fd, 0, SEEK_SET);
	for (int i = 0; i < n; i++)
		if (read(fd, block, sizeof(block)) != sizeof(block))
			die("read");
	unlink(name);
	stay();
}

static void *thread(void *arg)
{
	burn_ms(20);
	stay();
	return arg;
}

static void threads(int n)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * 1024);
	while (n-- > 1)
		if (pthread_create(&t, &attr, thread, NULL))
			die("thread");
	stay();
}

static void *hold(void *arg)
{
	size_t size = (size_t)*(int *)arg << 20;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	for (size_t i = 0; i < size; i += 4096)
		p[i] = 1;
	burn_ms(50);
	stay();
	return arg;
}

/* A process whose first thread ended, while another one holds mb of memory. */
static void leaderless(int mb)
{
	static int size;
	pthread_t t;

	size = mb;
	if (pthread_create(&t, NULL, hold, &size))
		die("thread");
	pthread_exit(NULL);
}

static void *execs(void *arg)
{
	burn_ms(5);
	execl("/bin/load", "load", "execs", NULL);
	die("exec");
	return arg;
}

/* A thread that is not the first one replaces the program, again and again. */
static void exec_storm(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, execs, NULL))
		die("thread");
	stay();
}

/* Grandchildren that burn a little, and are nobody's but the shim's. */
static void double_fork(void)
{
	for (;;) {
		if (fork() == 0) {
			if (fork() == 0)
				burn_ms(4);
			_exit(0);
		}
		wait(NULL);
		burn_ms(4);
	}
}

/* n processes that have left their parents, one of them in a new session. */
static void orphans(int n)
{
	while (n-- > 0)
		if (fork() == 0) {
			if (fork() == 0) {
				setsid();
				stay();
			}
			_exit(0);
		}
	for (;;)
		if (wait(NULL) < 0)
			pause();
}

/* A chain of n processes, each the child of the one before. */
static void chain(int n)
{
	while (n-- > 1) {
		pid_t child = fork();

		if (child < 0)
			die("fork");
		if (child)
			break;
	}
	stay();
}

/* Forks children that burn a little and are waited for, for ever. */
static void storm(int ignore)
{
	if (ignore)
		signal(SIGCHLD, SIG_IGN);
	for (;;) {
		for (int i = 0; i < 4; i++)
			if (fork() == 0) {
				burn_ms(2);
				_exit(0);
			}
		while (wait(NULL) > 0)
			;
	}
}

/* Names itself with the bytes of a row of hex digits. */
static void name(const char *hex)
{
	char bytes[16] = "";

	for (int i = 0; i < 15 && hex[2 * i] && hex[2 * i + 1]; i++) {
		unsigned int b;

		if (sscanf(hex + 2 * i, "%2x", &b) != 1)
			die("hex");
		bytes[i] = (char)b;
	}
	prctl(PR_SET_NAME, bytes);
	stay();
}

/* Uses some of everything, then only CPU time. */
static void steady(void)
{
	static char block[4096];
	int fd = open("/disk/steady", O_RDWR | O_CREAT, 0600);
	char *p = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (fd < 0 || p == MAP_FAILED)
		die("steady");
	for (size_t i = 0; i < 8 << 20; i += 4096)
		p[i] = 1;
	for (int i = 0; i < 100; i++)
		if (write(fd, block, sizeof(block)) != sizeof(block))
			die("write");
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	lseek(fd, 0, SEEK_SET);
	while (read(fd, block, sizeof(block)) > 0)
		;
	for (;;)
		burn_ms(1000);
}

/* Opens file up to n times, says how often it could and why no more, keeps all. */
static void open_often(int n, const char *file)
{
	int i;

	for (i = 0; i < n; i++)
		if (open(file, O_RDONLY) < 0)
			break;
	printf("%d %s\n", i, i < n ? strerror(errno) : "");
	fflush(stdout);
	stay();
}

/* Forks as fast as it can: n at a time, which end at once and in any order. */
static void exit_storm(int n)
{
	for (;;) {
		for (int i = 0; i < n; i++)
			if (fork() == 0)
				_exit(0);
		while (wait(NULL) > 0)
			;
	}
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "sleep";
	const char *word = argc > 2 ? argv[2] : "1";
	int n = atoi(word);

	if (!strcmp(kind, "cpu"))
		cpu(n);
	else if (!strcmp(kind, "burst"))
		burst(n);
	else if (!strcmp(kind, "mem"))
		mem(n);
	else if (!strcmp(kind, "io"))
		io(n);
	else if (!strcmp(kind, "threads"))
		threads(n);
	else if (!strcmp(kind, "orphans"))
		orphans(n);
	else if (!strcmp(kind, "leaderless"))
		leaderless(n);
	else if (!strcmp(kind, "execs"))
		exec_storm();
	else if (!strcmp(kind, "doublefork"))
		double_fork();
	else if (!strcmp(kind, "chain"))
		chain(n);
	else if (!strcmp(kind, "storm"))
		storm(0);
	else if (!strcmp(kind, "autoreap"))
		storm(1);
	else if (!strcmp(kind, "steady"))
		steady();
	else if (!strcmp(kind, "exits"))
		exit_storm(n);
	else if (!strcmp(kind, "open") && argc > 3)
		open_often(n, argv[3]);
	else if (!strcmp(kind, "name"))
		name(word);
	else if (!strcmp(kind, "sleep"))
		stay();
	else if (!strcmp(kind, "exec"))
		execvp(argv[2], argv + 2);
	die(kind);
}
