/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Caches of free runs, one for each thread slot.
 *
 * A cache has a list of runs for each length, the newest first. Its runs are not joined
 * or split, so a thread that frees extents of several lengths and reserves the same
 * lengths again gets memory that it used shortly before. DP_CACHE_RUNS bounds the time
 * to empty a cache.
 *
 * The thread of a slot sets busy and reads mode; if no thread is stealing, it has
 * exclusive access to the cache until it clears busy. When a thread ends, its cache
 * remains for the next thread with that slot, and other threads can steal from it.
 * Threads without a slot of their own share one cache, which is always empty.
 *
 * A thread (the thief) steals when a claim found no space, or when free chunks are to
 * be returned to the filesystem:
 *
 *	thread					thief, under `thief`
 *	(1) sets busy				(4) sets STEALING in mode
 *	(2) reads mode: 0			(5) a fence in every thread
 *	    changes the cache			(6) waits for busy to be 0
 *	(3) clears busy				    empties the cache
 *						(7) clears STEALING
 *
 * (5) is membarrier(2): during the call each other thread of the process executes a
 * full fence. If (1) is before that fence, (6) reads busy and waits; (3) is a release,
 * so that the thief then sees the thread's changes. If (1) is after it, (2) is after
 * (4) and the thread does not enter. So the thread itself needs no fence, which would
 * cost as much as the rest of a reserve. If membarrier is forbidden, mode has FENCED:
 * (1) and (3) are then atomic exchanges, which only dp_cache_enter() and
 * dp_cache_leave() make, and (5) is not needed.
 *
 * A seccomp filter may forbid membarrier after the pool was opened. The thief whose (5)
 * fails sets FENCED. A thread that has not read FENCED since may have stored busy
 * without the thief seeing it. So the thief does not empty that thread's cache until
 * (8): either the thread has set `fenced` of its cache (dp_caches_note_fenced(),
 * outside of the cache), or it has ended, so that its slot is free and the next thread
 * with the slot reads FENCED. In both cases RETRY is posted if a thread was refused.
 *
 * While segments are closed (spaces.c), mode has SLOW. Then the fast path of the caches
 * is closed too, and a thread looks at the block's segment after (2):
 *
 *	(9)	the thread that closes segments marks them before it sets SLOW, and
 *		then steals. A thread whose (2) is before (5) is one that (6) waits
 *		for, and what it put into the cache is removed. Otherwise its (2) reads
 *		SLOW, and it finds the mark
 *
 * A cache has places for runs only after its bit in `used` was set by an atomic
 * operation (cache_begin()); before that, dp_cache_pop() and dp_cache_push() set busy
 * but find an empty cache without room. If a thief reads `used` after (4) and the bit
 * is not set, its read was before that operation, so the thread's next (2) sees
 * STEALING. If no other thread has a bit, (5) is skipped.
 *
 * The same fence decides about refusals. A thread that is refused sets
 * events->refused before it steals; a thread that frees reads it after (3). Either the
 * thief finds what was freed, or the freeing thread finds the flag set
 * (lib/extent/event.c).
 *
 * tests/model/cache.pml searches the interleavings, with the stores that a processor
 * delays.
 *
 * Invariants:
 *	I62	a run in a cache is free: no extent has it, and it is in no segment's
 *		free runs
 *	I63	between dp_caches_steal() and dp_caches_release() all caches are empty,
 *		and no thread is putting a block into one; after (5) has failed, this is
 *		true only of the caches that (8) allows the thief to empty
 */
#include <errno.h>
#include <sys/mman.h>
#include "extent/cache.h"
#include "os/os.h"

#define CACHES		(DP_THREAD_SLOTS + 1)
#define THIEF_PAUSE_NS	50000ull
#define SHED_LENGTHS	8u		/* that a shed looks at besides its own */

#define CACHES_STEALING	1u		/* nothing may enter a cache */
#define CACHES_FENCED	2u		/* each thread makes its own fences */
#define CACHES_SLOW	4u		/* segments are closed: no fast path */

/* This thread's slot is free, so its cache can be emptied from now on (8): post RETRY
 * if a thread was refused. */
static void caches_thread_ended(unsigned int slot, void *arg)
{
	struct dp_caches *caches = arg;

	if (atomic_load(&caches->mode) & CACHES_FENCED &&
	    !atomic_load(&caches->cache[slot].fenced))
		dp_events_notify_refused(caches->events);
}

static uint64_t caches_size(void)
{
	return CACHES * sizeof(struct dp_cache);
}

