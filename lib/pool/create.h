/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DP_CREATE_H
#define DP_CREATE_H

#include "pool/pool.h"

/* Create a pool on media, then continue as dp_pool_open(). */
int dp_pool_create(struct dp_pool *pool, struct dp_pool_request *request);
/* Open the existing pool, or create one. */
int dp_pool_open_or_create(struct dp_pool *pool,
			   struct dp_pool_request *request);
/*
 * For a public call that fails after it has opened or created the pool, and so returns
 * no handle: close the pool, and remove what a create made.
 */
void dp_pool_give_up(struct dp_pool *pool);

#endif
