/* SPDX-License-Identifier: BSD-3-Clause */
/* Removing segments from a pool that is open, on media. */
#ifndef DP_POOL_SHRINK_H
#define DP_POOL_SHRINK_H

#include "pool/pool.h"

/*
 * Remove the segments after the first `segments`: the superblock of segment 0 decides
 * (D10), and then they are unmapped and their files removed. Nothing uses them, and no
 * page of them is pinned. On failure all files exist, but it is unknown which segments
 * the superblock counts, so nothing may use them until the next open.
 *
 * -EIO     the medium failed
 * -ESTALE  another open has written to the pool since, and it was left alone
 */
int dp_pool_shrink(struct dp_pool *pool, uint32_t segments,
		   const struct dp_errmsg *errmsg);

/*
 * At an open for writing, while pool->super is that of the last owner: remove the files
 * that it did not remove after a shrink. Other files past the pool's remain, and are
 * counted in ignored_files.
 */
void dp_pool_remove_left(struct dp_pool *pool);

#endif
