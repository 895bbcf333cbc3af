/* SPDX-License-Identifier: BSD-3-Clause */
/* Space for a new extent. */
#ifndef DP_ALLOCATE_H
#define DP_ALLOCATE_H

#include "core/handle.h"

/* The most blocks that one extent can have in this pool. */
static inline uint64_t dp_allocate_max(const struct daxpin_pool *pool)
{
	/* Only the last segment may be shorter than the first. */
	return dp_geometry_blocks(&pool->media.geometry, 0) -
	       dp_geometry_meta_blocks(&pool->media.geometry);
}

/*
 * A new extent of 1 to dp_allocate_max() blocks, RESERVED; zero: its bytes are 0,
 * though not yet durable.
 *
 * -ENOSPC  no segment has a free run of that length
 * -EAGAIN  the same, but a job is giving space back or taking it
 */
int dp_allocate(struct daxpin_pool *pool, uint32_t blocks, bool zero,
		struct dp_handle *ret_handle);

#endif
