/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The free space of a pool.
 *
 *	run of a thread's cache <---> free run of a segment <---> an extent's blocks
 *	        ^                                                        ^
 *	        '--------------------------------------------------------'
 *
 * A run of up to 2 MiB is taken from the thread's cache and returned to it. A cache
 * without a short run of that length is filled from one free run; from a full cache the
 * older half of one length is returned to the segments. All other runs are claimed from
 * the first segment that has one, beginning with the thread's first segment, so that
 * long runs remain in later segments. The first segments of threads are far apart, so
 * that threads rarely want the same lock or write the same cache lines, also when each
 * has used several segments.
 *
 * Before a claim is refused, all caches are emptied, and blocks that were freed while
 * their segment was locked are added: a refusal means that no run was long enough after
 * all free runs had been joined. (But see (8) in cache.c.)
 *
 * A shrink closes the last segments. Their blocks are in free runs or in use, and after
 * the steal in no cache, so a segment whose blocks are all free stays so (I67).
 *
 * Invariants:
 *	I28	a claim gets a run that is free from end to end, or nothing
 *	I33	freeing waits for no other thread
 *	I67	while a segment is closed no block of it is claimed
 */
#include <errno.h>
#include <sys/mman.h>
#include "extent/spaces.h"
#include "extent/thread_slot.h"
#include "os/os.h"
#include "util/cancel.h"

#define REFILL_BLOCKS	256u		/* blocks of a refill of a cache, at most */
#define REFILL_RUNS	64u		/* runs of a refill, at most */
#define REFILL_LENGTH	16u		/* blocks of the longest run that is refilled */
/* A cache has up to 1/64 of the pool, and 4 MiB. */
#define CACHED_PART	64u
#define CACHED_BLOCKS	1024u
/* While space is plenty, it has a share of 1/8 of the pool, if that is more. */
#define SHARED_PART	8u

static bool spaces_have_common_divisor(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a > 1;
}

/*
 * The distance between the first segments of threads whose slots are consecutive: about
 * 5/8 of the pool, and no common divisor with the number of segments. So the first
 * segments of as many threads as there are segments are all different.
 */
static uint32_t spaces_step(uint32_t segments)
{
	uint32_t step = (uint64_t)segments * 5 / 8;

	while (spaces_have_common_divisor(segments, step))
		step++;
	return step;
}

static uint64_t spaces_size(const struct dp_spaces *spaces)
{
	return (uint64_t)spaces->most * sizeof(*spaces->space);
}

int dp_spaces_init(struct dp_spaces *spaces, uint32_t segments, uint32_t most,
		   uint32_t shift, struct dp_events *events)
{
	void *base;
	int ret;

	/* A block's index fits the 32 bits that caches and root words have for it. */
	assert(segments && segments <= most &&
	       (uint64_t)most << shift <= UINT32_MAX + 1ull);
	memset(spaces, 0, sizeof(*spaces));
	spaces->segments = segments;
	atomic_init(&spaces->closed_from, segments);
	spaces->most = most;
	spaces->shift = shift;
	spaces->step = spaces_step(segments);
	/* Anonymous memory is zeroed, and is allocated only where it is used. */
	ret = dp_os_map(NULL, spaces_size(spaces), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, &base);
	if (ret)
		return ret;
	spaces->space = base;
	ret = dp_longest_init(&spaces->longest, most);
	if (!ret)
		ret = dp_caches_init(&spaces->caches, events);
	return ret;
}

void dp_spaces_fini(struct dp_spaces *spaces)
{
	if (!spaces->space)
		return;
	for (uint32_t i = 0; i < spaces->segments; i++)
		dp_space_fini(&spaces->space[i]);
	dp_longest_fini(&spaces->longest);
	dp_caches_fini(&spaces->caches);
	dp_os_unmap(spaces->space, spaces_size(spaces));
	spaces->space = NULL;
}

/*
 * Threads search the segments below the number that they read here. Each reads it once
 * for a search, with acquire, so it finds what was stored before: the segment's bits,
 * runs and bound. `step` only spreads the threads, so it need not fit `segments`.
 */
void dp_spaces_grow(struct dp_spaces *spaces, uint32_t segments)
{
	assert(segments > spaces->segments && segments <= spaces->most);
	assert(atomic_load(&spaces->closed_from) == spaces->segments);
	atomic_store(&spaces->closed_from, segments);
	spaces->step = spaces_step(segments);
	atomic_store(&spaces->segments, segments);
}

