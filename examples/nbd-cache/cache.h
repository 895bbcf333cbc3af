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
#include <stdio.h>

#define CACHE_BLOCK_MIN		4096u
#define CACHE_BLOCK_MAX		(1u << 20)
#define CACHE_BLOCK_DEFAULT	(64u << 10)

struct cache;

struct cache_options {
	const char *pool;		/* a directory, or a device-dax node */
	const char *disk;		/* NULL: the volume is in the pool alone */
	uint64_t size;			/* of a volume without a disk; 0: as it is */
	uint64_t pool_size;		/* create a pool; 0: it must exist */
	uint32_t block;			/* of a new cache, 0: the default; of one that
					   exists, 0: as it is */
	uint32_t low, high;		/* percent of the pool: write-back begins if
					   more is dirty than high, ends at low */
	uint32_t limit;			/* percent of the pool; 0: all. cache_limit() */
	uint32_t wait_ms;		/* for the last owner of pool and disk */
	bool accept_disk;		/* record another identity of the disk */
	bool degraded;			/* use what is intact in a damaged pool */
	uint64_t id;			/* cache_id() of the only cache that is
					   opened; 0: any, or a new one */
	bool dashes;			/* a message has --disk=PATH and --degraded, not
					   disk=PATH and degraded=1 */
	/* Called with a sentence, by any thread. Not NULL. */
	void (*log)(const char *message);
	char *errmsg;			/* on failure: a sentence */
	size_t errmsg_size;
};

struct cache_counts {
	uint64_t hits, misses;		/* pieces of requests, each in one block */
	uint64_t clean, dirty;		/* blocks */
	uint64_t lost;			/* dirty blocks whose memory was bad */
	uint64_t extents;		/* of blocks; dirty zeroes have none */
	uint64_t written_back, evicted;	/* blocks, since the open */
	uint64_t disk_errors;
	uint64_t in_flight;		/* requests, and batches of write-back, that
					   use the disk now */
	uint64_t retired_bytes;		/* of the pool: retired but held */
	uint64_t usable_bytes;		/* of the pool, with those of the limit */
	uint64_t limit_bytes;		/* what the cache may use of it */
	uint64_t hole_bytes;		/* given back */
};

/* What the latencies are of. A request that reads the disk is a miss. */
enum cache_operation {
	CACHE_READ_HIT,
	CACHE_READ_MISS,
	CACHE_WRITE,
	CACHE_ZERO,			/* and trim; a flush has nothing to do */
	CACHE_WRITE_BACK,		/* of a batch, until it is durable */
	CACHE_OPERATIONS
};

/*
 * Open the cache in the pool, or make it if the pool has none. Starts a thread, so a
 * daemon calls it after its fork().
 *
 * -EBUSY	another process has the pool open, or a cache or a mount has the disk
 * -EINVAL	an option or the disk's size is invalid, or the block is smaller than
 *		the disk's logical blocks
 * -EIO		the pool's memory of the index is bad
 * -EMEDIUMTYPE	the cache is of another disk, size or block size, or has another id;
 *		the pool is of another program, or the path is no pool
 * -ENOENT	the pool or the disk does not exist
 * -ENOSPC	the pool has no space for the index
 * -ENOTBLK	the disk is neither a block device nor a file
 * -EROFS	the disk is a block device that cannot be written
 * -EUCLEAN	the pool or the index is damaged; options->degraded can help
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
 * -EIO		the disk cannot be read; or the pool's memory of a dirty block is bad;
 *		or a write finds the pool full of dirty blocks, and the disk fails
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

/*
 * Let the cache use that much of the pool's memory. A lower limit evicts, writes back
 * before that what is dirty, and gives the memory back to the filesystem; a higher one
 * takes it again. Without a disk nothing can be evicted, and only free memory is given
 * back. Stores what the pool has given back. On device-dax no memory can be given back,
 * and that is 0. The limit is not recorded.
 *
 * -EINVAL	percent is not from 1 to 100
 * -ENOSPC	the filesystem has too little space for a higher limit, which holds:
 *		blocks are evicted instead, and the call can be repeated
 * -ETIMEDOUT	something is not given back yet after wait_ms: the disk does not accept
 *		dirty blocks, requests are in flight, or there is no disk; the limit
 *		holds, and the call can be repeated
 * Others as daxpin_reclaim() and daxpin_refill().
 */
int cache_limit(struct cache *cache, uint32_t percent, uint32_t wait_ms,
		uint64_t *ret_hole_bytes);

void cache_counts(struct cache *cache, struct cache_counts *ret_counts);

/* Writes counts and histograms of latencies as OpenMetrics text. */
void cache_metrics(struct cache *cache, FILE *to);

#endif
