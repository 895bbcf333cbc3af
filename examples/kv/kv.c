/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The calls of a key-value store. A put is one publish:
 *
 *	KEEP of the new item, SET of the slot, and RETIRE or OBJECT_FREE of the old item
 *
 * so that a power failure leaves the old value or the new one, and never an item that
 * no slot names. An item that is being made when the process dies was only reserved, so
 * the next open of the pool has it as free space.
 *
 * A reader copies a value under the lock of its shard. A value in an extent can be held
 * instead: a put that replaces it retires the extent, whose bytes remain until the last
 * drop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "table.h"

/* A key, and where its slot is. */
struct lookup {
	struct kv_bytes key;
	struct shard *shard;
	uint32_t tag;
};

static int look_up(struct kv *kv, struct kv_bytes key, struct lookup *ret_lookup)
{
	uint64_t hash;

	if (!key.size || key.size > KV_KEY_MAX)
		return -EINVAL;
	hash = XXH3_64bits_withSeed(key.bytes, key.size, kv->seed);
	ret_lookup->key = key;
	ret_lookup->shard = &kv->shard[hash >> (64 - SHARD_BITS)];
	ret_lookup->tag = hash << SHARD_BITS >> (64 - SLOT_TAG_BITS);
	return 0;
}

/* ------------------------------------------------------------------ open */

static int refuse_extent(struct daxpin_pool *pool, struct daxpin_extent extent,
			 uint64_t size, void *arg)
{
	(void)pool;
	(void)extent;
	(void)size;
	(void)arg;
	return -ENOTEMPTY;
}

/*
 * The pool has no root "kv". Is there nothing that a store without its root could have
 * left? A repair clears a damaged root, and a degraded open does not see it. No crash
 * leaves a store without its root, since one publish makes both.
 */
static int check_empty(struct daxpin_pool *pool)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	int ret = daxpin_foreach(pool, refuse_extent, NULL);

	ret = ret ? ret : daxpin_pool_info(pool, &info);
	if (!ret && info.objects)
		return -ENOTEMPTY;
	return !ret && info.flags & DAXPIN_POOL_DEGRADED ? -EUCLEAN : ret;
}

/* Publish an empty store: the head, its tables and its name. */
static int make_store(struct daxpin_pool *pool)
{
	struct daxpin_op op[SHARDS + 2] = { 0 };
	struct head *head;
	size_t count = 0;
	int ret = daxpin_reserve(pool, sizeof(*head), DAXPIN_RESERVE_ZERO,
				 &op[0].extent);

	if (ret)
		return ret;
	op[count++].type = DAXPIN_OP_KEEP;
	head = daxpin_ptr(pool, op[0].extent, 0);
	*head = (struct head) { HEAD_MAGIC, HEAD_VERSION, SHARDS, { 0 } };
	for (uint32_t i = 0; !ret && i < SHARDS; i++) {
		op[count].type = DAXPIN_OP_KEEP;
		ret = daxpin_reserve(pool, TABLE_SLOTS_MIN * sizeof(uint64_t),
				     DAXPIN_RESERVE_ZERO, &op[count].extent);
		if (!ret)
			head->table[i] = op[count++].extent.addr;
	}
	op[SHARDS + 1] = (struct daxpin_op) {
		.type = DAXPIN_OP_ROOT, .extent = op[0].extent, .name = "kv",
	};
	if (!ret)
		ret = daxpin_publish(pool, op, SHARDS + 2, NULL, NULL);
	for (size_t i = 0; ret && i < count; i++)
		daxpin_cancel(pool, op[i].extent);
	return ret;
}

int kv_make(struct daxpin_pool *pool)
{
	struct daxpin_extent root;
	int ret = daxpin_root(pool, "kv", &root);

	if (ret != -ENOENT)
		return ret == 0 || ret == -ESTALE ? -EEXIST : ret;
	ret = check_empty(pool);
	return ret ? ret : make_store(pool);
}

