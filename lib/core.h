/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool in use: the modules put together, and handles taken apart. */
#ifndef DP_CORE_H
#define DP_CORE_H

#include <daxpin.h>
#include "event.h"
#include "holder.h"
#include "lease.h"
#include "pool.h"
#include "space.h"

struct daxpin_pool {
	struct dp_pool media;
	struct dp_space *space;		/* one per segment */
	struct dp_leases leases;
	struct dp_events events;
	struct dp_holders holders;
	uint64_t epoch;			/* as in gen: low 24 bits */
	uint32_t *owner_page;		/* reads 0 in a forked child */
	uint64_t usable_blocks;
	uint64_t hole_blocks;
	uint64_t unaligned_chunks;
};

/* A handle that fits this pool and epoch. */
struct dp_handle {
	uint64_t block;			/* in the pool */
	uint64_t life;
};

/*
 * Open or create the media (dp_pool_open, dp_pool_create), rebuild everything
 * above it, begin the next epoch.
 */
int dp_core_start(struct dp_pool_request *request,
		  int (*media)(struct dp_pool *, struct dp_pool_request *),
		  struct daxpin_pool **ret_pool);
/* Free everything but the media, which is closed already. */
void dp_core_discard(struct daxpin_pool *pool);

/* Take a handle apart: -EINVAL no block of this pool, -ESTALE another epoch. */
int dp_handle(const struct daxpin_pool *pool, struct daxpin_extent extent,
	      struct dp_handle *ret_handle);
struct daxpin_extent dp_extent(const struct daxpin_pool *pool, uint64_t block,
			       uint64_t life);

/* 0, or what every call on this pool returns: -EINVAL, -EOWNERDEAD. */
int dp_enter(const struct daxpin_pool *pool);

#endif
