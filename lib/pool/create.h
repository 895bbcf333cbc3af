/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DP_CREATE_H
#define DP_CREATE_H

#include "pool/pool.h"

/* Create a pool on media, then continue as dp_pool_open(). */
int dp_pool_create(struct dp_pool *pool, struct dp_pool_request *request);
/* Open the existing pool, or create one. */
int dp_pool_open_or_create(struct dp_pool *pool,
			   struct dp_pool_request *request);
/* The steps for segments that a grow adds, from `first` on. Write all metadata of one,
 * with these flags in its superblock; of segment 0 all but its superblock. */
int dp_pool_format_segment(struct dp_pool *pool, uint32_t index, uint32_t flags);
/* -EIO: the medium is bad where metadata has its place. */
int dp_pool_check_medium(const struct dp_pool *pool, uint32_t first,
			 const struct dp_errmsg *errmsg);
/* Make the files' sizes and names durable. */
int dp_pool_sync_files(struct dp_pool *pool, uint32_t first,
		       const struct dp_errmsg *errmsg);
/*
 * For a public call that fails after it has opened or created the pool, and so returns
 * no handle: close the pool, and remove what a create made.
 */
void dp_pool_give_up(struct dp_pool *pool);

#endif
