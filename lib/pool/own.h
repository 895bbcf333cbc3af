/* SPDX-License-Identifier: BSD-3-Clause */
/* Segment 0's superblock while a pool is open for writing, and the end of that. */
#ifndef DP_OWN_H
#define DP_OWN_H

#include "pool/pool.h"

/*
 * Call it when the tables passed their checks: marks the files against defragmenters
 * (W6), and begins the next epoch, dp_epochs_next(), on media as well (D15).
 */
int dp_pool_own(struct dp_pool *pool, const struct dp_errmsg *errmsg);

/*
 * Record a verbs context, which may outlive the lock; on media when it returns. NULL: a
 * context whose number is unknown. -ENOSPC: DP_RDMA_CONTEXTS_MAX are recorded.
 */
int dp_pool_record_rdma(struct dp_pool *pool,
			const struct dp_rdma_context *context);
/* Undo one dp_pool_record_rdma(); the last one of a context removes it from media. */
void dp_pool_forget_rdma(struct dp_pool *pool,
			 const struct dp_rdma_context *context);

/*
 * Change the number of segments, and with it the pool's size: one write of segment 0's
 * superblock decides (D10). A segment that is added has its whole metadata on media
 * before the call, and is not short; one that is removed is the last, and has no
 * extents. After an error it is unknown which number is on media.
 *
 * -EIO     the medium failed
 * -ESTALE  another open has written to the pool since, and it was left alone
 */
int dp_pool_set_segments(struct dp_pool *pool, uint32_t segments);

/* The size of the medium, as on media. */
uint64_t dp_pool_size(struct dp_pool *pool);

/*
 * Mark the pool as closed, when no DMA of this process can reach it any more.
 * Afterwards the pool can only be read, even after an error; a second call returns 0.
 *
 * -EIO     the medium failed, now or before
 * -ESTALE  another open has written to the pool since, and it was left alone
 */
int dp_pool_end(struct dp_pool *pool);

#endif
