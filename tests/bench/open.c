/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_open [OPTIONS] TEST PEER: the time until a pool can be used.
 *
 *	crash	PEER pmemobj: open and the first KEEP after the owner of --live N
 *		extents of 4 KiB was killed. pmemobj does not read its heap at open, so
 *		its time includes the first allocation and a walk over its objects,
 *		which have 256 bytes
 *	crash-objects	PEER pmemobj: the same with --live N objects of --size BYTES
 *	create	PEER pmemobj: create a pool of --size BYTES with all blocks allocated
 *		PEER floor: allocate a file of that size, map it, create all pages
 *	clean	PEER -: open an empty pool of --size BYTES that was closed, in ms for
 *		each TiB
 *	clean-full	the same when it is full of extents of 1 MiB
 *	life	PEER -: create a pool of --size BYTES, reserve, publish and retire
 *		extents in it, close, open; the time of each, and the memory at the end
 */
#include "pmemobj.h"
#include "remove_tree.h"
#include "sparse.h"
#include "turns.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define TIB		((double)(UINT64_C(1) << 40))
#define MS		1e6		/* ns */

static struct bench arguments;
static struct bench *const bench = &arguments;
static size_t live;
static uint64_t object_bytes = 256;	/* of the peer's; of ours in crash-objects */
static struct rounds rounds;
static char path[256], object_path[256];
static char errmsg[512];

static struct daxpin_pool_options options(void)
{
	return (struct daxpin_pool_options) {
		.size = sizeof(struct daxpin_pool_options),
		.granularity = DAXPIN_GRANULARITY_CACHE_LINE,
		.deadline_ns = daxpin_deadline_ms(60000),
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
}

static struct daxpin_pool *create(uint64_t bytes, uint64_t segment)
{
	struct daxpin_pool_options wanted = options();
	struct daxpin_pool *pool;

	wanted.flags = DAXPIN_POOL_OVERWRITE;
	wanted.pool_size = bytes;
	wanted.segment_size = segment;
	must(daxpin_pool_create(path, &wanted, &pool), errmsg);
	return pool;
}

static struct daxpin_pool *open_pool(void)
{
	struct daxpin_pool_options wanted = options();
	struct daxpin_pool *pool;

