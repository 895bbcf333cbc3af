/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_reclaim [OPTIONS] TEST PEER: the cost of giving back 100 extents of 2 MiB, by
 * one daxpin_reclaim(), and by raw system calls on 100 other chunks of the same file,
 * which are mapped and touched in the same way, in the same round. Each side begins
 * every second round.
 *
 *	TEST	reclaim | refill: adjacent chunks of the file
 *		reclaim-apart | refill-apart: with one in use between any two
 *	PEER	fallocate: a call for each chunk. On tmpfs a refill does not create the
 *		pages, so the first store to each is slow
 *		floor: the fewest calls with the same result as the job's: one for
 *		adjacent chunks, and on tmpfs MADV_POPULATE_WRITE after a refill
 *
 * The cost matters on a DAX filesystem, where each call unmaps the whole file: give one
 * with --directory. Elapsed time is measured, from the call to the job's end.
 */
#include "remove_tree.h"
#include "turns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#define COUNT_MAX	100
#define CHUNK		((uint64_t)DAXPIN_CHUNK_SIZE)
#define CHUNKS_MAX	255		/* of a segment, after its metadata */
#define WAIT_MS		600000

enum { RAW_PUNCH, RECLAIM, RAW_FILL, REFILL, FIGURES };

static struct bench bench;
static struct rounds rounds;
static struct daxpin_pool *pool;
static const char *path;		/* of the pool */
static int file = -1;
static uint64_t segment = 512u << 20;
static int chunks = CHUNKS_MAX, count = COUNT_MAX;	/* all; timed at once */
static char *mapped;
static bool is_floor, on_tmpfs;
static struct daxpin_extent all[CHUNKS_MAX];	/* sorted by address */

static int compare_addr(const void *a, const void *b)
{
	const struct daxpin_extent *x = a, *y = b;

	return (x->addr > y->addr) - (x->addr < y->addr);
}

static double now_ms(void)
{
	return turns_clock_ns(CLOCK_MONOTONIC) / 1e6;
}

/* ------------------------------------------------------------ what is timed */

/*
 * Uses a mapping of its own. In the pool's mapping (MAP_SYNC) the first store to each
 * page would wait for the filesystem's log if there are no huge pages.
 */
static void touch(const struct daxpin_extent *extent)
{
	volatile char *byte = mapped + extent->addr;

	for (uint64_t at = 0; at < CHUNK; at += DAXPIN_BLOCK_SIZE)
		byte[at] = 1;
}

static void publish(const struct daxpin_extent *extent, uint32_t type)
{
	struct daxpin_op ops[COUNT_MAX] = { 0 };

	for (int i = 0; i < count; i++)
		ops[i] = (struct daxpin_op) { .type = type,
					      .extent = extent[i] };
	must(daxpin_publish(pool, ops, count, NULL, NULL), "publish");
}

static void raw_call(uint64_t addr, uint64_t size, int mode)
{
	if (fallocate(file, mode, addr, size))
		must(-errno, "fallocate");
	if (is_floor && on_tmpfs && !mode &&
	    madvise(mapped + addr, size, MADV_POPULATE_WRITE))
		must(-errno, "madvise");
}

static double raw(const struct daxpin_extent *extent, int mode)
{
	double begun = now_ms();
	int run;

	for (int i = 0; i < count; i += run) {
		run = 1;
		while (is_floor && i + run < count &&
		       extent[i + run].addr == extent[i].addr + run * CHUNK)
			run++;
		raw_call(extent[i].addr, run * CHUNK, mode);
	}
	return now_ms() - begun;
}

static double run_job(int (*what)(struct daxpin_pool *,
				  const struct daxpin_job_options *,
				  struct daxpin_job **), int expected)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct daxpin_job *job;
	double begun = now_ms(), ended;

	must(what(pool, NULL, &job), "a job");
	must(daxpin_job_wait(job, daxpin_deadline_ms(WAIT_MS)), "its end");
	ended = now_ms();
	must(daxpin_job_report(job, NULL, NULL, &summary), "its report");
	must(summary.result, "its result");
	if (summary.done_bytes != expected * CHUNK)
		must(-EDOM, "as many bytes");
	must(daxpin_job_end(job), "end");
	return ended - begun;
}

