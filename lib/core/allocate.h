/* SPDX-License-Identifier: BSD-3-Clause */
/* Space for a new extent. */
#ifndef DP_ALLOCATE_H
#define DP_ALLOCATE_H

#include "core/handle.h"

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

/* The same for a slab: no program has a handle of its extent. */
int dp_allocate_slab(struct daxpin_pool *pool, struct dp_handle *ret_handle);

#endif
