/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Free runs that threads keep for themselves.
 *
 * A cache belongs to a thread slot. Its busy word is a lock that its thread only tries
 * and never waits for; nobody else takes it but a thread that steals, because space ran
 * out or because chunks are to be given back. When a thread ends, its cache stays
 * as it is for the next thread with that slot, and can be stolen from meanwhile.
 * Threads beyond the slots share the last cache: whoever finds it busy does without.
 *
 * A thread that steals first raises `stealing` and then takes each cache in turn.
 * Whoever enters looks at `stealing` after it has taken busy, so it either sees the
 * thief or is waited for by it:
 *
 *	thread					thief
 *	takes busy				raises stealing
 *	reads stealing				takes busy
 *
 * Hence, until the thief lowers it again, no block is in a cache or on its way to one:
 * what nobody has is with the segments. tests/model/cache.pml searches the
 * interleavings.
 *
 * Invariants:
 *	I62	a run in a cache is free: no extent has it, and no segment finds it
 *	I63	between dp_caches_steal() and dp_caches_release() all caches are empty
 */
#include <errno.h>
#include <stdlib.h>
#include "extent/cache.h"
#include "extent/thread_slot.h"
#include "os/os.h"

#define CACHES		(DP_THREAD_SLOTS + 1)
#define THIEF_PAUSE_NS	50000ull

/* Words for the runs of one cache: each length has room for the limit. */
static uint32_t cache_words(uint32_t limit)
{
	uint32_t words = 0;

	for (uint32_t i = 1; i <= DP_CACHE_RUN; i++)
		words += limit / i;
	return words;
}

static void cache_init(struct dp_cache *cache, uint32_t limit, uint32_t *run)
{
	cache->limit = limit;
	for (uint32_t i = 1; i <= DP_CACHE_RUN; i++) {
		cache->stack[i].run = run;
		run += limit / i;
	}
}

int dp_caches_init(struct dp_caches *caches, uint32_t limit)
{
	uint32_t words = cache_words(dp_min(limit, DP_CACHE_BLOCKS));

	limit = dp_min(limit, DP_CACHE_BLOCKS);
	/* Memory that is not used is not touched. */
	caches->run = malloc((size_t)CACHES * words * sizeof(*caches->run) + 1);
	caches->cache = aligned_alloc(DP_CACHE_LINE, CACHES * sizeof(*caches->cache));
	if (!caches->run || !caches->cache) {
		dp_caches_fini(caches);
		return -ENOMEM;
	}
	memset(caches->cache, 0, CACHES * sizeof(*caches->cache));
	for (uint32_t i = 0; i < CACHES; i++)
		cache_init(&caches->cache[i], limit, caches->run + i * words);
	return 0;
}

void dp_caches_fini(struct dp_caches *caches)
{
	free(caches->run);
	free(caches->cache);
	caches->run = NULL;
	caches->cache = NULL;
}

static uint32_t cache_blocks(const struct dp_cache *cache)
{
	return atomic_load_explicit(&cache->blocks, memory_order_relaxed);
}

uint64_t dp_caches_blocks(const struct dp_caches *caches)
{
	uint64_t blocks = 0;

	for (uint32_t i = 0; i < CACHES; i++)
		blocks += cache_blocks(&caches->cache[i]);
	return blocks;
}

uint64_t dp_caches_most(const struct dp_caches *caches)
{
	uint64_t blocks = 0;

	for (uint32_t i = 0; i < CACHES; i++) {
		const struct dp_cache *cache = &caches->cache[i];

		/* Before its blocks: whoever leaves has counted them. */
		if (atomic_load(&cache->busy))
			blocks += cache->limit;
		blocks += cache_blocks(cache);
	}
	return blocks;
}

/* -------------------------------------------------------------- enter and leave */

static bool cache_try(struct dp_cache *cache)
{
	uint32_t was = 0;

	return atomic_compare_exchange_strong(&cache->busy, &was, 1);
}

