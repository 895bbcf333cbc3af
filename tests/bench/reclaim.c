/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What it costs to give 100 extents of 2 MiB back: by one daxpin_reclaim(), and
 * by 100 raw fallocate() calls on other 100 chunks of the same file, mapped and
 * touched alike, in the same round and by turns the first; side by side in the file, and with one in use between any two.
 *
 *	bench_reclaim [DIRECTORY [ROUNDS]]
 *
 * The pools are made in DIRECTORY, /dev/shm without one: a DAX filesystem shows what
 * it is about, since there each call unmaps the whole file. Times are from the
 * call to the job's end, by the clock; shown are medians, and of the rounds' ratios.
 */
#include <daxpin.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "remove_tree.h"

#define ROUNDS		11
#define ROUNDS_MAX	1001
#define COUNT		100
#define CHUNK		((uint64_t)DAXPIN_CHUNK_SIZE)
#define CHUNKS		255		/* behind the metadata */
#define WAIT_MS		600000

enum { RAW_PUNCH, RECLAIM, RAW_FILL, REFILL, FIGURES };

static struct daxpin_pool *pool;
static int file = -1;
static char *mapped;
static struct daxpin_extent all[CHUNKS];	/* in the order of addresses */

/* Set up or measured wrong: the figures would mean nothing. */
static void must(int ret, const char *what)
{
	if (!ret)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(ret < 0 ? -ret : ret));
	exit(1);
}

static int compare_addr(const void *a, const void *b)
{
	const struct daxpin_extent *x = a, *y = b;

	return (x->addr > y->addr) - (x->addr < y->addr);
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

/* ------------------------------------------------------------ what is timed */

/* Not by the pool's mapping: where the filesystem gave no huge pages the first
 * store to each page would wait for its log there (MAP_SYNC). */
static void touch(const struct daxpin_extent *extent)
{
	volatile char *byte = mapped + extent->addr;

	for (uint64_t at = 0; at < CHUNK; at += DAXPIN_BLOCK_SIZE)
		byte[at] = 1;
}

static void publish(const struct daxpin_extent *extent, int count, uint32_t type)
{
	struct daxpin_op ops[COUNT] = { 0 };

	for (int i = 0; i < count; i++)
		ops[i] = (struct daxpin_op) { .type = type,
					      .extent = extent[i] };
	must(daxpin_publish(pool, ops, count, NULL, NULL), "publish");
}

static double raw(const struct daxpin_extent *extent, int mode)
{
	double begun = now_ms();

	for (int i = 0; i < COUNT; i++)
		if (fallocate(file, mode, extent[i].addr, CHUNK))
			must(-errno, "fallocate");
	return now_ms() - begun;
}

static double run_job(int (*what)(struct daxpin_pool *,
				  const struct daxpin_job_options *,
				  struct daxpin_job **), int count)
{
	struct daxpin_job_summary summary = { .size = sizeof(summary) };
	struct daxpin_job *job;
	double begun = now_ms(), ended;

	must(what(pool, NULL, &job), "a job");
	must(daxpin_job_wait(job, daxpin_deadline_ms(WAIT_MS)), "its end");
	ended = now_ms();
	must(daxpin_job_report(job, NULL, NULL, &summary), "its report");
	must(summary.result, "its result");
	if (summary.done_bytes != count * CHUNK)
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
	publish(extent, COUNT, DAXPIN_OP_KEEP);
	publish(extent, COUNT, DAXPIN_OP_RETIRE);
	ms[RECLAIM] = run_job(daxpin_reclaim, COUNT);
	ms[REFILL] = run_job(daxpin_refill, COUNT);
}

/* Two times 100 of the chunks, in turns; and the others go on being in use. */
static void round_of(int step, int turn, double *ms)
{
	struct daxpin_extent extent[2][COUNT];

	for (int i = 0; i < COUNT; i++) {
		extent[0][i] = all[i * step];
		extent[1][i] = all[step == 1 ? COUNT + i : i * step + 1];
	}
	for (int i = 0; i < 2; i++) {
		for (int j = 0; j < 2 * COUNT; j++)
			touch(&all[j]);
		if (i == turn)
			by_hand(extent[i], ms);
		else
			by_daxpin(extent[i], ms);
	}
}

/* -------------------------------------------------------------- the figures */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

/* ----------------------------------------------------------------- the pool */

static char directory[100] = "/dev/shm", path[128];

static void remove_pool(void)
{
	remove_tree(path);
}

static void map_file(void)
{
	char name[160];

	snprintf(name, sizeof(name), "%s/segment.0000", path);
	file = open(name, O_RDWR | O_CLOEXEC);
	must(file < 0 ? -errno : 0, name);
	mapped = mmap(NULL, DAXPIN_SEGMENT_MAX, PROT_READ | PROT_WRITE,
		      MAP_SHARED, file, 0);
	must(mapped == MAP_FAILED ? -errno : 0, "mmap");
}

/* The first job opens a ring: that is not what is to be timed. */
static void warm_up(void)
{
	must(daxpin_cancel(pool, all[CHUNKS - 1]), "cancel");
	run_job(daxpin_reclaim, 1);
	run_job(daxpin_refill, 1);
	must(daxpin_reserve(pool, CHUNK, 0, &all[CHUNKS - 1]), "reserve");
}

/* A new one each time: what is refilled may be without huge pages. One segment,
 * and all of it reserved: nothing is free but what is to be timed. */
static void make_pool(void)
{
	static char errmsg[256];
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.pool_size = DAXPIN_SEGMENT_MAX,
		.segment_size = DAXPIN_SEGMENT_MAX,
		.errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};

	int ret = -ENOSPC;

	snprintf(path, sizeof(path), "%s/daxpin-bench-XXXXXX", directory);
	if (!mkdtemp(path))
		must(-errno, path);
	/* The last one's space comes back when its ring is gone: soon. */
	for (int i = 0; i < 100 && ret == -ENOSPC; i++) {
		ret = daxpin_pool_create(path, &options, &pool);
		if (ret == -ENOSPC)
			usleep(100000);
	}
	must(ret, errmsg);
	for (int i = 0; i < CHUNKS; i++)
		must(daxpin_reserve(pool, CHUNK, 0, &all[i]), "reserve");
	qsort(all, CHUNKS, sizeof(*all), compare_addr);
	map_file();
	warm_up();
}

