/* SPDX-License-Identifier: BSD-3-Clause */
/* Adding segments to a pool that is open, on media. */
#ifndef DP_POOL_GROW_H
#define DP_POOL_GROW_H

#include "pool/pool.h"

/*
 * How many segments a pool of at least `size` bytes has. Fails with a sentence if it
 * cannot grow to that many.
 *
 * -EINVAL	it is not larger than the pool, or larger than any pool
 * -ENOSPC	there are no addresses for it, or the device is too small
 * -EROFS	the pool is only read
 * -EUCLEAN	the open was degraded
 */
int dp_pool_grow_check(const struct dp_pool *pool, uint64_t size,
		       uint32_t *ret_segments, const struct dp_errmsg *errmsg);

/*
 * Make and format the segments from pool->geometry.segments to `segments`, which are
 * not part of the pool yet. On failure nothing is left of them.
 */
int dp_pool_grow_prepare(struct dp_pool *pool, uint32_t segments,
			 struct dp_wait_policy *policy,
			 const struct dp_errmsg *errmsg);
/* Undo it. */
void dp_pool_grow_undo(struct dp_pool *pool);
/*
 * Make them part of the pool on media: the superblock of segment 0 decides. On failure
 * nothing is left of them in memory; on media the pool may have them, and the next open
 * finds out.
 */
int dp_pool_grow_commit(struct dp_pool *pool, const struct dp_errmsg *errmsg);

/*
 * At an open for writing, while pool->super is that of the last owner: remove the files
 * of a grow that it did not finish.
 */
int dp_pool_remove_unfinished(struct dp_pool *pool,
			      const struct dp_errmsg *errmsg);

#endif
