/* SPDX-License-Identifier: BSD-3-Clause */
/* How a ring is left: what keeps the pool locked, and struct daxpin_uring. */
#ifndef DP_URING_END_H
#define DP_URING_END_H

#include "uring/types.h"

/* Take what keeps the pool locked out of the ring's file table: 0 or -errno. If
 * the table was emptied, nothing in it is touched. */
int dp_uring_remove_lock(struct daxpin_uring *uring);
void dp_uring_end_info(const struct daxpin_uring *uring,
		       struct daxpin_uring_info *info);
/* Free what attach made, except for the struct. Nothing of the adapter is in the
 * ring. */
void dp_uring_tear_down(struct daxpin_uring *uring);

#endif
