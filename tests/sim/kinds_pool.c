/* SPDX-License-Identifier: BSD-3-Clause */
#include "kinds.h"
#include "machine/machine.h"

/* After a crash, another create completes it, which may also be interrupted. */
static void run_create(struct world *world)
{
	recover(world);
}

static void run_create_over(struct world *world)
{
	if (!world->level)
		world_create(world, true);
	else
		recover(world);
}

static void run_open(struct world *world)
{
	recover(world);
}

static void run_close(struct world *world)
{
	recover(world);
	if (world_is_wrong(world))
		return;
	world_ready(world);
	world_close(world);
}

static void run_close_and_open(struct world *world)
{
	run_close(world);
	if (!world_is_wrong(world))
		world_open(world);
}

/* Makes all files of a closed pool copies: their identities change. */
static void setup_copied_pool(struct world *world)
{
	setup_pool(world);
	for (uint32_t i = 0; i < world->segments; i++)
		machine_set(&machine_inode(i)->copies, 1);
}

static void run_rdma(struct world *world)
{
	recover(world);
	if (world_is_wrong(world))
		return;
	if (!world->level)
		world_ready(world);
	world_record_rdma(world, 0, 7);
	world_record_rdma(world, 1, 7);
	world_forget_rdma(world, 0, 7);
	world_close(world);
}

/* No file of a grow remains, except for those of the pool. */
static void check_files(struct world *world)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	daxpin_pool_info(world->pool, &info);
	for (uint32_t i = 0; i < MEDIA_SEGMENTS; i++)
		if (machine_inode(i)->there != (i < info.segments ? MACHINE_NAMED : 0))
			world_wrong(world, "the file of segment %u has the name %u in a pool of %u segments",
				    i, (unsigned int)machine_inode(i)->there,
				    info.segments);
}

/* An extent that fits only into the new segment is kept after the grow. */
static void run_grow(struct world *world)
{
	struct world_extent extent;

	world->may_grow = true;
	recover(world);
	if (world_is_wrong(world))
		return;
	check_files(world);
	if (!world->level)
		world_ready(world);
	if (world_prepare(world, 1, &extent))
		return;
	world_keep(world, &extent, DAXPIN_OP_PERSISTED);
	if (world_grow(world) ||
	    world_prepare(world, world->level ? 1 : 7000, &extent))
		return;
	world_keep(world, &extent, DAXPIN_OP_PERSISTED);
	world_retire(world, &extent);
}

static void run_grow_and_close(struct world *world)
{
	world->may_grow = true;
	recover(world);
	if (world_is_wrong(world))
		return;
	check_files(world);
	if (world_grow(world))
		return;
	world_ready(world);
	world_close(world);
	if (!world_is_wrong(world))
		world_open(world);
}

/* One grows, one keeps and retires. */
static void act_grow(uint32_t actor, void *arg)
{
	struct world *world = arg;
	struct world_extent extent;

	if (!actor) {
		world_grow(world);
		return;
	}
	for (uint32_t i = 0; i < 2; i++) {
		if (world_prepare(world, 2, &extent))
			return;
		world_keep(world, &extent, DAXPIN_OP_PERSISTED);
		world_retire(world, &extent);
	}
}

static void run_grow_beside(struct world *world)
{
	world->may_grow = true;
	recover(world);
	if (world_is_wrong(world))
		return;
	check_files(world);
	if (world->level)
		return;
	world_ready(world);
	world->points = schedule_run(&world->schedule, 2, act_grow, world);
}

static const struct kind list[] = {
	{ "create", "a new pool, one segment", 1, 3, 1, 1, 100,
	  NULL, run_create, NULL },
	{ "create-segments", "a new pool, two segments", 2, 2, 1, 1, 100,
	  NULL, run_create, NULL },
	{ "create-over", "over a pool that was closed", 1, 2, 1, 1, 100,
	  setup_pool, run_create_over, NULL },
	{ "create-over-left", "over a pool whose owner died, two segments", 2,
	  2, 1, 1, 100, setup_left_pool, run_create_over, NULL },
	{ "open", "a pool that was closed", 1, 3, 1, 1, 50,
	  setup_pool, run_open, NULL },
	{ "open-left", "a pool whose owner died, two segments", 2, 3, 1, 1, 50,
	  setup_left_pool, run_open, NULL },
	{ "adopt", "a copy of a pool that was closed, two segments", 2, 3, 1, 1,
	  50, setup_copied_pool, run_open, NULL },
	{ "close-segments", "a clean close of two segments, and an open after it",
	  2, 3, 1, 1, 50, setup_left_pool, run_close_and_open, NULL },
	{ "close", "a clean close, and an open after it", 1, 3, 1, 1, 50,
	  setup_left_pool, run_close_and_open, NULL },
	{ "rdma", "verbs contexts recorded and removed", 1, 3, 1, 1, 100,
	  setup_pool, run_rdma, NULL },
	{ "grow", "a keep, a grow by a segment, and a keep there", 1, 3, 1, 2, 150,
	  setup_pool, run_grow, NULL },
	{ "grow-close", "a grow, a clean close, and an open after it", 1, 2, 1, 1, 50,
	  setup_left_pool, run_grow_and_close, NULL },
	{ "grow-beside", "a grow, while another keeps and retires", 1, 1, 2, 1, 100,
	  setup_pool, run_grow_beside, NULL },
};

const struct kind_list kinds_pool = {
	.kind = list, .count = sizeof(list) / sizeof(list[0]),
};

/* The last segment that create makes is short. A grow adds whole ones behind it. */
static const struct kind short_list[] = {
	{ "short-create", "a new pool, the second segment is short", 2, 2, 1, 1, 100,
	  NULL, run_create, NULL },
	{ "short-open-left", "a pool whose owner died, the second segment is short", 2,
	  3, 1, 1, 50, setup_left_pool, run_open, NULL },
	{ "short-close", "a clean close, the second segment is short, and an open", 2,
	  3, 1, 1, 50, setup_left_pool, run_close_and_open, NULL },
	{ "short-grow", "a keep in a short segment, a grow by a whole one, a keep there",
	  1, 3, 1, 2, 150, setup_pool, run_grow, NULL },
	{ "short-grow-close", "a short segment, a grow, a clean close, and an open",
	  1, 2, 1, 1, 50, setup_left_pool, run_grow_and_close, NULL },
	{ "short-grow-beside", "a short segment, a grow, while another keeps and retires",
	  1, 1, 2, 1, 100, setup_pool, run_grow_beside, NULL },
};

const struct kind_list kinds_short_pool = {
	.kind = short_list, .count = sizeof(short_list) / sizeof(short_list[0]),
	.has_short = true,
};
