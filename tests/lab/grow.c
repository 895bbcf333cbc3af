/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * grow [devdax]: grows a pool in the directory that DAXPIN_TEST_FSDAX names, again and
 * again, while two threads publish extents there, and kills the process at a random
 * time. The next open must find the old size or the new, no file more, and every
 * extent whose publish returned, with its bytes. devdax: the same on the device that
 * DAXPIN_TEST_DAX names. There the pool is made small by a shrink, so that the device
 * is larger than it at each open.
 */
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <daxpin.h>

#define ROUNDS		20u
#define DEVICE_ROUNDS	8u		/* the device has space for no more */
#define SEGMENT		(32ull << 20)
#define THREADS		2u
#define KEPT_MAX	100000u
#define BLOCK		4096u
#define HANG_MS		600000u

/* In shared memory: what the publishers have got an answer for. */
struct kept {
	_Atomic uint32_t count[THREADS];
	_Atomic uint32_t started;		/* the grow begins */
	_Atomic uint32_t grown;			/* the grow has returned */
	uint64_t addr[THREADS][KEPT_MAX];
};

static struct kept *kept;
static struct daxpin_pool *pool;
static char path[200], errmsg[512];
static bool is_device;

__attribute__((format(printf, 1, 2), noreturn))
static void fail(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	printf("not ok 1 - ");
	vprintf(format, ap);
	printf("\n");
	va_end(ap);
	fflush(stdout);
	_exit(1);
}

static void open_pool(uint32_t flags)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .flags = flags,
		.pool_size = flags && !is_device ? 2 * SEGMENT : 0,
		.segment_size = flags ? SEGMENT : 0,
		.max_size = 64 * SEGMENT,
		.deadline_ns = daxpin_deadline_ms(HANG_MS),
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	int ret = flags ? daxpin_pool_create(path, &options, &pool) :
			  daxpin_pool_open(path, &options, &pool);

	if (ret)
		fail("open: %d, %s", ret, errmsg);
}

static struct daxpin_pool_info about(void)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	if (daxpin_pool_info(pool, &info))
		fail("there is no information about the pool");
	return info;
}

/* Publishes extents until it is killed. A full pool is waited for. */
static void *work(void *arg)
{
	uintptr_t thread = (uintptr_t)arg;
	struct daxpin_extent extent;
	struct daxpin_op op;
	uint32_t count;

	for (;;) {
		count = atomic_load(&kept->count[thread]);
		if (count == KEPT_MAX || daxpin_reserve(pool, 4 * BLOCK, 0, &extent)) {
			usleep(1000);
			continue;
		}
		for (uint32_t i = 0; i < 4; i++)
			memcpy((char *)daxpin_ptr(pool, extent, 0) + i * BLOCK,
			       &extent.addr, sizeof(extent.addr));
		op = (struct daxpin_op) { .type = DAXPIN_OP_KEEP, .extent = extent,
					  .flags = 0 };
		if (daxpin_persist(pool, extent, 0, 0) ||
		    daxpin_publish(pool, &op, 1, NULL, NULL))
			fail("publish");
		kept->addr[thread][count] = extent.addr;
		atomic_store(&kept->count[thread], count + 1);
		usleep(200);
	}
	return NULL;
}

/* The process that is killed. */
static void grow(void)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	pthread_t thread;
	int ret;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	open_pool(0);
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&thread, NULL, work, (void *)i))
			fail("there is no thread");
	/* Each thread has published something, in this round or before. */
	while (!atomic_load(&kept->count[0]) || !atomic_load(&kept->count[1]))
		usleep(1000);
	atomic_store(&kept->started, 1);
	ret = daxpin_pool_grow(pool, about().media_bytes + 1, &options);
	if (ret)
		fail("grow: %d, %s", ret, errmsg);
	atomic_store(&kept->grown, 1);
	for (;;)
		pause();
}

