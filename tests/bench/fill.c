/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_fill [OPTIONS] TEST PEER: latency and overhead of a pool that is not empty.
 *
 *	latency, latency-4k
 *			PEER -: the time of single reserves, the clock's reading
 *			included, while extents of 4 KiB to 1 MiB, or of 4 KiB only,
 *			are reserved and cancelled and the pool is 10 to 99 % full;
 *			the figure is the 99.9th percentile at 90 %
 *	churn, churn-4k
 *			PEER -: the same latencies before and after --seconds in which
 *			random extents were replaced at 90 %; the figure is that after
 *	unservable	PEER -: the time of a reserve that fails, when every second
 *			block is free
 *	blocks		PEER -: bytes in blocks that are not free for each byte that is
 *			live, after 5 times as many replacements as there are extents
 *	chunks		PEER a malloc: the same for chunks of 2 MiB that are not
 *			entirely free, which no reclaim can give back, compared with
 *			the resident memory of the malloc
 *	tables		PEER -: the library's own memory in percent of the pool, after
 *			each block was an extent once
 *	objects		PEER -: bytes in blocks that are not free, and the library's own
 *			memory, for each byte of --live N live objects of --size BYTES
 */
#include "workload.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#define BLOCK		((uint64_t)DAXPIN_BLOCK_SIZE)
#define SAMPLES_MAX	200000
#define REPLACEMENTS	5
#define SEED		4242

static struct daxpin_pool *pool;
static struct bench *const bench = &work.bench;
static struct hand hand = { .random = SEED };

/* The extents that are reserved, in no order. */
static struct {
	struct {
		struct daxpin_extent extent;
		uint64_t bytes;
	} *extents;
	size_t count, room;
	uint64_t live;		/* bytes */
} out;

static struct daxpin_pool_info info_of_pool(void)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	must(daxpin_pool_info(pool, &info), "info");
	return info;
}

/* Returns 4 KiB to 1 MiB, or one block. */
static uint64_t next_size(bool mixed)
{
	return mixed ? work_size(&hand) : BLOCK;
}

static uint64_t now_ns(void)
{
	return turns_clock_ns(CLOCK_MONOTONIC);
}

/* --------------------------------------------------- reserve and cancel */

/*
 * Allocates an array for as many extents as the pool has blocks, and touches all of it,
 * so that no page fault occurs later.
 */
static void make_room(void)
{
	out.room = info_of_pool().usable_bytes / BLOCK;
	out.extents = malloc(out.room * sizeof(out.extents[0]));
	if (!out.extents)
		bench_die("no memory for %zu extents", out.room);
	memset(out.extents, 1, out.room * sizeof(out.extents[0]));
}

static int add(uint64_t bytes)
{
	int ret = daxpin_reserve(pool, bytes, 0,
				 &out.extents[out.count].extent);

	if (ret)
		return ret;
	out.extents[out.count++].bytes = bytes;
	out.live += bytes;
	return 0;
}

static void take_away(size_t i)
{
	must(daxpin_cancel(pool, out.extents[i].extent), "cancel");
	out.live -= out.extents[i].bytes;
	out.extents[i] = out.extents[--out.count];
}

static void take_one_away(void)
{
	take_away(bench_below(&hand.random, out.count));
}

/*
 * Reserves as many of the bytes as fit: when the pool is nearly full, free runs are
 * short.
 */
static void add_what_fits(uint64_t bytes)
{
	while (add(bytes)) {
		if (bytes == BLOCK)
			bench_die("no block is free, at %zu extents", out.count);
		bytes = (bytes / 2 + BLOCK - 1) / BLOCK * BLOCK;
	}
}

/* ---------------------------------------------------------------- latency */

static const int fills[] = { 10, 50, 90, 95, 99 };

#define FILLS	(sizeof(fills) / sizeof(fills[0]))
#define SHOWN	90	/* the fill whose percentile is printed */

static void fill_to(uint64_t goal, bool mixed)
{
	while (out.live < goal) {
		uint64_t bytes = next_size(mixed);

		add_what_fits(bytes > goal - out.live ? BLOCK : bytes);
	}
}

static double values[SAMPLES_MAX];
static bool before_churn;	/* the figures are not the result yet */