static void end_pool(void)
{
	munmap(mapped, DAXPIN_SEGMENT_MAX);
	close(file);
	must(daxpin_pool_close(pool), "close");
	remove_pool();
}

static void show(const char *name, int step, int rounds)
{
	static double ms[FIGURES + 2][ROUNDS_MAX];
	double one[FIGURES];

	for (int r = 0; r < rounds; r++) {
		make_pool();
		round_of(step, r % 2, one);
		end_pool();
		for (int i = 0; i < FIGURES; i++)
			ms[i][r] = one[i];
		ms[FIGURES][r] = one[RECLAIM] / one[RAW_PUNCH];
		ms[FIGURES + 1][r] = one[REFILL] / one[RAW_FILL];
	}
	printf("%-24s %10.2f %10.2f %6.2f\n", name, median(ms[RAW_PUNCH], rounds),
	       median(ms[RECLAIM], rounds), median(ms[FIGURES], rounds));
	printf("%-24s %10.2f %10.2f %6.2f\n", "  and back",
	       median(ms[RAW_FILL], rounds), median(ms[REFILL], rounds),
	       median(ms[FIGURES + 1], rounds));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[2]) : ROUNDS;

	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "rounds: 1 to %d\n", ROUNDS_MAX);
		return 2;
	}
	if (argc > 1)
		snprintf(directory, sizeof(directory), "%s", argv[1]);
	atexit(remove_pool);
	printf("%-24s %10s %10s %6s\n", "ms, medians of rounds", "100 calls",
	       "daxpin", "ratio");
	show("side by side", 1, rounds);
	show("every second chunk", 2, rounds);
	return 0;
}
