/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Moving what a store has out of the segments that a shrink removes. An item, a table
 * or the head is copied, then one publish makes the copy live (KEEP), changes the word
 * that names it (SET, or ROOT for the head), and frees the old one (RETIRE or
 * OBJECT_FREE). So after a crash each is in one of the two places, and nothing is lost
 * or leaked.
 */
#include <errno.h>
#include <stdio.h>
#include "table.h"

/* Copy a live item. It is not durable before item_keep() was published. */
static int item_copy(struct daxpin_pool *pool, const struct item_place *from,
		     struct item_place *ret_copy)
{
	uint64_t size;
	int ret;

	ret_copy->kind = from->kind;
	if (from->kind == SLOT_EXTENT)
		return daxpin_copy(pool, from->extent, NULL, &ret_copy->extent);
	ret_copy->extent = (struct daxpin_extent) { 0, 0 };
	ret = daxpin_object_size(pool, from->extent.addr, &size);
	if (!ret)
		ret = daxpin_object_reserve(pool, size, 0, &ret_copy->extent.addr);
	if (ret)
		return ret;
	/* An error instead of a signal if the medium is bad there. */
	ret = daxpin_object_read(pool, from->extent.addr, 0, size,
				 daxpin_object_ptr(pool, ret_copy->extent.addr));
	if (ret)
		item_cancel(pool, ret_copy);
	return ret;
}

/* Move the item of a slot; the shard is locked. */
static int move_item(struct kv *kv, struct shard *shard, uint32_t index)
{
	uint64_t word = shard->slot[index];
	struct item_place from, to;
	struct daxpin_op op[3];
	int ret = item_find(kv->pool, word, &from);

	if (!ret)
		ret = item_copy(kv->pool, &from, &to);
	if (ret)
		return ret;
	op[0] = item_keep(&to);
	op[1] = shard_set(shard, index, slot_encode(&to, slot_tag(word)));
	op[2] = item_free(&from);
	ret = kv_publish(kv, op, 3);
	if (ret)
		item_cancel(kv->pool, &to);
	return ret;
}

static int move_items(struct kv *kv, struct shard *shard, uint64_t from)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < shard->slots; i++) {
		enum slot_kind kind = slot_kind(shard->slot[i]);

		if ((kind == SLOT_OBJECT || kind == SLOT_EXTENT) &&
		    slot_addr(shard->slot[i]) >= from)
			ret = move_item(kv, shard, i);
	}
	return ret;
}

static int move_table(struct kv *kv, struct shard *shard)
{
	struct daxpin_extent to;
	int ret = daxpin_copy(kv->pool, shard->table, NULL, &to);

	return ret ? ret : shard_replace(kv, shard, to);
}

static int move_shard(struct kv *kv, struct shard *shard, uint64_t from)
{
	int ret = 0;

	pthread_rwlock_wrlock(&shard->lock);
	if (shard->table.addr >= from)
		ret = move_table(kv, shard);
	if (!ret)
		ret = move_items(kv, shard, from);
	pthread_rwlock_unlock(&shard->lock);
	return ret;
}

/* The head is locked. */
static int move_locked_head(struct kv *kv)
{
	struct daxpin_op op[3] = {
		{ .type = DAXPIN_OP_KEEP, .flags = DAXPIN_OP_PERSISTED },
		{ .type = DAXPIN_OP_ROOT, .name = "kv" },
		{ .type = DAXPIN_OP_RETIRE, .extent = kv->head },
	};
	int ret = daxpin_copy(kv->pool, kv->head, NULL, &op[0].extent);

	if (ret)
		return ret;
	op[1].extent = op[0].extent;
	ret = kv_publish(kv, op, 3);
	if (ret)
		daxpin_cancel(kv->pool, op[0].extent);
	else
		kv->head = op[0].extent;
	return ret;
}

static int move_head(struct kv *kv, uint64_t from)
{
	int ret = 0;

	pthread_rwlock_wrlock(&kv->head_lock);
	if (kv->head.addr >= from)
		ret = move_locked_head(kv);
	pthread_rwlock_unlock(&kv->head_lock);
	return ret;
}

int kv_move(struct kv *kv, uint64_t from)
{
	int ret = move_head(kv, from);

	for (uint32_t i = 0; !ret && i < SHARDS; i++)
		ret = move_shard(kv, &kv->shard[i], from);
	return ret;
}

/* ---------------------------------------------------------------------- shrink */

struct shrink {
	struct kv *kv;
	uint64_t from;			/* the end of the smaller pool */
	int error;			/* of kv_move() */
};

/* Other threads put items meanwhile, and one that was reserved before the shrink began
 * may become live after this, so it is called until nothing is in the way. */
static int shrink_progress(struct daxpin_pool *pool,
			   const struct daxpin_shrink_wait *wait, void *arg)
{
	struct shrink *shrink = arg;

	(void)pool;
	if (wait->reason == DAXPIN_SHRINK_LIVE || wait->reason == DAXPIN_SHRINK_OBJECTS)
		shrink->error = kv_move(shrink->kv, shrink->from);
	/* Space is being reclaimed; the next call tries again. */
	if (shrink->error == -EAGAIN)
		shrink->error = 0;
	return shrink->error != 0;
}

int kv_shrink(struct kv *kv, uint64_t size, uint64_t deadline_ns, char *errmsg,
	      size_t errmsg_size)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct shrink shrink = { kv, 0, 0 };
	const struct daxpin_shrink_options options = {
		.size = sizeof(options), .deadline_ns = deadline_ns,
		.progress = shrink_progress, .progress_arg = &shrink,
		.errmsg = errmsg, .errmsg_size = errmsg_size,
	};
	int ret = daxpin_pool_info(kv->pool, &info);

	if (ret)
		return ret;
	/* As daxpin_pool_shrink() rounds. */
	shrink.from = size / info.segment_size * info.segment_size;
	if (shrink.from < size)
		shrink.from += info.segment_size;
	ret = daxpin_pool_shrink(kv->pool, size, &options);
	if (!shrink.error)
		return ret;
	if (errmsg)
		snprintf(errmsg, errmsg_size,
			 "what the store has above %llu bytes cannot be moved below: %s",
			 (unsigned long long)shrink.from,
			 daxpin_strerror(shrink.error));
	return shrink.error;
}
