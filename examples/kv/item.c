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
 * their slots remain, and what is reserved later may get their addresses. A call with a
 * key uses an item only if it has that key (slot_has_key(), in table.c), so a later
 * item there is not taken for the one that was lost. But kv_foreach() and kv_move() use
 * what is there as an item even if it is a table. So call kv_check() after such a
 * repair, before anything is put: if slots are broken, copy the keys that kv_foreach()
 * finds to another pool.
 *
 * The head has no generations of the tables either: if one was lost, whatever has its
 * address later would be used as the table. Nothing of the store can get it, because
 * kv_open() refuses a store without one of its tables, and reserves nothing.
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
