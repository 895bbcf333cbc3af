/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding free blocks for a new extent. The bits are taken first, and only who
 * has them may change the word that stands at them (I16, I28).
 */
#include <errno.h>
#include "core/allocate.h"
#include "extent/thread_slot.h"
#include "util/probe.h"

/* Threads begin in different segments, so that they seldom meet. */
static int allocate_claim(struct daxpin_pool *pool, uint32_t blocks,
			  uint64_t *ret_block)
{
	uint32_t segments = pool->media.geometry.segments, block;
	uint32_t first = dp_thread_slot() % segments;

	for (uint32_t i = 0; i < segments; i++) {
		uint32_t segment = (first + i) % segments;

		if (dp_space_claim(&pool->space[segment], blocks, &block))
			continue;
		*ret_block = block + ((uint64_t)segment <<
				      dp_leases_shift(&pool->leases));
		return 0;
	}
	return -ENOSPC;
}

struct allocation {
	struct daxpin_pool *pool;
	uint32_t blocks;
	uint64_t block;			/* the first of them */
};

static int allocate_try(void *arg)
{
	struct allocation *allocation = arg;

	return allocate_claim(allocation->pool, allocation->blocks,
			      &allocation->block);
}

uint64_t dp_allocate_max(const struct daxpin_pool *pool)
{
	/* Only the last segment may be shorter than the first. */
	return dp_geometry_blocks(&pool->media.geometry, 0) - DP_CHUNK_BLOCKS;
}

int dp_allocate(struct daxpin_pool *pool, uint32_t blocks, bool zero,
		struct dp_handle *ret_handle)
{
	struct allocation allocation = { .pool = pool, .blocks = blocks };
	uint64_t block;
	int ret;

	assert(blocks && blocks <= dp_allocate_max(pool));
	ret = dp_jobs_space(&pool->jobs, allocate_try, &allocation);
	if (ret) {
		DP_PROBE_NO_SPACE(&pool->leases,
				  (uint64_t)blocks << DP_BLOCK_SHIFT, ret);
		atomic_fetch_add_explicit(&pool->no_space, 1,
					  memory_order_relaxed);
		return ret;
	}
	block = allocation.block;
	/* A segment's chunk 0 is metadata: recover.c took it off the bitmap. */
	assert((block & ((1ull << dp_leases_shift(&pool->leases)) - 1)) >=
	       DP_CHUNK_BLOCKS);
	if (zero)
		dp_persist_zero(&pool->media.persist, pool->media.geometry.base +
				(block << DP_BLOCK_SHIFT),
				(uint64_t)blocks << DP_BLOCK_SHIFT);
	*ret_handle = (struct dp_handle) {
		block, dp_lease_reserve(&pool->leases, block, blocks)
	};
	DP_PROBE_RESERVE(&pool->leases, block << DP_BLOCK_SHIFT,
			 ret_handle->life, (uint64_t)blocks << DP_BLOCK_SHIFT);
	return 0;
}
