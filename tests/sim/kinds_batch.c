/* SPDX-License-Identifier: BSD-3-Clause */
/* SET, ROOT, and batches of many operations, by one publisher. */
#include "core/handle.h"
#include "kinds.h"
#include "random.h"

#define MARK	64u		/* an offset that payload is written at */

/*
 * Opens and lists the live extents. Cuts begin after the open; in a run after a crash,
 * with the open.
 */
static uint32_t begin(struct world *world, struct world_extent *list,
		      uint32_t max)
{
	uint32_t count;

	recover(world);
	if (world_is_wrong(world))
		return 0;
	count = world_list(world, list, max);
	if (!world->level)
		world_ready(world);
	return count;
}

static void run_set(struct world *world)
{
	struct world_extent list[4];

	if (begin(world, list, 4) < 2)
		return;
	world_set(world, &list[0], MARK, 1 + world->level);
	world_set(world, &list[0], MARK, 17 + world->level);
	world_set(world, &list[1], 0, 3);
}

/* A new name, another extent for it, its removal, and another name in its slot. */
static void run_root(struct world *world)
{
	struct world_extent list[4];

	if (begin(world, list, 4) < 2)
		return;
	world_root(world, 1, &list[0]);
	world_root(world, 1, &list[1]);
	world_root(world, 2, &list[1]);
	world_root(world, 1, NULL);
	world_root(world, 4, &list[0]);
}

/* Four batches of two operations of the same type. */
static void run_pairs(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent list[4], a, b;

	if (begin(world, list, 4) < 3 || world_prepare(world, 1, &a) ||
	    world_prepare(world, 2, &b))
		return;
	batch_keep(&batch, &a, DAXPIN_OP_PERSISTED);
	batch_keep(&batch, &b, DAXPIN_OP_PERSISTED);
	world_commit(world, &batch);
	batch.count = 0;
	batch_set(&batch, &a, MARK, 1);
	batch_set(&batch, &b, MARK, 2);
	world_commit(world, &batch);
	batch.count = 0;
	batch_root(&batch, 0, &a);
	batch_root(&batch, 3, &b);
	world_commit(world, &batch);
	batch.count = 0;
	batch_retire(&batch, &list[0]);
	batch_retire(&batch, &list[1]);
	world_commit(world, &batch);
}

/* A typical batch: replaces an extent, its entry in an index, and its name. */
static void run_exchange(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent list[4], fresh;

	if (begin(world, list, 4) < 3)
		return;
	for (uint32_t i = 0; i < 2 && !world_is_wrong(world); i++) {
		if (world_reserve(world, 1 + i, 0, &fresh))
			return;
		world_fill(world, &fresh);
		batch.count = 0;
		batch_root(&batch, 1, &fresh);
		batch_keep(&batch, &fresh, 0);
		batch_set(&batch, &fresh, 8, 77);
		batch_set(&batch, &list[2], MARK, fresh.extent.addr);
		batch_retire(&batch, &list[i]);
		world_commit(world, &batch);
		list[1] = fresh;
	}
}

/*
 * Words that a batch changed are changed again without a lane: a lane that is replayed
 * too late would restore the old word.
 */
static void run_then_single(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent list[4], a, b;

	if (begin(world, list, 4) < 3 || world_prepare(world, 1, &a) ||
	    world_prepare(world, 1, &b))
		return;
	batch_keep(&batch, &a, DAXPIN_OP_PERSISTED);
	batch_keep(&batch, &b, DAXPIN_OP_PERSISTED);
	batch_root(&batch, 2, &b);
	batch_set(&batch, &list[0], MARK, 5);
	world_commit(world, &batch);
	world_set(world, &list[0], MARK, 6);
	world_retire(world, &a);
	world_root(world, 2, NULL);
	world_retire(world, &b);
}

/* Two extents fill the pool except for two blocks. */
static void setup_full_pair(struct world *world)
{
	struct world_extent extent;

	if (world_create(world, false))
		return;
	fill_all_but(world, 2);
	for (uint32_t i = 0; i < 2 && !world_is_wrong(world); i++)
		if (!world_prepare(world, 1, &extent))
			world_keep(world, &extent, DAXPIN_OP_PERSISTED);
}

/* The block of a SET belongs to another extent soon afterwards. */
static void run_set_reuse(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent list[4], again;

	if (begin(world, list, 4) < 3)
		return;
	batch_set(&batch, &list[1], MARK, 5);
	batch_set(&batch, &list[2], MARK, 6);
	world_commit(world, &batch);
	world_retire(world, &list[1]);
	if (world_reserve(world, 1, 0, &again)) {
		world_wrong(world, "retired space cannot be reserved");
		return;
	}
	world_fill(world, &again);
	world_keep(world, &again, 0);
}

