/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "core/recover.h"
#include "machine/machine.h"
#include "pool/own.h"
#include "world.h"

void world_begin(struct world *world, const struct model *base, uint32_t level,
		 uint64_t seed)
{
	world->pool = NULL;
	world->level = level;
	world->from = 0;
	world->points = 0;
	world->random = seed;
	world->wrong[0] = '\0';
	memset(world->slot, 0, sizeof(world->slot));
	memset(world->object, 0, sizeof(world->object));
	machine_reboot();
	machine.random = seed;
	history_begin(&world->history, base);
	media_begin(&world->trace, !level);
}

void world_abandon(struct daxpin_pool *pool)
{
	if (!pool)
		return;
	dp_pool_tear_down(&pool->media);
	dp_discard(pool);
}

void world_end(struct world *world)
{
	uint32_t events = world->trace.events;

	world_abandon(world->pool);
	world->pool = NULL;
	/* The teardown is not part of the run. */
	assert(world->trace.events == events);
	(void)events;
	media_end(&world->trace);
}

void world_ready(struct world *world)
{
	world->from = media_events();
}

void world_wrong(struct world *world, const char *format, ...)
{
	va_list ap;

	if (world->wrong[0])
		return;
	va_start(ap, format);
	vsnprintf(world->wrong, sizeof(world->wrong), format, ap);
	va_end(ap);
}

static struct effect effect_of(enum effect_what what)
{
	struct effect effect;

	memset(&effect, 0, sizeof(effect));
	effect.what = what;
	return effect;
}

/* ------------------------------------------------------------------- pools */

static uint64_t epoch_of(struct daxpin_pool *pool)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };

	daxpin_pool_info(pool, &info);
	return info.epoch;
}

static uint64_t max_size(const struct world *world)
{
	return world->may_grow ? media_pool_size(MEDIA_SEGMENTS) : 0;
}

