/* SPDX-License-Identifier: BSD-3-Clause */
/* Removing segments from a pool while other threads use it. */
#ifndef DP_SHRINK_H
#define DP_SHRINK_H

#include "core/handle.h"

struct dp_shrink_request {
	uint32_t segments;		/* that remain: fewer than the pool has */
	uint64_t deadline_ns;
	int (*progress)(struct daxpin_pool *pool,
			const struct daxpin_shrink_wait *wait, void *arg);
	void *arg;
};

/*
 * Take the segments after the first `segments` out of use, wait until nothing uses
 * them, and remove them. The caller has set pool->resizing. On failure, with a
 * sentence, they are in use again, except after -EIO and -ESTALE.
 *
 * -EBUSY      something uses them at the deadline
 * -ECANCELED  progress() returned non-zero
 * -EIO        the superblock cannot be written
 * -ENOSYS     as dp_barrier_pass()
 * -ESTALE     another open has written to the superblock since
 */
int dp_shrink(struct daxpin_pool *pool, const struct dp_shrink_request *request,
	      const struct dp_errmsg *errmsg);

#endif
