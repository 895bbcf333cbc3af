/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Caches of free runs of 1 to 512 blocks, one for each thread. A thread reserves the
 * runs that it freed last, without a lock that other threads take. See cache.c.
 */
#ifndef DP_CACHE_H
#define DP_CACHE_H

#include <pthread.h>
#include "extent/event.h"
#include "extent/thread_slot.h"
#include "util/util.h"

#define DP_CACHE_RUN	512u		/* blocks of the longest run: 2 MiB */
#define DP_CACHE_RUNS	2047u		/* of one cache */
#define DP_CACHE_SHED	256u		/* runs, because a drop may make a shed */

/* private to cache.c */
struct dp_cache {
	DP_ALIGNED _Atomic uint32_t busy;
	_Atomic uint32_t blocks;	/* in all runs */
	_Atomic bool fenced;		/* its thread makes its own fences */
	bool begun;			/* it was entered; before, it has no places */
	uint32_t limit;			/* of blocks */
	uint32_t hand;			/* the length that a shed looked at last */
	uint16_t spare;			/* the first run that is not used; 0: none */
	struct dp_cache_list {
		uint16_t newest, count;
	} list[DP_CACHE_RUN + 1];	/* by length; [0] is not used */
	struct dp_cache_run {
		uint32_t block;		/* its first */
		uint16_t next;		/* an older run of this length; 0: none */
	} run[DP_CACHE_RUNS + 1];	/* [0] is not used */
};

/* private to cache.c */
struct dp_caches {
	struct dp_cache *cache;		/* by thread slot; the shared one stays empty */
	struct dp_events *events;
	struct dp_thread_end end;
	pthread_mutex_t thief;
	DP_ALIGNED _Atomic uint32_t mode;	/* CACHES_... in cache.c; usually 0 */
	_Atomic uint64_t used;		/* a bit for each cache ever entered */
};

/* Called for the runs that a steal or a shed removes; adjacent runs may be passed as
 * one. */
typedef void dp_cache_fn(uint32_t block, uint32_t blocks, void *arg);

/* -ENOMEM. */
int dp_caches_init(struct dp_caches *caches, struct dp_events *events);
void dp_caches_fini(struct dp_caches *caches);
/* Blocks in all caches; a snapshot. */
uint64_t dp_caches_blocks(const struct dp_caches *caches);
/* The number of threads that have entered a cache, or rather of their slots. */
uint32_t dp_caches_users(const struct dp_caches *caches);
/* True if no thread with another slot has ever entered a cache. */
bool dp_caches_have_one_user(const struct dp_caches *caches);

/*
 * Empty all caches, pass their runs to fn, and keep them empty until
 * dp_caches_release(). Sleeps until threads between enter and leave have left, and
 * until another thread's steal has ended. If membarrier(2) fails, the caches of threads
 * that have not called dp_caches_note_fenced() since then are not emptied. If a call
 * was refused, the event RETRY follows when such a thread calls dp_caches_note_fenced()
 * or ends.
 */
void dp_caches_steal(struct dp_caches *caches, dp_cache_fn *fn, void *arg);
void dp_caches_release(struct dp_caches *caches);
/*
 * Let no thread use the fast path of its cache, or allow it again. What
 * dp_caches_steal() empties after this call stays without what the callers of
 * dp_cache_put() refuse since before this call: see (9) in cache.c.
 */
void dp_caches_slow_down(struct dp_caches *caches, bool slow);
/* If membarrier(2) has failed, note in this thread's cache that the thread makes its
 * own fences from now on. Call it outside of the cache. */
void dp_caches_note_fenced(struct dp_caches *caches);

/*
 * Enter this thread's cache: no other thread changes it until dp_cache_leave(). NULL:
 * there is no cache, or another thread is stealing. Never waits.
 */
struct dp_cache *dp_cache_enter(struct dp_caches *caches);
void dp_cache_leave(const struct dp_caches *caches, struct dp_cache *cache);

/* ------------------------------------------------------ between enter and leave */

