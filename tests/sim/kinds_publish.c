/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/handle.h"
#include "kinds.h"
#include "random.h"

/* Opens. Returns false if it failed, or if cuts are only in the recovery. */
static bool begin(struct world *world)
{
	recover(world);
	return !world_is_wrong(world);
}

/* If the payload is durable already, a publish is one store, one flush, one fence. */
static void run_keep(struct world *world)
{
	struct world_extent a, b;

	if (!begin(world))
		return;
	if (world_prepare(world, 1, &a) || world_prepare(world, 2, &b))
		return;
	if (!world->level)
		world_ready(world);
	world_keep(world, &a, DAXPIN_OP_PERSISTED);
	world_keep(world, &b, DAXPIN_OP_PERSISTED);
}

/* The publish makes the payload durable, or a part of it. */
static void run_keep_persist(struct world *world)
{
	static const uint32_t blocks[] = { 1, 2, 3 };
	struct world_extent extent;

	if (!begin(world))
		return;
	if (!world->level)
		world_ready(world);
	for (uint32_t i = 0; i < 3; i++) {
		if (world_reserve(world, blocks[i], 0, &extent))
			return;
		world_fill(world, &extent);
		world_keep(world, &extent, 0);
	}
}

/* The blocks have durable bytes of the extents before. */
static void run_keep_zeroed(struct world *world)
{
	struct world_extent extent;

	if (!begin(world))
		return;
	if (!world->level)
		world_ready(world);
	for (uint32_t blocks = 1; blocks <= 3; blocks++) {
		if (world_prepare(world, blocks, &extent))
			return;
		world_keep(world, &extent, DAXPIN_OP_PERSISTED);
		world_retire(world, &extent);
		if (world_reserve(world, blocks, DAXPIN_RESERVE_ZERO |
				  DAXPIN_RESERVE_DURABLE, &extent))
			return;
		extent.zeroed = true;
		world_keep(world, &extent, DAXPIN_OP_PERSISTED);
	}
}

/* Data that was not made durable may have any contents, but the extent exists. */
static void run_keep_loose(struct world *world)
{
	struct world_extent extent;

	if (!begin(world))
		return;
	if (!world->level)
		world_ready(world);
	if (world_reserve(world, 1, 0, &extent))
		return;
	world_fill(world, &extent);
	extent.loose = true;
	world_keep(world, &extent, DAXPIN_OP_PERSISTED);
}

static void run_retire(struct world *world)
{
	struct world_extent list[8];
	uint32_t count;

	if (!begin(world))
		return;
	if (!world->level)
		world_ready(world);
	count = world_list(world, list, 8);
	for (uint32_t i = 0; i < count && i < 3; i++)
		world_retire(world, &list[i]);
}

/* No other space is free, so the blocks of retired extents are reused. */
static void setup_full(struct world *world)
{
	struct world_extent extent;

	if (world_create(world, false))
		return;
	fill_all_but(world, 2);
	if (!world_prepare(world, 2, &extent))
		world_keep(world, &extent, DAXPIN_OP_PERSISTED);
}

static void run_reuse(struct world *world)
{
	struct world_extent list[8], extent;
	uint32_t count;

	if (!begin(world))
		return;
	if (!world->level)
		world_ready(world);
	for (uint32_t i = 0; i < 2; i++) {
		count = world_list(world, list, 8);
		if (count > 1)
			world_retire(world, &list[count - 1]);
		if (world_reserve(world, 2 - i, i ? DAXPIN_RESERVE_ZERO : 0,
				  &extent)) {
			world_wrong(world, "retired space cannot be reserved");
			return;
		}
		world_fill(world, &extent);
		world_keep(world, &extent, 0);
		world_retire(world, &extent);
	}
}

/* Three random operations in each run, with three power failures. */
static void run_chain(struct world *world)
{
	if (!begin(world))
		return;
	for (uint32_t i = 0; i < 3 && !world_is_wrong(world); i++)
		random_step(world);
}

static void run_workload(struct world *world)
{
	uint32_t steps = world->level ? 4 : 24;

	if (!begin(world))
		return;
	for (uint32_t i = 0; i < steps && !world_is_wrong(world); i++)
		random_step(world);
}

static const struct kind list[] = {
	{ "keep", "payload durable before", 1, 2, 1, 1, 50,
	  setup_pool, run_keep, NULL },
	{ "keep-page", "the first in a page of the table", 1, 2, 1, 1, 100,
	  setup_empty_pool, run_keep, NULL },
	{ "keep-persist", "payload persisted by the publish", 1, 2, 1, 1, 150,
	  setup_pool, run_keep_persist, NULL },
	{ "keep-zeroed", "payload zeroed durably by the reserve", 1, 2, 1, 1, 150,
	  setup_pool, run_keep_zeroed, NULL },
	{ "keep-loose", "payload never made durable", 1, 2, 1, 1, 30,
	  setup_pool, run_keep_loose, NULL },
	{ "retire", "one by one", 1, 2, 1, 1, 50,
	  setup_left_pool, run_retire, NULL },
	{ "reuse", "retired space published again", 1, 2, 1, 1, 150,
	  setup_full, run_reuse, NULL },
	{ "chain", "three crashes, random operations", 1, 3, 1, 40, 300,
	  setup_pool, run_chain, NULL },
	{ "workload", "many random operations, two segments", 2, 2, 1, 12, 300,
	  setup_pool, run_workload, NULL },
};

const struct kind_list kinds_publish = {
	.kind = list, .count = sizeof(list) / sizeof(list[0]),
};
