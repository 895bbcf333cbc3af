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
#define WORD_ADDR	(~(uint64_t)(DAXPIN_BLOCK_SIZE - 1))

#define LOCKS		1024u
#define RINGS		16u		/* of requests that read the disk */
#define BATCH		32u		/* blocks that are written back at once */
#define INDEX_EXTENT	(16u << 20)	/* bytes, at most */
#define INDEX_WORDS	(INDEX_EXTENT / 8)
#define INDEX_EXTENTS	240u
#define NO_BLOCK	UINT32_MAX

struct request {
	struct daxpin_uring_io io;
	int result;			/* bytes, or -errno */
};

/* One thread at a time uses a ring, and waits until all its requests have ended. */
struct ring {
	struct io_uring ring;
	struct daxpin_uring *uring;
	struct request request[BATCH];
	unsigned int in_flight;
	bool open;
	struct ring *next;		/* of those that are not in use */
};

struct cache {
	struct daxpin_pool *pool;
	int disk;			/* -1: none */
	uint64_t size;			/* bytes of the volume */
	uint64_t blocks;
	uint32_t block;			/* bytes */
	uint32_t index_count;
	uint64_t id;
	struct daxpin_extent index[INDEX_EXTENTS];
	_Atomic uint64_t *words[INDEX_EXTENTS];
	struct daxpin_extent zeroes;	/* a block of them */
	void (*log)(const char *message);

	pthread_mutex_t locks[LOCKS];	/* of blocks, by number modulo LOCKS */
	_Atomic uint8_t *used;		/* by block: read since the hand was there */
	_Atomic uint64_t hand;		/* of the clock that evicts */
	_Atomic uint64_t hits, misses;

	/* Taken after a block's lock: the fields from here to the next empty line. */
	pthread_mutex_t mutex;
	pthread_cond_t work, progress;
	uint64_t clean, dirty, extents, written_back, evicted, disk_errors;
	uint32_t *next;			/* by block: the queue of dirty blocks */
	uint32_t oldest, newest;
	uint64_t low, high;		/* blocks */
	unsigned int waiters;		/* for space */
	uint64_t failures;		/* of write-back */
	bool failing, stop, started;
	pthread_t thread;
	struct ring *idle;
	uint64_t reading;		/* rings that are not idle */
	pthread_cond_t ring_idle;

	struct ring rings[RINGS], back;
};

/* ring.c */
int ring_open(struct cache *cache, struct ring *ring, char *errmsg, size_t size);
void ring_close(struct cache *cache, struct ring *ring);
void ring_read(struct cache *cache, struct ring *ring, unsigned int i,
	       struct daxpin_extent extent, uint32_t length, uint64_t offset);
void ring_write(struct cache *cache, struct ring *ring, unsigned int i,
		struct daxpin_extent extent, uint32_t length, uint64_t offset);
void ring_wait(struct cache *cache, struct ring *ring);
struct ring *ring_take(struct cache *cache);
void ring_put(struct cache *cache, struct ring *ring);

/* cache.c */
_Atomic uint64_t *cache_word(struct cache *cache, uint64_t block);
uint32_t cache_length(const struct cache *cache, uint64_t block);
void cache_lock(struct cache *cache, uint64_t block);
void cache_unlock(struct cache *cache, uint64_t block);
int cache_exchange(struct cache *cache, uint64_t block, uint64_t old,
		   struct daxpin_extent fresh, uint64_t word);
bool cache_evict(struct cache *cache);
void cache_say(struct cache *cache, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* back.c */
void back_count(struct cache *cache, uint64_t old, uint64_t word);
void back_queue(struct cache *cache, uint64_t block);
bool back_wait(struct cache *cache);
void *back_run(void *cache);

#endif
