// SPDX-License-Identifier: GPL-2.0-only
/*
 * Init process of the machine that measures the cost of the module. The machine counts
 * instructions as nanoseconds, so every difference of clock readings is a number of
 * instructions. Creates CONTAINERS containers, each with a shim, three processes, a
 * cgroup, a pid namespace and a network namespace, and prints the cost of reading them:
 * from the module, and from /proc without parsing.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup/docker"
#define ROUNDS 5

static void off(int code)
{
	printf("cost: status %d\n", code);
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	_exit(code);
}

static void die(const char *format, ...)
{
	va_list args;
	int err = errno;

	va_start(args, format);
	printf("cost: ");
	vprintf(format, args);
	printf(": %s\n", strerror(err));
	va_end(args);
	off(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	struct timespec t = { ns / 1000000000, ns % 1000000000 };

	nanosleep(&t, NULL);
}

static void put(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die("write %s", name);
	close(fd);
}

static void load(const char *file, const char *params)
{
	int fd = open(file, O_RDONLY);

	if (fd < 0 || syscall(SYS_finit_module, fd, params, 0))
		die("load %s", file);
	close(fd);
}

/* Create the network interface of a container; it stays down. */
static void make_interface(void)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg info;
		struct rtattr link;
		struct rtattr kind;
		char name[8];
	} m = {
		.head = { .nlmsg_len = sizeof(m), .nlmsg_type = RTM_NEWLINK,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK },
		.link = { .rta_len = RTA_LENGTH(RTA_LENGTH(8)), .rta_type = IFLA_LINKINFO },
		.kind = { .rta_len = RTA_LENGTH(5), .rta_type = IFLA_INFO_KIND },
		.name = "dummy",
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char more[512];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	if (fd < 0 || send(fd, &m, sizeof(m), 0) < 0 ||
	    recv(fd, &answer, sizeof(answer), 0) < 0)
		die("netlink");
	errno = -answer.error.error;
	if (errno)
		die("create an interface");
	close(fd);
}

/* The init process of a container, with two children; writes to ready when it is up. */
static void container(const char *cgroup, int ready)
{
	char procs[160];

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", cgroup);
	put(procs, "0");
	if (unshare(CLONE_NEWNET))
		die("unshare the network");
	make_interface();
	prctl(PR_SET_NAME, "worker");
	for (int i = 0; i < 2; i++)
		if (fork() == 0)
			for (;;)
				pause();
	if (write(ready, "x", 1) != 1)
		die("pipe");
	close(ready);
	for (;;)
		pause();
}

/* argv is that of the program, so that writing the id changes its visible arguments. */
static void shim(int number, char **argv, int ready)
{
	char cgroup[128], limit[160], id[65];

	snprintf(id, sizeof(id), "%032x%032x", number * 7919, number);
	memcpy(argv[4], id, 64);
	prctl(PR_SET_NAME, "containerd-shim");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	snprintf(cgroup, sizeof(cgroup), CGROUPS "/%s", id);
	if (mkdir(cgroup, 0755))
		die("mkdir %s", cgroup);
	snprintf(limit, sizeof(limit), "%s/memory.max", cgroup);
	put(limit, "134217728");
	if (unshare(CLONE_NEWPID))
		die("unshare the pids");
	if (fork() == 0)
		container(cgroup, ready);
	close(ready);
	for (;;)
		pause();
}

static void make_containers(int n, char **argv)
{
	for (int i = 0; i < n; i++) {
		int ready[2];
		pid_t child;
		char c;

		if (pipe(ready))
			die("pipe");
		child = fork();
		if (child < 0)
			die("fork %d", i);
		if (child == 0) {
			close(ready[0]);
			shim(i, argv, ready[1]);
		}
		close(ready[1]);
		if (read(ready[0], &c, 1) != 1)
			die("container %d did not start", i);
		close(ready[0]);
		if (i % 1000 == 999) {
			printf("cost: %d containers\n", i + 1);
			fflush(stdout);
		}
	}
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static uint64_t median(uint64_t *values, int n)
{
	qsort(values, n, sizeof(*values), by_value);
	return values[n / 2];
}

/* Slab and vmalloc memory, kB. */
static uint64_t kernel_memory(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	uint64_t sum = 0, kb;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Slab: %lu", &kb) == 1 ||
		    sscanf(line, "VmallocUsed: %lu", &kb) == 1)
			sum += kb;
	fclose(f);
	return sum;
}

static char buffer[64 << 10];

struct reading {
	uint64_t open, read, bytes, collect;
};

/* The document's collect_ns. */
static uint64_t collect_of(const char *text, size_t len)
{
	const char *key = memmem(text, len, "\"collect_ns\":\"", 14);

	return key ? strtoull(key + 14, NULL, 10) : 0;
}

static struct reading read_document(void)
{
	struct reading r = { 0 };
	uint64_t begin = now();
	int fd = open("/proc/estiba", O_RDONLY);
	ssize_t n;

	if (fd < 0)
		die("open /proc/estiba");
	r.open = now() - begin;
	begin = now();
	while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
		if (r.bytes == 0)
			r.collect = collect_of(buffer, n);
		r.bytes += n;
	}
	close(fd);
	r.read = now() - begin;
	/* A snapshot is shared for ten times the time of its build. */
	sleep_ns(20 * (r.open + 1000000));
	return r;
}

/* Read these files of every process; returns the number of processes. */
static int read_proc(const char *const *files)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int processes = 0;

	if (!d)
		die("open /proc");
	while ((e = readdir(d))) {
		char name[300];

		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		processes++;
		for (int i = 0; files[i]; i++) {
			int fd;

			snprintf(name, sizeof(name), "%s/%s", e->d_name, files[i]);
			fd = openat(dirfd(d), name, O_RDONLY);
			if (fd < 0)
				die("open /proc/%s", name);
			while (read(fd, buffer, 4096) > 0)
				;
			close(fd);
		}
	}
	closedir(d);
	return processes;
}