int world_create(struct world *world, bool overwrite)
{
	char errmsg[300] = "";
	struct daxpin_pool_options options = {
		.size = sizeof(options), .deadline_ns = DAXPIN_NO_DEADLINE,
		.flags = overwrite ? DAXPIN_POOL_OVERWRITE : 0,
		.pool_size = media_pool_size(world->segments),
		.segment_size = media_segment_size,
		.max_size = max_size(world),
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	struct history *history = &world->history;
	uint32_t op = history_call(history, OP_CREATE), last;
	struct effect create = effect_of(EFFECT_CREATE);
	int ret;

	create.blocks = world->segments;	/* how many */

	history->op[op].steps = true;
	history_effect(history, effect_of(EFFECT_DESTROY));
	history_effect(history, create);
	history_effect(history, effect_of(EFFECT_OPEN));
	last = history->effects - 1;
	ret = daxpin_pool_create(MACHINE_POOL, &options, &world->pool);
	if (!ret)
		history->effect[last].value = epoch_of(world->pool);
	else
		world_wrong(world, "create: %s (%d)", errmsg, ret);
	history_return(history, op, ret);
	return ret;
}

int world_open_until(struct world *world, uint64_t deadline_ns)
{
	char errmsg[300] = "";
	struct daxpin_pool_options options = {
		.size = sizeof(options), .deadline_ns = deadline_ns,
		.max_size = max_size(world),
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	struct history *history = &world->history;
	uint32_t op = history_call(history, OP_OPEN), last;
	int ret;

	history_effect(history, effect_of(EFFECT_OPEN));
	last = history->effects - 1;
	ret = daxpin_pool_open(MACHINE_POOL, &options, &world->pool);
	if (!ret)
		history->effect[last].value = epoch_of(world->pool);
	else if (ret != -EBUSY || deadline_ns == DAXPIN_NO_DEADLINE)
		world_wrong(world, "open: %s (%d)", errmsg, ret);
	history_return(history, op, ret);
	return ret;
}

int world_open(struct world *world)
{
	return world_open_until(world, DAXPIN_NO_DEADLINE);
}

void world_kill(struct world *world)
{
	world_abandon(world->pool);
	world->pool = NULL;
	machine.pid++;
}

int world_close(struct world *world)
{
	uint32_t op = history_call(&world->history, OP_CLOSE);
	int ret;

	history_effect(&world->history, effect_of(EFFECT_CLOSE));
	ret = daxpin_pool_close(world->pool);
	if (ret)
		world_wrong(world, "close: %s", strerror(-ret));
	else
		world->pool = NULL;
	history_return(&world->history, op, ret);
	return ret;
}

int world_grow(struct world *world)
{
	char errmsg[300] = "";
	struct daxpin_pool_options options = {
		.size = sizeof(options), .deadline_ns = DAXPIN_NO_DEADLINE,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct effect effect = effect_of(EFFECT_SEGMENTS);
	uint32_t op;
	int ret;

	daxpin_pool_info(world->pool, &info);
	if (info.segments == MEDIA_SEGMENTS)
		return 0;
	effect.value = MEDIA_SEGMENTS;
	op = history_call(&world->history, OP_GROW);
	history_effect(&world->history, effect);
	ret = daxpin_pool_grow(world->pool, max_size(world), &options);
	history_return(&world->history, op, ret);
	if (ret)
		world_wrong(world, "grow: %s (%d)", errmsg, ret);
	return ret;
}

int world_record_rdma(struct world *world, uint32_t device, uint32_t number)
{
	const struct dp_rdma_context context = { device, number, 0 };
	uint32_t op = history_call(&world->history, OP_RDMA);
	int ret;

	history_effect(&world->history, effect_of(EFFECT_RDMA));
	ret = dp_pool_record_rdma(&world->pool->media, &context);
	history_return(&world->history, op, ret < 0 ? ret : 0);
	if (ret < 0)
		world_wrong(world, "record of rdma: %s", strerror(-ret));
	return ret;
}

void world_forget_rdma(struct world *world, uint32_t device, uint32_t number)
{
	const struct dp_rdma_context context = { device, number, 0 };
	uint32_t op = history_call(&world->history, OP_NO_RDMA);

	history_effect(&world->history, effect_of(EFFECT_NO_RDMA));
	dp_pool_forget_rdma(&world->pool->media, &context);
	history_return(&world->history, op, 0);
}

/* ------------------------------------------------------------------- space */

static struct world_extent name_extent(struct daxpin_extent extent,
				       uint32_t blocks)
{
	return (struct world_extent) {
		.extent = extent, .blocks = blocks,
		.gen = extent.gen & DP_WORD_GEN_MASK,
	};
}

/* A reserved extent must not be in a hole, nor in a chunk that may still be punched. */
static void check_backed(struct world *world, const struct world_extent *extent)
{
	uint32_t file = extent->extent.addr / media_segment_size;
	uint64_t offset = extent->extent.addr % media_segment_size;
	uint64_t size = extent->blocks * DP_BLOCK_SIZE;

	if (machine_is_hole(file, offset, size))
		world_wrong(world, "block %llx was reserved although it is in a hole",
			    (unsigned long long)extent->extent.addr >> 12);
	if (machine_may_be_punched(file, offset, size))
		world_wrong(world, "block %llx was reserved although the kernel may still punch it",
			    (unsigned long long)extent->extent.addr >> 12);
}

int world_reserve(struct world *world, uint32_t blocks, uint32_t flags,
		  struct world_extent *ret_extent)
{
	struct daxpin_extent extent;
	uint32_t op = 0;
	int ret;

	if (flags)
		op = history_call(&world->history, OP_RESERVE_ZERO);
	ret = daxpin_reserve(world->pool, blocks * DP_BLOCK_SIZE, flags,
			     &extent);
	if (flags)
		history_return(&world->history, op, ret);
	if (ret)
		return ret;
	*ret_extent = name_extent(extent, blocks);
	check_backed(world, ret_extent);
	return 0;
}

/* Writes word by word without the library, as a device or the CPU does. */
void world_fill(struct world *world, const struct world_extent *extent)
{
	uint64_t size = extent->blocks * DP_BLOCK_SIZE;
	char *base = daxpin_ptr(world->pool, extent->extent, 0);

	assert(base);
	for (uint64_t at = 0; at < size; at = model_next_offset(at, size)) {
		uint64_t value = model_payload(extent->extent.addr,
					       extent->gen, at);

		media_store(base + at, &value, sizeof(value));
	}
}

void world_persist(struct world *world, const struct world_extent *extent)
{
	uint32_t op = history_call(&world->history, OP_PERSIST);
	int ret = daxpin_persist(world->pool, extent->extent, 0, 0);

	history_return(&world->history, op, ret);
	if (ret)
		world_wrong(world, "persist: %s", strerror(-ret));
}

int world_prepare(struct world *world, uint32_t blocks,
		  struct world_extent *ret_extent)
{
	int ret = world_reserve(world, blocks, 0, ret_extent);

	if (ret) {
		world_wrong(world, "reserve: %s", strerror(-ret));
		return ret;
	}
	world_fill(world, ret_extent);
	world_persist(world, ret_extent);
	return 0;
}

int world_copy(struct world *world, const struct world_extent *from,
	       struct world_extent *ret_extent)
{
	uint32_t op = history_call(&world->history, OP_COPY);
	struct daxpin_extent extent;
	int ret = daxpin_copy(world->pool, from->extent, NULL, &extent);

	history_return(&world->history, op, ret);
	if (ret) {
		world_wrong(world, "copy: %s", strerror(-ret));
		return ret;
	}
	*ret_extent = name_extent(extent, from->blocks);
	check_backed(world, ret_extent);
	return 0;
}

int world_shrink(struct world *world, uint32_t segments)
{
	char errmsg[300] = "";
	const struct daxpin_shrink_options options = {
		.size = sizeof(options), .deadline_ns = DAXPIN_NO_DEADLINE,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	uint32_t op = history_call(&world->history, OP_SHRINK);
	struct effect effect = effect_of(EFFECT_SEGMENTS);
	int ret;

	effect.value = segments;
	history_effect(&world->history, effect);
	ret = daxpin_pool_shrink(world->pool, segments * media_segment_size, &options);
	history_return(&world->history, op, ret);
	if (ret)
		world_wrong(world, "shrink: %s (%d)", errmsg, ret);
	return ret;
}

struct listing {
	struct world_extent *list;
	uint32_t count;
	uint32_t max;
};

static int list_one(struct daxpin_pool *pool, struct daxpin_extent extent,
		    uint64_t size, void *arg)
{
	struct listing *listing = arg;

	(void)pool;
	if (listing->count < listing->max)
		listing->list[listing->count++] =
			name_extent(extent, size / DP_BLOCK_SIZE);
	return 0;
}

uint32_t world_list(struct world *world, struct world_extent *list,
		    uint32_t max)
{
	struct listing listing = { list, 0, max };

	daxpin_foreach(world->pool, list_one, &listing);
	return listing.count;
}

/* ----------------------------------------------------------------- objects */

int world_object_reserve(struct world *world, uint32_t size,
			 struct world_object *ret_object)
{
	uint64_t addr, of_class;
	int ret = daxpin_object_reserve(world->pool, size, 0, &addr);

	if (ret)
		return ret;
	ret = daxpin_object_size(world->pool, addr, &of_class);
	if (ret || of_class < size)
		world_wrong(world, "an object of %u bytes has %llu (%d)", size,
			    (unsigned long long)of_class, ret);
	if (machine_is_hole(addr / media_segment_size, addr % media_segment_size,
			    of_class))
		world_wrong(world, "the object at %llx is in a hole",
			    (unsigned long long)addr);
	*ret_object = (struct world_object) {
		addr, of_class, random_next(&world->random)
	};
	return 0;
}

static void fill_object(struct world *world, const struct world_object *object)
{
	char *base = daxpin_object_ptr(world->pool, object->addr);

	assert(base);
	for (uint64_t at = 0; at < object->size;
	     at = model_next_offset(at, object->size)) {
		uint64_t value = model_object_payload(object->addr, object->tag, at);

		media_store(base + at, &value, sizeof(value));
	}
}

int world_object_prepare(struct world *world, uint32_t size,
			 struct world_object *ret_object)
{
	int ret = world_object_reserve(world, size, ret_object);

	if (ret)
		world_wrong(world, "reserve of an object: %s", strerror(-ret));
	else
		fill_object(world, ret_object);
	return ret;
}

struct listed_objects {
	struct world *world;
	struct world_object *list;
	uint32_t count;
	uint32_t max;
};

static int list_object(struct daxpin_pool *pool, uint64_t addr, uint64_t size,
		       void *arg)
{
	struct listed_objects *listing = arg;
	uint64_t first;
	uint32_t tag;

	memcpy(&first, daxpin_object_ptr(pool, addr), sizeof(first));
	if (!model_object_tag(first, &tag))
		world_wrong(listing->world, "the object at %llx begins with %llx",
			    (unsigned long long)addr, (unsigned long long)first);
	if (listing->count < listing->max)
		listing->list[listing->count++] =
			(struct world_object) { addr, size, tag };
	return 0;
}

uint32_t world_list_objects(struct world *world, struct world_object *list,
			    uint32_t max)
{
	struct listed_objects listing = { world, list, 0, max };

	daxpin_foreach_object(world->pool, list_object, &listing);
	return listing.count;
}

/* -------------------------------------------------------------- publishing */

static struct daxpin_op *add_op(struct world_batch *batch, uint32_t type,
				struct daxpin_extent extent,
				struct effect effect)
{
	struct daxpin_op *op = &batch->op[batch->count];

	assert(batch->count < DAXPIN_OPS_MAX);
	*op = (struct daxpin_op) { .type = type, .extent = extent };
	batch->effect[batch->count++] = effect;
	return op;
}

void batch_keep(struct world_batch *batch, const struct world_extent *extent,
		uint32_t flags)
{
	struct effect effect = effect_of(EFFECT_KEEP);

	effect.addr = extent->extent.addr;
	effect.blocks = extent->blocks;
	effect.gen = extent->gen;
	effect.loose = extent->loose;
	effect.zeroed = extent->zeroed;
	add_op(batch, DAXPIN_OP_KEEP, extent->extent, effect)->flags = flags;
	batch->persists |= !(flags & DAXPIN_OP_PERSISTED);
}

void batch_retire(struct world_batch *batch, const struct world_extent *extent)
{
	struct effect effect = effect_of(EFFECT_RETIRE);

	effect.addr = extent->extent.addr;
	effect.gen = extent->gen;
	effect.blocks = extent->blocks;
	add_op(batch, DAXPIN_OP_RETIRE, extent->extent, effect);
}

void batch_set(struct world_batch *batch, const struct world_extent *extent,
	       uint64_t offset, uint64_t value)
{
	struct effect effect = effect_of(EFFECT_SET);
	struct daxpin_op *op;

	effect.addr = extent->extent.addr + offset;
	effect.gen = extent->gen;
	effect.value = value;
	op = add_op(batch, DAXPIN_OP_SET, extent->extent, effect);
	op->offset = offset;
	op->value = value;
}

void batch_keep_copy(struct world *world, struct world_batch *batch,
		     const struct world_extent *from, const struct world_extent *copy)
{
	uint64_t size = copy->blocks * DP_BLOCK_SIZE;

	batch_keep(batch, copy, DAXPIN_OP_PERSISTED);
	for (uint64_t at = 0; at < size; at = model_next_offset(at, size)) {
		struct effect effect = effect_of(EFFECT_SET);

		effect.addr = copy->extent.addr + at;
		effect.gen = copy->gen;
		effect.value = *(uint64_t *)daxpin_ptr(world->pool, from->extent, at);
		assert(batch->effects < WORLD_EFFECTS);
		batch->more[batch->effects++] = effect;
	}
}

void batch_root(struct world_batch *batch, uint32_t root,
		const struct world_extent *extent)
{
	struct effect effect = effect_of(EFFECT_ROOT);
	struct daxpin_extent nothing = { 0, 0 };

	effect.root = root;
	effect.addr = extent ? extent->extent.addr : 0;
	add_op(batch, DAXPIN_OP_ROOT, extent ? extent->extent : nothing,
	       effect)->name = model_root_name(root);
}

static struct effect effect_of_object(enum effect_what what,
				      const struct world_object *object)
{
	struct effect effect = effect_of(what);

	effect.addr = object->addr;
	effect.size = object->size;
	effect.gen = object->tag;
	return effect;
}

static struct daxpin_extent extent_of(const struct world_object *object)
{
	return (struct daxpin_extent) { object->addr, 0 };
}

void batch_object_keep(struct world_batch *batch, const struct world_object *object)
{
	add_op(batch, DAXPIN_OP_OBJECT_KEEP, extent_of(object),
	       effect_of_object(EFFECT_OBJECT_KEEP, object));
}

void batch_object_free(struct world_batch *batch, const struct world_object *object)
{
	add_op(batch, DAXPIN_OP_OBJECT_FREE, extent_of(object),
	       effect_of_object(EFFECT_OBJECT_FREE, object));
}

void batch_object_set(struct world_batch *batch, const struct world_object *object,
		      uint64_t offset, uint64_t value)
{
	struct effect effect = effect_of(EFFECT_SET);
	struct daxpin_op *op;

	effect.addr = object->addr + offset;
	effect.gen = object->tag;
	effect.value = value;
	op = add_op(batch, DAXPIN_OP_SET, extent_of(object), effect);
	op->offset = offset;
	op->value = value;
}

void batch_object_root(struct world_batch *batch, uint32_t root,
		       const struct world_object *object)
{
	struct effect effect = effect_of(EFFECT_ROOT);

	effect.root = root;
	effect.addr = object->addr;
	add_op(batch, DAXPIN_OP_ROOT, extent_of(object), effect)->name =
		model_root_name(root);
}

static enum op_kind kind_of(const struct world_batch *batch)
{
	if (batch->count > 1)
		return OP_BATCH;
	switch (batch->op[0].type) {
	case DAXPIN_OP_KEEP:
		return batch->persists ? OP_KEEP_PERSIST : OP_KEEP;
	case DAXPIN_OP_RETIRE:
		return OP_RETIRE;
	case DAXPIN_OP_SET:
		return OP_SET;
	case DAXPIN_OP_OBJECT_KEEP:
		return OP_OBJECT_KEEP;
	case DAXPIN_OP_OBJECT_FREE:
		return OP_OBJECT_FREE;
	default:
		return OP_ROOT;
	}
}

int world_publish(struct world *world, const struct world_batch *batch)
{
	uint32_t op = history_call(&world->history, kind_of(batch));
	int ret;

	for (uint32_t i = 0; i < batch->count; i++)
		history_effect(&world->history, batch->effect[i]);
	for (uint32_t i = 0; i < batch->effects; i++)
		history_effect(&world->history, batch->more[i]);
	ret = daxpin_publish(world->pool, batch->op, batch->count, NULL, NULL);
	history_return(&world->history, op, ret);
	return ret;
}

int world_commit(struct world *world, const struct world_batch *batch)
{
	int ret = world_publish(world, batch);

	if (ret)
		world_wrong(world, "publish of %u, type %u first: %s",
			    batch->count, batch->op[0].type, strerror(-ret));
	return ret;
}

int world_keep(struct world *world, const struct world_extent *extent,
	       uint32_t flags)
{
	struct world_batch batch = { .count = 0 };

	batch_keep(&batch, extent, flags);
	return world_commit(world, &batch);
}

int world_object_keep(struct world *world, const struct world_object *object)
{
	struct world_batch batch = { .count = 0 };

	batch_object_keep(&batch, object);
	return world_commit(world, &batch);
}

int world_object_free(struct world *world, const struct world_object *object)
{
	struct world_batch batch = { .count = 0 };

	batch_object_free(&batch, object);
	return world_commit(world, &batch);
}

int world_retire(struct world *world, const struct world_extent *extent)
{
	struct world_batch batch = { .count = 0 };

	batch_retire(&batch, extent);
	return world_commit(world, &batch);
}

int world_set(struct world *world, const struct world_extent *extent,
	      uint64_t offset, uint64_t value)
{
	struct world_batch batch = { .count = 0 };

	batch_set(&batch, extent, offset, value);
	return world_commit(world, &batch);
}

void world_observed(struct world *world, const struct world_extent *extent,
		    uint64_t offset, uint64_t value)
{
	struct effect effect = effect_of(EFFECT_READ);
	uint32_t op = history_call(&world->history, OP_READ);

	effect.addr = extent->extent.addr + offset;
	effect.value = value;
	history_effect(&world->history, effect);
	history_return(&world->history, op, 0);
}

int world_root(struct world *world, uint32_t root,
	       const struct world_extent *extent)
{
	struct world_batch batch = { .count = 0 };

	batch_root(&batch, root, extent);
	return world_commit(world, &batch);
}
