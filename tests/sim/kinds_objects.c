/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small objects: kept, freed, set and named, alone and in batches with extents; slabs
 * that are made in space of extents, and extents in space of slabs; publishers whose
 * objects share a word.
 */
#include <errno.h>
#include "core/handle.h"
#include "kinds.h"
#include "random.h"

#define LISTED	128u
#define LARGEST	2048u		/* 31 objects in a slab, whose bits are one word */

/* Opens and lists the live objects. Cuts begin after the open; in a run after a crash,
 * with the open. */
static uint32_t begin(struct world *world, struct world_object *list)
{
	uint32_t count;

	recover(world);
	if (world_is_wrong(world))
		return 0;
	count = world_list_objects(world, list, LISTED);
	if (!world->level)
		world_ready(world);
	return count;
}

/* Objects of several classes, of which one slab has many, beside the usual extents. */
static void setup_left(struct world *world)
{
	static const uint32_t size[] = { 16, 100, 100, 100, 100, 2048, 700, 100 };
	struct world_object object;

	setup_left_pool(world);
	for (uint32_t i = 0; i < 8 && !world_is_wrong(world); i++)
		if (!world_object_prepare(world, size[i], &object))
			world_object_keep(world, &object);
}

static void setup(struct world *world)
{
	setup_left(world);
	if (!world_is_wrong(world))
		world_close(world);
}

/* -------------------------------------------------------------- one operation */

/* The first of each size makes a slab. */
static void run_keep(struct world *world)
{
	static const uint32_t size[] = { 16, 16, 100, 2048 };
	struct world_object list[LISTED], object;

	begin(world, list);
	for (uint32_t i = 0; i < 4 && !world_is_wrong(world); i++)
		if (!world_object_prepare(world, size[i], &object))
			world_object_keep(world, &object);
}

static void run_free(struct world *world)
{
	struct world_object list[LISTED];
	uint32_t count = begin(world, list);

	for (uint32_t i = 0; i < count && i < 6 && !world_is_wrong(world); i++)
		world_object_free(world, &list[i]);
}

/* An object that is kept where another was freed. */
static void run_again(struct world *world)
{
	struct world_object list[LISTED], object;
	uint32_t count = begin(world, list);

	for (uint32_t i = 0; i < count && i < 3 && !world_is_wrong(world); i++) {
		world_object_free(world, &list[i]);
		if (!world_object_prepare(world, list[i].size, &object))
			world_object_keep(world, &object);
	}
}

/* -------------------------------------------------------------------- batches */

/* Two objects of one word, and one of another. */
static void run_pairs(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_object list[LISTED], fresh[3];
	uint32_t count = begin(world, list);

	if (count < 5 || world_object_prepare(world, 100, &fresh[0]) ||
	    world_object_prepare(world, 100, &fresh[1]) ||
	    world_object_prepare(world, 1000, &fresh[2]))
		return;
	for (uint32_t i = 0; i < 3; i++)
		batch_object_keep(&batch, &fresh[i]);
	world_commit(world, &batch);
	batch.count = 0;
	batch_object_free(&batch, &fresh[0]);
	batch_object_free(&batch, &list[1]);
	world_commit(world, &batch);
	batch.count = 0;
	batch_object_set(&batch, &fresh[1], 64, 5);
	batch_object_set(&batch, &list[2], 64, 6);
	world_commit(world, &batch);
	batch.count = 0;
	batch_object_root(&batch, 0, &fresh[1]);
	batch_object_root(&batch, 3, &fresh[2]);
	world_commit(world, &batch);
}

/* A put of a key-value store: an object in place of another, and the index. */
static void run_put(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_object list[LISTED], fresh;
	uint32_t count = begin(world, list);

	for (uint32_t i = 0; count > 4 && i < 3 && !world_is_wrong(world); i++) {
		if (world_object_prepare(world, 100, &fresh))
			return;
		batch.count = 0;
		batch_object_keep(&batch, &fresh);
		batch_object_set(&batch, &list[4], 64, fresh.addr);
		batch_object_free(&batch, &list[1]);
		world_commit(world, &batch);
		list[1] = fresh;
	}
}

/* Each kind of operation, on objects and on extents. */
static void run_mix(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_object list[LISTED], fresh;
	struct world_extent extents[4], extent;
	uint32_t count = begin(world, list);

	if (count < 5 || world_list(world, extents, 4) < 3 ||
	    world_object_prepare(world, 100, &fresh) ||
	    world_prepare(world, 2, &extent))
		return;
	batch_object_root(&batch, 1, &fresh);
	batch_object_keep(&batch, &fresh);
	batch_keep(&batch, &extent, DAXPIN_OP_PERSISTED);
	batch_object_set(&batch, &fresh, 64, extent.extent.addr);
	batch_set(&batch, &extents[2], 64, fresh.addr);
	batch_object_free(&batch, &list[1]);
	batch_retire(&batch, &extents[0]);
	batch_root(&batch, 2, &extent);
	world_commit(world, &batch);
	batch.count = 0;
	batch_object_root(&batch, 2, &list[2]);
	batch_object_free(&batch, &fresh);
	batch_root(&batch, 1, NULL);
	world_commit(world, &batch);
}

