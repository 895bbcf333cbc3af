/* SPDX-License-Identifier: BSD-3-Clause */
/* Compares a key-value store with what is live in its pool. */
#include <errno.h>
#include <stdlib.h>
#include "table.h"

/* Addresses of extents and objects. */
struct addresses {
	uint64_t *addr;
	size_t count, room;
};

static int add(struct addresses *all, uint64_t addr)
{
	if (all->count == all->room) {
		size_t room = all->room ? 2 * all->room : 1024;
		uint64_t *more = realloc(all->addr, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		all->addr = more;
		all->room = room;
	}
	all->addr[all->count++] = addr;
	return 0;
}

static int add_extent(struct daxpin_pool *pool, struct daxpin_extent extent,
		      uint64_t size, void *arg)
{
	(void)pool;
	(void)size;
	return add(arg, extent.addr);
}

static int add_object(struct daxpin_pool *pool, uint64_t addr, uint64_t size, void *arg)
{
	(void)pool;
	(void)size;
	return add(arg, addr);
}

/* Is the item that a slot names found by its own key? */
static int is_found(struct kv *kv, struct shard *shard, uint32_t index)
{
	const struct item *item = item_at(kv->pool, shard->slot[index]);

	return item && shard_find(kv, shard, slot_tag(shard->slot[index]),
				  item_key(item), NULL) == index;
}

/* Add what a shard uses. */
static int add_shard(struct kv *kv, struct shard *shard, struct addresses *used,
		     struct kv_counts *counts)
{
	int ret = add(used, shard->table.addr);

	for (uint32_t i = 0; !ret && i < shard->slots; i++) {
		uint64_t slot = shard->slot[i];

		if (!slot || slot_kind(slot) == SLOT_REMOVED)
			continue;
		counts->broken += !is_found(kv, shard, i);
		ret = add(used, slot_addr(slot));
	}
	counts->keys += shard->used;
	counts->slots += shard->slots;
	counts->removed += shard->removed;
	return ret;
}

static int by_address(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* How many of the live addresses are not used. Both become sorted. */
static uint64_t count_leaks(struct addresses *live, struct addresses *used)
{
	uint64_t leaks = 0;
	size_t at = 0;

	qsort(live->addr, live->count, sizeof(*live->addr), by_address);
	qsort(used->addr, used->count, sizeof(*used->addr), by_address);
	for (size_t i = 0; i < live->count; i++) {
		while (at < used->count && used->addr[at] < live->addr[i])
			at++;
		leaks += at == used->count || used->addr[at] != live->addr[i];
	}
	return leaks;
}

int kv_check(struct kv *kv, struct kv_counts *ret_counts)
{
	struct addresses live = { 0 }, used = { 0 };
	struct kv_counts counts = { 0 };
	int ret = add(&used, kv->head.addr);

	for (uint32_t i = 0; !ret && i < SHARDS; i++)
		ret = add_shard(kv, &kv->shard[i], &used, &counts);
	if (!ret)
		ret = daxpin_foreach(kv->pool, add_extent, &live);
	if (!ret)
		ret = daxpin_foreach_object(kv->pool, add_object, &live);
	if (!ret) {
		counts.leaked = count_leaks(&live, &used);
		*ret_counts = counts;
	}
	free(live.addr);
	free(used.addr);
	return ret;
}