struct dp_cache *dp_cache_enter(struct dp_caches *caches)
{
	struct dp_cache *cache = &caches->cache[dp_thread_slot()];

	if (!cache_try(cache))
		return NULL;
	dp_fence_after_rmw();
	if (!atomic_load(&caches->stealing))
		return cache;
	dp_cache_leave(cache);
	return NULL;
}

void dp_cache_leave(struct dp_cache *cache)
{
	assert(atomic_load_explicit(&cache->busy, memory_order_relaxed));
	assert(cache_blocks(cache) <= cache->limit);
	atomic_store_explicit(&cache->busy, 0, memory_order_release);
}

/* -------------------------------------------------------------------- contents */

/* Only who has busy changes it. */
static void cache_count(struct dp_cache *cache, uint32_t blocks)
{
	atomic_store_explicit(&cache->blocks, blocks, memory_order_relaxed);
}

bool dp_cache_pop(struct dp_cache *cache, uint32_t blocks, uint32_t *ret_block)
{
	struct dp_cache_stack *stack = &cache->stack[blocks];

	assert(blocks && blocks <= DP_CACHE_RUN);
	if (!stack->count)
		return false;
	*ret_block = stack->run[--stack->count];
	cache_count(cache, cache_blocks(cache) - blocks);
	return true;
}

void dp_cache_push(struct dp_cache *cache, uint32_t block, uint32_t blocks)
{
	struct dp_cache_stack *stack = &cache->stack[blocks];

	assert(dp_cache_room(cache, blocks));
	stack->run[stack->count++] = block;
	cache_count(cache, cache_blocks(cache) + blocks);
}

uint32_t dp_cache_room(const struct dp_cache *cache, uint32_t blocks)
{
	assert(blocks && blocks <= DP_CACHE_RUN);
	return (cache->limit - cache_blocks(cache)) / blocks;
}

/* The `count` runs of that length that were pushed first. */
static void cache_give(struct dp_cache *cache, uint32_t blocks, uint32_t count,
		       void (*fn)(uint32_t block, uint32_t blocks, void *arg),
		       void *arg)
{
	struct dp_cache_stack *stack = &cache->stack[blocks];

	assert(count <= stack->count);
	for (uint32_t i = 0; i < count; i++)
		fn(stack->run[i], blocks, arg);
	stack->count -= count;
	memmove(stack->run, stack->run + count, stack->count * sizeof(*stack->run));
	cache_count(cache, cache_blocks(cache) - count * blocks);
}

void dp_cache_shed(struct dp_cache *cache,
		   void (*fn)(uint32_t block, uint32_t blocks, void *arg), void *arg)
{
	uint32_t most = 1;

	for (uint32_t i = 2; i <= DP_CACHE_RUN; i++)
		if (cache->stack[i].count * i > cache->stack[most].count * most)
			most = i;
	cache_give(cache, most, (cache->stack[most].count + 1) / 2, fn, arg);
}

/* ------------------------------------------------------------------------ steal */

void dp_caches_steal(struct dp_caches *caches,
		     void (*fn)(uint32_t block, uint32_t blocks, void *arg), void *arg)
{
	atomic_fetch_add(&caches->stealing, 1);
	for (uint32_t i = 0; i < CACHES; i++) {
		struct dp_cache *cache = &caches->cache[i];

		while (!cache_try(cache))
			dp_os_sleep_ns(THIEF_PAUSE_NS);
		for (uint32_t j = 1; j <= DP_CACHE_RUN; j++)
			cache_give(cache, j, cache->stack[j].count, fn, arg);
		assert(!cache_blocks(cache));
		dp_cache_leave(cache);
	}
}

void dp_caches_release(struct dp_caches *caches)
{
	uint32_t was = atomic_fetch_sub(&caches->stealing, 1);

	assert(was);
	(void)was;
}
