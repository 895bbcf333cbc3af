/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin_reserve(3): reserving and cancelling extents, and calls that access one or
 * report about it. The caller's mistakes are found here; core/allocate.c finds the
 * space.
 */
#include <errno.h>
#include "core/allocate.h"
#include "core/copy.h"
#include "core/handle.h"
#include "core/medium.h"
#include "core/slabs.h"
#include "util/cancel.h"

static bool reserve_allows(uint32_t flags)
{
	return !(flags & ~(DAXPIN_RESERVE_ZERO | DAXPIN_RESERVE_DURABLE)) &&
	       flags != DAXPIN_RESERVE_DURABLE;
}

DP_EXPORT int daxpin_reserve(struct daxpin_pool *pool, uint64_t size,
			     uint32_t flags, struct daxpin_extent *ret_extent)
{
	uint64_t blocks = ((size - 1) >> DP_BLOCK_SHIFT) + 1;
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (!size || !ret_extent || (flags && !reserve_allows(flags)))
		return -EINVAL;
	if (pool->media.readonly)
		return -EROFS;
	if (blocks > pool->extent_blocks_max)
		return -EFBIG;
	return !flags && dp_allocate_cached(pool, blocks, ret_extent) ? 0 :
	       dp_slabs_allocate(pool, blocks, flags, ret_extent);
}

/* If an attempt has done nothing. */
__attribute__((noinline))
static int reserve_finish_cancel(struct daxpin_pool *pool, uint64_t block,
				 uint64_t generation)
{
	struct dp_handle handle = { block, generation };
	int ret = dp_enter_with(pool, dp_handle_encode(pool, handle), &handle);

	return ret ? ret : dp_state_cancel(&pool->states, handle.block,
					   handle.generation);
}

DP_EXPORT int daxpin_cancel(struct daxpin_pool *pool, struct daxpin_extent extent)
{
	struct dp_handle handle;

	if (!pool)
		return -EINVAL;
	handle = dp_handle_decode(pool, extent);
	return dp_handle_is_usual(pool, handle) &&
	       dp_state_try_cancel(&pool->states, handle.block, handle.generation) ?
	       0 : reserve_finish_cancel(pool, handle.block, handle.generation);
}

DP_EXPORT void *daxpin_ptr(struct daxpin_pool *pool, struct daxpin_extent extent,
			   uint64_t offset)
{
	struct dp_handle handle;

	if (!pool)
		return NULL;
	handle = dp_handle_decode(pool, extent);
	if (!dp_handle_is_usual(pool, handle) ||
	    !dp_state_is_extent(&pool->states, handle.block, handle.generation) ||
	    offset >> DP_BLOCK_SHIFT >= dp_state_blocks(&pool->states, handle.block))
		return NULL;
	return pool->media.geometry.base + extent.addr + offset;
}

DP_EXPORT int daxpin_read(struct daxpin_pool *pool, struct daxpin_extent extent,
			  uint64_t offset, uint64_t length, void *to)
{
	DP_CANCEL_POINT();
	struct dp_handle handle;
	uint64_t range = length;
	int ret = to ? dp_find(pool, extent, &handle) : -EINVAL;

	if (!ret)
		ret = dp_range(pool, handle.block, offset, &range);
	if (ret || !length)
		return ret;
	ret = dp_read(pool, handle, offset, to, length);
	/* The copied bytes are the extent's only if its generation has not ended
	 * meanwhile. */
	if (dp_find(pool, extent, &handle))
		return -ESTALE;
	return ret;
}

static const char *reserve_copy_errmsg(int error)
{
	switch (error) {
	case -EAGAIN:
		return "the gate of the extent's segment is closed: copy it again after DAXPIN_EVENT_RETRY";
	case -EALREADY:
		return "the extent is retired: there is nothing to move";
	case -EBUSY:
		return "the extent is held exclusively: copy it after the drop";
	case -EROFS:
		return "the pool is open for reading: open it for writing to copy an extent";
	case -ESTALE:
		return "the extent was freed, or the handle is from an earlier open of the pool";
	default:
		return daxpin_strerror(error);
	}
}

