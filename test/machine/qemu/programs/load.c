// SPDX-License-Identifier: GPL-2.0-only
/* The program in the containers of the test: load KIND [ARGUMENT]. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
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

/* n processes that use CPU time, children of the first one. */
static void cpu(int n)
{
	while (--n > 0)
		if (fork() == 0)
			break;
	for (;;)
		burn_ms(1000);
}

/* Use CPU time for ms, then sleep. */
static void burst(int ms)
{
	burn_ms(ms);
	stay();
}

/* Touch and hold mb of memory. */
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

/* Write n blocks of 4 kB to a file on the disk, read them, then sleep. */
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

/* A process whose leader has exited, while another thread holds mb of memory. */
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

/* A thread that is not the leader calls exec, again and again. */
static void exec_storm(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, execs, NULL))
		die("thread");
	stay();
}

/* Double-forked processes that use a little CPU time, adopted by the shim. */
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

/* n orphaned processes, each in a new session. */
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

/* A chain of n processes, each the child of the previous one. */
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

/* Fork children that use a little CPU time, and reap them, for ever. */
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

/* Set the comm to bytes given as hex digits. */
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

/* Use some of every resource, then only CPU time. */
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

/* Open file up to n times and keep it open; print how often that worked, and the error. */
static void open_often(int n, const char *file)
{
	static char line[200];
	int i;

	/* Allocate everything before the open files use up the memory. */
	setvbuf(stdout, line, _IOFBF, sizeof(line));
	if (mlockall(MCL_CURRENT))
		perror("mlockall");
	for (i = 0; i < n; i++)
		if (open(file, O_RDONLY) < 0)
			break;
	printf("%d %s\n", i, i < n ? strerror(errno) : "");
	fflush(stdout);
	stay();
}

/* Open and close file, for ever. */
static void open_again(const char *file)
{
	for (;;) {
		int fd = open(file, O_RDONLY);

		if (fd >= 0)
			close(fd);
	}
}

static void print(const char *file)
{
	static char block[65536];
	int fd = open(file, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		die(file);
	while ((n = read(fd, block, sizeof(block))) > 0)
		if (write(1, block, n) != n)
			die("write");
	if (n < 0)
		die(file);
	exit(0);
}

/* Drop all capabilities and keep the user. */
static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = {};

	if (syscall(SYS_capset, &header, none))
		die("capset");
}

/* Fork as fast as possible: n at a time, which exit at once in any order. */
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
	const char *kind, *word;
	int n;

	for (;;) {
		kind = argc > 1 ? argv[1] : "sleep";
		word = argc > 2 ? argv[2] : "1";
		n = atoi(word);
		if (!strcmp(kind, "as") && argc > 3) {
			if (setgroups(0, NULL) || setresgid(n, n, n) || setresuid(n, n, n))
				die("as");
			argc -= 2;
			argv += 2;
		} else if (!strcmp(kind, "nocaps") && argc > 2) {
			/* Without exec, which would give root all capabilities again. */
			drop_capabilities();
			argc--;
			argv++;
		} else if (!strcmp(kind, "idle") && argc > 2) {
			/* Not every busybox has chrt. */
			struct sched_param none = { 0 };

			if (sched_setscheduler(0, SCHED_IDLE, &none))
				die("idle");
			argc--;
			argv++;
		} else {
			break;
		}
	}
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
	else if (!strcmp(kind, "openagain"))
		open_again(word);
	else if (!strcmp(kind, "cat"))
		print(word);
	else if (!strcmp(kind, "name"))
		name(word);
	else if (!strcmp(kind, "sleep"))
		stay();
	else if (!strcmp(kind, "exec"))
		execvp(argv[2], argv + 2);
	die(kind);
}
