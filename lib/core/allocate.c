/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Find free blocks for a new extent. The blocks are claimed first, and only the thread
 * that claimed them may change the state word of the first (I16, I28).
 */
#include <errno.h>
#include "core/allocate.h"
#include "util/probe.h"

int dp_allocate(struct daxpin_pool *pool, uint32_t blocks, bool zero,
		struct dp_handle *ret_handle)
{
	uint64_t block;
	int ret = 0;

	assert(blocks && blocks <= pool->extent_blocks_max);
	if (!dp_spaces_try(&pool->spaces, blocks, &block))
		ret = dp_jobs_space(&pool->jobs, blocks, &block);
	if (ret) {
		DP_PROBE_NO_SPACE(&pool->states,
				  (uint64_t)blocks << DP_BLOCK_SHIFT, ret);
		atomic_fetch_add_explicit(&pool->no_space, 1,
					  memory_order_relaxed);
		return ret;
	}
	/* The blocks of a segment's metadata are never free: recover.c took them. */
	assert((block & ((1ull << dp_states_shift(&pool->states)) - 1)) >=
	       pool->meta_blocks);
	if (zero)
		dp_persist_zero(&pool->media.persist, pool->media.geometry.base +
				(block << DP_BLOCK_SHIFT),
				(uint64_t)blocks << DP_BLOCK_SHIFT);
	*ret_handle = (struct dp_handle) {
		block, dp_state_reserve(&pool->states, block, blocks)
	};
	DP_PROBE_RESERVE(&pool->states, block << DP_BLOCK_SHIFT,
			 ret_handle->generation,
			 (uint64_t)blocks << DP_BLOCK_SHIFT);
	return 0;
}
