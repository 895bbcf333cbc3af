/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The index of a key-value store: SHARDS hash tables, each in an extent of its own,
 * with a lock of its own. The head, which the root "kv" names, has the addresses of the
 * tables. A slot is one 8-byte word, and changes only by a SET in the publish that also
 * keeps the new item and frees the old one. So a crash leaves all of these changes or
 * none, and nothing to be collected.
 *
 * A table is enlarged, or rid of removed slots, by building another one and publishing
 * it (KEEP), its address in the head (SET) and the end of the old one (RETIRE) at once.
 * move.c does the same for tables, items and the head when the pool shrinks.
 */
#ifndef KV_TABLE_H
#define KV_TABLE_H

#include <pthread.h>
#include "item.h"

#define SHARD_BITS	6u
#define SHARDS		(1u << SHARD_BITS)
#define TABLE_SLOTS_MIN	(DAXPIN_BLOCK_SIZE / sizeof(uint64_t))
/* The tag has as many bits as the index of a slot in the largest table. */
#define TABLE_SLOTS_MAX	(1u << SLOT_TAG_BITS)

#define HEAD_MAGIC	0x65726f7473766b64u	/* "dkvstore" */
#define HEAD_VERSION	1u

struct head {				/* on media */
	uint64_t magic;
	uint32_t version;
	uint32_t shards;
	uint64_t table[SHARDS];		/* pool addresses */
};

struct shard {
	pthread_rwlock_t lock;
	struct daxpin_extent table;
	uint64_t *slot;			/* in the pool: only read; a SET changes it */
	uint32_t slots;			/* a power of two */
	uint32_t used;			/* slots with an item */
	uint32_t removed;
};

struct kv {
	struct daxpin_pool *pool;
	pthread_rwlock_t head_lock;	/* taken after that of a shard; for writing to
					   move the head, for reading to change it */
	struct daxpin_extent head;
	uint64_t seed;			/* of the keys' hashes */
	struct shard shard[SHARDS];
};

/* Publish; waits while the segment of a table is being reclaimed. */
int kv_publish(struct kv *kv, const struct daxpin_op *ops, size_t count);

/* Use the table at that address for a shard, and count its slots.
 * -ENOENT, -EINVAL: no live extent begins there. */
int shard_load(struct kv *kv, struct shard *shard, uint64_t addr);

/* The caller has the shard's lock, for writing if it changes a slot. */

/* The index of the slot with that key, or -1. *ret_free (may be NULL) is then the slot
 * for it. */
int64_t shard_find(struct kv *kv, const struct shard *shard, uint32_t tag,
		   struct kv_bytes key, uint32_t *ret_free);

/* Make sure that there is a free slot. -ENOSPC: the table cannot be larger. */
int shard_make_room(struct kv *kv, struct shard *shard);

/* Publish a reserved table, which has the same items, instead of the one of the shard.
 * If that fails the table is cancelled. */
int shard_replace(struct kv *kv, struct shard *shard, struct daxpin_extent table);

/* The operation that stores a word in a slot. */
struct daxpin_op shard_set(const struct shard *shard, uint32_t index, uint64_t word);
/* Count that change; `was` is what the slot had before. */
void shard_count(struct shard *shard, uint64_t was, uint64_t word);

#endif
