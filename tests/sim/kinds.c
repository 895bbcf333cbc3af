/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include "core.h"
#include "kinds.h"
#include "machine.h"

#define LISTED	64u

void recover(struct world *world)
{
	if (world->history.base.ready)
		world_open(world);
	else
		world_create(world, false);
}

static void keep_some(struct world *world)
{
	static const uint32_t blocks[] = { 1, 3, 2, 600, 1 };
	struct world_extent extent;

	for (uint32_t i = 0; i < 5; i++) {
		if (world_prepare(world, blocks[i], &extent))
			return;
		world_keep(world, &extent, 0);
		if (i == 1)		/* a block that had a life */
			world_retire(world, &extent);
	}
}

void setup_left_pool(struct world *world)
{
	if (world_create(world, false))
		return;
	keep_some(world);
}

void setup_pool(struct world *world)
{
	setup_left_pool(world);
	if (world->pool)
		world_close(world);
}

void fill_all_but(struct world *world, uint32_t blocks)
{
	uint32_t all = MEDIA_SEGMENT_SIZE / DP_BLOCK_SIZE - DP_CHUNK_BLOCKS;
	struct world_extent extent;

	if (!world_prepare(world, all - blocks, &extent))
		world_keep(world, &extent, 0);
}

/* ---------------------------------------------------------- random things */

static uint32_t random_size(struct world *world)
{
	static const uint32_t blocks[] = { 1, 1, 1, 2, 3, 7, 64, 513 };

	return blocks[machine_below(&world->random,
				    sizeof(blocks) / sizeof(blocks[0]))];
}

static void random_keep(struct world *world)
{
	struct world_extent extent;
	uint32_t how = machine_below(&world->random, 4);
	uint32_t blocks = how == 2 ? 1 : random_size(world);

	if (world_reserve(world, blocks, how == 3 ? DAXPIN_RESERVE_ZERO : 0,
			  &extent))
		return;
	world_fill(world, &extent);
	if (how & 1) {
		world_keep(world, &extent, DAXPIN_OP_PERSIST);
	} else if (how == 2) {
		extent.loose = true;	/* the application did not care */
		world_keep(world, &extent, 0);
	} else {
		world_persist(world, &extent);
		world_keep(world, &extent, 0);
	}
}

static void random_retire(struct world *world)
{
	struct world_extent list[LISTED];
	uint32_t count = world_list(world, list, LISTED);

	if (count)
		world_retire(world, &list[machine_below(&world->random,
							count)]);
}

static void random_cancel(struct world *world)
{
	struct world_extent extent;

	if (world_reserve(world, random_size(world), 0, &extent))
		return;
	world_fill(world, &extent);
	if (daxpin_cancel(world->pool, extent.extent))
		world_wrong(world, "cancel");
}

void random_step(struct world *world)
{
	switch (machine_below(&world->random, 10)) {
	case 0:
		if (!world_close(world))
			world_open(world);
		break;
	case 1:
		random_cancel(world);
		break;
	case 2:
	case 3:
	case 4:
		random_retire(world);
		break;
	default:
		random_keep(world);
	}
}
