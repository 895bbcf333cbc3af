/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory that a peer accesses: the extent's own, or a bounce buffer. */
#ifndef DP_RDMA_BACKING_H
#define DP_RDMA_BACKING_H

#include "rdma/types.h"

void dp_backing_init(struct daxpin_rdma *rdma);
void dp_backing_destroy(struct daxpin_rdma *rdma);
/*
 * Called after the registration and before any grant: find out what the device can do
 * for this pool. If the trial could not be made, dp_backing_settle() tries again.
 * *ret_kept: the call failed, and the device did not release the pool's memory, so the
 * registration must remain.
 */
int dp_backing_choose(struct daxpin_rdma *rdma,
		      const struct daxpin_pool_info *info,
		      const struct daxpin_rdma_options *o, bool *ret_kept);
/* True if windows were requested and their trial could not be made yet. */
bool dp_backing_wants_windows(const struct daxpin_rdma *rdma);
bool dp_backing_is_pinned(const struct daxpin_rdma *rdma);
const struct daxpin_rdma_report *
dp_backing_report(const struct daxpin_rdma *rdma);
void dp_backing_count(struct daxpin_rdma *rdma, struct daxpin_rdma_info *info);

/* Called before the grant's hold: decide how the peer will access the memory. */
int dp_backing_settle(struct daxpin_grant *grant,
		      const struct daxpin_grant_options *o);
/* DAXPIN_HOLD_EXCLUSIVE if the grant needs an exclusive hold, otherwise 0. */
uint32_t dp_backing_hold_access(const struct daxpin_grant *grant,
				const struct daxpin_grant_options *o);
/*
 * Called when the grant has its hold, and before its access is opened. Changes
 * key.addr, which was the extent's own address, if a bounce buffer is used; *ret_flags
 * are verbs access flags to add.
 */
int dp_backing_open(struct daxpin_grant *grant,
		    const struct daxpin_grant_options *o, int *ret_flags);
/* Called when the access is open. */
void dp_backing_ready(struct daxpin_grant *grant);
/* Called under the hold, when the access was closed or was never opened. copy: write
 * the peer's changes back to the extent. */
void dp_backing_close(struct daxpin_grant *grant, bool copy);

#endif