static void run_many(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_object list[LISTED], fresh;
	uint32_t count = begin(world, list), i;

	for (i = 0; i < count && i < 4; i++)
		batch_object_free(&batch, &list[i]);
	for (i = 0; i < 120 && !world_is_wrong(world); i++) {
		if (world_object_prepare(world, i % 3 ? 48 : 16, &fresh))
			return;
		batch_object_keep(&batch, &fresh);
	}
	world_commit(world, &batch);
}

/* ----------------------------------------------------------- slabs and extents */

/* No space is free but that of one slab, which has one object. */
static void setup_full(struct world *world)
{
	struct world_object object;

	if (world_create(world, false))
		return;
	fill_all_but(world, 16);
	if (!world_is_wrong(world) && !world_object_prepare(world, 100, &object))
		world_object_keep(world, &object);
}

/* The blocks of the slab become an extent's, and then another slab's. */
static void run_reuse(struct world *world)
{
	struct world_object list[LISTED], object;
	struct world_extent extent;
	uint32_t count = begin(world, list);

	if (world_is_wrong(world))
		return;
	for (uint32_t i = 0; i < count && !world_is_wrong(world); i++)
		world_object_free(world, &list[i]);
	/* After a crash it can be an extent already. */
	if (world_reserve(world, 15, 0, &extent)) {
		if (!world->level)
			world_wrong(world, "the blocks of an empty slab are not free");
		return;
	}
	world_fill(world, &extent);
	world_keep(world, &extent, 0);
	if (!world_object_reserve(world, LARGEST, &object))
		world_wrong(world, "an object was reserved although no space is free");
	world_retire(world, &extent);
	if (!world_is_wrong(world) && !world_object_prepare(world, LARGEST, &object))
		world_object_keep(world, &object);
}

/* Slabs that become full and empty again, and a close that frees those without
 * objects. */
static void run_slabs(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_object list[LISTED], more[70];
	uint32_t i;

	begin(world, list);
	for (i = 0; i < 70 && !world_is_wrong(world); i++)
		if (!world_object_prepare(world, LARGEST, &more[i]))
			batch_object_keep(&batch, &more[i]);
	if (world_is_wrong(world))
		return;
	world_commit(world, &batch);
	for (i = 0; i < 66 && !world_is_wrong(world); i += 33) {
		batch.count = 0;
		for (uint32_t j = i; j < i + 33; j++)
			batch_object_free(&batch, &more[j]);
		world_commit(world, &batch);
	}
	if (!world_is_wrong(world))
		world_close(world);
}

/* ----------------------------------------------------------------- many crashes */

static void random_reserve(struct world *world, struct world_batch *batch)
{
	static const uint32_t size[] = { 16, 48, 100, 100, 700, 2048 };
	struct world_object object;

	if (world_object_prepare(world, size[random_below(&world->random, 6)], &object))
		return;
	batch_object_keep(batch, &object);
	/* A batch may name each root once. */
	if (batch->count < MODEL_ROOTS && !random_below(&world->random, 3))
		batch_object_root(batch, batch->count % MODEL_ROOTS, &object);
}

/* May be refused: a root names an object that is freed. */
static void random_objects(struct world *world)
{
	struct world_batch batch = { .count = 0 };
	struct world_object list[LISTED];
	uint32_t count = world_list_objects(world, list, LISTED);
	uint32_t ops = 1 + random_below(&world->random, 5);
	int ret;

	for (uint32_t i = 0; i < ops && !world_is_wrong(world); i++) {
		uint32_t which = count ? random_below(&world->random, count) : 0;
		uint32_t what = count ? random_below(&world->random, 5) : 0;

		if (what < 2) {
			random_reserve(world, &batch);
			continue;
		}
		if (what == 2)
			batch_object_set(&batch, &list[which], 8,
					 random_next(&world->random));
		else
			batch_object_free(&batch, &list[which]);
		list[which] = list[--count];
	}
	ret = batch.count ? world_publish(world, &batch) : 0;
	if (ret && ret != -EBUSY)
		world_wrong(world, "objects: %d", ret);
}

static void run_chain(struct world *world)
{
	recover(world);
	for (uint32_t i = 0; i < 4 && !world_is_wrong(world); i++)
		if (random_below(&world->random, 3))
			random_objects(world);
		else
			random_step(world);
}

static void run_recovery(struct world *world)
{
	if (world->level)
		recover(world);
	else
		run_mix(world);
}

/* ------------------------------------------------------------ several publishers */

enum { FIRST, SECOND, ONLOOKER };

