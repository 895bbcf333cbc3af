/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies of extents that replace them, and removing a segment. Until the superblock
 * does not count the segment, a crash leaves two, then one; the file is removed by the
 * shrink or by the recovery.
 */
#include <errno.h>
#include "kinds.h"

#define LISTED		16u

static void keep_three(struct world *world)
{
	struct world_extent extent;

	for (uint32_t i = 1; i <= 3 && !world_is_wrong(world); i++)
		if (!world_prepare(world, i, &extent))
			world_keep(world, &extent, DAXPIN_OP_PERSISTED);
}

static void reserve_only(struct world *world, uint32_t blocks,
			 struct world_extent *ret_extent)
{
	if (world_reserve(world, blocks, 0, ret_extent))
		world_wrong(world, "%u blocks cannot be reserved", blocks);
}

/* Both segments have three extents: while one is full, the other gets them. The last
 * may be short. */
static void setup_both(struct world *world)
{
	const uint32_t first = media_segment_size / DP_BLOCK_SIZE - DP_CHUNK_BLOCKS;
	const uint32_t last = media_last_size() / DP_BLOCK_SIZE - DP_CHUNK_BLOCKS;
	struct world_extent whole, rest;

	if (world_create(world, false))
		return;
	reserve_only(world, first, &whole);
	keep_three(world);
	reserve_only(world, last - 1024, &rest);
	if (world_is_wrong(world))
		return;
	daxpin_cancel(world->pool, whole.extent);
	keep_three(world);
	daxpin_cancel(world->pool, rest.extent);
	world_close(world);
}

static void move(struct world *world, const struct world_extent *from)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent copy;

	if (world_copy(world, from, &copy))
		return;
	batch_keep_copy(world, &batch, from, &copy);
	batch_retire(&batch, from);
	world_commit(world, &batch);
}

/* The keep alone takes one fence, so the copy's own fence must come before it. */
static void keep_copy(struct world *world, const struct world_extent *from)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent copy;

	if (world_copy(world, from, &copy))
		return;
	batch_keep_copy(world, &batch, from, &copy);
	world_commit(world, &batch);
}

static void run_copy(struct world *world)
{
	struct world_extent list[LISTED];
	uint32_t count;

	recover(world);
	if (world_is_wrong(world))
		return;
	count = world_list(world, list, LISTED);
	world_ready(world);
	if (count > 1 && !world_is_wrong(world)) {
		keep_copy(world, &list[1]);
		move(world, &list[0]);
	}
}

/* Moves everything out of the segment, which is taken out of use meanwhile. */
static int move_all(struct daxpin_pool *pool, const struct daxpin_shrink_wait *wait,
		    void *arg)
{
	struct world *world = arg;
	struct world_extent list[LISTED];
	uint32_t count = world_list(world, list, LISTED);

	(void)pool;
	(void)wait;
	for (uint32_t i = 0; i < count && !world_is_wrong(world); i++)
		if (list[i].extent.addr >= media_segment_size)
			move(world, &list[i]);
	count = world_list(world, list, LISTED);
	if (count && list[count - 1].extent.addr >= media_segment_size)
		world_wrong(world, "an extent was moved within a segment that is closed");
	return 1;
}

/* Cancels the first shrink after the moves, so that the second one alone is an
 * operation of the history. */
static void clear_segment(struct world *world)
{
	const struct daxpin_shrink_options options = {
		.size = sizeof(options), .deadline_ns = DAXPIN_NO_DEADLINE,
		.progress = move_all, .progress_arg = world,
	};
	struct world_extent list[LISTED];
	uint32_t count = world_list(world, list, LISTED);
	int ret;

	if (!count || list[count - 1].extent.addr < media_segment_size)
		return;
	ret = daxpin_pool_shrink(world->pool, media_segment_size, &options);
	if (ret != -ECANCELED)
		world_wrong(world, "a shrink that progress() cancels: %d", ret);
}

static void run_shrink(struct world *world)
{
	struct world_extent extent;

	recover(world);
	if (world_is_wrong(world))
		return;
	clear_segment(world);
	if (world_is_wrong(world))
		return;
	world_ready(world);
	if (!world_shrink(world, 1) && !world_prepare(world, 2, &extent))
		world_keep(world, &extent, DAXPIN_OP_PERSISTED);
	if (!world_is_wrong(world))
		world_close(world);
}

/* The moves are a part of it: cuts are made from the first on. */
static void run_move_and_shrink(struct world *world)
{
	recover(world);
	if (world_is_wrong(world))
		return;
	world_ready(world);
	clear_segment(world);
	if (!world_is_wrong(world))
		world_shrink(world, 1);
}

/* A grow is refused in the open that has shrunk, so there is another open before it. */
static void run_shrink_and_grow(struct world *world)
{
	struct world_extent extent;

	world->may_grow = true;
	recover(world);
	if (world_is_wrong(world))
		return;
	if (!world->level) {
		clear_segment(world);
		if (world_is_wrong(world))
			return;
		world_ready(world);
		if (world_shrink(world, 1) || world_close(world) || world_open(world))
			return;
	}
	if (!world_grow(world) && !world_prepare(world, 2, &extent))
		world_keep(world, &extent, DAXPIN_OP_PERSISTED);
}

static const struct kind list[] = {
	{ "copy", "a copy is kept, another replaces the original", 1, 2, 1, 1, 100,
	  setup_pool, run_copy, NULL },
	{ "shrink", "an empty segment is removed", 2, 3, 1, 1, 100,
	  setup_both, run_shrink, NULL },
	{ "shrink-move", "extents are moved, and their segment is removed", 2, 2, 1,
	  1, 100, setup_both, run_move_and_shrink, NULL },
};

const struct kind_list kinds_shrink = {
	.kind = list, .count = sizeof(list) / sizeof(list[0]),
};

static const struct kind short_list[] = {
	{ "short-shrink", "a short segment is removed", 2, 3, 1, 1, 100,
	  setup_both, run_shrink, NULL },
	{ "short-shrink-move", "extents are moved out of a short segment, and it is removed",
	  2, 2, 1, 1, 100, setup_both, run_move_and_shrink, NULL },
	{ "short-shrink-grow", "a short segment is removed; the next open adds a whole one",
	  2, 3, 1, 1, 100, setup_both, run_shrink_and_grow, NULL },
};

const struct kind_list kinds_short_shrink = {
	.kind = short_list, .count = sizeof(short_list) / sizeof(short_list[0]),
	.has_short = true,
};
