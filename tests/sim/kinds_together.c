/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two publishers and an observer, which at any point tries to use the extents that the
 * others are publishing: it holds and writes those that it can, and retires those that
 * it can. These operations are part of the history: if one of them succeeded too early,
 * the state after a cut shows it.
 */
#include <errno.h>
#include "core/handle.h"
#include "kinds.h"

enum { FIRST, SECOND, ONLOOKER };

/* Overwrites the extent with other bytes, as a device could. */
static void scribble(struct world *world, const struct world_extent *extent)
{
	char *base = daxpin_ptr(world->pool, extent->extent, 0);
	uint64_t size = extent->blocks * DP_BLOCK_SIZE, zero = 0;

	for (uint64_t at = 0; at < size; at = model_next_offset(at, size)) {
		schedule_point();
		media_store(base + at, &zero, sizeof(zero));
	}
}

static void may_be(struct world *world, int ret, const char *what)
{
	if (ret && ret != -EBUSY && ret != -ESTALE && ret != -EALREADY &&
	    ret != -EINVAL && ret != -ENOENT)
		world_wrong(world, "%s: %d", what, ret);
}

static void publish_one(struct world *world, const struct world_extent *extent,
			bool retire)
{
	struct world_batch batch = { .count = 0 };

	if (retire)
		batch_retire(&batch, extent);
	else
		batch_keep(&batch, extent, DAXPIN_OP_PERSISTED);
	may_be(world, world_publish(world, &batch), "publish");
}

/* Reserves all free blocks, one at a time, and cancels them. */
static void take_and_scribble(struct world *world, uint32_t blocks)
{
	struct world_extent taken;

	if (world_reserve(world, blocks, 0, &taken))
		return;
	scribble(world, &taken);
	daxpin_cancel(world->pool, taken.extent);
}

/* Reserves an extent and publishes it, if possible. */
static void take_and_keep(struct world *world, struct world_extent *taken)
{
	if (world_reserve(world, 2, 0, taken))
		return;
	world_fill(world, taken);
	world_persist(world, taken);
	publish_one(world, taken, false);
}

/* -------------------------------------------- two keeps of words side by side */

static void act_keep(uint32_t actor, void *arg)
{
	struct world *world = arg;

	if (actor == ONLOOKER) {
		/* Retires the extent of the first as soon as it is live. */
		publish_one(world, &world->slot[0], true);
		return;
	}
	publish_one(world, &world->slot[actor], false);
	publish_one(world, &world->slot[actor + 2], false);
}

static void run_together(struct world *world,
			 void (*act)(uint32_t actor, void *arg))
{
	world_ready(world);
	world->points = schedule_run(&world->schedule, 3, act, world);
}

static void run_keep(struct world *world)
{
	recover(world);
	for (uint32_t i = 0; i < 4 && !world_is_wrong(world); i++)
		world_prepare(world, 1, &world->slot[i]);
	if (!world_is_wrong(world))
		run_together(world, act_keep);
}

/* -------------------------- one retires, the others reserve its space */

static void act_retire(uint32_t actor, void *arg)
{
	struct world *world = arg;
	struct world_extent *slot = world->slot;

	switch (actor) {
	case FIRST:
		publish_one(world, &slot[0], true);
		break;
	case SECOND:
		publish_one(world, &slot[1], false);
		publish_one(world, &slot[1], true);
		break;
	default:
		take_and_scribble(world, 2);
		may_be(world, daxpin_hold(world->pool, slot[0].extent,
					  DAXPIN_HOLD_READ) ?:
		       daxpin_drop(world->pool, slot[0].extent), "hold");
		publish_one(world, &slot[0], true);
	}
}

static void setup_retire(struct world *world)
{
	struct world_extent extent;

	if (world_create(world, false))
		return;
	fill_all_but(world, 3);
	if (!world_prepare(world, 2, &extent))
		world_keep(world, &extent, DAXPIN_OP_PERSISTED);
}

static void run_retire(struct world *world)
{
	struct world_extent list[4];

	recover(world);
	if (world_is_wrong(world))
		return;
	world_list(world, list, 4);
	world->slot[0] = list[1];
	if (!world_prepare(world, 1, &world->slot[1]))
		run_together(world, act_retire);
}

/* ------------------------------------------ the superblock, and publishing */

static void act_rdma(uint32_t actor, void *arg)
{
	struct world *world = arg;

	if (actor == SECOND)
		publish_one(world, &world->slot[0], false);
	else
		world_record_rdma(world, actor, 7);
}

static void run_rdma(struct world *world)
{
	recover(world);
	if (!world_is_wrong(world) &&
	    !world_prepare(world, 1, &world->slot[0]))
		run_together(world, act_rdma);
}

/* ------------------------------------------------------------- two batches */

static void act_batches(uint32_t actor, void *arg)
{
	struct world *world = arg;
	struct world_extent *slot = world->slot;
	struct world_batch batch = { .count = 0 };

	switch (actor) {
	case FIRST:
		batch_keep(&batch, &slot[0], DAXPIN_OP_PERSISTED);
		batch_retire(&batch, &slot[4]);
		break;
	case SECOND:
		batch_keep(&batch, &slot[1], DAXPIN_OP_PERSISTED);
		batch_set(&batch, &slot[5], 64, 2);
		break;
	default:
		publish_one(world, &slot[0], true);
		publish_one(world, &slot[1], true);
		publish_one(world, &slot[4], true);
		return;
	}
	may_be(world, world_publish(world, &batch), "batch");
}