/* Set the limit, in blocks; it is 0 at first, and after a steal. A cache that has more
 * remains as it is until it sheds. */
static inline void dp_cache_limit(struct dp_cache *cache, uint32_t limit)
{
	cache->limit = limit;
}

/*
 * Compare this length with some others, which are different ones in each call. Remove
 * the older half of the runs of the length whose runs have the most blocks in all, but
 * at most DP_CACHE_SHED, and pass them to fn. If they all have no run, nothing is
 * removed.
 */
void dp_cache_shed(struct dp_cache *cache, uint32_t blocks, dp_cache_fn *fn, void *arg);

static inline uint32_t dp_cache_blocks(const struct dp_cache *cache)
{
	return atomic_load_explicit(&cache->blocks, memory_order_relaxed);
}

static inline void dp_cache_count(struct dp_cache *cache, uint32_t blocks)
{
	atomic_store_explicit(&cache->blocks, blocks, memory_order_relaxed);
}

/* Can a run of this length be added? */
static inline bool dp_cache_has_room(const struct dp_cache *cache, uint32_t blocks)
{
	return cache->spare && dp_cache_blocks(cache) + blocks <= cache->limit;
}

/* Take the newest run of exactly this length. False: there is none. */
static inline bool dp_cache_take(struct dp_cache *cache, uint32_t blocks,
				 uint32_t *ret_block)
{
	struct dp_cache_list *list = &cache->list[blocks];
	uint32_t number = list->newest;
	struct dp_cache_run *run = &cache->run[number];

	if (!number)
		return false;
	*ret_block = run->block;
	list->newest = run->next;
	list->count--;
	run->next = cache->spare;
	cache->spare = number;
	dp_cache_count(cache, dp_cache_blocks(cache) - blocks);
	return true;
}

/* Add a run. False: the cache is full. */
static inline bool dp_cache_put(struct dp_cache *cache, uint32_t block,
				uint32_t blocks)
{
	struct dp_cache_list *list = &cache->list[blocks];
	uint32_t number = cache->spare;
	struct dp_cache_run *run = &cache->run[number];

	if (!dp_cache_has_room(cache, blocks))
		return false;
	cache->spare = run->next;
	run->block = block;
	run->next = list->newest;
	list->newest = number;
	list->count++;
	dp_cache_count(cache, dp_cache_blocks(cache) + blocks);
	return true;
}

/* ------------------------------------------------------------- the fast path */

static inline void dp_cache_set_busy(struct dp_cache *cache, uint32_t busy)
{
	atomic_store_explicit(&cache->busy, busy, memory_order_release);
	/* This orders the compiler only. For the processor see (5) in cache.c. */
	atomic_signal_fence(memory_order_seq_cst);
}

/*
 * Enter, take, and leave. false: there is no such run, or the caller must use
 * dp_cache_enter(), which gives the thread a slot.
 */
static inline bool dp_cache_pop(struct dp_caches *caches, uint32_t blocks,
				uint32_t *ret_block)
{
	unsigned int mine = dp_thread_slot_mine;
	struct dp_cache *cache;
	bool found;

	assert(blocks && blocks <= DP_CACHE_RUN);
	if (!mine)
		return false;
	cache = &caches->cache[mine - 1];
	dp_cache_set_busy(cache, 1);
	found = !atomic_load(&caches->mode) && dp_cache_take(cache, blocks, ret_block);
	dp_cache_set_busy(cache, 0);
	return found;
}

/* Enter, put, and leave. False: the cache is full, or as dp_cache_pop(). */
static inline bool dp_cache_push(struct dp_caches *caches, uint32_t block,
				 uint32_t blocks)
{
	unsigned int mine = dp_thread_slot_mine;
	struct dp_cache *cache;
	bool done;

	assert(blocks && blocks <= DP_CACHE_RUN);
	if (!mine)
		return false;
	cache = &caches->cache[mine - 1];
	dp_cache_set_busy(cache, 1);
	done = !atomic_load(&caches->mode) && dp_cache_put(cache, block, blocks);
	dp_cache_set_busy(cache, 0);
	return done;
}

#endif
