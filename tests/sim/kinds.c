/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include "core/handle.h"
#include "kinds.h"
#include "random.h"

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
		world_keep(world, &extent, DAXPIN_OP_PERSISTED);
		if (i == 1)		/* so that a free block has been in use */
			world_retire(world, &extent);
	}
}

void setup_left_pool(struct world *world)
{
	if (world_create(world, false))
		return;
	keep_some(world);
}

void setup_empty_pool(struct world *world)
{
	if (!world_create(world, false))
		world_close(world);
}

void setup_pool(struct world *world)
{
	setup_left_pool(world);
	if (world->pool)
		world_close(world);
}

void fill_all_but(struct world *world, uint32_t blocks)
{
	uint32_t all = media_segment_size / DP_BLOCK_SIZE - DP_CHUNK_BLOCKS;
	struct world_extent extent;

	if (!world_prepare(world, all - blocks, &extent))
		world_keep(world, &extent, DAXPIN_OP_PERSISTED);
}

/* ---------------------------------------------------------- random things */

static uint32_t random_size(struct world *world)
{
	static const uint32_t blocks[] = { 1, 1, 1, 2, 3, 7, 64, 513 };

	return blocks[random_below(&world->random,
				    sizeof(blocks) / sizeof(blocks[0]))];
}

static void random_keep(struct world *world)
{
	struct world_extent extent;
	uint32_t how = random_below(&world->random, 4);
	uint32_t blocks = how == 2 ? 1 : random_size(world);

	if (world_reserve(world, blocks, how == 3 ? DAXPIN_RESERVE_ZERO : 0,
			  &extent))
		return;
	world_fill(world, &extent);
	if (how & 1) {
		world_keep(world, &extent, 0);
	} else if (how == 2) {
		extent.loose = true;	/* PERSISTED is wrong: it was not persisted */
		world_keep(world, &extent, DAXPIN_OP_PERSISTED);
	} else {
		world_persist(world, &extent);
		world_keep(world, &extent, DAXPIN_OP_PERSISTED);
	}
}

static void random_retire(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_extent list[LISTED];
	uint32_t count = world_list(world, list, LISTED);
	int ret;

	if (!count)
		return;
	batch_retire(&batch, &list[random_below(&world->random, count)]);
	ret = world_publish(world, &batch);
	if (ret && ret != -EBUSY)	/* a root names it */
		world_wrong(world, "retire: %d", ret);
}

/* Adds one more operation to a batch; false if it was not added. */
static void add_random(struct world *world, struct world_batch *batch,
		       struct world_extent *list, uint32_t *count)
{
	uint32_t some = *count ? random_below(&world->random, *count) : 0;
	struct world_extent extent;

	switch (random_below(&world->random, *count ? 5 : 1)) {
	case 0:
	case 1:
		if (world_reserve(world, random_size(world), 0, &extent))
			return;
		world_fill(world, &extent);
		batch_keep(batch, &extent, 0);
		if (random_below(&world->random, 2))
			batch_root(batch, batch->count % MODEL_ROOTS, &extent);
		break;
	case 2:
		batch_retire(batch, &list[some]);
		list[some] = list[--*count];
		break;
	case 3:
		batch_set(batch, &list[some], batch->count % 2 ? 64 : 8,
			  random_next(&world->random));
		list[some] = list[--*count];
		break;
	default:
		batch_root(batch, batch->count % MODEL_ROOTS,
			   random_below(&world->random, 3) ? &list[some] :
			   NULL);
	}
}

/* May be refused: a root names the retired extent, or there is no such name. */
void random_batch(struct world *world)
{
	struct world_extent list[LISTED];
	struct world_batch batch = { .count = 0 };
	uint32_t count = world_list(world, list, LISTED);
	uint32_t ops = 2 + random_below(&world->random, 4);
	int ret;

	for (uint32_t i = 0; i < ops; i++)
		add_random(world, &batch, list, &count);
	ret = batch.count ? world_publish(world, &batch) : 0;
	if (ret && ret != -EBUSY && ret != -ENOENT && ret != -EINVAL)
		world_wrong(world, "batch: %d", ret);
}

static void random_set(struct world *world)
{
	struct world_extent list[LISTED];
	uint32_t count = world_list(world, list, LISTED);

	if (count)
		world_set(world, &list[random_below(&world->random, count)],
			  64, random_next(&world->random));
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
	switch (random_below(&world->random, 14)) {
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
	case 5:
		random_set(world);
		break;
	case 6:
	case 7:
	case 8:
		random_batch(world);
		break;
	default:
		random_keep(world);
	}
}
