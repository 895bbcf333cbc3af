/* SPDX-License-Identifier: BSD-3-Clause */
/* Builds a pool in memory from its media, and frees it. */
#ifndef DP_RECOVER_H
#define DP_RECOVER_H

#include "core/handle.h"

/*
 * Open or create the media (dp_pool_open(), dp_pool_create()), build the pool in
 * memory, and begin the next epoch.
 */
int dp_recover(struct dp_pool_request *request,
	       int (*media)(struct dp_pool *, struct dp_pool_request *),
	       struct daxpin_pool **ret_pool);

/* Free everything in memory. The media must be closed already. */
void dp_discard(struct daxpin_pool *pool);

/* In a forked child: unmap and close what it inherited. The parent's pool remains
 * open. */
void dp_close_inherited(struct daxpin_pool *pool);

/* Build the free space of a segment that a grow adds, which no claim finds yet. On
 * failure dp_spaces_remove() frees it. -ENOMEM. */
int dp_recover_added(struct daxpin_pool *pool, uint32_t index);

#endif
