/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a hold and its drop cost, against the least that counting can cost: two
 * bare lock-prefixed adds, on the same machine and in the same round.
 *
 *	bench_hold [ROUNDS]
 *
 * A round measures each case once, its peer right before it; shown are medians
 * of ns per pair, and of the rounds' ratios. An array's pairs are its entries.
 */
#include <daxpin.h>

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "remove_tree.h"

#define ROUNDS		31
#define ROUNDS_MAX	1001
#define PAIRS		400000
#define MANY		32
#define LINE		64

/* What a thread works on. */
struct work {
	struct daxpin_extent extent;
	struct daxpin_extent many[MANY];	/* different ones */
	struct daxpin_extent alike[MANY];	/* this one, over and over */
	_Atomic long *count;			/* the peer's */
	void (*run)(struct work *work);
	pthread_barrier_t *start;
	double ns;				/* a pair */
};

static struct daxpin_pool *pool;

/* Set up or measured wrong: the figures would mean nothing. */
static void must(int ret, const char *what)
{
	if (!ret)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-ret));
	exit(1);
}

/* -------------------------------------------------------------- what is done */

static void two_adds(struct work *work)
{
	for (int i = 0; i < PAIRS; i++) {
		atomic_fetch_add(work->count, 1);
		atomic_fetch_add(work->count, -1);
	}
}

/* What a count takes that must look before it counts, and nothing besides. */
__attribute__((noinline))
static void add_by_cas(_Atomic long *count, long what)
{
	long now = atomic_load_explicit(count, memory_order_acquire);

	while (!atomic_compare_exchange_weak(count, &now, now + what))
		;
}

static void two_cas(struct work *work)
{
	for (int i = 0; i < PAIRS; i++) {
		add_by_cas(work->count, 1);
		add_by_cas(work->count, -1);
	}
}

static void hold_drop(struct work *work)
{
	int ret = 0;

	for (int i = 0; i < PAIRS; i++) {
		ret |= daxpin_hold(pool, work->extent, DAXPIN_HOLD_READ);
		ret |= daxpin_drop(pool, work->extent);
	}
	must(ret, "hold, drop");
}

/* With a hold out: never 0 to 1. */
static void hold_drop_held(struct work *work)
{
	must(daxpin_hold(pool, work->extent, DAXPIN_HOLD_READ), "hold");
	hold_drop(work);
	must(daxpin_drop(pool, work->extent), "drop");
}

static void labelled(struct work *work)
{
	struct daxpin_hold hold = { .access = 0 };
	int ret = 0;

	for (int i = 0; i < PAIRS; i++) {
		ret |= daxpin_hold_labelled(pool, work->extent, DAXPIN_HOLD_READ,
					    "read, a ring", &hold);
		ret |= daxpin_drop_labelled(pool, &hold);
	}
	must(ret, "hold_labelled, drop_labelled");
}

static void hold_drop_many(const struct daxpin_extent *extents)
{
	int ret = 0;

	for (int i = 0; i < PAIRS / MANY; i++) {
		ret |= daxpin_hold_many(pool, extents, MANY, DAXPIN_HOLD_READ,
					NULL);
		ret |= daxpin_drop_many(pool, extents, MANY, NULL);
	}
	must(ret, "hold_many, drop_many");
}

static void many_different(struct work *work)
{
	hold_drop_many(work->many);
}

static void many_alike(struct work *work)
{
	hold_drop_many(work->alike);
}

/* The same number of holds as an array has, each by its own call. */
static void one_by_one(struct work *work)
{
	int ret = 0;

	for (int i = 0; i < PAIRS / MANY; i++) {
		for (int j = 0; j < MANY; j++)
			ret |= daxpin_hold(pool, work->many[j],
					   DAXPIN_HOLD_READ);
		for (int j = 0; j < MANY; j++)
			ret |= daxpin_drop(pool, work->many[j]);
	}
	must(ret, "hold, drop");
}

/* --------------------------------------------------------------- the cases */

enum place {
	ALONE,			/* one thread */
	SAME_EXTENT,		/* two, on one extent; two adds: on one line */
	SAME_SEGMENT,		/* two, each on its extent, or line */
	OTHER_SEGMENT,
};

