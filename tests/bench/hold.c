/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_hold [OPTIONS] TEST PEER: the cost of a hold and its drop.
 *
 *	TEST	hold: of an extent that is not held; held: of one that is held already
 *		labelled: a hold that daxpin_holds() can show
 *		one-by-one | many | alike: 32 different extents by 64 calls; the same by
 *		two; one extent 32 times by two calls. An operation is one of the 32
 *		random: of 64 Ki extents, which are not in the CPU's caches
 *		cas: no holds, but two bare CAS loops, which a counter needs that tests
 *		the word before it counts
 *	PEER	two-adds: two bare locked adds on a cache line of the thread's own, the
 *		least cost of counting; with `random` on as many words
 *		floor: what a hold and its drop cannot do without. That is two calls
 *		with a CAS each, after a test of the word; a store to a counter of the
 *		thread's own before one and after the other; a load of the gate; and
 *		with `labelled` in each call a lock without contention, and once the
 *		coarse clock. With `random` each word is found by a handle in memory
 *		one-thread: daxpin itself, against --threads N of it
 *
 * Threads have extents in different segments. With "near-" before TEST the extents are
 * neighbours in one segment, and with "same-" all threads use one extent, or one line.
 */
#include "turns.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MANY		32
#define RANDOM		(1u << 16)	/* extents */
#define SEGMENTS	2
#define PAIRS		64		/* between two reads of the clock */

static struct bench bench;
static struct daxpin_pool *pool;

/* What a thread uses. */
static struct place {
	_Alignas(LINE) struct daxpin_extent extent;
	struct daxpin_extent many[MANY];	/* different ones */
	struct daxpin_extent alike[MANY];	/* `extent` in each */
	_Atomic long *count;			/* the peer's */
	uint64_t random;
} places[WORKERS_MAX];

static struct daxpin_extent *random_extents;
static struct {
	_Atomic uint64_t count, other;	/* 16 bytes, like a state word */
} *random_words;
static struct {
	uint64_t word, other;		/* 16 bytes, like a handle */
} *random_places;

/* ---------------------------------------------------------- the operations */

static uint64_t two_adds(struct worker *worker)
{
	_Atomic long *count = places[worker->index].count;
	uint64_t done = 0;

	do {
		for (int i = 0; i < PAIRS; i++) {
			atomic_fetch_add(count, 1);
			atomic_fetch_add(count, -1);
		}
		done += PAIRS;
	} while (!turn_is_over(worker));
	return done;
}

__attribute__((noinline))
static void add_by_cas(_Atomic long *count, long what)
{
	long now = atomic_load_explicit(count, memory_order_acquire);

	while (!atomic_compare_exchange_weak(count, &now, now + what))
		;
}

static uint64_t two_cas(struct worker *worker)
{
	_Atomic long *count = places[worker->index].count;
	uint64_t done = 0;

	do {
		for (int i = 0; i < PAIRS; i++) {
			add_by_cas(count, 1);
			add_by_cas(count, -1);
		}
		done += PAIRS;
	} while (!turn_is_over(worker));
	return done;
}

/* What `floor` changes for each thread. */
static struct floor_place {
	_Alignas(LINE) _Atomic uint64_t count;
	_Alignas(LINE) _Atomic uint64_t inc, dec;
	_Alignas(LINE) _Atomic uint32_t lock;
	struct timespec since;
} floor_places[WORKERS_MAX];
static _Alignas(LINE) _Atomic uint32_t floor_gate;

static void floor_go_up(_Atomic uint64_t *word)
{
	uint64_t now = atomic_load_explicit(word, memory_order_relaxed);

	atomic_store_explicit(word, now + 1, memory_order_release);
}

__attribute__((noinline))
static int floor_hold(struct floor_place *place, _Atomic uint64_t *count)
{
	uint64_t now = atomic_load_explicit(count, memory_order_acquire);

	if (now)
		return -1;
	floor_go_up(&place->inc);
	if (!atomic_compare_exchange_strong(count, &now, now + 1))
		return -1;
	return atomic_load(&floor_gate) ? -1 : 0;
}

__attribute__((noinline))
static int floor_drop(struct floor_place *place, _Atomic uint64_t *count)
{
	uint64_t now = atomic_load_explicit(count, memory_order_acquire);

	if (now != 1 || !atomic_compare_exchange_strong(count, &now, now - 1))
		return -1;
	floor_go_up(&place->dec);
	return 0;
}

/* What a label adds to a hold and its drop. */
static int floor_label(struct floor_place *place)
{
	int ret = clock_gettime(CLOCK_MONOTONIC_COARSE, &place->since);

	for (int i = 0; i < 2; i++) {
		ret |= atomic_exchange_explicit(&place->lock, 1, memory_order_acquire);
		atomic_store_explicit(&place->lock, 0, memory_order_release);
	}
	return ret;
}

