/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DP_CREATE_H
#define DP_CREATE_H

#include "pool/pool.h"

/* Make a pool on media, then as dp_pool_open(). */
int dp_pool_create(struct dp_pool *pool, struct dp_pool_request *request);
/* Open the pool that is there, or make it where there is none. */
int dp_pool_open_or_create(struct dp_pool *pool,
			   struct dp_pool_request *request);
/*
 * The call that opened or created it fails after all: tear it down, and take back
 * what a create made. Nobody has had a handle of it.
 */
void dp_pool_give_up(struct dp_pool *pool);

#endif