static int reserve_copy(struct daxpin_pool *pool, struct daxpin_extent from,
			const struct daxpin_copy_options *options,
			struct daxpin_extent *ret_extent)
{
	const struct dp_errmsg *errmsg = DP_ERRMSG_OF(options);
	struct dp_handle handle;
	int ret;

	if (options->flags)
		return dp_fail(errmsg, -EINVAL, "flags 0x%x must be 0", options->flags);
	if (!ret_extent)
		return dp_fail(errmsg, -EINVAL, "ret_extent is NULL");
	ret = dp_handle(pool, from, &handle);
	if (ret == -EINVAL)
		return dp_fail(errmsg, ret, from.gen ?
			       "the address is not that of an extent of this pool" :
			       "gen 0 is not that of an extent: copy a small object with daxpin_object_reserve() and daxpin_object_read()");
	if (!ret && pool->media.readonly)
		ret = -EROFS;
	return ret ? ret : dp_copy(pool, handle, ret_extent, errmsg);
}

DP_EXPORT int daxpin_copy(struct daxpin_pool *pool, struct daxpin_extent from,
			  const struct daxpin_copy_options *user,
			  struct daxpin_extent *ret_extent)
{
	DP_CANCEL_POINT();
	struct daxpin_copy_options options = { .size = sizeof(options) };
	int ret = user ? DP_TAKE_OPTIONS(&options, user) : 0;

	if (!ret)
		ret = dp_enter(pool);
	if (!ret)
		ret = reserve_copy(pool, from, &options, ret_extent);
	return dp_end_errmsg(DP_ERRMSG_OF(&options), ret, reserve_copy_errmsg(ret));
}

DP_EXPORT int daxpin_extent_at(struct daxpin_pool *pool, uint64_t addr,
			       struct daxpin_extent *ret_extent)
{
	/* dp_handle() tests the epoch of the handle, and not its generation, which
	 * is not known yet. */
	struct daxpin_extent extent = { addr, 0 };
	struct dp_state_view view;
	struct dp_handle handle;
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	if (!ret_extent)
		return -EINVAL;
	extent.gen = pool->gen_epoch;
	ret = dp_handle(pool, extent, &handle);
	if (ret)
		return ret;
	view = dp_state_read(&pool->states, handle.block);
	if (view.state != DP_STATE_LIVE)
		return -ENOENT;
	*ret_extent = dp_extent(pool, handle.block, view.generation);
	return 0;
}

DP_EXPORT int daxpin_size(struct daxpin_pool *pool, struct daxpin_extent extent,
			  uint64_t *ret_size)
{
	struct dp_handle handle;
	int ret = ret_size ? dp_find(pool, extent, &handle) : -EINVAL;

	if (!ret)
		*ret_size = (uint64_t)dp_state_blocks(&pool->states,
						      handle.block) <<
			    DP_BLOCK_SHIFT;
	return ret;
}

DP_EXPORT int daxpin_state(struct daxpin_pool *pool, struct daxpin_extent extent,
			   enum daxpin_state *ret_state)
{
	struct dp_state_view view;
	struct dp_handle handle;
	int ret = ret_state ? dp_find_view(pool, extent, &handle, &view) : -EINVAL;

	if (!ret)
		*ret_state = (enum daxpin_state)view.state;
	return ret;
}

DP_EXPORT int daxpin_persist(struct daxpin_pool *pool,
			     struct daxpin_extent extent, uint64_t offset,
			     uint64_t length)
{
	DP_CANCEL_POINT();
	struct dp_handle handle;
	int ret = dp_find(pool, extent, &handle);

	if (!ret)
		ret = dp_range(pool, handle.block, offset, &length);
	if (!ret && pool->media.readonly)
		ret = -EROFS;
	if (!ret && dp_is_bad(pool, handle.block, offset, length))
		ret = -EIO;
	if (ret)
		return ret;
	ret = dp_persist_flush(&pool->media.persist, pool->media.geometry.base +
			       extent.addr + offset, length);
	dp_persist_fence(&pool->media.persist);
	return ret;
}

