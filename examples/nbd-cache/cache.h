/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A crash-safe write-back cache in a daxpin pool, in front of a slow disk; or a volume
 * that is in the pool alone. nbdkit.c is a front end. cache.c describes how it works.
 *
 * Functions return 0 or -errno. Any thread may read, write and zero at any time.
 */
#ifndef NBD_CACHE_H
#define NBD_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHE_BLOCK_MIN		4096u
#define CACHE_BLOCK_MAX		(1u << 20)
#define CACHE_BLOCK_DEFAULT	(64u << 10)

struct cache;

struct cache_options {
	const char *pool;		/* a directory, or a device-dax node */
	const char *disk;		/* NULL: the volume is in the pool alone */
	uint64_t size;			/* of a volume without a disk; 0: as it is */
	uint64_t pool_size;		/* create a pool; 0: it must exist */
	uint32_t block;			/* 0: as it is, or the default */
	uint32_t low, high;		/* percent of the pool: write-back begins if
					   more is dirty than high, ends at low */
	uint32_t wait_ms;		/* for the pool's last owner */
	uint64_t id;			/* cache_id() of the only cache that is
					   opened; 0: any, or a new one */
	/* Called with a sentence, by any thread. Not NULL. */
	void (*log)(const char *message);
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
};

struct cache_counts {
	uint64_t hits, misses;		/* pieces of requests, each in one block */
	uint64_t clean, dirty;		/* blocks */
	uint64_t extents;		/* of blocks; dirty zeroes have none */
	uint64_t written_back, evicted;	/* blocks, since the open */
	uint64_t disk_errors;
	uint64_t reading;		/* requests that read the disk now */
	uint64_t retired_bytes;		/* of the pool: retired but held */
};

/*
 * Open the cache in the pool, or make it if the pool has none. Starts a thread, so a
 * daemon calls it after its fork().
 *
 * -EBUSY	another process has the pool open
 * -EINVAL	an option or the disk's size is invalid
 * -EMEDIUMTYPE	the cache is of another disk, size or block size, or has another id; or
 *		there is no pool
 * -ENOSPC	the pool has no space for the index
 * -ENOTBLK	the disk is neither a block device nor a file
 * -EUCLEAN	the index is damaged
 * Others as daxpin_pool_open(), daxpin_uring_attach() and open().
 */
int cache_open(const struct cache_options *options, struct cache **ret_cache);

/* Writes dirty blocks back until at most options->low percent are dirty, or the disk
 * fails, and closes the pool. No other call may be in progress. */
int cache_close(struct cache *cache);

uint64_t cache_size(const struct cache *cache);
uint32_t cache_block(const struct cache *cache);

/* Half of the pool's uuid, which identifies the cache as long as it exists. */
uint64_t cache_id(const struct cache *cache);

/*
 * Ranges are inside the volume. A write is durable when the call returns 0. Each
 * block is changed whole or not at all, even by a crash; of a request for
 * several blocks, only some can be done.
 *
 * -EIO		the disk or the pool failed; or the pool is full of dirty blocks,
 *		which the disk does not accept
 * -ENOSPC	the pool is full, and there is no disk
 */
int cache_read(struct cache *cache, void *to, uint64_t count, uint64_t offset);
int cache_write(struct cache *cache, const void *from, uint64_t count,
		uint64_t offset);
int cache_zero(struct cache *cache, uint64_t count, uint64_t offset);

/* Like cache_zero(), but leaves out blocks that are not whole in the range. */
int cache_trim(struct cache *cache, uint64_t count, uint64_t offset);

/* Does the index show that the block with that byte is all zeroes? */
bool cache_is_zero(struct cache *cache, uint64_t offset);

void cache_counts(struct cache *cache, struct cache_counts *ret_counts);

#endif
