/* SPDX-License-Identifier: BSD-3-Clause */
/* Decodes and makes handles of an open pool, and finds their extents. */
#include <errno.h>
#include "core/handle.h"

int dp_find_view(struct daxpin_pool *pool, struct daxpin_extent extent,
		 struct dp_handle *ret_handle, struct dp_state_view *ret_view)
{
	int ret = dp_enter_with(pool, extent, ret_handle);

	if (ret)
		return ret;
	*ret_view = dp_state_read(&pool->states, ret_handle->block);
	if (!dp_state_view_is_current(*ret_view, ret_handle->generation))
		return -ESTALE;
	return ret_view->state == DP_STATE_SLAB ? -EINVAL : 0;
}

int dp_refuse_name(struct dp_states *states, struct dp_handle handle)
{
	struct dp_state_view view = dp_state_read(states, handle.block);

	if (!dp_state_view_is_current(view, handle.generation))
		return -ESTALE;
	if (view.state == DP_STATE_RETIRED)
		return -EALREADY;
	if (view.state != DP_STATE_LIVE)
		return -EINVAL;
	return view.publishing ? -EBUSY : 0;
}

int dp_range(struct daxpin_pool *pool, uint64_t block, uint64_t offset,
	     uint64_t *length)
{
	uint64_t size = (uint64_t)dp_state_blocks(&pool->states, block) <<
			DP_BLOCK_SHIFT;

	if (offset > size || *length > size - offset)
		return -EINVAL;
	if (!*length)
		*length = size - offset;
	return 0;
}

uint64_t dp_publishes(const struct daxpin_pool *pool)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i <= DP_THREAD_SLOT_SHARED; i++)
		sum += atomic_load_explicit(&pool->published[i].count,
					    memory_order_relaxed);
	return sum;
}