static void caches_unmap(struct dp_caches *caches)
{
	dp_os_unmap(caches->cache, caches_size());
	caches->cache = NULL;
}

int dp_caches_init(struct dp_caches *caches, struct dp_events *events)
{
	bool fenced = !dp_os_has_membarrier();
	void *base;
	int ret;

	/* Anonymous memory is zeroed, and is allocated only where it is used. */
	ret = dp_os_map(NULL, caches_size(), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, &base);
	if (ret)
		return ret;
	caches->cache = base;
	for (uint32_t i = 0; fenced && i < CACHES; i++)
		atomic_init(&caches->cache[i].fenced, true);
	caches->events = events;
	atomic_init(&caches->used, 0);
	pthread_mutex_init(&caches->thief, NULL);
	atomic_init(&caches->mode, fenced ? CACHES_FENCED : 0);
	caches->end = (struct dp_thread_end) { caches_thread_ended, caches, NULL };
	ret = dp_thread_ends_watch(&caches->end);
	if (ret)
		caches_unmap(caches);
	return ret;
}

void dp_caches_fini(struct dp_caches *caches)
{
	if (!caches->cache)
		return;
	assert(!(atomic_load(&caches->mode) & CACHES_STEALING));
	dp_thread_ends_unwatch(&caches->end);
	pthread_mutex_destroy(&caches->thief);
	caches_unmap(caches);
}

uint64_t dp_caches_blocks(const struct dp_caches *caches)
{
	uint64_t used = atomic_load(&caches->used), blocks = 0;

	/* The others have never had room: see cache_begin(). */
	for (; used; used &= used - 1)
		blocks += dp_cache_blocks(&caches->cache[__builtin_ctzll(used)]);
	return blocks;
}

/* The bit of this thread's cache, if it has one. */
static uint64_t caches_mine(void)
{
	unsigned int slot = dp_thread_slot();

	return slot == DP_THREAD_SLOT_SHARED ? 0 : 1ull << slot;
}

uint32_t dp_caches_users(const struct dp_caches *caches)
{
	return __builtin_popcountll(atomic_load(&caches->used));
}

bool dp_caches_have_one_user(const struct dp_caches *caches)
{
	return !(atomic_load(&caches->used) & ~caches_mine());
}

/* -------------------------------------------------------------- enter and leave */

/* As dp_cache_set_busy(), with a fence if mode has FENCED. */
static void cache_set_busy(const struct dp_caches *caches, struct dp_cache *cache,
			   uint32_t busy)
{
	if (atomic_load_explicit(&caches->mode, memory_order_relaxed) & CACHES_FENCED)
		atomic_exchange(&cache->busy, busy);
	else
		dp_cache_set_busy(cache, busy);
}

static void cache_begin(struct dp_caches *caches, struct dp_cache *cache)
{
	assert(!dp_cache_blocks(cache) && !cache->spare);
	atomic_fetch_or(&caches->used, caches_mine());
	for (uint32_t i = 1; i < DP_CACHE_RUNS; i++)
		cache->run[i].next = i + 1;
	cache->spare = 1;
	cache->begun = true;
}

struct dp_cache *dp_cache_enter(struct dp_caches *caches)
{
	unsigned int slot = dp_thread_slot();
	struct dp_cache *cache = &caches->cache[slot];

	if (slot == DP_THREAD_SLOT_SHARED)
		return NULL;
	if (!cache->begun)
		cache_begin(caches, cache);
	cache_set_busy(caches, cache, 1);
	if (!(atomic_load(&caches->mode) & CACHES_STEALING))
		return cache;
	cache_set_busy(caches, cache, 0);
	return NULL;
}

void dp_cache_leave(const struct dp_caches *caches, struct dp_cache *cache)
{
	cache_set_busy(caches, cache, 0);
}

void dp_caches_slow_down(struct dp_caches *caches, bool slow)
{
	if (slow)
		atomic_fetch_or(&caches->mode, CACHES_SLOW);
	else
		atomic_fetch_and(&caches->mode, ~CACHES_SLOW);
}

/* (8) */
void dp_caches_note_fenced(struct dp_caches *caches)
{
	struct dp_cache *cache;

	if (!(atomic_load(&caches->mode) & CACHES_FENCED))
		return;
	cache = &caches->cache[dp_thread_slot()];
	if (atomic_load_explicit(&cache->fenced, memory_order_relaxed))
		return;
	atomic_store(&cache->fenced, true);
	dp_events_notify_refused(caches->events);
}