static inline __attribute__((always_inline))
uint64_t floor_pairs(struct worker *worker, bool with_label)
{
	struct floor_place *place = &floor_places[worker->index];
	uint64_t done = 0;
	int ret = 0;

	do {
		for (int i = 0; i < PAIRS; i++) {
			ret |= floor_hold(place, &place->count);
			if (with_label)
				ret |= floor_label(place);
			ret |= floor_drop(place, &place->count);
		}
		done += PAIRS;
	} while (!turn_is_over(worker));
	must(ret, "floor");
	return done;
}

static uint64_t floor_holds(struct worker *worker)
{
	return floor_pairs(worker, false);
}

static uint64_t floor_labelled(struct worker *worker)
{
	return floor_pairs(worker, true);
}

static uint64_t hold(struct worker *worker)
{
	struct daxpin_extent extent = places[worker->index].extent;
	uint64_t done = 0;
	int ret = 0;

	do {
		for (int i = 0; i < PAIRS; i++) {
			ret |= daxpin_hold(pool, extent, DAXPIN_HOLD_READ);
			ret |= daxpin_drop(pool, extent);
		}
		done += PAIRS;
	} while (!turn_is_over(worker));
	must(ret, "hold, drop");
	return done;
}

/* One hold stays, so that the count never changes from 0 to 1. */
static uint64_t held(struct worker *worker)
{
	struct daxpin_extent extent = places[worker->index].extent;
	uint64_t done;

	must(daxpin_hold(pool, extent, DAXPIN_HOLD_READ), "hold");
	done = hold(worker);
	must(daxpin_drop(pool, extent), "drop");
	return done;
}

static uint64_t labelled(struct worker *worker)
{
	struct daxpin_extent extent = places[worker->index].extent;
	struct daxpin_hold one = { .access = 0 };
	uint64_t done = 0;
	int ret = 0;

	do {
		for (int i = 0; i < PAIRS; i++) {
			ret |= daxpin_hold_labelled(pool, extent,
						    DAXPIN_HOLD_READ,
						    "read, a ring", &one);
			ret |= daxpin_drop_labelled(pool, &one);
		}
		done += PAIRS;
	} while (!turn_is_over(worker));
	must(ret, "hold_labelled, drop_labelled");
	return done;
}

static uint64_t hold_array(struct worker *worker,
			   const struct daxpin_extent *array)
{
	uint64_t done = 0;
	int ret = 0;

	do {
		ret |= daxpin_hold_many(pool, array, MANY, DAXPIN_HOLD_READ,
					NULL);
		ret |= daxpin_drop_many(pool, array, MANY, NULL);
		done += MANY;
	} while (!turn_is_over(worker));
	must(ret, "hold_many, drop_many");
	return done;
}

static uint64_t many(struct worker *worker)
{
	return hold_array(worker, places[worker->index].many);
}

static uint64_t alike(struct worker *worker)
{
	return hold_array(worker, places[worker->index].alike);
}

/* As many holds as there are in an array, each by one call. */
static uint64_t one_by_one(struct worker *worker)
{
	const struct daxpin_extent *array = places[worker->index].many;
	uint64_t done = 0;
	int ret = 0;

	do {
		for (int i = 0; i < MANY; i++)
			ret |= daxpin_hold(pool, array[i], DAXPIN_HOLD_READ);
		for (int i = 0; i < MANY; i++)
			ret |= daxpin_drop(pool, array[i]);
		done += MANY;
	} while (!turn_is_over(worker));
	must(ret, "hold, drop");
	return done;
}

static uint64_t random_adds(struct worker *worker)
{
	uint64_t *random = &places[worker->index].random, done = 0;

	do {
		for (int i = 0; i < PAIRS; i++) {
			size_t which = bench_below(random, RANDOM);

			atomic_fetch_add(&random_words[which].count, 1);
			atomic_fetch_add(&random_words[which].count, -1);
		}
		done += PAIRS;
	} while (!turn_is_over(worker));
	return done;
}

static uint64_t floor_random(struct worker *worker)
{
	struct floor_place *place = &floor_places[worker->index];
	uint64_t *random = &places[worker->index].random, done = 0;
	int ret = 0;

	do {
		for (int i = 0; i < PAIRS; i++) {
			size_t which = random_places[bench_below(random, RANDOM)].word;

			ret |= floor_hold(place, &random_words[which].count);
			ret |= floor_drop(place, &random_words[which].count);
		}
		done += PAIRS;
	} while (!turn_is_over(worker));
	must(ret, "floor");
	return done;
}

static uint64_t random_holds(struct worker *worker)
{
	uint64_t *random = &places[worker->index].random, done = 0;
	int ret = 0;

	do {
		for (int i = 0; i < PAIRS; i++) {
			struct daxpin_extent extent =
				random_extents[bench_below(random, RANDOM)];

			ret |= daxpin_hold(pool, extent, DAXPIN_HOLD_READ);
			ret |= daxpin_drop(pool, extent);
		}
		done += PAIRS;
	} while (!turn_is_over(worker));
	must(ret, "hold, drop");
	return done;
}