void dp_spaces_remove(struct dp_spaces *spaces, uint32_t segment)
{
	assert(segment >= spaces->segments && segment < spaces->most);
	dp_longest_set(&spaces->longest, segment, 0);
	dp_space_fini(&spaces->space[segment]);
	memset(&spaces->space[segment], 0, sizeof(spaces->space[segment]));
}

int dp_spaces_add(struct dp_spaces *spaces, uint32_t segment, uint32_t blocks)
{
	assert(blocks <= 1u << spaces->shift);
	return dp_space_init(&spaces->space[segment], blocks);
}

int dp_spaces_open(struct dp_spaces *spaces, uint32_t segment)
{
	const struct dp_bits *bits = dp_spaces_bits(spaces, segment);

	if (dp_bits_quarantined_count(bits))
		spaces->quarantine = true;
	return dp_space_open(&spaces->space[segment], &spaces->longest, segment,
			     &spaces->returns);
}

static struct dp_space *spaces_of(struct dp_spaces *spaces, uint64_t block,
				  uint32_t *ret_in_segment)
{
	*ret_in_segment = block & ((1ull << spaces->shift) - 1);
	return &spaces->space[block >> spaces->shift];
}

/* ------------------------------------------------------------- from the segments */

/* Claim from a segment in [from, to). */
static bool spaces_claim_in(struct dp_spaces *spaces, uint32_t from, uint32_t to,
			    uint32_t blocks, uint64_t *ret_block)
{
	uint32_t block;

	while ((from = dp_longest_find(&spaces->longest, from, to, blocks)) < to) {
		if (!dp_space_claim(&spaces->space[from], blocks, &block)) {
			*ret_block = ((uint64_t)from << spaces->shift) + block;
			return true;
		}
		from++;
	}
	return false;
}

static bool spaces_claim_run(struct dp_spaces *spaces, uint32_t blocks,
			     uint64_t *ret_block)
{
	uint32_t segments = spaces->segments;
	uint32_t first = dp_thread_slot() * spaces->step % segments;

	return spaces_claim_in(spaces, first, segments, blocks, ret_block) ||
	       spaces_claim_in(spaces, 0, first, blocks, ret_block);
}

void dp_spaces_free_uncached(struct dp_spaces *spaces, uint64_t block, uint32_t blocks)
{
	uint32_t in_segment;
	struct dp_space *space = spaces_of(spaces, block, &in_segment);

	dp_space_free(space, in_segment, blocks);
}

/* For dp_cache_shed() and dp_caches_steal(). */
static void spaces_free_run(uint32_t block, uint32_t blocks, void *arg)
{
	dp_spaces_free_uncached(arg, block, blocks);
}

static void spaces_settle(struct dp_spaces *spaces)
{
	for (uint32_t i = 0; i < spaces->segments; i++)
		dp_space_settle(&spaces->space[i]);
}

/*
 * Could there be a run of that length after a steal? `kept` blocks, which are in
 * caches, can join at most kept + 1 runs of segments. If other threads have caches,
 * their contents are unknown without a fence, so the answer is yes.
 */
static bool spaces_may_have(const struct dp_spaces *spaces, uint32_t blocks)
{
	uint64_t kept = dp_caches_blocks(&spaces->caches);

	return !dp_caches_have_one_user(&spaces->caches) ||
	       (dp_longest_of_all(&spaces->longest) + 1ull) * (kept + 1) > blocks;
}

/* Join all free runs, and search again. May sleep until threads have left their
 * caches. */
static bool spaces_claim_last(struct dp_spaces *spaces, uint32_t blocks,
			      uint64_t *ret_block)
{
	DP_UNCANCELLED();
	bool found;

	if (atomic_load(&spaces->returns))
		spaces_settle(spaces);
	else if (!spaces_may_have(spaces, blocks))
		return false;
	dp_caches_steal(&spaces->caches, spaces_free_run, spaces);
	if (atomic_load(&spaces->returns))
		spaces_settle(spaces);
	found = spaces_claim_run(spaces, blocks, ret_block);
	dp_caches_release(&spaces->caches);
	return found;
}

/* ------------------------------------------------------------------- with a cache */