/*
 * Read the state of a block. Returns the length of the extent that begins there, or 1
 * if none does. The length is read between two reads of the same generation, so it is
 * that of the same extent.
 */
static uint32_t reserve_look_at(struct daxpin_pool *pool, uint64_t block,
				struct dp_state_view *ret_view)
{
	struct dp_state_view again;
	uint32_t blocks;

	do {
		*ret_view = dp_state_read(&pool->states, block);
		if (ret_view->state == DP_STATE_FREE)
			return 1;
		blocks = dp_state_blocks(&pool->states, block);
		again = dp_state_read(&pool->states, block);
	} while (again.generation != ret_view->generation);
	assert(blocks);
	return blocks;
}

typedef int reserve_visitor(struct daxpin_pool *pool, struct daxpin_extent extent,
			    uint64_t size, void *arg);

/* Visit the extents that begin in blocks [block, end) of a segment, which may be
 * short. */
static int reserve_visit_segment(struct daxpin_pool *pool, uint32_t segment,
				 uint32_t block, uint32_t end,
				 reserve_visitor *fn, void *arg)
{
	const struct dp_bits *bits = dp_spaces_bits(&pool->spaces, segment);
	uint64_t first = (uint64_t)segment << dp_states_shift(&pool->states);
	uint32_t blocks;
	int ret = 0;

	end = dp_min(end, dp_geometry_blocks(&pool->media.geometry, segment));
	block = block < end ? dp_bits_find(bits, block, end, false) : end;
	while (!ret && block < end) {
		struct dp_state_view view;

		blocks = reserve_look_at(pool, first + block, &view);
		if (view.state == DP_STATE_LIVE)
			ret = fn(pool,
				 dp_extent(pool, first + block,
					   view.generation),
				 (uint64_t)blocks << DP_BLOCK_SHIFT, arg);
		block += blocks;
		block = block < end ? dp_bits_find(bits, block, end, false) : end;
	}
	return ret;
}

/* Visit the extents that begin in blocks [from, to) of the pool. */
static int reserve_visit(struct daxpin_pool *pool, uint64_t from, uint64_t to,
			 reserve_visitor *fn, void *arg)
{
	uint64_t next;
	int ret = 0;

	for (uint64_t at = from; !ret && at < to; at = next) {
		uint32_t block, segment = dp_segment_of(pool, at, &block);

		next = dp_min(at - block + pool->segment_mask + 1, to);
		ret = reserve_visit_segment(pool, segment, block,
					    next - at + block, fn, arg);
	}
	return ret;
}

DP_EXPORT int daxpin_foreach(struct daxpin_pool *pool, reserve_visitor *fn, void *arg)
{
	DP_CANCEL_POINT();
	int ret = dp_enter(pool);

	if (ret || !fn)
		return ret ? ret : -EINVAL;
	return reserve_visit(pool, 0, pool->block_end, fn, arg);
}

DP_EXPORT int daxpin_foreach_in(struct daxpin_pool *pool, uint64_t addr,
				uint64_t length, reserve_visitor *fn, void *arg)
{
	DP_CANCEL_POINT();
	uint64_t end, first = (addr >> DP_BLOCK_SHIFT) + !!(addr % DP_BLOCK_SIZE);
	int ret = dp_enter(pool);

	if (ret)
		return ret;
	end = pool->block_end << DP_BLOCK_SHIFT;
	if (!fn || addr >= end || length > end - addr)
		return -EINVAL;
	end = length ? addr + length : end;
	end = (end >> DP_BLOCK_SHIFT) + !!(end % DP_BLOCK_SIZE);
	return reserve_visit(pool, first, end, fn, arg);
}
