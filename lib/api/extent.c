/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public functions on space and extents: what the caller did wrong is found here, once,
 * and the work is done by the modules below.
 */
#include <errno.h>
#include "core/handle.h"
#include "core/publish.h"
#include "extent/thread_slot.h"

/* Threads begin in different segments, so that they seldom meet. */
static int claim_blocks(struct daxpin_pool *pool, uint32_t blocks,
			uint64_t *ret_block)
{
	uint32_t segments = pool->media.segments, block;
	uint32_t first = dp_stripe() % segments;

	for (uint32_t i = 0; i < segments; i++) {
		uint32_t segment = (first + i) % segments;

		if (dp_space_claim(&pool->space[segment], blocks, &block))
			continue;
		*ret_block = block + ((uint64_t)segment <<
				      pool->leases.segment_shift);
		return 0;
	}
	return -ENOSPC;
}

/* -EAGAIN: there may be room when a job is over, or after a refill. */
static int find_room(struct daxpin_pool *pool, uint32_t blocks,
		     uint64_t *ret_block)
{
	int ret = claim_blocks(pool, blocks, ret_block);

	if (ret != -ENOSPC || !dp_jobs_may_give_space(&pool->jobs))
		return ret;
	dp_jobs_refused(&pool->jobs);
	ret = claim_blocks(pool, blocks, ret_block);
	return ret == -ENOSPC ? -EAGAIN : ret;
}

DP_EXPORT int daxpin_reserve(struct daxpin_pool *pool, uint64_t size,
			     uint32_t flags, struct daxpin_extent *ret_extent)
{
	uint64_t blocks = (size >> DP_BLOCK_SHIFT) + !!(size % DP_BLOCK_SIZE);
	uint64_t block, life;
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (!size || flags & ~DAXPIN_RESERVE_ZERO || !ret_extent)
		return -EINVAL;
	if (pool->media.readonly)
		return -EROFS;
	if (blocks > pool->media.segment[0].blocks - DP_CHUNK_BLOCKS)
		return -EFBIG;
	ret = find_room(pool, blocks, &block);
	if (ret)
		return ret;
	if (flags & DAXPIN_RESERVE_ZERO)
		dp_persist_zero(&pool->media.persist, pool->media.map.base +
				(block << DP_BLOCK_SHIFT),
				blocks << DP_BLOCK_SHIFT);
	life = dp_lease_reserve(&pool->leases, block, blocks);
	*ret_extent = dp_extent(pool, block, life);
	return 0;
}

DP_EXPORT int daxpin_cancel(struct daxpin_pool *pool, struct daxpin_extent extent)
{
	struct dp_handle handle;
	int ret = dp_enter(pool);

	if (!ret)
		ret = dp_handle(pool, extent, &handle);
	return ret ? ret : dp_lease_cancel(&pool->leases, handle.block,
					   handle.life);
}

DP_EXPORT int daxpin_publish(struct daxpin_pool *pool,
			     const struct daxpin_op *ops, size_t count)
{
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (!ops || !count)
		return -EINVAL;
	if (count > DAXPIN_OPS_MAX)
		return -E2BIG;
	if (pool->media.readonly)
		return -EROFS;
	return dp_publish(pool, ops, count);
}

DP_EXPORT int daxpin_root(struct daxpin_pool *pool, const char *name,
			  struct daxpin_extent *ret_extent)
{
	struct dp_root_word word = { 0, 0 }, was;
	struct dp_lease_view view;
	int ret = dp_enter(pool);

	if (!ret && !ret_extent)
		ret = -EINVAL;
	if (!ret)
		ret = dp_root_name(name);
	if (ret)
		return ret;
	do {
		was = word;
		ret = dp_root_find(&pool->roots, name, &word);
		if (ret)
			return ret;
		if (dp_is_named(pool, word, &view)) {
			*ret_extent = dp_extent(pool, word.block, view.life);
			return 0;
		}
		/* Perhaps it moved between the two looks: look once more. */
	} while (word.block != was.block || word.gen != was.gen);
	return -ESTALE;
}

DP_EXPORT void *daxpin_ptr(struct daxpin_pool *pool, struct daxpin_extent extent,
			   uint64_t offset)
{
	struct dp_lease_view view;
	struct dp_handle handle;
	uint64_t length = 1;

	if (dp_find(pool, extent, &handle, &view) ||
	    dp_range(pool, handle.block, offset, &length))
		return NULL;
	return pool->media.map.base + extent.addr + offset;
}

DP_EXPORT int daxpin_read(struct daxpin_pool *pool, struct daxpin_extent extent,
			  uint64_t offset, uint64_t length, void *to)
{
	const struct dp_segment *segment;
	struct dp_lease_view view;
	struct dp_handle handle;
	uint64_t range = length;
	uint32_t block;
	int ret = to ? dp_find(pool, extent, &handle, &view) : -EINVAL;

	if (!ret)
		ret = dp_range(pool, handle.block, offset, &range);
	if (ret || !length)
		return ret;
	segment = dp_segment_of(pool, handle.block, &block);
	ret = dp_bad_read(&segment->view, ((uint64_t)block << DP_BLOCK_SHIFT) +
			  offset, to, length);
	/* What was copied is the extent's only if it was that to the end. */
	if (dp_find(pool, extent, &handle, &view))
		return -ESTALE;
	return ret;
}