/*
 * Repeats the batch after each crash, with another value in one word. Words of the
 * later batch, in the same places of the lane, must not complete an earlier one that
 * was torn.
 */
static void run_torn(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent list[8], fresh;
	uint32_t count = begin(world, list, 8);

	if (!count || world_prepare(world, 3 - world->level, &fresh))
		return;
	batch_retire(&batch, &list[0]);
	batch_keep(&batch, &fresh, DAXPIN_OP_PERSISTED);
	world_commit(world, &batch);
}

/* Makes extents in both segments. */
static void setup_segments(struct world *world)
{
	static const uint32_t blocks[] = { 6000, 2000, 1, 1 };
	struct world_extent extent;

	if (world_create(world, false))
		return;
	for (uint32_t i = 0; i < 4 && !world_is_wrong(world); i++)
		if (!world_prepare(world, blocks[i], &extent))
			world_keep(world, &extent, DAXPIN_OP_PERSISTED);
}

static void run_segments(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent list[8], fresh;
	uint32_t count = begin(world, list, 8);

	if (count < 4 || world_prepare(world, 1800, &fresh))
		return;
	batch_keep(&batch, &fresh, DAXPIN_OP_PERSISTED);
	batch_set(&batch, &fresh, 2048, 9);
	batch_set(&batch, &list[0], 8, 10);
	batch_retire(&batch, &list[1]);
	batch_root(&batch, 5, &fresh);
	world_commit(world, &batch);
	world_retire(world, &list[count - 1]);
}

/* Makes extents for a batch of the largest possible number of operations. */
static void setup_many(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent extent;

	if (world_create(world, false))
		return;
	for (uint32_t i = 0; i < 120 && !world_is_wrong(world); i++)
		if (!world_prepare(world, 1, &extent))
			batch_keep(&batch, &extent, DAXPIN_OP_PERSISTED);
	world_commit(world, &batch);
}

static void run_many(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent list[128], fresh;
	uint32_t count = begin(world, list, 128), i;

	for (i = 0; i < count && i < 100; i++)
		batch_retire(&batch, &list[i]);
	for (; i < count; i++)
		batch_set(&batch, &list[i], MARK, i);
	while (batch.count < DAXPIN_OPS_MAX - 2) {
		if (world_prepare(world, 1, &fresh))
			return;
		batch_keep(&batch, &fresh, DAXPIN_OP_PERSISTED);
	}
	batch_root(&batch, 0, &fresh);
	batch_root(&batch, 4, &fresh);
	world_commit(world, &batch);
}

/* A batch, then only recoveries, which are interrupted again and again. */
static void run_recovery(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent list[4], fresh;

	if (world->level) {
		recover(world);
		return;
	}
	if (begin(world, list, 4) < 2 || world_prepare(world, 1, &fresh))
		return;
	batch_keep(&batch, &fresh, DAXPIN_OP_PERSISTED);
	batch_retire(&batch, &list[0]);
	world_commit(world, &batch);
}

static void run_chain(struct world *world)
{
	recover(world);
	for (uint32_t i = 0; i < 3 && !world_is_wrong(world); i++)
		random_batch(world);
}

static const struct kind list[] = {
	{ "set", "eight bytes of a live extent", 1, 2, 1, 1, 30,
	  setup_pool, run_set, NULL },
	{ "root", "names made, moved and removed", 1, 3, 1, 1, 150,
	  setup_pool, run_root, NULL },
	{ "batch-pairs", "two of each operation", 1, 2, 1, 1, 150,
	  setup_pool, run_pairs, NULL },
	{ "batch-exchange", "keep, set, root and retire in a batch", 1, 3, 1, 1, 200,
	  setup_pool, run_exchange, NULL },
	{ "batch-then-single", "words of a batch changed again, without one", 1, 2, 1, 1, 100,
	  setup_pool, run_then_single, NULL },
	{ "batch-set-reuse", "the block of a set is reused", 1, 2, 1, 1,
	  100, setup_full_pair, run_set_reuse, NULL },
	{ "batch-torn", "the same batch after each of three crashes", 1, 3, 1, 1,
	  300, setup_pool, run_torn, NULL },
	{ "batch-recovery", "three crashes, the later ones in recoveries", 1, 3,
	  1, 1, 200, setup_pool, run_recovery, NULL },
	{ "batch-segments", "a batch in two segments", 2, 2, 1, 1, 100,
	  setup_segments, run_segments, NULL },
	{ "batch-many", "a batch of 248 operations", 1, 2, 1, 1, 50,
	  setup_many, run_many, NULL },
	{ "batch-chain", "three crashes, random batches", 1, 3, 1, 40, 300,
	  setup_pool, run_chain, NULL },
};

const struct kind_list kinds_batch = {
	.kind = list, .count = sizeof(list) / sizeof(list[0]),
};