/*
 * The memory of a run that was freed long ago is in no cache of the processor, nor are
 * its pages in the TLB, so a cache of many blocks makes the caller's stores faster too.
 * But its runs are not joined, so extents are spread over more chunks, and it must be
 * emptied when a claim finds no run. So it may have many only while a free run of a
 * quarter of a segment seems to exist: the bound may be too high until a search fails.
 * There are always at least two shares, so that another thread finds free blocks.
 */
static uint32_t spaces_limit(const struct dp_spaces *spaces)
{
	uint64_t blocks = (uint64_t)atomic_load_explicit(&spaces->closed_from,
							 memory_order_relaxed)
			  << spaces->shift;
	uint32_t threads = dp_caches_users(&spaces->caches);
	uint32_t least = dp_min(blocks / CACHED_PART, CACHED_BLOCKS), share;

	if (!(dp_longest_of_all(&spaces->longest) >> (spaces->shift - 2)))
		return least;
	share = (uint32_t)(blocks / SHARED_PART) / (threads < 2 ? 2 : threads);
	return share > least ? share : least;
}

/* Split one run of the segments into several for the cache, and one for the caller. */
static bool spaces_refill(struct dp_spaces *spaces, struct dp_cache *cache,
			  uint32_t blocks, uint64_t *ret_block)
{
	uint32_t pieces = dp_min(REFILL_BLOCKS / blocks, REFILL_RUNS);

	while (pieces && !dp_cache_has_room(cache, pieces * blocks))
		pieces /= 2;
	if (!pieces || !spaces_claim_run(spaces, pieces * blocks, ret_block))
		return false;
	pieces--;
	while (pieces && dp_cache_put(cache, *ret_block + pieces * blocks, blocks))
		pieces--;
	/* The cache has room for the others, but not enough places for runs. */
	if (pieces)
		dp_spaces_free_uncached(spaces, *ret_block + blocks, pieces * blocks);
	return true;
}

static bool spaces_is_closed(const struct dp_spaces *spaces, uint64_t block)
{
	return block >> spaces->shift >=
	       atomic_load_explicit(&spaces->closed_from, memory_order_relaxed);
}

/* Take a run from the cache. Runs of a closed segment are there only if membarrier(2)
 * has failed ((8) in cache.c): they return to the segment. */
static bool spaces_take(struct dp_spaces *spaces, struct dp_cache *cache,
			uint32_t blocks, uint32_t *ret_block)
{
	while (dp_cache_take(cache, blocks, ret_block)) {
		if (!spaces_is_closed(spaces, *ret_block))
			return true;
		dp_spaces_free_uncached(spaces, *ret_block, blocks);
	}
	return false;
}

/* False: the caller must claim from the segments. */
static bool spaces_claim_cached(struct dp_spaces *spaces, uint32_t blocks,
				uint64_t *ret_block)
{
	struct dp_cache *cache = dp_cache_enter(&spaces->caches);
	uint32_t block;
	bool found;

	if (!cache)
		return false;
	found = spaces_take(spaces, cache, blocks, &block);
	if (found)
		*ret_block = block;
	else
		dp_cache_limit(cache, spaces_limit(spaces));
	if (!found && blocks <= REFILL_LENGTH)
		found = spaces_refill(spaces, cache, blocks, ret_block);
	dp_cache_leave(&spaces->caches, cache);
	return found;
}

/* False: the caller must add the run to its segment. */
static bool spaces_free_cached(struct dp_spaces *spaces, uint32_t block,
			       uint32_t blocks)
{
	struct dp_cache *cache = dp_cache_enter(&spaces->caches);
	bool done = false;

	if (!cache)
		return false;
	if (spaces_is_closed(spaces, block))
		goto leave;
	if (!dp_cache_has_room(cache, blocks))
		dp_cache_limit(cache, spaces_limit(spaces));
	if (!dp_cache_has_room(cache, blocks))
		dp_cache_shed(cache, blocks, spaces_free_run, spaces);
	done = dp_cache_put(cache, block, blocks);
leave:
	dp_cache_leave(&spaces->caches, cache);
	return done;
}

/* ----------------------------------------------------------------- claim and free */

bool dp_spaces_claim_from_segments(struct dp_spaces *spaces, uint32_t blocks,
				   uint64_t *ret_block)
{
	assert(blocks);
	dp_caches_note_fenced(&spaces->caches);
	return (blocks <= DP_CACHE_RUN &&
		spaces_claim_cached(spaces, blocks, ret_block)) ||
	       spaces_claim_run(spaces, blocks, ret_block);
}

