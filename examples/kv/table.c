/* SPDX-License-Identifier: BSD-3-Clause */
/* The hash tables of a key-value store: open addressing, linear probing. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include "table.h"

int kv_publish(struct kv *kv, const struct daxpin_op *ops, size_t count)
{
	const struct timespec pause = { 0, 100000 };
	int ret;

	while ((ret = daxpin_publish(kv->pool, ops, count, NULL, NULL)) == -EAGAIN)
		nanosleep(&pause, NULL);
	return ret;
}

void shard_count(struct shard *shard, uint64_t was, uint64_t word)
{
	shard->used -= slot_kind(was) == SLOT_OBJECT || slot_kind(was) == SLOT_EXTENT;
	shard->removed -= slot_kind(was) == SLOT_REMOVED;
	shard->used += slot_kind(word) == SLOT_OBJECT || slot_kind(word) == SLOT_EXTENT;
	shard->removed += slot_kind(word) == SLOT_REMOVED;
	assert(shard->used + shard->removed < shard->slots);
}

static void shard_use(struct kv *kv, struct shard *shard, struct daxpin_extent table,
		      uint64_t size)
{
	shard->table = table;
	shard->slot = daxpin_ptr(kv->pool, table, 0);
	shard->slots = size / sizeof(*shard->slot);
	shard->used = 0;
	shard->removed = 0;
	for (uint32_t i = 0; i < shard->slots; i++)
		shard_count(shard, 0, shard->slot[i]);
}

int shard_load(struct kv *kv, struct shard *shard, uint64_t addr)
{
	struct daxpin_extent table;
	uint64_t size;
	int ret = daxpin_extent_at(kv->pool, addr, &table);

	if (!ret)
		ret = daxpin_size(kv->pool, table, &size);
	if (!ret)
		shard_use(kv, shard, table, size);
	return ret;
}

static int slot_has_key(struct kv *kv, uint64_t slot, uint32_t tag, struct kv_bytes key)
{
	const struct item *item;

	if (slot_kind(slot) == SLOT_REMOVED || slot_tag(slot) != tag)
		return 0;
	item = item_at(kv->pool, slot);
	return item && item->key_size == key.size &&
	       !memcmp(item->bytes, key.bytes, key.size);
}

int64_t shard_find(struct kv *kv, const struct shard *shard, uint32_t tag,
		   struct kv_bytes key, uint32_t *ret_free)
{
	uint32_t last = shard->slots - 1, at = tag & last, free = UINT32_MAX;

	/* A slot is always empty: see shard_make_room(). */
	for (; shard->slot[at]; at = (at + 1) & last) {
		if (slot_has_key(kv, shard->slot[at], tag, key))
			return at;
		if (slot_kind(shard->slot[at]) == SLOT_REMOVED && free == UINT32_MAX)
			free = at;
	}
	if (ret_free)
		*ret_free = free == UINT32_MAX ? at : free;
	return -1;
}

static void table_fill(uint64_t *slot, uint32_t slots, const struct shard *from)
{
	for (uint32_t i = 0; i < from->slots; i++) {
		uint64_t word = from->slot[i];
		uint32_t at = slot_tag(word) & (slots - 1);

		if (!word || slot_kind(word) == SLOT_REMOVED)
			continue;
		while (slot[at])
			at = (at + 1) & (slots - 1);
		slot[at] = word;
	}
}

int shard_replace(struct kv *kv, struct shard *shard, struct daxpin_extent table)
{
	struct daxpin_op op[3] = {
		{ .type = DAXPIN_OP_KEEP, .extent = table },
		{ .type = DAXPIN_OP_SET, .value = table.addr,
		  .offset = offsetof(struct head, table) +
			    (shard - kv->shard) * sizeof(uint64_t) },
		{ .type = DAXPIN_OP_RETIRE, .extent = shard->table },
	};
	uint64_t size;
	int ret = daxpin_size(kv->pool, table, &size);

	if (!ret) {
		pthread_rwlock_rdlock(&kv->head_lock);
		op[1].extent = kv->head;
		ret = kv_publish(kv, op, 3);
		pthread_rwlock_unlock(&kv->head_lock);
	}
	if (ret)
		daxpin_cancel(kv->pool, table);
	else
		shard_use(kv, shard, table, size);
	return ret;
}

static int shard_rebuild(struct kv *kv, struct shard *shard, uint32_t slots)
{
	struct daxpin_extent table;
	int ret = daxpin_reserve(kv->pool, slots * sizeof(*shard->slot),
				 DAXPIN_RESERVE_ZERO, &table);

	if (ret)
		return ret;
	table_fill(daxpin_ptr(kv->pool, table, 0), slots, shard);
	return shard_replace(kv, shard, table);
}

/* A quarter of the slots stays empty, so that searches are short. */
static int is_too_full(uint32_t used, uint32_t slots)
{
	return used >= slots / 4 * 3;
}

int shard_make_room(struct kv *kv, struct shard *shard)
{
	uint32_t slots = shard->slots;

	if (!is_too_full(shard->used + shard->removed, slots))
		return 0;
	/* If most of these are removed slots, a table of the same size has room. */
	if (is_too_full(shard->used + slots / 4, slots))
		slots *= 2;
	return slots > TABLE_SLOTS_MAX ? -ENOSPC : shard_rebuild(kv, shard, slots);
}

struct daxpin_op shard_set(const struct shard *shard, uint32_t index, uint64_t word)
{
	return (struct daxpin_op) {
		.type = DAXPIN_OP_SET, .extent = shard->table,
		.offset = index * sizeof(word), .value = word,
	};
}
