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
};

const struct kind_list kinds_pool = { list, sizeof(list) / sizeof(list[0]) };
