/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_publish [OPTIONS] TEST PEER: the cost of durable operations.
 *
 *	TEST	lifo | mixed | passed: reserve, KEEP, RETIRE, see workload.h
 *		objects: lifo of small objects
 *		batch: 16 of them in a publish
 *		zeroed: reserve with durable zeroes, keep, and retire
 *		set | set-batch: a word, or 16, in a publish
 *		root: the last of --live N names gets another extent
 *		find: daxpin_root() of that name
 *	PEER	pmemobj: the same by libpmemobj's atomic API. It does not flush the
 *		payload, so KEEP does not either; zeroes are durable in both
 *		floor: the same cache lines and fences without any other work
 *		locked-floor: the same, and two locked operations for each operation
 *		one-thread: daxpin itself, against --threads N of it
 */
#include "floor.h"
#include "pmemobj_turns.h"

#include <stdio.h>

#define BATCH	16
#define WORDS	512		/* per thread, which SETs change */

static struct daxpin_pool *pool;
static struct bench *const bench = &work.bench;

static struct {
	_Alignas(LINE) struct daxpin_extent words;	/* for SETs */
	struct daxpin_extent named[2];			/* alternately */
	char name[DAXPIN_ROOT_NAME_MAX];
} workers[WORKERS_MAX];

ALWAYS_INLINE void publish(const struct daxpin_op *ops, size_t count)
{
	must(daxpin_publish(pool, ops, count, NULL, NULL), "publish");
}

/* ------------------------------------------------------- allocate and free */

ALWAYS_INLINE void keep_take(struct slot *slot, size_t size)
{
	struct daxpin_op keep = {
		.type = DAXPIN_OP_KEEP, .flags = DAXPIN_OP_PERSISTED,
	};

	must(daxpin_reserve(pool, size, 0, &slot->extent), "reserve");
	if (!bench->untouched)
		work_touch(daxpin_ptr(pool, slot->extent, 0));
	keep.extent = slot->extent;
	publish(&keep, 1);
}

ALWAYS_INLINE void keep_give(struct slot *slot)
{
	struct daxpin_op retire = {
		.type = DAXPIN_OP_RETIRE, .extent = slot->extent,
	};

	publish(&retire, 1);
}

WORKLOADS(with_keep, keep_take, keep_give);

ALWAYS_INLINE void small_take(struct slot *slot, size_t size)
{
	struct daxpin_op keep = {
		.type = DAXPIN_OP_OBJECT_KEEP, .flags = DAXPIN_OP_PERSISTED,
	};

	must(daxpin_object_reserve(pool, size, 0, &slot->extent.addr), "reserve");
	if (!bench->untouched)
		work_touch(daxpin_object_ptr(pool, slot->extent.addr));
	slot->extent.gen = 0;
	keep.extent = slot->extent;
	publish(&keep, 1);
}

ALWAYS_INLINE void small_give(struct slot *slot)
{
	struct daxpin_op op = {
		.type = DAXPIN_OP_OBJECT_FREE, .extent = slot->extent,
	};

	publish(&op, 1);
}

WORKLOADS(with_small, small_take, small_give);

static uint64_t keep_batch(struct worker *worker)
{
	uint64_t count = 0;

	do {
		struct daxpin_op ops[BATCH] = { 0 };

		for (int i = 0; i < BATCH; i++) {
			ops[i].type = DAXPIN_OP_KEEP;
			ops[i].flags = DAXPIN_OP_PERSISTED;
			must(daxpin_reserve(pool, bench->size, 0,
					    &ops[i].extent), "reserve");
		}
		publish(ops, BATCH);
		for (int i = 0; i < BATCH; i++) {
			ops[i].type = DAXPIN_OP_RETIRE;
			ops[i].flags = 0;
		}
		publish(ops, BATCH);
		count++;
	} while (!turn_is_over(worker));
	return count;
}

static uint64_t keep_zeroed(struct worker *worker)
{
	uint64_t count = 0;

	do {
		struct daxpin_op op = {
			.type = DAXPIN_OP_KEEP, .flags = DAXPIN_OP_PERSISTED,
		};

		must(daxpin_reserve(pool, bench->size, DAXPIN_RESERVE_ZERO |
				    DAXPIN_RESERVE_DURABLE, &op.extent), "reserve");
		publish(&op, 1);
		op.type = DAXPIN_OP_RETIRE;
		op.flags = 0;
		publish(&op, 1);
		count++;
	} while (!turn_is_over(worker));
	return count;
}

/* --------------------------------------------------------- words and names */

ALWAYS_INLINE uint64_t sets(struct worker *worker, int at_once)
{
	struct daxpin_extent words = workers[worker->index].words;
	uint64_t count = 0, random = 99 + worker->index;
	struct daxpin_op ops[BATCH];

	do {
		uint32_t at = bench_below(&random, WORDS);

		for (int i = 0; i < at_once; i++)
			ops[i] = (struct daxpin_op) {
				.type = DAXPIN_OP_SET, .extent = words,
				.offset = (at + i * 29) % WORDS * 8,
				.value = count,
			};
		publish(ops, at_once);
		count++;
	} while (!turn_is_over(worker));
	return count;
}

static uint64_t set(struct worker *worker)
{
	return sets(worker, 1);
}

static uint64_t set_batch(struct worker *worker)
{
	return sets(worker, BATCH);
}