static void may_be(struct world *world, int ret, const char *what)
{
	if (ret && ret != -EBUSY && ret != -ESTALE && ret != -EINVAL)
		world_wrong(world, "%s: %d", what, ret);
}

static void try_free(struct world *world, const struct world_object *object)
{
	struct world_batch batch = { .count = 0 };

	batch_object_free(&batch, object);
	may_be(world, world_publish(world, &batch), "free");
}

static void try_keep(struct world *world, const struct world_object *object)
{
	struct world_batch batch = { .count = 0 };

	batch_object_keep(&batch, object);
	may_be(world, world_publish(world, &batch), "keep");
}

/* Keeps and frees of objects whose bits share a word; a third frees what it can, and
 * reserves and keeps objects at once. */
static void act_word(uint32_t actor, void *arg)
{
	struct world *world = arg;
	struct world_batch batch = { .count = 0 };
	struct world_object fresh;

	switch (actor) {
	case FIRST:
		batch_object_keep(&batch, &world->object[0]);
		batch_object_keep(&batch, &world->object[1]);
		break;
	case SECOND:
		batch_object_keep(&batch, &world->object[2]);
		batch_object_free(&batch, &world->object[4]);
		break;
	default:
		try_free(world, &world->object[0]);
		try_free(world, &world->object[4]);
		if (!world_object_prepare(world, 100, &fresh))
			try_keep(world, &fresh);
		return;
	}
	may_be(world, world_publish(world, &batch), "batch");
}

/* One object: kept, cancelled, set, freed, each as soon as it is possible. */
static void act_claims(uint32_t actor, void *arg)
{
	struct world *world = arg;
	struct world_object *object = world->object;
	struct world_batch batch = { .count = 0 };

	switch (actor) {
	case FIRST:
		try_keep(world, &object[0]);
		batch_object_set(&batch, &object[0], 64, 1);
		batch_object_set(&batch, &object[4], 64, 2);
		may_be(world, world_publish(world, &batch), "set");
		break;
	case SECOND:
		batch_object_root(&batch, 1, &object[4]);
		may_be(world, world_publish(world, &batch), "root");
		try_free(world, &object[0]);
		break;
	default:
		may_be(world, daxpin_object_cancel(world->pool, object[0].addr),
		       "cancel");
		try_free(world, &object[4]);
		try_free(world, &object[0]);
	}
}

static void run_together(struct world *world, void (*act)(uint32_t actor, void *arg))
{
	struct world_object list[LISTED];

	recover(world);
	if (world_is_wrong(world) || world_list_objects(world, list, LISTED) < 5)
		return;
	world->object[4] = list[1];
	for (uint32_t i = 0; i < 3; i++)
		if (world_object_prepare(world, 100, &world->object[i]))
			return;
	world_ready(world);
	world->points = schedule_run(&world->schedule, 3, act, world);
}

static void run_word(struct world *world)
{
	run_together(world, act_word);
}

static void run_claims(struct world *world)
{
	run_together(world, act_claims);
}

static const struct kind list[] = {
	{ "object-keep", "objects kept one by one, in new slabs and old ones", 1, 2, 1,
	  1, 150, setup, run_keep, NULL },
	{ "object-free", "freed one by one", 1, 2, 1, 1, 100,
	  setup_left, run_free, NULL },
	{ "object-again", "freed, and kept in the same place", 1, 2, 1, 1, 150,
	  setup, run_again, NULL },
	{ "object-pairs", "batches of objects, some of one word", 1, 2, 1, 1, 150,
	  setup, run_pairs, NULL },
	{ "object-put", "an object in place of another, and the index", 1, 3, 1, 1,
	  200, setup, run_put, NULL },
	{ "object-mix", "all operations in a batch, on objects and extents", 1, 3, 1, 1,
	  200, setup, run_mix, NULL },
	{ "object-many", "a batch of 124 objects", 1, 2, 1, 1, 50, setup, run_many,
	  NULL },
	{ "object-reuse", "space of a slab is an extent's, then a slab's", 1, 3, 1, 1,
	  200, setup_full, run_reuse, NULL },
	{ "object-slabs", "slabs become full, empty and free", 1, 2, 1, 1, 100,
	  setup_empty_pool, run_slabs, NULL },
	{ "object-recovery", "three crashes, the later ones in recoveries", 1, 3, 1, 1,
	  200, setup, run_recovery, NULL },
	{ "object-chain", "three crashes, random objects and extents", 1, 3, 1, 40, 300,
	  setup, run_chain, NULL },
	{ "together-objects", "two publishers in one word, a third frees and keeps", 1, 1,
	  3, 1, 150, setup, run_word, NULL },
	{ "together-object", "one object kept, cancelled, set, named and freed", 1, 1,
	  3, 1, 150, setup, run_claims, NULL },
};

const struct kind_list kinds_objects = {
	.kind = list, .count = sizeof(list) / sizeof(list[0]),
};
