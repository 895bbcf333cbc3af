/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Free runs of 1 to 16 blocks that a thread keeps for itself, so that what it freed
 * last is what it reserves next, without a lock that others want. See cache.c.
 */
#ifndef DP_CACHE_H
#define DP_CACHE_H

#include "util/util.h"

#define DP_CACHE_RUN	16u		/* blocks of the longest run */
#define DP_CACHE_BLOCKS	1024u		/* that a thread keeps at most: 4 MiB */

/* private to cache.c */
struct dp_cache {
	DP_ALIGNED _Atomic uint32_t busy;
	_Atomic uint32_t blocks;	/* in all runs */
	uint32_t limit;			/* of blocks */
	struct dp_cache_stack {
		uint32_t count;
		uint32_t *run;		/* their first blocks: limit / length */
	} stack[DP_CACHE_RUN + 1];	/* by length; [0] is not used */
};

/* private to cache.c */
struct dp_caches {
	struct dp_cache *cache;		/* by thread slot */
	uint32_t *run;
	_Atomic uint32_t stealing;
};

/* At most `limit` blocks a thread. -ENOMEM. */
int dp_caches_init(struct dp_caches *caches, uint32_t limit);
void dp_caches_fini(struct dp_caches *caches);
/* Blocks in all caches; a snapshot. */
uint64_t dp_caches_blocks(const struct dp_caches *caches);
/* No fewer than are in them or on their way to one. */
uint64_t dp_caches_most(const struct dp_caches *caches);

/*
 * This thread's cache, for the calls below, until dp_cache_leave(). NULL: a thread that
 * steals has it, or every cache has to stay empty. Never waits.
 */
struct dp_cache *dp_cache_enter(struct dp_caches *caches);
void dp_cache_leave(struct dp_cache *cache);

/* Take the run of just that many blocks that was pushed last. false: there is none. */
bool dp_cache_pop(struct dp_cache *cache, uint32_t blocks, uint32_t *ret_block);
void dp_cache_push(struct dp_cache *cache, uint32_t block, uint32_t blocks);
/* How many more runs of that length there is room for. */
uint32_t dp_cache_room(const struct dp_cache *cache, uint32_t blocks);
/* Of the length that takes most blocks, give the older half of the runs to fn. */
void dp_cache_shed(struct dp_cache *cache,
		   void (*fn)(uint32_t block, uint32_t blocks, void *arg), void *arg);

/*
 * From here to dp_caches_release() all caches stay empty. What they had goes to fn.
 * Waits for threads that are between enter and leave.
 */
void dp_caches_steal(struct dp_caches *caches,
		     void (*fn)(uint32_t block, uint32_t blocks, void *arg),
		     void *arg);
void dp_caches_release(struct dp_caches *caches);

#endif