DP_EXPORT int daxpin_extent_at(struct daxpin_pool *pool, uint64_t addr,
			       struct daxpin_extent *ret_extent)
{
	/* Any life of this epoch will do to find the block. */
	struct daxpin_extent extent = { addr, 0 };
	struct dp_lease_view view;
	struct dp_handle handle;
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (!ret_extent)
		return -EINVAL;
	extent.gen = pool->epoch << DP_LIFE_BITS;
	ret = dp_handle(pool, extent, &handle);
	if (ret)
		return ret;
	view = dp_lease_look(&pool->leases, handle.block);
	if (view.state != DP_STATE_LIVE)
		return -ENOENT;
	*ret_extent = dp_extent(pool, handle.block, view.life);
	return 0;
}

DP_EXPORT int daxpin_size(struct daxpin_pool *pool, struct daxpin_extent extent,
			  uint64_t *ret_size)
{
	struct dp_lease_view view;
	struct dp_handle handle;
	int ret = ret_size ? dp_find(pool, extent, &handle, &view) : -EINVAL;

	if (!ret)
		*ret_size = (uint64_t)dp_lease_blocks(&pool->leases,
						      handle.block) <<
			    DP_BLOCK_SHIFT;
	return ret;
}

DP_EXPORT int daxpin_state(struct daxpin_pool *pool, struct daxpin_extent extent,
			   enum daxpin_state *ret_state)
{
	struct dp_lease_view view;
	struct dp_handle handle;
	int ret = ret_state ? dp_find(pool, extent, &handle, &view) : -EINVAL;

	if (!ret)
		*ret_state = (enum daxpin_state)view.state;
	return ret;
}

/* To write back what is known to be bad may be a SIGBUS, as a load is. */
static bool is_bad(struct daxpin_pool *pool, uint64_t block, uint64_t offset,
		   uint64_t length)
{
	const struct dp_segment *segment;
	struct dp_bad_run run;
	uint32_t in_segment;

	segment = dp_segment_of(pool, block, &in_segment);
	offset += (uint64_t)in_segment << DP_BLOCK_SHIFT;
	return dp_bad_find(&segment->bad, offset, offset + length, &run);
}

DP_EXPORT int daxpin_persist(struct daxpin_pool *pool,
			     struct daxpin_extent extent, uint64_t offset,
			     uint64_t length)
{
	struct dp_lease_view view;
	struct dp_handle handle;
	int ret = dp_find(pool, extent, &handle, &view);

	if (!ret)
		ret = dp_range(pool, handle.block, offset, &length);
	if (!ret && pool->media.readonly)
		ret = -EROFS;
	if (!ret && is_bad(pool, handle.block, offset, length))
		ret = -EIO;
	if (ret)
		return ret;
	ret = dp_persist_flush(&pool->media.persist, pool->media.map.base +
			       extent.addr + offset, length);
	dp_persist_fence(&pool->media.persist);
	return ret;
}

/*
 * What stands at a block: blocks to go on by, and, where a live extent begins
 * there, its life. The length is read between two looks at the same life.
 */
static uint32_t look_at(struct daxpin_pool *pool, uint64_t block,
			struct dp_lease_view *ret_view)
{
	struct dp_lease_view again;
	uint32_t blocks;

	do {
		*ret_view = dp_lease_look(&pool->leases, block);
		if (ret_view->state == DP_STATE_FREE)
			return 1;
		blocks = dp_lease_blocks(&pool->leases, block);
		again = dp_lease_look(&pool->leases, block);
	} while (again.life != ret_view->life);
	assert(blocks);
	return blocks;
}

DP_EXPORT int daxpin_foreach(struct daxpin_pool *pool,
			     int (*fn)(struct daxpin_pool *pool,
				       struct daxpin_extent extent,
				       uint64_t size, void *arg), void *arg)
{
	struct dp_lease_view view;
	uint32_t blocks;
	int ret = dp_enter(pool);

	if (ret || !fn)
		return ret ? ret : -EINVAL;
	for (uint64_t b = 0; !ret && b < pool->leases.blocks; b += blocks) {
		uint32_t shift = pool->leases.segment_shift;
		uint32_t in_segment = b & ((1ull << shift) - 1);

		blocks = 1;
		if (in_segment >= pool->media.segment[b >> shift].blocks ||
		    dp_space_is_free(&pool->space[b >> shift], in_segment))
			continue;
		blocks = look_at(pool, b, &view);
		if (view.state == DP_STATE_LIVE)
			ret = fn(pool, dp_extent(pool, b, view.life),
				 (uint64_t)blocks << DP_BLOCK_SHIFT, arg);
	}
	return ret;
}
