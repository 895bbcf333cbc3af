/* SPDX-License-Identifier: BSD-3-Clause */
/* Items of a key-value store: where they are, and how they come and go. */
#include <errno.h>
#include <string.h>
#include "item.h"

static int item_reserve(struct daxpin_pool *pool, uint64_t size,
			struct item_place *place)
{
	place->extent = (struct daxpin_extent) { 0, 0 };
	place->kind = size <= ITEM_OBJECT_MAX ? SLOT_OBJECT : SLOT_EXTENT;
	return place->kind == SLOT_OBJECT ?
	       daxpin_object_reserve(pool, size, 0, &place->extent.addr) :
	       daxpin_reserve(pool, size, 0, &place->extent);
}

static void *item_memory(struct daxpin_pool *pool, const struct item_place *place)
{
	return place->kind == SLOT_OBJECT ?
	       daxpin_object_ptr(pool, place->extent.addr) :
	       daxpin_ptr(pool, place->extent, 0);
}

int item_make(struct daxpin_pool *pool, struct kv_bytes key, struct kv_bytes value,
	      struct item_place *ret_place)
{
	struct item *item;
	int ret;

	if (value.size > UINT32_MAX)
		return -EFBIG;
	ret = item_reserve(pool, sizeof(*item) + key.size + value.size, ret_place);
	if (ret)
		return ret;
	item = item_memory(pool, ret_place);
	item->key_size = key.size;
	item->value_size = value.size;
	memcpy(item->bytes, key.bytes, key.size);
	if (value.size)
		memcpy(item->bytes + key.size, value.bytes, value.size);
	return 0;
}

void item_cancel(struct daxpin_pool *pool, const struct item_place *place)
{
	if (place->kind == SLOT_OBJECT)
		daxpin_object_cancel(pool, place->extent.addr);
	else
		daxpin_cancel(pool, place->extent);
}

struct daxpin_op item_keep(const struct item_place *place)
{
	return (struct daxpin_op) {
		.type = place->kind == SLOT_OBJECT ? DAXPIN_OP_OBJECT_KEEP :
						     DAXPIN_OP_KEEP,
		.extent = place->extent,
	};
}

struct daxpin_op item_free(const struct item_place *place)
{
	return (struct daxpin_op) {
		.type = place->kind == SLOT_OBJECT ? DAXPIN_OP_OBJECT_FREE :
						     DAXPIN_OP_RETIRE,
		.extent = place->extent,
	};
}

/*
 * A slot has no generation. That matters only after a repair that has discarded items:
 * their slots remain, and what is put later may get their addresses. An item is used
 * only if it has the key that was asked for (slot_has_key(), in table.c), so a later
 * item there is not taken for the one that was lost, but a table there is not
 * recognized. So call kv_check() after such a repair, before anything is put: if slots
 * are broken, copy the keys that kv_foreach() finds to another pool.
 */
int item_find(struct daxpin_pool *pool, uint64_t slot, struct item_place *ret_place)
{
	struct item_place place = { slot_kind(slot), { slot_addr(slot), 0 } };
	int ret = 0;

	if (place.kind == SLOT_EXTENT)
		ret = daxpin_extent_at(pool, place.extent.addr, &place.extent);
	if (!ret && !item_memory(pool, &place))
		ret = -ENOENT;
	if (!ret)
		*ret_place = place;
	return ret;
}

const struct item *item_at(struct daxpin_pool *pool, uint64_t slot)
{
	struct item_place place;

	return item_find(pool, slot, &place) ? NULL : item_memory(pool, &place);
}