	must(daxpin_pool_open(path, &wanted, &pool), errmsg);
	return pool;
}

/* Keeps extents until there are `count` or the pool is full. */
static size_t keep_many(struct daxpin_pool *pool, size_t count, uint64_t bytes)
{
	static struct daxpin_op ops[DAXPIN_OPS_MAX];
	size_t kept = 0, batch;
	int ret = 0;

	while (kept < count && !ret) {
		for (batch = 0; batch < DAXPIN_OPS_MAX && kept + batch < count;
		     batch++) {
			ops[batch] = (struct daxpin_op) {
				.type = DAXPIN_OP_KEEP,
				.flags = DAXPIN_OP_PERSISTED,
			};
			ret = daxpin_reserve(pool, bytes, 0, &ops[batch].extent);
			if (ret)
				break;
		}
		if (batch)
			must(daxpin_publish(pool, ops, batch, NULL, NULL), "keep");
		kept += batch;
	}
	return kept;
}

/* Runs `fn` in a child, which then kills itself. */
static void in_killed_child(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		fn();
		raise(SIGKILL);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
		bench_die("the owner failed before it was killed");
}

/* -------------------------------------------------------------------- crash */

static void own_pool(void)
{
	uint64_t segment = bench->once ? DAXPIN_SEGMENT_MIN :
					 DAXPIN_SEGMENT_DEFAULT;
	uint64_t bytes = live * DAXPIN_BLOCK_SIZE;

	bytes = (bytes / (segment - DAXPIN_CHUNK_SIZE) + 1) * segment;
	if (keep_many(create(bytes, segment), live,
		      DAXPIN_BLOCK_SIZE) != live)
		bench_die("%zu extents do not fit", live);
}

static double recover_pool(void)
{
	struct daxpin_op keep = { .type = DAXPIN_OP_KEEP };
	struct stopwatch watch = stopwatch_start();
	struct daxpin_pool *pool = open_pool();
	double ms;

	must(daxpin_reserve(pool, DAXPIN_BLOCK_SIZE, 0, &keep.extent), "reserve");
	must(daxpin_publish(pool, &keep, 1, NULL, NULL), "keep");
	ms = stopwatch_ns(&watch) / MS;
	must(daxpin_pool_close(pool), "close");
	return ms;
}

static void keep_small(struct daxpin_pool *pool, size_t count)
{
	static struct daxpin_op ops[DAXPIN_OPS_MAX];

	for (size_t i = 0; i < count; i++) {
		ops[i] = (struct daxpin_op) { .type = DAXPIN_OP_OBJECT_KEEP };
		must(daxpin_object_reserve(pool, object_bytes, 0, &ops[i].extent.addr),
		     "reserve of an object");
	}
	must(daxpin_publish(pool, ops, count, NULL, NULL), "keep of objects");
}

static void own_small(void)
{
	uint64_t segment = bench->once ? DAXPIN_SEGMENT_MIN :
					 DAXPIN_SEGMENT_DEFAULT;
	uint64_t bytes = live * object_bytes * 5 / 4;
	struct daxpin_pool *pool;

	bytes = (bytes / (segment - DAXPIN_CHUNK_SIZE) + 1) * segment;
	pool = create(bytes, segment);
	for (size_t left = live, batch; left; left -= batch) {
		batch = left < DAXPIN_OPS_MAX ? left : DAXPIN_OPS_MAX;
		keep_small(pool, batch);
	}
}

static double recover_small(void)
{
	struct stopwatch watch = stopwatch_start();
	struct daxpin_pool *pool = open_pool();
	struct daxpin_pool_info info = { .size = sizeof(info) };
	double ms;

	keep_small(pool, 1);
	ms = stopwatch_ns(&watch) / MS;
	must(daxpin_pool_info(pool, &info), "info");
	if (info.objects != live + 1)
		bench_die("%llu objects of %zu", (unsigned long long)info.objects,
			  live);
	must(daxpin_pool_close(pool), "close");
	return ms;
}

#ifdef HAVE_PMEMOBJ
static void own_objects(void)
{
	uint64_t bytes = live * (object_bytes * 5 / 4 + 128);
	PMEMobjpool *pool = object_pool(object_path,
					bytes + (UINT64_C(64) << 20));
	PMEMoid made;

	for (size_t i = 0; i < live; i++)
		if (pmemobj_alloc(pool, &made, object_bytes, 1, NULL, NULL))
			bench_die("pmemobj_alloc: %s", pmemobj_errormsg());
}

static double recover_objects(void)
{
	struct stopwatch watch = stopwatch_start();
	PMEMobjpool *pool = pmemobj_open(object_path, "bench");
	PMEMoid walk;
	size_t count = 0;
	double ms;

	if (!pool || pmemobj_alloc(pool, &walk, object_bytes, 1, NULL, NULL))
		bench_die("pmemobj_open: %s", pmemobj_errormsg());
	for (walk = pmemobj_first(pool); !OID_IS_NULL(walk);
	     walk = pmemobj_next(walk))
		count++;
	ms = stopwatch_ns(&watch) / MS;
	pmemobj_close(pool);
	if (count != live + 1)
		bench_die("%zu objects of %zu", count, live);
	return ms;
}

static double create_objects(void)
{
	struct stopwatch watch = stopwatch_start();
	PMEMobjpool *pool = pmemobj_create(object_path, "bench", bench->size,
					   0600);
	double ms = stopwatch_ns(&watch) / MS;

	if (!pool)
		bench_die("pmemobj_create: %s", pmemobj_errormsg());
	pmemobj_close(pool);
	unlink(object_path);
	return ms;
}
#else
static void own_objects(void)
{
}

static double recover_objects(void)
{
	return 0;
}

static double create_objects(void)
{
	return 0;
}
#endif

static void compare(double (*theirs)(void), double (*ours)(void), int i)
{
	if (i % 2)
		rounds.daxpin[i] = ours();
	rounds.peer[i] = theirs();
	if (i % 2 == 0)
		rounds.daxpin[i] = ours();
}

static void crash(void (*own)(void), double (*recover)(void))
{
	uint64_t begin_ns = turns_clock_ns(CLOCK_MONOTONIC);

	while (turns_go_on(bench, &rounds, 3, begin_ns)) {
		in_killed_child(own);
		in_killed_child(own_objects);
		compare(recover_objects, recover, rounds.count++);
	}
	turns_print(bench, "ms", &rounds);
}

/* ------------------------------------------------------------------- create */

static double create_pool(void)
{
	struct stopwatch watch = stopwatch_start();
	struct daxpin_pool *pool = create(bench->size, DAXPIN_SEGMENT_DEFAULT);
	double ms = stopwatch_ns(&watch) / MS;

	must(daxpin_pool_close(pool), "close");
	remove_tree(path);
	return ms;
}

/* The system calls that every create on tmpfs needs: MADV_POPULATE_WRITE makes the
 * pages that fallocate() has only reserved. */
static double create_file(void)
{
	struct stopwatch watch = stopwatch_start();
	int file = open(object_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	void *mapped;
	double ms;

	must(file < 0 || fallocate(file, 0, 0, bench->size) ? -errno : 0, object_path);
	mapped = mmap(NULL, bench->size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	must(mapped == MAP_FAILED ||
	     madvise(mapped, bench->size, MADV_POPULATE_WRITE) ? -errno : 0, "mmap");
	ms = stopwatch_ns(&watch) / MS;
	munmap(mapped, bench->size);
	close(file);
	unlink(object_path);
	return ms;
}

static void create_by_turns(double (*theirs)(void))
{
	uint64_t begin_ns = turns_clock_ns(CLOCK_MONOTONIC);

	if (bench->once)
		bench->size = 64 << 20;
	while (turns_go_on(bench, &rounds, 3, begin_ns))
		compare(theirs, create_pool, rounds.count++);
	turns_print(bench, "ms", &rounds);
}

/* --------------------------------------------------------------- clean open */

static void clean(bool full)
{
	uint64_t begin_ns = turns_clock_ns(CLOCK_MONOTONIC);
	uint64_t bytes = bench->once ? UINT64_C(1) << 30 : bench->size;
	struct daxpin_pool *pool;
	struct middle ms;

	sparse_files = true;
	pool = create(bytes, DAXPIN_SEGMENT_MAX);
	if (full)
		keep_many(pool, SIZE_MAX, 1 << 20);
	must(daxpin_pool_close(pool), "close");
	while (turns_go_on(bench, &rounds, 3, begin_ns)) {
		struct stopwatch watch = stopwatch_start();

		pool = open_pool();
		rounds.daxpin[rounds.count++] = stopwatch_ns(&watch) / MS *
						TIB / bytes;
		must(daxpin_pool_close(pool), "close");
	}
	ms = turns_middle(rounds.daxpin, rounds.count);
	printf("%s unit=ms/TiB daxpin_is=%.1f daxpin_low=%.1f daxpin_high=%.1f rounds=%d\n",
	       bench->test, ms.median, ms.low, ms.high, rounds.count);
}

/* --------------------------------------------------------------------- life */

static void generation_log(const char *what, struct stopwatch *watch)
{
	printf("life %s: %.1f ms\n", what, stopwatch_ns(watch) / MS);
	*watch = stopwatch_start();
}

/* Publishes one extent of the largest size and 10000 of one block. */
static void generation_publish(struct daxpin_pool *pool, uint64_t segment)
{
	struct daxpin_op op = {
		.type = DAXPIN_OP_KEEP, .flags = DAXPIN_OP_PERSISTED,
	};

	must(daxpin_reserve(pool, segment - 2 * DAXPIN_CHUNK_SIZE, 0, &op.extent),
	     "reserve of a segment");
	must(daxpin_publish(pool, &op, 1, NULL, NULL), "keep");
	keep_many(pool, 10000, DAXPIN_BLOCK_SIZE);
	op = (struct daxpin_op) { .type = DAXPIN_OP_RETIRE, .extent = op.extent };
	must(daxpin_publish(pool, &op, 1, NULL, NULL), "retire");
}

/*
 * Returns the KiB of anonymous memory of this process, which do not include mapped
 * files.
 */
static long anonymous_memory(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	char line[128];
	long kib = 0;

	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "RssAnon: %ld", &kib) == 1)
			break;
	if (status)
		fclose(status);
	return kib;
}

static void generation(void)
{
	uint64_t bytes = bench->once ? UINT64_C(1) << 30 : bench->size;
	struct stopwatch watch = stopwatch_start();
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_pool *pool;
	long before, after;

	sparse_files = true;
	pool = create(bytes, DAXPIN_SEGMENT_MAX);
	generation_log("create", &watch);
	generation_publish(pool, DAXPIN_SEGMENT_MAX);
	generation_log("reserve, publish, retire", &watch);
	must(daxpin_pool_close(pool), "close");
	generation_log("close", &watch);
	before = anonymous_memory();
	watch = stopwatch_start();
	pool = open_pool();
	generation_log("open", &watch);
	after = anonymous_memory();
	must(daxpin_pool_info(pool, &info), "info");
	must(daxpin_pool_close(pool), "close");
	generation_log("close", &watch);
	printf("life %u segments of %llu MiB, %llu GiB free; the open pool has %.1f MiB of memory\n",
	       info.segments, (unsigned long long)info.segment_size >> 20,
	       (unsigned long long)info.free_bytes >> 30,
	       (after - before) / 1024.);
}

/* --------------------------------------------------------------------- main */

int main(int argc, char **argv)
{
	bool is_objects;

	bench_parse(bench, argc, argv);
	bench_become(bench, argv);
	live = bench->once ? BENCH_SMALL : bench->live ? bench->live : 100000;
	snprintf(path, sizeof(path), "%s", bench_path(bench, "pool"));
	snprintf(object_path, sizeof(object_path), "%s",
		 bench_path(bench, "objects"));
	is_objects = !strcmp(bench->peer, "pmemobj");
	if (!strcmp(bench->test, "crash-objects"))
		object_bytes = bench->size;
	if (is_objects)
		object_require(bench);
	if (is_objects && !strcmp(bench->test, "crash"))
		crash(own_pool, recover_pool);
	else if (is_objects && !strcmp(bench->test, "crash-objects"))
		crash(own_small, recover_small);
	else if (is_objects && !strcmp(bench->test, "create"))
		create_by_turns(create_objects);
	else if (!strcmp(bench->peer, "floor") && !strcmp(bench->test, "create"))
		create_by_turns(create_file);
	else if (!is_objects && !strcmp(bench->test, "clean"))
		clean(false);
	else if (!is_objects && !strcmp(bench->test, "clean-full"))
		clean(true);
	else if (!is_objects && !strcmp(bench->test, "life"))
		generation();
	else
		bench_die("no test %s beside %s", bench->test, bench->peer);
	return 0;
}
