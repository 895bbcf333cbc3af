/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The free space of a whole pool: free runs of its segments, and caches of threads.
 * Blocks are indexes in the pool.
 */
#ifndef DP_SPACES_H
#define DP_SPACES_H

#include "extent/cache.h"
#include "extent/longest.h"
#include "extent/space.h"

/* private to spaces.c */
struct dp_spaces {
	struct dp_space *space;		/* one per segment */
	_Atomic uint32_t segments;	/* whose space can be claimed */
	uint32_t most;			/* for which there is memory */
	uint32_t shift;			/* log2 of blocks per segment */
	_Atomic uint32_t step;		/* see spaces_step() */
	_Atomic bool quarantine;	/* a block is in quarantine, or a thread has
					   tried to quarantine one */
	_Atomic uint32_t closed_from;	/* the first closed segment, or `segments` */
	struct dp_longest longest;
	struct dp_caches caches;
	DP_ALIGNED _Atomic uint32_t returns;	/* see space.c */
};

/* most: how many segments dp_spaces_grow() may set. -ENOMEM. */
int dp_spaces_init(struct dp_spaces *spaces, uint32_t segments, uint32_t most,
		   uint32_t shift, struct dp_events *events);
void dp_spaces_fini(struct dp_spaces *spaces);

/* At open, by one thread: after dp_spaces_add() the caller marks a segment's taken
 * blocks in dp_spaces_bits(). After dp_spaces_open() the others can be claimed. Both
 * -ENOMEM. */
int dp_spaces_add(struct dp_spaces *spaces, uint32_t segment, uint32_t blocks);
int dp_spaces_open(struct dp_spaces *spaces, uint32_t segment);
/* Let the space of segments be claimed that were added and opened while the pool was in
 * use. */
void dp_spaces_grow(struct dp_spaces *spaces, uint32_t segments);
/* Free the memory of a segment that was added and whose space cannot be claimed. */
void dp_spaces_remove(struct dp_spaces *spaces, uint32_t segment);
static inline struct dp_bits *dp_spaces_bits(struct dp_spaces *spaces,
					     uint32_t segment)
{
	return dp_space_bits(&spaces->space[segment]);
}

/*
 * Close the segments from `from` on, up to `to`, from which on they are closed already,
 * or do not exist: no block of them can be claimed any more, blocks that threads cache
 * return to them, and blocks that are freed stay there. They do not count as free.
 * dp_spaces_reopen() undoes it; or, if all blocks are free, dp_spaces_end_close() ends
 * what was needed for blocks that are freed. One thread at a time; all may sleep.
 */
void dp_spaces_close(struct dp_spaces *spaces, uint32_t from, uint32_t to);
void dp_spaces_reopen(struct dp_spaces *spaces, uint32_t from, uint32_t to);
void dp_spaces_end_close(struct dp_spaces *spaces);
/* The first closed segment, or the number of segments. */
static inline uint32_t dp_spaces_open_count(const struct dp_spaces *spaces)
{
	return atomic_load_explicit(&spaces->closed_from, memory_order_relaxed);
}
/*
 * In a closed segment, from the block `from` on: the first block in use, or `to` if
 * there is none; then what its last owner did is visible to the caller. Blocks in
 * quarantine are not in use. May sleep.
 */
uint32_t dp_spaces_find_used(struct dp_spaces *spaces, uint32_t segment, uint32_t from,
			     uint32_t to);

/* Claim exactly these blocks. false: one of them is not free, or is in a cache. */
bool dp_spaces_claim_at(struct dp_spaces *spaces, uint64_t block, uint32_t blocks);
/* Empty all caches into the segments. Sleeps until threads have left their caches. */
void dp_spaces_gather(struct dp_spaces *spaces);

/* As dp_space_quarantine(). */
int dp_spaces_quarantine(struct dp_spaces *spaces, uint64_t block,
			 dp_space_owned_fn *is_owned, void *arg);
/* Blocks in quarantine in all segments that are not closed. */
uint64_t dp_spaces_quarantined_count(struct dp_spaces *spaces);

/* Free blocks, with those in caches, without closed segments: exact if no other thread
 * reserves or frees. */
uint64_t dp_spaces_free_count(struct dp_spaces *spaces);

/* dp_spaces_try() and dp_spaces_free() call these if they cannot use the fast path of
 * the thread's cache. */
bool dp_spaces_claim_from_segments(struct dp_spaces *spaces, uint32_t blocks,
				   uint64_t *ret_block);
void dp_spaces_free_to_segments(struct dp_spaces *spaces, uint64_t block,
				uint32_t blocks);

/* The fast path of dp_spaces_try(): claim a run in this thread's cache. */
static inline bool dp_spaces_pop(struct dp_spaces *spaces, uint32_t blocks,
				 uint64_t *ret_block)
{
	uint32_t block;

	if (blocks > DP_CACHE_RUN || !dp_cache_pop(&spaces->caches, blocks, &block))
		return false;
	*ret_block = block;
	return true;
}

/* Claim a run inside one segment; *ret_block is its first block. False: there is none
 * among the free runs of segments and in this thread's cache. dp_spaces_claim() may
 * still find one, because it joins these runs with those in other caches and with
 * returned blocks. */
static inline bool dp_spaces_try(struct dp_spaces *spaces, uint32_t blocks,
				 uint64_t *ret_block)
{
	return dp_spaces_pop(spaces, blocks, ret_block) ||
	       dp_spaces_claim_from_segments(spaces, blocks, ret_block);
}

/* Call it after dp_spaces_try() has failed and events->refused was set. May sleep.
 * -ENOSPC: no segment has such a run, even after all caches were emptied. */
int dp_spaces_claim(struct dp_spaces *spaces, uint32_t blocks, uint64_t *ret_block);

/* Free a run, of any length, to its segment. A reclaim that could not punch a chunk
 * would not find it in a cache. Never waits. */
void dp_spaces_free_uncached(struct dp_spaces *spaces, uint64_t block, uint32_t blocks);

/* Free a run. Never waits, because a drop calls it. */
static inline void dp_spaces_free(struct dp_spaces *spaces, uint64_t block,
				  uint32_t blocks)
{
	if (blocks - 1 >= DP_CACHE_RUN ||
	    atomic_load_explicit(&spaces->quarantine, memory_order_relaxed) ||
	    !dp_cache_push(&spaces->caches, block, blocks))
		dp_spaces_free_to_segments(spaces, block, blocks);
}

#endif