static int kv_load(struct kv *kv)
{
	const struct head *head;
	int ret = daxpin_root(kv->pool, "kv", &kv->head);

	if (ret == -ESTALE)
		return -EUCLEAN;
	if (ret == -ENOENT)
		ret = check_empty(kv->pool) ? : -ENOENT;
	if (ret)
		return ret;
	head = daxpin_ptr(kv->pool, kv->head, 0);
	if (!head || head->magic != HEAD_MAGIC || head->version != HEAD_VERSION ||
	    head->shards != SHARDS)
		return -EMEDIUMTYPE;
	for (uint32_t i = 0; !ret && i < SHARDS; i++)
		ret = shard_load(kv, &kv->shard[i], head->table[i]);
	return ret == -ENOENT || ret == -EINVAL ? -EUCLEAN : ret;
}

int kv_open(struct daxpin_pool *pool, struct kv **ret_kv)
{
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct kv *kv = calloc(1, sizeof(*kv));
	int ret = daxpin_pool_info(pool, &info);

	if (!kv || ret) {
		free(kv);
		return ret ? ret : -ENOMEM;
	}
	kv->pool = pool;
	/* A key's place depends on the pool, so that nobody can prepare keys that all
	 * have the same place. */
	kv->seed = XXH3_64bits(info.uuid, sizeof(info.uuid));
	pthread_rwlock_init(&kv->head_lock, NULL);
	for (uint32_t i = 0; i < SHARDS; i++)
		pthread_rwlock_init(&kv->shard[i].lock, NULL);
	ret = kv_load(kv);
	if (ret)
		kv_close(kv);
	else
		*ret_kv = kv;
	return ret;
}

void kv_close(struct kv *kv)
{
	for (uint32_t i = 0; i < SHARDS; i++)
		pthread_rwlock_destroy(&kv->shard[i].lock);
	pthread_rwlock_destroy(&kv->head_lock);
	free(kv);
}

/* ----------------------------------------------------------- put and delete */

/* Put an item into the slot of its key; the shard is locked. */
static int put_item(struct kv *kv, const struct lookup *at,
		    const struct item_place *item)
{
	struct shard *shard = at->shard;
	struct daxpin_op op[3];
	struct item_place old;
	uint32_t free_slot;
	int64_t found;
	uint64_t was, word = slot_encode(item, at->tag);
	int ret = shard_make_room(kv, shard);

	if (ret)
		return ret;
	found = shard_find(kv, shard, at->tag, at->key, &free_slot);
	if (found < 0)
		found = free_slot;
	was = shard->slot[found];
	op[0] = item_keep(item);
	op[1] = shard_set(shard, found, word);
	if (!was || slot_kind(was) == SLOT_REMOVED) {
		ret = kv_publish(kv, op, 2);
	} else {
		ret = item_find(kv->pool, was, &old);
		op[2] = item_free(&old);
		ret = ret ? ret : kv_publish(kv, op, 3);
	}
	if (!ret)
		shard_count(shard, was, word);
	return ret;
}

int kv_put(struct kv *kv, struct kv_bytes key, struct kv_bytes value)
{
	struct item_place item;
	struct lookup at;
	int ret = look_up(kv, key, &at);

	if (!ret)
		ret = item_make(kv->pool, key, value, &item);
	if (ret)
		return ret;
	pthread_rwlock_wrlock(&at.shard->lock);
	ret = put_item(kv, &at, &item);
	pthread_rwlock_unlock(&at.shard->lock);
	if (ret)
		item_cancel(kv->pool, &item);
	return ret;
}

static int delete_slot(struct kv *kv, struct shard *shard, int64_t found)
{
	uint64_t was, word = SLOT_REMOVED;
	struct daxpin_op op[2];
	struct item_place old;
	int ret;

	if (found < 0)
		return -ENOENT;
	was = shard->slot[found];
	ret = item_find(kv->pool, was, &old);
	if (ret)
		return ret;
	op[0] = shard_set(shard, found, word);
	op[1] = item_free(&old);
	ret = kv_publish(kv, op, 2);
	if (!ret)
		shard_count(shard, was, word);
	return ret;
}

