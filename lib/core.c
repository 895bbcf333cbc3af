/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include "core.h"

#define EPOCH_MASK ((1ull << (64 - DP_LIFE_BITS)) - 1)

int dp_enter(const struct daxpin_pool *pool)
{
	if (!pool)
		return -EINVAL;
	return *(volatile uint32_t *)pool->owner_page ? 0 : -EOWNERDEAD;
}

int dp_handle(const struct daxpin_pool *pool, struct daxpin_extent extent,
	      struct dp_handle *ret_handle)
{
	uint64_t block = extent.addr >> DP_BLOCK_SHIFT;
	uint32_t shift = pool->leases.segment_shift;
	uint64_t in_segment = block & ((1ull << shift) - 1);

	if (extent.addr % DP_BLOCK_SIZE || block >= pool->leases.blocks ||
	    in_segment < DP_CHUNK_BLOCKS ||
	    in_segment >= pool->media.segment[block >> shift].blocks)
		return -EINVAL;
	if (extent.gen >> DP_LIFE_BITS != (pool->epoch & EPOCH_MASK))
		return -ESTALE;
	ret_handle->block = block;
	ret_handle->life = extent.gen & DP_LIFE_MASK;
	return 0;
}

struct daxpin_extent dp_extent(const struct daxpin_pool *pool, uint64_t block,
			       uint64_t life)
{
	assert(block < pool->leases.blocks && life <= DP_LIFE_MASK);
	return (struct daxpin_extent) {
		.addr = block << DP_BLOCK_SHIFT,
		.gen = (pool->epoch & EPOCH_MASK) << DP_LIFE_BITS | life,
	};
}
