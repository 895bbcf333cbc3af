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
 * The public call fails after the pool was opened or created: close it, and remove what
 * a create made. The caller has not had a handle of it.
 */
void dp_pool_give_up(struct dp_pool *pool);

#endif