static const struct {
	const char *name;
	enum place place;
	void (*run)(struct work *work);
} cases[] = {
	{ "two calls with a CAS loop, 1 thread", ALONE, two_cas },
	{ "hold + drop", ALONE, hold_drop },
	{ "  of an extent that is held", ALONE, hold_drop_held },
	{ "  labelled", ALONE, labelled },
	{ "  32 extents, one by one", ALONE, one_by_one },
	{ "  32 extents in a call, each", ALONE, many_different },
	{ "  32 holds of one in a call, each", ALONE, many_alike },
	{ "two CAS loops, 2 threads, apart", OTHER_SEGMENT, two_cas },
	{ "  on one word", SAME_EXTENT, two_cas },
	{ "hold + drop, different segments", OTHER_SEGMENT, hold_drop },
	{ "  different extents of a segment", SAME_SEGMENT, hold_drop },
	{ "  the same extent", SAME_EXTENT, hold_drop },
	{ "  labelled, different extents", SAME_SEGMENT, labelled },
	{ "  32 extents in a call, each", SAME_SEGMENT, many_different },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

/* Two works in segment 0 and one in segment 1. */
static struct work works[3];
static _Alignas(LINE) _Atomic long lines[3][LINE / sizeof(long)];

static int cpu[2], cpus;

/* This thread's own time: others may be using the machine. */
static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static void *timed(void *arg)
{
	struct work *work = arg;
	double begun;

	if (work->start)
		pthread_barrier_wait(work->start);
	begun = now_ns();
	work->run(work);
	work->ns = (now_ns() - begun) / PAIRS;
	return NULL;
}

/* The thread, to one of the CPUs that this process has: 0 or 1. */
static void pin(pthread_t thread, int which)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu[which], &set);
	must(-pthread_setaffinity_np(thread, sizeof(set), &set), "a CPU");
}

/* Both from the same moment on; the slower one counts. */
static double together(struct work *a, struct work *b)
{
	pthread_barrier_t start;
	pthread_t thread;

	pthread_barrier_init(&start, NULL, 2);
	a->start = &start;
	b->start = &start;
	must(-pthread_create(&thread, NULL, timed, b), "a thread");
	pin(thread, 1);
	timed(a);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&start);
	return a->ns > b->ns ? a->ns : b->ns;
}

static void find_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		must(-errno, "the CPUs");
	for (int i = 0; i < CPU_SETSIZE && cpus < 2; i++)
		if (CPU_ISSET(i, &set))
			cpu[cpus++] = i;
	pin(pthread_self(), 0);
}

static double measure(enum place place, void (*run)(struct work *work))
{
	struct work a = works[0], b = works[place == OTHER_SEGMENT ? 2 : 1];

	if (place == SAME_EXTENT) {
		b.extent = a.extent;
		b.count = a.count;
	}
	a.run = run;
	b.run = run;
	a.start = NULL;
	if (place != ALONE)
		return together(&a, &b);
	timed(&a);
	return a.ns;
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

static void show(int rounds)
{
	static double peer[CASES][ROUNDS_MAX], ours[CASES][ROUNDS_MAX];
	static double ratio[CASES][ROUNDS_MAX];

	for (int r = 0; r < rounds; r++)
		for (size_t c = 0; c < CASES; c++) {
			if (cpus < 2 && cases[c].place != ALONE)
				continue;
			peer[c][r] = measure(cases[c].place, two_adds);
			ours[c][r] = measure(cases[c].place, cases[c].run);
			ratio[c][r] = ours[c][r] / peer[c][r];
		}
	printf("%-34s %9s %8s %6s\n", "ns, medians of rounds", "two adds",
	       "daxpin", "ratio");
	for (size_t c = 0; c < CASES; c++) {
		if (cpus < 2 && cases[c].place != ALONE) {
			puts("one CPU here: nothing with two threads");
			return;
		}
		printf("%-34s %9.1f %8.1f %6.2f\n", cases[c].name,
		       median(peer[c], rounds), median(ours[c], rounds),
		       median(ratio[c], rounds));
	}
}

/* ----------------------------------------------------------------- the pool */

static char path[] = "/dev/shm/daxpin-bench-XXXXXX";

static void remove_pool(void)
{
	remove_tree(path);
}

/* An extent that is as far from the last one as another user's would be. */
static struct daxpin_extent reserve_in(uint64_t begin, uint64_t size)
{
	struct daxpin_extent extent;

	do
		must(daxpin_reserve(pool, 65536, 0, &extent), "reserve");
	while (extent.addr - begin >= size);
	return extent;
}

static void fill_work(struct work *work, uint64_t segment)
{
	uint64_t size = DAXPIN_SEGMENT_MIN;

	work->extent = reserve_in(segment * size, size);
	for (int i = 0; i < MANY; i++) {
		work->many[i] = reserve_in(segment * size, size);
		work->alike[i] = work->extent;
	}
	work->count = lines[work - works];
}

static void make_pool(void)
{
	static char errmsg[256];
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.pool_size = 2 * DAXPIN_SEGMENT_MIN,
		.segment_size = DAXPIN_SEGMENT_MIN,
		.errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	int ret;

	if (!mkdtemp(path))
		must(-errno, "/dev/shm");
	atexit(remove_pool);
	ret = daxpin_pool_create(path, &options, &pool);
	must(ret, errmsg);
	for (int i = 0; i < 3; i++)
		fill_work(&works[i], i / 2);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS;

	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "rounds: 1 to %d\n", ROUNDS_MAX);
		return 2;
	}
	find_cpus();
	make_pool();
	show(rounds);
	must(daxpin_pool_close(pool), "close");
	return 0;
}