static const struct test {
	const char *name;
	turn_fn *adds, *floor, *ours;
} tests[] = {
	{ "cas", two_adds, NULL, two_cas },
	{ "hold", two_adds, floor_holds, hold },
	{ "held", two_adds, NULL, held },
	{ "labelled", two_adds, floor_labelled, labelled },
	{ "one-by-one", two_adds, NULL, one_by_one },
	{ "many", two_adds, NULL, many },
	{ "alike", two_adds, NULL, alike },
	{ "random", random_adds, floor_random, random_holds },
};

/* ------------------------------------------------------------------- places */

static _Alignas(LINE) _Atomic long lines[WORKERS_MAX][LINE / sizeof(long)];

/*
 * Reserves an extent that is far from the previous one, as extents of different users
 * are.
 */
static struct daxpin_extent reserve_in(int segment)
{
	uint64_t begin = segment * (uint64_t)DAXPIN_SEGMENT_MIN;
	struct daxpin_extent extent;

	do
		must(daxpin_reserve(pool, 65536, 0, &extent), "reserve");
	while (extent.addr - begin >= DAXPIN_SEGMENT_MIN);
	return extent;
}

static int by_address(const void *a, const void *b)
{
	uint64_t x = ((const struct daxpin_extent *)a)->addr;
	uint64_t y = ((const struct daxpin_extent *)b)->addr;

	return (x > y) - (x < y);
}

/* Reserves extents of a block each and returns the first of `count` neighbours. */
static const struct daxpin_extent *reserve_neighbours(int count)
{
	static struct daxpin_extent extents[1024];
	int run = 1;

	for (int i = 0; i < 1024; i++)
		must(daxpin_reserve(pool, DAXPIN_BLOCK_SIZE, 0, &extents[i]),
		     "reserve");
	qsort(extents, 1024, sizeof(extents[0]), by_address);
	for (int i = 1; i < 1024 && run < count; i++) {
		run = extents[i].addr == extents[i - 1].addr + DAXPIN_BLOCK_SIZE ?
		      run + 1 : 1;
		if (run == count)
			return &extents[i - count + 1];
	}
	if (count > 1)
		bench_die("no %d of 1024 extents are adjacent", count);
	return extents;
}

static void make_place(struct place *place, int index)
{
	int segment = index % SEGMENTS;

	place->extent = reserve_in(segment);
	place->count = lines[index];
	place->random = 77 + index;
	for (int i = 0; i < MANY; i++)
		place->many[i] = reserve_in(segment);
}

static void make_places(bool near, bool same)
{
	const struct daxpin_extent *neighbours =
		near ? reserve_neighbours(bench.threads) : NULL;

	for (int i = 0; i < bench.threads; i++) {
		struct place *place = &places[i];

		make_place(place, i);
		if (near)
			place->extent = neighbours[i];
		if (same) {
			place->extent = places[0].extent;
			place->count = lines[0];
		}
		for (int j = 0; j < MANY; j++)
			place->alike[j] = place->extent;
	}
}

static void make_random(void)
{
	random_extents = calloc(RANDOM, sizeof(*random_extents));
	random_words = calloc(RANDOM, sizeof(*random_words));
	random_places = calloc(RANDOM, sizeof(*random_places));
	if (!random_extents || !random_words || !random_places)
		bench_die("no memory for %u extents", RANDOM);
	for (size_t i = 0; i < RANDOM; i++)
		must(daxpin_reserve(pool, DAXPIN_BLOCK_SIZE, 0,
				    &random_extents[i]), "reserve");
	for (size_t i = 0; i < RANDOM; i++)
		random_places[i].word = i;
}

static void make_pool(uint64_t bytes)
{
	static char errmsg[256];
	struct daxpin_pool_options options = {
		.size = sizeof(options), .segment_size = DAXPIN_SEGMENT_MIN,
		.pool_size = bytes, .errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};

	must(daxpin_pool_create(bench_path(&bench, "pool"), &options, &pool),
	     errmsg);
}

/* --------------------------------------------------------------------- main */

static const struct test *find_test(const char *name)
{
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (!strcmp(tests[i].name, name))
			return &tests[i];
	bench_die("no test %s", name);
}

static struct side find_peer(const struct test *test)
{
	if (!strcmp(bench.peer, "two-adds"))
		return (struct side) { test->adds, bench.threads };
	if (!strcmp(bench.peer, "floor") && test->floor)
		return (struct side) { test->floor, bench.threads };
	if (!strcmp(bench.peer, "one-thread"))
		return (struct side) { test->ours, 1 };
	bench_die("%s has no peer %s", bench.test, bench.peer);
}

int main(int argc, char **argv)
{
	const struct test *test;
	bool near, same;

	bench_parse(&bench, argc, argv);
	near = !strncmp(bench.test, "near-", 5);
	same = !strncmp(bench.test, "same-", 5);
	test = find_test(bench.test + (near || same ? 5 : 0));
	make_pool(test->ours == random_holds ? 512u << 20 :
		  SEGMENTS * DAXPIN_SEGMENT_MIN);
	make_places(near, same);
	if (test->ours == random_holds)
		make_random();
	turns_begin(bench.threads);
	turns_compare(&bench, find_peer(test),
		      (struct side) { test->ours, bench.threads });
	turns_end();
	return 0;
}