/* Samples of reserves, and how many were left out, and why. */
struct samples {
	size_t count, refused;
	size_t preempted;	/* another process had the CPU during the reserve */
};

/* Cancels extents until there is room, then measures one reserve. */
static void sample(struct samples *samples, uint64_t goal, bool mixed)
{
	uint64_t bytes = next_size(mixed), begin, end;
	long preemptions;
	int ret;

	do
		take_one_away();
	while (out.count > 1 && out.live + bytes > goal);
	preemptions = turns_preemptions();
	begin = now_ns();
	ret = add(bytes);
	end = now_ns();
	if (ret) {
		samples->refused++;
		add_what_fits(bytes);
	} else if (turns_preemptions() != preemptions) {
		samples->preempted++;
	} else {
		values[samples->count++] = end - begin;
	}
}

/*
 * Returns the percentile of `count` sorted values, moved by that many standard
 * deviations.
 */
static double percentile(size_t count, double part, double sigmas)
{
	double at = part * count + sigmas * sqrt(count * part * (1 - part));

	if (at < 0)
		return values[0];
	return values[at >= count ? count - 1 : (size_t)at];
}

static void show_fill(int fill, const struct samples *samples)
{
	size_t count = samples->count, all = count + samples->refused;

	if (!count)
		bench_die("at %d %% every reserve was refused", fill);
	turns_middle(values, count);	/* sorts them */
	printf("fill=%d p50=%.0f p99=%.0f p999=%.0f max=%.0f samples=%zu refused=%.4f preempted=%zu\n",
	       fill, percentile(count, 0.5, 0), percentile(count, 0.99, 0),
	       percentile(count, 0.999, 0), values[count - 1], count,
	       (double)samples->refused / all, samples->preempted);
	if (fill == SHOWN && !before_churn)
		printf("%s unit=ns daxpin_is=%.0f daxpin_low=%.0f daxpin_high=%.0f\n",
		       bench->test, percentile(count, 0.999, 0),
		       percentile(count, 0.999, -1.96),
		       percentile(count, 0.999, 1.96));
}

static void latency_at(int fill, bool mixed)
{
	uint64_t goal = info_of_pool().usable_bytes / 100 * fill, end;
	size_t most = bench->once ? 100 : SAMPLES_MAX;
	struct samples samples = { 0 };

	fill_to(goal, mixed);
	/*
	 * Extents that were reserved in a row are neighbours: replace them at random
	 * first.
	 */
	for (size_t i = 0; i < (bench->once ? 100 : 2 * out.count); i++) {
		sample(&samples, goal, mixed);
		samples.count = 0;
	}
	samples = (struct samples) { 0 };
	end = now_ns() + bench->seconds * 1e9 / FILLS;
	while (samples.count < most && (bench->once || now_ns() < end))
		sample(&samples, goal, mixed);
	show_fill(fill, &samples);
}

static void latency_by_fill(bool mixed)
{
	for (size_t i = 0; i < FILLS; i++)
		latency_at(fills[i], mixed);
}

static void latency(bool mixed)
{
	make_room();
	latency_by_fill(mixed);
}

static void latency_mixed(void)
{
	latency(true);
}

static void latency_4k(void)
{
	latency(false);
}

/* ------------------------------------------------------------- unservable */

static bool is_odd(struct daxpin_extent extent)
{
	return extent.addr / BLOCK % 2;
}

static void unservable(void)
{
	size_t count = bench->once ? 1 : 1001;
	struct daxpin_extent extent;
	struct middle middle;
	uint64_t end;
	size_t i;

	make_room();
	while (!add(BLOCK))
		;
	for (i = 0; i < out.count; i++)
		if (is_odd(out.extents[i].extent))
			must(daxpin_cancel(pool, out.extents[i].extent),
			     "cancel");
	end = now_ns() + bench->seconds * 1e9;
	for (i = 0; i < count && (!i || now_ns() < end); i++) {
		uint64_t begin = now_ns();

		if (daxpin_reserve(pool, 2 * BLOCK, 0, &extent) != -ENOSPC)
			bench_die("a reserve of two blocks succeeded");
		values[i] = now_ns() - begin;
	}
	middle = turns_middle(values, i);
	printf("%s unit=ns daxpin_is=%.0f daxpin_low=%.0f daxpin_high=%.0f\n",
	       bench->test, middle.median, middle.low, middle.high);
}

