/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Find free blocks for a new extent. The blocks are claimed first, and only the thread
 * that claimed them may change the state word of the first (I16, I28).
 */
#include <errno.h>
#include "core/allocate.h"
#include "util/probe.h"

static int allocate_claim(struct daxpin_pool *pool, uint32_t blocks,
			  uint64_t *ret_block)
{
	int ret = 0;

	if (!dp_spaces_try(&pool->spaces, blocks, ret_block))
		ret = dp_jobs_space(&pool->jobs, blocks, ret_block);
	if (ret) {
		DP_PROBE_NO_SPACE(&pool->states,
				  (uint64_t)blocks << DP_BLOCK_SHIFT, ret);
		atomic_fetch_add_explicit(&pool->no_space, 1,
					  memory_order_relaxed);
		return ret;
	}
	/* The blocks of a segment's metadata are never free: recover.c took them. */
	assert((*ret_block & ((1ull << dp_states_shift(&pool->states)) - 1)) >=
	       pool->meta_blocks);
	return 0;
}

/* Zero the blocks, before another thread can see the extent. */
static int allocate_zero(struct daxpin_pool *pool, uint64_t block, uint32_t blocks,
			 uint32_t flags)
{
	char *to = pool->media.geometry.base + (block << DP_BLOCK_SHIFT);
	uint64_t size = (uint64_t)blocks << DP_BLOCK_SHIFT;

	if (flags & DAXPIN_RESERVE_DURABLE)
		return dp_persist_wipe(&pool->media.persist, to, size);
	if (flags & DAXPIN_RESERVE_ZERO)
		dp_persist_zero(&pool->media.persist, to, size);
	return 0;
}

/* The blocks are not in this thread's cache, or must be zeroed. */
static int allocate_slowly(struct daxpin_pool *pool, uint32_t blocks, uint32_t flags,
			   struct daxpin_extent *ret_extent)
{
	struct daxpin_extent extent;
	uint64_t block;
	int ret = allocate_claim(pool, blocks, &block);

	if (ret)
		return ret;
	ret = allocate_zero(pool, block, blocks, flags);
	dp_allocate_extent(pool, block, blocks, &extent);
	/* Blocks become free only at the end of a generation. */
	if (ret)
		dp_state_cancel(&pool->states, block,
				dp_handle_of(pool, extent).generation);
	else
		*ret_extent = extent;
	return ret;
}

int dp_allocate(struct daxpin_pool *pool, uint32_t blocks, uint32_t flags,
		struct daxpin_extent *ret_extent)
{
	assert(blocks && blocks <= pool->extent_blocks_max);
	return !flags && dp_allocate_cached(pool, blocks, ret_extent) ? 0 :
	       allocate_slowly(pool, blocks, flags, ret_extent);
}

int dp_allocate_slab(struct daxpin_pool *pool, struct dp_handle *ret_handle)
{
	uint64_t block;
	int ret = allocate_claim(pool, DP_SLAB_BLOCKS, &block);

	if (ret)
		return ret;
	*ret_handle = (struct dp_handle) {
		block, dp_state_reserve_slab(&pool->states, block, DP_SLAB_BLOCKS)
	};
	return 0;
}
