/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the engine share. Front ends use cache.h alone. */
#ifndef NBD_CACHE_ENGINE_H
#define NBD_CACHE_ENGINE_H

#include "cache.h"
#include <daxpin-uring.h>
#include <pthread.h>
#include <stdatomic.h>

/* A word of the index: the address of the block's extent, and flags. 0: not cached. */
#define WORD_DIRTY	0x1ull		/* the disk has older contents */
#define WORD_ZERO	0x2ull		/* no extent: the block is zeroes */
#define WORD_LOST	0x4ull		/* no extent: the memory was bad, and the disk
					   has older contents */
#define WORD_ADDR	(~(uint64_t)(DAXPIN_BLOCK_SIZE - 1))

#define LOCKS		1024u
#define GROUP		4u		/* blocks in a row that share a lock */
#define RINGS		17u		/* one of them for write-back */
#define RUN		(DAXPIN_OPS_MAX / 3)	/* blocks that a publish can change */
#define INDEX_EXTENT	(16u << 20)	/* bytes, at most */
#define INDEX_WORDS	(INDEX_EXTENT / 8)
#define INDEX_EXTENTS	240u
#define NO_BLOCK	UINT32_MAX
#define PAUSE_REQUESTS	1u		/* new ones wait */
#define PAUSE_ALL	2u		/* write-back waits, too */
#define BUCKETS		18u		/* of a histogram, without the last */

/* A read or write of the disk. */
struct request {
	struct daxpin_uring_io io;
	struct daxpin_extent extent;
	uint64_t offset;
	uint32_t length;
	bool write;
	int result;			/* 0 or -errno; -EAGAIN: not begun */
};

/* One thread at a time uses a ring, and waits until all its requests have ended. */
struct ring {
	struct io_uring ring;
	struct daxpin_uring *uring;	/* NULL: the ring is closed */
	struct request request[RUN];
	unsigned int count, in_flight;
	struct ring *next;		/* of those that are not in use */
};

/* A block's new word, and the new extent that it names, or {0, 0}. */
struct change {
	uint64_t block, old, word;
	struct daxpin_extent fresh;
};

struct histogram {
	_Atomic uint64_t bucket[BUCKETS + 1], ns;
};

struct cache {
	struct daxpin_pool *pool;
	int disk;			/* -1: none */
	uint32_t align;			/* of requests to it; 0: none or unknown */
	uint64_t size;			/* bytes of the volume */
	uint64_t blocks;
	uint32_t block;			/* bytes */
	uint32_t index_count;
	uint64_t id;
	struct daxpin_extent index[INDEX_EXTENTS];
	_Atomic uint64_t *words[INDEX_EXTENTS];
	void (*log)(const char *message);

	pthread_mutex_t locks[LOCKS];	/* of groups of blocks, in turn */
	_Atomic uint8_t *used;		/* by block: read since the hand was there */
	_Atomic uint64_t hand;		/* of the clock that evicts */
	_Atomic uint64_t extents;	/* of blocks, reserved ones included */
	_Atomic uint64_t limit;		/* of extents */
	atomic_uint paused;		/* PAUSE_..., see enter() */
	atomic_uint active;		/* requests in progress */
	_Atomic uint64_t hits, misses;
	_Atomic uint64_t clean;		/* changed with the mutex */
	struct histogram latency[CACHE_OPERATIONS];

	/* Taken after a block's lock: the fields from here to the next empty line. */
	pthread_mutex_t mutex;
	pthread_cond_t work, progress, ring_idle;
	uint64_t dirty, lost, written_back, evicted, disk_errors;
	uint32_t *next;			/* by block: the queue of dirty blocks */
	uint32_t oldest, newest;
	uint64_t low, high;		/* blocks */
	unsigned int waiters;		/* for space */
	uint64_t failures;		/* of write-back */
	bool failing, stop, started;
	pthread_t thread;
	struct ring *idle;
	uint64_t busy;			/* rings that are not idle */

	pthread_mutex_t resize;		/* taken before all others */
	uint32_t low_percent, high_percent;
	struct ring rings[RINGS];
};

static inline uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* disk.c */
int disk_open(struct cache *cache, const struct cache_options *options,
	      uint64_t *ret_size, char identity[256]);
int disk_lock(struct cache *cache, const struct cache_options *options,
	      uint64_t deadline_ns);

/* ring.c */
int ring_open(struct cache *cache, struct ring *ring, char *errmsg, size_t size);
void ring_close(struct cache *cache, struct ring *ring);
struct ring *ring_take(struct cache *cache);
void ring_put(struct cache *cache, struct ring *ring);
struct request *ring_add(struct ring *ring, bool write, struct daxpin_extent extent,
			 uint32_t length, uint64_t offset);
void ring_run(struct cache *cache, struct ring *ring);
void ring_service_idle(struct cache *cache);

/* copy.c */
void copy_start(void);
void copy_stop(void);
/* The block is held or locked. -EIO: the memory is bad, and the library does not
 * reserve it again. Others as daxpin_read(). */
int copy_out(struct cache *cache, struct daxpin_extent extent, uint32_t at,
	     uint32_t count, void *to);

/* cache.c */
_Atomic uint64_t *cache_word(struct cache *cache, uint64_t block);
uint32_t cache_length(const struct cache *cache, uint64_t block);
void cache_lock(struct cache *cache, uint64_t block);
void cache_unlock(struct cache *cache, uint64_t block);
int cache_hold(struct cache *cache, uint64_t word, struct daxpin_extent *ret_extent);
bool cache_is_bad(struct cache *cache, struct daxpin_extent extent);
int cache_lost(struct cache *cache, uint64_t block);
int cache_exchange(struct cache *cache, const struct change *change,
		   unsigned int count);
bool cache_evict_block(struct cache *cache, uint64_t block, bool wait);
void cache_nap(void);
int cache_fail(const struct cache_options *options, int error, const char *format,
	       ...) __attribute__((format(printf, 3, 4)));
void cache_say(struct cache *cache, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* back.c */
void back_changed(struct cache *cache, const struct change *change,
		  unsigned int count);
bool back_wait(struct cache *cache);
void *back_run(void *cache);

/* stats.c */
void stats_observe(struct cache *cache, enum cache_operation operation,
		   uint64_t since_ns);

#endif