static void check_extents(void)
{
	struct daxpin_extent extent;

	for (uint32_t thread = 0; thread < THREADS; thread++)
		for (uint32_t i = 0; i < atomic_load(&kept->count[thread]); i++) {
			uint64_t addr = kept->addr[thread][i], value;

			if (daxpin_extent_at(pool, addr, &extent))
				fail("the extent at 0x%llx is lost",
				     (unsigned long long)addr);
			for (uint32_t block = 0; block < 4; block++) {
				memcpy(&value, (char *)daxpin_ptr(pool, extent, 0) +
				       block * BLOCK, sizeof(value));
				if (value != addr)
					fail("the extent at 0x%llx has other bytes",
					     (unsigned long long)addr);
			}
		}
}

static uint32_t files;

static int count_file(const char *name, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	/* The status page is no segment. */
	files += type == FTW_F && strcmp(name + ftw->base, "status");
	return 0;
}

static int remove_file(const char *name, const struct stat *st, int type,
		       struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static uint32_t run_round(uint32_t round, uint32_t before)
{
	/* A device needs no blocks, so a grow takes less time there. */
	uint32_t ms = rand() % (is_device ? 40 : 400), after, grown;
	pid_t pid;

	atomic_store(&kept->started, 0);
	atomic_store(&kept->grown, 0);
	pid = fork();
	if (!pid)
		grow();
	while (!atomic_load(&kept->started) && !waitpid(pid, NULL, WNOHANG))
		usleep(1000);
	usleep(ms * 1000);
	while (round % 3 == 2 && !atomic_load(&kept->grown) &&
	       !waitpid(pid, NULL, WNOHANG))
		usleep(1000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	grown = atomic_load(&kept->grown);
	open_pool(0);
	after = about().segments;
	check_extents();
	files = 0;
	nftw(path, count_file, 8, FTW_PHYS);
	if (after != before + 1 && (after != before || grown))
		fail("round %u: %u segments after %u", round, after, before);
	if (!is_device && (files != after || about().ignored_files))
		fail("round %u: %u files in a pool of %u segments", round, files, after);
	printf("# round %u: killed after %u ms%s: %u segments, %u extents\n", round, ms,
	       grown ? " and the grow" : "", after,
	       atomic_load(&kept->count[0]) + atomic_load(&kept->count[1]));
	if (daxpin_pool_close(pool))
		fail("close");
	return after;
}

/* On a device the pool is as large as the device at first. */
static void create(void)
{
	open_pool(DAXPIN_POOL_OVERWRITE);
	if (is_device && about().segments < 2 + DEVICE_ROUNDS)
		fail("the device has only %u segments", about().segments);
	if (is_device && daxpin_pool_shrink(pool, 2 * SEGMENT, NULL))
		fail("shrink");
	if (daxpin_pool_close(pool))
		fail("close");
}

/* The next grow needs more space than the device has. */
static void refuse_more(void)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	uint64_t most;

	open_pool(0);
	most = about().max_bytes;
	if (daxpin_pool_grow(pool, most, &options) ||
	    about().media_bytes != most)
		fail("grow to the end of the device: %s", errmsg);
	if (daxpin_pool_grow(pool, most + 1, &options) != -ENOSPC ||
	    !strstr(errmsg, "make the device larger"))
		fail("grow past the device: %s", errmsg);
	check_extents();
	if (daxpin_pool_close(pool))
		fail("close");
}

int main(int argc, char **argv)
{
	const char *variable, *place;
	uint32_t segments = 2, rounds;

	is_device = argc > 1 && !strcmp(argv[1], "devdax");
	variable = is_device ? "DAXPIN_TEST_DAX" : "DAXPIN_TEST_FSDAX";
	place = getenv(variable);
	if (!place) {
		printf("1..0 # SKIP %s is not set\n", variable);
		return 0;
	}
	rounds = is_device ? DEVICE_ROUNDS : ROUNDS;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..1\n");
	srand(1);
	snprintf(path, sizeof(path), "%s%s", place, is_device ? "" : "/grow");
	kept = mmap(NULL, sizeof(*kept), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (kept == MAP_FAILED)
		fail("there is no memory");
	create();
	for (uint32_t i = 0; i < rounds; i++)
		segments = run_round(i, segments);
	if (is_device)
		refuse_more();
	else
		nftw(path, remove_file, 8, FTW_DEPTH | FTW_PHYS);
	printf("ok 1 - %u kills of a process that grows a pool: %u segments\n", rounds,
	       segments);
	return 0;
}
