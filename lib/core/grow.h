/* SPDX-License-Identifier: BSD-3-Clause */
/* Adding segments to a pool while other threads use it. */
#ifndef DP_GROW_H
#define DP_GROW_H

#include "core/handle.h"

/*
 * Grow the pool to at least `size` bytes, in whole segments. All of them become part of
 * it, or none. -EBUSY: another such call, or a close, is under way. Others as
 * dp_pool_grow_check(), dp_pool_grow_prepare() and dp_pool_grow_commit().
 */
int dp_grow(struct daxpin_pool *pool, uint64_t size, struct dp_wait_policy *policy,
	    uint32_t *ret_segments, const struct dp_errmsg *errmsg);

#endif
