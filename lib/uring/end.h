/* SPDX-License-Identifier: BSD-3-Clause */
/* Detaching and abandoning a ring: removing the locks, freeing struct daxpin_uring. */
#ifndef DP_URING_END_H
#define DP_URING_END_H

#include "uring/types.h"

/* Remove the files that keep the pool locked from the ring's file table. Returns 0 or
 * -errno. If the program has emptied the table, this does not change it. */
int dp_uring_remove_lock(struct daxpin_uring *uring);
void dp_uring_end_info(const struct daxpin_uring *uring,
		       struct daxpin_uring_info *info);
/* Free what the attach made, except for the struct. Call it when nothing of the adapter
 * is in the ring any more. */
void dp_uring_tear_down(struct daxpin_uring *uring);

#endif
