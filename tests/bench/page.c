/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bench_page [OPTIONS] TEST PEER: what a status page costs.
 *
 *	TEST	hold: a hold and its drop; reserve: a reserve of 4 KiB and its cancel;
 *		keep: a reserve, a KEEP and a RETIRE; object: a reserve of a small
 *		object and its cancel; info: daxpin_pool_info(), which writes a
 *		snapshot at most ten times a second
 *	PEER	no-page: the same with a second pool, opened with DAXPIN_POOL_NO_STATUS
 */
#include "turns.h"

#include <string.h>

#define CALLS		64		/* between two reads of the clock */
#define OBJECT		64		/* bytes */

enum which { BARE, PAGE, POOLS };

static struct bench bench;
static struct daxpin_pool *pools[POOLS];
static struct daxpin_extent extents[POOLS];

static int hold(enum which which)
{
	return daxpin_hold(pools[which], extents[which], DAXPIN_HOLD_READ) |
	       daxpin_drop(pools[which], extents[which]);
}

static int reserve(enum which which)
{
	struct daxpin_extent extent = { 0 };
	int ret = daxpin_reserve(pools[which], DAXPIN_BLOCK_SIZE, 0, &extent);

	return ret | daxpin_cancel(pools[which], extent);
}

static int keep(enum which which)
{
	struct daxpin_op op = { .type = DAXPIN_OP_KEEP, .flags = DAXPIN_OP_PERSISTED };
	int ret = daxpin_reserve(pools[which], DAXPIN_BLOCK_SIZE, 0, &op.extent);

	ret |= daxpin_publish(pools[which], &op, 1, NULL, NULL);
	op.type = DAXPIN_OP_RETIRE;
	op.flags = 0;
	return ret | daxpin_publish(pools[which], &op, 1, NULL, NULL);
}

static int object(enum which which)
{
	uint64_t addr = 0;
	int ret = daxpin_object_reserve(pools[which], OBJECT, 0, &addr);

	return ret | daxpin_object_cancel(pools[which], addr);
}

static int info(enum which which)
{
	struct daxpin_pool_info now = { .size = sizeof(now) };

	return daxpin_pool_info(pools[which], &now);
}

static const struct test {
	const char *name;
	int (*call)(enum which which);
} tests[] = {
	{ "hold", hold },
	{ "reserve", reserve },
	{ "keep", keep },
	{ "object", object },
	{ "info", info },
};

static int (*call)(enum which which);

static uint64_t repeat(struct worker *worker, enum which which)
{
	uint64_t done = 0;
	int ret = 0;

	do {
		for (int i = 0; i < CALLS; i++)
			ret |= call(which);
		done += CALLS;
	} while (!turn_is_over(worker));
	must(ret, bench.test);
	return done;
}

static uint64_t repeat_bare(struct worker *worker)
{
	return repeat(worker, BARE);
}

static uint64_t repeat_page(struct worker *worker)
{
	return repeat(worker, PAGE);
}

static void make_pool(enum which which, const char *name)
{
	static char errmsg[256];
	struct daxpin_pool_options options = {
		.size = sizeof(options), .segment_size = DAXPIN_SEGMENT_MIN,
		.pool_size = DAXPIN_SEGMENT_MIN, .errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
		.flags = which == BARE ? DAXPIN_POOL_NO_STATUS : 0,
	};
	struct daxpin_pool_info now = { .size = sizeof(now) };

	must(daxpin_pool_create(bench_path(&bench, name), &options, &pools[which]),
	     errmsg);
	must(daxpin_reserve(pools[which], DAXPIN_BLOCK_SIZE, 0, &extents[which]),
	     "reserve");
	must(daxpin_pool_info(pools[which], &now), "info");
	if (which == PAGE)
		must(now.status_error, "the status page");
	else if (!now.status_error)
		bench_die("the pool without a page has one");
}

int main(int argc, char **argv)
{
	bench_parse(&bench, argc, argv);
	if (strcmp(bench.peer, "no-page"))
		bench_die("no peer %s", bench.peer);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (!strcmp(tests[i].name, bench.test))
			call = tests[i].call;
	if (!call)
		bench_die("no test %s", bench.test);
	make_pool(BARE, "bare");
	make_pool(PAGE, "pool");
	turns_begin(1);
	turns_compare(&bench, (struct side) { repeat_bare, 1 },
		      (struct side) { repeat_page, 1 });
	turns_end();
	return 0;
}