static uint64_t cost_of_reader(const char *const *files, int rounds)
{
	uint64_t cost[ROUNDS], begin;

	for (int i = 0; i < rounds; i++) {
		begin = now();
		read_proc(files);
		cost[i] = now() - begin;
	}
	return median(cost, rounds);
}

/*
 * Measure the wake-up latency of a real-time process, which is the longest time that the
 * kernel did not reschedule.
 */
static void watch(volatile uint64_t *latest, volatile int *stop)
{
	struct sched_param p = { .sched_priority = 50 };
	struct timespec t;
	uint64_t at;

	if (sched_setscheduler(0, SCHED_FIFO, &p))
		die("realtime");
	at = now();
	while (!*stop) {
		uint64_t late;

		at += 50000;
		t.tv_sec = at / 1000000000;
		t.tv_nsec = at % 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
		late = now() - at;
		if (late > *latest)
			*latest = late;
		if (late > 50000)
			at = now();
	}
	_exit(0);
}

static uint64_t longest_stretch(bool reading)
{
	struct shared { uint64_t latest; int stop; } *s;
	pid_t child;
	uint64_t latest;

	s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		die("mmap");
	child = fork();
	if (child == 0)
		watch(&s->latest, &s->stop);
	sleep_ns(100000000);
	s->latest = 0;
	if (reading)
		for (int i = 0; i < 3; i++)
			read_document();
	else
		sleep_ns(500000000);
	latest = s->latest;
	s->stop = 1;
	waitpid(child, NULL, 0);
	munmap(s, 4096);
	return latest;
}

static void measure(int containers)
{
	static const char *const full[] = { "stat", "status", "io", "cmdline", NULL };
	static const char *const lean[] = { "stat", "io", NULL };
	int rounds = containers > 5000 ? 1 : 3, processes;
	uint64_t open[ROUNDS], read[ROUNDS], all[ROUNDS], first, before, after;
	uint64_t with_full, with_lean;
	struct reading r;

	before = kernel_memory();
	load("/estiba.ko", "min_interval_ms=1");
	first = read_document().open;
	for (int i = 0; i < ROUNDS; i++) {
		r = read_document();
		open[i] = r.open;
		read[i] = r.read;
		all[i] = r.open + r.read;
	}
	after = kernel_memory();
	printf("cost: idle_latency %lu\n", longest_stretch(false));
	printf("cost: latency %lu\n", longest_stretch(true));
	processes = read_proc(lean);
	with_full = cost_of_reader(full, rounds);
	with_lean = cost_of_reader(lean, rounds);
	printf("cost: containers %d\ncost: processes %d\ncost: bytes %lu\n",
	       containers, processes, r.bytes);
	printf("cost: first %lu\ncost: build %lu\ncost: read %lu\ncost: module %lu\n",
	       first, median(open, ROUNDS), median(read, ROUNDS), median(all, ROUNDS));
	printf("cost: collect %lu\n", r.collect);
	printf("cost: full %lu\ncost: lean %lu\n", with_full, with_lean);
	printf("cost: held_kb %ld\n", (long)(after - before));
	fflush(stdout);
	/* Print one line, to show the fields. */
	int fd = openat(AT_FDCWD, "/proc/estiba", O_RDONLY);
	FILE *f = fdopen(fd, "r");
	char line[4096];
	int containers_seen = 0;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "{\"process_name\"", 15) && !containers_seen++)
			printf("cost: line %s", line);
	if (containers_seen != containers) {
		errno = 0;
		die("%d containers in the document", containers_seen);
	}
}

static void mount_at(const char *name, const char *type, const char *at)
{
	mkdir(at, 0755);
	if (mount(name, at, type, 0, NULL) && errno != EBUSY)
		die("mount %s", at);
}

int main(int argc, char **argv)
{
	struct rlimit many = { 1 << 20, 1 << 20 };
	const char *containers = getenv("containers");
	char name[128];
	FILE *order;

	if (argc < 6) {
		/* Run again with the arguments of a shim. */
		char *shims[] = { "containerd-shim-runc-v2", "-namespace", "moby",
				  "-id", "0000000000000000000000000000000000000000000000000000000000000000",
				  "-address", "/run/containerd/containerd.sock", NULL };

		/* And from a file of that name. */
		if (link("/init", "/containerd-shim-runc-v2"))
			die("link");
		execv("/containerd-shim-runc-v2", shims);
		die("exec");
	}
	/* This process is not a shim. */
	prctl(PR_SET_NAME, "cost");
	mount_at("proc", "proc", "/proc");
	mount_at("sysfs", "sysfs", "/sys");
	mount_at("cgroup2", "cgroup2", "/sys/fs/cgroup");
	setrlimit(RLIMIT_NPROC, &many);
	setrlimit(RLIMIT_NOFILE, &many);
	put("/proc/sys/kernel/pid_max", "4000000");
	put("/proc/sys/kernel/threads-max", "1000000");
	order = fopen("/modules/order", "r");
	while (order && fgets(name + 9, sizeof(name) - 9, order)) {
		memcpy(name, "/modules/", 9);
		name[strcspn(name, "\n")] = '\0';
		load(name, "numdummies=0");
	}
	put("/sys/fs/cgroup/cgroup.subtree_control", "+memory +cpu");
	if (mkdir(CGROUPS, 0755))
		die("mkdir " CGROUPS);
	put(CGROUPS "/cgroup.subtree_control", "+memory +cpu");
	if (!containers)
		die("kernel parameter containers is missing");
	make_containers(atoi(containers), argv);
	measure(atoi(containers));
	off(0);
}