int dp_spaces_claim(struct dp_spaces *spaces, uint32_t blocks, uint64_t *ret_block)
{
	return dp_spaces_try(spaces, blocks, ret_block) ||
	       spaces_claim_last(spaces, blocks, ret_block) ? 0 : -ENOSPC;
}

void dp_spaces_free_to_segments(struct dp_spaces *spaces, uint64_t block,
				uint32_t blocks)
{
	uint32_t in_segment;
	struct dp_space *space = spaces_of(spaces, block, &in_segment);

	dp_caches_note_fenced(&spaces->caches);
	/* If blocks of the segment are in quarantine, this run may have some of them,
	 * and only dp_space_free() keeps those taken. */
	if (blocks <= DP_CACHE_RUN &&
	    !dp_bits_quarantined_count(dp_space_bits(space)) &&
	    spaces_free_cached(spaces, block, blocks))
		return;
	dp_space_free(space, in_segment, blocks);
}

bool dp_spaces_claim_at(struct dp_spaces *spaces, uint64_t block, uint32_t blocks)
{
	uint32_t in_segment;
	struct dp_space *space = spaces_of(spaces, block, &in_segment);

	return dp_space_claim_at(space, in_segment, blocks);
}

void dp_spaces_gather(struct dp_spaces *spaces)
{
	dp_caches_steal(&spaces->caches, spaces_free_run, spaces);
	dp_caches_release(&spaces->caches);
	if (atomic_load(&spaces->returns))
		spaces_settle(spaces);
}

void dp_spaces_close(struct dp_spaces *spaces, uint32_t from, uint32_t to)
{
	assert(from < to && atomic_load(&spaces->closed_from) == to);
	/* The order of (9) in cache.c. */
	atomic_store(&spaces->closed_from, from);
	for (uint32_t i = from; i < to; i++)
		dp_space_close(&spaces->space[i], true);
	dp_caches_slow_down(&spaces->caches, true);
	dp_spaces_gather(spaces);
}

void dp_spaces_reopen(struct dp_spaces *spaces, uint32_t from, uint32_t to)
{
	assert(from < to && atomic_load(&spaces->closed_from) == from);
	atomic_store(&spaces->closed_from, to);
	for (uint32_t i = from; i < to; i++)
		dp_space_close(&spaces->space[i], false);
	dp_caches_slow_down(&spaces->caches, false);
}

void dp_spaces_end_close(struct dp_spaces *spaces)
{
	dp_caches_slow_down(&spaces->caches, false);
}

uint32_t dp_spaces_find_used(struct dp_spaces *spaces, uint32_t segment, uint32_t from,
			     uint32_t to)
{
	const struct dp_bits *bits = dp_spaces_bits(spaces, segment);

	assert(segment >= atomic_load(&spaces->closed_from));
	while (from < to) {
		from = dp_bits_find(bits, from, to, false);
		if (from < to && !dp_bits_is_quarantined(bits, from))
			return from;
		from = dp_bits_find_quarantined(bits, from, to, false);
	}
	/* The thread that made the last of these blocks free did so under the lock. */
	dp_space_settle(&spaces->space[segment]);
	return to;
}

int dp_spaces_quarantine(struct dp_spaces *spaces, uint64_t block,
			 dp_space_owned_fn *is_owned, void *arg)
{
	uint32_t in_segment;
	struct dp_space *space = spaces_of(spaces, block, &in_segment);

	/* The thread that ends the extent must not put the block into its cache. */
	spaces->quarantine = true;
	return dp_space_quarantine(space, in_segment, is_owned, arg);
}

uint64_t dp_spaces_quarantined_count(struct dp_spaces *spaces)
{
	uint32_t end = atomic_load(&spaces->closed_from);
	uint64_t blocks = 0;

	for (uint32_t i = 0; i < end; i++)
		blocks += dp_bits_quarantined_count(dp_space_bits(&spaces->space[i]));
	return blocks;
}

uint64_t dp_spaces_free_count(struct dp_spaces *spaces)
{
	uint64_t blocks = dp_caches_blocks(&spaces->caches);
	uint32_t end = atomic_load(&spaces->closed_from);

	for (uint32_t i = 0; i < end; i++)
		blocks += dp_bits_free_count(dp_space_bits(&spaces->space[i]));
	return blocks;
}