/* --------------------------------------------------------------- used, live */

static uint64_t resident_before;		/* after the pool was created */

/* Anonymous memory of the process. A pool on tmpfs is not part of it. */
static uint64_t resident_bytes(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "RssAnon: %llu", &kib) == 1)
			break;
	if (file)
		fclose(file);
	if (!kib)
		bench_die("/proc/self/status has no RssAnon");
	return kib << 10;
}

static void replace_extents(size_t count)
{
	for (size_t i = 0; i < count; i++)
		must(add(next_size(true)), "reserve");
	for (size_t i = 0; i < REPLACEMENTS * count; i++) {
		take_one_away();
		must(add(next_size(true)), "reserve");
	}
}

static uint64_t chunks_bytes(void)
{
	uint64_t chunk = DAXPIN_CHUNK_SIZE, count = 0;
	uint64_t chunks = info_of_pool().media_bytes / chunk + 1;
	bool *used = calloc(chunks, sizeof(*used));

	for (size_t i = 0; used && i < out.count; i++) {
		uint64_t begin = out.extents[i].extent.addr;
		uint64_t end = begin + out.extents[i].bytes;

		for (uint64_t at = begin / chunk; at * chunk < end; at++)
			used[at] = true;
	}
	for (uint64_t i = 0; used && i < chunks; i++)
		count += used[i];
	free(used);
	return count * chunk;
}

/* Allocates the same sizes by malloc() and touches each page. */
struct piece {
	char *memory;
	size_t size;
};

static void piece_make(struct piece *piece)
{
	piece->size = work_size(&hand);
	piece->memory = aligned_alloc(BLOCK, piece->size);
	if (!piece->memory)
		bench_die("no memory: %zu bytes", piece->size);
	for (size_t at = 0; at < piece->size; at += BLOCK)
		*(volatile char *)(piece->memory + at) = 1;
}

static double used_by_malloc(size_t count)
{
	struct piece *pieces = calloc(count, sizeof(*pieces));
	uint64_t before, bytes, live = 0;

	memset(pieces, 0xff, count * sizeof(*pieces));
	before = resident_bytes();
	for (size_t i = 0; i < count; i++)
		piece_make(&pieces[i]);
	for (size_t i = 0; i < REPLACEMENTS * count; i++) {
		struct piece *piece = &pieces[bench_below(&hand.random, count)];

		free(piece->memory);
		piece_make(piece);
	}
	bytes = resident_bytes() - before;
	for (size_t i = 0; i < count; i++) {
		live += pieces[i].size;
		free(pieces[i].memory);
	}
	free(pieces);
	return (double)bytes / live;
}

static size_t used_extents(void)
{
	return bench->once ? BENCH_SMALL : 10000;
}

static void blocks(void)
{
	struct daxpin_pool_info info;

	make_room();
	replace_extents(used_extents());
	info = info_of_pool();
	printf("%s unit=x daxpin_is=%.4f\n", bench->test,
	       (double)(info.usable_bytes - info.free_bytes) / out.live);
}

static void chunks(void)
{
	double peer = used_by_malloc(used_extents()), daxpin;

	hand.random = SEED;
	make_room();
	replace_extents(used_extents());
	daxpin = (double)chunks_bytes() / out.live;
	printf("%s peer=%s unit=x peer_is=%.4f daxpin_is=%.4f ratio=%.4f low=%.4f high=%.4f\n",
	       bench->test, bench->peer, peer, daxpin, daxpin / peer,
	       daxpin / peer, daxpin / peer);
}

static void tables(void)
{
	uint64_t before = resident_before, handles;

	make_room();
	handles = out.room * sizeof(out.extents[0]);
	while (!add(BLOCK))
		;
	printf("%s unit=%% daxpin_is=%.4f\n", bench->test,
	       100.0 * (resident_bytes() - before - handles) /
	       info_of_pool().media_bytes);
}

static size_t objects_count(void)
{
	return bench->once ? BENCH_SMALL : bench->live ? bench->live : 1000000;
}