static uint64_t root(struct worker *worker)
{
	uint64_t count = 0;

	do {
		for (int i = 0; i < 16; i++) {
			struct daxpin_op op = {
				.type = DAXPIN_OP_ROOT,
				.extent = workers[worker->index].named[i & 1],
				.name = workers[worker->index].name,
			};

			publish(&op, 1);
		}
		count += 16;
	} while (!turn_is_over(worker));
	return count;
}

static uint64_t find(struct worker *worker)
{
	struct daxpin_extent extent;
	uint64_t count = 0;

	do {
		for (int i = 0; i < 64; i++)
			must(daxpin_root(pool, workers[worker->index].name,
					 &extent),
			     "root");
		count += 64;
	} while (!turn_is_over(worker));
	return count;
}

/* ------------------------------------------------------------------ the tests */

static const struct comparison {
	const char *test, *peer;
	turn_fn *theirs, *ours;
	size_t live;
} comparisons[] = {
	{ "lifo", "pmemobj", with_objects_lifo, with_keep_lifo, 1000 },
	{ "lifo", "floor", floor_lifo, with_keep_lifo, 1000 },
	{ "objects", "pmemobj", with_objects_lifo, with_small_lifo, 1000 },
	{ "objects", "floor", floor_lifo, with_small_lifo, 1000 },
	{ "mixed", "pmemobj", with_objects_mixed, with_keep_mixed, 10000 },
	{ "passed", "pmemobj", with_objects_passed, with_keep_passed, 1 },
	{ "batch", "pmemobj", object_batch, keep_batch, 2 * BATCH },
	{ "batch", "floor", floor_batch, keep_batch, 2 * BATCH },
	{ "batch", "locked-floor", floor_batch_locked, keep_batch, 2 * BATCH },
	{ "zeroed", "pmemobj", object_zeroed, keep_zeroed, 2 },
	{ "zeroed", "floor", floor_zeroed, keep_zeroed, 2 },
	{ "set", "pmemobj", object_set, set, 1 },
	{ "set", "floor", floor_set, set, 1 },
	{ "set-batch", "pmemobj", object_set_batch, set_batch, 1 },
	{ "root", "floor", floor_set, root, 1 },
	{ "find", "pmemobj", object_root, find, 1 },
};

static struct daxpin_extent make_live(uint64_t size)
{
	struct daxpin_op op = { .type = DAXPIN_OP_KEEP };

	must(daxpin_reserve(pool, size, DAXPIN_RESERVE_ZERO, &op.extent),
	     "reserve");
	publish(&op, 1);
	return op.extent;
}

/* Publishes names, so that a search for the last one passes the others. */
static void make_names(size_t count)
{
	struct daxpin_op op = {
		.type = DAXPIN_OP_ROOT, .extent = workers[0].named[0],
	};
	char name[DAXPIN_ROOT_NAME_MAX];

	op.name = name;
	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "name %zu", i);
		publish(&op, 1);
	}
}

static void make_workers(void)
{
	bool named = !strcmp(bench->test, "root") || !strcmp(bench->test, "find");

	for (int i = 0; i < bench->threads; i++) {
		workers[i].words = make_live(WORDS * 8);
		workers[i].named[0] = make_live(DAXPIN_BLOCK_SIZE);
		workers[i].named[1] = make_live(DAXPIN_BLOCK_SIZE);
		snprintf(workers[i].name, sizeof(workers[i].name), "name %zu",
			 work.live + i);
	}
	if (named)
		make_names(work.live + bench->threads);
}

static const struct comparison *find_comparison(void)
{
	bool alone = !strcmp(bench->peer, "one-thread");

	for (size_t i = 0; i < sizeof(comparisons) / sizeof(comparisons[0]); i++)
		if (!strcmp(comparisons[i].test, bench->test) &&
		    (alone || !strcmp(comparisons[i].peer, bench->peer)))
			return &comparisons[i];
	bench_die("no test %s beside %s", bench->test, bench->peer);
}

static void set_up(const struct comparison *comparison)
{
	work.live = bench->live ? bench->live : comparison->live;
	if (bench->once && work.live > BENCH_SMALL)
		work.live = BENCH_SMALL;
	work_make_sizes();
	work_make_hands(with_keep.hands);
	work_make_hands(with_small.hands);
	atomic_store(&work.passage.last, NO_LAST);
	if (strstr(bench->peer, "floor"))
		floor_begin(bench->threads, bench->size);
	if (!strcmp(bench->peer, "pmemobj")) {
		object_begin(bench, work_bytes() * 4 / 3);
		work_make_hands(with_objects.hands);
	}
	pool = bench_pool(bench, work_bytes() + (64 << 20));
	make_workers();
}

int main(int argc, char **argv)
{
	const struct comparison *comparison;
	struct side peer;

	bench_parse(bench, argc, argv);
	bench->durable = true;
	if (!strcmp(bench->test, "passed") && bench->threads != 2)
		bench_die("passed takes --threads 2");
	bench_become(bench, argv);
	comparison = find_comparison();
	set_up(comparison);
	peer = !strcmp(bench->peer, "one-thread") ?
	       (struct side) { comparison->ours, 1 } :
	       (struct side) { comparison->theirs, bench->threads };
	turns_begin(bench->threads);
	if (!strcmp(bench->test, "mixed")) {
		turns_each(with_keep.fill);
		if (!strcmp(bench->peer, "pmemobj"))
			turns_each(with_objects.fill);
	}
	turns_compare(bench, peer,
		      (struct side) { comparison->ours, bench->threads });
	turns_end();
	if (!strcmp(bench->peer, "pmemobj"))
		object_end();
	return 0;
}