static void run_batches(struct world *world)
{
	struct world_extent list[4];

	recover(world);
	if (world_is_wrong(world))
		return;
	world_list(world, list, 4);
	for (uint32_t i = 0; i < 2; i++) {
		world_prepare(world, 1, &world->slot[i]);
		world->slot[4 + i] = list[i];
	}
	if (!world_is_wrong(world))
		run_together(world, act_batches);
}

/* ------------------- space of what a batch retires, or sets and another retires */

static void act_space(uint32_t actor, void *arg)
{
	struct world *world = arg;
	struct world_extent *slot = world->slot;
	struct world_batch batch = { .count = 0 };

	switch (actor) {
	case FIRST:
		batch_set(&batch, &slot[0], 64, 1);
		batch_keep(&batch, &slot[1], DAXPIN_OP_PERSISTED);
		break;
	case SECOND:
		batch_retire(&batch, &slot[0]);
		batch_keep(&batch, &slot[2], DAXPIN_OP_PERSISTED);
		break;
	default:
		publish_one(world, &slot[0], true);
		take_and_keep(world, &slot[3]);
		return;
	}
	may_be(world, world_publish(world, &batch), "batch");
}

static void run_space(struct world *world)
{
	struct world_extent list[4];

	recover(world);
	if (world_is_wrong(world))
		return;
	world_list(world, list, 4);
	world->slot[0] = list[1];
	if (!world_prepare(world, 1, &world->slot[1]) &&
	    !world_prepare(world, 1, &world->slot[2]))
		run_together(world, act_space);
}

static void setup_space(struct world *world)
{
	struct world_extent extent;

	if (world_create(world, false))
		return;
	fill_all_but(world, 4);
	if (!world_prepare(world, 2, &extent))
		world_keep(world, &extent, DAXPIN_OP_PERSISTED);
}

/* ------------------------------------------------------------ one word, set */

static void act_set(uint32_t actor, void *arg)
{
	struct world *world = arg;
	struct world_extent *slot = world->slot;
	struct world_batch batch = { .count = 0 };
	uint64_t *word = daxpin_ptr(world->pool, slot[0].extent, 64);

	if (actor == ONLOOKER && (*word == 10 || *word == 11))
		world_observed(world, &slot[0], 64, *word);
	batch_set(&batch, &slot[0], 64, 10 + actor);
	if (actor == FIRST)
		batch_set(&batch, &slot[1], 8, 20);
	if (actor == SECOND)
		batch_set(&batch, &slot[1], 64, 30);
	may_be(world, world_publish(world, &batch), "set");
}

static void run_set(struct world *world)
{
	recover(world);
	if (world_is_wrong(world))
		return;
	world_list(world, world->slot, 4);
	run_together(world, act_set);
}

/* ------------------------------------------------------------- one root name */

static void act_root(uint32_t actor, void *arg)
{
	struct world *world = arg;
	struct world_extent *slot = world->slot;
	struct world_batch batch = { .count = 0 };

	switch (actor) {
	case FIRST:	/* moves the name and retires its last extent */
		batch_root(&batch, 1, &slot[1]);
		batch_retire(&batch, &slot[0]);
		break;
	case SECOND:	/* moves the name to another extent */
		batch_root(&batch, 1, &slot[2]);
		batch_root(&batch, 2, &slot[1]);
		break;
	default:	/* retires an extent without a name; removes the name */
		publish_one(world, &slot[1], true);
		publish_one(world, &slot[2], true);
		batch_root(&batch, 1, NULL);
	}
	may_be(world, world_publish(world, &batch), "roots");
}

static void setup_root(struct world *world)
{
	struct world_extent list[4];

	setup_left_pool(world);
	if (!world_is_wrong(world) && world_list(world, list, 4) >= 3)
		world_root(world, 1, &list[0]);
}

static void run_root(struct world *world)
{
	recover(world);
	if (world_is_wrong(world))
		return;
	world_list(world, world->slot, 4);
	run_together(world, act_root);
}

static const struct kind list[] = {
	{ "together-keep", "two keep, a third retires what it can", 1, 1, 3, 1,
	  100, setup_pool, run_keep, NULL },
	{ "together-page", "two keep the first extents in a page of the table", 1,
	  1, 3, 1, 150, setup_empty_pool, run_keep, NULL },
	{ "together-retire", "one retires, others reserve the space", 1, 1, 3, 1,
	  150, setup_retire, run_retire, NULL },
	{ "together-rdma", "two verbs contexts recorded, and a keep", 1, 1, 3, 1,
	  100,
	  setup_pool, run_rdma, NULL },
	{ "together-batches", "two batches, a third retires what it can", 1, 1,
	  3, 1, 100, setup_pool, run_batches, NULL },
	{ "together-space", "a set, a retire, and a reserve of the space", 1, 1,
	  3, 1, 100, setup_space, run_space, NULL },
	{ "together-set", "three set one word, two of them by a batch", 1, 1,
	  3, 1, 100, setup_pool, run_set, NULL },
	{ "together-root", "two move a name, a third removes it", 1, 1,
	  3, 1, 100, setup_root, run_root, NULL },
};

const struct kind_list kinds_together = {
	.kind = list, .count = sizeof(list) / sizeof(list[0]),
};
