/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An item is a key with its value: a header, the key, the value. It is in an object if
 * it is small, otherwise in an extent of its own. A slot of a hash table names it:
 *
 *	 63      44 43            4 3    0
 *	+----------+---------------+------+
 *	|   tag    | address / 16  | kind |
 *	+----------+---------------+------+
 *
 * The tag is 20 bits of the key's hash. They also give the item's place in the table,
 * so a table can be enlarged without reading a key.
 */
#ifndef KV_ITEM_H
#define KV_ITEM_H

#include "kv.h"

#define ITEM_OBJECT_MAX	2048u		/* the largest object */
#define SLOT_TAG_BITS	20u

enum slot_kind {
	SLOT_EMPTY = 0,			/* the whole slot is 0 */
	SLOT_OBJECT,
	SLOT_EXTENT,
	SLOT_REMOVED,			/* a deleted key: a search goes on behind it */
};

struct item {				/* on media */
	uint32_t key_size;
	uint32_t value_size;
	char bytes[];			/* the key, then the value */
};

/* An item that was reserved, or is live and was found by its slot. */
struct item_place {
	enum slot_kind kind;
	struct daxpin_extent extent;	/* of an object: its address, gen 0 */
};

static inline enum slot_kind slot_kind(uint64_t slot)
{
	return slot & 15;
}

static inline uint64_t slot_addr(uint64_t slot)
{
	return slot & 0xffffffffff0u;
}

static inline uint32_t slot_tag(uint64_t slot)
{
	return slot >> (64 - SLOT_TAG_BITS);
}

static inline uint64_t slot_encode(const struct item_place *place, uint32_t tag)
{
	return place->extent.addr | place->kind |
	       (uint64_t)tag << (64 - SLOT_TAG_BITS);
}

/* Reserve an item and copy key and value into it. It is not durable before item_keep()
 * was published. */
int item_make(struct daxpin_pool *pool, struct kv_bytes key, struct kv_bytes value,
	      struct item_place *ret_place);
void item_cancel(struct daxpin_pool *pool, const struct item_place *place);

/* The operations that make an item live and free it. */
struct daxpin_op item_keep(const struct item_place *place);
struct daxpin_op item_free(const struct item_place *place);

/* The place that a slot names. -ENOENT: no live extent or object is there. */
int item_find(struct daxpin_pool *pool, uint64_t slot, struct item_place *ret_place);

/* The bytes of a live item. Valid while no other thread frees it. */
const struct item *item_at(struct daxpin_pool *pool, uint64_t slot);

static inline struct kv_bytes item_key(const struct item *item)
{
	return (struct kv_bytes) { item->bytes, item->key_size };
}

static inline struct kv_bytes item_value(const struct item *item)
{
	return (struct kv_bytes) { item->bytes + item->key_size, item->value_size };
}

#endif