/* Remove the runs from *link to the last, which is the oldest of their length. */
static void cache_cut(struct dp_cache *cache, uint32_t blocks, uint16_t *link,
		      uint32_t last, uint32_t count)
{
	assert(!cache->run[last].next);
	cache->run[last].next = cache->spare;
	cache->spare = *link;
	*link = 0;
	cache->list[blocks].count -= count;
	dp_cache_count(cache, dp_cache_blocks(cache) - count * blocks);
}

/*
 * Pass the runs of this length to fn, except the `kept` newest, and remove them.
 * Adjacent runs are passed as one, which takes the segment's lock once. Those of two
 * segments are never adjacent, because a segment begins with metadata.
 */
static void cache_give(struct dp_cache *cache, uint32_t blocks, uint32_t kept,
		       dp_cache_fn *fn, void *arg)
{
	struct dp_cache_list *list = &cache->list[blocks];
	uint16_t *link = &list->newest;
	uint32_t begin, end, last = 0;

	for (uint32_t i = 0; i < kept; i++)
		link = &cache->run[*link].next;
	if (!*link)
		return;
	begin = end = cache->run[*link].block;
	for (uint32_t n = *link; n; n = cache->run[n].next) {
		uint32_t block = cache->run[n].block;

		if (block != end && block + blocks != begin) {
			fn(begin, end - begin, arg);
			begin = end = block;
		}
		begin = dp_min(begin, block);
		end = block == end ? end + blocks : end;
		last = n;
	}
	fn(begin, end - begin, arg);
	cache_cut(cache, blocks, link, last, list->count - kept);
}

/* The number of blocks in the cache's runs of this length. */
static uint32_t cache_blocks_of(const struct dp_cache *cache, uint32_t blocks)
{
	return cache->list[blocks].count * blocks;
}

void dp_cache_shed(struct dp_cache *cache, uint32_t blocks, dp_cache_fn *fn, void *arg)
{
	uint32_t most = blocks, count;

	for (uint32_t i = 0; i < SHED_LENGTHS; i++) {
		cache->hand = cache->hand % DP_CACHE_RUN + 1;
		if (cache_blocks_of(cache, cache->hand) > cache_blocks_of(cache, most))
			most = cache->hand;
	}
	count = cache->list[most].count;
	count -= dp_min((count + 1) / 2, DP_CACHE_SHED);
	cache_give(cache, most, count, fn, arg);
}

/* (6) */
static void cache_empty(struct dp_cache *cache, dp_cache_fn *fn, void *arg)
{
	while (atomic_load(&cache->busy))
		dp_os_sleep_ns(THIEF_PAUSE_NS);
	for (uint32_t i = 1; i <= DP_CACHE_RUN; i++)
		cache_give(cache, i, 0, fn, arg);
	assert(!dp_cache_blocks(cache));
	cache->limit = 0;
}

/* The caches whose threads make their own fences, so that the thief's read of busy is
 * reliable without (5): see (8). */
static uint64_t caches_fenced(struct dp_caches *caches)
{
	uint64_t fenced = caches_mine() | dp_thread_slots_free();

	for (uint32_t i = 0; i < DP_THREAD_SLOTS; i++)
		if (atomic_load(&caches->cache[i].fenced))
			fenced |= 1ull << i;
	return fenced;
}

/* The caches that may be emptied: those for which busy is reliable now. */
static uint64_t caches_to_empty(struct dp_caches *caches)
{
	uint64_t used = atomic_load(&caches->used);

	if (!(used & ~caches_mine()))
		return used;
	if (!(atomic_load(&caches->mode) & CACHES_FENCED)) {
		if (dp_os_membarrier())
			return used;
		atomic_fetch_or(&caches->mode, CACHES_FENCED);
	}
	return used & caches_fenced(caches);
}

void dp_caches_steal(struct dp_caches *caches, dp_cache_fn *fn, void *arg)
{
	uint64_t used;
	uint32_t was;

	pthread_mutex_lock(&caches->thief);
	was = atomic_fetch_or(&caches->mode, CACHES_STEALING);
	assert(!(was & CACHES_STEALING));
	(void)was;
	used = caches_to_empty(caches);
	for (; used; used &= used - 1)
		cache_empty(&caches->cache[__builtin_ctzll(used)], fn, arg);
}

void dp_caches_release(struct dp_caches *caches)
{
	uint32_t was = atomic_fetch_and(&caches->mode, ~CACHES_STEALING);

	assert(was & CACHES_STEALING);
	(void)was;
	pthread_mutex_unlock(&caches->thief);
}