static void by_hand(const struct daxpin_extent *extent, double *ms)
{
	ms[RAW_PUNCH] = raw(extent, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	ms[RAW_FILL] = raw(extent, 0);
}

static void by_daxpin(const struct daxpin_extent *extent, double *ms)
{
	publish(extent, DAXPIN_OP_KEEP);
	publish(extent, DAXPIN_OP_RETIRE);
	ms[RECLAIM] = run_job(daxpin_reclaim, count);
	ms[REFILL] = run_job(daxpin_refill, count);
}

/*
 * Times `count` of the chunks by fallocate() and `count` others by daxpin; `turn` is
 * which of them is by hand. The other chunks stay reserved.
 */
static void round_of(int step, int turn, double *ms)
{
	struct daxpin_extent extent[2][COUNT_MAX];

	for (int i = 0; i < count; i++) {
		extent[0][i] = all[i * step];
		extent[1][i] = all[step == 1 ? count + i : i * step + 1];
	}
	for (int i = 0; i < 2; i++) {
		for (int j = 0; j < 2 * count; j++)
			touch(&all[j]);
		if (i == turn)
			by_hand(extent[i], ms);
		else
			by_daxpin(extent[i], ms);
	}
}

/* ----------------------------------------------------------------- the pool */

static void map_file(void)
{
	char name[160];
	struct statfs fs;

	snprintf(name, sizeof(name), "%s/segment.0000", path);
	file = open(name, O_RDWR | O_CLOEXEC);
	must(file < 0 ? -errno : 0, name);
	mapped = mmap(NULL, segment, PROT_READ | PROT_WRITE,
		      MAP_SHARED, file, 0);
	must(mapped == MAP_FAILED ? -errno : 0, "mmap");
	must(fstatfs(file, &fs) ? -errno : 0, "statfs");
	on_tmpfs = fs.f_type == TMPFS_MAGIC;
}

/* The first job opens a ring, whose time is not to be included. */
static void warm_up(void)
{
	must(daxpin_cancel(pool, all[chunks - 1]), "cancel");
	run_job(daxpin_reclaim, 1);
	run_job(daxpin_refill, 1);
	must(daxpin_reserve(pool, CHUNK, 0, &all[chunks - 1]), "reserve");
}

/*
 * Creates a new pool each time, because refilled chunks may have no huge pages. It has
 * one segment, all of which is reserved, so that only the chunks to be timed become
 * free.
 */
static void make_pool(void)
{
	static char errmsg[256];
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.pool_size = segment,
		.segment_size = segment,
		.errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};

	int ret = -ENOSPC;

	/*
	 * The last pool's space becomes free soon, when the kernel has freed its ring.
	 */
	for (int i = 0; i < 100 && ret == -ENOSPC; i++) {
		ret = daxpin_pool_create(path, &options, &pool);
		if (ret == -ENOSPC)
			usleep(100000);
	}
	must(ret, errmsg);
	for (int i = 0; i < chunks; i++)
		must(daxpin_reserve(pool, CHUNK, 0, &all[i]), "reserve");
	qsort(all, chunks, sizeof(*all), compare_addr);
	map_file();
	warm_up();
}

static void end_pool(void)
{
	munmap(mapped, segment);
	close(file);
	must(daxpin_pool_close(pool), "close");
	remove_tree(path);
}

static const struct test {
	const char *name;
	int step, raw, daxpin;		/* indexes of the figures */
} tests[] = {
	{ "reclaim", 1, RAW_PUNCH, RECLAIM },
	{ "refill", 1, RAW_FILL, REFILL },
	{ "reclaim-apart", 2, RAW_PUNCH, RECLAIM },
	{ "refill-apart", 2, RAW_FILL, REFILL },
};

static const struct test *find_test(void)
{
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (!strcmp(tests[i].name, bench.test) &&
		    (is_floor || !strcmp(bench.peer, "fallocate")))
			return &tests[i];
	bench_die("no test %s beside %s", bench.test, bench.peer);
}

int main(int argc, char **argv)
{
	uint64_t begin_ns = turns_clock_ns(CLOCK_MONOTONIC);
	const struct test *test;

	bench_parse(&bench, argc, argv);
	is_floor = !strcmp(bench.peer, "floor");
	test = find_test();
	bench_need_io_uring();
	if (bench.once) {
		segment = DAXPIN_SEGMENT_MIN;
		chunks = segment / CHUNK - 1;
		count = chunks / 2 - 1;
	}
	path = bench_path(&bench, "pool");
	while (turns_go_on(&bench, &rounds, 3, begin_ns)) {
		double ms[FIGURES];
		int i = rounds.count++;

		make_pool();
		round_of(test->step, i % 2, ms);
		end_pool();
		rounds.peer[i] = ms[test->raw];
		rounds.daxpin[i] = ms[test->daxpin];
	}
	turns_print(&bench, "ms", &rounds);
	return 0;
}