static void keep_objects(size_t count)
{
	static struct daxpin_op ops[DAXPIN_OPS_MAX];

	for (size_t i = 0; i < count; i++) {
		ops[i] = (struct daxpin_op) { .type = DAXPIN_OP_OBJECT_KEEP };
		must(daxpin_object_reserve(pool, bench->size, 0, &ops[i].extent.addr),
		     "reserve of an object");
	}
	must(daxpin_publish(pool, ops, count, NULL, NULL), "keep of objects");
}

static void objects(void)
{
	const size_t count = objects_count();
	struct daxpin_pool_info info;
	uint64_t own;

	for (size_t left = count, batch; left; left -= batch) {
		batch = left < DAXPIN_OPS_MAX ? left : DAXPIN_OPS_MAX;
		keep_objects(batch);
	}
	own = resident_bytes() - resident_before;
	info = info_of_pool();
	printf("objects=%zu blocks=%.4f own_memory=%.4f\n", count,
	       (double)(info.usable_bytes - info.free_bytes) / count / bench->size,
	       (double)own / count / bench->size);
	printf("%s unit=x daxpin_is=%.4f\n", bench->test,
	       (double)(info.usable_bytes - info.free_bytes + own) / count /
	       bench->size);
}

/* ------------------------------------------------------------------ churn */

static void empty_to(uint64_t goal)
{
	while (out.live > goal)
		take_one_away();
}

/* Replaces random extents for --seconds, and returns how many. */
static uint64_t replace_for_seconds(uint64_t goal, bool mixed)
{
	uint64_t end = now_ns() + bench->seconds * 1e9, count = 0;

	do {
		uint64_t bytes = next_size(mixed);

		empty_to(goal - bytes);
		add_what_fits(bytes);
		count++;
	} while (count % 1024 || (!bench->once && now_ns() < end));
	return count;
}

static void churn(bool mixed)
{
	uint64_t percent = info_of_pool().usable_bytes / 100, count;

	make_room();
	before_churn = true;
	latency_by_fill(mixed);
	empty_to(SHOWN * percent);
	printf("before: used chunks / live bytes %.4f\n",
	       (double)chunks_bytes() / out.live);
	count = replace_for_seconds(SHOWN * percent, mixed);
	printf("after %llu replacements: used chunks / live bytes %.4f\n",
	       (unsigned long long)count, (double)chunks_bytes() / out.live);
	empty_to(fills[0] * percent);
	before_churn = false;
	latency_by_fill(mixed);
}

static void churn_mixed(void)
{
	churn(true);
}

static void churn_4k(void)
{
	churn(false);
}

/* ---------------------------------------------------------------------- main */

static const struct test {
	const char *name;
	void (*run)(void);
	uint64_t space;			/* bytes */
} tests[] = {
	{ "latency", latency_mixed, 1 << 30 },
	{ "latency-4k", latency_4k, 1 << 30 },
	{ "churn", churn_mixed, 1 << 30 },
	{ "churn-4k", churn_4k, 1 << 30 },
	{ "unservable", unservable, 1 << 30 },
	{ "tables", tables, 1 << 30 },
	/* 10000 extents take 1.9 GiB, and replacing them needs free space. */
	{ "blocks", blocks, UINT64_C(3) << 30 },
	{ "chunks", chunks, UINT64_C(3) << 30 },
	{ "objects", objects, 0 },
};

static uint64_t space_of(const struct test *test)
{
	if (bench->once)
		return 1;
	/* An eighth is the waste of their sizes; the rest is for their slabs. */
	return test->space ? test->space : objects_count() * bench->size * 5 / 4;
}

int main(int argc, char **argv)
{
	bool is_malloc;

	bench_parse(bench, argc, argv);
	is_malloc = bench_become(bench, argv);
	if (is_malloc != !strcmp(bench->test, "chunks"))
		bench_die("%s beside %s", bench->test, bench->peer);
	work_make_sizes();
	resident_before = resident_bytes();
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (strcmp(bench->test, tests[i].name))
			continue;
		pool = bench_pool(bench, space_of(&tests[i]));
		tests[i].run();
		return 0;
	}
	bench_die("no test %s", bench->test);
}