int kv_delete(struct kv *kv, struct kv_bytes key)
{
	struct lookup at;
	int ret = look_up(kv, key, &at);

	if (ret)
		return ret;
	pthread_rwlock_wrlock(&at.shard->lock);
	ret = delete_slot(kv, at.shard,
			  shard_find(kv, at.shard, at.tag, key, NULL));
	pthread_rwlock_unlock(&at.shard->lock);
	return ret;
}

/* ------------------------------------------------------------------ reading */

/* Call fn for the slot of a key, with the shard locked for reading. */
static int with_slot(struct kv *kv, struct kv_bytes key,
		     int (*fn)(struct kv *kv, uint64_t slot, void *arg), void *arg)
{
	struct lookup at;
	int64_t found;
	int ret = look_up(kv, key, &at);

	if (ret)
		return ret;
	pthread_rwlock_rdlock(&at.shard->lock);
	found = shard_find(kv, at.shard, at.tag, key, NULL);
	ret = found < 0 ? -ENOENT : fn(kv, at.shard->slot[found], arg);
	pthread_rwlock_unlock(&at.shard->lock);
	return ret;
}

struct copy {
	void *to;
	size_t size;
	size_t value_size;
};

static int copy_value(struct kv *kv, uint64_t slot, void *arg)
{
	struct kv_bytes value = item_value(item_at(kv->pool, slot));
	struct copy *copy = arg;

	copy->value_size = value.size;
	if (copy->size > value.size)
		copy->size = value.size;
	if (copy->size)
		memcpy(copy->to, value.bytes, copy->size);
	return 0;
}

int kv_get(struct kv *kv, struct kv_bytes key, void *to, size_t size, size_t *ret_size)
{
	struct copy copy = { to, size, 0 };
	int ret = with_slot(kv, key, copy_value, &copy);

	if (!ret)
		*ret_size = copy.value_size;
	return ret;
}

static int hold_value(struct kv *kv, uint64_t slot, void *arg)
{
	const struct item *item = item_at(kv->pool, slot);
	struct kv_hold *hold = arg;

	if (slot_kind(slot) != SLOT_EXTENT)
		return -EOPNOTSUPP;
	hold->offset = sizeof(*item) + item->key_size;
	hold->size = item->value_size;
	return daxpin_hold_at(kv->pool, slot_addr(slot), DAXPIN_HOLD_READ,
			      &hold->extent);
}

int kv_hold(struct kv *kv, struct kv_bytes key, struct kv_hold *ret_hold)
{
	struct kv_hold hold;
	int ret = with_slot(kv, key, hold_value, &hold);

	if (!ret)
		*ret_hold = hold;
	return ret;
}

int kv_drop(struct kv *kv, const struct kv_hold *hold)
{
	return daxpin_drop(kv->pool, hold->extent);
}

static int shard_foreach(struct kv *kv, const struct shard *shard,
			 int (*fn)(struct kv_bytes key, struct kv_bytes value,
				   void *arg), void *arg)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < shard->slots; i++) {
		const struct item *item = item_at(kv->pool, shard->slot[i]);

		if (item)
			ret = fn(item_key(item), item_value(item), arg);
	}
	return ret;
}

int kv_foreach(struct kv *kv,
	       int (*fn)(struct kv_bytes key, struct kv_bytes value, void *arg),
	       void *arg)
{
	int ret = 0;

	for (uint32_t i = 0; !ret && i < SHARDS; i++) {
		pthread_rwlock_rdlock(&kv->shard[i].lock);
		ret = shard_foreach(kv, &kv->shard[i], fn, arg);
		pthread_rwlock_unlock(&kv->shard[i].lock);
	}
	return ret;
}
