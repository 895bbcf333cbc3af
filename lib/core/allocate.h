/* SPDX-License-Identifier: BSD-3-Clause */
/* Space for a new extent. */
#ifndef DP_ALLOCATE_H
#define DP_ALLOCATE_H

#include "core/handle.h"
#include "util/probe.h"

/* Reserve an extent in blocks that the caller has claimed. */
static inline void dp_allocate_extent(struct daxpin_pool *pool, uint64_t block,
				      uint32_t blocks,
				      struct daxpin_extent *ret_extent)
{
	uint64_t generation = dp_state_reserve(&pool->states, block, blocks);

	*ret_extent = dp_extent(pool, block, generation);
	DP_PROBE_RESERVE(&pool->states, block << DP_BLOCK_SHIFT, generation,
			 (uint64_t)blocks << DP_BLOCK_SHIFT);
}

/*
 * Reserve an extent of 1 to pool->extent_blocks_max blocks. flags: DAXPIN_RESERVE_...
 *
 * -EAGAIN  no segment has a free run of that length, but a reclaim or refill is in
 *          progress
 * -EIO     the zeroes could not be made durable
 * -ENOSPC  no segment has a free run of that length, and no job is in progress that
 *          could provide one
 */
int dp_allocate(struct daxpin_pool *pool, uint32_t blocks, uint32_t flags,
		struct daxpin_extent *ret_extent);
/* The fast path of dp_allocate(), without flags. False: nothing was done. */
static inline bool dp_allocate_cached(struct daxpin_pool *pool, uint32_t blocks,
				      struct daxpin_extent *ret_extent)
{
	uint64_t block;

	if (!dp_spaces_pop(&pool->spaces, blocks, &block))
		return false;
	dp_allocate_extent(pool, block, blocks, ret_extent);
	return true;
}

/* The same for a slab: no program has a handle of its extent. */
int dp_allocate_slab(struct daxpin_pool *pool, struct dp_handle *ret_handle);

#endif
